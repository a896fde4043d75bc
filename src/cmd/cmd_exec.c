/* cmd_exec.c - towline exec: a program, command lines or a script on a host; the status of the
 * program is ours. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/base64.h"
#include "base/str.h"
#include "cmd/cmd_session.h"

const char *const cmd_exec_usage =
    "usage: towline exec [OPTION…] HOST PROGRAM [ARGUMENT…]\n"
    "       towline exec [OPTION…] HOST -c COMMAND…\n"
    "       towline exec [OPTION…] HOST --script FILE\n"
    "\n"
    "Runs a program on a host and ends as it ends. Standard input is passed on.\n"
    "PROGRAM runs as it stands, without a shell; a single word with blanks is a command line.\n"
    "\n"
    "  -c COMMAND        a command line for the login shell; several run as one script, in which\n"
    "                    variables and the folder carry over\n"
    "  --script FILE     a file of such lines; - is standard input\n"
    "  -e NAME=VALUE     set an environment variable, -e NAME removes one (may be repeated)\n"
    "  --cwd DIR         run in this folder of the host\n"
    "  -t                with a terminal\n"
    "  -n                without standard input\n"
    "  --timeout SECONDS end it after this time\n"
    "  --capture         print what it wrote when it has ended\n"
    "  --json            the same as one line of JSON, with status or signal\n"
    "\n"
    "The exit status is the program's, 128 + N when signal N ended it. Ctrl-C ends it there, "
    "too.\n";

/* What the command line says. */
struct order {
	struct strv commands, env;
	struct tl_exec x;
	char *script; /* commands[0] of a script */
	bool capture;
};

/* ---- the command line ---- */

/* Takes out an option that may be repeated. */
static int take_values(const struct cmd_globals *g, int *argc, char **argv, const char *name,
		       struct strv *ret)
{
	int kept = 1, i = 1;

	for (; i < *argc && strcmp(argv[i], "--") != 0; i++) {
		if (strcmp(argv[i], name) != 0) {
			argv[kept++] = argv[i];
			continue;
		}
		if (i + 1 >= *argc)
			return cmd_usage_error(g, "exec", "%s needs a value", name);
		if (strv_add(ret, argv[++i]))
			return TL_E_NOMEM;
	}
	for (; i < *argc; i++)
		argv[kept++] = argv[i];
	argv[kept] = NULL;
	*argc = kept;
	return 0;
}

/* The whole file without the CR of Windows line ends; malloc'ed. */
static char *read_script(const char *path, struct tl_err *err)
{
	int fd = strcmp(path, "-") == 0 ? dup(0) : open(path, O_RDONLY | O_CLOEXEC);
	struct buf b;
	char piece[16384], *text = NULL;
	ssize_t n = -1;
	int rc = 0;

	buf_init(&b, TL_LIMIT_EXEC_SCRIPT);
	while (fd >= 0 && rc == 0 && (n = read(fd, piece, sizeof(piece))) > 0)
		rc = buf_put(&b, piece, (size_t)n);
	if (n < 0)
		err_sys(err, errno, "cannot read the script %s", path);
	else if (rc)
		err_set(err, rc, "the script %s is longer than %d bytes", path,
			TL_LIMIT_EXEC_SCRIPT);
	else if (memchr(buf_data(&b).p ? (const void *)buf_data(&b).p : "", 0, b.len))
		err_set(err, TL_E_INVAL, "the script %s has NUL bytes: it is no text", path);
	else
		text = str_ndup(b.len ? (const void *)buf_data(&b).p : "", b.len);
	if (fd >= 0)
		close(fd);
	buf_fini(&b);
	if (text) {
		char *to = text;
		for (const char *from = text; *from; from++)
			if (from[0] != '\r' || from[1] != '\n')
				*to++ = *from;
		*to = 0;
	}
	return text;
}

