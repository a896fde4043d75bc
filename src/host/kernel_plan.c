/* kernel_plan.c - see kernel_plan.h. Blocking look-ups are allowed here: this runs in the fresh
 * process of one session, before its loop. */
#include "host/kernel_plan.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/limits.h"
#include "host/kernel_hold.h"
#include "host/login_env.h"
#include "loop/loop.h"

static const char intent[] = "start a kernel";

/* A string member without NUL inside; absent: *ret stays NULL. */
static int plan_str(yyjson_val *obj, const char *key, const char **ret, struct tl_err *err)
{
	yyjson_val *v = json_get(obj, key);
	*ret = NULL;
	if (!v || yyjson_is_null(v))
		return 0;
	if (!yyjson_is_str(v) || strlen(yyjson_get_str(v)) != yyjson_get_len(v))
		return err_set(err, TL_E_INVAL, "%s: %s must be a text without NUL", intent, key);
	*ret = yyjson_get_str(v);
	return 0;
}

/* Appends text with $NAME and ${NAME} replaced from env; unknown names stay, $$ is one $. */
static int expand(struct buf *out, const char *text, const struct strv *env)
{
	int rc = 0;
	while (*text && !rc) {
		const char *from = text + 1;
		bool braces = *text == '$' && *from == '{';
		size_t n = 0;
		from += braces;
		while (*text == '$' && (isalnum((unsigned char)from[n]) || from[n] == '_'))
			n++;
		char *name = n ? str_ndup(from, n) : NULL;
		const char *value = name && (!braces || from[n] == '}') ? env_get(env, name) : NULL;
		if (value) {
			rc = buf_put_str(out, value);
			text = from + n + braces;
		} else {
			rc = buf_put_u8(out, (uint8_t)*text);
			text += text[0] == '$' && text[1] == '$' ? 2 : 1;
		}
		free(name);
	}
	return rc;
}

static int plan_spec_env(struct kernel_plan *plan)
{
	int rc = 0;
	for (size_t i = 0; i < plan->spec.env.n && !rc; i++) {
		const char *eq = strchr(plan->spec.env.v[i], '=');
		char *name = str_ndup(plan->spec.env.v[i], (size_t)(eq - plan->spec.env.v[i]));
		struct buf b;
		buf_init(&b, 131072);
		rc = name ? expand(&b, eq + 1, &plan->env) : TL_E_NOMEM;
		const char *value = rc ? NULL : buf_cstr(&b);
		rc = value ? env_set(&plan->env, name, value) : TL_E_NOMEM;
		buf_fini(&b);
		free(name);
	}
	return rc;
}

static int plan_env(struct kernel_plan *plan, yyjson_val *over, const struct login *who,
		    struct tl_err *err)
{
	int rc = login_env(&plan->env);
	const struct {
		const char *name, *value;
	} set[] = {{"HOME", who->home},
		   {"USER", who->user},
		   {"LOGNAME", who->user},
		   {"SHELL", who->shell},
		   {"PWD", plan->cwd},
		   {"TOWLINE_KERNEL", plan->id},
		   {"JPY_SESSION_NAME", plan->notebook}};
	for (size_t i = 0; i < sizeof(set) / sizeof(set[0]) && !rc; i++)
		if (*set[i].value)
			rc = env_set(&plan->env, set[i].name, set[i].value);
	rc = rc ? rc : plan_spec_env(plan);
	rc = rc ? rc : env_override(&plan->env, over, intent, err);
	return rc == TL_E_NOMEM ? err_set(err, rc, "%s", intent) : rc;
}

/* Copies text with {connection_file} and {resource_dir} replaced. */
static int put_word(struct kernel_plan *plan, const char *text)
{
	const struct {
		const char *name, *value;
	} places[] = {{"{connection_file}", plan->connection_file},
		      {"{resource_dir}", plan->spec.dir ? plan->spec.dir : ""}};
	struct buf b;
	int rc = 0;
	buf_init(&b, 131072);
	while (*text && !rc) {
		size_t i = 0;
		while (i < 2 && !str_starts(text, places[i].name))
			i++;
		rc = i < 2 ? buf_put_str(&b, places[i].value) : buf_put_u8(&b, (uint8_t)*text);
		text += i < 2 ? strlen(places[i].name) : 1;
	}
	const char *word = rc ? NULL : buf_cstr(&b);
	rc = word ? strv_add(&plan->argv, word) : TL_E_NOMEM;
	buf_fini(&b);
	return rc;
}

static int plan_argv(struct kernel_plan *plan, struct tl_err *err)
{
	const struct kernelspec *k = &plan->spec;
	int rc;
	/* what files say may be wrong: only a missing program is certain */
	if (k->reason && !k->unsure)
		return err_set(err, TL_E_KERNEL, "start %s: %s%s%s", k->display, k->reason,
			       k->install ? "; on the host, type: " : "",
			       k->install ? k->install : "");
	rc = strv_add(&plan->argv, k->path);
	for (size_t i = 1; i < k->argv.n && !rc; i++)
		rc = put_word(plan, k->argv.v[i]);
	return rc ? err_set(err, rc, "%s", intent) : 0;
}

