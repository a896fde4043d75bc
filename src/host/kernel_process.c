/* kernel_process.c - the process of a session: start, its own output, interrupt, restart, end. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "host/kernel_state.h"

#define NUDGE_MS    500 /* between questions whether it is there */
#define NUDGES_DEAF 10  /* questions answered on shell alone before iopub is believed to be mute */
#define TAIL_SHOWN  400 /* bytes of its own output in a sentence */

/* ---- its own output ---- */

static void pipe_freed(void *ctx)
{
	free(ctx);
}

static void pipe_close(struct kernel *k, int i)
{
	struct kernel_pipe *p = k->pipe[i];
	if (!p)
		return;
	k->pipe[i] = NULL;
	p->k = NULL;
	io_close(&p->io, pipe_freed);
}

static void pipe_drain(struct kernel_pipe *p, size_t most)
{
	size_t moved = 0;
	while (p->k && moved < most) {
		struct kernel *k = p->k;
		long n = io_read(&p->io, k->chunk, 16384);
		if (n == TL_E_AGAIN)
			return;
		if (n <= 0) {
			pipe_close(k, p->which - 1);
			return;
		}
		moved += (size_t)n;
		kernel_log_output(k, p->which, bytes_of(k->chunk, (size_t)n));
	}
}

static void on_pipe_readable(void *ctx)
{
	struct kernel_pipe *p = ctx;
	struct kernel *k = p->k;
	if (!k)
		return;
	pipe_drain(p, KERNEL_CHUNK);
	kviewer_pump_all(k);
}

static int pipe_open(struct kernel *k, int i, int *ret_fd)
{
	int fds[2];
	struct kernel_pipe *p = calloc(1, sizeof(*p));
	if (!p || pipe2(fds, O_CLOEXEC) != 0) {
		free(p);
		return TL_E_NOMEM;
	}
	*p = (struct kernel_pipe){.k = k, .which = (uint8_t)(i + 1)};
	if (io_open(&k->loop, &p->io, fds[0], fds[0], on_pipe_readable, NULL, p) != 0) {
		close(fds[0]);
		close(fds[1]);
		free(p);
		return TL_E_NOMEM;
	}
	k->pipe[i] = p;
	*ret_fd = fds[1];
	return 0;
}

/* ---- the end ---- */

static void explain(struct kernel *k, struct tl_err *err)
{
	char *tail = kernel_output_tail(k, TAIL_SHOWN);
	const char *how = k->exit.kind ? "was ended by signal" : "ended with status";
	size_t n = tail ? strlen(tail) : 0;
	while (n && (tail[n - 1] == '\n' || tail[n - 1] == ' '))
		tail[--n] = 0;
	if (n)
		err_set(err, TL_E_KERNEL, "start %.60s: it %s %u and said: %s",
			k->plan.spec.display, how, k->exit.value, tail);
	else
		err_set(err, TL_E_KERNEL, "start %.60s: it %s %u and said nothing",
			k->plan.spec.display, how, k->exit.value);
	if (k->plan.spec.install && strlen(err->text) < 420)
		err_set(err, TL_E_KERNEL, "start %.60s: %.200s; on the host, type: %s",
			k->plan.spec.display, k->plan.spec.reason, k->plan.spec.install);
	free(tail);
}

static void start_again(struct kernel *k)
{
	struct tl_err err = {0};
	k->restarts++;
	if (kernel_process_start(k, &err) == 0)
		return;
	k->phase = KERNEL_DEAD;
	kernel_log_state(k, "dead", "reason", err.text);
	kernel_start_done(k, &err);
}

/* The process is gone. */
static void ended(struct kernel *k)
{
	enum kernel_stop stop = k->stop;
	bool starting = k->phase == KERNEL_STARTING;
	struct tl_err err = {0};
	k->stop = KERNEL_STOP_NONE;
	k->stop_step = 0;
	timer_stop(&k->stopper);
	timer_stop(&k->nudge);
	kernel_chan_close(k);
	kernel_track_restart(&k->track, clock_wall_ms());
	for (int i = 0; i < 2; i++)
		if (k->pipe[i])
			pipe_drain(k->pipe[i], TL_LIMIT_KERNEL_OUTPUT);
	for (int i = 0; i < 2; i++)
		pipe_close(k, i);
	if (stop == KERNEL_STOP_RESTART) {
		start_again(k);
	} else if (stop == KERNEL_STOP_END) {
		k->phase = KERNEL_DEAD;
		kernel_over(k);
	} else {
		k->phase = KERNEL_DEAD;
		/* other ports next time: a taken one is a reason to fail */
		k->port[0] = 0;
		char *tail = kernel_output_tail(k, TAIL_SHOWN);
		kernel_log_state(k, "dead", "output", tail);
		free(tail);
		if (starting) {
			explain(k, &err);
			kernel_start_done(k, &err);
		}
	}
	kviewer_obey_all(k);
	kviewer_pump_all(k);
	kernel_reconsider(k);
}

