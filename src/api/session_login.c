/* session_login.c - the attempts to log in: what ssh is started with, its questions, its lines, and
 * how an attempt ends. There may be several: with the key given alone, with everything, and for a
 * host without our program. Loop's thread. */
#include "api/session_own.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "api/session_run.h"
#include "loop/loop.h"

static void on_up(void *ctx, int rfd, int wfd, struct tl_bytes early)
{
	struct session_own *o = ctx;
	struct tl_err e;
	uint8_t id[16];

	o->noise = dial_heard_noise(o->dial);
	if (!o->channels)
		run_dir_remove(o->run_dir);
	random_bytes(id, sizeof(id));
	o->core = session_new(true, id);
	if (!o->core) {
		close(rfd);
		if (wfd != rfd)
			close(wfd);
		err_set(&e, TL_E_NOMEM, "cannot connect to %s: out of memory", o->session->host);
		own_lose(o, &e);
	} else if (pump_bind(&o->pump, o->core, rfd, wfd, early, &e) != 0) {
		own_lose(o, &e);
	}
}

static void on_down(void *ctx, const struct tl_err *err)
{
	own_lose(ctx, err);
}

static void on_failed(void *ctx, const struct tl_err *err)
{
	struct session_own *o = ctx;
	struct tl_err why = *err;

	if (o->given_only && why.code == TL_E_AUTH) {
		own_tell(o, 2, "the key given is not enough: trying all ways to log in");
	} else if (own_plain_again(o, &why)) {
		own_tell(o, 2, why.text);
		own_tell(o, 2, "plain: logging in again, without our program");
	} else {
		own_lose(o, &why);
		return;
	}
	own_drop_dial(o);
	pthread_mutex_lock(&o->lock);
	o->login++;
	pthread_mutex_unlock(&o->lock);
	own_begin(o);
}

static void on_login(void *ctx, const struct tl_err *why)
{
	struct session_own *o = ctx;
	struct tl_err e = {0};

	own_unwatch_cancel(o);
	if (own_plain_begin(o, why, &e)) {
		own_lose(o, &e);
		return;
	}
	if (why->code)
		own_tell(o, 1, why->text);
	own_set_state(o, OWN_UP, NULL);
}

/* There is no function to ask. A key whose passphrase nobody says is passed over, as ssh does it;
 * a touch needs no answer; everything else ends the attempt. */
static void nobody_asked(struct session_own *o, struct dial_prompt *p, enum dial_prompt_kind kind,
			 const char *text)
{
	const char *host = o->session->host;
	struct tl_err e;

	if (kind == DIAL_PROMPT_TOUCH)
		return;
	if (kind == DIAL_PROMPT_PASSPHRASE) {
		dial_prompt_answer(p, "");
		return;
	}
	if (kind == DIAL_PROMPT_HOSTKEY)
		err_set(&e, TL_E_HOSTKEY_UNKNOWN,
			"cannot connect to %s: its host key is not known, and there is no prompt "
			"function to confirm it",
			host);
	else
		err_set(&e, TL_E_AUTH,
			"cannot log in to %s: ssh asks “%.200s”, and there is no prompt function "
			"to answer",
			host, text);
	own_lose(o, &e);
}

static void on_prompt(void *ctx, struct dial_prompt *p, enum dial_prompt_kind kind,
		      const char *text, bool echo, int attempt)
{
	struct session_own *o = ctx;
	struct own_task *t = NULL;

	(void)echo;
	pthread_mutex_lock(&o->lock);
	if (o->session->opt.prompt && o->state == OWN_CONNECTING)
		t = task_put(o, -1, text);
	if (t) {
		/* the two enums have the same members in the same order */
		t->kind = (enum tl_prompt_kind)kind;
		t->attempt = attempt;
		t->prompt = p;
	}
	pthread_mutex_unlock(&o->lock);
	if (!t)
		nobody_asked(o, p, kind, text);
}

static void on_prompt_gone(void *ctx, struct dial_prompt *p)
{
	struct session_own *o = ctx;

	pthread_mutex_lock(&o->lock);
	LIST_FOREACH (it, &o->tasks)
		if (list_entry(it, struct own_task, node)->prompt == p)
			list_entry(it, struct own_task, node)->prompt = NULL;
	LIST_FOREACH (it2, &o->asked)
		if (list_entry(it2, struct own_task, node)->prompt == p)
			list_entry(it2, struct own_task, node)->prompt = NULL;
	pthread_mutex_unlock(&o->lock);
}

