/* dial.c - the life of one attempt: child, deadline, questions, the way up, the end.
 * Invariants: exactly one of on_up, on_login and on_failed, on_down only after the first two; after
 * dial_close or on_failed or on_down no callback; the struct is freed from the loop only. */
#include "dial/dial_state.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/str.h"
#include "dial/fail.h"
#include "dial/text.h"

#define NONCE_LEN 20
#define KILL_MS   1500
#define FAR_MS    (UINT64_C(1) << 40)
#define LOG_LINE  1024

/* ---- words to the owner ---- */

void dial_progress(struct dial *d, const char *step, int64_t done, int64_t total, const char *fmt,
		   ...)
{
	char text[TL_LIMIT_HOST_NAME + 200];
	va_list ap;

	if (!d->cb.on_progress || d->closed || d->phase >= DIAL_UP)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	d->cb.on_progress(d->cb.ctx, step, text_clean(text, false), done, total);
}

/* Only the leader at first: ssh ends its helpers by itself, and the start-up line without ssh has
 * something to clean up. */
static void end_child(struct dial *d)
{
	if (d->group > 0 && !d->exited)
		kill(d->group, SIGTERM);
}

/* The connection lives on without deadline, but the loop must live until the child's end was told.
 */
static void settle(struct dial *d)
{
	timer_start(&d->clock, FAR_MS);
	d->clock_on = false;
	prompts_close(&d->prompts);
	d->phase = DIAL_UP;
}

/* ssh stays; so does the channel of our command, because ssh leaves with its first one. */
static void stay(struct dial *d, const struct tl_err *why)
{
	io_want_read(&d->out, false);
	d->uploading = false;
	buf_clear(&d->pending);
	settle(d);
	d->cb.on_login(d->cb.ctx, why);
}

void dial_keep(struct dial *d, const struct tl_err *why)
{
	if (d->keep_login && !d->closed && d->phase == DIAL_CONNECTING && d->out.open)
		stay(d, why);
}

/* What is wrong with a host that may serve us well without our server. */
bool dial_is_about_server(int code)
{
	static const int codes[] = {TL_E_NOARCH, TL_E_NOEXEC, TL_E_INSTALL, TL_E_NOSPACE,
				    TL_E_ROFS,   TL_E_ACCES,  TL_E_AGENT};

	for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++)
		if (codes[i] == code)
			return true;
	return false;
}

void dial_fail(struct dial *d, const struct tl_err *err)
{
	struct tl_err clean = *err;

	if (d->closed || d->phase >= DIAL_UP)
		return;
	d->phase = DIAL_OVER;
	prompts_close(&d->prompts);
	timer_stop(&d->clock);
	end_child(d);
	text_clean(clean.text, false);
	d->cb.on_failed(d->cb.ctx, &clean);
}

static void facts_of(struct dial *d, struct fail_facts *f)
{
	const char *err_text = buf_cstr(&d->err_text), *noise = buf_cstr(&d->start.noise);

	*f = (struct fail_facts){.host = d->host,
				 .ssh_text = err_text ? err_text : "",
				 .noise = noise ? noise : "",
				 .local = d->local,
				 .here = d->phase >= DIAL_PROBING,
				 .hostkey_asked = d->hostkey_asked,
				 .exit_kind = d->exit_kind,
				 .exit_value = d->exit_value};
}

/* ---- deadline ---- */

static void clock_run(struct dial *d)
{
	if (d->clock_on || d->closed || d->phase >= DIAL_UP)
		return;
	d->clock_on = true;
	d->since_ms = clock_mono_ms();
	timer_start(&d->clock, d->left_ms);
}

static void clock_hold(struct dial *d)
{
	uint64_t gone = clock_mono_ms() - d->since_ms;

	if (!d->clock_on)
		return;
	d->clock_on = false;
	d->left_ms = gone < d->left_ms ? d->left_ms - gone : 0;
	timer_stop(&d->clock);
}

void dial_clock_restart(struct dial *d, uint64_t more_ms)
{
	clock_hold(d);
	d->left_ms = d->total_ms + more_ms;
	clock_run(d);
}

static void clock_fired(void *ctx)
{
	struct dial *d = ctx;
	struct fail_facts f;
	struct tl_err err = {0};

	if (d->closed) {
		kill(-d->group, SIGKILL);
		/* the loop must live until the end was told */
		timer_start(&d->clock, KILL_MS);
		return;
	}
	facts_of(d, &f);
	fail_timeout(&f, d->total_ms, &err);
	dial_fail(d, d->refused.code ? &d->refused : &err);
}

