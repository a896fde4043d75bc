/* agent_connect.c - connections for streams (direct-tcpip, direct-streamlocal, forwarded-tcpip).
 * Addresses and `localhost` are connected here, without waiting. What could block the agent, names
 * and connections to be fetched, is made by a child that hands the descriptor over and ends. Either
 * way a connected descriptor becomes a relay; until then the client's bytes wait in the session. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/str.h"
#include "host/agent.h"
#include "host/forward.h"
#include "wire/jsonrpc.h"

#define CONNECT_MS 30000 /* a name may have several addresses, each with this time */
#define CHILD_MS   120000
#define TRIES      2

union address {
	struct sockaddr sa;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

/* A connection that is being made. Lives until its descriptor, its timer and its child are gone. */
struct attempt {
	struct agent_stream *s; /* NULL: nobody wants it any more */
	struct agent *agent;
	struct io io; /* the socket that connects, or the one to the child */
	struct child child;
	struct loop_timer deadline;
	union address todo[TRIES]; /* addresses that were not tried yet, from `at` on */
	int at, n;
	bool has_child;
	int parts;
	char where[TL_LIMIT_HOST_NAME + 16];
};

static void attempt_connect(struct attempt *a);

static void part_gone(void *ctx)
{
	struct attempt *a = ctx;

	if (--a->parts == 0)
		free(a);
}

/* The child ends by itself once its socket is closed, or when it has connected. */
static void attempt_end(struct attempt *a)
{
	if (a->s)
		a->s->state = NULL;
	a->s = NULL;
	if (a->has_child)
		child_kill(&a->child, SIGKILL, true);
	child_forget(&a->child);
	io_close(&a->io, part_gone);
	timer_close(&a->deadline, part_gone);
}

static void attempt_closed(struct agent_stream *s)
{
	if (s->state)
		attempt_end(s->state);
}

/* The client's bytes wait, its end does, too. */
static void attempt_readable(struct agent_stream *s)
{
	(void)s;
}

static const struct stream_ops attempt_ops = {.readable = attempt_readable,
					      .closed = attempt_closed};

static void attempt_fail(struct attempt *a, const struct tl_err *err)
{
	struct agent_stream *s = a->s;
	struct agent_link *lk = s->link;

	attempt_end(a);
	stream_refuse(s, err);
	agent_link_kick(lk);
}

/* fd is the connection; taken. */
static void attempt_done(struct attempt *a, int fd)
{
	struct agent_stream *s = a->s;
	struct agent_link *lk = s->link;
	struct tl_err err = {0};
	int one = 1;

	/* small writes are answers somebody waits for; a unix socket has no such switch */
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	attempt_end(a);
	s->ops = NULL;
	if (relay_open_socket(s, fd, &err) != 0)
		stream_refuse(s, &err);
	else if (!stream_accept(s))
		session_reset(s->st);
	agent_link_kick(lk);
}

/* ---- without a child ---- */

static void attempt_failed(struct attempt *a, int e)
{
	struct tl_err err;

	err_set(&err, err_from_connect(e), "cannot connect to %s: %s", a->where, strerror(e));
	attempt_fail(a, &err);
}

static void on_connected(void *ctx)
{
	struct attempt *a = ctx;
	int e = 0, fd;
	socklen_t n = sizeof(e);

	if (!a->s)
		return;
	if (getsockopt(a->io.wfd, SOL_SOCKET, SO_ERROR, &e, &n) != 0)
		e = errno;
	fd = e ? -1 : fcntl(a->io.wfd, F_DUPFD_CLOEXEC, 3);
	if (!e && fd < 0)
		e = errno;
	if (e && a->at < a->n) {
		attempt_connect(a);
		return;
	}
	if (e)
		attempt_failed(a, e);
	else
		attempt_done(a, fd);
}

static void on_nothing(void *ctx)
{
	(void)ctx;
}

/* A fresh attempt for the addresses that are left takes over: a handle serves one descriptor. */
static struct attempt *attempt_next(struct attempt *old)
{
	struct attempt *a = calloc(1, sizeof(*a));