static void on_progress(void *ctx, const char *step, const char *text, int64_t done, int64_t total)
{
	char line[TL_LIMIT_HOST_NAME + 300];

	struct session_own *o = ctx;

	o->spoken = o->spoken || strcmp(step, "probe") == 0;
	if (total > 0 && done != total)
		return;
	snprintf(line, sizeof(line), "%s: %s", step, text);
	own_tell(o, 2, line);
}

static void on_log(void *ctx, const char *line)
{
	struct session_own *o = ctx;
	int level = str_starts(line, "debug1:")   ? 2
		    : str_starts(line, "debug2:") ? 3
		    : str_starts(line, "debug3:") ? 4
		    : facts_is_chatter(line)      ? 2
						  : 1;

	facts_line(o->session, line);
	if (str_starts(line, "debug1: Entering interactive session"))
		own_plain_logged_in(o);
	own_tell(o, level, line);
}

/* ssh itself tries the keys of an agent before the one given, and a host that counts attempts may
 * never see it: so the first login is with this key alone. Whoever orders ssh's methods himself is
 * not interfered with. */
static bool begins_with_key(const struct session_options *opt)
{
	static const char *const own[] = {"IdentitiesOnly", "PreferredAuthentications",
					  "PubkeyAuthentication"};

	for (size_t i = 0; i < opt->ssh_options.n; i++)
		for (size_t k = 0; k < sizeof(own) / sizeof(own[0]); k++)
			if (strncasecmp(opt->ssh_options.v[i], own[k], strlen(own[k])) == 0)
				return false;
	return opt->key_file != NULL;
}

void own_begin(struct session_own *o)
{
	static const char *const levels[] = {"LogLevel=DEBUG1", "LogLevel=DEBUG1",
					     "LogLevel=DEBUG1", "LogLevel=DEBUG2",
					     "LogLevel=DEBUG3"};
	struct session_options *opt = &o->session->opt;
	/* what is remembered is for all sessions: beside their folders */
	char notes[sizeof(o->run_dir) + 4];
	const char *const keys[] = {opt->key_file, NULL};
	struct dial_env env = {.ssh_path = opt->ssh_program,
			       .askpass_path = o->files.askpass,
			       .runtime_dir = o->run_dir,
			       .notes_dir = notes,
			       .host_bin_dir = o->files.host_bin,
			       .connect_ms = (uint64_t)opt->timeout_ms};
	struct dial_target t = {.host = o->session->host,
				.config_file = opt->config_file,
				.identities = opt->key_file ? keys : NULL,
				.port = opt->port,
				.install_path = o->install_path,
				.private_server = opt->via != TL_VIA_INSTALLED};
	struct dial_callbacks cb = {.on_progress = on_progress,
				    .on_prompt = on_prompt,
				    .on_prompt_gone = on_prompt_gone,
				    .on_up = on_up,
				    .on_failed = on_failed,
				    .on_login = on_login,
				    .on_down = on_down,
				    .on_log = on_log,
				    .ctx = o};
	char ctl[TL_LIMIT_PATH + 96];
	struct strv options = {0};
	struct tl_err e = {0};
	int rc = strv_add(&options, levels[opt->verbosity]);

	snprintf(notes, sizeof(notes), "%s/..", o->run_dir);
	o->given_only = !o->given_tried && begins_with_key(opt);
	o->given_tried = true;
	if (o->given_only && rc == 0) {
		rc = strv_add(&options, "IdentitiesOnly=yes");
		rc = rc ? rc : strv_add(&options, "PreferredAuthentications=publickey");
	}
	own_plain_target(o, &t, ctl, sizeof(ctl));
	own_lane_target(o, &t, ctl, sizeof(ctl));

	for (size_t i = 0; i < opt->ssh_options.n && !rc; i++)
		rc = strv_add(&options, opt->ssh_options.v[i]);
	t.options = (const char *const *)options.v;
	if (rc)
		err_set(&e, rc, "cannot connect to %s: out of memory", o->session->host);
	else
		o->dial = dial_start(&o->loop, &t, &env, &cb, &e);
	strv_fini(&options);
	if (!o->dial)
		own_lose(o, &e);
}
