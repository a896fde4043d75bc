/* ports.c - the loop of `towline-host ports` and its arguments (see ports.h, ports_state.h).
 * Sleeps in poll(2): without a deadline while nothing but waiting shells is there, else until the
 * next look. A look takes at most a twentieth of the time. */
#include "host/ports.h"

#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/str.h"
#include "host/ports_state.h"
#include "loop/io.h"
#include "loop/loop.h"

#define LOAD      20
#define MOVED_MS  10 /* after a terminal moved: what it tells of has just happened */
#define INPUT_MAX 65536

static const char usage[] =
    "usage: towline-host ports [--once] [--run-dir DIR] [--proc]\n"
    "Tells which TCP ports this host listens on as JSON-RPC on standard output; --once prints the\n"
    "list and ends. --proc reads /proc/net only, as on kernels without socket diagnosis.\n";

/* ---- the loop ---- */

static uint64_t at_least(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/* One look, where there is something to be seen. Returns when the next one is due. */
static uint64_t ports_look(struct ports *o, uint64_t now_ms)
{
	bool quiet;

	/* armed before the question, so nothing slips in between */
	wake_arm(o);
	o->moved = false;
	if (o->dirs_deaf && o->looked && tree_find_holds(o, now_ms))
		o->holds_moved = o->holds_new = true;
	quiet = o->looked && !o->holds_moved && tree_quiet(o) && !o->young;
	if (!quiet && look(o, now_ms) != 0)
		o->ended = true;
	/* processes that are new in the tree may have terminals that are */
	if (!quiet)
		wake_arm(o);
	if (quiet && !o->deaf && !o->dirs_deaf && tree_idle(o, now_ms))
		return UINT64_MAX;
	o->rest_ms = (clock_mono_ms() - now_ms) * LOAD;
	return now_ms + at_least(TL_LIMIT_PORTS_LOOK_MS, o->rest_ms);
}

static int ms_until(uint64_t when_ms, uint64_t now_ms)
{
	if (when_ms == UINT64_MAX)
		return -1;
	return when_ms <= now_ms ? 0 : when_ms - now_ms > 60000 ? 60000 : (int)(when_ms - now_ms);
}

static void ports_run(struct ports *o)
{
	uint64_t next_ms = 0, last_ms = 0;

	while (!o->ended) {
		uint64_t now_ms = clock_mono_ms(), wake_ms = next_ms;
		if (o->others_dirty && o->others_at_ms < wake_ms)
			wake_ms = o->others_at_ms;
		/* nobody reads: what changes meanwhile is told later, all in one */
		struct pollfd p[3] = {
		    {.fd = o->out.len ? -1 : 0, .events = POLLIN},
		    {.fd = o->out.len ? 1 : -1, .events = POLLOUT},
		    {.fd = o->out.len || o->moved ? -1 : o->inotify, .events = POLLIN}};
		if (poll(p, 3, o->out.len ? -1 : ms_until(wake_ms, now_ms)) < 0 && errno != EINTR)
			return;
		if (p[0].revents)
			if (!fd_read_buf(0, &o->in, 4096))
				o->ended = true;
		ports_obey(o);
		now_ms = clock_mono_ms();
		if (!o->out.len) {
			wake_read(o);
			if (o->moved && now_ms + MOVED_MS < next_ms)
				next_ms =
				    at_least(now_ms + MOVED_MS,
					     last_ms + at_least(TL_LIMIT_PORTS_GAP_MS, o->rest_ms));
			if (next_ms <= now_ms) {
				last_ms = now_ms;
				next_ms = ports_look(o, now_ms);
			}
			ports_report(o, clock_mono_ms());
		}
		if (!fd_write_buf(1, &o->out))
			o->ended = true;
	}
}

/* ---- --once ---- */

/* This user's processes outside of the terminals may be named to a person who asks. */
static void name_others(struct ports *o)
{
	DIR *d = opendir("/proc");
	const struct dirent *e;
	struct stat st;
	long long pid;

	while (d && (e = readdir(d)))
		if (str_to_int(e->d_name, 1, INT32_MAX, &pid) &&
		    fstatat(dirfd(d), e->d_name, &st, 0) == 0 && st.st_uid == geteuid())
			look_name(o, (pid_t)pid);
	if (d)
		closedir(d);
}

static int print_once(struct ports *o)
{
	yyjson_mut_doc *d;
	struct buf text;
	int rc = look(o, clock_mono_ms());

	buf_init(&text, TL_LIMIT_RPC_MESSAGE);
	if (rc == 0) {
		name_others(o);
		d = ports_document(o, true);
		rc = d ? buf_put_str(&text, "{\"ok\":") : TL_E_NOMEM;
		rc = rc ? rc : json_write(&text, d);
		rc = rc ? rc : buf_put_str(&text, "}\n");
		yyjson_mut_doc_free(d);
	}
	if (rc == 0)
		rc = fd_write_all(1, buf_data(&text).p, text.len, TL_LIMIT_CONNECT_MS);
	buf_fini(&text);
	if (rc)
		fprintf(stderr, "towline-host ports: cannot list the ports: %s\n",
			err_row(rc)->what);
	return rc;
}

/* ---- start ---- */

/* 0, TL_E_INVAL (said on stderr), or 1 when --help was answered. */
static int parse(int argc, char **argv, struct ports *o)
{
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--help") == 0) {
			fputs(usage, stdout);
			return 1;
		}
		if (strcmp(argv[i], "--once") == 0) {
			o->once = true;
		} else if (strcmp(argv[i], "--proc") == 0) {
			o->no_netlink = o->children_unknown = true;
		} else if (strcmp(argv[i], "--run-dir") == 0 && i + 1 < argc &&
			   argv[i + 1][0] == '/') {
			o->forced_run_dir = argv[++i];
		} else {
			fprintf(stderr, "towline-host ports: cannot use \"%s\"\n%s", argv[i],
				usage);
			return TL_E_INVAL;
		}
	}
	return 0;
}

int ports_main(int argc, char **argv)
{
	struct ports *o = calloc(1, sizeof(*o));
	int rc = o ? parse(argc, argv, o) : TL_E_NOMEM;

	if (rc) {
		free(o);
		return rc > 0 ? 0 : err_row(rc)->exit_status;
	}
	signal(SIGPIPE, SIG_IGN);
	buf_init(&o->in, INPUT_MAX);
	buf_init(&o->out, 2 * TL_LIMIT_RPC_MESSAGE);
	o->inotify = -1;
	kernel_open(o);
	if (o->once) {
		rc = print_once(o);
	} else {
		wake_open(o);
		fd_set_nonblock(1, true);
		ports_run(o);
		ports_wake_close(o);
	}
	kernel_close(o);
	buf_fini(&o->in);
	buf_fini(&o->out);
	free(o->entries);
	free(o->procs);
	free(o);
	return rc ? err_row(rc)->exit_status : 0;
}
