/* login_env.c - see login_env.h. */
#include "host/login_env.h"

#include <errno.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/rundir.h"

extern char **environ;

#define DEFAULT_PATH "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"

/* Belongs to the login the agent came with or to other terminals, not to this one. */
static const char *const env_dropped[] = {"TERM",          "COLUMNS", "LINES",      "OLDPWD",
					  "PWD",           "SHLVL",   "_",          "SSH_TTY",
					  "SSH_AUTH_SOCK", "STY",     "TMUX",       "TMUX_PANE",
					  "WINDOWID",      "DISPLAY", "XAUTHORITY", "MAIL"};

/* ---- environment as a strv of NAME=value ---- */

static bool env_is(const char *entry, const char *name)
{
	size_t n = strlen(name);
	return !strncmp(entry, name, n) && entry[n] == '=';
}

void env_unset(struct strv *env, const char *name)
{
	size_t to = 0;
	for (size_t i = 0; i < env->n; i++) {
		if (env_is(env->v[i], name))
			free(env->v[i]);
		else
			env->v[to++] = env->v[i];
	}
	env->n = to;
	if (env->v)
		env->v[to] = NULL;
}

int env_set(struct strv *env, const char *name, const char *value)
{
	env_unset(env, name);
	return strv_addf(env, "%s=%s", name, value);
}

const char *env_get(const struct strv *env, const char *name)
{
	for (size_t i = 0; i < env->n; i++)
		if (env_is(env->v[i], name))
			return env->v[i] + strlen(name) + 1;
	return NULL;
}

static bool env_drops(const char *entry)
{
	const char *sock;
	for (size_t i = 0; i < sizeof(env_dropped) / sizeof(env_dropped[0]); i++) {
		if (!env_is(entry, env_dropped[i]))
			continue;
		/* a forwarded key agent is kept as long as its socket is there */
		sock = strcmp(env_dropped[i], "SSH_AUTH_SOCK") ? NULL : strchr(entry, '=') + 1;
		return !sock || access(sock, W_OK) != 0;
	}
	return false;
}

int login_env(struct strv *env)
{
	char keys[RUNDIR_SOCKET_MAX + 1];
	int rc = 0;
	for (char **e = environ; *e && !rc; e++)
		if (strchr(*e, '=') && !env_drops(*e))
			rc = strv_add(env, *e);
	/* by a name that outlives this connection */
	if (!rc && rundir_key_agent(NULL, keys))
		rc = env_set(env, "SSH_AUTH_SOCK", keys);
	if (!rc && !env_get(env, "PATH"))
		rc = env_set(env, "PATH", DEFAULT_PATH);
	return rc;
}

int env_override(struct strv *env, yyjson_val *over, const char *intent, struct tl_err *err)
{
	size_t i, n;
	yyjson_val *k, *v;
	int rc = 0;
	if (over && !yyjson_is_null(over) && !yyjson_is_obj(over))
		return err_set(err, TL_E_INVAL, "%s: env must be an object", intent);
	yyjson_obj_foreach(over, i, n, k, v)
	{
		const char *name = yyjson_get_str(k);
		bool text = yyjson_is_str(v) && strlen(yyjson_get_str(v)) == yyjson_get_len(v);
		if (!name[0] || strchr(name, '=') || strlen(name) != yyjson_get_len(k) ||
		    !(text || yyjson_is_null(v)))
			return err_set(err, TL_E_INVAL,
				       "%s: env member %.60s must be a text or null", intent, name);
		if (text)
			rc = rc ? rc : env_set(env, name, yyjson_get_str(v));
		else
			env_unset(env, name);
	}
	return rc;
}

/* ---- who we are ---- */

void login_of(struct login *who)
{
	const struct passwd *pw = getpwuid(getuid());
	const char *user = getenv("USER"), *home = getenv("HOME"), *shell = getenv("SHELL");
	who->user = user && *user ? user : pw ? pw->pw_name : "user";
	who->home = home && *home == '/' ? home : pw && *pw->pw_dir == '/' ? pw->pw_dir : "/";
	who->shell = shell && *shell == '/' ? shell : pw && *pw->pw_shell ? pw->pw_shell : "";
	if (access(who->shell, X_OK) != 0)
		who->shell = pw && *pw->pw_shell && access(pw->pw_shell, X_OK) == 0 ? pw->pw_shell
										    : "/bin/sh";
}

/* ---- where we start ---- */

static bool is_folder(const char *path, int *ret_errno)
{
	struct stat st;

	*ret_errno = 0;
	if (stat(path, &st) != 0 || access(path, X_OK) != 0)
		*ret_errno = errno;
	else if (!S_ISDIR(st.st_mode))
		*ret_errno = ENOTDIR;
	return !*ret_errno;
}

int login_folder(const char *home, const char *cwd, char **ret_folder, char **ret_notice)
{
	int why, why_home;
	char *want;

	*ret_folder = *ret_notice = NULL;
	if (!cwd || !*cwd || !strcmp(cwd, "~"))
		want = str_dup(home);
	else if (cwd[0] == '/')
		want = str_dup(cwd);
	else
		want = str_fmt("%s/%s", home, str_starts(cwd, "~/") ? cwd + 2 : cwd);
	if (!want)
		return TL_E_NOMEM;
	if (is_folder(want, &why)) {
		*ret_folder = want;
		return 0;
	}
	*ret_folder = str_dup(is_folder(home, &why_home) ? home : "/");
	if (*ret_folder)
		*ret_notice = str_fmt("cannot start in %s: %s; started in %s", want, strerror(why),
				      *ret_folder);
	free(want);
	return *ret_folder && *ret_notice ? 0 : TL_E_NOMEM;
}
