/* hub_gateway_kernels.c - kernels and kernelspecs for Jupyter clients: their models, and the routes
 * below /api/kernels and /api/kernelspecs. */
#include "hub/hub_gateway.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/base64.h"

#define NAME_MAX_ 256

/* ---- models ---- */

void gw_time(uint64_t wall_ms, char out[40])
{
	time_t t = (time_t)(wall_ms / 1000);
	char day[32];
	struct tm tm;

	gmtime_r(&t, &tm);
	strftime(day, sizeof(day), "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(out, 40, "%s.%06uZ", day, (unsigned)(wall_ms % 1000) * 1000);
}

void gw_kernel_name(const char *id, char *out, size_t n)
{
	size_t at = 0;

	while (*id == '/')
		id++;
	for (; *id && at + 1 < n; id++)
		out[at++] = (*id >= 'a' && *id <= 'z') || (*id >= 'A' && *id <= 'Z') ||
				    (*id >= '0' && *id <= '9') || strchr("._-", *id)
				? *id
				: '-';
	out[at] = 0;
}

static void add_name(yyjson_mut_doc *doc, yyjson_mut_val *o, const char *key, const char *id)
{
	char name[NAME_MAX_];

	gw_kernel_name(id, name, sizeof(name));
	yyjson_mut_obj_add_strcpy(doc, o, key, name);
}

yyjson_mut_val *gw_kernel_model(yyjson_mut_doc *doc, yyjson_val *info)
{
	yyjson_mut_val *o = yyjson_mut_obj(doc);
	char when[40];

	gw_time((uint64_t)json_int(info, "activityMs", 0), when);
	yyjson_mut_obj_add_strcpy(doc, o, "id", json_str(info, "uuid", ""));
	add_name(doc, o, "name", json_str(info, "kernel", ""));
	yyjson_mut_obj_add_strcpy(doc, o, "last_activity", when);
	yyjson_mut_obj_add_strcpy(doc, o, "execution_state", json_str(info, "state", "unknown"));
	yyjson_mut_obj_add_int(doc, o, "connections", json_int(info, "viewers", 0));
	return o;
}

static void answer_model(struct gw_call *k, int status, yyjson_val *info)
{
	yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	char *location = str_fmt("/api/kernels/%s", json_str(info, "uuid", ""));

	yyjson_mut_doc_set_root(doc, gw_kernel_model(doc, info));
	gw_answer_at(k, status, doc, status == 201 ? location : NULL);
	free(location);
}

/* ---- kernels ---- */

static void listed(struct gw_call *k, yyjson_val *result, const struct tl_err *err)
{
	yyjson_mut_doc *doc;
	yyjson_mut_val *a;
	yyjson_val *info;
	size_t i, n;

	if (err) {
		gw_fail(k, err);
		return;
	}
	doc = yyjson_mut_doc_new(NULL);
	a = yyjson_mut_arr(doc);
	yyjson_mut_doc_set_root(doc, a);
	yyjson_arr_foreach(json_get(result, "kernels"), i, n, info)
	{
		yyjson_mut_arr_append(a, gw_kernel_model(doc, info));
	}
	gw_answer(k, 200, doc);
}

void gw_kernels_list(struct gw_call *k)
{
	gw_ask(k, "kernel/list", NULL, listed);
}

static void status_listed(struct gw_call *k, yyjson_val *result, const struct tl_err *err)
{
	struct hub_gateway *g = k->gateway;
	yyjson_mut_doc *doc;
	yyjson_mut_val *o;
	size_t sockets = 0;
	char when[40];

	if (err) {
		gw_fail(k, err);
		return;
	}
	LIST_FOREACH (it, &g->sockets)
		sockets++;
	doc = yyjson_mut_doc_new(NULL);
	o = yyjson_mut_obj(doc);
	yyjson_mut_doc_set_root(doc, o);
	gw_time(g->started_ms, when);
	yyjson_mut_obj_add_strcpy(doc, o, "started", when);
	gw_time(g->asked_ms, when);
	yyjson_mut_obj_add_strcpy(doc, o, "last_activity", when);
	yyjson_mut_obj_add_uint(doc, o, "connections", sockets);
	yyjson_mut_obj_add_uint(doc, o, "kernels", yyjson_arr_size(json_get(result, "kernels")));
	gw_answer(k, 200, doc);
}

void gw_status(struct gw_call *k)
{
	gw_ask(k, "kernel/list", NULL, status_listed);
}

static void get_found(struct gw_call *k)
{
	answer_model(k, 200, yyjson_doc_get_root(k->found));
}

void gw_kernel_get(struct gw_call *k)
{
	gw_find_kernel(k, get_found);
}

static void done_204(struct gw_call *k, yyjson_val *result, const struct tl_err *err)
{
	(void)result;
	if (err)
		gw_fail(k, err);
	else
		gw_answer(k, 204, NULL);
}

static yyjson_mut_doc *id_params(const struct gw_call *k)
{
	yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *o = yyjson_mut_obj(doc);

	yyjson_mut_doc_set_root(doc, o);
	yyjson_mut_obj_add_strcpy(doc, o, "id", k->kernel);
	return doc;
}

static void delete_found(struct gw_call *k)
{
	gw_ask(k, "kernel/shutdown", id_params(k), done_204);
}

void gw_kernel_delete(struct gw_call *k)
{
	gw_find_kernel(k, delete_found);
}

static void interrupt_found(struct gw_call *k)
{
	gw_ask(k, "kernel/interrupt", id_params(k), done_204);
}

void gw_kernel_interrupt(struct gw_call *k)
{
	gw_find_kernel(k, interrupt_found);
}

static void restarted(struct gw_call *k, yyjson_val *result, const struct tl_err *err)
{
	if (err)
		gw_fail(k, err);
	else
		answer_model(k, 200, result);
}

static void restart_found(struct gw_call *k)
{
	gw_ask(k, "kernel/restart", id_params(k), restarted);
}

void gw_kernel_restart(struct gw_call *k)
{
	gw_find_kernel(k, restart_found);
}

/* ---- starting ---- */

static void created_or_not(struct gw_call *k, yyjson_val *result, const struct tl_err *err);

static void create(struct gw_call *k, const char *kernel)
{
	yyjson_mut_doc *doc = yyjson_mut_doc_mut_copy(k->params, NULL);

	yyjson_mut_obj_put(yyjson_mut_doc_get_root(doc), yyjson_mut_str(doc, "kernel"),
			   yyjson_mut_strcpy(doc, kernel));
	gw_ask(k, "kernel/create", doc, created_or_not);
}

static void no_spec(struct gw_call *k)
{
	char text[400];

	snprintf(text, sizeof(text), "No such kernel named %.200s", k->text);
	gw_fail_with(k, strcmp(k->route->path, "/api/kernels") == 0 ? 404 : 501, text);
}

/* The kernel whose name in URLs was meant, or (text "") the default one. */
static void specs_for_create(struct gw_call *k, yyjson_val *result, const struct tl_err *err)
{
	const char *wanted = k->text, *found = NULL, *dflt = json_str(result, "default", NULL);
	char name[NAME_MAX_];
	yyjson_val *spec;
	size_t i, n;

	if (err) {
		gw_fail(k, err);
		return;
	}
	yyjson_arr_foreach(json_get(result, "specs"), i, n, spec)
	{
		const char *id = json_str(spec, "id", "");
		gw_kernel_name(id, name, sizeof(name));
		if (found || !json_bool(spec, "ready", false))
			continue;
		if (*wanted ? strcmp(name, wanted) == 0 : !dflt || strcmp(dflt, id) == 0)
			found = id;
	}
	if (!found || !k->params) {
		no_spec(k);
		return;
	}
	/* the second and last attempt */
	k->then = NULL;
	create(k, found);
}

static void created_or_not(struct gw_call *k, yyjson_val *result, const struct tl_err *err)
{
	void (*next)(struct gw_call *, yyjson_val *, const struct tl_err *) = k->created;

	if (err && err->code == TL_E_NOSPEC && k->then)
		gw_ask(k, "kernel/specs", NULL, specs_for_create);
	else if (err && err->code == TL_E_NOSPEC)
		no_spec(k);
	else
		next(k, result, err);
}

void gw_kernel_create(struct gw_call *k, const char *name, yyjson_mut_doc *params,
		      void (*next)(struct gw_call *, yyjson_val *, const struct tl_err *))
{
	free(k->text);
	k->text = str_dup(name);
	yyjson_mut_doc_free(k->params);
	k->params = params;
	k->created = next;
	k->then = no_spec; /* another name may be meant */
	if (!k->text || !params)
		gw_fail_with(k, 500, "out of memory");
	else if (*name)
		create(k, k->text);
	else
		gw_ask(k, "kernel/specs", NULL, specs_for_create);
}

static void started(struct gw_call *k, yyjson_val *result, const struct tl_err *err)
{
	if (err)
		gw_fail(k, err);
	else
		answer_model(k, 201, result);
}

/* What a client may add to a kernel's environment. Some send all of their own: HOME and PATH of one
 * machine are wrong on another. */
static bool env_is_meant(const char *name)
{
	return str_starts(name, "KERNEL_") || str_starts(name, "JPY_");
}

/* {name, path, env}. A gateway client says where it works by KERNEL_WORKING_DIR: its own machine's
 * folder; one that is not on the host gives way to home. */
void gw_kernels_start(struct gw_call *k)
{
	yyjson_val *root = yyjson_doc_get_root(k->body), *env = json_get(root, "env"), *key, *v;
	const char *cwd = json_str(env, "KERNEL_WORKING_DIR", json_str(root, "path", NULL));
	yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *o = yyjson_mut_obj(doc), *to;
	size_t i, n;

	yyjson_mut_doc_set_root(doc, o);
	yyjson_mut_obj_add_str(doc, o, "tag", "jupyter");
	if (cwd && *cwd == '/')
		yyjson_mut_obj_add_strcpy(doc, o, "cwd", cwd);
	to = yyjson_mut_obj_add_obj(doc, o, "env");
	yyjson_obj_foreach(env, i, n, key, v)
	{
		if (yyjson_is_str(v) && env_is_meant(yyjson_get_str(key)))
			yyjson_mut_obj_add(to, yyjson_mut_strcpy(doc, yyjson_get_str(key)),
					   yyjson_val_mut_copy(doc, v));
	}
	gw_kernel_create(k, json_str(root, "name", ""), doc, started);
}

/* ---- kernelspecs ---- */

/* The logos that Jupyter's clients look for, as URLs. */
static void put_resources(yyjson_mut_doc *doc, yyjson_mut_val *o, yyjson_val *spec,
			  const char *name)
{
	yyjson_mut_val *r = yyjson_mut_obj_add_obj(doc, o, "resources");
	yyjson_val *file;
	size_t i, n;

	yyjson_arr_foreach(json_get(spec, "files"), i, n, file)
	{
		const char *text = yyjson_is_str(file) ? yyjson_get_str(file) : "";
		size_t stem = strcspn(text, ".");
		bool logo = str_starts(text, "logo-");
		char *url = str_fmt("/kernelspecs/%s/%s", name, text);
		if (url && stem)
			yyjson_mut_obj_add(
			    r, yyjson_mut_strncpy(doc, text, logo ? stem : strlen(text)),
			    yyjson_mut_strcpy(doc, url));
		free(url);
	}
}

static yyjson_mut_val *spec_model(yyjson_mut_doc *doc, yyjson_val *spec, const char *name)
{
	yyjson_mut_val *o = yyjson_mut_obj(doc), *s;
	yyjson_val *metadata = json_get(spec, "metadata");

	yyjson_mut_obj_add_strcpy(doc, o, "name", name);
	s = yyjson_mut_obj_add_obj(doc, o, "spec");
	yyjson_mut_obj_add_val(doc, s, "argv", yyjson_val_mut_copy(doc, json_get(spec, "argv")));
	yyjson_mut_obj_add_obj(doc, s, "env");
	yyjson_mut_obj_add_strcpy(doc, s, "display_name", json_str(spec, "displayName", name));
	yyjson_mut_obj_add_strcpy(doc, s, "language", json_str(spec, "language", ""));
	yyjson_mut_obj_add_strcpy(doc, s, "interrupt_mode",
				  json_str(spec, "interruptMode", "signal"));
	yyjson_mut_obj_add_val(doc, s, "metadata",
			       metadata ? yyjson_val_mut_copy(doc, metadata) : yyjson_mut_obj(doc));
	put_resources(doc, o, spec, name);
	return o;
}

static void specs_listed(struct gw_call *k, yyjson_val *result, const struct tl_err *err)
{
	const char *dflt = json_str(result, "default", NULL);
	yyjson_mut_doc *doc;
	yyjson_mut_val *o, *all;
	yyjson_val *spec;
	char name[NAME_MAX_], first[NAME_MAX_] = "";
	size_t i, n;

	if (err) {
		gw_fail(k, err);
		return;
	}
	doc = yyjson_mut_doc_new(NULL);
	o = yyjson_mut_obj(doc);
	all = yyjson_mut_obj(doc);
	yyjson_arr_foreach(json_get(result, "specs"), i, n, spec)
	{
		const char *id = json_str(spec, "id", "");
		if (!json_bool(spec, "ready", false))
			continue;
		gw_kernel_name(id, name, sizeof(name));
		if (!first[0] || (dflt && strcmp(dflt, id) == 0))
			str_copy(first, sizeof(first), name);
		if (!yyjson_mut_obj_get(all, name))
			yyjson_mut_obj_add(all, yyjson_mut_strcpy(doc, name),
					   spec_model(doc, spec, name));
	}
	if (k->arg[0]) {
		yyjson_mut_val *one = yyjson_mut_obj_get(all, k->arg[0]);
		if (!one) {
			yyjson_mut_doc_free(doc);
			gw_fail_with(k, 404, "there is no such kernelspec");
			return;
		}
		yyjson_mut_doc_set_root(doc, one);
	} else {
		yyjson_mut_obj_add_strcpy(doc, o, "default", first);
		yyjson_mut_obj_add_val(doc, o, "kernelspecs", all);
		yyjson_mut_doc_set_root(doc, o);
	}
	gw_answer(k, 200, doc);
}

void gw_specs_list(struct gw_call *k)
{
	gw_ask(k, "kernel/specs", NULL, specs_listed);
}

void gw_specs_get(struct gw_call *k)
{
	gw_ask(k, "kernel/specs", NULL, specs_listed);
}

/* ---- their logos ---- */

static void file_got(struct gw_call *k, yyjson_val *result, const struct tl_err *err)
{
	static const struct {
		const char *end, *type;
	} types[] = {{".png", "image/png"},
		     {".svg", "image/svg+xml"},
		     {".js", "text/javascript"},
		     {".css", "text/css"}};
	const char *type = "application/octet-stream";
	struct buf b;
	int rc;

	if (err) {
		gw_fail(k, err);
		return;
	}
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (str_ends(k->arg[1], types[i].end))
			type = types[i].type;
	buf_init(&b, TL_LIMIT_RPC_MESSAGE);
	rc = base64_put(&b, json_str(result, "data", ""));
	gw_answer_bytes(k, rc ? 500 : 200, type, buf_data(&b));
	buf_fini(&b);
}

static void file_specs(struct gw_call *k, yyjson_val *result, const struct tl_err *err)
{
	yyjson_mut_doc *doc;
	yyjson_val *spec;
	char name[NAME_MAX_];
	size_t i, n;

	if (err) {
		gw_fail(k, err);
		return;
	}
	yyjson_arr_foreach(json_get(result, "specs"), i, n, spec)
	{
		const char *id = json_str(spec, "id", "");
		gw_kernel_name(id, name, sizeof(name));
		if (strcmp(name, k->arg[0]) != 0)
			continue;
		doc = yyjson_mut_doc_new(NULL);
		yyjson_mut_doc_set_root(doc, yyjson_mut_obj(doc));
		yyjson_mut_obj_add_strcpy(doc, yyjson_mut_doc_get_root(doc), "kernel", id);
		yyjson_mut_obj_add_strcpy(doc, yyjson_mut_doc_get_root(doc), "name", k->arg[1]);
		gw_ask(k, "kernel/file", doc, file_got);
		return;
	}
	gw_fail_with(k, 404, "there is no such kernelspec");
}

void gw_specs_file(struct gw_call *k)
{
	gw_ask(k, "kernel/specs", NULL, file_specs);
}
