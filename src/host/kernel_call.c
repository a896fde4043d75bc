/* kernel_call.c - what a viewer, or the agent in somebody's name, orders with CALL. */
#include <stdlib.h>

#include "host/kernel_state.h"

static void put_answer(struct kviewer *v, struct buf *json)
{
	/* an answer that does not fit would leave the caller waiting */
	if (kernel_put_pieces(&v->out, KERNEL_FRAME_ANSWER, buf_data(json)) != 0)
		kviewer_close(v);
}

static void answer_err(struct kviewer *v, const struct tl_err *err)
{
	struct buf json;
	yyjson_mut_doc *d = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *root = yyjson_mut_obj(d), *e;
	buf_init(&json, 8192);
	yyjson_mut_doc_set_root(d, root);
	e = yyjson_mut_obj_add_obj(d, root, "error");
	yyjson_mut_obj_add_str(d, e, "name", err_row(err->code)->name);
	json_add_path(d, e, "message", err->text);
	json_write(&json, d);
	yyjson_mut_doc_free(d);
	put_answer(v, &json);
	buf_fini(&json);
}

/* {"ok": what fill makes}; fill NULL: {}. */
static void answer_ok(struct kviewer *v, int (*fill)(struct kernel *, struct buf *))
{
	struct buf json;
	buf_init(&json, TL_LIMIT_KERNEL_SNAPSHOT + 64);
	int rc = buf_put_str(&json, "{\"ok\":");
	rc = rc ? rc : fill ? fill(v->k, &json) : buf_put_str(&json, "{}");
	rc = rc ? rc : buf_put_str(&json, "}");
	if (rc) {
		struct tl_err err = {0};
		err_set(&err, rc, "tell about session %s: %s", v->k->plan.id, err_row(rc)->what);
		answer_err(v, &err);
	} else {
		put_answer(v, &json);
	}
	buf_fini(&json);
}

void kernel_call_done(struct kernel *k, enum kviewer_waits what, const struct tl_err *err)
{
	LIST_FOREACH_SAFE (it, &k->viewers) {
		struct kviewer *v = list_entry(it, struct kviewer, node);
		if (v->waits != what)
			continue;
		v->waits = KVIEWER_WAITS_NONE;
		if (err)
			answer_err(v, err);
		else
			answer_ok(v, what == KVIEWER_WAITS_START ? kernel_info : NULL);
		if (!v->closed)
			kviewer_pump(v);
	}
}

static void call_info(struct kviewer *v, yyjson_val *params)
{
	(void)params;
	answer_ok(v, kernel_info);
}

static void call_connection(struct kviewer *v, yyjson_val *params)
{
	(void)params;
	answer_ok(v, kernel_connection_put);
}

static void call_snapshot(struct kviewer *v, yyjson_val *params)
{
	(void)params;
	answer_ok(v, kernel_snapshot);
}

static void call_interrupt(struct kviewer *v, yyjson_val *params)
{
	struct tl_err err = {0};
	(void)params;
	if (kernel_process_interrupt(v->k) == 0) {
		answer_ok(v, NULL);
		return;
	}
	err_set(&err, TL_E_CLOSED, "interrupt session %s: its kernel is not running",
		v->k->plan.id);
	answer_err(v, &err);
}

static void call_restart(struct kviewer *v, yyjson_val *params)
{
	struct tl_err err = {0};
	(void)params;
	if (v->k->stop == KERNEL_STOP_END || v->k->phase == KERNEL_OVER) {
		err_set(&err, TL_E_CLOSED, "restart session %s: it is being ended", v->k->plan.id);
		answer_err(v, &err);
		return;
	}
	v->waits = KVIEWER_WAITS_START;
	kernel_process_stop(v->k, KERNEL_STOP_RESTART);
}

static void call_shutdown(struct kviewer *v, yyjson_val *params)
{
	(void)params;
	v->waits = KVIEWER_WAITS_END;
	kernel_process_stop(v->k, KERNEL_STOP_END);
}

static int set_text(char **text, yyjson_val *params, const char *key, size_t max)
{
	const char *value = json_str(params, key, NULL);
	char *copy = value ? str_ndup(value, strnlen(value, max)) : NULL;
	if (value && !copy)
		return TL_E_NOMEM;
	if (copy) {
		free(*text);
		*text = copy;
	}
	return 0;
}

static void call_configure(struct kviewer *v, yyjson_val *params)
{
	struct kernel_plan *plan = &v->k->plan;
	const char *timeout = json_str(params, "shutdownTimeout", NULL);
	enum kernel_timeout t = v->k->policy.timeout;
	struct tl_err err = {0};
	if (timeout && !kernel_timeout_parse(timeout, &t))
		err_set(&err, TL_E_INVAL,
			"configure session %s: shutdownTimeout “%.40s” is none of immediately, "
			"when idle, 4, 8, 12, 24, 168, indefinitely",
			plan->id, timeout);
	else if (set_text(&plan->name, params, "name", TL_LIMIT_HOST_NAME) ||
		 set_text(&plan->tag, params, "tag", TL_LIMIT_PATH) ||
		 set_text(&plan->notebook, params, "notebook", TL_LIMIT_PATH))
		err_set(&err, TL_E_NOMEM, "configure session %s", plan->id);
	if (err.code) {
		answer_err(v, &err);
		return;
	}
	kernel_policy_set(&v->k->policy, t);
	kernel_reconsider(v->k);
	answer_ok(v, kernel_info);
}

static const struct {
	const char *name;
	void (*fn)(struct kviewer *v, yyjson_val *params);
} calls[] = {
    {"info", call_info},
    {"snapshot", call_snapshot},
    {"interrupt", call_interrupt},
    {"restart", call_restart},
    {"shutdown", call_shutdown},
    {"configure", call_configure},
    {"connection", call_connection},
};

void kernel_call(struct kviewer *v, struct tl_bytes json)
{
	struct tl_err err = {0};
	yyjson_doc *d = json_parse(json, NULL);
	const char *method = json_str(yyjson_doc_get_root(d), "method", "");
	size_t i = 0, n = sizeof(calls) / sizeof(calls[0]);
	while (i < n && strcmp(calls[i].name, method) != 0)
		i++;
	if (v->waits != KVIEWER_WAITS_NONE) {
		err_set(&err, TL_E_AGAIN, "order something of session %s: a call is under way",
			v->k->plan.id);
		answer_err(v, &err);
	} else if (i == n) {
		err_set(&err, TL_E_NOMETHOD, "a session has no method “%.60s”", method);
		answer_err(v, &err);
	} else {
		calls[i].fn(v, json_get(yyjson_doc_get_root(d), "params"));
	}
	yyjson_doc_free(d);
}
