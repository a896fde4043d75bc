/* hub_gateway_sessions.c - Jupyter's sessions and terminals: the routes below /api/sessions and
 * /api/terminals. A session of Jupyter is a notebook's path bound to a kernel; ours are kept by the
 * hosts themselves, in the KernelInfo's notebook and tag, so every client sees the same ones. */
#include "hub/hub_gateway.h"

#include <stdlib.h>

#define TAG "jupyter-session:" /* then the session's id, a colon and its type */

/* ---- the model ---- */

/* Id and type of the session that a kernel belongs to; a kernel with a notebook of the window has
 * its own id. False: it has none. */
static bool session_of(yyjson_val *info, char id[GW_UUID], const char **ret_type)
{
	const char *tag = json_str(info, "tag", "");

	*ret_type = "notebook";
	if (str_starts(tag, TAG) && strlen(tag) > sizeof(TAG) + GW_UUID - 2) {
		memcpy(id, tag + sizeof(TAG) - 1, GW_UUID - 1);
		id[GW_UUID - 1] = 0;
		*ret_type = tag + sizeof(TAG) + GW_UUID - 1;
		return true;
	}
	str_copy(id, GW_UUID, json_str(info, "uuid", ""));
	return json_str(info, "notebook", "")[0] != 0;
}

static yyjson_mut_val *session_model(yyjson_mut_doc *doc, yyjson_val *info)
{
	yyjson_mut_val *o = yyjson_mut_obj(doc), *nb;
	const char *path = json_str(info, "notebook", ""), *name = json_str(info, "name", "");
	const char *type, *slash = strrchr(path, '/');
	char id[GW_UUID];

	session_of(info, id, &type);
	yyjson_mut_obj_add_strcpy(doc, o, "id", id);
	yyjson_mut_obj_add_strcpy(doc, o, "path", path);
	yyjson_mut_obj_add_strcpy(doc, o, "name", *name ? name : slash ? slash + 1 : path);
	yyjson_mut_obj_add_strcpy(doc, o, "type", *type ? type : "notebook");
	yyjson_mut_obj_add_val(doc, o, "kernel", gw_kernel_model(doc, info));
	if (strcmp(type, "notebook") == 0) {
		nb = yyjson_mut_obj_add_obj(doc, o, "notebook");
		yyjson_mut_obj_add_strcpy(doc, nb, "path", path);
		yyjson_mut_obj_add_strcpy(doc, nb, "name", name);
	}
	return o;
}

static void answer_session(struct gw_call *k, int status, yyjson_val *info)
{
	yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	const char *type;
	char id[GW_UUID], *location;

	session_of(info, id, &type);
	location = str_fmt("/api/sessions/%s", id);
	yyjson_mut_doc_set_root(doc, session_model(doc, info));
	gw_answer_at(k, status, doc, status == 201 ? location : NULL);
	free(location);
}

/* The kernel of a session. While one kernel takes over from another there are two: the newer one
 * counts. */
static yyjson_val *by_id(yyjson_val *result, const char *wanted)
{
	yyjson_val *info, *found = NULL;
	const char *type;
	char id[GW_UUID];
	size_t i, n;

	yyjson_arr_foreach(json_get(result, "kernels"), i, n, info)
	{
		if (session_of(info, id, &type) && strcmp(id, wanted) == 0 &&
		    (!found || json_int(info, "startedMs", 0) >= json_int(found, "startedMs", 0)))
			found = info;
	}
	return found;
}

static void sessions_listed(struct gw_call *k, yyjson_val *result, const struct tl_err *err)
{
	yyjson_mut_doc *doc;
	yyjson_mut_val *a;
	yyjson_val *info;
	const char *type;
	char id[GW_UUID];
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
		if (session_of(info, id, &type) && by_id(result, id) == info)
			yyjson_mut_arr_append(a, session_model(doc, info));
	}
	gw_answer(k, 200, doc);
}