static char *new_uuid(void)
{
	uint8_t b[16];
	char hex[33];
	random_bytes(b, sizeof(b));
	b[6] = (uint8_t)((b[6] & 0x0f) | 0x40);
	b[8] = (uint8_t)((b[8] & 0x3f) | 0x80);
	str_hex(b, sizeof(b), hex);
	return str_fmt("%.8s-%.4s-%.4s-%.4s-%.12s", hex, hex + 8, hex + 12, hex + 16, hex + 20);
}

static int plan_names(struct kernel_plan *plan, const char *id, const char *run, struct tl_err *err)
{
	char path[TL_LIMIT_PATH];
	if (!id || !run || !kernel_socket_path(path, sizeof(path), run, id))
		return err_set(err, TL_E_INVAL, "%s: id and runDir do not make a socket path",
			       intent);
	plan->id = str_dup(id);
	plan->run_dir = str_dup(run);
	plan->dir = str_fmt("%s/kernel-%s", run, id);
	plan->connection_file = str_fmt("%s/kernel-%s/connection.json", run, id);
	plan->uuid = new_uuid();
	if (!plan->id || !plan->run_dir || !plan->dir || !plan->connection_file || !plan->uuid)
		return err_set(err, TL_E_NOMEM, "%s", intent);
	return 0;
}

static int plan_options(struct kernel_plan *plan, yyjson_val *p, struct tl_err *err)
{
	const char *timeout, *transport;
	int rc = plan_str(p, "shutdownTimeout", &timeout, err);
	rc = rc ? rc : plan_str(p, "transport", &transport, err);
	if (rc)
		return rc;
	plan->timeout = KERNEL_TIMEOUT_INDEFINITELY;
	if (timeout && !kernel_timeout_parse(timeout, &plan->timeout))
		return err_set(err, TL_E_INVAL,
			       "%s: shutdownTimeout “%.40s” is none of immediately, when idle, 4, "
			       "8, 12, 24, 168, indefinitely",
			       intent, timeout);
	if (transport && strcmp(transport, "ipc") && strcmp(transport, "tcp"))
		return err_set(err, TL_E_INVAL, "%s: transport must be ipc or tcp", intent);
	plan->tcp = transport && !strcmp(transport, "tcp");
	return 0;
}

static int plan_fill(struct kernel_plan *plan, yyjson_val *root, struct tl_err *err)
{
	yyjson_val *p = json_get(root, "params");
	const char *id, *run, *name, *tag, *notebook, *cwd, *kernel;
	struct login who;
	int rc = plan_str(root, "id", &id, err);
	rc = rc ? rc : plan_str(root, "runDir", &run, err);
	rc = rc ? rc : plan_str(p, "name", &name, err);
	rc = rc ? rc : plan_str(p, "tag", &tag, err);
	rc = rc ? rc : plan_str(p, "notebook", &notebook, err);
	rc = rc ? rc : plan_str(p, "cwd", &cwd, err);
	rc = rc ? rc : plan_str(p, "kernel", &kernel, err);
	rc = rc ? rc : plan_options(plan, p, err);
	rc = rc ? rc : plan_names(plan, id, run, err);
	if (rc)
		return rc;
	if (!kernel)
		return err_set(err, TL_E_INVAL, "%s: “kernel” is missing", intent);
	rc = kernelspec_find(kernel, &plan->spec, err);
	if (rc)
		return rc;
	login_of(&who);
	plan->username = str_dup(who.user);
	plan->name = str_ndup(name ? name : "", name ? strnlen(name, TL_LIMIT_HOST_NAME) : 0);
	plan->tag = str_ndup(tag ? tag : "", tag ? strnlen(tag, TL_LIMIT_PATH) : 0);
	plan->notebook =
	    str_ndup(notebook ? notebook : "", notebook ? strnlen(notebook, TL_LIMIT_PATH) : 0);
	rc = login_folder(who.home, cwd, &plan->cwd, &plan->notice);
	if (rc || !plan->name || !plan->tag || !plan->notebook || !plan->username)
		return err_set(err, TL_E_NOMEM, "%s", intent);
	rc = plan_argv(plan, err);
	return rc ? rc : plan_env(plan, json_get(p, "env"), &who, err);
}

int kernel_plan_parse(struct kernel_plan *plan, struct tl_bytes text, struct tl_err *err)
{
	struct tl_err why = {0};
	*plan = (struct kernel_plan){0};
	yyjson_doc *d = json_parse(text, &why);
	int rc = d ? plan_fill(plan, yyjson_doc_get_root(d), err)
		   : err_set(err, TL_E_PROTO, "%s: its specification is %s", intent, why.text);
	yyjson_doc_free(d);
	if (rc)
		kernel_plan_fini(plan);
	return rc;
}

void kernel_plan_fini(struct kernel_plan *plan)
{
	char *own[] = {plan->id,   plan->run_dir, plan->dir,     plan->connection_file,
		       plan->uuid, plan->name,    plan->tag,     plan->notebook,
		       plan->cwd,  plan->notice,  plan->username};
	for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++)
		free(own[i]);
	kernelspec_fini(&plan->spec);
	strv_fini(&plan->argv);
	strv_fini(&plan->env);
	*plan = (struct kernel_plan){0};
}
