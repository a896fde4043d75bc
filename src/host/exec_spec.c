/* exec_spec.c - reads what to run: program or script, folder, environment, terminal. */
#include "host/exec_spec.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/limits.h"
#include "loop/fsx.h"
#include "loop/io.h"

/* One argument of execve is at most 128 KiB on Linux. */
#define ARGUMENT_MAX (120 * 1024)
#define SIDE_MAX     10000

/* The user's shell: as the login set it, else the password file's, else sh. */
static const char *login_shell(void)
{
	const char *shell = getenv("SHELL");
	struct passwd *pw;

	if (shell && shell[0] == '/' && access(shell, X_OK) == 0)
		return shell;
	pw = getpwuid(getuid());
	if (pw && pw->pw_shell && access(pw->pw_shell, X_OK) == 0)
		return pw->pw_shell;
	return "/bin/sh";
}

static bool is_text(yyjson_val *v)
{
	return yyjson_is_str(v) && strlen(yyjson_get_str(v)) == yyjson_get_len(v);
}

static int spec_argv(struct exec_spec *s, yyjson_val *open, struct tl_err *err)
{
	yyjson_val *argv = json_get(open, "argv"), *command = json_get(open, "command"), *v;
	size_t i, n;

	s->script = json_bool(open, "script", false);
	if ((argv != NULL) + (command != NULL) + s->script != 1)
		return err_set(err, TL_E_INVAL,
			       "cannot run a command: give one of argv, command and script");
	if (s->script || command) {
		if (command && !is_text(command))
			return err_set(err, TL_E_INVAL, "cannot run a command: it has a NUL byte");
		if (strv_add(&s->argv, login_shell()) != 0)
			return TL_E_NOMEM;
		if (command && (strv_add(&s->argv, "-c") != 0 ||
				strv_add(&s->argv, yyjson_get_str(command)) != 0))
			return TL_E_NOMEM;
		return 0;
	}
	if (!yyjson_is_arr(argv) || yyjson_arr_size(argv) == 0)
		return err_set(err, TL_E_INVAL, "cannot run a command: argv is empty");
	yyjson_arr_foreach(argv, i, n, v)
	{
		if (!is_text(v))
			return err_set(err, TL_E_INVAL,
				       "cannot run a command: argument %zu is no text", i);
		if (strv_add(&s->argv, yyjson_get_str(v)) != 0)
			return TL_E_NOMEM;
	}
	return 0;
}

static int spec_cwd(struct exec_spec *s, const char *cwd, struct tl_err *err)
{
	char home[TL_LIMIT_PATH];
	struct stat st;

	if (home_dir(home, sizeof(home)) != 0)
		str_copy(home, sizeof(home), "/");
	if (!cwd || !cwd[0] || strcmp(cwd, "~") == 0)
		s->cwd = str_dup(home);
	else if (strncmp(cwd, "~/", 2) == 0)
		s->cwd = str_fmt("%s/%s", home, cwd + 2);
	else
		s->cwd = cwd[0] == '/' ? str_dup(cwd) : str_fmt("%s/%s", home, cwd);
	if (!s->cwd)
		return TL_E_NOMEM;
	if (stat(s->cwd, &st) != 0) {
		/* a login whose home is missing gets the root, as with sshd; a folder asked for
		 * must be there */
		if (cwd && cwd[0])
			return err_sys(err, errno, "cannot run a command in %s", s->cwd);
		free(s->cwd);
		s->cwd = str_dup("/");
		return s->cwd ? 0 : TL_E_NOMEM;
	}
	if (!S_ISDIR(st.st_mode))
		return err_set(err, TL_E_NOTDIR, "cannot run a command in %s: not a folder",
			       s->cwd);
	return 0;
}

static int spec_env(yyjson_val *env, struct tl_err *err)
{
	size_t i, n;
	yyjson_val *key, *v;

	yyjson_obj_foreach(env, i, n, key, v)
	{
		const char *name = yyjson_get_str(key);
		if (!name[0] || strchr(name, '=') || !is_text(key) ||
		    !(yyjson_is_null(v) || is_text(v)))
			return err_set(err, TL_E_INVAL,
				       "cannot set the environment variable “%.60s”", name);
		if (yyjson_is_null(v) ? unsetenv(name) : setenv(name, yyjson_get_str(v), 1))
			return err_sys(err, errno, "cannot set the environment variable %.60s",
				       name);
	}
	return 0;
}

int exec_spec_parse(struct exec_spec *s, yyjson_val *open, struct tl_err *err)
{
	yyjson_val *pty = json_get(open, "pty");
	int64_t cols = json_int(pty, "cols", 80), rows = json_int(pty, "rows", 24);
	int rc;

	memset(s, 0, sizeof(*s));
	s->pty = yyjson_is_obj(pty);
	if (cols < 1 || cols > SIDE_MAX || rows < 1 || rows > SIDE_MAX)
		return err_set(err, TL_E_INVAL,
			       "cannot run a command: a terminal of %lld x %lld is not possible",
			       (long long)cols, (long long)rows);
	s->cols = (unsigned)cols;
	s->rows = (unsigned)rows;
	/* these name the login or terminal that the agent came with */
	unsetenv("SSH_TTY");
	unsetenv("OLDPWD");
	unsetenv("_");
	if (s->pty)
		setenv("TERM", "xterm-256color", 1);
	else
		unsetenv("TERM");
	if ((rc = spec_argv(s, open, err)) ||
	    (rc = spec_cwd(s, json_str(open, "cwd", NULL), err)) ||
	    (rc = spec_env(json_get(open, "env"), err))) {
		if (rc == TL_E_NOMEM)
			err_set(err, rc, "cannot run a command: out of memory");
		exec_spec_fini(s);
	}
	return rc;
}

/* A file without a name that holds the script; the shell opens it by its descriptor's path. */
static int script_file(struct tl_bytes script, struct tl_err *err)
{
	char path[64] = "/tmp/.towline-script-XXXXXX";
	int fd = mkstemp(path), rc;

	if (fd < 0)
		return err_sys(err, errno, "cannot store a script of %zu bytes in /tmp", script.n);
	unlink(path);
	rc = fd_write_all(fd, script.p, script.n, 60000);
	if (rc) {
		close(fd);
		return err_set(err, rc, "cannot store a script of %zu bytes in /tmp: %s", script.n,
			       err_row(rc)->what);
	}
	lseek(fd, 0, SEEK_SET);
	return fd;
}

int exec_spec_script(struct exec_spec *s, struct tl_bytes script, struct tl_err *err)
{
	char *text;
	int fd, rc;

	if (memchr(script.p, 0, script.n))
		return err_set(err, TL_E_INVAL, "cannot run a script: it has a NUL byte");
	if (script.n > ARGUMENT_MAX) {
		fd = script_file(script, err);
		if (fd < 0)
			return fd;
		/* our own /proc entry, because descriptors above 2 are closed in the child; we live
		 * longer than the shell's start */
		rc = strv_addf(&s->argv, "/proc/%d/fd/%d", (int)getpid(), fd);
		return rc ? err_set(err, rc, "cannot run a script: out of memory") : 0;
	}
	text = str_ndup(script.p, script.n);
	rc = text ? strv_add(&s->argv, "-c") : TL_E_NOMEM;
	rc = rc ? rc : strv_add(&s->argv, text);
	free(text);
	return rc ? err_set(err, rc, "cannot run a script: out of memory") : 0;
}

void exec_spec_fini(struct exec_spec *s)
{
	strv_fini(&s->argv);
	free(s->cwd);
	memset(s, 0, sizeof(*s));
}
