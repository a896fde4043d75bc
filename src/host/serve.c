/* serve.c - see serve.h.
 * An agent without a door: one connection, made of our own standard streams, and one link. It ends
 * with its transport: the streams' children see the end of their input, end their commands and are
 * waited for; then nothing of us is left on the host. With --unlink the program's own file goes
 * before anything else happens: children are started through /proc/self/exe, which needs no name.
 */
#include "host/serve.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "host/agent.h"

#define NONCE_MAX 128

static const char usage[] =
    "usage: towline-host serve NONCE [--unlink FILE]\n"
    "Prints NUL \"towline \" NONCE LF, then serves one client on standard input and output\n"
    "(towline-host(8)). Leaves nothing behind. --unlink removes FILE, the program itself, first.\n";

struct serve_options {
	const char *nonce, *unlink;
};

static int bad_use(const char *what, const char *arg)
{
	fprintf(stderr, "towline-host serve: %s%s%s\n%s", what, arg ? " " : "", arg ? arg : "",
		usage);
	return TL_E_INVAL;
}

/* 0, TL_E_INVAL (said on stderr), or 1 when --help was answered. */
static int parse(int argc, char **argv, struct serve_options *o)
{
	for (int i = 1; i < argc; i++) {
		const char *a = argv[i];
		if (strcmp(a, "--help") == 0) {
			fputs(usage, stdout);
			return 1;
		}
		if (strcmp(a, "--unlink") == 0) {
			if (++i >= argc)
				return bad_use("a file is missing after", a);
			o->unlink = argv[i];
		} else if (a[0] == '-') {
			return bad_use("unknown option", a);
		} else if (o->nonce) {
			return bad_use("one NONCE is enough, got also", a);
		} else {
			o->nonce = a;
		}
	}
	if (!o->nonce || !o->nonce[0])
		return bad_use("the NONCE is missing", NULL);
	if (strlen(o->nonce) > NONCE_MAX)
		return bad_use("the NONCE must have 1 to 128 characters", NULL);
	for (const char *c = o->nonce; *c; c++)
		if (*c <= ' ' || *c > '~')
			return bad_use("the NONCE must be printable and without spaces:", o->nonce);
	return 0;
}

static int mark(const struct serve_options *o, struct tl_err *err)
{
	struct buf m;
	int rc;

	buf_init(&m, NONCE_MAX + 32);
	rc = buf_put_u8(&m, 0);
	rc = rc ? rc : buf_printf(&m, "towline %s\n", o->nonce);
	rc = rc ? rc : fd_write_all(1, buf_data(&m).p, m.len, TL_LIMIT_CONNECT_MS);
	buf_fini(&m);
	return rc ? err_set(err, rc, "cannot write the marker: %s", err_row(rc)->what) : 0;
}

/* Our standard streams under other numbers, /dev/null in their place: what closes a stream of
 * children or of the connection never frees 0 or 1. */
static int take_stdio(int ret[2], struct tl_err *err)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	ret[0] = fcntl(0, F_DUPFD_CLOEXEC, 3);
	ret[1] = fcntl(1, F_DUPFD_CLOEXEC, 3);
	if (null < 0 || ret[0] < 0 || ret[1] < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0) {
		int e = errno;
		for (int i = 0; i < 2; i++)
			if (ret[i] >= 0)
				close(ret[i]);
		if (null >= 0)
			close(null);
		return err_sys(err, e, "cannot take over standard input and output");
	}
	if (null > 2)
		close(null);
	return 0;
}

/* The last word was said. The loop goes on for children that end their commands, and no longer. */
void serve_over(struct agent *a)
{
	signal_close(&a->on_term);
	signal_close(&a->on_int);
	signal_close(&a->on_hup);
}

static void on_signal(void *ctx, int signo)
{
	(void)signo;
	agent_stop(ctx, TL_E_CLOSED, "the server on the host was stopped");
}

int serve_begin(struct agent *a, void (*on_over)(struct agent *a), struct tl_err *err)
{
	int fds[2], rc;

	list_init(&a->conns);
	list_init(&a->links);
	a->on_single_over = on_over;
	a->started_ms = clock_wall_ms();
	a->chunk = malloc(AGENT_CHUNK);
	if (!a->chunk)
		return err_set(err, TL_E_NOMEM, "out of memory");
	rc = signal_watch(&a->loop, &a->on_term, SIGTERM, on_signal, a);
	rc = rc ? rc : signal_watch(&a->loop, &a->on_int, SIGINT, on_signal, a);
	rc = rc ? rc : signal_watch(&a->loop, &a->on_hup, SIGHUP, on_signal, a);
	if (rc)
		return err_set(err, rc, "cannot watch signals");
	rc = take_stdio(fds, err);
	if (rc)
		return rc;
	rc = conn_serve(a, fds[0], fds[1]);
	if (rc) {
		close(fds[0]);
		close(fds[1]);
		return err_set(err, rc,
			       "cannot serve: standard input and output must be pipes or sockets");
	}
	return 0;
}

int serve_main(int argc, char **argv)
{
	struct sigaction ignore = {.sa_handler = SIG_IGN};
	struct serve_options o = {0};
	struct tl_err err = {0};
	struct agent a;
	int rc = parse(argc, argv, &o);

	if (rc)
		return rc > 0 ? 0 : err_row(rc)->exit_status;
	if (o.unlink && unlink(o.unlink) != 0 && errno != ENOENT)
		fprintf(stderr, "towline-host serve: cannot remove %s: %s\n", o.unlink,
			strerror(errno));
	memset(&a, 0, sizeof(a));
	sigaction(SIGPIPE, &ignore, NULL);
	/* standard error is the client's: it hears of trouble only */
	log_init(LOG_WARN, NULL, NULL);
	rc = loop_init(&a.loop);
	if (rc) {
		err_set(&err, rc, "cannot make an event loop");
	} else {
		rc = mark(&o, &err);
		rc = rc ? rc : serve_begin(&a, serve_over, &err);
		if (rc == 0)
			loop_run(&a.loop);
		loop_fini(&a.loop);
	}
	free(a.chunk);
	if (rc)
		fprintf(stderr, "towline-host serve: %s\n", err.text);
	return rc ? err_row(rc)->exit_status : 0;
}
