/* dial_launch.c - the beginning of an attempt: command and start-up line, descriptors, the child.
 * Blocking only in reads of small local files. */
#include "dial/dial_state.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/str.h"
#include "base/version.h"
#include "dial/args.h"
#include "dial/start_script.h"
#include "loop/fsx.h"

#define SOCKET_BYTES 262144 /* room in the kernel between us and ssh */

/* Makes the command and the start-up line; the line is pending at once where the command waits for
 * it. */
static int make_line(struct dial *d, const struct dial_target *t, struct buf *command,
		     struct tl_err *err)
{
	char digest[START_ARCHES][BINARY_DIGEST];
	struct start_spec spec = {.nonce = d->start.nonce,
				  .install_path = t->install_path,
				  .version = TL_VERSION,
				  .private_server = t->private_server,
				  .errand = t->errand,
				  .errand_lines = t->errand_lines};
	bool any = false;
	int rc, asks;

	for (size_t i = 0; i < START_ARCHES; i++) {
		any |= binary_digest(d->bin_dir, start_arches[i].name, digest[i]);
		spec.digest[i] = digest[i];
	}
	if (!any && !t->errand)
		return err_set(
		    err, TL_E_INSTALL,
		    "cannot connect to %s: there is no server program (towline-host-*) in "
		    "%s of this machine",
		    d->host, d->bin_dir);
	rc = start_script(&d->line, &spec, err);
	if (rc)
		return rc;
	asks = start_command(command, &spec);
	if (asks < 0)
		return err_set(err, asks, "cannot connect to %s: %s", d->host, err_row(asks)->what);
	if (d->local || !asks)
		dial_send_line(d);
	return 0;
}

/* One pair for standard input and output, with room for a good piece of upload; a pipe for standard
 * error, because scripts of users open /dev/stderr, which a socket is not good for. */
static int make_fds(int pair[2], int errs[2], struct tl_err *err)
{
	int room = SOCKET_BYTES;

	if (socket_pair(pair) != 0)
		return err_set(err, TL_E_IO, "cannot make a socket pair for ssh");
	if (pipe2(errs, O_CLOEXEC) != 0) {
		int e = errno;
		close(pair[0]);
		close(pair[1]);
		return err_sys(err, e, "cannot make a pipe for ssh");
	}
	for (int i = 0; i < 2; i++)
		(void)setsockopt(pair[i], SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
	return 0;
}

/* Takes nothing of spec; on success d owns our ends. */
static int spawn(struct dial *d, struct strv *argv, struct strv *envp, struct tl_err *err)
{
	char home[TL_LIMIT_PATH];
	int pair[2], errs[2], rc;
	/* a session of its own: no terminal to ask on, and one group to end */
	struct child_spec spec = {
	    .argv = argv->v, .envp = envp->v, .new_session = true, .ctty = -1};

	rc = make_fds(pair, errs, err);
	if (rc)
		return rc;
	spec.fd[0] = spec.fd[1] = pair[1];
	spec.fd[2] = errs[1];
	/* as sshd does it */
	if (d->local && home_dir(home, sizeof(home)) == 0 && access(home, X_OK) == 0)
		spec.cwd = home;
	rc = io_open(d->loop, &d->out, pair[0], pair[0], dial_out_readable, dial_out_writable, d);
	if (rc) {
		close(pair[0]);
		close(errs[0]);
		goto out;
	}
	rc = io_open(d->loop, &d->errs, errs[0], errs[0], dial_err_readable, NULL, d);
	if (rc) {
		close(errs[0]);
		goto out;
	}
	rc = child_spawn(d->loop, &d->child, &spec, dial_exited, d, err);
	if (rc == TL_E_NOENT || rc == TL_E_ACCES)
		rc = err_set(err, d->local ? TL_E_NOSHELL : TL_E_NOSSH,
			     "cannot connect to %s: the program %s cannot be run", d->host,
			     argv->v[0]);
	d->group = rc ? 0 : d->child.pid;
out:
	close(pair[1]);
	close(errs[1]);
	return rc;
}

/* ---- the order of ciphers ---- */

/* In front of everything: ssh takes the first value. */
static int argv_prefer(struct strv *argv, const char *ciphers)
{
	struct strv v = {0};
	int rc = strv_add(&v, argv->v[0]);

	rc = rc ? rc : strv_add(&v, "-o");
	rc = rc ? rc : strv_addf(&v, "Ciphers=%s", ciphers);
	for (size_t i = 1; i < argv->n && !rc; i++)
		rc = strv_add(&v, argv->v[i]);
	if (rc) {
		strv_fini(&v);
		return rc;
	}
	strv_fini(argv);
	*argv = v;
	return 0;
}

static void on_ciphers(void *ctx, const char *ciphers)
{
	struct dial *d = ctx;
	struct tl_err err = {0};
	int rc = 0;

	d->asking = NULL;
	if (d->note)
		ssh_ciphers_learn(d->note, d->subject, ciphers);
	if (d->phase != DIAL_CONNECTING)
		return;
	/* without memory for it, as ssh likes it */
	if (ciphers && argv_prefer(&d->argv, ciphers) == 0)
		dial_said_prefer(d);
	if (d->closed)
		return;
	rc = spawn(d, &d->argv, &d->envp, &err);
	if (rc) {
		if (!err.code)
			err_set(&err, rc, "cannot connect to %s: %s", d->host, err_row(rc)->what);
		dial_fail(d, &err);
		return;
	}
	dial_pump(d);
}

/* ssh, after a look at how the user likes it; the start may come later then. What the look found is
 * remembered: it costs as much as half a login on a small machine. */
static int begin(struct dial *d, const struct dial_target *t, const struct dial_env *env,
		 struct tl_err *err)
{
	char ciphers[SSH_CIPHERS_MAX];
	int known = -1;

	if (d->local || !ssh_ciphers_fast_aes())
		return spawn(d, &d->argv, &d->envp, err);
	if (env->notes_dir && ssh_ciphers_subject(d->subject, t, env->ssh_path) &&
	    (d->note = str_fmt("%s/ssh-ciphers", env->notes_dir)) != NULL)
		known = ssh_ciphers_known(d->note, d->subject, ciphers);
	if (known < 0)
		d->asking = ssh_ciphers_ask(d->loop, t, env->ssh_path, on_ciphers, d);
	else if (known)
		d->preferred = argv_prefer(&d->argv, ciphers) == 0;
	return d->asking ? 0 : spawn(d, &d->argv, &d->envp, err);
}

int dial_launch(struct dial *d, const struct dial_target *t, const struct dial_env *env,
		struct tl_err *err)
{
	struct buf command;
	const char *text;
	int rc;

	buf_init(&command, SCRIPT_MAX);
	rc = d->login_only ? 0 : make_line(d, t, &command, err);
	if (rc)
		goto out;
	text = d->login_only ? "" : buf_cstr(&command);
	rc = text ? args_argv(&d->argv, t, env->ssh_path ? env->ssh_path : "ssh", text, err)
		  : err_set(err, TL_E_NOMEM, "cannot connect to %s: out of memory", d->host);
	if (!rc && !d->local)
		rc = prompts_open(d->loop, &d->prompts, env->runtime_dir, err);
	rc = rc ? rc
		: args_envp(&d->envp, d->local ? NULL : env->askpass_path, d->prompts.path, err);
	rc = rc ? rc : begin(d, t, env, err);
out:
	buf_fini(&command);
	return rc;
}
