/* agent_holds.c - see agent_holds.h.
 * A socket nobody listens on belongs to a hold that died without cleaning up. It is removed, but
 * not while it is fresh: between bind and listen a live one looks the same. */
#include "host/agent_holds.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/limits.h"
#include "base/str.h"
#include "host/hold.h"
#include "host/kernel_hold.h"
#include "host/rundir.h"
#include "loop/io.h"
#include "loop/sock.h"
#include "wire/hold_frame.h"

#define FRESH_MS 10000

/* connect() without waiting: a hold that is stopped must not stop the agent. */
static int connect_now(const char *path)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	int fd, e;
	uid_t uid;

	if (!str_copy(sa.sun_path, sizeof(sa.sun_path), path))
		return TL_E_LIMIT;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return err_from_errno(errno);
	if (connect(fd, (struct sockaddr *)&sa, sizeof(sa)) == 0) {
		if (peer_uid(fd, &uid) == 0 && uid == geteuid())
			return fd;
		close(fd);
		return TL_E_ACCES;
	}
	e = errno;
	close(fd);
	return e == ECONNREFUSED                 ? TL_E_REFUSED
	       : e == ENOENT                     ? TL_E_NOENT
	       : e == EAGAIN || e == EINPROGRESS ? TL_E_AGAIN
						 : err_from_errno(e);
}

static void remove_stale(const char *path)
{
	struct stat st;

	if (lstat(path, &st) == 0 && S_ISSOCK(st.st_mode) &&
	    (uint64_t)st.st_mtime * 1000 + FRESH_MS < clock_wall_ms())
		unlink(path);
}

/* Terminals and sessions: the same, under two names. */
struct hold_kind {
	const char *what, *prefix;
	bool (*path)(char *out, size_t n, const char *run_dir, const char *id);
	int none; /* error where there is no such hold */
	size_t max;
};

static const struct hold_kind terminals = {"terminal", "hold-", hold_socket_path, TL_E_NOTERM,
					   TL_LIMIT_TERMS};
static const struct hold_kind kernels = {"session", "kernel-", kernel_socket_path, TL_E_NOKERNEL,
					 TL_LIMIT_KERNELS};

static int kind_connect(const struct hold_kind *kind, const char *forced_run_dir, const char *id,
			struct tl_err *err)
{
	struct rundir c[RUNDIR_COUNT];
	size_t n = rundir_candidates(forced_run_dir, c);

	for (size_t i = 0; i < n; i++) {
		char path[RUNDIR_SOCKET_MAX + 1];
		int fd;
		if (!kind->path(path, sizeof(path), c[i].path, id))
			return err_set(err, TL_E_INVAL,
				       "cannot reach a %s: \"%.40s\" is not a %s's id", kind->what,
				       id, kind->what);
		if (!rundir_is_ours(c[i].path))
			continue;
		fd = connect_now(path);
		if (fd >= 0)
			return fd;
		if (fd == TL_E_REFUSED)
			remove_stale(path);
		else if (fd != TL_E_NOENT)
			return err_set(err, fd, "cannot reach %s %s: %s", kind->what, id,
				       err_row(fd)->what);
	}
	return err_set(err, kind->none, "there is no %s %s on this host", kind->what, id);
}

int hold_connect(const char *forced_run_dir, const char *id, struct tl_err *err)
{
	return kind_connect(&terminals, forced_run_dir, id, err);
}

int kernel_connect(const char *forced_run_dir, const char *id, struct tl_err *err)
{
	return kind_connect(&kernels, forced_run_dir, id, err);
}

static size_t kind_each(const struct hold_kind *kind, const char *forced_run_dir,
			void (*fn)(void *ctx, const char *id), void *ctx)
{
	struct rundir c[RUNDIR_COUNT];
	size_t n = rundir_candidates(forced_run_dir, c), found = 0, front = strlen(kind->prefix);

	for (size_t i = 0; i < n; i++) {
		DIR *d = rundir_is_ours(c[i].path) ? opendir(c[i].path) : NULL;
		struct dirent *e;
		while (d && found < kind->max && (e = readdir(d))) {
			char id[64];
			size_t len = strlen(e->d_name);
			if (!str_starts(e->d_name, kind->prefix) || !str_ends(e->d_name, ".sock") ||
			    len < front + 6 || len - front - 5 >= sizeof(id))
				continue;
			memcpy(id, e->d_name + front, len - front - 5);
			id[len - front - 5] = 0;
			found++;
			if (fn)
				fn(ctx, id);
		}
		if (d)
			closedir(d);
	}
	return found;
}

