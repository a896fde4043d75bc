/* drive.c - libtowline from a program, for the tests: one action per run, results as JSON lines.
 *
 *   drive [OPTION…] HOST ACTION [ARGUMENT…]
 *     -F FILE -i KEY -o OPTION -p PORT -t MS -v LEVEL --via auto|daemon|direct|installed|plain
 *     --answer TEXT (each question the next one; the last repeats)
 *   info | run COMMAND | capture COMMAND… | argv PROGRAM… | stdin TEXT COMMAND | cat FILE
 *   cancel COMMAND (ends it at its first output) | cancel-signal COMMAND (by SIGINT)
 *   nobody-reads COMMAND (into a pipe without reader) | special COMMAND | pty COMMAND
 *   stop COMMAND (by the function) | timeout MS COMMAND | limit BYTES COMMAND | lost COMMAND
 *   connect (SIGINT ends the attempt)
 *   many N COMMAND (at once) | threads N COMMAND (a session each) | again N (connections) */
#include <errno.h>
#include <getopt.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <fcntl.h>
#include <sys/wait.h>
#include <towline.h>
#include <unistd.h>

struct drive {
	const char *host;
	struct tl_options opt;
	const char *ssh_options[32];
	const char *answers[16];
	int answer_n, answer_at;
	pthread_t main;
};

static struct drive d;
static struct tl_cancel *cancel;

static void put_text(const char *p, size_t n)
{
	putchar('"');
	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)p[i];
		if (c == '"' || c == '\\')
			printf("\\%c", c);
		else if (c < 32 || c > 126)
			printf("\\u%04x", c);
		else
			putchar(c);
	}
	putchar('"');
}

static void member(const char *name, const char *text)
{
	printf(", \"%s\": ", name);
	put_text(text ? text : "", text ? strlen(text) : 0);
}

static int ask(void *ctx, enum tl_prompt_kind kind, const char *text, int attempt, char *answer,
	       size_t n)
{
	static const char *const kinds[] = {"hostkey",  "passphrase", "password",
					    "question", "pin",        "touch"};

	(void)ctx;
	printf("{\"event\": \"prompt\", \"attempt\": %d, \"here\": %d", attempt,
	       pthread_equal(d.main, pthread_self()) != 0);
	member("kind", kinds[kind]);
	member("text", text);
	printf("}\n");
	fflush(stdout);
	if (!d.answer_n)
		return 1;
	snprintf(answer, n, "%s", d.answers[d.answer_at]);
	if (d.answer_at + 1 < d.answer_n)
		d.answer_at++;
	return 0;
}

static void log_line(void *ctx, int level, const char *line)
{
	(void)ctx;
	printf("{\"event\": \"log\", \"level\": %d", level);
	member("line", line);
	printf("}\n");
}

static int failed(const char *what, const struct tl_error *e)
{
	printf("{\"event\": \"error\", \"number\": %d, \"errno\": %d", e->number, e->sys_errno);
	member("what", what);
	member("name", e->name);
	member("message", e->message);
	member("todo", e->todo);
	printf("}\n");
	return 1;
}

static void ended(const struct tl_exit *e)
{
	printf("{\"event\": \"exit\", \"status\": %d, \"signal\": %d}\n", e->status, e->signal);
}

/* ---- actions ---- */

static int info(struct tl_session *s)
{
	struct tl_info i = TL_INFO_INIT;
	struct tl_error e;

	if (tl_session_info(s, &i, &e) != 0)
		return failed("info", &e);
	printf("{\"event\": \"info\", \"port\": %d, \"connected\": %d", i.port, i.connected);
	member("host", i.host);
	member("user", i.user);
	member("address", i.address);
	member("via", i.via);
	member("identity", i.identity);
	member("auth_method", i.auth_method);
	member("sha256", i.fingerprint_sha256);
	member("sha1", i.fingerprint_sha1);
	member("host_key_type", i.host_key_type);
	member("cipher", i.cipher);
	member("kex", i.kex);
	member("server_version", i.server_version);
	member("jump", i.jump);
	member("platform", i.platform);
	member("home", i.home);
	member("plain_why", i.plain_why);
	printf("}\n");
	return 0;
}

static int run(struct tl_session *s, const char *command)
{
	struct tl_exit how;
	struct tl_error e;

	fflush(stdout);
	if (tl_run(s, command, &how, &e) != 0)
		return failed("run", &e);
	ended(&how);
	return 0;
}

static int capture(struct tl_session *s, struct tl_exec *x, size_t max, int check)
{
	struct tl_output o;
	struct tl_error e;
	int rc = tl_capture(s, x, max, check, &o, &e);

	if (rc == 0 || o.out) {
		printf("{\"event\": \"output\", \"out\": ");
		put_text(o.out, o.out_n);
		printf(", \"err\": ");
		put_text(o.errout, o.errout_n);
		printf("}\n");
		ended(&o.exit);
	}
	tl_output_free(&o);
	return rc ? failed("capture", &e) : 0;
}

