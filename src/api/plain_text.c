/* plain_text.c - a command as lines of sh, for a host without our program: they go to its folder,
 * set its variables, tell what is missing (`no WORD text`) or the process group (`up PID`), run it,
 * and leave with its status. Pure. */
#include <stdlib.h>
#include <string.h>

#include "api/plain.h"

static int put_env(struct buf *b, yyjson_val *env, struct tl_err *err)
{
	static const char word[] =
	    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789";
	yyjson_val *key, *v;
	size_t i, n;
	int rc = 0;

	yyjson_obj_foreach(env, i, n, key, v)
	{
		const char *name = yyjson_get_str(key);
		if (!*name || name[strspn(name, word)] || (*name >= '0' && *name <= '9'))
			return err_set(
			    err, TL_E_INVAL,
			    "cannot set the environment variable “%.60s”: a shell sets it on "
			    "this host, and it is no name for one",
			    name);
		rc = rc ? rc : buf_printf(b, yyjson_is_str(v) ? "export %s=" : "unset %s", name);
		if (yyjson_is_str(v))
			rc = rc ? rc : master_quote(b, yyjson_get_str(v));
		rc = rc ? rc : buf_put_str(b, "\n");
	}
	return rc;
}

static int put_folder(struct buf *b, const char *cwd)
{
	bool home = cwd[0] == '~' && (!cwd[1] || cwd[1] == '/');
	int rc;

	if (!*cwd)
		return 0;
	rc = buf_put_str(b, "d=");
	if (home)
		rc = rc ? rc : buf_put_str(b, "$HOME/");
	rc = rc ? rc : master_quote(b, home ? cwd + 1 + strspn(cwd + 1, "/") : cwd);
	return rc ? rc
		  : buf_put_str(b,
				"\n[ -e \"$d\" ]||no not_found \"$d: no such folder\"\n"
				"[ -d \"$d\" ]||no not_a_folder \"$d: not a folder\"\n"
				"CDPATH= cd \"$d\" 2>/dev/null||no no_permission \"$d: permission "
				"denied\"\n");
}

static int put_argv(struct buf *b, yyjson_val *argv, struct tl_err *err)
{
	yyjson_val *v;
	size_t i, n;
	int rc = 0;

	yyjson_arr_foreach(argv, i, n, v)
	{
		const char *s = yyjson_get_str(v);
		if (!s || strlen(s) != yyjson_get_len(v))
			return err_set(err, TL_E_INVAL,
				       "cannot run a command: argument %zu is no text", i);
		if (i == 0) {
			rc = buf_put_str(b, "command -v ");
			rc = rc ? rc : master_quote(b, s);
			rc = rc ? rc : buf_put_str(b, " >/dev/null 2>&1||no not_found ");
			rc = rc ? rc : master_quote(b, s);
			rc = rc ? rc
				: buf_put_str(b, "': no such program'\nup\n(exec 2>&3 3>&-;exec");
		}
		rc = rc ? rc : buf_put_u8(b, ' ');
		rc = rc ? rc : master_quote(b, s);
	}
	return rc ? rc : buf_put_str(b, ")\nexit $?\n");
}

int plain_text_shell(struct buf *b, struct tl_bytes command)
{
	char *text = str_ndup(command.p, command.n);
	int rc = text ? buf_put_str(b, "up\n(exec 2>&3 3>&-;exec \"${SHELL:-/bin/sh}\" -c ")
		      : TL_E_NOMEM;

	rc = rc ? rc : master_quote(b, text);
	free(text);
	return rc ? rc : buf_put_str(b, ")\nexit $?\n");
}

int plain_text(struct buf *b, const char *nonce, const char *host, yyjson_val *open,
	       struct tl_err *err)
{
	yyjson_val *argv = json_get(open, "argv"), *command = json_get(open, "command");
	int rc = buf_printf(b,
			    "say(){ printf '\\000towline-%%s %s %%s\\n' \"$1\" \"$2\";}\n"
			    "no(){ say no \"$1 $2\";exit 127;}\n"
			    /* bash would take us for sshd and read its start-up file once more */
			    "SHLVL=1;export SHLVL\n"
			    /* shells tell of children that a signal ended; ssh does not */
			    "up(){ say up $$;exec 3>&2 2>/dev/null;}\n",
			    nonce);

	rc = rc ? rc : put_folder(b, json_str(open, "cwd", ""));
	rc = rc ? rc : put_env(b, json_get(open, "env"), err);
	if (rc == 0 && yyjson_arr_size(argv) > 0)
		rc = put_argv(b, argv, err);
	else if (rc == 0 && yyjson_is_str(command))
		rc =
		    plain_text_shell(b, bytes_of(yyjson_get_str(command), yyjson_get_len(command)));
	if (rc && !err->code)
		err_set(err, rc, "cannot run a command on %s: %s", host, err_row(rc)->what);
	return rc;
}