/* ---- questions ---- */

static void asked(void *ctx, struct dial_prompt *p, enum dial_prompt_kind kind, const char *text,
		  bool echo, int attempt)
{
	struct dial *d = ctx;
	struct tl_err err = {0};

	if (kind == DIAL_PROMPT_HOSTKEY)
		d->hostkey_asked = true;
	if (kind == DIAL_PROMPT_HOSTKEY && d->reconnect) {
		err_set(&err, TL_E_HOSTKEY_UNKNOWN,
			"cannot reconnect to %s: its host key is no longer among the known ones",
			d->host);
		dial_fail(d, &err);
		return;
	}
	clock_hold(d);
	d->cb.on_prompt(d->cb.ctx, p, kind, text, echo, attempt);
}

static void question_gone(void *ctx, struct dial_prompt *p)
{
	struct dial *d = ctx;

	if (d->prompts.count == 0)
		clock_run(d);
	if (d->cb.on_prompt_gone)
		d->cb.on_prompt_gone(d->cb.ctx, p);
}

static void answered(void *ctx, struct dial_prompt *p, const char *answer)
{
	struct dial *d = ctx;
	struct tl_err err = {0};

	(void)p;
	if (answer) {
		if (d->prompts.count == 0)
			clock_run(d);
		return;
	}
	err_set(&err, TL_E_CANCELED, "the connection to %s was canceled at a question of ssh",
		d->host);
	dial_fail(d, &err);
}

/* ---- standard error ---- */

/* What ssh says when it is asked to say more: for the log, but no reason of a failure. */
static bool is_chatter(const char *line)
{
	static const char *const parts[] = {"debug1: ",
					    "debug2: ",
					    "  #", /* its table of channels */
					    "debug3: ",
					    "OpenSSH_",
					    "Authenticated to ",
					    "Authenticated using ",
					    "Transferred: sent ",
					    "Bytes per second: "};

	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
		if (str_starts(line, parts[i]))
			return true;
	return false;
}

static void err_keep(struct dial *d, const char *line)
{
	size_t n = strlen(line), room = buf_room(&d->err_text);

	if (is_chatter(line))
		return;
	if (room < n + 1)
		buf_consume(&d->err_text, n + 1 - room);
	buf_put(&d->err_text, line, n);
	buf_put_u8(&d->err_text, '\n');
}

static void err_line(struct dial *d)
{
	char *line = (char *)(uintptr_t)buf_cstr(&d->err_line); /* ours: err_line is not const */
	struct fail_facts f;
	struct tl_err err = {0};

	if (line)
		err_keep(d, line);
	if (line && d->cb.on_log && *line)
		d->cb.on_log(d->cb.ctx, text_clean(line, false));
	if (line && d->login_only && d->phase == DIAL_CONNECTING &&
	    str_starts(line, "debug1: Entering interactive session"))
		stay(d, &err);
	/* With StrictHostKeyChecking off ssh goes on after a changed key. We do not: nobody gets a
	 * login who is not the host that is known. */
	if (line && strstr(line, "Offending") && !d->local && d->phase == DIAL_CONNECTING &&
	    fail_is_hostkey(buf_cstr(&d->err_text))) {
		facts_of(d, &f);
		f.exit_value = 255;
		fail_exit(&f, &err);
		dial_fail(d, &err);
	}
	buf_clear(&d->err_line);
}

static void err_take(struct dial *d, const uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n && !d->closed; i++) {
		if (p[i] == '\n' || (p[i] != '\r' && p[i] && buf_put_u8(&d->err_line, p[i])))
			err_line(d);
	}
}

/* Reads what is there; a background master of the user's ControlPersist may hold the pipe open for
 * ever, so nothing waits for its end. */
void dial_err_readable(void *ctx)
{
	struct dial *d = ctx;
	uint8_t part[2048];
	long got = TL_E_AGAIN;

	while (!d->closed && (got = io_read(&d->errs, part, sizeof(part))) > 0)
		err_take(d, part, (size_t)got);
	if (!d->closed && got != TL_E_AGAIN)
		io_want_read(&d->errs, false);
}

/* ---- the way up ---- */

static void up(struct dial *d)
{
	int fd = dup(d->out.rfd);
	struct tl_bytes early = start_rest(&d->start);
	struct tl_err err = {0};

	if (fd < 0) {
		err_sys(&err, errno, "cannot take over the connection to %s", d->host);
		dial_fail(d, &err);
		return;
	}
	fd_set_cloexec(fd, true);
	settle(d);
	io_close(&d->out, NULL);
	d->cb.on_up(d->cb.ctx, fd, fd, early);
	/* a dial lives as long as its connection; what only the start needed goes */
	buf_fini(&d->pending);
	buf_fini(&d->start.in);
}