	if (!a)
		return NULL;
	a->s = old->s;
	a->agent = old->agent;
	a->at = old->at;
	a->n = old->n;
	memcpy(a->todo, old->todo, sizeof(a->todo));
	str_copy(a->where, sizeof(a->where), old->where);
	return a;
}

static void on_deadline(void *ctx)
{
	struct attempt *a = ctx;

	if (a->s)
		attempt_failed(a, ETIMEDOUT);
}

/* Begins with todo[at]. 0, or the errno where even the last address failed at once. */
static int attempt_begin(struct attempt *a)
{
	int e = EAFNOSUPPORT, fd;

	while (a->at < a->n) {
		const union address *to = &a->todo[a->at++];
		fd = socket(to->sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		if (fd < 0) {
			e = errno;
			continue;
		}
		e = connect(fd, &to->sa,
			    to->sa.sa_family == AF_INET ? sizeof(to->v4) : sizeof(to->v6)) == 0
			? 0
			: errno;
		if (e == 0 || e == EINPROGRESS) {
			if (io_open(&a->agent->loop, &a->io, fd, fd, on_nothing, on_connected, a)) {
				close(fd);
				return ENOMEM;
			}
			io_want_read(&a->io, false);
			io_want_write(&a->io, true);
			timer_init(&a->agent->loop, &a->deadline, on_deadline, a);
			timer_start(&a->deadline, CONNECT_MS);
			a->parts = 2;
			a->s->state = a;
			return 0;
		}
		close(fd);
	}
	return e;
}

static void attempt_connect(struct attempt *old)
{
	struct attempt *a = attempt_next(old);
	struct agent_stream *s = old->s;
	struct agent_link *lk = s->link;
	struct tl_err err;
	int e;

	attempt_end(old);
	e = a ? attempt_begin(a) : ENOMEM;
	if (e) {
		err_set(&err, err_from_connect(e), "cannot connect to %s: %s", a ? a->where : "it",
			strerror(e));
		free(a);
		stream_refuse(s, &err);
		agent_link_kick(lk);
	}
}

/* The addresses that need no name server. */
static int known_addresses(const char *host, int port, union address out[TRIES])
{
	int n = 0;

	memset(out, 0, TRIES * sizeof(*out));
	if (strcmp(host, "localhost") == 0) {
		out[0].v4.sin_family = AF_INET;
		out[0].v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		out[1].v6.sin6_family = AF_INET6;
		out[1].v6.sin6_addr = in6addr_loopback;
		n = 2;
	} else if (inet_pton(AF_INET, host, &out[0].v4.sin_addr) == 1) {
		out[0].v4.sin_family = AF_INET;
		n = 1;
	} else if (inet_pton(AF_INET6, host, &out[0].v6.sin6_addr) == 1) {
		out[0].v6.sin6_family = AF_INET6;
		n = 1;
	}
	for (int i = 0; i < n; i++) {
		/* both families have the port at the same place */
		out[i].v4.sin_port = htons((uint16_t)port);
	}
	return n;
}

/* ---- by a child ---- */

static void child_answered(void *ctx)
{
	struct attempt *a = ctx;
	char line[TL_LIMIT_OPEN_LINE];
	struct tl_err err = {0};
	ssize_t n;
	int fd = -1;

	if (!a->s)
		return;
	n = recv(a->io.rfd, line, sizeof(line), MSG_PEEK | MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n > 0 && line[0] == '{') {
		/* a failure: one line, written at once */
		struct jsonrpc_msg m = {0};
		yyjson_doc *doc = json_parse(bytes_of(line, (size_t)n), NULL);
		m.error = json_get(yyjson_doc_get_root(doc), "error");
		if (m.error)
			jsonrpc_error_of(&m, &err);
		yyjson_doc_free(doc);
	} else if (n > 0 && recv_fds(a->io.rfd, &fd, 1) == 0) {
		attempt_done(a, fd);
		return;
	}
	if (!err.code)
		err_set(&err, TL_E_INTERNAL, "cannot connect: the helper on the host failed");
	attempt_fail(a, &err);
}

static void child_ended(void *ctx, int kind, int value)
{
	struct attempt *a = ctx;

	(void)kind;
	(void)value;
	/* what it had to say waits in the socket, and its end is read there */
	a->has_child = false;
}

static int child_begin(struct attempt *a, const char *face, yyjson_val *request, struct tl_err *err)
{
	char *argv[] = {(char *)(uintptr_t) "towline-host", (char *)(uintptr_t)face, NULL};
	struct child_spec spec = {
	    .file = "/proc/self/exe", .argv = argv, .new_group = true, .ctty = -1};
	size_t n = 0;
	char *line = yyjson_val_write(request, 0, &n);
	int fds[2], rc = line ? socket_pair(fds) : TL_E_NOMEM;

	if (rc) {
		free(line);
		return err_set(err, rc, "cannot connect: %s", err_row(rc)->what);
	}
	line[n] = '\n';
	if (io_open(&a->agent->loop, &a->io, fds[0], fds[0], child_answered, on_nothing, a) != 0) {
		close(fds[0]);
		close(fds[1]);
		free(line);
		return err_set(err, TL_E_NOMEM, "cannot connect: out of memory");
	}
	timer_init(&a->agent->loop, &a->deadline, on_deadline, a);
	timer_start(&a->deadline, CHILD_MS);
	a->parts = 2;
	a->s->state = a;
	spec.fd[0] = spec.fd[1] = fds[1];
	spec.fd[2] = 2;
	rc = child_spawn(&a->agent->loop, &a->child, &spec, child_ended, a, err);
	close(fds[1]);
	a->has_child = rc == 0;
	/* an empty socket buffer takes a whole opening line */
	if (rc == 0 && io_write(&a->io, line, n + 1) != (long)n + 1)
		rc = err_set(err, TL_E_IO, "cannot connect: the helper on the host does not read");
	free(line);
	if (rc)
		attempt_end(a);
	return rc;
}

/* ---- */

int connect_open(struct agent_stream *s, const struct service *svc, yyjson_val *request,
		 struct tl_err *err)
{
	struct attempt *a = calloc(1, sizeof(*a));
	const char *host = json_str(request, "host", "");
	int64_t port = json_int(request, "port", 0);
	int rc;

	if (!a)
		return err_set(err, TL_E_NOMEM, "cannot connect: out of memory");
	a->s = s;
	a->agent = s->link->agent;
	s->ops = &attempt_ops;
	if (strcmp(svc->name, "direct-tcpip") == 0 && port >= 1 && port <= 65535)
		a->n = known_addresses(host, (int)port, a->todo);
	snprintf(a->where, sizeof(a->where), "%.500s port %d", host[0] ? host : "it", (int)port);
	if (a->n > 0) {
		rc = attempt_begin(a);
		if (rc) {
			rc = err_set(err, err_from_connect(rc), "cannot connect to %s: %s",
				     a->where, strerror(rc));
			free(a);
		}
	} else {
		rc = child_begin(a, svc->name, request, err);
		if (rc && a->parts == 0)
			free(a);
	}
	if (rc) {
		s->ops = NULL;
		s->state = NULL;
	}
	return rc ? rc : 1;
}
