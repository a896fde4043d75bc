/* plain_forward.c - connections of a plain session. To a port as seen from the host: `ssh -W`,
 * whose standard input and output are the connection. To a unix socket there, and for listeners
 * there: a forward of the master connection to a socket in our private folder, taken back at the
 * end. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "api/plain.h"
#include "loop/child.h"
#include "loop/io.h"
#include "loop/sock.h"

#define ASK_MS       30000
#define ARRIVALS_MAX 64 /* connections that nobody has fetched yet */

/* A connection of a listener on the host. */
struct plain_arrival {
	struct list node;
	unsigned long id;
	int fd;
};

/* A listener there: what comes to our socket is announced on the stream. */
struct listening {
	struct plain *p;
	int fd, sock; /* the stream; our socket, -1: none yet */
	struct sockaddr_un sa;
	char *spec; /* of -R */
};

/* ---- forwards of the master ---- */

/* `ssh -O forward|cancel -L|-R SPEC`; *ret_port (may be NULL): what the host chose. */
static int change(struct plain *p, const char *verb, const char *flag, const char *spec,
		  int *ret_port, struct tl_err *err)
{
	const char *const more[] = {"-O", verb, "-o", "StreamLocalBindMask=0177", flag, spec, NULL};
	struct buf out;
	long long port = 0;
	char text[16] = "";
	int status = 255, rc;

	buf_init(&out, 4096);
	rc = plain_ask(p, more, NULL, &out, ASK_MS, &status, err);
	if (rc == 0 && out.len < sizeof(text))
		memcpy(text, buf_data(&out).p ? (const void *)buf_data(&out).p : "", out.len);
	text[strcspn(text, "\r\n")] = 0;
	buf_fini(&out);
	if (rc == 0 && status == 0 && ret_port)
		*ret_port = str_to_int(text, 1, 65535, &port) ? (int)port : 0;
	return rc ? rc : status ? TL_E_REFUSED : 0;
}

static unsigned new_id(struct plain *p)
{
	unsigned id;

	pthread_mutex_lock(&p->lock);
	id = ++p->next_id;
	pthread_mutex_unlock(&p->lock);
	return id;
}

static int socket_path(struct plain *p, struct sockaddr_un *sa, struct tl_err *err)
{
	int n;

	memset(sa, 0, sizeof(*sa));
	sa->sun_family = AF_UNIX;
	n = snprintf(sa->sun_path, sizeof(sa->sun_path), "%s/f%u", p->dir, new_id(p));
	return n > 0 && (size_t)n < sizeof(sa->sun_path)
		   ? 0
		   : err_set(err, TL_E_LIMIT, "the path of the runtime folder is too long");
}

/* ---- connections from there ---- */

/* The path of a socket there as ssh takes it: ~ is not known to it. */
static int dial_path(struct plain *p, const char *path, int *ret_fd, struct tl_err *err)
{
	struct sockaddr_un sa;
	char *spec;
	int rc, fd;

	if (path[0] != '/')
		return err_set(
		    err, TL_E_UNSUPPORTED,
		    "cannot connect to %s of %s: it is served by plain ssh, which needs an "
		    "absolute path",
		    path, p->host);
	if (strchr(path, ':'))
		return err_set(
		    err, TL_E_UNSUPPORTED,
		    "cannot connect to %s of %s: it is served by plain ssh, and the path has "
		    "a colon",
		    path, p->host);
	rc = socket_path(p, &sa, err);
	if (rc)
		return rc;
	spec = str_fmt("%s:%s", sa.sun_path, path);
	if (!spec)
		return err_set(err, TL_E_NOMEM, "cannot connect to %s: out of memory", path);
	rc = change(p, "forward", "-L", spec, NULL, err);
	fd = rc ? rc : connect_unix(sa.sun_path, err);
	if (rc == 0)
		change(p, "cancel", "-L", spec, NULL, NULL);
	unlink(sa.sun_path);
	free(spec);
	if (rc == TL_E_REFUSED)
		err_set(err, rc, "cannot connect to %s of %s: its server does not allow it", path,
			p->host);
	if (fd < 0)
		return err->code;
	*ret_fd = fd;
	return 0;
}

int plain_dial(struct plain *p, yyjson_val *open, int *ret_fd, struct tl_err *err)
{
	const char *path = json_str(open, "path", ""), *host = json_str(open, "host", "");
	int port = (int)json_int(open, "port", 0), sv[2], rc;
	struct child_spec spec = {.fd = {-1, -1, -1}, .ctty = -1};
	struct strv argv = {0};
	char target[400];

	if (*path)
		return dial_path(p, path, ret_fd, err);
	snprintf(target, sizeof(target), strchr(host, ':') ? "[%s]:%d" : "%s:%d", host, port);
	const char *const more[] = {"-W", target, NULL};
	if (socket_pair(sv) != 0)
		return err_sys(err, errno, "cannot connect to %s", target);
	rc = plain_argv(p, &argv, more, NULL);
	spec.argv = argv.v;
	spec.fd[0] = spec.fd[1] = sv[1];
	rc = rc ? err_set(err, rc, "cannot connect to %s: out of memory", target)
		: spawn_detached(&spec, -1, err);
	strv_fini(&argv);
	close(sv[1]);
	if (rc)
		close(sv[0]);
	else
		*ret_fd = sv[0];
	return rc;
}

/* ---- listeners there ---- */

