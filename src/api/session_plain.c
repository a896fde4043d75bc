/* session_plain.c - an own session whose host does not run our program: when that is tried, and the
 * streams then. The login is that of the first attempt wherever it survives: its ssh is a master
 * connection from the beginning. Where it does not (ssh has ended, or the user's configuration has
 * masters of its own, which we use and do not replace) there is a second one. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "api/plain.h"
#include "api/session_own.h"
#include "dial/config_scan.h"
#include "loop/child.h"
#include "loop/sock.h"

#define PATIENCE_MS 1500 /* for the login shell to say something, before we ask what it is */

static bool is_wanted(const struct session_own *o)
{
	enum tl_via via = o->session->opt.via;

	return via == TL_VIA_AUTO || via == TL_VIA_DIRECT || via == TL_VIA_PLAIN;
}

/* Masters of the user: of the configuration, or an option of the caller. */
bool own_user_has_master(const struct session_options *opt)
{
	for (size_t i = 0; i < opt->ssh_options.n; i++)
		if (strncasecmp(opt->ssh_options.v[i], "Control", 7) == 0)
			return true;
	return config_has(opt->config_file, "ControlPath");
}

void own_plain_target(struct session_own *o, struct dial_target *t, char *ctl, size_t n)
{
	const struct session_options *opt = &o->session->opt;

	if (!is_wanted(o) || !plain_control_path(o->run_dir, ctl, n))
		return;
	t->login_only = opt->via == TL_VIA_PLAIN || o->plain_tried;
	t->keep_login = !t->login_only && !own_user_has_master(opt);
	if (t->login_only || t->keep_login)
		t->control_path = ctl;
	o->plain_tried = t->login_only;
}

bool own_plain_again(struct session_own *o, const struct tl_err *why)
{
	char ctl[sizeof(((struct plain *)0)->ctl)];
	bool yes = !o->plain_tried && !o->leaving && is_wanted(o) &&
		   (why->code == TL_E_NOSHELL || dial_is_about_server(why->code)) &&
		   plain_control_path(o->run_dir, ctl, sizeof(ctl));

	if (yes) {
		o->plain_tried = true;
		o->plain_why = *why;
	}
	return yes;
}

/* ---- a server that says nothing ---- */

/* An SFTP server answers to its hello in its own way, a shell does not. */
static void sftp_readable(void *ctx)
{
	struct session_own *o = ctx;
	uint8_t b[512];
	long n = io_read(&o->sftp, b, sizeof(b));
	struct tl_err why;

	if (n == TL_E_AGAIN)
		return;
	io_close(&o->sftp, NULL);
	if (n < 9 || b[0] || b[1] || b[4] != 2 || o->spoken || !o->dial)
		return;
	o->sftp_only = true;
	err_set(&why, TL_E_NOSHELL, "%s runs no commands", o->session->host);
	dial_keep(o->dial, &why);
}

static void ask_sftp(struct session_own *o)
{
	static const uint8_t hello[] = {0, 0, 0, 5, 1, 0, 0, 0, 3};
	struct plain *p =
	    plain_new(o->session->host, o->session->opt.ssh_program, o->run_dir, "", false);
	struct child_spec spec = {.fd = {-1, -1, -1}, .ctty = -1};
	struct strv argv = {0};
	int sv[2];

	if (!p || socket_pair(sv) != 0) {
		plain_close(p);
		return;
	}
	spec.fd[0] = spec.fd[1] = sv[1];
	if (plain_argv(p, &argv, NULL, "exec sh -c :") == 0) {
		spec.argv = argv.v;
		spawn_detached(&spec, -1, NULL);
	}
	strv_fini(&argv);
	plain_close(p);
	close(sv[1]);
	if (send(sv[0], hello, sizeof(hello), MSG_NOSIGNAL) < 0 ||
	    io_open(&o->loop, &o->sftp, sv[0], sv[0], sftp_readable, NULL, o) != 0)
		close(sv[0]);
}

void own_plain_patience(void *ctx)
{
	struct session_own *o = ctx;

	if (!o->spoken && o->dial && !o->sftp.open && o->state == OWN_CONNECTING)
		ask_sftp(o);
}

void own_plain_logged_in(struct session_own *o)
{
	char ctl[sizeof(((struct plain *)0)->ctl)];

	if (!o->spoken && !o->plain_tried && is_wanted(o) &&
	    plain_control_path(o->run_dir, ctl, sizeof(ctl)) && access(ctl, F_OK) == 0)
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
	if (o->sftp.open)
		io_close(&o->sftp, NULL);
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
	rc = plain_command(&command, (const char *)lines.p, lines.n);
	text = rc ? NULL : buf_cstr(&command);
	rc = rc ? rc : text ? plain_argv(p, argv, NULL, text) : TL_E_NOMEM;
	buf_fini(&command);
	return rc ? err_set(err, rc, "cannot run a command on %s: %s", s->host, err_row(rc)->what)
		  : 0;
}
