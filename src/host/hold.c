/* hold.c - the life of one terminal: start, reading the program, its end (see hold.h).
 * Everything a hold owns hangs on one struct hold, which lives as long as the process. No timer
 * stands between the program and its viewers; an idle hold wakes once an hour. */
#include "host/hold.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "host/hold_front.h"
#include "host/hold_state.h"

#define KILL_MS       5000 /* from SIGHUP to SIGKILL */
#define LINGER_MS     100  /* a background job may keep the terminal open after the shell's end */
#define LINGER_ROUNDS 10   /* and may even go on writing */
#define RETRY_MS      1000
#define HOURLY_MS     3600000

bool hold_socket_path(char *out, size_t n, const char *run_dir, const char *id)
{
	for (const char *c = id; *c; c++)
		if (!((*c >= 'a' && *c <= 'z') || (*c >= '0' && *c <= '9')))
			return false;
	int len = snprintf(out, n, "%s/hold-%s.sock", run_dir, id);
	return *id && run_dir[0] == '/' && len > 0 && (size_t)len < n;
}

/* ---- from the program to the log ---- */

/* How many bytes may be read now: what fits; else what the fastest live viewer no longer needs;
 * else, with nobody watching, as much as there is. */
static size_t hold_may_read(const struct hold *h, uint64_t *ret_wake_ms)
{
	uint64_t now = clock_mono_ms(), best = 0;
	bool live = false;
	*ret_wake_ms = UINT64_MAX;
	if (ring_room(&h->log))
		return ring_room(&h->log);
	LIST_FOREACH (it, &h->viewers) {
		const struct viewer *v = list_entry(it, struct viewer, node);
		if (!viewer_is_live(v, now))
			continue;
		/* the first moment at which it might count as silent */
		if (v->moved_ms + TL_LIMIT_TERM_SILENT_MS < *ret_wake_ms)
			*ret_wake_ms = v->moved_ms + TL_LIMIT_TERM_SILENT_MS;
		live = true;
		if (v->cursor_off > h->log.base_off && v->cursor_off - h->log.base_off > best)
			best = v->cursor_off - h->log.base_off;
	}
	return live ? (size_t)best : TL_LIMIT_TERM_FRAME;
}

/* Puts bytes into the log; what the log drops for them is first given to those half way through
 * it. */
static bool hold_log(struct hold *h, const uint8_t *p, size_t n)
{
	int rc = TL_E_NOMEM;
	for (int i = 0; i < 2 && rc; i++) {
		if (ring_room(&h->log) < n) {
			uint64_t base = h->log.base_off + (n - ring_room(&h->log));
			LIST_FOREACH_SAFE (it, &h->viewers)
				viewer_rescue(list_entry(it, struct viewer, node), base);
		}
		rc = ring_put_drop(&h->log, p, n);
		/* no memory to grow: what is there becomes the maximum */
		if (rc && h->log.cap >= TL_LIMIT_TERM_FRAME)
			h->log.max = h->log.cap;
	}
	return rc == 0;
}

static void hold_pump(struct hold *h)
{
	LIST_FOREACH_SAFE (it, &h->viewers)
		viewer_pump(list_entry(it, struct viewer, node));
}

/* The last byte is in the log. */
static void hold_finish(struct hold *h)
{
	if (h->ended)
		return;
	h->ended = true;
	if (h->pty_open) {
		h->pty_open = false;
		io_close(&h->pty, NULL);
	}
	timer_stop(&h->linger);
	timer_stop(&h->killer);
	timer_stop(&h->silent);
	timer_start(&h->keep, h->dropped ? TL_LIMIT_TERM_SILENT_MS : TL_LIMIT_TERM_EXITED_KEEP_MS);
	h->input_waits = false;
	hold_pump(h);
	hold_reconsider(h);
}

/* End of file from the pty: no process has it open. That is the end, unless the program itself
 * lives on without its terminal and may open it again. */
