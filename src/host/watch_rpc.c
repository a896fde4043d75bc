/* watch_rpc.c - the watcher's messages: requests in, answers and changes out (see watch_state.h).
 * What is reported is taken from a frozen table piece by piece, so a slow reader costs two bounded
 * tables and one message, and sees the newest state when it comes back. */
#include <stdlib.h>

#include "host/watch_state.h"

#define REPORT_CHANGES 2000       /* of one message */
#define REPORT_TEXT    131072     /* bytes of paths of one message */
#define OUT_BUSY       (1u << 18) /* more than this waiting: no new messages */

/* ---- out ---- */

static void rpc_send(struct watcher *o, const struct buf *message, int rc)
{
	if (!rc)
		rc = lsp_put(&o->out, buf_data(message));
	if (rc)
		o->ended = true; /* a message that cannot be sent must not be missing silently */
}

static void rpc_notify(struct watcher *o, const char *method, yyjson_mut_doc *d)
{
	struct buf m;
	buf_init(&m, TL_LIMIT_RPC_MESSAGE);
	rpc_send(o, &m, d ? jsonrpc_put_notification(&m, method, d) : TL_E_NOMEM);
	buf_fini(&m);
	yyjson_mut_doc_free(d);
}

static yyjson_mut_doc *params_new(const struct watch *w, yyjson_mut_val **ret_obj)
{
	yyjson_mut_doc *d = yyjson_mut_doc_new(NULL);
	if (!d)
		return NULL;
	*ret_obj = yyjson_mut_obj(d);
	yyjson_mut_doc_set_root(d, *ret_obj);
	if (w)
		yyjson_mut_obj_add_sint(d, *ret_obj, "id", w->id);
	return d;
}

/* [kind, path]; a name that is not UTF-8 is shown with replacement characters. */
static void put_change(yyjson_mut_doc *d, yyjson_mut_val *list, enum change_kind kind,
		       const char *path)
{
	yyjson_mut_val *pair = yyjson_mut_arr_add_arr(d, list);
	yyjson_mut_arr_add_uint(d, pair, kind);
	if (!utf8_valid(bytes_str(path))) {
		yyjson_mut_val *scratch = yyjson_mut_obj(d);
		json_add_path(d, scratch, "p", path);
		path = yyjson_mut_get_str(yyjson_mut_obj_get(scratch, "p"));
	}
	yyjson_mut_arr_add_str(d, pair, path ? path : "");
}

/* One message with the next changes of w->sending. */
static void report_changes(struct watcher *o, struct watch *w)
{
	yyjson_mut_val *obj, *list;
	yyjson_mut_doc *d = params_new(w, &obj);
	size_t count = 0, text = 0;
	list = d ? yyjson_mut_obj_add_arr(d, obj, "changes") : NULL;
	while (list && w->sent < w->sending.n && count < REPORT_CHANGES && text < REPORT_TEXT) {
		const char *path;
		enum change_kind kind = changes_at(&w->sending, w->sent++, &path);
		if (kind == CHANGE_NONE)
			continue;
		put_change(d, list, kind, path);
		count++;
		text += strlen(path);
	}
	if (count || !d)
		rpc_notify(o, "watch/changed", d);
	else
		yyjson_mut_doc_free(d);
	if (w->sent == w->sending.n) {
		changes_clear(&w->sending);
		w->sent = 0;
	}
}

static const char *mode_name(enum watch_mode mode)
{
	static const char *const names[] = {
	    [WATCH_INOTIFY] = "inotify", [WATCH_POLLING] = "polling", [WATCH_GONE] = "gone"};
	return names[mode];
}

