/* exec.c - commands: one exec stream each, carried by the calling thread. It waits for the stream,
 * the caller's descriptors and the cancel token at once and never holds more than one frame each
 * way, so a slow reader slows the command and not the rest of the session. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "api/exec_open.h"
#include "api/session_priv.h"
#include "loop/io.h"
#include "loop/loop.h"
#include "wire/exec_frame.h"

#define IN_BYTES  ((size_t)2 * EXEC_FRAME_MAX)
#define PIPE_ONCE 4096 /* a pipe that is writable takes so much without blocking */

/* Where one of the command's outputs goes. */
struct outlet {
	int fd; /* -1: fn, else dropped */
	bool pipe;
	tl_bytes_fn *fn;
	const char *name;
};

struct exec {
	struct tl_session *s;
	const struct tl_exec *x;
	struct tl_error *err;
	int fd; /* the stream */
	uint64_t deadline_ms;
	struct tl_cancel *resized; /* borrowed; NULL: the size stays */
	struct outlet out[2];
	/* from the host: frames; `at` bytes of the payload at the front are delivered */
	uint8_t *in;
	size_t in_n, at;
	bool stalled; /* the front payload waits for its descriptor */
	bool ended;   /* EXIT was read */
	struct tl_exit exit;
	/* to the host: one frame, and what comes next */
	uint8_t out_frame[EXEC_FRAME_MAX];
	size_t out_off, out_n;
	struct buf script;
	bool script_left, stdin_left;
	size_t data_off; /* of stdin_data */
	bool deaf;       /* the host takes nothing more */
};

/* ---- output ---- */

/* A pipe or terminal without reader must not end the program with SIGPIPE. */
static ssize_t write_quietly(int fd, const void *p, size_t n)
{
	static const struct timespec now = {0, 0};
	sigset_t pipe_set, before, pending;
	ssize_t put = send(fd, p, n, MSG_NOSIGNAL | MSG_DONTWAIT);
	int e;

	if (put >= 0 || errno != ENOTSOCK)
		return put;
	sigemptyset(&pipe_set);
	sigaddset(&pipe_set, SIGPIPE);
	sigpending(&pending);
	pthread_sigmask(SIG_BLOCK, &pipe_set, &before);
	put = write(fd, p, n);
	e = errno;
	if (put < 0 && e == EPIPE && !sigismember(&pending, SIGPIPE))
		while (sigtimedwait(&pipe_set, NULL, &now) < 0 && errno == EINTR)
			;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	errno = e;
	return put;
}

static bool is_ready(int fd, short events)
{
	struct pollfd pf = {.fd = fd, .events = events};

	return poll(&pf, 1, 0) > 0;
}

/* A reader that has gone says nothing about our connection, as TL_E_CLOSED would. */
static int undelivered(struct exec *c, const struct outlet *o, int sys_errno)
{
	struct tl_err e = {0};

	err_sys(&e, sys_errno, "cannot pass on the %s of the command on %s", o->name, c->s->host);
	if (e.code == TL_E_CLOSED)
		e.code = TL_E_IO;
	return api_fail(c->err, &e);
}

/* Bytes taken; 0: not now; negative: an error was told. */
static long deliver(struct exec *c, const struct outlet *o, struct tl_bytes b)
{
	size_t n = o->pipe && b.n > PIPE_ONCE ? PIPE_ONCE : b.n;
	ssize_t put;

	if (o->fd < 0) {
		if (o->fn && o->fn(c->x->ctx, b.p, b.n) != 0)
			return api_failf(c->err, TL_E_CANCELED,
					 "the command on %s was canceled by the function that "
					 "takes its %s",
					 c->s->host, o->name);
		return (long)b.n;
	}
	if (!is_ready(o->fd, POLLOUT))
		return 0;
	put = write_quietly(o->fd, b.p, n);
	if (put >= 0)
		return (long)put;
	if (errno == EINTR || errno == EAGAIN || errno == EWOULDBLOCK)
		return 0;
	return undelivered(c, o, errno);
}

static int take_exit(struct exec *c, struct tl_bytes p)
{
	uint32_t kind = get_u32(p.p), value = get_u32(p.p + 4);

	c->ended = true;
	if (kind == EXEC_EXIT_SIGNAL)
		c->exit.signal = (int)value;
	else
		c->exit.status = (int)value;
	return 0;
}

/* The complete frames at the front. */
static int take_frames(struct exec *c)
{
	size_t off = 0;
	int rc = 0;

	c->stalled = false;
	while (!rc && !c->ended) {
		struct exec_frame f;
		size_t used;
		int got = exec_frame_next(bytes_of(c->in + off, c->in_n - off), EXEC_FROM_HOST, &f,
					  &used);
		if (got == 0)
			break;
		if (got < 0) {
			rc = api_failf(c->err, TL_E_PROTO,
				       "%s sent something that is no frame of a command",
				       c->s->host);
			break;
		}
		if (f.type == EXEC_FRAME_EXIT) {
			rc = take_exit(c, f.payload);
		} else {
			const struct outlet *o = &c->out[f.type == EXEC_FRAME_STDERR];
			long n =
			    c->at < f.payload.n
				? deliver(c, o, bytes_of(f.payload.p + c->at, f.payload.n - c->at))
				: 0;
			if (n < 0) {
				rc = (int)n;
				break;
			}
			c->at += (size_t)n;
			if (c->at < f.payload.n) {
				c->stalled = n == 0;
				if (c->stalled)
					break;
				continue;
			}
		}
		c->at = 0;
		off += used;
	}
	memmove(c->in, c->in + off, c->in_n - off);
	c->in_n -= off;
	return rc;
}