static void hold_pty_dead(struct hold *h)
{
	if (h->exited) {
		hold_finish(h);
		return;
	}
	h->pty_dead = true;
	io_want_read(&h->pty, false);
	timer_start(&h->silent, RETRY_MS);
}

void hold_read_pty(struct hold *h)
{
	uint8_t chunk[TL_LIMIT_TERM_FRAME];
	uint64_t wake;
	size_t have = 0, may = hold_may_read(h, &wake);
	long n = 1;
	if (!h->pty_open)
		return;
	if (!may) {
		io_want_read(&h->pty, false);
		timer_at(&h->silent, wake);
		return;
	}
	if (may > sizeof(chunk))
		may = sizeof(chunk);
	while (have < may && (n = io_read(&h->pty, chunk + have, may - have)) > 0)
		have += (size_t)n;
	if (have) {
		if (!hold_log(h, chunk, have)) {
			log_error("terminal %s: no memory for its log", h->plan.id);
			loop_stop(&h->loop);
			return;
		}
		hold_title_feed(&h->title, bytes_of(chunk, have));
		hold_pump(h);
	}
	if (n == TL_E_AGAIN)
		h->linger_rounds = LINGER_ROUNDS;
	else if (n <= 0)
		hold_pty_dead(h);
}

static void on_pty_readable(void *ctx)
{
	hold_read_pty(ctx);
}

static void on_pty_writable(void *ctx)
{
	struct hold *h = ctx;
	h->input_waits = false;
	if (h->input_owner) {
		struct viewer *v = h->input_owner;
		h->input_owner = NULL;
		viewer_obey(v);
	}
	LIST_FOREACH_SAFE (it, &h->viewers) {
		if (h->input_waits)
			break;
		viewer_obey(list_entry(it, struct viewer, node));
	}
	hold_reconsider(h);
}

/* Once: a second stop would keep the loop from closing its handles. */
static void hold_over(struct hold *h)
{
	h->over = true;
	loop_stop(&h->loop);
}

static bool hold_is_over(const struct hold *h)
{
	if (!h->ended || !(h->end_seen || h->dropped))
		return false;
	LIST_FOREACH (it, &h->viewers) {
		const struct viewer *v = list_entry(it, struct viewer, node);
		if (v->attached && (!v->exit_sent || v->out.len))
			return false;
	}
	return true;
}

void hold_reconsider(struct hold *h)
{
	uint64_t wake;
	if (h->over)
		return;
	if (hold_is_over(h))
		hold_over(h);
	else if (h->pty_open && !h->pty.want_read && !h->pty_dead && hold_may_read(h, &wake))
		io_want_read(&h->pty, true);
}

static void on_silent(void *ctx)
{
	struct hold *h = ctx;
	h->pty_dead = false;
	if (h->pty_open) {
		io_want_read(&h->pty, true);
		hold_read_pty(h);
	}
}

/* ---- orders ---- */

void hold_resize(struct hold *h, struct viewer *from, struct hold_size size)
{
	if (!size.cols || !size.rows || (size.cols == h->size.cols && size.rows == h->size.rows))
		return;
	h->size = size;
	if (h->pty_open)
		pty_resize(h->pty.rfd, size.cols, size.rows);
	LIST_FOREACH (it, &h->viewers) {
		struct viewer *v = list_entry(it, struct viewer, node);
		if (v == from || !v->attached)
			continue;
		v->size_wanted = true;
		io_want_write(&v->io, true);
	}
}

void hold_signal(struct hold *h, int signo)
{
	if (h->ended || signo < 1 || signo > 31)
		return;
	pid_t group = h->pty_open ? pty_foreground(h->pty.rfd) : -1;
	if (group > 1)
		kill(-group, signo);
	else
		child_kill(&h->child, signo, true);
}