static int first_output(void *ctx, const void *p, size_t n)
{
	(void)p, (void)n;
	printf("{\"event\": \"data\", \"bytes\": %zu}\n", n);
	fflush(stdout);
	if (strcmp(ctx, "cancel") == 0)
		tl_cancel(cancel);
	if (strcmp(ctx, "signal") == 0)
		raise(SIGINT);
	return strcmp(ctx, "stop") == 0;
}

static void on_sigint(int signo)
{
	(void)signo;
	tl_cancel(cancel);
}

static void handle(int signo, void (*fn)(int))
{
	struct sigaction sa;

	memset(&sa, 0, sizeof(sa));
	sa.sa_handler = fn;
	sigaction(signo, &sa, NULL);
}

static int stream(struct tl_session *s, const char *command, const char *how, int timeout_ms)
{
	const char *const commands[] = {command, NULL};
	struct tl_exec x = TL_EXEC_INIT;
	struct tl_exit ret;
	struct tl_error e;

	handle(SIGINT, on_sigint);
	x.commands = commands;
	x.on_stdout = first_output;
	x.ctx = (void *)(size_t)how;
	x.cancel = cancel;
	x.timeout_ms = timeout_ms;
	if (tl_exec(s, &x, &ret, &e) != 0)
		return failed("exec", &e);
	ended(&ret);
	return 0;
}

/* ---- many ---- */

struct worker {
	pthread_t thread;
	struct tl_session *session; /* NULL: its own */
	const char *command;
	struct tl_error error;
	const char *step;
	int number;
	int ok;
};

static void *work(void *ctx)
{
	struct worker *w = ctx;
	char number[16];
	const char *const commands[] = {w->command, NULL};
	const char *const env[] = {number, NULL};
	struct tl_session *s = w->session;
	struct tl_exec x = TL_EXEC_INIT;
	struct tl_output o = {0};

	snprintf(number, sizeof(number), "N=%d", w->number);
	x.commands = commands;
	x.env = env;
	w->step = "connect";
	if (!s && tl_connect(d.host, &d.opt, &s, &w->error) != 0)
		return NULL;
	w->step = "capture";
	w->ok = tl_capture(s, &x, 0, 1, &o, &w->error) == 0 && o.out_n > 0 &&
		strtol(o.out, NULL, 10) == w->number;
	tl_output_free(&o);
	if (!w->session)
		tl_disconnect(s);
	return NULL;
}

static int many(struct tl_session *s, int n, const char *command)
{
	struct worker *w = calloc((size_t)n, sizeof(*w));
	int good = 0, rc = 0;
	pthread_attr_t attr;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 256 * 1024);
	for (int i = 0; i < n; i++) {
		w[i].session = s;
		w[i].command = command;
		w[i].number = i;
		pthread_create(&w[i].thread, &attr, work, &w[i]);
	}
	for (int i = 0; i < n; i++) {
		pthread_join(w[i].thread, NULL);
		good += w[i].ok;
		if (!w[i].ok)
			rc = failed(w[i].step, &w[i].error);
	}
	printf("{\"event\": \"many\", \"good\": %d}\n", good);
	free(w);
	return rc;
}

static int again(int n)
{
	struct tl_session *s;
	struct tl_error e;

	for (int i = 0; i < n; i++) {
		if (tl_connect(d.host, &d.opt, &s, &e) != 0)
			return failed("connect", &e);
		tl_disconnect(s);
	}
	printf("{\"event\": \"again\", \"good\": %d}\n", n);
	return 0;
}

/* ---- main ---- */

static const struct option longs[] = {{"via", required_argument, NULL, 'V'},
				      {"answer", required_argument, NULL, 'A'},
				      {NULL, 0, NULL, 0}};

static void take_options(int argc, char **argv)
{
	static const char *const vias[] = {"auto", "daemon", "direct", "installed", "plain"};
	size_t n = 0;
	int c;

	d.opt = (struct tl_options)TL_OPTIONS_INIT;
	d.opt.ssh_options = d.ssh_options;
	d.opt.log = log_line;
	while ((c = getopt_long(argc, argv, "+F:i:o:p:t:v:", longs, NULL)) >= 0) {
		switch (c) {
		case 'F':
			d.opt.config_file = optarg;
			break;
		case 'i':
			d.opt.key_file = optarg;
			break;
		case 'o':
			if (n < 31)
				d.ssh_options[n++] = optarg;
			break;
		case 'p':
			d.opt.port = (int)strtol(optarg, NULL, 10);
			break;
		case 't':
			d.opt.timeout_ms = (int)strtol(optarg, NULL, 10);
			break;
		case 'v':
			d.opt.verbosity = (int)strtol(optarg, NULL, 10);
			break;
		case 'V':
			for (int i = 0; i < 5; i++)
				if (strcmp(vias[i], optarg) == 0)
					d.opt.via = (enum tl_via)i;
			break;
		case 'A':
			d.opt.prompt = ask;
			if (d.answer_n < 16 && *optarg != '-')
				d.answers[d.answer_n++] = optarg;
			break;
		default:
			exit(2);
		}
	}
}

