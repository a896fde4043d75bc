/* copy_lanes.c - see copy_lanes.h.
 * A lane is an `ssh` on a channel of the session's login whose standard input (or output) is the
 * file, opened once more and set to the lane's offset; on the host `towline-host lane` has the
 * other end. Standard error says how it ended. The offset of our descriptor is how far it came.
 *
 * The first lane carries a piece that tells how fast one is: where rate and round trip multiply to
 * a good part of the window that OpenSSH gives a channel, the window is the limit, and the rest is
 * spread over several. Owns its children and a loop that lives as long as the call. */
#include "api/copy_lanes.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/limits.h"
#include "base/str.h"
#include "loop/child.h"
#include "loop/io.h"

#define TICK_MS     20
#define TRIAL       (16u << 20) /* the first piece */
#define TRIAL_LEAST (4u << 20)  /* of it before the rate counts */
#define WINDOW      (2u << 20)  /* of a channel of OpenSSH */
#define REMOTE_MAX  480         /* of a path: as digits it is twice as long in a command */
#define WORDS       4096
#define GRACE_MS    3000 /* between the end of ssh and that of its standard error */
#define MARK        "\0towline-lane "

struct lanes;

struct lane {
	struct lanes *all;
	struct child child;
	struct io errs;
	struct buf words; /* of standard error */
	int fd;           /* shared with ssh: its offset moves */
	uint64_t begin, end;
	bool exited, over;
};

struct lanes {
	struct copy *c;
	const struct lanes_file *f;
	struct loop loop;
	struct loop_timer tick;
	struct io cancel;
	struct lane v[TL_LIMIT_COPY_LANES + 1];
	size_t n;
	uint64_t told, first_ms, first_at, last_exit_ms;
	bool decided, stopping;
	int rc;
	struct tl_err *err;
};

bool lanes_are_there(const struct copy *c)
{
	return c->pid > 0 && !c->no_lanes && session_lane(c->s, NULL, NULL, NULL) == 0;
}

/* ------------------------------------------------ one lane */

static uint64_t lane_at(const struct lane *l)
{
	off_t at = lseek(l->fd, 0, SEEK_CUR);

	return at < 0 || (uint64_t)at < l->begin ? l->begin : (uint64_t)at;
}

/* The host's last word: all of the piece is there. */
static bool lane_is_good(const struct lane *l)
{
	static const char good[] = MARK "ok\n";
	struct tl_bytes b = buf_data(&l->words);

	if (!l->over || !b.n || !memmem(b.p, b.n, good, sizeof(good) - 1))
		return false;
	return l->all->f->up || lane_at(l) == l->end;
}

static void lanes_check(struct lanes *a);

static void lane_errs_over(struct lane *l)
{
	io_close(&l->errs, NULL);
	if (l->exited)
		l->over = true;
}

static void lane_readable(void *ctx)
{
	struct lane *l = ctx;
	uint8_t part[512];
	long n;

	while ((n = io_read(&l->errs, part, sizeof(part))) > 0)
		if ((size_t)n <= buf_room(&l->words))
			buf_put(&l->words, part, (size_t)n);
	if (n != TL_E_AGAIN)
		lane_errs_over(l);
	lanes_check(l->all);
}

static void lane_exited(void *ctx, int kind, int value)
{
	struct lane *l = ctx;

	(void)kind;
	(void)value;
	l->exited = true;
	l->all->last_exit_ms = clock_mono_ms();
	if (!l->errs.open)
		l->over = true;
	lanes_check(l->all);
}

static int lane_argv(struct lanes *a, const struct lane *l, struct strv *argv, struct tl_err *err)
{
	const struct lanes_file *f = a->f;
	char hex[2 * REMOTE_MAX + 1], command[sizeof(hex) + 200];

	str_hex((const uint8_t *)f->remote, strlen(f->remote), hex);
	snprintf(command, sizeof(command), "exec /proc/%ld/exe lane %s %s %llu %llu", a->c->pid,
		 f->up ? "take" : "send", hex, (unsigned long long)l->begin,
		 (unsigned long long)(l->end - l->begin));
	if (!f->up)
		snprintf(command + strlen(command), sizeof(command) - strlen(command), " %llu %llu",
			 (unsigned long long)f->size, (unsigned long long)f->mtime_ns);
	return session_lane(a->c->s, command, argv, err);
}