static void on_killer(void *ctx)
{
	struct hold *h = ctx;
	hold_signal(h, SIGKILL);
	child_kill(&h->child, SIGKILL, true);
	child_kill(&h->child, SIGKILL, false);
}

void hold_drop(struct hold *h)
{
	if (h->dropped)
		return;
	h->dropped = true;
	if (h->ended) {
		timer_start(&h->keep, TL_LIMIT_TERM_SILENT_MS);
		hold_reconsider(h);
		return;
	}
	/* the groups first: what /proc hides, they reach */
	hold_signal(h, SIGHUP);
	child_kill(&h->child, SIGHUP, true);
	hold_session_signal(h->pid, SIGHUP);
	/* a stopped job must run to see the signal */
	hold_session_signal(h->pid, SIGCONT);
	timer_start(&h->killer, KILL_MS);
}

/* ---- the end ---- */

static void on_linger(void *ctx)
{
	struct hold *h = ctx;
	uint64_t wake;
	h->linger_rounds++;
	/* the rest waits behind a viewer: the log is not complete yet */
	if (!h->pty.want_read && hold_may_read(h, &wake) == 0)
		h->linger_rounds = 0;
	else
		hold_read_pty(h);
	if (h->ended)
		return;
	if (h->linger_rounds >= LINGER_ROUNDS)
		hold_finish(h);
	else
		timer_start(&h->linger, LINGER_MS);
}

static void on_exit_program(void *ctx, int kind, int value)
{
	struct hold *h = ctx;
	h->exited = true;
	h->exit.kind = kind ? HOLD_EXIT_SIGNAL : HOLD_EXIT_STATUS;
	h->exit.value = (uint32_t)value;
	/* usually the pty says end of file at once */
	h->linger_rounds = 0;
	timer_start(&h->linger, LINGER_MS);
	if (h->pty_dead)
		on_silent(h);
}

static void on_keep(void *ctx)
{
	hold_over(ctx);
}

static void on_signal_term(void *ctx, int signo)
{
	(void)signo;
	hold_drop(ctx);
}

/* ---- the socket ---- */

static void on_accept(void *ctx, int fd)
{
	viewer_accept(ctx, fd);
}

/* Cleaners of temporary folders remove old files: the socket is made anew where it is gone, and
 * looks young where it is not. */
static void hold_check_socket(struct hold *h)
{
	struct tl_err err = {0};
	struct stat st;
	unsigned other = !h->listening;
	if (lstat(h->path, &st) == 0 && S_ISSOCK(st.st_mode)) {
		utimensat(AT_FDCWD, h->path, NULL, 0);
		return;
	}
	if (listen_unix(&h->loop, &h->listener[other], h->path, on_accept, h, &err) != 0) {
		log_warn("terminal %s: %s", h->plan.id, err.text);
		return;
	}
	listener_close(&h->listener[h->listening]);
	h->listening = other;
}

static void on_hourly(void *ctx)
{
	struct hold *h = ctx;
	hold_check_socket(h);
	timer_start(&h->hourly, HOURLY_MS);
}

static void on_signal_usr1(void *ctx, int signo)
{
	(void)signo;
	hold_check_socket(ctx);
}

/* ---- start ---- */

static int hold_start_program(struct hold *h, struct tl_err *err)
{
	int master, slave;
	struct child_spec spec = {.file = h->plan.shell,
				  .argv = h->plan.argv.v,
				  .envp = h->plan.env.v,
				  .cwd = h->plan.cwd,
				  .new_session = true};
	h->size = (struct hold_size){(uint16_t)h->plan.cols, (uint16_t)h->plan.rows};
	int rc = pty_open(&master, &slave, h->plan.cols, h->plan.rows, err);
	if (!rc && h->plan.raw)
		(void)pty_raw(slave);
	if (rc)
		return rc;
	spec.ctty = slave;
	rc = child_spawn(&h->loop, &h->child, &spec, on_exit_program, h, err);
	close(slave);
	if (!rc &&
	    io_open(&h->loop, &h->pty, master, master, on_pty_readable, on_pty_writable, h) != 0) {
		child_kill(&h->child, SIGKILL, true);
		rc = err_set(err, TL_E_NOMEM, "watch a pseudo terminal");
	}
	if (rc) {
		close(master);
		return rc;
	}
	h->pty_open = true;
	h->pid = h->child.pid;
	h->started_ms = clock_wall_ms();
	return 0;
}

