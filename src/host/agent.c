/* agent.c - `towline-host agent`: one per user, machine and link protocol; serves every client of
 * this user. Owns the socket, the connections and the links. Ends after a while without links and
 * terminals, at SIGTERM, or when asked; terminals go on in their holds. */
#include "host/agent.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/str.h"
#include "base/version.h"
#include "host/agent_holds.h"
#include "host/agent_helper.h"
#include "host/agent_log.h"

#define TIDY_AFTER_MS 20000 /* not while somebody waits for a window */
#define TIDY_MAX_MS   60000

static const char usage[] =
    "usage: towline-host agent [--run-dir DIR] [--idle-ms N] [--ready-fd FD]\n"
    "Serves clients on a unix socket; usually started by `towline-host bridge`. Without "
    "--ready-fd\n"
    "it stays in the foreground and logs to standard error.\n";

struct agent_options {
	const char *run_dir;
	long long idle_ms, ready_fd;
};

static int bad_use(const char *what, const char *arg)
{
	fprintf(stderr, "towline-host agent: %s \"%s\"\n%s", what, arg, usage);
	return TL_E_INVAL;
}

/* 0, TL_E_INVAL (said on stderr), or 1 when --help was answered. */
static int parse(int argc, char **argv, struct agent_options *o)
{
	*o = (struct agent_options){.idle_ms = TL_LIMIT_AGENT_IDLE_MS, .ready_fd = -1};
	for (int i = 1; i < argc; i++) {
		const char *a = argv[i], *v = i + 1 < argc ? argv[i + 1] : NULL;
		bool ok;
		if (strcmp(a, "--help") == 0) {
			fputs(usage, stdout);
			return 1;
		}
		if (strcmp(a, "--run-dir") == 0) {
			ok = v && v[0] == '/';
			o->run_dir = v;
		} else if (strcmp(a, "--idle-ms") == 0) {
			ok = v && str_to_int(v, 1, 1000000000, &o->idle_ms);
		} else if (strcmp(a, "--ready-fd") == 0) {
			ok = v && str_to_int(v, 3, 1023, &o->ready_fd);
		} else {
			return bad_use("unknown option", a);
		}
		if (!ok)
			return bad_use("a proper value is missing after", a);
		i++;
	}
	return 0;
}

/* ---- the end ---- */

void agent_stop(struct agent *a, int code, const char *why)
{
	/* a private server ends with its one connection, whose end comes back here */
	if (a->on_single_over && a->stopping)
		return;
	a->stopping = true;
	LIST_FOREACH_SAFE (it, &a->links)
		agent_link_end(list_entry(it, struct agent_link, node), code, why);
	LIST_FOREACH_SAFE (it, &a->conns)
		conn_close(list_entry(it, struct conn, node), code, why);
	if (a->on_single_over)
		a->on_single_over(a);
	else
		loop_stop(&a->loop);
}

static void on_signal(void *ctx, int signo)
{
	log_info("ended by signal %d", signo);
	agent_stop(ctx, TL_E_CLOSED, "the server on the host was stopped");
}

static void on_hangup(void *ctx, int signo)
{
	(void)ctx;
	(void)signo;
}

static void on_ending(void *ctx)
{
	agent_stop(ctx, 0, "the server on the host was asked to stop");
}

static void on_idle(void *ctx)
{
	struct agent *a = ctx;

	if (a->link_count > 0 || a->stopping)
		return;
	if (a->conn_count > 0 || holds_each(a->forced_run_dir, NULL, NULL) > 0) {
		timer_start(&a->idle, a->idle_ms);
		return;
	}
	log_info("idle: no clients, no terminals");
	agent_stop(a, 0, "idle");
}

void agent_idle_check(struct agent *a)
{
	if (a->link_count == 0 && !a->stopping && !a->on_single_over)
		timer_start(&a->idle, a->idle_ms);
}

/* ---- the beginning ---- */

static int agent_listen(struct agent *a, const char *forced, struct tl_err *err)
{
	int rc = rundir_choose(forced, &a->run, err);

	if (rc)
		return rc;
	a->forced_run_dir = forced;
	snprintf(a->socket_path, sizeof(a->socket_path), "%s/" AGENT_SOCKET, a->run.path,
		 LINK_PROTO);
	return listen_unix(&a->loop, &a->listener, a->socket_path, conn_accept, a, err);
}

