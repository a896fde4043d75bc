/* kernel_hold.c - the life of one session: start, socket, unattended end (see kernel_hold.h).
 * Everything hangs on one struct kernel, which lives as long as the process. Without viewers it
 * wakes for the kernel's messages, once an hour, and when the shutdown timeout is over. */
#include "host/kernel_hold.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "host/hold_front.h"
#include "host/kernel_state.h"

#define HOURLY_MS   3600000
#define KEEP_MS     10000 /* an ended session's patience with slow viewers */
#define OUTPUT_RING 65536

bool kernel_socket_path(char *out, size_t n, const char *run_dir, const char *id)
{
	for (const char *c = id; *c; c++)
		if (!((*c >= 'a' && *c <= 'z') || (*c >= '0' && *c <= '9')))
			return false;
	int len = snprintf(out, n, "%s/kernel-%s.sock", run_dir, id);
	return *id && run_dir[0] == '/' && len > 0 && (size_t)len < n;
}

/* ---- the end ---- */

/* Once: a second stop would keep the loop from closing its handles. */
static void loop_end(struct kernel *k)
{
	if (k->loop_ended)
		return;
	k->loop_ended = true;
	loop_stop(&k->loop);
}

static void on_keep(void *ctx)
{
	loop_end(ctx);
}

static bool all_told(const struct kernel *k)
{
	LIST_FOREACH (it, &k->viewers) {
		const struct kviewer *v = list_entry(it, struct kviewer, node);
		if (v->out.len || (v->attached && !v->exit_sent))
			return false;
	}
	return true;
}

void kernel_over(struct kernel *k)
{
	if (k->phase == KERNEL_OVER)
		return;
	k->phase = KERNEL_OVER;
	kernel_process_clean(k);
	unlink(k->path);
	timer_start(&k->keep, KEEP_MS);
	kernel_call_done(k, KVIEWER_WAITS_END, NULL);
	kviewer_pump_all(k);
	kernel_reconsider(k);
}

/* ---- what changes with time ---- */

static void on_due(void *ctx)
{
	struct kernel *k = ctx;
	if (kernel_policy_due(&k->policy) > clock_mono_ms()) {
		kernel_reconsider(k);
		return;
	}
	log_info("session %s: unattended and idle: ended by its shutdown timeout (%s)", k->plan.id,
		 kernel_timeout_name(k->policy.timeout));
	kernel_process_stop(k, KERNEL_STOP_END);
}

static void on_heartbeat(void *ctx)
{
	struct kernel *k = ctx;
	kernel_chan_ping(k);
	timer_start(&k->heartbeat, TL_LIMIT_KERNEL_HEARTBEAT_MS);
}

void kernel_reconsider(struct kernel *k)
{
	bool watched = k->phase == KERNEL_READY && kernel_attached_count(k) > 0;
	if (k->loop_ended)
		return;
	if (k->phase == KERNEL_OVER) {
		timer_stop(&k->due);
		timer_stop(&k->heartbeat);
		if (all_told(k))
			loop_end(k);
		return;
	}
	kernel_policy_busy(&k->policy, kernel_is_busy(k), clock_mono_ms());
	timer_at(&k->due, k->stop ? UINT64_MAX : kernel_policy_due(&k->policy));
	if (watched && !k->beating)
		timer_start(&k->heartbeat, 0);
	else if (!watched)
		timer_stop(&k->heartbeat);
	k->beating = watched;
}

/* ---- who started us ---- */

static void answer(struct kernel *k, const struct tl_err *err)
{
	struct buf info;
	struct tl_err why = err ? *err : (struct tl_err){0};
	buf_init(&info, 65536);
	int rc = err ? 0 : kernel_info(k, &info);
	if (rc)
		err_set(&why, rc, "start a kernel");
	bool there = hold_front_answer(buf_data(&info), why.code ? &why : NULL);
	buf_fini(&info);
	k->answered = true;
	hold_front_let_go();
	if (why.code)
		kernel_over(k);
	else if (!there)
		kernel_process_stop(k, KERNEL_STOP_END); /* nobody would ever know of it */
}

void kernel_start_done(struct kernel *k, const struct tl_err *err)
{
	timer_stop(&k->answer);
	if (!k->answered)
		answer(k, err);
	kernel_call_done(k, KVIEWER_WAITS_START, err);
	kernel_reconsider(k);
	kviewer_obey_all(k);
}

/* It takes long: state `starting` is the answer, and it goes on. */
static void on_answer(void *ctx)
{
	kernel_start_done(ctx, NULL);
}

/* ---- signals and the socket ---- */

static void on_signal_term(void *ctx, int signo)
{
	(void)signo;
	kernel_process_stop(ctx, KERNEL_STOP_END);
}

static void on_accept(void *ctx, int fd)
{
	kviewer_accept(ctx, fd);
}

