/* agent_relay.c - services that are a descriptor: a child of our own program per sftp and watch
 * stream, a hold's socket per term stream.
 * No buffer of its own: bytes leave the descriptor only when the session takes them, and leave the
 * session only when the descriptor took them. Half-close is passed on. The child ends with its
 * stream: it sees the end of its input, and SIGKILL when that did not help. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"
#include "base/str.h"
#include "host/agent.h"
#include "host/agent_holds.h"
#include "host/agent_url.h"

/* A child that wants to finish a write gets this long after its stream ended. */
#define CHILD_END_MS 5000

struct relay {
	struct agent_stream *s; /* NULL once the stream is over */
	struct agent *agent;
	struct io io;
	struct child child;
	struct loop_timer killer; /* open while a child lives on without a stream */
	bool has_child, in_eof, finished, waiting;
	bool socket; /* a connection: what broke there is reset, and the other way round */
	int parts;   /* handles that still need this memory */
};

static void relay_part_gone(void *ctx)
{
	struct relay *r = ctx;

	if (--r->parts == 0)
		free(r);
}

static void relay_kill(void *ctx)
{
	struct relay *r = ctx;

	child_kill(&r->child, SIGKILL, true);
	/* a process in the kernel's deepest sleep dies later; it is reaped whenever that is */
	child_forget(&r->child);
	timer_close(&r->killer, relay_part_gone);
}

/* descriptor -> session */
static void relay_fill(struct relay *r)
{
	struct agent_stream *s = r->s;
	size_t moved = 0;

	while (s && !r->in_eof && moved < AGENT_TURN_BYTES) {
		size_t room = session_writable(s->st),
		       most = room < AGENT_CHUNK ? room : AGENT_CHUNK;
		long n;
		if (room == 0) {
			/* nothing is taken; asking is what makes WRITABLE come */
			r->waiting = session_write(s->st, bytes_of(r->agent->chunk, 1)) == 0;
			return;
		}
		n = io_read(&r->io, r->agent->chunk, most);
		if (n == TL_E_AGAIN)
			break;
		if (n < 0 && r->socket) {
			session_reset(s->st);
			return;
		}
		if (n <= 0) {
			r->in_eof = true;
			io_want_read(&r->io, false);
			/* how the child ended decides how the stream does */
			if (!r->has_child || r->child.pid == 0)
				session_finish(s->st);
			return;
		}
		moved += (size_t)n;
		if (session_write(s->st, bytes_of(r->agent->chunk, (size_t)n)) != n) {
			session_reset(s->st);
			return;
		}
		if ((size_t)n < most)
			break;
	}
	if (!r->in_eof)
		io_want_read(&r->io, true);
}

/* session -> descriptor */
static void relay_drain(struct relay *r)
{
	struct agent_stream *s = r->s;
	struct tl_bytes b;

	while ((b = session_peek(s->st)).n > 0) {
		/* what a finished far end cannot read any more is thrown away, not kept */
		long n = r->finished ? (long)b.n : io_write(&r->io, b.p, b.n);
		if (n < 0 && r->socket) {
			session_reset(s->st);
			return;
		}
		if (n < 0) {
			r->finished = true;
			continue;
		}
		session_consume(s->st, (size_t)n);
		if ((size_t)n < b.n) {
			io_want_write(&r->io, true);
			return;
		}
	}
	if (session_eof(s->st) && !r->finished) {
		r->finished = true;
		io_finish(&r->io);
	}
}

static void relay_on_readable(void *ctx)
{
	struct relay *r = ctx;

	if (!r->s)
		return;
	relay_fill(r);
	if (r->s)
		agent_link_kick(r->s->link);
	/* still so after the link took what it takes: the switch costs more than a short stop */
	if (r->s && r->waiting)
		io_want_read(&r->io, false);
}

