/* args.c - see args.h. */
#include "dial/args.h"

#include <ctype.h>
#include <stdlib.h>

#include "base/limits.h"
#include "dial/start_script.h"

#define LOCAL_PREFIX "local:"

extern char **environ;

static int host_check(const char *host, struct tl_err *err)
{
	const char *name = strrchr(host, '@');

	name = name ? name + 1 : host;
	if (!*name)
		return err_set(err, TL_E_INVAL,
			       "cannot connect to '%.100s': there is no host name in it", host);
	if (strlen(host) >= TL_LIMIT_HOST_NAME)
		return err_set(err, TL_E_INVAL,
			       "cannot connect to '%.60s…': the name is longer than %d bytes", host,
			       TL_LIMIT_HOST_NAME - 1);
	/* ssh would read it as an option, and options can run programs */
	if (*host == '-' || *name == '-')
		return err_set(err, TL_E_INVAL,
			       "cannot connect to '%.100s': a host name cannot begin with '-'",
			       host);
	for (const char *c = host; *c; c++)
		if ((unsigned char)*c <= ' ' || *c == 0x7f)
			return err_set(err, TL_E_INVAL,
				       "cannot connect to '%.100s': there is a space or control "
				       "character in the host name",
				       host);
	return 0;
}

int dial_target_parse(const char *host, struct dial_target *ret, struct tl_err *err)
{
	int rc = 0;

	*ret = (struct dial_target){.host = host};
	if (str_starts(host, LOCAL_PREFIX)) {
		ret->kind = DIAL_LOCAL;
		if (strlen(host) >= TL_LIMIT_HOST_NAME)
			rc = err_set(err, TL_E_INVAL,
				     "cannot connect to '%.60s…': the name is too long", host);
	} else {
		ret->kind = DIAL_SSH;
		rc = host_check(host, err);
	}
	return rc;
}

/* ssh takes a port only as -p or in ssh://; people also write host:port and [v6]:port. Returns the
 * host for ssh (malloc'ed) and the port, 0 where none is written. */
static char *split_port(const char *host, int *ret_port)
{
	const char *at = strrchr(host, '@'), *name = at ? at + 1 : host, *colon;
	size_t user_n = (size_t)(name - host), name_n = strlen(name);
	const char *close_at = *name == '[' ? strchr(name, ']') : NULL;
	long long port = 0;

	*ret_port = 0;
	if (str_starts(host, "ssh://"))
		return str_dup(host);
	if (close_at && (close_at[1] == 0 ||
			 (close_at[1] == ':' && str_to_int(close_at + 2, 1, 65535, &port)))) {
		*ret_port = (int)port;
		return str_fmt("%.*s%.*s", (int)user_n, host, (int)(close_at - name - 1), name + 1);
	}
	colon = strchr(name, ':');
	if (colon && !strchr(colon + 1, ':') && str_to_int(colon + 1, 1, 65535, &port)) {
		*ret_port = (int)port;
		name_n = (size_t)(colon - name);
	}
	return str_fmt("%.*s%.*s", (int)user_n, host, (int)name_n, name);
}

static int argv_local(struct strv *ret)
{
	int rc = strv_add(ret, "sh");

	rc = rc ? rc : strv_add(ret, "-c");
	return rc ? rc : strv_add(ret, START_SHELL);
}

static int argv_pairs(struct strv *ret, const char *flag, const char *const *values)
{
	int rc = 0;

	for (size_t i = 0; values && values[i] && !rc; i++) {
		rc = strv_add(ret, flag);
		rc = rc ? rc : strv_add(ret, values[i]);
	}
	return rc;
}

/* What says which host is meant, and how it is reached. */
static int argv_whom(struct strv *ret, const struct dial_target *t)
{
	int rc = 0, port;
	char *host = split_port(t->host, &port);

	if (!host)
		return TL_E_NOMEM;
	port = t->port ? t->port : port;
	if (port) {
		rc = strv_add(ret, "-p");
		rc = rc ? rc : strv_addf(ret, "%d", port);
	}
	rc = rc ? rc : strv_add(ret, "--");
	rc = rc ? rc : strv_add(ret, host);
	free(host);
	return rc;
}