static void report_state(struct watcher *o, struct watch *w, bool overflow)
{
	yyjson_mut_val *obj;
	yyjson_mut_doc *d = params_new(w, &obj);
	w->state_wanted = false;
	if (d) {
		yyjson_mut_obj_add_str(d, obj, "mode", mode_name(w->mode));
		yyjson_mut_obj_add_uint(d, obj, "folders", w->folders);
		if (overflow)
			yyjson_mut_obj_add_bool(d, obj, "overflow", true);
		if (w->reason[0])
			json_add_path(d, obj, "reason", w->reason);
	}
	rpc_notify(o, "watch/state", d);
}

bool rpc_pending(const struct watcher *o)
{
	LIST_FOREACH (it, &o->watches) {
		const struct watch *w = list_entry(it, struct watch, node);
		if (w->state_wanted || w->sending.n || !changes_empty(&w->changes))
			return true;
	}
	return false;
}

void rpc_report(struct watcher *o)
{
	LIST_FOREACH (it, &o->watches) {
		struct watch *w = list_entry(it, struct watch, node);
		while (o->out.len < OUT_BUSY) {
			if (w->sending.n) {
				report_changes(o, w);
				continue;
			}
			/* changes first: a state "gone" follows the deletion that made it */
			bool overflow = w->changes.overflow;
			w->sending = w->changes;
			w->changes = (struct changes){0};
			w->sending.overflow = false;
			if (w->sending.n)
				continue;
			if (overflow || w->state_wanted)
				report_state(o, w, overflow);
			break;
		}
	}
}

/* ---- in ---- */

static int add_excludes(struct watch *w, yyjson_val *list, struct tl_err *err)
{
	size_t i, n;
	yyjson_val *v;
	if (list && !yyjson_is_null(list) && !yyjson_is_arr(list))
		return err_set(err, TL_E_INVAL, "watch: excludes must be a list of patterns");
	yyjson_arr_foreach(list, i, n, v)
	{
		const char *text = yyjson_get_str(v);
		int rc = text ? glob_add(&w->excludes, w->path, text) : TL_E_INVAL;
		if (rc)
			return err_set(err, rc, "watch: the exclude pattern %.200s is not valid",
				       text ? text : "(not a text)");
	}
	return 0;
}

static struct watch *watch_by_id(struct watcher *o, int64_t id)
{
	LIST_FOREACH (it, &o->watches)
		if (list_entry(it, struct watch, node)->id == id)
			return list_entry(it, struct watch, node);
	return NULL;
}

static int params_id(yyjson_val *params, int64_t *ret, struct tl_err *err)
{
	if (!yyjson_is_int(json_get(params, "id")))
		return err_set(err, TL_E_INVAL, "watch: id must be a whole number");
	*ret = json_int(params, "id", 0);
	return 0;
}

static int watch_new(struct watcher *o, yyjson_val *params, struct watch **ret, struct tl_err *err)
{
	int64_t id;
	const char *path = json_str(params, "path", NULL);
	int rc = params_id(params, &id, err);
	if (rc)
		return rc;
	if (!path || path[0] != '/' || strlen(path) >= TL_LIMIT_PATH ||
	    strlen(path) != yyjson_get_len(json_get(params, "path")))
		return err_set(err, TL_E_INVAL, "watch: path must be an absolute path");
	if (watch_by_id(o, id))
		return err_set(err, TL_E_EXIST, "watch: the id %lld is in use", (long long)id);
	if (o->watch_count >= WATCH_COUNT_MAX)
		return err_set(err, TL_E_LIMIT, "watch: more than %d watches", WATCH_COUNT_MAX);
	struct watch *w = calloc(1, sizeof(*w));
	size_t n = strlen(path);
	while (n > 1 && path[n - 1] == '/')
		n--;
	if (w)
		w->path = str_ndup(path, n);
	if (!w || !w->path) {
		free(w);
		return err_set(err, TL_E_NOMEM, "watch");
	}
	list_init(&w->node);
	w->id = id;
	w->files = o->files;
	w->recursive = json_bool(params, "recursive", false);
	w->mode = WATCH_GONE;
	rc = add_excludes(w, json_get(params, "excludes"), err);
	if (rc) {
		watch_free(o, w);
		return rc;
	}
	list_add_tail(&o->watches, &w->node);
	o->watch_count++;
	*ret = w;
	return 0;
}

