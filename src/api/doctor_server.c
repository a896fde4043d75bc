/* doctor_server.c - the last two steps: the server is started as a connection starts it (and
 * installed where it is missing), through the login there is, and one answer is waited for. */
#include "api/doctor_priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/limits.h"
#include "dial/pump.h"

#define LINK_MS 15000

struct starting {
	struct doctor *d;
	struct dial *dial;
	struct pump pump;
	struct session *session;
	struct loop_timer clock;
	uint64_t up_ms;
	bool started, linked;
	char notice[DOCTOR_TEXT];
};

static void on_session(void *ctx, struct session_event *ev)
{
	struct starting *s = ctx;

	if (ev->type == SESSION_EV_UP)
		s->linked = true;
	else if (ev->type == SESSION_EV_BYE || ev->type == SESSION_EV_PROTO)
		err_set(&s->d->err, ev->type == SESSION_EV_BYE ? ev->error : TL_E_PROTO, "%s",
			ev->text[0] ? ev->text : "the server ended the link");
	else
		return;
	loop_stop(&s->d->loop);
}

static void on_lost(void *ctx)
{
	struct starting *s = ctx;

	err_set(&s->d->err, TL_E_CLOSED, "the connection broke");
	loop_stop(&s->d->loop);
}

static void on_clock(void *ctx)
{
	struct starting *s = ctx;

	err_set(&s->d->err, TL_E_TIMEOUT, "the server does not answer");
	loop_stop(&s->d->loop);
}

static void on_up(void *ctx, int rfd, int wfd, struct tl_bytes early)
{
	struct starting *s = ctx;
	uint8_t id[16];

	s->started = true;
	s->up_ms = clock_mono_ms();
	random_bytes(id, sizeof(id));
	s->session = session_new(true, id);
	if (!s->session) {
		close(rfd);
		if (wfd != rfd)
			close(wfd);
		err_set(&s->d->err, TL_E_NOMEM, "out of memory");
		loop_stop(&s->d->loop);
		return;
	}
	timer_start(&s->clock, LINK_MS);
	if (pump_bind(&s->pump, s->session, rfd, wfd, early, &s->d->err) != 0)
		loop_stop(&s->d->loop);
}

static void on_end(void *ctx, const struct tl_err *err)
{
	struct starting *s = ctx;

	s->d->err = *err;
	loop_stop(&s->d->loop);
}

static void on_notice(void *ctx, const char *text)
{
	struct starting *s = ctx;

	str_copy(s->notice, sizeof(s->notice), text);
}

static void on_progress(void *ctx, const char *step, const char *text, int64_t done, int64_t total)
{
	struct starting *s = ctx;
	const struct api_ui *ui = s->d->o->ui;

	if (ui && ui->progress)
		ui->progress(ui->ctx, s->d->o->host, step, text, done, total);
}

static void prompt(void *ctx, struct dial_prompt *p, enum dial_prompt_kind kind, const char *text,
		   bool echo, int attempt)
{
	struct starting *s = ctx;

	doctor_prompt(s->d, p, kind, text, echo, attempt);
}

static int tell(struct starting *s)
{
	struct doctor *d = s->d;
	struct tl_err why = d->err;
	uint64_t ms = clock_mono_ms() - s->up_ms;
	uint32_t us;

	if (!s->started)
		return doctor_tell(d, "server", DOCTOR_BAD, why.code, NULL, "%s", why.text);
	if (s->notice[0])
		doctor_tell(d, "server", DOCTOR_NOTE, 0, NULL, "starts; %s", s->notice);
	else
		doctor_tell(d, "server", DOCTOR_OK, 0, NULL, "starts");
	if (!s->linked)
		return doctor_tell(d, "link", DOCTOR_BAD, why.code ? why.code : TL_E_CLOSED, NULL,
				   "%s", why.text);
	us = session_rtt_us(s->session);
	return doctor_tell(d, "link", DOCTOR_OK, 0, NULL, "answers in %.1f ms",
			   us ? us / 1000.0 : (double)ms);
}

int doctor_server(struct doctor *d)
{
	struct starting *s = calloc(1, sizeof(*s));
	struct dial_target t = doctor_target(d);
	struct dial_env env = doctor_env(d);
	struct dial_callbacks cb = {.on_prompt = prompt,
				    .on_progress = on_progress,
				    .on_up = on_up,
				    .on_failed = on_end,
				    .on_down = on_end,
				    .on_notice = on_notice,
				    .ctx = s};
	struct strv options = {0};
	int rc = s ? 0 : TL_E_NOMEM;

	if (rc)
		return doctor_tell(d, "server", DOCTOR_BAD, rc, NULL, "out of memory");
	s->d = d;
	d->err.code = 0;
	timer_init(&d->loop, &s->clock, on_clock, s);
	pump_init(&s->pump, &d->loop, on_session, on_lost, s);
	rc = strv_addf(&options, "ControlPath=%s", d->ctl);
	for (const char *const *v = t.options; v && *v && rc == 0; v++)
		rc = strv_add(&options, *v);
	t.options = (const char *const *)options.v;
	if (rc == 0)
		s->dial = dial_start(&d->loop, &t, &env, &cb, &d->err);
	strv_fini(&options);
	if (s->dial)
		loop_run(&d->loop);
	if (s->session && s->pump.conn) {
		session_bye(s->session, 0, "");
		pump_kick(&s->pump);
	}
	rc = tell(s);
	pump_detach(&s->pump);
	session_free(s->session);
	dial_close(s->dial);
	timer_close(&s->clock, NULL);
	pump_close(&s->pump, NULL);
	/* the handles are in s: all of them close before it goes */
	if (d->dial)
		dial_close(d->dial);
	d->dial = NULL;
	if (d->turn.open)
		timer_close(&d->turn, NULL);
	loop_run(&d->loop);
	free(s);
	return rc;
}
