/* copy_tar_run.c - lines of sh through the master connection, their streams moved by the calling
 * thread. Owns the ssh that carries them and ends it with the call. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "api/copy_tar.h"
#include "base/str.h"
#include "loop/child.h"
#include "loop/loop.h"
#include "loop/sock.h"

#define NOISE_MAX 65536
#define SAID_MAX  8192
#define CLEAN_MS  10000

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

/* Input is a socket: a write to nobody is no signal then. */
static int spawn(struct tar_run *r, struct strv *argv, bool with_input, struct tl_err *err)
{
	struct child_spec spec = {.argv = argv->v, .fd = {-1, -1, -1}, .ctty = -1};
	int in[2] = {-1, -1}, out[2] = {-1, -1}, errs[2] = {-1, -1}, rc = 0;

	if ((with_input && socket_pair(in) != 0) || pipe2(out, O_CLOEXEC) != 0 ||
	    pipe2(errs, O_CLOEXEC) != 0)
		rc = err_sys(err, errno, "cannot make a pipe");
	spec.fd[0] = in[0];
	spec.fd[1] = out[1];
	spec.fd[2] = errs[1];
	spec.new_session = true;
	rc = rc ? rc : child_start(&spec, &r->pid, err);
	r->in = in[1];
	r->out = out[0];
	r->errs = errs[0];
	close_fd(&in[0]);
	close_fd(&out[1]);
	close_fd(&errs[1]);
	return rc;
}

int tar_run_begin(struct tar_run *r, struct copy *c, const struct buf *lines, bool with_input,
		  struct tl_err *err)
{
	struct strv argv = {0};
	struct buf all;
	char id[17];
	int rc;

	*r = (struct tar_run){.c = c, .in = -1, .out = -1, .errs = -1};
	buf_init(&r->noise, NOISE_MAX);
	buf_init(&r->said, SAID_MAX);
	random_id(id, sizeof(id) - 1);
	r->mark_n = (size_t)snprintf(r->mark, sizeof(r->mark), "%ctowline-tar %s\n", 0, id);
	buf_init(&all, lines->max + 128);
	rc = buf_printf(&all, "printf '\\000towline-tar %%s\\n' %s\n", id);
	rc = rc ? rc : buf_put(&all, buf_data(lines).p, lines->len);
	rc = rc ? err_set(err, TL_E_LIMIT, "cannot %s: the paths are too long", c->verb)
		: session_sh(c->s, buf_data(&all), &argv, err);
	rc = rc ? rc : spawn(r, &argv, with_input, err);
	strv_fini(&argv);
	buf_fini(&all);
	return rc;
}

static void take_errs(struct tar_run *r)
{
	char part[2048];
	ssize_t n = read(r->errs, part, sizeof(part));

	if (n > 0) {
		size_t room = buf_room(&r->said);
		buf_put(&r->said, part, (size_t)n < room ? (size_t)n : room);
	} else if (n == 0 || errno != EINTR) {
		close_fd(&r->errs);
	}
}

/* Waits for any of these; TL_E_CANCELED. */
static int wait_for(struct tar_run *r, bool write, bool *ret_out, struct tl_err *err)
{
	struct pollfd pf[4] = {{.fd = cancel_fd(r->c->o.cancel), .events = POLLIN},
			       {.fd = r->errs, .events = POLLIN},
			       {.fd = r->out, .events = POLLIN},
			       {.fd = write ? r->in : -1, .events = POLLOUT}};

	*ret_out = false;
	if (poll(pf, 4, -1) < 0)
		return errno == EINTR ? 0 : err_sys(err, errno, "cannot wait for the host");
	if (pf[0].revents)
		return err_set(err, TL_E_CANCELED, "the %s was canceled", r->c->verb);
	if (pf[1].revents)
		take_errs(r);
	*ret_out = pf[2].revents != 0;
	return 0;
}

/* Output without what came before the mark; TL_E_AGAIN: nothing yet. */
static ssize_t read_marked(struct tar_run *r, void *p, size_t n, struct tl_err *err)
{
	ssize_t got = read(r->out, p, n);
	struct tl_bytes b;
	const uint8_t *at;
	size_t rest;

	if (got < 0)
		return errno == EINTR ? TL_E_AGAIN
				      : err_sys(err, errno, "cannot read from the host");
	if (r->marked || got == 0)
		return got;
	if (buf_put(&r->noise, p, (size_t)got))
		return err_set(err, TL_E_NOSHELL,
			       "cannot %s: the login shell of %s prints more than %d bytes",
			       r->c->verb, session_host(r->c->s), NOISE_MAX);
	b = buf_data(&r->noise);
	at = memmem(b.p, b.n, r->mark, r->mark_n);
	if (!at)
		return TL_E_AGAIN;
	/* what is behind it came with this piece: it fits */
	r->marked = true;
	rest = b.n - (size_t)(at - b.p) - r->mark_n;
	memcpy(p, at + r->mark_n, rest);
	buf_fini(&r->noise);
	return rest ? (ssize_t)rest : TL_E_AGAIN;
}

static int keep_out(struct tar_run *r, struct buf *out, struct tl_err *err)
{
	char part[4096];
	ssize_t n = read_marked(r, part, sizeof(part), err);

	if (n == TL_E_AGAIN)
		return 0;
	if (n < 0)
		return (int)n;
	if (n == 0)
		close_fd(&r->out);
	else if (out)
		buf_put(out, part, (size_t)n < buf_room(out) ? (size_t)n : buf_room(out));
	return 0;
}