static int act(struct tl_session *s, const char *action, char **arg)
{
	const char *const *lines = (const char *const *)arg;
	struct tl_exec x = TL_EXEC_INIT;

	if (strcmp(action, "connect") == 0)
		return 0;
	if (strcmp(action, "info") == 0)
		return info(s);
	if (strcmp(action, "run") == 0)
		return run(s, arg[0]);
	if (strcmp(action, "capture") == 0) {
		x.commands = lines;
		return capture(s, &x, 0, 1);
	}
	if (strcmp(action, "argv") == 0) {
		x.argv = lines;
		return capture(s, &x, 0, 0);
	}
	if (strcmp(action, "stdin") == 0) {
		x.stdin_data = arg[0];
		x.stdin_n = strlen(arg[0]);
		x.commands = lines + 1;
		return capture(s, &x, 0, 0);
	}
	if (strcmp(action, "cat") == 0) {
		x.stdin_fd = open(arg[0], O_RDONLY | O_CLOEXEC);
		x.stdout_fd = STDOUT_FILENO;
		x.argv = (const char *const[]){"cat", NULL};
		return tl_exec(s, &x, NULL, NULL) != 0;
	}
	if (strcmp(action, "nobody-reads") == 0) {
		struct tl_error e;
		int fds[2];
		if (pipe(fds) != 0)
			return 2;
		close(fds[0]);
		x.commands = lines;
		x.stdout_fd = fds[1];
		return tl_exec(s, &x, NULL, &e) ? failed("exec", &e) : 0;
	}
	if (strcmp(action, "special") == 0) {
		x.commands = lines;
		x.cwd = "/usr";
		x.env = (const char *const[]){"TL_A=a b", "HOME", NULL};
		return capture(s, &x, 0, 0);
	}
	if (strcmp(action, "pty") == 0) {
		x.commands = lines;
		x.pty = 1;
		x.cols = 91;
		x.rows = 17;
		return capture(s, &x, 0, 0);
	}
	if (strcmp(action, "cancel") == 0 || strcmp(action, "signal") == 0 ||
	    strcmp(action, "stop") == 0 || strcmp(action, "lost") == 0)
		return stream(s, arg[0], action, 0);
	if (strcmp(action, "timeout") == 0)
		return stream(s, arg[1], action, (int)strtol(arg[0], NULL, 10));
	if (strcmp(action, "limit") == 0) {
		x.commands = lines + 1;
		return capture(s, &x, (size_t)strtol(arg[0], NULL, 10), 0);
	}
	if (strcmp(action, "many") == 0)
		return many(s, (int)strtol(arg[0], NULL, 10), arg[1]);
	return 2;
}

/* A child of the program's own is not taken by the library, nor its handler. */
static int chld_seen;

static void on_chld(int signo)
{
	(void)signo;
	chld_seen++;
}

static int own_child(void)
{
	struct sigaction now;
	int status = -1;
	pid_t pid = fork();

	if (pid == 0)
		_exit(7);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	sigaction(SIGCHLD, NULL, &now);
	printf("{\"event\": \"child\", \"status\": %d, \"handler\": %d, \"seen\": %d}\n",
	       WIFEXITED(status) ? WEXITSTATUS(status) : -1, now.sa_handler == on_chld,
	       chld_seen > 0);
	return 0;
}

int main(int argc, char **argv)
{
	struct tl_session *s = NULL;
	struct tl_error e;
	const char *action;
	int rc;

	setvbuf(stdout, NULL, _IOLBF, 0);
	d.main = pthread_self();
	take_options(argc, argv);
	if (argc - optind < 2)
		return 2;
	d.host = argv[optind];
	action = argv[optind + 1];
	cancel = tl_cancel_new();
	if (strcmp(action, "threads") == 0) {
		rc = many(NULL, (int)strtol(argv[optind + 2], NULL, 10), argv[optind + 3]);
	} else if (strcmp(action, "again") == 0) {
		rc = again((int)strtol(argv[optind + 2], NULL, 10));
	} else {
		handle(SIGCHLD, on_chld);
		d.opt.cancel = cancel;
		if (strcmp(action, "connect") == 0) {
			handle(SIGINT, on_sigint);
			printf("{\"event\": \"connecting\"}\n");
		}
		rc = tl_connect(d.host, &d.opt, &s, &e);
		if (rc) {
			rc = failed("connect", &e);
		} else {
			rc = strcmp(action, "child") == 0 ? own_child()
							  : act(s, action, argv + optind + 2);
			printf("{\"event\": \"connected\", \"yes\": %d}\n", tl_is_connected(s));
		}
		tl_disconnect(s);
	}
	tl_cancel_free(cancel);
	return rc;
}