static void arrived(struct listening *l, int fd)
{
	struct plain_arrival *a = calloc(1, sizeof(*a));
	struct plain *p = l->p;
	size_t waiting = 0;
	char line[128];
	int n;

	if (!a) {
		close(fd);
		return;
	}
	a->fd = fd;
	a->id = new_id(p);
	pthread_mutex_lock(&p->lock);
	LIST_FOREACH (it, &p->arrivals)
		waiting += it != NULL;
	list_add_tail(&p->arrivals, &a->node);
	/* the oldest is the one that nobody wants */
	if (waiting >= ARRIVALS_MAX) {
		struct plain_arrival *old =
		    list_entry(p->arrivals.next, struct plain_arrival, node);
		list_del(&old->node);
		close(old->fd);
		free(old);
	}
	pthread_mutex_unlock(&p->lock);
	n = snprintf(line, sizeof(line),
		     "{\"id\":\"plain/%lu\",\"address\":\"a program there\",\"port\":0}\n", a->id);
	fd_write_all(l->fd, line, (size_t)n, ASK_MS);
}

int plain_fetch(struct plain *p, yyjson_val *open, int *ret_fd, struct tl_err *err)
{
	const char *id = json_str(open, "id", "");
	long long want = 0;

	if (str_starts(id, "plain/") && str_to_int(id + 6, 1, INT32_MAX, &want)) {
		pthread_mutex_lock(&p->lock);
		LIST_FOREACH (it, &p->arrivals) {
			struct plain_arrival *a = list_entry(it, struct plain_arrival, node);
			if (a->id != (unsigned long)want)
				continue;
			list_del(&a->node);
			*ret_fd = a->fd;
			free(a);
			pthread_mutex_unlock(&p->lock);
			return 0;
		}
		pthread_mutex_unlock(&p->lock);
	}
	return err_set(err, TL_E_CLOSED, "cannot take a connection over: it is gone");
}

void plain_arrivals_fini(struct plain *p)
{
	LIST_FOREACH_SAFE (it, &p->arrivals) {
		struct plain_arrival *a = list_entry(it, struct plain_arrival, node);
		list_del(it);
		close(a->fd);
		free(a);
	}
}

static void listening_free(struct listening *l)
{
	if (l->sock >= 0) {
		close(l->sock);
		unlink(l->sa.sun_path);
	}
	if (l->fd >= 0)
		close(l->fd);
	free(l->spec);
	free(l);
}

static void *listening_main(void *arg)
{
	struct listening *l = arg;
	struct plain *p = l->p;
	char byte;

	for (;;) {
		struct pollfd pf[3] = {{.fd = l->fd, .events = POLLIN},
				       {.fd = cancel_fd(p->stop), .events = POLLIN},
				       {.fd = l->sock, .events = POLLIN}};
		int fd;
		if (poll(pf, 3, -1) < 0 && errno != EINTR)
			break;
		if (pf[1].revents || (pf[0].revents && recv(l->fd, &byte, 1, 0) <= 0))
			break;
		fd = pf[2].revents ? accept4(l->sock, NULL, NULL, SOCK_CLOEXEC) : -1;
		if (fd >= 0)
			arrived(l, fd);
	}
	change(p, "cancel", "-R", l->spec, NULL, NULL);
	listening_free(l);
	plain_leave(p);
	return NULL;
}

/* Our end of it, and what -R wants to hear. */
static int prepare(struct listening *l, yyjson_val *open, struct tl_err *err)
{
	const char *path = json_str(open, "path", ""), *address = json_str(open, "address", "");
	int port = (int)json_int(open, "port", 0), rc;

	if (*path && (path[0] != '/' || strchr(path, ':')))
		return err_set(
		    err, TL_E_UNSUPPORTED,
		    "cannot listen on %s of %s: it is served by plain ssh, which needs an "
		    "absolute path without a colon",
		    path, l->p->host);
	rc = socket_path(l->p, &l->sa, err);
	if (rc)
		return rc;
	l->sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (l->sock < 0 || bind(l->sock, (struct sockaddr *)&l->sa, sizeof(l->sa)) != 0 ||
	    listen(l->sock, ARRIVALS_MAX) != 0)
		return err_sys(err, errno, "cannot make a socket for a tunnel");
	l->spec = *path ? str_fmt("%s:%s", path, l->sa.sun_path)
		  : strchr(address, ':')
		      ? str_fmt("[%s]:%d:%s", address, port, l->sa.sun_path)
		      : str_fmt("%s:%d:%s", *address ? address : "127.0.0.1", port, l->sa.sun_path);
	return l->spec ? 0 : err_set(err, TL_E_NOMEM, "cannot make a tunnel: out of memory");
}

int plain_listen(struct plain *p, yyjson_val *open, int *ret_fd, int *ret_port, struct tl_err *err)
{
	struct listening *l = calloc(1, sizeof(*l));
	int port = (int)json_int(open, "port", 0), sv[2], rc;

	if (!l)
		return err_set(err, TL_E_NOMEM, "cannot make a tunnel: out of memory");
	l->p = p;
	l->fd = l->sock = -1;
	rc = prepare(l, open, err);
	rc = rc ? rc : change(p, "forward", "-R", l->spec, ret_port, err);
	if (rc == TL_E_REFUSED)
		err_set(
		    err, rc,
		    "cannot listen on %s (%.*s): the place is taken, or its server does not allow "
		    "it",
		    p->host, (int)(strlen(l->spec) - strlen(l->sa.sun_path) - 1), l->spec);
	if (rc == 0 && socket_pair(sv) != 0)
		rc = err_sys(err, errno, "cannot open a stream to %s", p->host);
	if (rc == 0) {
		l->fd = sv[1];
		rc = plain_thread(p, listening_main, l, err);
		if (rc)
			close(sv[0]);
	}
	if (rc) {
		listening_free(l);
		return rc;
	}
	/* ssh tells only a port that it was asked to choose */
	*ret_port = *json_str(open, "path", "") ? 0 : port ? port : *ret_port;
	*ret_fd = sv[0];
	return 0;
}