/* The errand is done. */
static void report(struct dial *d)
{
	if (!d->errand)
		return;
	d->phase = DIAL_OVER;
	prompts_close(&d->prompts);
	timer_stop(&d->clock);
	end_child(d);
	d->cb.on_report(d->cb.ctx, strcmp(d->start.text, "none") != 0, buf_data(&d->report));
}

static void fail_word(struct dial *d, enum start_word w)
{
	struct fail_facts f;
	struct tl_err err = {0};

	facts_of(d, &f);
	if (w == START_FAIL)
		fail_reported(&f, d->start.text, &err);
	else
		err_set(&err, TL_E_NOSHELL,
			"cannot start on %s: its login shell prints more than %d bytes, beginning "
			"with: %.100s",
			d->host, TL_LIMIT_NOISE, f.noise);
	if (d->keep_login && w == START_FAIL && dial_is_about_server(err.code))
		stay(d, &err);
	else
		dial_fail(d, &err);
}

void dial_send_line(struct dial *d)
{
	struct tl_bytes line = buf_data(&d->line);

	/* both have their size by construction: nothing else is pending before the line */
	if (line.n)
		buf_put(&d->pending, line.p, line.n);
	buf_clear(&d->line);
	dial_pump(d);
}

static void word(struct dial *d, enum start_word w)
{
	switch (w) {
	case START_HERE:
		if (d->phase != DIAL_CONNECTING)
			break;
		d->phase = DIAL_PROBING;
		str_copy(d->machine, sizeof(d->machine), d->start.text);
		dial_progress(d, "probe", 0, 0, "looking for the server on %s (%.40s)", d->host,
			      d->start.text);
		break;
	case START_SEND:
		dial_offer(d);
		break;
	case START_WAIT:
		dial_progress(d, "install", 0, 0,
			      "another connection installs the server on %s; waiting for it",
			      d->host);
		break;
	case START_NEED:
		dial_needed(d, d->start.text);
		break;
	case START_UP:
		up(d);
		break;
	case START_NOTE:
		if (d->errand)
			buf_put(&d->report, d->start.text, strlen(d->start.text));
		else if (d->cb.on_notice)
			d->cb.on_notice(d->cb.ctx, text_clean(d->start.text, false));
		break;
	case START_DONE:
		report(d);
		break;
	case START_FAIL:
	case START_NOISY:
		fail_word(d, w);
		break;
	case START_MORE:
		break;
	}
}

void dial_out_readable(void *ctx)
{
	struct dial *d = ctx;
	uint8_t part[START_FEED];

	while (!d->closed && d->phase < DIAL_UP) {
		enum start_word w;
		long got = io_read(&d->out, part, sizeof(part));
		if (got == TL_E_AGAIN)
			return;
		if (got <= 0 || start_feed(&d->start, part, (size_t)got)) {
			/* the exit of the child will say why */
			io_want_read(&d->out, false);
			return;
		}
		while (!d->closed && d->phase < DIAL_UP &&
		       (w = start_next(&d->start)) != START_MORE)
			word(d, w);
	}
}

void dial_out_writable(void *ctx)
{
	dial_pump(ctx);
}

/* ---- the end ---- */

static void dial_free(void *ctx)
{
	struct dial *d = ctx;

	start_parse_fini(&d->start);
	buf_fini(&d->pending);
	buf_fini(&d->line);
	buf_fini(&d->report);
	buf_fini(&d->err_text);
	buf_fini(&d->err_line);
	binary_close(&d->bin);
	strv_fini(&d->argv);
	strv_fini(&d->envp);
	free(d->host);
	free(d->bin_dir);
	free(d->note);
	free(d);
}

/* Handles close in batches of the loop; `last` closes after all others, so its callback is the
 * first moment at which none of them is looked at any more. */
static void unref(void *ctx)
{
	struct dial *d = ctx;

	if (--d->refs == 0)
		timer_close(&d->last, dial_free);
}