void gw_sessions_list(struct gw_call *k)
{
	gw_ask(k, "kernel/list", NULL, sessions_listed);
}

/* ---- finding one ---- */

static void session_got(struct gw_call *k, yyjson_val *result, const struct tl_err *err)
{
	yyjson_val *info = by_id(result, k->arg[0]);

	if (err)
		gw_fail(k, err);
	else if (!info)
		gw_fail_with(k, 404, "there is no such session");
	else
		answer_session(k, 200, info);
}

void gw_session_get(struct gw_call *k)
{
	gw_ask(k, "kernel/list", NULL, session_got);
}

/* ---- starting ---- */

static void answer_created(struct gw_call *k, yyjson_val *result, const struct tl_err *err)
{
	if (err)
		gw_fail(k, err);
	else
		answer_session(k, 201, result);
}

/* The kernel of a session: where its notebook lies on the host, home where that is unknown. */
static yyjson_mut_doc *create_params(const char *id, const char *type, const char *path,
				     const char *name)
{
	yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *o = yyjson_mut_obj(doc);
	const char *slash = strrchr(path, '/');
	char *tag = str_fmt(TAG "%s:%.40s", id, type), *cwd = NULL;

	if (slash > path)
		cwd = str_fmt("%s%.*s", path[0] == '/' ? "" : "~/", (int)(slash - path), path);
	yyjson_mut_doc_set_root(doc, o);
	yyjson_mut_obj_add_strcpy(doc, o, "notebook", path);
	yyjson_mut_obj_add_strcpy(doc, o, "name", name);
	yyjson_mut_obj_add_strcpy(doc, o, "tag", tag ? tag : "");
	if (cwd)
		yyjson_mut_obj_add_strcpy(doc, o, "cwd", cwd);
	free(tag);
	free(cwd);
	return doc;
}

static void new_uuid(char out[GW_UUID])
{
	uint8_t raw[16];
	char hex[33];

	random_bytes(raw, sizeof(raw));
	raw[6] = (uint8_t)((raw[6] & 0x0f) | 0x40);
	raw[8] = (uint8_t)((raw[8] & 0x3f) | 0x80);
	str_hex(raw, sizeof(raw), hex);
	snprintf(out, GW_UUID, "%.8s-%.4s-%.4s-%.4s-%.12s", hex, hex + 8, hex + 12, hex + 16,
		 hex + 20);
}

/* An existing kernel becomes the session's, by configure. */
static void adopt(struct gw_call *k, yyjson_val *info, const char *path, const char *name,
		  const char *type)
{
	yyjson_mut_doc *doc;
	yyjson_mut_val *o;
	char id[GW_UUID];

	new_uuid(id);
	doc = create_params(id, type, path, name);
	o = yyjson_mut_doc_get_root(doc);
	yyjson_mut_obj_remove_key(o, "cwd");
	yyjson_mut_obj_add_strcpy(doc, o, "id", json_str(info, "id", ""));
	gw_ask(k, "kernel/configure", doc, answer_created);
}

static void start_listed(struct gw_call *k, yyjson_val *result, const struct tl_err *err)
{
	yyjson_val *root = yyjson_doc_get_root(k->body), *kernel = json_get(root, "kernel"), *info;
	const char *path = json_str(root, "path", json_str(json_get(root, "notebook"), "path", ""));
	const char *name = json_str(root, "name", ""), *type = json_str(root, "type", "notebook");
	const char *uuid = json_str(kernel, "id", "");
	char id[GW_UUID];
	size_t i, n;

	if (err) {
		gw_fail(k, err);
		return;
	}
	yyjson_arr_foreach(json_get(result, "kernels"), i, n, info)
	{
		if (strcmp(json_str(info, "notebook", ""), path) == 0) {
			answer_session(k, 201, info);
			return;
		}
		if (*uuid && strcmp(json_str(info, "uuid", ""), uuid) == 0) {
			adopt(k, info, path, name, type);
			return;
		}
	}
	if (*uuid) {
		gw_fail_with(k, 404, "there is no such kernel");
		return;
	}
	new_uuid(id);
	gw_kernel_create(k, json_str(kernel, "name", ""), create_params(id, type, path, name),
			 answer_created);
}

