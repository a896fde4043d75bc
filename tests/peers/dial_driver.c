/* dial_driver.c - one dial for the drivers in tests/dial: prints every callback as a JSON line,
 * answers questions from argv, and proves the transport by an echo.
 *
 * usage: dial_driver [OPTION]... HOST
 *   --run DIR --bin DIR --askpass FILE --ssh FILE --ms N --install PATH --reconnect --private
 *   -F FILE -i FILE -o OPTION -p PORT
 *   --answer TEXT   for the next question (repeatable; the last one is used again)
 *   --cancel        cancels the next question (may follow --answer)
 *   --send TEXT     written when the link is up; ends when as many bytes came back
 *   --stay          after on_up: until the transport ends by itself
 *   --hosts         prints the configured hosts (-F) instead of dialing
 * Exit status: 0 up (or listed), 3 failed, 4 not started. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/str.h"
#include "dial/dial.h"
#include "loop/io.h"

#define CANCEL    "\n" /* no answer has a line end */
#define ITEMS_MAX 16

struct driver {
	struct loop loop;
	struct dial *dial;
	struct dial_target target;
	struct dial_env env;
	const char *answers[ITEMS_MAX + 1], *identities[ITEMS_MAX + 1], *options[ITEMS_MAX + 1];
	size_t answers_n, answers_at, identities_n, options_n;
	const char *send;
	size_t echoed;
	bool stay, list, io_on;
	struct io io;
	int status;
};

/* A JSON string; bytes above 0x7f as Latin 1. */
static void json(const char *key, const char *p, size_t n)
{
	printf(",\"%s\":\"", key);
	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)p[i];
		if (c < ' ' || c > '~' || c == '"' || c == '\\')
			printf("\\u%04x", c);
		else
			putchar(c);
	}
	putchar('"');
}

static void event(const char *name)
{
	printf("{\"event\":\"%s\"", name);
}

static void end_event(void)
{
	puts("}");
	fflush(stdout);
}

static void finish(struct driver *d, int status)
{
	d->status = status;
	dial_close(d->dial);
	d->dial = NULL;
	if (d->io_on)
		io_close(&d->io, NULL);
	d->io_on = false;
}

static void on_progress(void *ctx, const char *step, const char *text, int64_t done, int64_t total)
{
	(void)ctx;
	event("progress");
	json("step", step, strlen(step));
	json("text", text, strlen(text));
	printf(",\"done\":%lld,\"total\":%lld", (long long)done, (long long)total);
	end_event();
}

static void on_prompt(void *ctx, struct dial_prompt *p, enum dial_prompt_kind kind,
		      const char *text, bool echo, int attempt)
{
	static const char *const names[] = {"hostkey",  "passphrase", "password",
					    "question", "pin",        "touch"};
	struct driver *d = ctx;
	const char *answer = d->answers_n ? d->answers[d->answers_at] : NULL;

	event("prompt");
	json("kind", names[kind], strlen(names[kind]));
	json("text", text, strlen(text));
	printf(",\"echo\":%s,\"attempt\":%d", echo ? "true" : "false", attempt);
	end_event();
	if (d->answers_at + 1 < d->answers_n)
		d->answers_at++;
	if (answer && strcmp(answer, "wait") == 0)
		return;
	dial_prompt_answer(p, answer && strcmp(answer, CANCEL) == 0 ? NULL : answer);
}

static void on_prompt_gone(void *ctx, struct dial_prompt *p)
{
	(void)ctx;
	(void)p;
	event("gone");
	end_event();
}

static void readable(void *ctx)
{
	struct driver *d = ctx;
	char part[4096];
	long got;

	while ((got = io_read(&d->io, part, sizeof(part))) > 0) {
		event("data");
		json("text", part, (size_t)got);
		end_event();
		d->echoed += (size_t)got;
	}
	if (got != TL_E_AGAIN) {
		event("end");
		end_event();
		io_want_read(&d->io, false);
	} else if (d->send && d->echoed >= strlen(d->send) && !d->stay) {
		finish(d, 0);
	}
}

static void on_up(void *ctx, int rfd, int wfd, struct tl_bytes early)
{
	struct driver *d = ctx;

	event("up");
	json("early", (const char *)early.p, early.n);
	end_event();
	d->status = 0;
	if (!d->send && !d->stay) {
		close(rfd);
		finish(d, 0);
		return;
	}
	if (io_open(&d->loop, &d->io, rfd, wfd, readable, NULL, d)) {
		finish(d, 4);
		return;
	}
	d->io_on = true;
	if (d->send)
		(void)io_write(&d->io, d->send, strlen(d->send));
}

