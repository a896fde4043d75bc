/* tool.c - a child in a loop of its own that lives as long as the call. */
#include "api/tool.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "loop/child.h"
#include "loop/io.h"

#define INPUT_MAX 65536

struct tool {
	struct loop loop;
	struct child child;
	struct io from;
	struct loop_timer clock;
	struct buf *out;
	int status;
	bool exited, timed_out;
};

static void maybe_over(struct tool *t)
{
	if (t->exited && !t->from.open)
		timer_close(&t->clock, NULL);
}

static void readable(void *ctx)
{
	struct tool *t = ctx;
	uint8_t part[4096];
	long got;

	while ((got = io_read(&t->from, part, sizeof(part))) > 0) {
		size_t room = buf_room(t->out), n = (size_t)got < room ? (size_t)got : room;
		if (n)
			buf_put(t->out, part, n);
	}
	if (got != TL_E_AGAIN) {
		io_close(&t->from, NULL);
		maybe_over(t);
	}
}

static void exited(void *ctx, int kind, int value)
{
	struct tool *t = ctx;

	t->exited = true;
	t->status = kind ? 255 : value;
	maybe_over(t);
}

static void late(void *ctx)
{
	struct tool *t = ctx;

	t->timed_out = true;
	child_kill(&t->child, SIGKILL, true);
	/* somebody else may hold the pipe */
	io_close(&t->from, NULL);
	maybe_over(t);
}

/* Takes in[0] and out[1] in any case. */
static int start(struct tool *t, char *const *argv, int in[2], int out[2], struct tl_err *err)
{
	struct child_spec spec = {.argv = argv, .fd = {in[0], out[1], -1}, .ctty = -1};
	int rc;

	spec.new_session = true;
	rc = child_spawn(&t->loop, &t->child, &spec, exited, t, err);
	close(in[0]);
	close(out[1]);
	in[0] = out[1] = -1;
	if (rc)
		return rc;
	rc = io_open(&t->loop, &t->from, out[0], out[0], readable, NULL, t);
	if (rc) {
		child_kill(&t->child, SIGKILL, true);
		return err_set(err, rc, "cannot read from %s", argv[0]);
	}
	out[0] = -1;
	return 0;
}

static int open_pipes(struct tl_bytes input, int in[2], int out[2], struct tl_err *err)
{
	if (input.n > INPUT_MAX)
		return err_set(err, TL_E_LIMIT, "too much input for a helper program");
	if (pipe2(in, O_CLOEXEC) != 0 || pipe2(out, O_CLOEXEC) != 0)
		return err_sys(err, errno, "cannot make a pipe");
	/* it fits into the pipe, and nobody has closed the reading end */
	if (input.n && write(in[1], input.p, input.n) != (ssize_t)input.n)
		return err_sys(err, errno, "cannot write to a pipe");
	close(in[1]);
	in[1] = -1;
	return 0;
}

int tool_run(char *const *argv, struct tl_bytes input, struct buf *out, int timeout_ms,
	     int *ret_status, struct tl_err *err)
{
	struct tool *t = calloc(1, sizeof(*t));
	int in[2] = {-1, -1}, fds[2] = {-1, -1}, rc;

	if (!t || loop_init(&t->loop) != 0) {
		free(t);
		return err_set(err, TL_E_NOMEM, "cannot run %s: out of memory", argv[0]);
	}
	t->loop.guest = true;
	t->out = out;
	timer_init(&t->loop, &t->clock, late, t);
	rc = open_pipes(input, in, fds, err);
	rc = rc ? rc : start(t, argv, in, fds, err);
	if (rc == 0) {
		timer_start(&t->clock, (uint64_t)timeout_ms);
		loop_run(&t->loop);
		*ret_status = t->status;
		if (t->timed_out)
			rc = err_set(err, TL_E_TIMEOUT, "%s did not end in time", argv[0]);
	}
	for (int i = 0; i < 2; i++) {
		if (in[i] >= 0)
			close(in[i]);
		if (fds[i] >= 0)
			close(fds[i]);
	}
	loop_fini(&t->loop);
	free(t);
	return rc;
}