void gw_sessions_start(struct gw_call *k)
{
	yyjson_val *root = yyjson_doc_get_root(k->body);

	if (!json_str(root, "path", json_str(json_get(root, "notebook"), "path", ""))[0])
		gw_fail_with(k, 400, "a session needs a path");
	else
		gw_ask(k, "kernel/list", NULL, start_listed);
}

/* ---- changing ---- */

static void moved(struct gw_call *k, yyjson_val *result, const struct tl_err *err)
{
	(void)result;
	(void)err; /* it is gone already */
	answer_session(k, 200, yyjson_doc_get_root(k->found));
}

/* Another kernel has taken the session over; the one before ends. */
static void moved_in(struct gw_call *k, yyjson_val *result, const struct tl_err *err)
{
	yyjson_mut_doc *doc;

	if (err) {
		gw_fail(k, err);
		return;
	}
	k->found = gw_copy(result);
	doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_doc_set_root(doc, yyjson_mut_obj(doc));
	yyjson_mut_obj_add_strcpy(doc, yyjson_mut_doc_get_root(doc), "id", k->kernel);
	gw_ask(k, "kernel/shutdown", doc, moved);
}

static void configured(struct gw_call *k, yyjson_val *result, const struct tl_err *err)
{
	if (err)
		gw_fail(k, err);
	else
		answer_session(k, 200, result);
}

static void change_listed(struct gw_call *k, yyjson_val *result, const struct tl_err *err)
{
	yyjson_val *root = yyjson_doc_get_root(k->body), *kernel = json_get(root, "kernel");
	yyjson_val *info = by_id(result, k->arg[0]);
	const char *old_type, *path, *name, *type, *wanted = json_str(kernel, "name", "");
	const char *uuid = json_str(kernel, "id", "");
	yyjson_mut_doc *doc;
	char id[GW_UUID];

	if (err) {
		gw_fail(k, err);
		return;
	}
	if (!info) {
		gw_fail_with(k, 404, "there is no such session");
		return;
	}
	session_of(info, id, &old_type);
	path = json_str(root, "path", json_str(info, "notebook", ""));
	name = json_str(root, "name", json_str(info, "name", ""));
	type = json_str(root, "type", old_type);
	doc = create_params(id, type, path, name);
	k->kernel = str_dup(json_str(info, "id", ""));
	if (*uuid && strcmp(uuid, json_str(info, "uuid", "")) != 0) {
		yyjson_val *other;
		size_t i, n;
		yyjson_arr_foreach(json_get(result, "kernels"), i, n, other)
		{
			if (strcmp(json_str(other, "uuid", ""), uuid) != 0)
				continue;
			yyjson_mut_obj_add_strcpy(doc, yyjson_mut_doc_get_root(doc), "id",
						  json_str(other, "id", ""));
			gw_ask(k, "kernel/configure", doc, moved_in);
			return;
		}
		yyjson_mut_doc_free(doc);
		gw_fail_with(k, 404, "there is no such kernel");
	} else if (!*uuid && *wanted) {
		gw_kernel_create(k, wanted, doc, moved_in);
	} else {
		yyjson_mut_obj_remove_key(yyjson_mut_doc_get_root(doc), "cwd");
		yyjson_mut_obj_add_strcpy(doc, yyjson_mut_doc_get_root(doc), "id", k->kernel);
		gw_ask(k, "kernel/configure", doc, configured);
	}
}

void gw_session_change(struct gw_call *k)
{
	gw_ask(k, "kernel/list", NULL, change_listed);
}

