/* document.c - the examples of R's package ssh as a C program: one action per run, each prints what
 * the document shows. document CONFIG HOST connect|verbose|whoami|script|capture|sudo|copy|tunnel
 * [ARGUMENT…] */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <towline.h>

static struct tl_error e;

static int failed(void)
{
	fprintf(stderr, "%s: %s. %s\n", e.name, e.message, e.todo);
	return 1;
}

static void on_log(void *ctx, int level, const char *line)
{
	(void)ctx, (void)level;
	puts(line);
}

static int connected(struct tl_session *s)
{
	struct tl_info i = TL_INFO_INIT;

	if (tl_session_info(s, &i, &e) != 0)
		return failed();
	printf("<ssh session> (%s)\nserver: %s\n", i.connected ? "connected" : "disconnected",
	       i.fingerprint_sha1);
	return 0;
}

static int script(struct tl_session *s)
{
	static const char *const lines[] = {"printf %s packed >file.tar", "wc -c <file.tar",
					    "rm -f file.tar", "ls file.tar 2>/dev/null", NULL};
	struct tl_exec x = TL_EXEC_INIT;
	struct tl_exit how;

	x.commands = lines;
	x.stdout_fd = 1;
	x.stderr_fd = 2;
	if (tl_exec(s, &x, &how, &e) != 0)
		return failed();
	printf("[1] %d\n", how.status);
	return 0;
}

static int capture(struct tl_session *s, const char *command)
{
	const char *const lines[] = {command, NULL};
	struct tl_exec x = TL_EXEC_INIT;
	struct tl_output out;

	x.commands = lines;
	if (tl_capture(s, &x, 0, 1, &out, &e) != 0) {
		tl_output_free(&out);
		return failed();
	}
	printf("[1] %d\n%s", out.exit.status, (char *)out.out);
	tl_output_free(&out);
	return 0;
}

static int with_password(struct tl_session *s, const char *password, const char *command)
{
	const char *const lines[] = {command, NULL};
	struct tl_exec x = TL_EXEC_INIT;
	struct tl_exit how;

	x.commands = lines;
	x.stdin_data = password;
	x.stdin_n = strlen(password);
	x.stdout_fd = 1;
	if (tl_exec(s, &x, &how, &e) != 0)
		return failed();
	return how.status;
}

static int copy(struct tl_session *s, const char *file, const char *name, const char *folder)
{
	const char *const up[] = {file, NULL}, *const down[] = {name, NULL};

	if (tl_upload(s, up, ".", NULL, &e) != 0 || tl_download(s, down, folder, NULL, &e) != 0)
		return failed();
	return 0;
}

static int tunnel(struct tl_session *s, const char *port, const char *target)
{
	struct tl_tunnel_options o = TL_TUNNEL_OPTIONS_INIT;
	struct tl_tunnel *t;
	int rc;

	o.listen = port;
	o.target = target;
	o.once = 1;
	if (tl_tunnel_open(s, &o, &t, &e) != 0)
		return failed();
	printf("%d\n", tl_tunnel_port(t));
	rc = tl_tunnel_wait(t, NULL, &e);
	tl_tunnel_close(t);
	return rc ? failed() : 0;
}

static int act(struct tl_session *s, const char *what, char **arg)
{
	struct tl_exit how;

	if (strcmp(what, "connect") == 0)
		return connected(s);
	if (strcmp(what, "script") == 0)
		return script(s);
	if (strcmp(what, "capture") == 0)
		return capture(s, arg[0]);
	if (strcmp(what, "sudo") == 0)
		return with_password(s, arg[0], arg[1]);
	if (strcmp(what, "copy") == 0)
		return copy(s, arg[0], arg[1], arg[2]);
	if (strcmp(what, "tunnel") == 0)
		return tunnel(s, arg[0], arg[1]);
	if (tl_run(s, "whoami", &how, &e) != 0)
		return failed();
	printf("[1] %d\n", how.status);
	return 0;
}

int main(int argc, char **argv)
{
	struct tl_options o = TL_OPTIONS_INIT;
	struct tl_session *s;
	int rc;

	if (argc < 4)
		return 2;
	setvbuf(stdout, NULL, _IOLBF, 0);
	o.config_file = argv[1];
	if (strcmp(argv[3], "verbose") == 0) {
		o.verbosity = 2;
		o.log = on_log;
	}
	if (tl_connect(argv[2], &o, &s, &e) != 0)
		return failed();
	rc = act(s, argv[3], argv + 4);
	tl_disconnect(s);
	return rc;
}