static void tidied(void *ctx, int rc, struct tl_bytes out)
{
	(void)ctx, (void)rc, (void)out;
}

static void on_tidy(void *ctx)
{
	struct tl_err err = {0};

	if (helper_run(ctx, (const char *[]){"server", "prune", NULL}, TIDY_MAX_MS, tidied, ctx,
		       &err) != 0)
		log_warn("cannot look for old versions: %s", err.text);
}

static int agent_init(struct agent *a, const struct agent_options *o, struct tl_err *err)
{
	int rc;

	list_init(&a->conns);
	list_init(&a->links);
	a->idle_ms = (uint64_t)o->idle_ms;
	a->started_ms = clock_wall_ms();
	a->chunk = malloc(AGENT_CHUNK);
	if (!a->chunk)
		return err_set(err, TL_E_NOMEM, "out of memory");
	timer_init(&a->loop, &a->idle, on_idle, a);
	timer_init(&a->loop, &a->ending, on_ending, a);
	timer_init(&a->loop, &a->tidy, on_tidy, a);
	timer_start(&a->tidy, TIDY_AFTER_MS);
	rc = signal_watch(&a->loop, &a->on_term, SIGTERM, on_signal, a);
	if (rc == 0)
		rc = signal_watch(&a->loop, &a->on_int, SIGINT, on_signal, a);
	if (rc == 0)
		rc = signal_watch(&a->loop, &a->on_hup, SIGHUP, on_hangup, a);
	if (rc)
		return err_set(err, rc, "cannot watch signals");
	return agent_listen(a, o->run_dir, err);
}

/* The bridge that started us waits for one line on fd. */
static void tell_starter(int fd, const struct tl_err *err)
{
	struct buf b;

	if (fd < 0)
		return;
	buf_init(&b, HANDSHAKE_LINE);
	if ((err ? handshake_put_word(&b, "error", err->code, err->text)
		 : buf_put_str(&b, "ready\n")) == 0 &&
	    fd_write_all(fd, buf_data(&b).p, b.len, HANDSHAKE_MS) != 0)
		log_warn("the bridge that started us is gone");
	buf_fini(&b);
	close(fd);
}

static void open_log(const struct agent_options *o)
{
	char dir[TL_LIMIT_PATH - 16], path[TL_LIMIT_PATH], other[TL_LIMIT_PATH];
	struct rundir c[RUNDIR_COUNT];
	size_t n = rundir_candidates(o->run_dir, c);
	bool have = server_dir(dir, sizeof(dir)) == 0;

	snprintf(path, sizeof(path), "%s/agent.log", have ? dir : "/");
	snprintf(other, sizeof(other), "%s/agent.log", n ? c[n - 1].path : "/");
	agent_log_open(have ? path : NULL, other);
}

/* Removes our socket, but not one that a successor put there. */
static void socket_remove(const struct agent *a, const struct stat *ours)
{
	struct stat st;

	if (lstat(a->socket_path, &st) == 0 && st.st_ino == ours->st_ino &&
	    st.st_dev == ours->st_dev)
		unlink(a->socket_path);
}

int agent_main(int argc, char **argv)
{
	struct sigaction ignore = {.sa_handler = SIG_IGN};
	struct agent_options o;
	struct tl_err err = {0};
	struct stat ours = {0};
	struct agent a;
	int rc = parse(argc, argv, &o);

	if (rc)
		return rc > 0 ? 0 : err_row(rc)->exit_status;
	memset(&a, 0, sizeof(a));
	sigaction(SIGPIPE, &ignore, NULL);
	if (o.ready_fd >= 0) {
		fd_set_cloexec((int)o.ready_fd, true);
		open_log(&o);
	}
	rc = loop_init(&a.loop);
	if (rc)
		err_set(&err, rc, "cannot make an event loop");
	else
		rc = agent_init(&a, &o, &err);
	if (rc) {
		log_error("cannot start: %s", err.text);
		tell_starter((int)o.ready_fd, &err);
	} else {
		lstat(a.socket_path, &ours);
		log_info("agent %s, link protocol %d, listens on %s", TL_VERSION, LINK_PROTO,
			 a.socket_path);
		tell_starter((int)o.ready_fd, NULL);
		agent_idle_check(&a);
		loop_run(&a.loop);
		socket_remove(&a, &ours);
		listener_close(&a.listener);
	}
	loop_fini(&a.loop);
	free(a.chunk);
	return rc ? err_row(rc)->exit_status : 0;
}
