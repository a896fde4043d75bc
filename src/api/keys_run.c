/* keys_run.c - a program, its terminal, and a loop for as long as it runs. */
#include "api/keys_run.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/str.h"
#include "loop/child.h"
#include "loop/io.h"
#include "loop/loop.h"

#define SILENT_MS  120000 /* a long RSA key on a slow machine */
#define PROMPT_MAX 1024
#define WRITE_MS   2000

extern char **environ;

struct run {
	struct loop loop;
	struct child child;
	struct io tty;
	struct loop_timer clock;
	keys_answer_fn *answer;
	void *ctx;
	struct buf *out;
	char line[PROMPT_MAX]; /* the last one, while it has no end */
	size_t n;
	int status, rc;
	bool tty_open, running;
};

static void maybe_over(struct run *r)
{
	if (r->running)
		return;
	if (r->tty_open)
		io_close(&r->tty, NULL);
	r->tty_open = false;
	timer_close(&r->clock, NULL);
}

static void give_up(struct run *r, int code)
{
	r->rc = r->rc ? r->rc : code;
	if (r->running)
		child_kill(&r->child, SIGKILL, true);
}

/* Prompts end without LF: "Enter passphrase …: ", "Overwrite (y/n)? ". */
static bool is_prompt(const struct run *r)
{
	return r->n > 2 && r->line[r->n - 1] == ' ' &&
	       (r->line[r->n - 2] == ':' || r->line[r->n - 2] == '?');
}

static void answer(struct run *r)
{
	char text[KEYS_ANSWER_MAX + 2] = "";
	size_t n;

	r->line[r->n] = 0;
	r->n = 0;
	if (!r->answer || r->answer(r->ctx, r->line, text, KEYS_ANSWER_MAX) != 0) {
		give_up(r, TL_E_CANCELED);
	} else {
		n = strlen(text);
		text[n++] = '\n';
		if (fd_write_all(r->tty.wfd, text, n, WRITE_MS) != 0)
			give_up(r, TL_E_IO);
	}
	explicit_bzero(text, sizeof(text));
	timer_start(&r->clock, SILENT_MS);
}

static void take(struct run *r, char c)
{
	if (c == '\r')
		return;
	if (c != '\n' && r->n + 1 < sizeof(r->line)) {
		r->line[r->n++] = c;
		return;
	}
	/* what does not fit is not needed for a message */
	if (r->n)
		(void)buf_put(r->out, r->line, r->n);
	(void)buf_put(r->out, "\n", 1);
	r->n = 0;
}

static void readable(void *ctx)
{
	struct run *r = ctx;
	char bytes[512];
	long n;

	while ((n = io_read(&r->tty, bytes, sizeof(bytes))) > 0) {
		for (long i = 0; i < n; i++)
			take(r, bytes[i]);
		if (is_prompt(r))
			answer(r);
	}
	if (n == TL_E_AGAIN)
		return;
	io_close(&r->tty, NULL);
	r->tty_open = false;
	maybe_over(r);
}

static void exited(void *ctx, int kind, int value)
{
	struct run *r = ctx;

	r->status = kind ? 255 : value;
	r->running = false;
	/* what it wrote last */
	if (r->tty_open)
		readable(r);
	maybe_over(r);
}

static void late(void *ctx)
{
	give_up(ctx, TL_E_TIMEOUT);
}

/* English, and no window that asks instead of us. */
static int make_env(struct strv *env)
{
	int rc = 0;

	for (char **e = environ; *e && rc == 0; e++)
		if (!str_starts(*e, "SSH_ASKPASS") && !str_starts(*e, "LC_ALL="))
			rc = strv_add(env, *e);
	rc = rc ? rc : strv_add(env, "LC_ALL=C");
	return rc ? rc : strv_add(env, "SSH_ASKPASS_REQUIRE=never");
}

static int start(struct run *r, char *const *argv, struct tl_err *err)
{
	struct child_spec spec = {.argv = argv, .fd = {-1, -1, -1}};
	struct strv env = {0};
	int master = -1, slave = -1, rc = make_env(&env);

	rc = rc ? err_set(err, rc, "cannot run %s: out of memory", argv[0])
		: pty_open(&master, &slave, 200, 24, err);
	if (rc == 0) {
		spec.envp = env.v;
		spec.ctty = slave;
		rc = child_spawn(&r->loop, &r->child, &spec, exited, r, err);
		if (rc == TL_E_NOENT)
			rc = err_set(err, TL_E_NOSSH,
				     "cannot run %s: the program was not found on PATH", argv[0]);
		r->running = rc == 0;
	}
	if (slave >= 0)
		close(slave);
	if (rc == 0) {
		rc = io_open(&r->loop, &r->tty, master, master, readable, NULL, r);
		r->tty_open = rc == 0;
		if (rc) {
			err_set(err, rc, "cannot run %s: no terminal", argv[0]);
			give_up(r, rc);
		}
	}
	if (!r->tty_open && master >= 0)
		close(master);
	strv_fini(&env);
	return rc;
}

int keys_run(char *const *argv, keys_answer_fn *answer_fn, void *ctx, struct buf *out,
	     int *ret_status, struct tl_err *err)
{
	struct run *r = calloc(1, sizeof(*r));
	int rc;

	if (!r || loop_init(&r->loop) != 0) {
		free(r);
		return err_set(err, TL_E_NOMEM, "cannot run %s: out of memory", argv[0]);
	}
	r->loop.guest = true;
	r->answer = answer_fn;
	r->ctx = ctx;
	r->out = out;
	timer_init(&r->loop, &r->clock, late, r);
	rc = start(r, argv, err);
	if (rc == 0 || r->running) {
		timer_start(&r->clock, SILENT_MS);
		loop_run(&r->loop);
	} else {
		timer_close(&r->clock, NULL);
	}
	if (rc == 0 && r->n)
		(void)buf_put(out, r->line, r->n);
	if (rc == 0 && r->rc)
		rc = err_set(err, r->rc, "%s: %s", argv[0],
			     r->rc == TL_E_CANCELED ? "its question was not answered"
						    : err_row(r->rc)->what);
	*ret_status = r->status;
	explicit_bzero(r->line, sizeof(r->line));
	loop_fini(&r->loop);
	free(r);
	return rc;
}

const char *keys_last_line(struct buf *out)
{
	char *text, *lf;
	size_t n;

	if (buf_put(out, "", 1) != 0)
		return "";
	text = (char *)(uintptr_t)buf_data(out).p;
	n = strlen(text);
	while (n > 0 && text[n - 1] == '\n')
		text[--n] = 0;
	lf = strrchr(text, '\n');
	return lf ? lf + 1 : text;
}
