/* hold_spec.c - see hold_spec.h. Blocking look-ups (password file, folders) are allowed here: this
 * runs in the fresh process of one terminal, before its loop. */
#include "host/hold_spec.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/version.h"
#include "host/hold.h"
#include "host/login_env.h"
#include "loop/fsx.h"

#define COLS     80
#define ROWS     24
#define SIDE_MAX 5000 /* cells a side; ioctl would take 65535 */

/* ---- reading the parameters ---- */

/* A string member without NUL inside; absent: *ret stays NULL. */
static int plan_str(yyjson_val *obj, const char *key, const char **ret, struct tl_err *err)
{
	yyjson_val *v = json_get(obj, key);
	*ret = NULL;
	if (!v || yyjson_is_null(v))
		return 0;
	if (!yyjson_is_str(v) || strlen(yyjson_get_str(v)) != yyjson_get_len(v))
		return err_set(err, TL_E_INVAL, "create a terminal: %s must be a text without NUL",
			       key);
	*ret = yyjson_get_str(v);
	return 0;
}

static int plan_side(yyjson_val *obj, const char *key, unsigned dflt, unsigned *ret,
		     struct tl_err *err)
{
	int64_t v = json_int(obj, key, 0);
	if (v < 0 || v > SIDE_MAX)
		return err_set(err, TL_E_INVAL, "create a terminal: %s must be 1 to %d", key,
			       SIDE_MAX);
	*ret = v ? (unsigned)v : dflt;
	return 0;
}

static int plan_args(struct strv *argv, yyjson_val *args, struct tl_err *err)
{
	size_t i, n;
	yyjson_val *v;
	int rc = 0;
	if (args && !yyjson_is_null(args) && !yyjson_is_arr(args))
		return err_set(err, TL_E_INVAL, "create a terminal: args must be a list of texts");
	yyjson_arr_foreach(args, i, n, v)
	{
		if (!yyjson_is_str(v) || strlen(yyjson_get_str(v)) != yyjson_get_len(v))
			return err_set(err, TL_E_INVAL,
				       "create a terminal: args must be texts without NUL");
		rc = rc ? rc : strv_add(argv, yyjson_get_str(v));
	}
	return rc;
}

/* ---- environment and program ---- */

static int plan_env(struct hold_plan *plan, const struct login *who, const char *browser,
		    yyjson_val *over, struct tl_err *err)
{
	struct strv *env = &plan->env;
	int rc = login_env(env);
	const struct {
		const char *name, *value;
	} set[] = {{"HOME", who->home},         {"USER", who->user},
		   {"LOGNAME", who->user},      {"SHELL", who->shell},
		   {"PWD", plan->cwd}, /* keeps the name where the folder was reached by a link */
		   {"TERM", "xterm-256color"},  {"COLORTERM", "truecolor"},
		   {"TERM_PROGRAM", "towline"}, {"TERM_PROGRAM_VERSION", plan->version},
		   {"TOWLINE_TERM", plan->id}};
	for (size_t i = 0; i < sizeof(set) / sizeof(set[0]) && !rc; i++)
		rc = env_set(env, set[i].name, set[i].value);
	/* R asks for one of its own first */
	if (!rc && browser)
		rc = env_set(env, "BROWSER", browser);
	if (!rc && browser)
		rc = env_set(env, "R_BROWSER", browser);
	if (!rc)
		rc = env_override(env, over, "create a terminal", err);
	return rc == TL_E_NOMEM ? err_set(err, rc, "create a terminal") : rc;
}

/* The program: an explicit one with its arguments; the user's shell with -c; or, with neither, the
 * user's shell as a login shell, which is told so by the dash before its name. */