int tar_run_write(struct tar_run *r, struct tl_bytes b, struct buf *out, struct tl_err *err)
{
	while (b.n) {
		bool some;
		ssize_t n;
		int rc = wait_for(r, true, &some, err);
		if (!rc && some)
			rc = keep_out(r, out, err);
		if (rc)
			return rc;
		n = send(r->in, b.p, b.n, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0 && errno != EAGAIN && errno != EINTR)
			return err_set(err, TL_E_CLOSED, "%s takes no more", session_host(r->c->s));
		if (n > 0)
			b = bytes_of(b.p + n, b.n - (size_t)n);
	}
	return 0;
}

ssize_t tar_run_read(struct tar_run *r, void *p, size_t n, struct tl_err *err)
{
	while (r->out >= 0) {
		bool some;
		ssize_t got;
		int rc = wait_for(r, false, &some, err);
		if (rc)
			return rc;
		got = some ? read_marked(r, p, n, err) : TL_E_AGAIN;
		if (got != TL_E_AGAIN)
			return got;
	}
	return 0;
}

/* The first line that is no chatter, in words of tar and sh themselves. */
static void reason(struct tar_run *r, struct tl_err *err)
{
	const char *text = buf_cstr(&r->said);
	size_t n = text ? strcspn(text, "\n") : 0;
	int code = TL_E_IO;

	static const struct {
		const char *part;
		int code;
	} known[] = {{"o space left", TL_E_NOSPACE},
		     {"rote only", TL_E_NOSPACE},
		     {"uota exceeded", TL_E_NOSPACE},
		     {"ermission denied", TL_E_ACCES},
		     {"ead-only", TL_E_ROFS},
		     {"o such file", TL_E_NOENT},
		     {"ot a directory", TL_E_NOTDIR},
		     {"tar: not found", TL_E_UNSUPPORTED},
		     {"tar: command not", TL_E_UNSUPPORTED}};
	for (size_t i = 0; text && i < sizeof(known) / sizeof(known[0]); i++)
		if (strstr(text, known[i].part)) {
			code = known[i].code;
			break;
		}
	err_set(err, code, "cannot %s: %s says “%.*s”", r->c->verb, session_host(r->c->s),
		(int)(n < 300 ? n : 300), n ? text : "nothing");
}

/* What is unpacked there is removed there: the end of the input says that it was given up. */
static void let_clean(struct tar_run *r)
{
	uint64_t until = clock_mono_ms() + CLEAN_MS, now;
	struct tl_err e;

	while (r->out >= 0 && (now = clock_mono_ms()) < until) {
		struct pollfd pf[2] = {{.fd = r->out, .events = POLLIN},
				       {.fd = r->errs, .events = POLLIN}};
		if (poll(pf, 2, (int)(until - now)) <= 0)
			continue;
		if (pf[1].revents)
			take_errs(r);
		if (pf[0].revents && keep_out(r, NULL, &e))
			return;
	}
}

int tar_run_end(struct tar_run *r, int rc, struct buf *out, struct tl_err *err)
{
	struct tl_err other = {0};
	bool some, wrote = r->in >= 0;
	int status = 0;

	close_fd(&r->in);
	/* whoever reads no more has said why */
	while ((!rc || rc == TL_E_CLOSED) && (r->out >= 0 || r->errs >= 0)) {
		int got = wait_for(r, false, &some, &other);
		if (!got && some)
			got = keep_out(r, out, &other);
		if (got) {
			rc = got;
			*err = other;
		}
	}
	if (rc && rc != TL_E_CLOSED && wrote)
		let_clean(r);
	if (r->pid > 0 && rc && rc != TL_E_CLOSED)
		kill(r->pid, SIGTERM);
	close_fd(&r->out);
	close_fd(&r->errs);
	while (r->pid > 0 && waitpid(r->pid, &status, 0) < 0 && errno == EINTR)
		;
	r->status = WIFEXITED(status) ? WEXITSTATUS(status) : 255;
	if ((!rc || rc == TL_E_CLOSED) && r->pid > 0) {
		/* ssh's own word for "failed" */
		if (r->status == 255)
			rc =
			    err_set(err, TL_E_CLOSED, "%s ended the stream", session_host(r->c->s));
		else if (r->status > 1 || rc) {
			reason(r, err);
			rc = err->code;
		}
	}
	r->pid = 0;
	return rc;
}

void tar_run_fini(struct tar_run *r)
{
	buf_fini(&r->noise);
	buf_fini(&r->said);
}

int tar_run_all(struct copy *c, const struct buf *lines, struct buf *out, struct tl_err *err)
{
	struct tar_run r;
	int rc = tar_run_begin(&r, c, lines, false, err);

	rc = tar_run_end(&r, rc, out, err);
	tar_run_fini(&r);
	return rc;
}

int tar_put_path(struct buf *lines, const char *path, bool wild)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
				    "/._-";
	int rc = 0;

	if (path[0] == '~' && (!path[1] || path[1] == '/')) {
		path += 1 + strspn(path + 1, "/");
		rc = buf_put_str(lines, *path ? "./" : ".");
	} else if (path[0] == '~') {
		size_t n = strcspn(path, "/");
		if (strspn(path + 1, plain) >= n - 1) {
			rc = buf_put(lines, path, n);
			path += n;
		}
	} else if (path[0] != '/') {
		rc = buf_put_str(lines, "./");
	}
	for (; *path && !rc; path++) {
		if (strchr(plain, *path) || (wild && strchr("*?[]!^", *path)))
			rc = buf_put_u8(lines, (uint8_t)*path);
		else if (*path == '\'')
			rc = buf_put_str(lines, "\\'");
		else
			rc = buf_printf(lines, "'%c'", *path);
	}
	return rc;
}