/* Cleaners of temporary folders remove old files: the socket is made anew where it is gone, and
 * looks young where it is not. */
static void check_socket(struct kernel *k)
{
	struct tl_err err = {0};
	struct stat st;
	unsigned other = !k->listening;
	utimensat(AT_FDCWD, k->plan.connection_file, NULL, 0);
	if (lstat(k->path, &st) == 0 && S_ISSOCK(st.st_mode)) {
		utimensat(AT_FDCWD, k->path, NULL, 0);
		return;
	}
	if (listen_unix(&k->loop, &k->listener[other], k->path, on_accept, k, &err) != 0) {
		log_warn("session %s: %s", k->plan.id, err.text);
		return;
	}
	listener_close(&k->listener[k->listening]);
	k->listening = other;
}

static void on_hourly(void *ctx)
{
	struct kernel *k = ctx;
	check_socket(k);
	timer_start(&k->hourly, HOURLY_MS);
}

static void on_signal_usr1(void *ctx, int signo)
{
	(void)signo;
	check_socket(ctx);
}

/* ---- start ---- */

static void start_memory(struct kernel *k)
{
	uint8_t id[16];
	struct {
		struct loop_timer *timer;
		void (*fn)(void *);
	} timers[] = {{&k->due, on_due},
		      {&k->heartbeat, on_heartbeat},
		      {&k->answer, on_answer},
		      {&k->keep, on_keep},
		      {&k->hourly, on_hourly}};
	for (size_t i = 0; i < sizeof(timers) / sizeof(timers[0]); i++)
		timer_init(&k->loop, timers[i].timer, timers[i].fn, k);
	list_init(&k->viewers);
	journal_init(&k->journal, journal_file(k->plan.run_dir), TL_LIMIT_KERNEL_LOG,
		     TL_LIMIT_KERNEL_LOG_MEMORY, TL_LIMIT_KERNEL_TAIL);
	ring_init(&k->output, OUTPUT_RING, 0);
	kernel_track_init(&k->track, clock_wall_ms());
	kernel_policy_init(&k->policy, k->plan.timeout, clock_mono_ms());
	random_bytes(id, sizeof(id));
	str_hex(id, sizeof(id), k->session);
	kernel_chan_init(k);
	kernel_process_init(k);
	kernel_socket_path(k->path, sizeof(k->path), k->plan.run_dir, k->plan.id);
}

static int start(struct kernel *k, struct tl_err *err)
{
	start_memory(k);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	signal(SIGINT, SIG_IGN);
	/* a server that code left behind still belongs here, for whoever asks whose ports are whose
	 */
	child_adopt_orphans(&k->loop);
	int rc = signal_watch(&k->loop, &k->on_term, SIGTERM, on_signal_term, k);
	rc = rc ? rc : signal_watch(&k->loop, &k->on_usr1, SIGUSR1, on_signal_usr1, k);
	if (rc)
		return err_set(err, rc, "start a kernel: cannot watch signals");
	rc = listen_unix(&k->loop, &k->listener[0], k->path, on_accept, k, err);
	if (rc)
		return rc;
	rc = kernel_process_start(k, err);
	if (rc)
		kernel_process_clean(k);
	timer_start(&k->hourly, HOURLY_MS);
	return rc;
}

static void fini(struct kernel *k)
{
	kernel_chan_close(k);
	LIST_FOREACH_SAFE (it, &k->viewers)
		kviewer_close(list_entry(it, struct kviewer, node));
	if (k->listener[k->listening].open)
		listener_close(&k->listener[k->listening]);
	unlink(k->path);
	loop_fini(&k->loop);
	kernel_connection_remove(k);
	journal_fini(&k->journal);
	ring_fini(&k->output);
	kernel_track_fini(&k->track);
	kernel_plan_fini(&k->plan);
}

int kernel_hold_main(int argc, char **argv)
{
	struct tl_err err = {0};
	struct buf text;
	(void)argc;
	(void)argv;
	struct kernel *k = calloc(1, sizeof(*k));
	if (!k || loop_init(&k->loop) != 0)
		return err_row(TL_E_NOMEM)->exit_status;
	buf_init(&text, TL_LIMIT_RPC_MESSAGE);
	int rc = hold_front_read(&text, "start a kernel", &err);
	rc = rc ? rc : kernel_plan_parse(&k->plan, buf_data(&text), &err);
	buf_fini(&text);
	if (rc) {
		hold_front_answer(bytes_of("", 0), &err);
		loop_fini(&k->loop);
		free(k);
		return err_row(rc)->exit_status;
	}
	rc = start(k, &err);
	if (rc)
		hold_front_answer(bytes_of("", 0), &err);
	else
		loop_run(&k->loop);
	fini(k);
	free(k);
	return rc ? err_row(rc)->exit_status : 0;
}