void dial_exited(void *ctx, int kind, int value)
{
	struct dial *d = ctx;
	struct fail_facts f;
	struct tl_err err = {0};

	d->exited = true;
	d->exit_kind = kind;
	d->exit_value = value;
	/* proxies and jump hosts of ssh are in its group; they have no task without it */
	kill(-d->group, SIGTERM);
	if (d->closed) {
		timer_close(&d->clock, unref);
		unref(d);
		return;
	}
	dial_err_readable(d);
	if (d->err_line.len > 0 && !d->closed)
		err_line(d);
	if (d->phase < DIAL_UP)
		dial_out_readable(d);
	if (d->closed || d->phase == DIAL_OVER)
		return;
	facts_of(d, &f);
	if (d->phase < DIAL_UP) {
		fail_exit(&f, &err);
		dial_fail(d, d->refused.code ? &d->refused : &err);
		return;
	}
	fail_down(&f, &err);
	timer_stop(&d->clock);
	d->phase = DIAL_OVER;
	text_clean(err.text, false);
	d->cb.on_down(d->cb.ctx, &err);
}

static void close_io(struct dial *d, struct io *io)
{
	if (!io->open)
		return;
	d->refs++;
	io_close(io, unref);
}

void dial_close(struct dial *d)
{
	if (!d || d->closed)
		return;
	d->closed = true;
	d->refs = 1;
	if (d->asking)
		ssh_ciphers_cancel(d->asking);
	d->asking = NULL;
	prompts_close(&d->prompts);
	close_io(d, &d->out);
	close_io(d, &d->errs);
	d->refs++; /* the clock */
	timer_stop(&d->last);
	if (d->group > 0 && !d->exited) {
		d->refs++;
		end_child(d);
		timer_start(&d->clock, KILL_MS);
	} else {
		timer_close(&d->clock, unref);
	}
	unref(d);
}

bool dial_heard_noise(const struct dial *d)
{
	return d->start.noise.len > 0;
}

/* ---- the beginning ---- */

void dial_said_prefer(struct dial *d)
{
	if (d->cb.on_log)
		d->cb.on_log(d->cb.ctx, "AES-GCM is asked for first: this machine has AES");
}

static void first_turn(void *ctx)
{
	struct dial *d = ctx;

	if (d->preferred && d->phase == DIAL_CONNECTING)
		dial_said_prefer(d);
	if (d->closed)
		return;
	if (d->phase == DIAL_CONNECTING)
		dial_progress(d, "ssh", 0, 0, "connecting to %s", d->host);
}

static struct dial *dial_new(struct loop *l, const struct dial_target *t,
			     const struct dial_env *env, const struct dial_callbacks *cb)
{
	struct dial *d = calloc(1, sizeof(*d));
	char nonce[NONCE_LEN + 1];

	if (!d)
		return NULL;
	d->loop = l;
	d->cb = *cb;
	d->host = str_dup(t->host);
	d->bin_dir = str_dup(env->host_bin_dir);
	d->local = t->kind == DIAL_LOCAL;
	d->private_server = t->private_server;
	d->errand = t->errand != NULL;
	d->reconnect = t->reconnect;
	d->keep_login = t->keep_login && t->control_path;
	d->login_only = t->login_only && t->control_path;
	d->total_ms = d->left_ms = env->connect_ms ? env->connect_ms : TL_LIMIT_CONNECT_MS;
	d->bin.fd = -1;
	d->prompts.on_ask = asked;
	d->prompts.on_gone = question_gone;
	d->prompts.on_answer = answered;
	d->prompts.ctx = d;
	random_id(nonce, NONCE_LEN);
	start_parse_init(&d->start, nonce);
	buf_init(&d->line, SCRIPT_MAX);
	buf_init(&d->report, TL_LIMIT_RPC_MESSAGE);
	buf_init(&d->pending, SCRIPT_MAX + 2 * DIAL_CHUNK);
	buf_init(&d->err_text, DIAL_STDERR);
	buf_init(&d->err_line, LOG_LINE);
	if (!d->host || !d->bin_dir) {
		dial_free(d);
		return NULL;
	}
	return d;
}

struct dial *dial_start(struct loop *l, const struct dial_target *t, const struct dial_env *env,
			const struct dial_callbacks *cb, struct tl_err *err)
{
	struct dial_target checked, target = *t;
	struct dial *d;

	if (dial_target_parse(t->host, &checked, err))
		return NULL;
	if (checked.kind == DIAL_LOCAL)
		target.kind = DIAL_LOCAL;
	d = dial_new(l, &target, env, cb);
	if (!d) {
		err_set(err, TL_E_NOMEM, "cannot connect to %s: out of memory", t->host);
		return NULL;
	}
	timer_init(l, &d->last, first_turn, d);
	timer_init(l, &d->clock, clock_fired, d);
	if (dial_launch(d, &target, env, err)) {
		dial_close(d);
		return NULL;
	}
	timer_start(&d->last, 0);
	clock_run(d);
	dial_pump(d);
	return d;
}