static void on_exit_process(void *ctx, int kind, int value)
{
	struct kernel *k = ctx;
	k->has_exit = true;
	k->exit = (struct kernel_exit){(uint32_t)kind, (uint32_t)value};
	log_info("session %s: its process ended (%s %d)", k->plan.id, kind ? "signal" : "status",
		 value);
	ended(k);
}

/* ---- start ---- */

/* Asks until it answers: what a kernel publishes before our subscription arrives is lost. */
static void kernel_process_nudge(struct kernel *k)
{
	struct kernel_chan *shell = &k->chan[JUPYTER_SHELL];
	if (k->phase != KERNEL_STARTING || k->stop)
		return;
	if (kernel_chan_takes(shell) && kernel_chan_takes(&k->chan[JUPYTER_IOPUB])) {
		if (k->shell_answers && ++k->nudges > NUDGES_DEAF)
			k->iopub_answers = true;
		kernel_chan_ask(shell, "kernel_info_request", "{}");
		timer_start(&k->nudge, NUDGE_MS);
	} else {
		timer_start(&k->nudge, 10);
	}
}

static void on_nudge(void *ctx)
{
	kernel_process_nudge(ctx);
}

static int spawn(struct kernel *k, struct tl_err *err)
{
	struct child_spec spec = {.file = k->plan.argv.v[0],
				  .argv = k->plan.argv.v,
				  .envp = k->plan.env.v,
				  .cwd = k->plan.cwd,
				  .fd = {-1, -1, -1},
				  .new_session = true,
				  .end_signal = SIGTERM, /* nobody could reach it any more */
				  .ctty = -1};
	int rc = 0;
	for (int i = 0; i < 2 && !rc; i++)
		rc = pipe_open(k, i, &spec.fd[i + 1]);
	if (rc)
		err_set(err, rc, "start a kernel: make a pipe");
	rc = rc ? rc : child_spawn(&k->loop, &k->child, &spec, on_exit_process, k, err);
	for (int i = 0; i < 2; i++) {
		if (spec.fd[i + 1] >= 0)
			close(spec.fd[i + 1]);
		if (rc)
			pipe_close(k, i);
	}
	return rc;
}

int kernel_process_start(struct kernel *k, struct tl_err *err)
{
	int rc = kernel_connection_write(k, err);
	rc = rc ? rc : spawn(k, err);
	if (rc)
		return rc;
	k->pid = k->child.pid;
	k->started_ms = clock_wall_ms();
	k->phase = KERNEL_STARTING;
	k->has_exit = k->shell_answers = k->iopub_answers = false;
	k->nudges = 0;
	k->output_left = TL_LIMIT_KERNEL_OUTPUT;
	kernel_log_state(k, "starting", "notice", k->plan.notice);
	timer_start(&k->nudge, 10);
	timer_start(&k->answer, TL_LIMIT_KERNEL_ANSWER_MS);
	kernel_chan_open(k);
	return 0;
}

/* ---- orders ---- */

int kernel_process_interrupt(struct kernel *k)
{
	if (k->child.pid <= 0)
		return TL_E_CLOSED;
	if (k->plan.spec.by_message)
		return kernel_chan_ask(&k->chan[JUPYTER_CONTROL], "interrupt_request", "{}");
	return child_kill(&k->child, SIGINT, true);
}

static void stop_step(void *ctx)
{
	struct kernel *k = ctx;
	struct kernel_chan *control = &k->chan[JUPYTER_CONTROL];
	if (k->child.pid <= 0)
		return;
	if (k->stop_step == 0 && kernel_chan_takes(control))
		kernel_chan_ask(control, "shutdown_request",
				k->stop == KERNEL_STOP_RESTART ? "{\"restart\":true}"
							       : "{\"restart\":false}");
	else if (k->stop_step < 2) {
		child_kill(&k->child, SIGTERM, true);
		k->stop_step = 1;
	} else {
		child_kill(&k->child, SIGKILL, true);
	}
	k->stop_step++;
	timer_start(&k->stopper, TL_LIMIT_KERNEL_STOP_MS);
}

void kernel_process_stop(struct kernel *k, enum kernel_stop after)
{
	if (k->phase == KERNEL_OVER)
		return;
	if (k->child.pid <= 0) {
		if (after == KERNEL_STOP_END)
			kernel_over(k);
		else
			start_again(k);
		return;
	}
	/* an end that is under way is not turned into a restart */
	if (k->stop == KERNEL_STOP_END)
		return;
	if (k->stop == KERNEL_STOP_NONE) {
		k->stop_step = 0;
		timer_start(&k->stopper, 0);
	}
	k->stop = after;
	kernel_log_state(k, after == KERNEL_STOP_RESTART ? "restarting" : "ending", NULL, NULL);
	kviewer_pump_all(k);
}

void kernel_process_clean(struct kernel *k)
{
	kernel_chan_close(k);
	for (int i = 0; i < 2; i++)
		pipe_close(k, i);
	kernel_connection_remove(k);
}

void kernel_process_init(struct kernel *k)
{
	timer_init(&k->loop, &k->nudge, on_nudge, k);
	timer_init(&k->loop, &k->stopper, stop_step, k);
}