static void relay_on_writable(void *ctx)
{
	struct relay *r = ctx;

	if (!r->s)
		return;
	relay_drain(r);
	if (r->s)
		agent_link_kick(r->s->link);
}

/* Both directions of a connection are gone: where it was a reset, nobody may be reading to notice.
 */
static void relay_hangup(void *ctx)
{
	struct relay *r = ctx;
	struct agent_link *lk;
	int e = 0;
	socklen_t n = sizeof(e);

	if (!r->s || getsockopt(r->io.rfd, SOL_SOCKET, SO_ERROR, &e, &n) != 0 || !e)
		return;
	lk = r->s->link;
	session_reset(r->s->st);
	agent_link_kick(lk);
}

static void relay_readable(struct agent_stream *s)
{
	relay_drain(s->state);
}

static void relay_writable(struct agent_stream *s)
{
	struct relay *r = s->state;

	if (r->waiting) {
		r->waiting = false;
		relay_fill(r);
	}
}

static void relay_closed(struct agent_stream *s)
{
	static const struct linger hard = {.l_onoff = 1};
	struct relay *r = s->state;

	r->s = NULL;
	/* the client's end may be news; without it, or without ours, this is a reset */
	if (r->socket && !(r->in_eof && (r->finished || session_eof(s->st))))
		setsockopt(r->io.rfd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
	io_close(&r->io, relay_part_gone);
	if (r->has_child && r->child.pid > 0) {
		r->parts++;
		timer_init(&r->agent->loop, &r->killer, relay_kill, r);
		/* a private server waits for its children; an agent that stops does not */
		timer_start(&r->killer,
			    r->agent->stopping && !r->agent->on_single_over ? 0 : CHILD_END_MS);
	}
}

static const struct stream_ops relay_ops = {
    .readable = relay_readable, .writable = relay_writable, .closed = relay_closed};

static void relay_child_exit(void *ctx, int kind, int value)
{
	struct relay *r = ctx;
	struct agent_link *lk;

	if (!r->s) {
		timer_close(&r->killer, relay_part_gone);
		return;
	}
	lk = r->s->link;
	if (kind == 1)
		log_line(LOG_WARN, lk->name, "a child was ended by signal %d", value);
	else if (value != 0)
		log_line(LOG_INFO, lk->name, "a child ended with status %d", value);
	if (kind == 1)
		session_reset(r->s->st);
	else if (r->in_eof)
		session_finish(r->s->st);
	agent_link_kick(lk);
}

/* Takes fd. */
static struct relay *relay_new(struct agent_stream *s, int fd, struct tl_err *err)
{
	struct relay *r = calloc(1, sizeof(*r));
	struct agent *a = s->link->agent;

	if (!r || io_open(&a->loop, &r->io, fd, fd, relay_on_readable, relay_on_writable, r) != 0) {
		free(r);
		close(fd);
		err_set(err, TL_E_NOMEM, "cannot open a stream: out of memory");
		return NULL;
	}
	r->agent = a;
	r->s = s;
	r->parts = 1;
	s->state = r;
	s->ops = &relay_ops;
	return r;
}

static void relay_undo(struct agent_stream *s)
{
	relay_closed(s);
	s->state = NULL;
	s->ops = NULL;
}

int relay_open_program(struct agent_stream *s, struct child_spec *spec, const char *what,
		       struct tl_err *err)
{
	int fds[2], rc = socket_pair(fds);
	struct tl_err why = {0};
	struct relay *r;

	if (rc)
		return err_set(err, rc, "cannot start %s: no socket pair: %s", what,
			       err_row(rc)->what);
	r = relay_new(s, fds[0], err);
	if (!r) {
		close(fds[1]);
		return TL_E_NOMEM;
	}
	spec->fd[0] = spec->fd[1] = fds[1];
	spec->fd[2] = 2;
	rc = child_spawn(&s->link->agent->loop, &r->child, spec, relay_child_exit, r, &why);
	close(fds[1]);
	if (rc) {
		relay_undo(s);
		return err_set(err, rc, "cannot start %s on the host: %.400s", what, why.text);
	}
	r->has_child = true;
	return 0;
}

int relay_open_child(struct agent_stream *s, const struct service *svc, yyjson_val *request,
		     struct tl_err *err)
{
	/* the face is called like the service, but for sftp, which keeps its customary name */
	const char *face = strcmp(svc->name, "sftp") == 0 ? "sftp-server" : svc->name;
	/* only this one looks for terminals by itself */
	const char *forced = strcmp(face, "ports") == 0 ? s->link->agent->forced_run_dir : NULL;
	char *argv[] = {(char *)(uintptr_t) "towline-host", (char *)(uintptr_t)face,
			(char *)(uintptr_t)(forced ? "--run-dir" : NULL), (char *)(uintptr_t)forced,
			NULL};
	struct child_spec spec = {
	    .file = "/proc/self/exe", .argv = argv, .new_group = true, .ctty = -1};

	(void)request;
	return relay_open_program(s, &spec, face, err);
}

pid_t relay_child_pid(const struct agent_stream *s)
{
	const struct relay *r = s->state;

	return r->child.pid;
}

int relay_open_answering(struct agent_stream *s, const struct service *svc, yyjson_val *request,
			 struct tl_err *err)
{
	size_t n = 0;
	char *line = yyjson_val_write(request, 0, &n);
	int rc = line ? relay_open_child(s, svc, request, err) : TL_E_NOMEM;
	struct relay *r = s->state;

	/* an empty socket buffer takes a whole opening line */
	if (rc == 0) {
		line[n] = '\n';
		if (io_write(&r->io, line, n + 1) != (long)n + 1)
			rc = err_set(err, TL_E_IO, "cannot start %s on the host", svc->name);
		else
			rc = 1;
		if (rc < 0)
			relay_undo(s);
	}
	free(line);
	return rc;
}

int relay_open_kernel(struct agent_stream *s, const struct service *svc, yyjson_val *request,
		      struct tl_err *err)
{
	const char *id = json_str(request, "id", NULL);
	int fd;

	(void)svc;
	if (s->link->agent->on_single_over)
		return err_set(err, TL_E_UNSUPPORTED,
			       "cannot attach to a session: this server runs for one client only");
	if (!id)
		return err_set(err, TL_E_INVAL, "cannot attach to a session: \"id\" is missing");
	fd = kernel_connect(s->link->agent->forced_run_dir, id, err);
	if (fd < 0)
		return fd;
	return relay_new(s, fd, err) ? 0 : TL_E_NOMEM;
}

int relay_open_term(struct agent_stream *s, const struct service *svc, yyjson_val *request,
		    struct tl_err *err)
{
	const char *id = json_str(request, "id", NULL);
	int fd;

	(void)svc;
	if (s->link->agent->on_single_over && !s->link->agent->stand_in)
		return err_set(
		    err, TL_E_UNSUPPORTED,
		    "cannot attach to a terminal: this server runs for one session only");
	if (!id)
		return err_set(err, TL_E_INVAL, "cannot attach to a terminal: \"id\" is missing");
	fd = hold_connect(s->link->agent->forced_run_dir, id, err);
	if (fd < 0)
		return fd;
	if (!relay_new(s, fd, err))
		return TL_E_NOMEM;
	agent_url_attached(s->link, id);
	return 0;
}

int relay_open_fd(struct agent_stream *s, int fd, struct tl_err *err)
{
	return relay_new(s, fd, err) ? 0 : TL_E_NOMEM;
}

int relay_open_socket(struct agent_stream *s, int fd, struct tl_err *err)
{
	struct relay *r = relay_new(s, fd, err);

	if (!r)
		return TL_E_NOMEM;
	r->socket = true;
	io_watch_hangup(&r->io, relay_hangup);
	return 0;
}