static int argv_ssh(struct strv *ret, const struct dial_target *t, const char *ssh_path,
		    const char *command)
{
	/* The first value wins in ssh: what would break our one command comes before the user's. A
	 * master connection of the user is used (it saves a login), but we never become one: ending
	 * us would end the sessions in it.
	 * No ServerAlive: the link has its own PING, with a dead-line that follows sleep. */
	static const char *const fixed[] = {"-T", "-e", "none", "-o", "RemoteCommand=none", "-o",
					    "RequestTTY=no", "-o", "PermitLocalCommand=no",
					    /* ours go through the link: ports.md */
					    "-o", "ClearAllForwardings=yes"};
	/* never for longer than we live, and nobody's window asks whether we may */
	static const char *const master[] = {"ControlMaster=yes", "ControlPersist=no", NULL};
	static const char *const guest[] = {"ControlMaster=no", NULL};
	/* after a loss the user's master is most likely as dead as the connection was */
	static const char *const alone[] = {"ControlPath=none", NULL};
	/* behind the user's options, before the configuration: without its words no failure of ssh
	 * can be explained */
	static const char *const words[] = {"LogLevel=INFO", NULL};
	/* only there ssh says that it is in */
	static const char *const steps[] = {"LogLevel=DEBUG1", NULL};
	const char *const config[] = {t->config_file, NULL};
	int rc = strv_add(ret, ssh_path);

	for (size_t i = 0; i < sizeof(fixed) / sizeof(fixed[0]) && !rc; i++)
		rc = strv_add(ret, fixed[i]);
	rc = rc ? rc : argv_pairs(ret, "-o", t->control_path ? master : guest);
	if (t->control_path)
		rc = rc ? rc : strv_addf(ret, "-oControlPath=%s", t->control_path);
	else
		rc = rc ? rc : argv_pairs(ret, "-o", t->reconnect ? alone : NULL);
	if (t->no_agent)
		rc = rc ? rc : strv_add(ret, "-a");
	if (t->login_only)
		rc = rc ? rc : strv_add(ret, "-N");
	rc = rc ? rc : argv_pairs(ret, "-F", config);
	rc = rc ? rc : argv_pairs(ret, "-i", t->identities);
	rc = rc ? rc : argv_pairs(ret, "-o", t->options);
	rc = rc ? rc : argv_pairs(ret, "-o", t->login_only ? steps : words);
	rc = rc ? rc : argv_whom(ret, t);
	return rc || t->login_only ? rc : strv_add(ret, command);
}

int args_argv(struct strv *ret, const struct dial_target *t, const char *ssh_path,
	      const char *command, struct tl_err *err)
{
	int rc;

	if (t->kind == DIAL_LOCAL) {
		rc = argv_local(ret);
	} else {
		rc = host_check(t->host, err);
		if (rc)
			return rc;
		if (t->port < 0 || t->port > 65535)
			return err_set(err, TL_E_INVAL,
				       "cannot connect to %.100s: %d is no port number", t->host,
				       t->port);
		rc = argv_ssh(ret, t, ssh_path, command);
	}
	if (rc)
		err_set(err, rc, "cannot connect to %.100s: %s", t->host, err_row(rc)->what);
	return rc;
}

int args_query(struct strv *ret, const struct dial_target *t, const char *ssh_path,
	       struct tl_err *err)
{
	const char *const config[] = {t->config_file, NULL};
	int rc = t->kind == DIAL_SSH ? host_check(t->host, err) : TL_E_INVAL;

	if (rc)
		return rc;
	rc = strv_add(ret, ssh_path ? ssh_path : "ssh");
	rc = rc ? rc : strv_add(ret, "-G");
	rc = rc ? rc : argv_pairs(ret, "-F", config);
	rc = rc ? rc : argv_pairs(ret, "-o", t->options);
	rc = rc ? rc : argv_whom(ret, t);
	return rc ? err_set(err, rc, "cannot ask ssh about %.100s: %s", t->host, err_row(rc)->what)
		  : 0;
}

int args_envp(struct strv *ret, const char *askpass_path, const char *socket_path,
	      struct tl_err *err)
{
	static const char *const ours[] = {
	    "SSH_ASKPASS=", "SSH_ASKPASS_REQUIRE=", "LANGUAGE=", ASKPASS_SOCKET_ENV "="};
	bool display = false;
	int rc = 0;

	for (char **e = environ; *e && !rc; e++) {
		bool skip = false;
		for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++)
			skip = skip || (askpass_path && str_starts(*e, ours[i]));
		display = display || str_starts(*e, "DISPLAY=");
		if (!skip)
			rc = strv_add(ret, *e);
	}
	/* ssh's own texts have no translations and the C library's follow LANGUAGE. LC_ALL=C would
	 * do the same, but the usual `SendEnv LC_*` carries it to the host, into every terminal. */
	if (!askpass_path)
		goto out;
	rc = rc ? rc : strv_add(ret, "LANGUAGE=en");
	rc = rc ? rc : strv_addf(ret, "SSH_ASKPASS=%s", askpass_path);
	rc = rc ? rc : strv_add(ret, "SSH_ASKPASS_REQUIRE=force");
	rc = rc ? rc : strv_addf(ret, ASKPASS_SOCKET_ENV "=%s", socket_path);
	/* ssh before 8.4 calls the helper only where there seems to be a display */
	if (!display)
		rc = rc ? rc : strv_add(ret, "DISPLAY=:0");
out:
	if (rc)
		err_set(err, rc, "cannot make the environment of ssh: %s", err_row(rc)->what);
	return rc;
}