static int hold_start(struct hold *h, struct tl_err *err)
{
	struct {
		struct loop_timer *timer;
		void (*fn)(void *);
	} timers[] = {{&h->silent, on_silent},
		      {&h->linger, on_linger},
		      {&h->killer, on_killer},
		      {&h->keep, on_keep},
		      {&h->hourly, on_hourly}};
	for (size_t i = 0; i < sizeof(timers) / sizeof(timers[0]); i++)
		timer_init(&h->loop, timers[i].timer, timers[i].fn, h);
	hold_input_init(h);
	list_init(&h->viewers);
	ring_init(&h->log, TL_LIMIT_TERM_LOG, 0);
	hold_socket_path(h->path, sizeof(h->path), h->plan.run_dir, h->plan.id);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	signal(SIGINT, SIG_IGN);
	/* a daemon started here still belongs here, for whoever asks whose ports are whose */
	child_adopt_orphans(&h->loop);
	int rc = signal_watch(&h->loop, &h->on_term, SIGTERM, on_signal_term, h);
	rc = rc ? rc : signal_watch(&h->loop, &h->on_usr1, SIGUSR1, on_signal_usr1, h);
	if (rc)
		return err_set(err, rc, "create a terminal: cannot watch signals");
	rc = listen_unix(&h->loop, &h->listener[0], h->path, on_accept, h, err);
	if (rc)
		return rc;
	if (h->plan.notice)
		ring_put(&h->log, h->plan.notice, strlen(h->plan.notice));
	rc = hold_start_program(h, err);
	if (rc)
		unlink(h->path);
	timer_start(&h->hourly, HOURLY_MS);
	return rc;
}

/* One line to whoever started us; false when nobody is there any more. */
static bool answer(struct hold *h, const struct tl_err *err)
{
	struct buf info;
	buf_init(&info, HOLD_FRAME_MAX);
	struct tl_err why = *err;
	int rc = why.code ? 0 : hold_info(h, &info);
	if (rc)
		err_set(&why, rc, "create a terminal");
	bool ok = hold_front_answer(buf_data(&info), why.code ? &why : NULL);
	buf_fini(&info);
	return ok;
}

int hold_main(int argc, char **argv)
{
	struct tl_err err = {0};
	struct buf text;
	(void)argc;
	(void)argv;
	struct hold *h = calloc(1, sizeof(*h));
	if (!h || loop_init(&h->loop) != 0)
		return err_row(TL_E_NOMEM)->exit_status;
	buf_init(&text, TL_LIMIT_RPC_MESSAGE);
	int rc = hold_front_read(&text, "create a terminal", &err);
	rc = rc ? rc : hold_plan_parse(&h->plan, buf_data(&text), &err);
	buf_fini(&text);
	rc = rc ? rc : hold_start(h, &err);
	if (!answer(h, &err) && !rc)
		hold_drop(h); /* nobody would ever know of it */
	if (!rc) {
		hold_front_let_go();
		loop_run(&h->loop);
		unlink(h->path);
		/* the loop's last turns bring nobody new */
		listener_close(&h->listener[h->listening]);
		LIST_FOREACH_SAFE (it, &h->viewers)
			viewer_close(list_entry(it, struct viewer, node));
	}
	hold_plan_fini(&h->plan);
	ring_fini(&h->log);
	loop_fini(&h->loop);
	free(h);
	return rc ? err_row(rc)->exit_status : 0;
}
