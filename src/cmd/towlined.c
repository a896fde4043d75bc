/* towlined.c - the local daemon: reads its arguments, prepares its folders, runs the hub until it
 * is told to end. A parent that started it with --ready-fd N learns there in one JSON line whether
 * it listens. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "api/client.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/str.h"
#include "base/version.h"
#include "host/hold.h"
#include "host/svc_fs.h"
#include "hub/hub.h"
#include "loop/child.h"
#include "loop/fsx.h"
#include "loop/io.h"
#include "loop/sock.h"
#include "standin/standin.h"

#define LOG_MAX_BYTES (8 * 1024 * 1024)

struct daemon {
	struct loop loop;
	struct hub *hub;
	struct hub_config cfg;
	struct loop_signal term, intr, hup;
	char self[TL_LIMIT_PATH], config_dir[TL_LIMIT_PATH], state_dir[TL_LIMIT_PATH];
	char runtime_dir[TL_LIMIT_PATH], control[TL_LIMIT_PATH], log_path[TL_LIMIT_PATH];
	char ui_dir[TL_LIMIT_PATH], host_bin_dir[TL_LIMIT_PATH], askpass[TL_LIMIT_PATH];
	int ready_fd, log_fd;
	bool foreground;
	enum log_level level;
	off_t log_bytes;
};

static const char usage[] =
    "usage: towlined [--port N] [--frame-port N] [--foreground] [-v]\n"
    "\n"
    "The local daemon of Towline. towline(1) starts it when it is needed; there is\n"
    "seldom a reason to do so by hand.\n"
    "\n"
    "  --port N         serve windows on http://localhost:N (default: the port of last\n"
    "                   time, else a free one; also TOWLINE_PORT)\n"
    "  --frame-port N   second port, for the frames inside a window\n"
    "  --foreground     log to standard error\n"
    "  -v, --verbose    log more\n"
    "  --version, --help\n"
    "\n"
    "See towlined(8).\n";

/* One line a message: time, level, [host], text. A grown log is moved aside once. */
static void log_to_file(void *ctx, enum log_level level, const char *scope, const char *line)
{
	static const char *const names[] = {"error", "warn", "info", "debug"};
	struct daemon *d = ctx;
	struct timespec ts;
	struct tm tm;
	char when[32], text[TL_ERR_TEXT * 4];
	int n;

	clock_gettime(CLOCK_REALTIME, &ts);
	localtime_r(&ts.tv_sec, &tm);
	strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S", &tm);
	n = snprintf(text, sizeof(text), "%s.%03ld %s %s%s%s%s\n", when, ts.tv_nsec / 1000000,
		     names[level], scope[0] ? "[" : "", scope, scope[0] ? "] " : "", line);
	if (n >= (int)sizeof(text)) {
		n = (int)sizeof(text) - 1;
		text[n - 1] = '\n';
	}
	if (d->log_bytes > LOG_MAX_BYTES && !d->foreground) {
		char old[TL_LIMIT_PATH + 8];
		snprintf(old, sizeof(old), "%s.1", d->log_path);
		if (rename(d->log_path, old) == 0) {
			int fd = open(d->log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
			if (fd >= 0) {
				dup3(fd, d->log_fd, O_CLOEXEC);
				close(fd);
			}
		}
		d->log_bytes = 0;
	}
	if (write(d->log_fd, text, (size_t)n) > 0)
		d->log_bytes += n;
}

/* Tells the parent, once. */
static void ready(struct daemon *d, const struct tl_err *e)
{
	struct buf b;

	if (d->ready_fd < 0)
		return;
	buf_init(&b, TL_LIMIT_OPEN_LINE);
	if (open_put_answer(&b, NULL, e) == 0)
		fd_write_all(d->ready_fd, buf_data(&b).p, b.len, 1000);
	buf_fini(&b);
	close(d->ready_fd);
	d->ready_fd = -1;
}

static bool exists(const char *path)
{
	return access(path, F_OK) == 0;
}

/* Files lie relative to our own executable, the same in a build and in an installation. */
static int find_files(struct daemon *d, struct tl_err *err)
{
	char prefix[TL_LIMIT_PATH];
	char *slash;

	if (self_path(d->self, sizeof(d->self)) != 0)
		return err_set(err, TL_E_INTERNAL,
			       "cannot find our own executable: is /proc mounted?");
	str_copy(prefix, sizeof(prefix), d->self);
	for (int i = 0; i < 2; i++) {
		slash = strrchr(prefix, '/');
		if (slash)
			*slash = 0;
	}
	snprintf(d->ui_dir, sizeof(d->ui_dir), "%.3900s/share/towline/ui", prefix);
	snprintf(d->host_bin_dir, sizeof(d->host_bin_dir), "%.3900s/lib/towline/host", prefix);
	snprintf(d->askpass, sizeof(d->askpass), "%.3900s/bin/towline-askpass", prefix);
	if (!exists(d->askpass))
		return err_set(err, TL_E_INTERNAL,
			       "the installation is not complete: %s is missing", d->askpass);
	return 0;
}

static int prepare(struct daemon *d, struct tl_err *err)
{
	struct stat st;
	char *slash;
	int rc;

	if (!api_control_path(d->control, sizeof(d->control)) ||
	    !api_state_dir(d->state_dir, sizeof(d->state_dir)) ||
	    !api_config_dir(d->config_dir, sizeof(d->config_dir)))
		return err_set(err, TL_E_LIMIT,
			       "the paths below XDG_RUNTIME_DIR, XDG_STATE_HOME or XDG_CONFIG_HOME "
			       "are too long");
	str_copy(d->runtime_dir, sizeof(d->runtime_dir), d->control);
	slash = strrchr(d->runtime_dir, '/');
	if (slash)
		*slash = 0;
	if ((rc = private_dir(d->runtime_dir, err)) || (rc = private_dir(d->state_dir, err)) ||
	    (rc = fs_mkdirs(d->config_dir, 0700, err)))
		return rc;
	snprintf(d->log_path, sizeof(d->log_path), "%.4000s/towlined.log", d->state_dir);
	d->log_fd =
	    d->foreground ? 2 : open(d->log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (d->log_fd < 0)
		return err_sys(err, errno, "cannot write the log %s", d->log_path);
	if (fstat(d->log_fd, &st) == 0)
		d->log_bytes = st.st_size;
	log_init(d->level, log_to_file, d);
	return find_files(d, err);
}

static void all_closed(void *ctx)
{
	struct daemon *d = ctx;

	d->hub = NULL;
	loop_stop(&d->loop);
}

static void stop(void *ctx)
{
	struct daemon *d = ctx;

	if (!d->hub)
		return;
	log_info("towlined ends");
	hub_close(d->hub, all_closed, d);
}

static void on_signal(void *ctx, int signo)
{
	struct daemon *d = ctx;

	if (signo == SIGHUP && !d->foreground)
		return;
	stop(d);
}

static void end_loop(struct daemon *d)
{
	signal_close(&d->term);
	signal_close(&d->intr);
	signal_close(&d->hup);
	loop_fini(&d->loop);
}

static int run(struct daemon *d)
{
	struct tl_err e = {0};
	char text[TL_ERR_TEXT + 256];
	bool looping = false;
	int rc;

	rc = prepare(d, &e);
	if (rc == 0 && (rc = loop_init(&d->loop)) != 0)
		err_set(&e, rc, "cannot start the event loop");
	if (rc)
		goto fail;
	d->cfg.version = TL_VERSION;
	d->cfg.config_dir = d->config_dir;
	d->cfg.state_dir = d->state_dir;
	d->cfg.runtime_dir = d->runtime_dir;
	d->cfg.control_path = d->control;
	d->cfg.log_path = d->log_path;
	d->cfg.ui_dir = d->ui_dir;
	d->cfg.host_bin_dir = d->host_bin_dir;
	d->cfg.askpass_path = d->askpass;
	d->cfg.self_path = d->self;
	if (!d->cfg.ssh_path)
		d->cfg.ssh_path = "ssh";
	looping = true;
	signal_watch(&d->loop, &d->term, SIGTERM, on_signal, d);
	signal_watch(&d->loop, &d->intr, SIGINT, on_signal, d);
	signal_watch(&d->loop, &d->hup, SIGHUP, on_signal, d);
	rc = hub_new(&d->loop, &d->cfg, stop, d, &d->hub, &e);
	if (rc)
		goto fail;
	log_info("towlined %s listens on http://localhost:%d and %s", TL_VERSION, hub_port(d->hub),
		 d->control);
	ready(d, NULL);
	loop_run(&d->loop);
	end_loop(d);
	return 0;
fail:
	if (looping)
		end_loop(d);
	ready(d, &e);
	err_message(&e, text, sizeof(text));
	if (d->log_fd > 2)
		log_error("%s", text);
	fprintf(stderr, "towlined: %s\n", text);
	return err_row(rc)->exit_status;
}

static int parse_port(const char *text, const char *what)
{
	long long v;

	if (str_to_int(text, 1, 65535, &v))
		return (int)v;
	fprintf(stderr, "towlined: %s “%s” is not a port number. Give a number from 1 to 65535.\n",
		what, text);
	exit(2);
}

/* What the daemon starts as a process of its own, through /proc/self/exe: for hosts without our
 * program. */
static const struct {
	const char *name;
	int (*run)(int argc, char **argv);
} faces[] = {{"stand-in", standin_main},
	     {"stand-in-files", standin_files_main},
	     {"stand-in-watch", standin_watch_main}};

int main(int argc, char **argv)
{
	enum {
		OPT_PORT = 256,
		OPT_FRAME_PORT,
		OPT_READY,
		OPT_FOREGROUND,
		OPT_USERDATA,
		OPT_VERSION,
		OPT_HELP
	};
	static const struct option options[] = {
	    {"port", required_argument, NULL, OPT_PORT},
	    {"frame-port", required_argument, NULL, OPT_FRAME_PORT},
	    {"ready-fd", required_argument, NULL, OPT_READY},
	    {"foreground", no_argument, NULL, OPT_FOREGROUND},
	    {"verbose", no_argument, NULL, 'v'},
	    {"userdata-server", required_argument, NULL, OPT_USERDATA},
	    {"version", no_argument, NULL, OPT_VERSION},
	    {"help", no_argument, NULL, OPT_HELP},
	    {NULL, 0, NULL, 0},
	};
	struct daemon d = {.ready_fd = -1, .log_fd = 2, .level = LOG_INFO};
	const char *env = getenv("TOWLINE_PORT");
	long long n;
	int c;

	for (size_t i = 0; argc > 0 && i < sizeof(faces) / sizeof(faces[0]); i++)
		if (strcmp(argv[0], faces[i].name) == 0)
			return faces[i].run(argc, argv);
	/* terminals of such hosts: as the agent starts them on a host */
	if (argc > 1 && strcmp(argv[0], "towline-host") == 0 && strcmp(argv[1], "hold") == 0)
		return hold_main(argc - 1, argv + 1);
	signal(SIGPIPE, SIG_IGN);
	if (env && env[0])
		d.cfg.port = parse_port(env, "TOWLINE_PORT");
	env = getenv("TOWLINE_SSH");
	if (env && env[0])
		d.cfg.ssh_path = env;
	while ((c = getopt_long(argc, argv, "vh", options, NULL)) != -1) {
		switch (c) {
		case OPT_PORT:
			d.cfg.port = parse_port(optarg, "--port");
			break;
		case OPT_FRAME_PORT:
			d.cfg.frame_port = parse_port(optarg, "--frame-port");
			break;
		case OPT_READY:
			d.ready_fd = str_to_int(optarg, 3, 1023, &n) ? (int)n : -1;
			break;
		case OPT_FOREGROUND:
			d.foreground = true;
			break;
		case 'v':
			d.level = LOG_DEBUG;
			break;
		case OPT_USERDATA:
			return svc_fs_main(0, 1, optarg);
		case OPT_VERSION:
			printf("towlined %s\n", TL_VERSION);
			return 0;
		case 'h':
		case OPT_HELP:
			fputs(usage, stdout);
			return 0;
		default:
			fputs(usage, stderr);
			return 2;
		}
	}
	if (optind < argc) {
		fprintf(stderr, "towlined: “%s” is not expected.\n%s", argv[optind], usage);
		return 2;
	}
	return run(&d);
}