static int stream_ended(struct exec *c)
{
	struct tl_err why = {0};

	if (c->s->back->lost(c->s, &why))
		return api_failf(c->err, TL_E_LOST,
				 "the connection to %s was lost while a command ran: %s",
				 c->s->host, why.text);
	return api_failf(c->err, TL_E_LOST,
			 "%s ended the command's stream without saying how it ended", c->s->host);
}

static int from_host(struct exec *c)
{
	ssize_t got;

	if (c->in_n == IN_BYTES)
		return 0;
	got = recv(c->fd, c->in + c->in_n, IN_BYTES - c->in_n, MSG_DONTWAIT);
	if (got < 0 && (errno == EINTR || errno == EAGAIN))
		return 0;
	if (got <= 0)
		return stream_ended(c);
	c->in_n += (size_t)got;
	return take_frames(c);
}

/* ---- input ---- */

static void put_frame(struct exec *c, uint8_t type, const void *p, size_t n)
{
	exec_put_header(c->out_frame, type, n);
	if (n && p != c->out_frame + EXEC_HEADER)
		memcpy(c->out_frame + EXEC_HEADER, p, n);
	c->out_off = 0;
	c->out_n = EXEC_HEADER + n;
}

static void next_script(struct exec *c)
{
	struct tl_bytes b = buf_data(&c->script);
	size_t n = b.n < EXEC_PAYLOAD ? b.n : EXEC_PAYLOAD;

	put_frame(c, EXEC_FRAME_SCRIPT, b.p, n);
	buf_consume(&c->script, n);
	c->script_left = n > 0;
}

static void next_stdin(struct exec *c)
{
	const struct tl_exec *x = c->x;
	size_t n = x->stdin_n - c->data_off;
	ssize_t got;

	if (x->stdin_fd < 0) {
		n = !x->stdin_data ? 0 : n < EXEC_PAYLOAD ? n : EXEC_PAYLOAD;
		if (n)
			put_frame(c, EXEC_FRAME_STDIN, (const uint8_t *)x->stdin_data + c->data_off,
				  n);
		c->data_off += n;
		got = (ssize_t)n;
	} else {
		got = read(x->stdin_fd, c->out_frame + EXEC_HEADER, EXEC_PAYLOAD);
		if (got < 0 && (errno == EINTR || errno == EAGAIN || errno == EWOULDBLOCK))
			return;
		if (got > 0)
			put_frame(c, EXEC_FRAME_STDIN, c->out_frame + EXEC_HEADER, (size_t)got);
	}
	if (got <= 0) {
		put_frame(c, EXEC_FRAME_STDIN_EOF, NULL, 0);
		c->stdin_left = false;
	}
}

static void next_size(struct exec *c)
{
	struct winsize ws = {0};
	uint8_t size[4];

	tl_cancel_reset(c->resized);
	if (ioctl(c->x->tty_fd, TIOCGWINSZ, &ws) != 0 || !ws.ws_col || !ws.ws_row)
		return;
	set_u16(size, ws.ws_col);
	set_u16(size + 2, ws.ws_row);
	put_frame(c, EXEC_FRAME_RESIZE, size, sizeof(size));
}

/* Sends what is there; makes the next frame where that needs no waiting. */
static void to_host(struct exec *c)
{
	while (!c->deaf) {
		ssize_t put;
		if (c->out_n == 0) {
			if (c->script_left)
				next_script(c);
			else if (c->stdin_left && c->x->stdin_fd < 0)
				next_stdin(c);
			if (c->out_n == 0)
				return;
		}
		put = send(c->fd, c->out_frame + c->out_off, c->out_n, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0 && errno != EAGAIN)
			c->deaf = true; /* why, the reading side will tell */
		if (put <= 0)
			return;
		c->out_off += (size_t)put;
		c->out_n -= (size_t)put;
	}
}

/* ---- waiting ---- */

enum { W_STREAM, W_CANCEL, W_STDIN, W_OUT, W_SIZE, W_COUNT };

static int wait_ms(const struct exec *c)
{
	uint64_t now = clock_mono_ms();

	if (!c->deadline_ms)
		return -1;
	return c->deadline_ms > now ? (int)(c->deadline_ms - now) : 0;
}