static void print_err(const char *name, const struct tl_err *err)
{
	const struct tl_error_row *row = err_row(err->code);
	char text[TL_ERR_TEXT * 2];

	event(name);
	json("error", row->symbol, strlen(row->symbol));
	json("text", err->text, strlen(err->text));
	err_message(err, text, sizeof(text));
	json("message", text, strlen(text));
	end_event();
}

static void on_failed(void *ctx, const struct tl_err *err)
{
	print_err("failed", err);
	finish(ctx, 3);
}

static void on_down(void *ctx, const struct tl_err *err)
{
	print_err("down", err);
	finish(ctx, 0);
}

static void on_notice(void *ctx, const char *text)
{
	on_progress(ctx, "notice", text, 0, 0);
}

static void on_log(void *ctx, const char *line)
{
	(void)ctx;
	event("log");
	json("line", line, strlen(line));
	end_event();
}

static int list_hosts(const char *file)
{
	struct strv names = {0};
	struct tl_err err = {0};
	int rc = dial_configured_hosts(file, &names, &err);

	for (size_t i = 0; i < names.n; i++) {
		event("host");
		json("name", names.v[i], strlen(names.v[i]));
		end_event();
	}
	if (rc)
		print_err("failed", &err);
	strv_fini(&names);
	return rc ? 3 : 0;
}

static const char *next_arg(int argc, char **argv, int *i)
{
	if (*i + 1 >= argc) {
		fprintf(stderr, "dial_driver: %s needs a value\n", argv[*i]);
		exit(2);
	}
	return argv[++*i];
}

static void push(const char **list, size_t *n, const char *value)
{
	if (*n < ITEMS_MAX)
		list[(*n)++] = value;
}

static void parse(struct driver *d, int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		const struct {
			const char *name;
			const char **to;
		} strings[] = {{"--run", &d->env.runtime_dir},
			       {"--bin", &d->env.host_bin_dir},
			       {"--askpass", &d->env.askpass_path},
			       {"--ssh", &d->env.ssh_path},
			       {"--install", &d->target.install_path},
			       {"-F", &d->target.config_file},
			       {"--send", &d->send}};
		bool done = false;
		for (size_t k = 0; k < sizeof(strings) / sizeof(strings[0]) && !done; k++) {
			done = strcmp(argv[i], strings[k].name) == 0;
			if (done)
				*strings[k].to = next_arg(argc, argv, &i);
		}
		if (done)
			continue;
		if (strcmp(argv[i], "-i") == 0)
			push(d->identities, &d->identities_n, next_arg(argc, argv, &i));
		else if (strcmp(argv[i], "-o") == 0)
			push(d->options, &d->options_n, next_arg(argc, argv, &i));
		else if (strcmp(argv[i], "--answer") == 0)
			push(d->answers, &d->answers_n, next_arg(argc, argv, &i));
		else if (strcmp(argv[i], "--cancel") == 0)
			push(d->answers, &d->answers_n, CANCEL);
		else if (strcmp(argv[i], "--ms") == 0)
			d->env.connect_ms = (uint64_t)strtoull(next_arg(argc, argv, &i), NULL, 10);
		else if (strcmp(argv[i], "-p") == 0)
			d->target.port = (int)strtol(next_arg(argc, argv, &i), NULL, 10);
		else if (strcmp(argv[i], "--reconnect") == 0)
			d->target.reconnect = true;
		else if (strcmp(argv[i], "--private") == 0)
			d->target.private_server = true;
		else if (strcmp(argv[i], "--stay") == 0)
			d->stay = true;
		else if (strcmp(argv[i], "--hosts") == 0)
			d->list = true;
		else
			d->target.host = argv[i];
	}
}

int main(int argc, char **argv)
{
	static const struct dial_callbacks cb = {.on_progress = on_progress,
						 .on_prompt = on_prompt,
						 .on_prompt_gone = on_prompt_gone,
						 .on_up = on_up,
						 .on_failed = on_failed,
						 .on_down = on_down,
						 .on_notice = on_notice,
						 .on_log = on_log};
	struct dial_callbacks mine = cb;
	struct driver d = {.status = 4};
	struct tl_err err = {0};

	parse(&d, argc, argv);
	if (d.list)
		return list_hosts(d.target.config_file);
	if (!d.target.host || !d.env.host_bin_dir || !d.env.runtime_dir || loop_init(&d.loop)) {
		fprintf(stderr, "dial_driver: --run, --bin and HOST are needed\n");
		return 2;
	}
	d.target.identities = d.identities;
	d.target.options = d.options;
	mine.ctx = &d;
	d.dial = dial_start(&d.loop, &d.target, &d.env, &mine, &err);
	if (!d.dial)
		print_err("failed", &err);
	loop_run(&d.loop);
	loop_fini(&d.loop);
	return d.status;
}