/* The file once more, at the lane's offset. */
static int lane_file(const struct lanes *a, const struct lane *l, struct tl_err *err)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", a->f->fd);
	fd = open(path, (a->f->up ? O_RDONLY : O_WRONLY) | O_CLOEXEC);
	if (fd >= 0 && lseek(fd, (off_t)l->begin, SEEK_SET) >= 0)
		return fd;
	err_sys(err, errno, "cannot open %s once more", a->f->name);
	if (fd >= 0)
		close(fd);
	return err->code;
}

static int lane_start(struct lanes *a, uint64_t begin, uint64_t end, struct tl_err *err)
{
	struct lane *l = &a->v[a->n];
	struct child_spec spec = {.fd = {-1, -1, -1}, .ctty = -1, .new_session = true};
	struct strv argv = {0};
	int errs[2], rc;

	*l = (struct lane){.all = a, .begin = begin, .end = end};
	l->fd = lane_file(a, l, err);
	if (l->fd < 0)
		return l->fd;
	rc = pipe2(errs, O_CLOEXEC) == 0 ? lane_argv(a, l, &argv, err)
					 : err_sys(err, errno, "cannot make a pipe");
	if (rc) {
		close(l->fd);
		strv_fini(&argv);
		return rc;
	}
	spec.argv = argv.v;
	spec.fd[a->f->up ? 0 : 1] = l->fd;
	spec.fd[2] = errs[1];
	buf_init(&l->words, WORDS);
	rc = io_open(&a->loop, &l->errs, errs[0], errs[0], lane_readable, NULL, l);
	if (rc)
		close(errs[0]);
	else
		rc = child_spawn(&a->loop, &l->child, &spec, lane_exited, l, err);
	close(errs[1]);
	strv_fini(&argv);
	if (rc) {
		if (l->errs.open)
			io_close(&l->errs, NULL);
		close(l->fd);
		return err->code ? rc : err_set(err, rc, "cannot start ssh");
	}
	a->n++;
	return 0;
}

/* ------------------------------------------------ all of them */

static void lanes_stop(struct lanes *a, int rc)
{
	if (!a->rc)
		a->rc = rc;
	if (a->stopping)
		return;
	a->stopping = true;
	for (size_t i = 0; i < a->n; i++)
		if (!a->v[i].exited)
			child_kill(&a->v[i].child, SIGTERM, true);
}

static void lanes_end(struct lanes *a)
{
	timer_close(&a->tick, NULL);
	if (a->cancel.open)
		io_close(&a->cancel, NULL);
}

/* Is one channel's window what limits? */
static bool is_window_limited(const struct lanes *a, uint64_t moved, uint64_t took_ms)
{
	uint64_t trip_us = sftp_client_trip_us(a->c->c);

	return trip_us && moved * trip_us / (took_ms ? took_ms : 1) / 1000 >= WINDOW / 2;
}

/* The rest of the file, over one more lane or over several. */
static void lanes_spread(struct lanes *a, size_t n)
{
	uint64_t from = a->v[0].end, left = a->f->size - from, each = left / n;
	struct tl_err err = {0};

	a->decided = true;
	for (size_t i = 0; i < n && !a->rc && left; i++) {
		uint64_t end = i + 1 == n ? a->f->size : from + each;
		if (lane_start(a, from, end, &err)) {
			session_log(a->c->s, 3, "copy: %s", err.text);
			lanes_stop(a, TL_E_AGAIN);
		}
		from = end;
	}
	session_log(a->c->s, 3, "copy: %s over %zu channel%s", a->f->name, n, n == 1 ? "" : "s");
}

static void lanes_decide(struct lanes *a)
{
	uint64_t now = clock_mono_ms(), at = lane_at(&a->v[0]);

	if (!a->first_ms && at > a->v[0].begin) {
		a->first_ms = now;
		a->first_at = at;
	}
	if (a->c->window_limited)
		lanes_spread(a, TL_LIMIT_COPY_LANES - 1);
	else if (a->v[0].over)
		lanes_spread(a, 1);
	else if (a->first_ms && now > a->first_ms && at - a->first_at >= TRIAL_LEAST &&
		 is_window_limited(a, at - a->first_at, now - a->first_ms)) {
		a->c->window_limited = true;
		lanes_spread(a, TL_LIMIT_COPY_LANES - 1);
	}
}