static int rpc_add(struct watcher *o, yyjson_val *params, yyjson_mut_doc *d, struct tl_err *err)
{
	struct watch *w = NULL;
	int rc = watch_new(o, params, &w, err);
	if (rc)
		return rc;
	watch_check(o, w, false);
	/* the answer has no word for "gone": the notification that follows has */
	bool gone = w->mode == WATCH_GONE;
	yyjson_mut_val *obj = yyjson_mut_doc_get_root(d);
	yyjson_mut_obj_add_str(d, obj, "mode", w->polling ? "polling" : "inotify");
	yyjson_mut_obj_add_uint(d, obj, "folders", w->folders);
	if (gone)
		yyjson_mut_obj_add_str(d, obj, "reason", "there is no such file or folder yet");
	else if (w->reason[0])
		json_add_path(d, obj, "reason", w->reason);
	w->state_wanted = gone;
	return 0;
}

static int rpc_remove(struct watcher *o, yyjson_val *params, yyjson_mut_doc *d, struct tl_err *err)
{
	int64_t id;
	int rc = params_id(params, &id, err);
	struct watch *w = rc ? NULL : watch_by_id(o, id);
	(void)d;
	if (rc)
		return rc;
	if (!w)
		return err_set(err, TL_E_NOENT, "stop watching: there is no watch %lld",
			       (long long)id);
	watch_free(o, w);
	return 0;
}

static const struct {
	const char *name;
	int (*fn)(struct watcher *, yyjson_val *, yyjson_mut_doc *, struct tl_err *);
} methods[] = {{"watch/add", rpc_add}, {"watch/remove", rpc_remove}};

static void rpc_request(struct watcher *o, const struct jsonrpc_msg *m)
{
	struct tl_err err = {0};
	struct buf answer;
	yyjson_mut_val *obj;
	yyjson_mut_doc *d = params_new(NULL, &obj);
	int rc = d ? TL_E_NOMETHOD : TL_E_NOMEM;
	buf_init(&answer, TL_LIMIT_RPC_MESSAGE);
	err_set(&err, rc, "call %.100s", m->method);
	for (size_t i = 0; d && i < sizeof(methods) / sizeof(methods[0]); i++)
		if (!strcmp(methods[i].name, m->method))
			rc = methods[i].fn(o, m->params, d, &err);
	if (m->kind == JSONRPC_REQUEST) {
		if (rc)
			rc = jsonrpc_put_error(&answer, m->id, &err);
		else
			rc = jsonrpc_put_result(&answer, m->id, d);
		rpc_send(o, &answer, rc);
	}
	buf_fini(&answer);
	yyjson_mut_doc_free(d);
	tree_bury(o);
}

void rpc_obey(struct watcher *o)
{
	struct tl_bytes text;
	size_t used;
	int rc;
	while (!o->ended && o->out.len < OUT_BUSY &&
	       (rc = lsp_next(buf_data(&o->in), &text, &used)) != 0) {
		struct jsonrpc_msg m;
		struct tl_err err = {0};
		if (rc < 0) {
			o->ended = true; /* where the next message starts is unknown */
			return;
		}
		if (jsonrpc_parse(text, &m, &err) != 0) {
			struct buf answer;
			buf_init(&answer, TL_LIMIT_OPEN_LINE);
			rpc_send(o, &answer, jsonrpc_put_error(&answer, NULL, &err));
			buf_fini(&answer);
		} else {
			if (m.kind != JSONRPC_RESPONSE)
				rpc_request(o, &m);
			jsonrpc_fini(&m);
		}
		buf_consume(&o->in, used);
	}
	buf_shrink(&o->in);
}