static int plan_argv(struct hold_plan *plan, const struct login *who, const char *shell,
		     const char *command, yyjson_val *args, struct tl_err *err)
{
	const char *program = shell && *shell ? shell : who->shell;
	const char *base = strrchr(program, '/') ? strrchr(program, '/') + 1 : program;
	bool plain = !(shell && *shell) && !command && !yyjson_arr_size(args);
	int rc;
	plan->shell = str_dup(program);
	if (!plan->shell)
		return err_set(err, TL_E_NOMEM, "create a terminal");
	rc = plain ? strv_addf(&plan->argv, "-%s", base) : strv_add(&plan->argv, base);
	if (!rc)
		rc = plan_args(&plan->argv, args, err);
	if (!rc && command) {
		rc = strv_add(&plan->argv, "-c");
		if (!rc)
			rc = strv_add(&plan->argv, command);
	}
	return rc == TL_E_NOMEM ? err_set(err, rc, "create a terminal") : rc;
}

static int plan_fill(struct hold_plan *plan, yyjson_val *root, struct tl_err *err)
{
	yyjson_val *p = json_get(root, "params");
	const char *id, *run, *name, *tag, *cwd, *shell, *command, *version, *browser;
	struct login who;
	char path[TL_LIMIT_PATH], *folder = NULL;
	int rc = plan_str(root, "id", &id, err);
	rc = rc ? rc : plan_str(root, "runDir", &run, err);
	rc = rc ? rc : plan_str(root, "version", &version, err);
	rc = rc ? rc : plan_str(root, "browser", &browser, err);
	rc = rc ? rc : plan_str(p, "name", &name, err);
	rc = rc ? rc : plan_str(p, "tag", &tag, err);
	rc = rc ? rc : plan_str(p, "cwd", &cwd, err);
	rc = rc ? rc : plan_str(p, "shell", &shell, err);
	rc = rc ? rc : plan_str(p, "command", &command, err);
	rc = rc ? rc : plan_side(p, "cols", COLS, &plan->cols, err);
	rc = rc ? rc : plan_side(p, "rows", ROWS, &plan->rows, err);
	if (rc)
		return rc;
	if (!id || !run || !hold_socket_path(path, sizeof(path), run, id))
		return err_set(err, TL_E_INVAL,
			       "create a terminal: id and runDir do not make a socket path");
	plan->raw = json_bool(root, "raw", false);
	plan->id = str_dup(id);
	plan->run_dir = str_dup(run);
	plan->version = str_dup(version ? version : TL_VERSION);
	plan->name = str_ndup(name ? name : "", name ? strnlen(name, TL_LIMIT_HOST_NAME) : 0);
	plan->tag = str_ndup(tag ? tag : "", tag ? strnlen(tag, TL_LIMIT_PATH) : 0);
	if (!plan->id || !plan->run_dir || !plan->version || !plan->name || !plan->tag)
		return err_set(err, TL_E_NOMEM, "create a terminal");
	login_of(&who);
	rc = login_folder(who.home, cwd, &plan->cwd, &folder);
	if (!rc && folder)
		rc = (plan->notice = str_fmt("towline: %s.\r\n", folder)) ? 0 : TL_E_NOMEM;
	free(folder);
	if (rc)
		return err_set(err, rc, "create a terminal");
	rc = plan_argv(plan, &who, shell, command, json_get(p, "args"), err);
	return rc ? rc : plan_env(plan, &who, browser, json_get(p, "env"), err);
}

int hold_plan_parse(struct hold_plan *plan, struct tl_bytes text, struct tl_err *err)
{
	memset(plan, 0, sizeof(*plan));
	yyjson_doc *doc = json_parse(text, err);
	if (!doc)
		return err ? err->code : TL_E_PROTO;
	int rc = plan_fill(plan, yyjson_doc_get_root(doc), err);
	yyjson_doc_free(doc);
	if (rc)
		hold_plan_fini(plan);
	return rc;
}

void hold_plan_fini(struct hold_plan *plan)
{
	char *owned[] = {plan->id,  plan->run_dir, plan->version, plan->name,
			 plan->tag, plan->cwd,     plan->shell,   plan->notice};
	for (size_t i = 0; i < sizeof(owned) / sizeof(owned[0]); i++)
		free(owned[i]);
	strv_fini(&plan->argv);
	strv_fini(&plan->env);
	memset(plan, 0, sizeof(*plan));
}