static void lanes_check(struct lanes *a)
{
	bool all = true;

	for (size_t i = 0; i < a->n; i++) {
		struct lane *l = &a->v[i];
		if (l->over && !lane_is_good(l) && !a->stopping) {
			struct tl_bytes b = buf_data(&l->words);
			session_log(a->c->s, 3, "copy: a channel ended: %.*s",
				    (int)(b.n < 200 ? b.n : 200), (const char *)b.p);
			lanes_stop(a, TL_E_AGAIN);
		}
		all = all && l->over;
	}
	if (!a->decided && !a->stopping)
		lanes_decide(a);
	else if (all)
		lanes_end(a);
}

static void lanes_tick(void *ctx)
{
	struct lanes *a = ctx;
	uint64_t moved = 0, now = clock_mono_ms();

	for (size_t i = 0; i < a->n; i++) {
		struct lane *l = &a->v[i];
		uint64_t at = lane_at(l);
		/* ssh reads a little beyond what its piece is */
		moved += (at < l->end ? at : l->end) - l->begin;
		/* somebody else may keep standard error, a master of the user's for instance */
		if (l->exited && l->errs.open && now > a->last_exit_ms + GRACE_MS)
			lane_errs_over(l);
	}
	if (moved > a->told && !a->stopping &&
	    copy_tick(a->c, a->f->name, moved - a->told, moved, a->f->size))
		lanes_stop(a, TL_E_CANCELED);
	a->told = moved > a->told ? moved : a->told;
	timer_start(&a->tick, TICK_MS);
	lanes_check(a);
}

static void lanes_canceled(void *ctx)
{
	struct lanes *a = ctx;

	io_want_read(&a->cancel, false);
	lanes_stop(a, TL_E_CANCELED);
	lanes_check(a);
}

static int lanes_begin(struct lanes *a)
{
	int fd = cancel_fd(a->c->o.cancel), rc;

	timer_init(&a->loop, &a->tick, lanes_tick, a);
	if (fd >= 0) {
		fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
		rc = fd < 0 ? TL_E_IO
			    : io_open(&a->loop, &a->cancel, fd, fd, lanes_canceled, NULL, a);
		if (rc) {
			if (fd >= 0)
				close(fd);
			return rc;
		}
	}
	rc = lane_start(a, 0, a->f->size < TRIAL ? a->f->size : TRIAL, a->err);
	if (rc)
		return rc;
	timer_start(&a->tick, TICK_MS);
	if (a->c->window_limited)
		lanes_check(a);
	return 0;
}

int lanes_copy(struct copy *c, const struct lanes_file *f, struct tl_err *err)
{
	struct lanes *a = calloc(1, sizeof(*a));
	int rc;

	if (!a || strlen(f->remote) > REMOTE_MAX || loop_init(&a->loop) != 0) {
		free(a);
		return err_set(err, TL_E_UNSUPPORTED, "no channels for %s", f->name);
	}
	a->loop.guest = true;
	a->c = c;
	a->f = f;
	a->err = err;
	rc = lanes_begin(a);
	if (rc)
		lanes_end(a);
	loop_run(&a->loop);
	loop_fini(&a->loop);
	rc = rc ? rc : a->rc;
	for (size_t i = 0; i < a->n; i++) {
		close(a->v[i].fd);
		buf_fini(&a->v[i].words);
	}
	if (!rc && a->told < f->size)
		rc = copy_tick(c, f->name, f->size - a->told, f->size, f->size);
	if (rc == TL_E_CANCELED)
		err_set(err, rc, "cannot go on with the host's files: interrupted");
	else if (rc) {
		c->now.done -= a->told;
		/* the next file would fare no better */
		c->no_lanes = true;
		if (!err->code)
			err_set(err, rc, "the channels for %s failed", f->name);
	}
	free(a);
	return rc;
}