size_t holds_each(const char *forced_run_dir, void (*fn)(void *ctx, const char *id), void *ctx)
{
	return kind_each(&terminals, forced_run_dir, fn, ctx);
}

size_t kernels_each(const char *forced_run_dir, void (*fn)(void *ctx, const char *id), void *ctx)
{
	return kind_each(&kernels, forced_run_dir, fn, ctx);
}

/* ---- one question to one hold ---- */

struct hold_question {
	struct io io;
	struct loop_timer timer;
	struct buf in;
	uint8_t want; /* frame that answers; 0: the end of the connection does */
	int parts;
	void (*done)(void *ctx, int rc, struct tl_bytes info);
	void *ctx;
};

static void question_gone(void *ctx)
{
	struct hold_question *q = ctx;

	if (--q->parts > 0)
		return;
	buf_fini(&q->in);
	free(q);
}

static void question_end(struct hold_question *q, int rc, struct tl_bytes info)
{
	if (!q->done)
		return;
	q->done(q->ctx, rc, info);
	q->done = NULL;
	io_close(&q->io, question_gone);
	timer_close(&q->timer, question_gone);
}

static void question_deadline(void *ctx)
{
	question_end(ctx, TL_E_TIMEOUT, bytes_of("", 0));
}

/* Frames in q->in: true when the answer was among them. */
static bool question_parse(struct hold_question *q)
{
	struct hold_frame f;
	size_t used;
	int rc;

	while ((rc = hold_frame_next(buf_data(&q->in), HOLD_FROM_HOLD, &f, &used)) == 1) {
		if (q->want && f.type == q->want) {
			question_end(q, 0, f.payload);
			return true;
		}
		buf_consume(&q->in, used);
	}
	if (rc < 0)
		question_end(q, rc, bytes_of("", 0));
	return rc < 0;
}

static void question_readable(void *ctx)
{
	struct hold_question *q = ctx;

	while (q->done) {
		uint8_t *p = buf_reserve(&q->in, HOLD_FRAME_MAX - q->in.len);
		long n = p ? io_read(&q->io, p, HOLD_FRAME_MAX - q->in.len) : TL_E_NOMEM;
		if (n == TL_E_AGAIN)
			return;
		if (n <= 0) {
			question_end(q, q->want ? TL_E_CLOSED : 0, bytes_of("", 0));
			return;
		}
		buf_commit(&q->in, (size_t)n);
		if (question_parse(q))
			return;
	}
}

int hold_ask(struct loop *l, int fd, uint8_t frame_type, uint64_t deadline_ms,
	     void (*done)(void *ctx, int rc, struct tl_bytes info), void *ctx)
{
	struct hold_question *q = calloc(1, sizeof(*q));
	uint8_t frame[HOLD_HEADER];

	if (!q || io_open(l, &q->io, fd, fd, question_readable, NULL, q) != 0) {
		free(q);
		close(fd);
		return TL_E_NOMEM;
	}
	q->parts = 2;
	q->done = done;
	q->ctx = ctx;
	q->want = frame_type == HOLD_FRAME_INFO_REQ ? HOLD_FRAME_INFO : 0;
	buf_init(&q->in, HOLD_FRAME_MAX);
	timer_init(l, &q->timer, question_deadline, q);
	timer_start(&q->timer, deadline_ms);
	hold_put_header(frame, frame_type, 0);
	/* four bytes into an empty socket; a hold that is gone shows at the next read */
	if (io_write(&q->io, frame, sizeof(frame)) < 0)
		timer_start(&q->timer, 0);
	return 0;
}
