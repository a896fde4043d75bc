/* session_lane.c - further channels of a session's own ssh: whether it takes them, and how a
 * program gets one. ssh is the master of its own connection, on a socket in the private folder of
 * the session, and ends with it. */
#include <string.h>

#include "api/plain.h"
#include "api/session_own.h"

void own_lane_target(struct session_own *o, struct dial_target *t, char *ctl, size_t n)
{
	if (!t->control_path && o->session->opt.via == TL_VIA_INSTALLED &&
	    !master_is_users((const char *const *)o->session->opt.ssh_options.v,
			     o->session->opt.config_file) &&
	    master_control_path(o->run_dir, ctl, n))
		t->control_path = ctl;
	o->channels = t->control_path && !t->login_only;
}

int own_lane(struct tl_session *s, const char *command, struct strv *argv, struct tl_err *err)
{
	struct session_own *o = s->own;
	struct plain *p;
	int rc = TL_E_NOMEM;

	/* what a login shell prints would be among the bytes */
	if (!o->channels || o->noise || str_starts(s->host, "local:"))
		return err_set(err, TL_E_UNSUPPORTED,
			       "the connection to %s has no channels of its own", s->host);
	if (!command)
		return 0;
	p = plain_new(s->host, s->opt.ssh_program, o->run_dir, "", false);
	if (p)
		rc = plain_argv(p, argv, NULL, command);
	plain_close(p);
	return rc ? err_set(err, rc, "cannot open a channel to %s: %s", s->host, err_row(rc)->what)
		  : 0;
}
