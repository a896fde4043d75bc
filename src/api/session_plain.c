/* session_plain.c - an own session whose host does not run our program: when that is tried, and the
 * streams then. The login is that of the first attempt wherever it survives: its ssh is a master
 * connection from the beginning. Where it does not (ssh has ended, or the user's configuration has
 * masters of its own, which we use and do not replace) there is a second one. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api/plain.h"
#include "api/session_own.h"

#define PATIENCE_MS 1500 /* for the login shell to say something, before we ask what it is */

static bool is_wanted(const struct session_own *o)
{
	enum tl_via via = o->session->opt.via;

	return via == TL_VIA_AUTO || via == TL_VIA_DIRECT || via == TL_VIA_PLAIN;
}

void own_plain_target(struct session_own *o, struct dial_target *t, char *ctl, size_t n)
{
	const struct session_options *opt = &o->session->opt;

	if (!is_wanted(o) || !master_control_path(o->run_dir, ctl, n))
		return;
	t->login_only = opt->via == TL_VIA_PLAIN || o->plain_tried;
	t->keep_login = !t->login_only &&
			!master_is_users((const char *const *)opt->ssh_options.v, opt->config_file);
	if (t->login_only || t->keep_login)
		t->control_path = ctl;
	o->plain_tried = t->login_only;
}

bool own_plain_again(struct session_own *o, const struct tl_err *why)
{
	char ctl[sizeof(((struct plain *)0)->ctl)];
	bool yes = !o->plain_tried && !o->leaving && is_wanted(o) &&
		   (why->code == TL_E_NOSHELL || dial_is_about_server(why->code)) &&
		   master_control_path(o->run_dir, ctl, sizeof(ctl));

	if (yes) {
		o->plain_tried = true;
		o->plain_why = *why;
	}
	return yes;
}

/* ---- a server that says nothing ---- */

static void files_only(void *ctx)
{
	struct session_own *o = ctx;
	struct tl_err why;

	if (o->spoken || !o->dial)
		return;
	o->sftp_only = true;
	err_set(&why, TL_E_NOSHELL, "%s runs no commands", o->session->host);
	dial_keep(o->dial, &why);
}

static void ask_sftp(struct session_own *o)
{
	const char *ssh = o->session->opt.ssh_program;
	char ctl[sizeof(((struct plain *)0)->ctl)];

	if (master_control_path(o->run_dir, ctl, sizeof(ctl)))
		master_silent_ask(&o->silent, &o->loop, ssh ? ssh : "ssh", ctl, files_only, o);
}

void own_plain_patience(void *ctx)
{
	struct session_own *o = ctx;

	if (!o->spoken && o->dial && !o->silent.io.open && o->state == OWN_CONNECTING)
		ask_sftp(o);
}

void own_plain_logged_in(struct session_own *o)
{
	char ctl[sizeof(((struct plain *)0)->ctl)];

	if (!o->spoken && !o->plain_tried && is_wanted(o) &&
	    master_control_path(o->run_dir, ctl, sizeof(ctl)) && access(ctl, F_OK) == 0)
		timer_start(&o->patience, PATIENCE_MS);
}

/* ---- the session ---- */

/* After the second login nobody has looked yet what the host allows. */
static void look(struct session_own *o, struct plain *p)
{
	struct buf out;
	int status = 255;

	buf_init(&out, 4096);
	if (o->plain_why.code == TL_E_NOSHELL)
		p->sftp_only = plain_ask(p, NULL, "exec sh -c \"echo towline\"", &out, 10000,
					 &status, NULL) != 0 ||
			       !buf_cstr(&out) || !strstr(buf_cstr(&out), "towline");
	buf_fini(&out);
}

/* In our words: servers say it in many ways, or not at all. */
static int say_sftp_only(struct plain *p)
{
	char *text = str_fmt("%s runs no commands: it allows files only (SFTP)", p->host);

	if (!text)
		return TL_E_NOMEM;
	free(p->why);
	p->why = text;
	return 0;
}

int own_plain_begin(struct session_own *o, const struct tl_err *why, struct tl_err *err)
{
	struct plain *p;

	if (why->code)
		o->plain_why = *why;
	timer_stop(&o->patience);
	p = plain_new(o->session->host, o->session->opt.ssh_program, o->run_dir,
		      o->plain_why.code ? o->plain_why.text : "it was asked for", o->sftp_only);
	if (!p)
		return err_set(err, TL_E_NOMEM, "cannot connect to %s: out of memory",
			       o->session->host);
	if (!why->code)
		look(o, p);
	if (p->sftp_only && say_sftp_only(p)) {
		plain_close(p);
		return err_set(err, TL_E_NOMEM, "cannot connect to %s: out of memory",
			       o->session->host);
	}
	pthread_mutex_lock(&o->lock);
	o->plain = p;
	pthread_mutex_unlock(&o->lock);
	return 0;
}

void own_plain_lost(struct session_own *o)
{
	if (o->plain)
		plain_lost(o->plain);
}

void own_plain_stop(struct session_own *o)
{
	timer_stop(&o->patience);
	master_silent_close(&o->silent);
}

int own_plain_open(struct tl_session *s, const char *open_json, struct tl_cancel *cancel,
		   uint64_t deadline_ms, int *ret_fd, char **ret_ok, struct tl_err *err)
{
	struct tl_err why = {0};

	if (s->back->lost(s, &why))
		return err_set(err, TL_E_LOST, "the connection to %s was lost%s%s", s->host,
			       why.text[0] ? ": " : "", why.text);
	return plain_open(s->own->plain, s, open_json, cancel, deadline_ms, ret_fd, ret_ok, err);
}

const char *own_plain_why(struct tl_session *s)
{
	return s->own->plain->why;
}

int own_plain_sh(struct tl_session *s, struct tl_bytes lines, struct strv *argv, struct tl_err *err)
{
	struct plain *p = s->own->plain;
	struct buf command;
	const char *text;
	int rc;

	if (p->sftp_only)
		return err_set(err, TL_E_NOSHELL, "%s runs no commands", p->host);
	buf_init(&command, PLAIN_COMMAND);
	rc = master_command(&command, (const char *)lines.p, lines.n);
	text = rc ? NULL : buf_cstr(&command);
	rc = rc ? rc : text ? plain_argv(p, argv, NULL, text) : TL_E_NOMEM;
	buf_fini(&command);
	return rc ? err_set(err, rc, "cannot run a command on %s: %s", s->host, err_row(rc)->what)
		  : 0;
}
