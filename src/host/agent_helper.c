/* agent_helper.c - see agent_helper.h. */
#include "host/agent_helper.h"

#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#define HELPERS_MAX 16

struct helper {
	struct agent *agent;
	struct io io;
	struct child child;
	struct loop_timer deadline;
	struct buf out;
	int parts;
	void (*done)(void *ctx, int rc, struct tl_bytes out);
	void *ctx;
};

static void helper_gone(void *ctx)
{
	struct helper *h = ctx;

	if (--h->parts > 0)
		return;
	buf_fini(&h->out);
	free(h);
}

static void helper_end(struct helper *h, int rc)
{
	if (!h->done)
		return;
	/* one that hangs in the kernel takes its signal when it comes back, and is reaped then */
	child_kill(&h->child, SIGKILL, true);
	child_forget(&h->child);
	h->agent->helper_count--;
	h->done(h->ctx, rc, rc ? bytes_of("", 0) : buf_data(&h->out));
	h->done = NULL;
	io_close(&h->io, helper_gone);
	timer_close(&h->deadline, helper_gone);
}

static void helper_deadline(void *ctx)
{
	helper_end(ctx, TL_E_TIMEOUT);
}

static void helper_readable(void *ctx)
{
	struct helper *h = ctx;

	for (;;) {
		uint8_t *p = buf_reserve(&h->out, 4096);
		long n = p ? io_read(&h->io, p, 4096) : TL_E_LIMIT;
		if (n == TL_E_AGAIN)
			return;
		if (n <= 0) {
			helper_end(h, n == 0 && h->out.len > 0 ? 0 : TL_E_INTERNAL);
			return;
		}
		buf_commit(&h->out, (size_t)n);
	}
}

int helper_run(struct agent *a, const char *const *words, uint64_t deadline_ms,
	       void (*done)(void *ctx, int rc, struct tl_bytes out), void *ctx, struct tl_err *err)
{
	char *argv[HELPER_WORDS + 2] = {(char *)(uintptr_t) "towline-host"};
	struct child_spec spec = {
	    .file = "/proc/self/exe", .argv = argv, .new_group = true, .ctty = -1};
	struct helper *h = NULL;
	int fds[2], rc;

	for (size_t i = 0; words[i]; i++) {
		tl_assert(i < HELPER_WORDS);
		argv[i + 1] = (char *)(uintptr_t)words[i];
	}
	if (a->helper_count >= HELPERS_MAX)
		return err_set(err, TL_E_AGAIN, "the host is busy: %d questions wait already",
			       HELPERS_MAX);
	rc = socket_pair(fds);
	if (rc)
		return err_set(err, rc, "cannot start a helper: no socket pair");
	h = calloc(1, sizeof(*h));
	if (!h || io_open(&a->loop, &h->io, fds[0], fds[0], helper_readable, NULL, h) != 0) {
		free(h);
		close(fds[0]);
		close(fds[1]);
		return err_set(err, TL_E_NOMEM, "cannot start a helper: out of memory");
	}
	h->agent = a;
	h->parts = 1;
	buf_init(&h->out, TL_LIMIT_RPC_MESSAGE);
	spec.fd[0] = -1;
	spec.fd[1] = fds[1];
	spec.fd[2] = 2;
	rc = child_spawn(&a->loop, &h->child, &spec, NULL, NULL, err);
	close(fds[1]);
	if (rc) {
		io_close(&h->io, helper_gone);
		return rc;
	}
	h->parts = 2;
	h->done = done;
	h->ctx = ctx;
	a->helper_count++;
	timer_init(&a->loop, &h->deadline, helper_deadline, h);
	timer_start(&h->deadline, deadline_ms);
	return 0;
}