static int turn(struct exec *c)
{
	bool want_stdin =
	    c->stdin_left && !c->script_left && !c->deaf && c->out_n == 0 && c->x->stdin_fd >= 0;
	struct pollfd pf[W_COUNT] = {
	    [W_STREAM] = {.fd = c->fd},
	    [W_CANCEL] = {.fd = cancel_fd(c->x->cancel), .events = POLLIN},
	    [W_STDIN] = {.fd = want_stdin ? c->x->stdin_fd : -1, .events = POLLIN},
	    [W_OUT] = {.fd = -1, .events = POLLOUT},
	    /* between two frames of input */
	    [W_SIZE] = {.fd = c->out_n || c->deaf ? -1 : cancel_fd(c->resized), .events = POLLIN},
	};
	int n;

	if (c->in_n < IN_BYTES && !c->stalled)
		pf[W_STREAM].events |= POLLIN;
	if (c->out_n > 0 && !c->deaf)
		pf[W_STREAM].events |= POLLOUT;
	/* an end that cannot be read yet would be told again and again */
	if (!pf[W_STREAM].events)
		pf[W_STREAM].fd = -1;
	if (c->stalled)
		pf[W_OUT].fd = c->out[c->in[0] == EXEC_FRAME_STDERR].fd;
	n = poll(pf, W_COUNT, wait_ms(c));
	if (n < 0)
		return errno == EINTR ? 0
				      : api_fails(c->err, errno, "cannot wait for a command on %s",
						  c->s->host);
	if (pf[W_CANCEL].revents)
		return api_failf(c->err, TL_E_CANCELED, "the command on %s was canceled",
				 c->s->host);
	if (n == 0)
		return api_failf(c->err, TL_E_TIMEOUT,
				 "the command on %s did not end within %d ms and was ended",
				 c->s->host, c->x->timeout_ms);
	if (pf[W_SIZE].revents)
		next_size(c);
	else if (pf[W_STDIN].revents)
		next_stdin(c);
	to_host(c);
	if (pf[W_OUT].revents) {
		int rc = take_frames(c);
		if (rc || c->ended)
			return rc;
	}
	return pf[W_STREAM].revents & ~POLLOUT ? from_host(c) : 0;
}

/* ---- the calls ---- */

static void outlet_init(struct outlet *o, int fd, tl_bytes_fn *fn, const char *name)
{
	struct stat st;

	o->fd = fd;
	o->fn = fn;
	o->name = name;
	o->pipe = fd >= 0 && fstat(fd, &st) == 0 && S_ISFIFO(st.st_mode);
}

static int check(struct tl_session *s, const struct tl_exec *x, struct tl_error *err)
{
	if (!s || !x)
		return api_failf(err, TL_E_INVAL, "cannot run a command: no session or no command");
	if (!API_HAS(x, struct tl_exec, timeout_ms))
		return api_failf(err, TL_E_INVAL,
				 "cannot run a command: it was not made with TL_EXEC_INIT");
	if (x->timeout_ms < 0)
		return api_failf(err, TL_E_INVAL, "cannot run a command: a time-out of %d ms",
				 x->timeout_ms);
	return 0;
}

static int exec_on(struct exec *c, const char *open, struct tl_exit *ret)
{
	int rc =
	    session_open_answered(c->s, open, c->x->cancel, c->deadline_ms, &c->fd, NULL, c->err);

	if (rc)
		return rc;
	to_host(c);
	while (!rc && !c->ended)
		rc = turn(c);
	/* before EXIT the end of the stream ends the command */
	close(c->fd);
	if (rc == 0 && ret)
		*ret = c->exit;
	return rc;
}

int tl_exec(struct tl_session *s, const struct tl_exec *x, struct tl_exit *ret,
	    struct tl_error *err)
{
	struct exec *c;
	char *open = NULL;
	int rc = check(s, x, err);

	if (rc)
		return rc;
	c = calloc(1, sizeof(*c));
	if (!c || !(c->in = malloc(IN_BYTES))) {
		free(c);
		return api_failf(err, TL_E_NOMEM, "cannot run a command on %s: out of memory",
				 s->host);
	}
	c->s = s;
	c->x = x;
	c->err = err;
	c->stdin_left = true;
	if (x->pty && API_HAS(x, struct tl_exec, tty_fd))
		c->resized = x->resized;
	if (x->timeout_ms)
		c->deadline_ms = clock_mono_ms() + (uint64_t)x->timeout_ms;
	outlet_init(&c->out[0], x->stdout_fd, x->on_stdout, "output");
	outlet_init(&c->out[1], x->stderr_fd, x->on_stderr, "error output");
	buf_init(&c->script, TL_LIMIT_EXEC_SCRIPT);
	rc = exec_opening(x, &open, &c->script, err);
	c->script_left = c->script.len > 0;
	if (rc == 0)
		rc = session_slot_take(s, x->cancel, c->deadline_ms, err);
	if (rc == 0) {
		rc = exec_on(c, open, ret);
		session_slot_give(s);
	}
	if (rc == 0)
		api_ok(err);
	buf_fini(&c->script);
	free(open);
	free(c->in);
	free(c);
	return rc;
}

int tl_run(struct tl_session *s, const char *command, struct tl_exit *ret, struct tl_error *err)
{
	const char *const commands[] = {command, NULL};
	struct tl_exec x = TL_EXEC_INIT;

	x.commands = commands;
	x.stdout_fd = STDOUT_FILENO;
	x.stderr_fd = STDERR_FILENO;
	return tl_exec(s, &x, ret, err);
}
