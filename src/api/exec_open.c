/* exec_open.c - the opening object of a command, from what the caller wants to run. */
#include "api/exec_open.h"

#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "wire/json.h"

/* Lines joined by LF, a CR before it dropped: scripts come from Windows, too. */
static int join(const char *const *lines, struct buf *out, struct tl_error *err)
{
	int rc = 0;

	for (size_t i = 0; lines[i] && !rc; i++) {
		const char *p = lines[i];
		if (i > 0)
			rc = buf_put_u8(out, '\n');
		while (*p && !rc) {
			size_t n = strcspn(p, "\r");
			rc = buf_put(out, p, n);
			p += n;
			if (*p && p[1] != '\n' && p[1] != 0 && !rc)
				rc = buf_put_u8(out, '\r');
			p += *p ? 1 : 0;
		}
	}
	if (rc)
		return api_failf(err, rc, "cannot run a script of more than %d bytes",
				 TL_LIMIT_EXEC_SCRIPT);
	return 0;
}

/* Text in JSON is UTF-8. */
static bool add_text(yyjson_mut_doc *doc, yyjson_mut_val *obj, const char *key, const char *text)
{
	return utf8_valid(bytes_str(text)) && yyjson_mut_obj_add_strcpy(doc, obj, key, text);
}

static int add_argv(yyjson_mut_doc *doc, yyjson_mut_val *o, const char *const *argv,
		    struct tl_error *err)
{
	yyjson_mut_val *arr = yyjson_mut_obj_add_arr(doc, o, "argv");

	for (size_t i = 0; argv[i]; i++)
		if (!utf8_valid(bytes_str(argv[i])) ||
		    !yyjson_mut_arr_add_strcpy(doc, arr, argv[i]))
			return api_failf(err, TL_E_INVAL,
					 "cannot run %.80s: argument %zu is not UTF-8; as a line "
					 "of commands any bytes are possible",
					 argv[0], i);
	return 0;
}

static int add_env(yyjson_mut_doc *doc, yyjson_mut_val *o, const char *const *env,
		   struct tl_error *err)
{
	yyjson_mut_val *obj = yyjson_mut_obj_add_obj(doc, o, "env"), *key, *value;

	for (size_t i = 0; env[i]; i++) {
		const char *eq = strchr(env[i], '=');
		size_t n = eq ? (size_t)(eq - env[i]) : strlen(env[i]);
		if (n == 0 || !utf8_valid(bytes_str(env[i])))
			return api_failf(err, TL_E_INVAL,
					 "cannot set the environment variable “%.60s”: %s", env[i],
					 n ? "it is not UTF-8" : "it has no name");
		key = yyjson_mut_strncpy(doc, env[i], n);
		value = eq ? yyjson_mut_strcpy(doc, eq + 1) : yyjson_mut_null(doc);
		/* of a variable named twice the last one counts */
		yyjson_mut_obj_put(obj, key, value);
	}
	return 0;
}

static int add_pty(yyjson_mut_doc *doc, yyjson_mut_val *o, const struct tl_exec *x,
		   struct tl_error *err)
{
	yyjson_mut_val *pty;

	if (x->cols < 0 || x->cols > 10000 || x->rows < 0 || x->rows > 10000)
		return api_failf(err, TL_E_INVAL,
				 "cannot run a command on a terminal of %d x %d characters",
				 x->cols, x->rows);
	pty = yyjson_mut_obj_add_obj(doc, o, "pty");
	yyjson_mut_obj_add_int(doc, pty, "cols", x->cols ? x->cols : 80);
	yyjson_mut_obj_add_int(doc, pty, "rows", x->rows ? x->rows : 24);
	return 0;
}

static int build(yyjson_mut_doc *doc, const struct tl_exec *x, const char *command,
		 struct tl_error *err)
{
	yyjson_mut_val *o = yyjson_mut_obj(doc);
	int rc = 0;

	yyjson_mut_doc_set_root(doc, o);
	yyjson_mut_obj_add_str(doc, o, "open", "exec");
	if (x->argv)
		rc = add_argv(doc, o, x->argv, err);
	else if (command)
		yyjson_mut_obj_add_str(doc, o, "command", command);
	else
		yyjson_mut_obj_add_bool(doc, o, "script", true);
	if (!rc && x->cwd && !add_text(doc, o, "cwd", x->cwd))
		rc =
		    api_failf(err, TL_E_INVAL, "cannot run a command in %.200s: not UTF-8", x->cwd);
	if (!rc && x->env)
		rc = add_env(doc, o, x->env, err);
	if (!rc && x->pty)
		rc = add_pty(doc, o, x, err);
	return rc;
}

/* The object as text; NULL and err. */
static char *text_of(const struct tl_exec *x, const char *command, int *ret_rc,
		     struct tl_error *err)
{
	yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	char *text = NULL;

	*ret_rc = doc ? build(doc, x, command, err) : TL_E_NOMEM;
	if (*ret_rc == 0)
		text = yyjson_mut_write(doc, 0, NULL);
	if (*ret_rc == 0 && !text)
		*ret_rc = TL_E_NOMEM;
	if (*ret_rc == TL_E_NOMEM)
		api_failf(err, TL_E_NOMEM, "cannot run a command: out of memory");
	yyjson_mut_doc_free(doc);
	return text;
}

int exec_opening(const struct tl_exec *x, char **ret_open, struct buf *script, struct tl_error *err)
{
	const char *command = NULL;
	int rc;

	*ret_open = NULL;
	if ((x->argv != NULL) == (x->commands != NULL))
		return api_failf(err, TL_E_INVAL, "cannot run a command: give argv or commands");
	if (x->argv ? !x->argv[0] : !x->commands[0])
		return api_failf(err, TL_E_INVAL, "cannot run a command: it is empty");
	if (x->commands) {
		rc = join(x->commands, script, err);
		if (rc)
			return rc;
		command = buf_cstr(script);
		if (!command)
			return api_failf(err, TL_E_NOMEM, "cannot run a command: out of memory");
		/* half of the line for the rest; escapes may double it */
		if (script->len > TL_LIMIT_OPEN_LINE / 4 || !utf8_valid(buf_data(script)))
			command = NULL;
	}
	*ret_open = text_of(x, command, &rc, err);
	if (rc)
		return rc;
	if (strlen(*ret_open) + 2 > TL_LIMIT_OPEN_LINE) {
		free(*ret_open);
		*ret_open = NULL;
		return api_failf(err, TL_E_LIMIT,
				 "cannot run a command: arguments and environment are longer than "
				 "%d bytes; a script (commands) may have any length",
				 TL_LIMIT_OPEN_LINE);
	}
	if (command || x->argv)
		buf_clear(script);
	return 0;
}