static void ended(struct gw_call *k, yyjson_val *result, const struct tl_err *err)
{
	(void)result;
	if (err && err->code != TL_E_NOKERNEL)
		gw_fail(k, err);
	else
		gw_answer(k, 204, NULL);
}

static void delete_listed(struct gw_call *k, yyjson_val *result, const struct tl_err *err)
{
	yyjson_val *info = by_id(result, k->arg[0]);
	yyjson_mut_doc *doc;

	if (err) {
		gw_fail(k, err);
		return;
	}
	if (!info) {
		gw_fail_with(k, 404, "there is no such session");
		return;
	}
	doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_doc_set_root(doc, yyjson_mut_obj(doc));
	yyjson_mut_obj_add_strcpy(doc, yyjson_mut_doc_get_root(doc), "id",
				  json_str(info, "id", ""));
	gw_ask(k, "kernel/shutdown", doc, ended);
}

void gw_session_delete(struct gw_call *k)
{
	gw_ask(k, "kernel/list", NULL, delete_listed);
}

/* ---- terminals ---- */

static yyjson_mut_val *term_model(yyjson_mut_doc *doc, yyjson_val *info)
{
	yyjson_mut_val *o = yyjson_mut_obj(doc);
	char when[40];

	gw_time((uint64_t)json_int(info, "startedMs", 0), when);
	yyjson_mut_obj_add_strcpy(doc, o, "name", json_str(info, "id", ""));
	yyjson_mut_obj_add_strcpy(doc, o, "last_activity", when);
	return o;
}

static void term_started(struct gw_call *k, yyjson_val *result, const struct tl_err *err)
{
	yyjson_mut_doc *doc;

	if (err) {
		gw_fail(k, err);
		return;
	}
	doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_doc_set_root(doc, term_model(doc, result));
	gw_answer(k, 200, doc);
}

static void terms_listed(struct gw_call *k, yyjson_val *result, const struct tl_err *err)
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
	yyjson_arr_foreach(json_get(result, "terminals"), i, n, info)
	{
		if (json_get(info, "exit"))
			continue;
		if (k->arg[0] && strcmp(json_str(info, "id", ""), k->arg[0]) == 0) {
			yyjson_mut_doc_set_root(doc, term_model(doc, info));
			gw_answer(k, 200, doc);
			return;
		}
		yyjson_mut_arr_append(a, term_model(doc, info));
	}
	if (!k->arg[0]) {
		gw_answer(k, 200, doc);
		return;
	}
	yyjson_mut_doc_free(doc);
	gw_fail_with(k, 404, "there is no such terminal");
}

void gw_terms_list(struct gw_call *k)
{
	gw_ask(k, "term/list", NULL, terms_listed);
}

void gw_term_get(struct gw_call *k)
{
	gw_ask(k, "term/list", NULL, terms_listed);
}

void gw_terms_start(struct gw_call *k)
{
	const char *cwd = json_str(yyjson_doc_get_root(k->body), "cwd", NULL);
	yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *o = yyjson_mut_obj(doc);

	yyjson_mut_doc_set_root(doc, o);
	yyjson_mut_obj_add_str(doc, o, "tag", "jupyter");
	if (cwd && *cwd)
		yyjson_mut_obj_add_strcpy(doc, o, "cwd", cwd);
	gw_ask(k, "term/create", doc, term_started);
}

static void term_ended(struct gw_call *k, yyjson_val *result, const struct tl_err *err)
{
	(void)result;
	if (err && err->code == TL_E_NOTERM)
		gw_fail_with(k, 404, "there is no such terminal");
	else if (err)
		gw_fail(k, err);
	else
		gw_answer(k, 204, NULL);
}

void gw_term_delete(struct gw_call *k)
{
	yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);

	yyjson_mut_doc_set_root(doc, yyjson_mut_obj(doc));
	yyjson_mut_obj_add_strcpy(doc, yyjson_mut_doc_get_root(doc), "id", k->arg[0]);
	gw_ask(k, "term/kill", doc, term_ended);
}