static int take_timeout(const struct cmd_globals *g, const char *text, int *ret_ms)
{
	char *end;
	double s;

	if (!text)
		return 0;
	errno = 0;
	s = strtod(text, &end);
	if (end == text || *end || errno || !(s > 0 && s <= 2000000))
		return cmd_usage_error(g, "exec", "“%s” is not a number of seconds", text);
	*ret_ms = s * 1000 < 1 ? 1 : (int)(s * 1000);
	return 0;
}

static int take_order(struct order *o, const struct cmd_globals *g, int *argc, char **argv)
{
	bool bad = false;
	const char *script = cmd_value(g, argc, argv, NULL, "--script", &bad);
	const char *timeout = cmd_value(g, argc, argv, NULL, "--timeout", &bad);
	struct winsize ws = {0};
	struct tl_err err = {0};
	int rc;

	o->x.cwd = cmd_value(g, argc, argv, NULL, "--cwd", &bad);
	o->x.pty = cmd_flag(argc, argv, "-t", "--tty");
	o->capture = cmd_flag(argc, argv, NULL, "--capture") || g->json;
	o->x.stdin_fd = cmd_flag(argc, argv, "-n", "--no-stdin") ? -1 : 0;
	if (bad)
		return CMD_EXIT_USAGE;
	rc = take_timeout(g, timeout, &o->x.timeout_ms);
	rc = rc ? rc : take_values(g, argc, argv, "-c", &o->commands);
	rc = rc ? rc : take_values(g, argc, argv, "-e", &o->env);
	rc = rc ? rc : cmd_words(g, argc, argv, 1, 1 << 20, "HOST");
	if (rc)
		return rc;
	if (script) {
		o->script = read_script(script, &err);
		if (!o->script)
			return cmd_fail(g, &err);
		if (strcmp(script, "-") == 0)
			o->x.stdin_fd = -1;
		strv_add(&o->commands, o->script);
	}
	if (o->x.pty && ioctl(0, TIOCGWINSZ, &ws) == 0) {
		o->x.cols = ws.ws_col;
		o->x.rows = ws.ws_row;
	}
	return 0;
}

/* Which of the three forms. argv[2] and on: the program. */
static int take_program(struct order *o, const struct cmd_globals *g, int argc, char **argv)
{
	if (o->commands.n && argc > 2)
		return cmd_usage_error(g, "exec", "“%s” is too much: -c or --script was given",
				       argv[2]);
	if (!o->commands.n && argc == 2)
		return cmd_usage_error(g, "exec", "what to run is missing");
	if (argc == 3 && strpbrk(argv[2], " \t\n"))
		strv_add(&o->commands, argv[2]);
	if (o->commands.n)
		o->x.commands = (const char *const *)o->commands.v;
	else
		o->x.argv = (const char *const *)(argv + 2);
	o->x.env = (const char *const *)o->env.v;
	return 0;
}

/* ---- results ---- */

static int status_of(const struct tl_exit *e)
{
	return e->signal ? 128 + e->signal : e->status;
}

static void add_base64(yyjson_mut_doc *doc, yyjson_mut_val *o, const char *name, const uint8_t *p,
		       size_t n)
{
	char *text = base64_text(bytes_of(p, n));

	if (text)
		yyjson_mut_obj_add_strcpy(doc, o, name, text);
	free(text);
}

static void add_output(yyjson_mut_doc *doc, yyjson_mut_val *o, const char *name, const char *exact,
		       const void *p, size_t n)
{
	if (utf8_valid(bytes_of(p ? p : "", n)))
		yyjson_mut_obj_add_strn(doc, o, name, p ? p : "", n);
	else
		add_base64(doc, o, exact, p, n);
}

static void print_json(const struct tl_output *out)
{
	yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *o = yyjson_mut_obj(doc);
	char *text;

	yyjson_mut_doc_set_root(doc, o);
	if (out->exit.signal)
		yyjson_mut_obj_add_int(doc, o, "signal", out->exit.signal);
	else
		yyjson_mut_obj_add_int(doc, o, "status", out->exit.status);
	add_output(doc, o, "stdout", "stdout_base64", out->out, out->out_n);
	add_output(doc, o, "stderr", "stderr_base64", out->errout, out->errout_n);
	text = yyjson_mut_write(doc, 0, NULL);
	puts(text ? text : "{}");
	free(text);
	yyjson_mut_doc_free(doc);
}

static int run_captured(struct cmd_session *cs, struct order *o, const struct cmd_globals *g,
			struct tl_exit *ret, struct tl_error *err)
{
	struct tl_output out = {0};
	int rc = tl_capture(cs->s, &o->x, 0, 0, &out, err);

	if (rc == 0) {
		*ret = out.exit;
		if (g->json) {
			print_json(&out);
		} else {
			fwrite(out.out, 1, out.out_n, stdout);
			fwrite(out.errout, 1, out.errout_n, stderr);
		}
		tl_output_free(&out);
	}
	return rc;
}

/* The terminal here has another size now; set before the handler is. */
static struct tl_cancel *resized;

static void on_winch(int signo)
{
	(void)signo;
	tl_cancel(resized);
}

/* The terminal there follows the size of ours. */
static void follow_size(struct order *o)
{
	struct sigaction sa = {.sa_handler = on_winch, .sa_flags = SA_RESTART};

	o->x.tty_fd = isatty(0) ? 0 : isatty(1) ? 1 : -1;
	if (!o->x.pty || o->x.tty_fd < 0)
		return;
	resized = tl_cancel_new();
	o->x.resized = resized;
	sigemptyset(&sa.sa_mask);
	if (resized)
		sigaction(SIGWINCH, &sa, NULL);
	/* it may have changed since it was read */
	tl_cancel(resized);
}

static void unfollow_size(void)
{
	signal(SIGWINCH, SIG_DFL);
	tl_cancel_free(resized);
	resized = NULL;
}

/* A terminal there needs ours to pass on every key. */
static int run_streaming(struct cmd_session *cs, struct order *o, struct tl_exit *ret,
			 struct tl_error *err)
{
	struct termios was, raw;
	bool changed = o->x.pty && o->x.stdin_fd == 0 && tcgetattr(0, &was) == 0;
	int rc;

	if (changed) {
		raw = was;
		cfmakeraw(&raw);
		changed = tcsetattr(0, TCSADRAIN, &raw) == 0;
	}
	o->x.stdout_fd = 1;
	o->x.stderr_fd = 2;
	follow_size(o);
	rc = tl_exec(cs->s, &o->x, ret, err);
	unfollow_size();
	if (changed)
		tcsetattr(0, TCSADRAIN, &was);
	return rc;
}

static int run(struct order *o, const struct cmd_globals *g, const char *host)
{
	struct cmd_session cs;
	struct tl_error err;
	struct tl_exit end = {0};
	int rc, status;

	if (cmd_session_open(&cs, g, host, &err))
		return cmd_session_fail(g, &err);
	cmd_session_catch(&cs);
	o->x.cancel = cs.cancel;
	rc = o->capture ? run_captured(&cs, o, g, &end, &err) : run_streaming(&cs, o, &end, &err);
	cmd_session_close(&cs);
	if (rc == TL_E_CANCELED && cmd_session_signal())
		return 128 + cmd_session_signal();
	/* the reader had enough, as in `towline exec HOST … | head` */
	if (rc && err.sys_errno == EPIPE)
		return 128 + SIGPIPE;
	if (rc)
		return cmd_session_fail(g, &err);
	status = cmd_done(g);
	return status ? status : status_of(&end);
}

int cmd_exec(int argc, char **argv, const struct cmd_globals *g)
{
	struct tl_exec none = TL_EXEC_INIT;
	struct order o = {.x = none};
	int rc = take_order(&o, g, &argc, argv);

	rc = rc ? rc : take_program(&o, g, argc, argv);
	if (rc == 0)
		rc = run(&o, g, argv[1]);
	strv_fini(&o.commands);
	strv_fini(&o.env);
	free(o.script);
	return rc < 0 ? err_row(rc)->exit_status : rc;
}
