/* kernel_track.c - see kernel_track.h. */
#include "host/kernel_track.h"

#include <stdlib.h>

#include "base/limits.h"
#include "base/str.h"

#define CODE_MAX 16384 /* of an execution's code that is shown */
#define DATA_MAX 65536 /* of a comm's opening that is kept */

/* An execution that was asked for and has not ended. */
struct track_exec {
	struct list node;
	char id[JUPYTER_ID_MAX], session[JUPYTER_ID_MAX];
	char *code;
	uint64_t since_ms; /* asked, then begun */
	bool running;
};

struct track_comm {
	struct list node;
	char id[JUPYTER_ID_MAX];
	char *content; /* of its comm_open; NULL: too large */
	char target[JUPYTER_ID_MAX];
};

void kernel_track_init(struct kernel_track *t, uint64_t now_ms)
{
	*t = (struct kernel_track){.changed_ms = now_ms, .active_ms = now_ms};
	list_init(&t->queue);
	list_init(&t->comms);
}

static void exec_free(struct kernel_track *t, struct track_exec *e)
{
	list_del(&e->node);
	t->queue_count--;
	free(e->code);
	free(e);
}

static void comm_free(struct kernel_track *t, struct track_comm *c)
{
	list_del(&c->node);
	t->comm_count--;
	free(c->content);
	free(c);
}

static void input_forget(struct kernel_track *t)
{
	free(t->input_header);
	free(t->input_content);
	t->input_header = t->input_content = NULL;
	t->input_id[0] = 0;
}

static void state_changed(struct kernel_track *t, uint64_t now_ms)
{
	bool busy = kernel_track_is_busy(t);
	if (busy != t->was_busy)
		t->changed_ms = now_ms;
	t->was_busy = busy;
}

void kernel_track_restart(struct kernel_track *t, uint64_t now_ms)
{
	LIST_FOREACH_SAFE (it, &t->queue)
		exec_free(t, list_entry(it, struct track_exec, node));
	LIST_FOREACH_SAFE (it, &t->comms)
		comm_free(t, list_entry(it, struct track_comm, node));
	input_forget(t);
	t->busy_count = 0;
	t->cut = false;
	state_changed(t, now_ms);
}

void kernel_track_fini(struct kernel_track *t)
{
	kernel_track_restart(t, 0);
	free(t->kernel_info);
	t->kernel_info = NULL;
}

bool kernel_track_is_busy(const struct kernel_track *t)
{
	return t->busy_count > 0 || t->queue_count > 0;
}

/* ---- executions ---- */

static struct track_exec *exec_find(struct kernel_track *t, const char *id)
{
	LIST_FOREACH (it, &t->queue) {
		struct track_exec *e = list_entry(it, struct track_exec, node);
		if (strcmp(e->id, id) == 0)
			return e;
	}
	return NULL;
}

static struct track_exec *exec_add(struct kernel_track *t, const struct jupyter_head *head,
				   struct tl_bytes content, uint64_t now_ms)
{
	struct track_exec *e;
	yyjson_doc *d;
	const char *code;
	if (t->queue_count >= TL_LIMIT_KERNEL_QUEUE || !(e = calloc(1, sizeof(*e)))) {
		t->cut = true;
		return NULL;
	}
	d = json_parse(content, NULL);
	code = json_str(yyjson_doc_get_root(d), "code", "");
	size_t n = strnlen(code, CODE_MAX);
	/* not through the middle of a character */
	while (n == CODE_MAX && n > 0 && ((uint8_t)code[n] & 0xc0) == 0x80)
		n--;
	e->code = str_ndup(code, n);
	yyjson_doc_free(d);
	str_copy(e->id, sizeof(e->id), head->id);
	str_copy(e->session, sizeof(e->session), head->session);
	e->since_ms = now_ms;
	list_add_tail(&t->queue, &e->node);
	t->queue_count++;
	return e;
}

static void exec_begun(struct kernel_track *t, const struct jupyter_head *parent,
		       struct tl_bytes content, uint64_t now_ms)
{
	struct track_exec *e = exec_find(t, parent->id);
	/* somebody with the connection file asked */
	if (!e)
		e = exec_add(t, parent, content, now_ms);
	t->executions++;
	if (e) {
		e->running = true;
		e->since_ms = now_ms;
	}
}

static void exec_ended(struct kernel_track *t, const char *id)
{
	struct track_exec *e = exec_find(t, id);
	if (e)
		exec_free(t, e);
	input_forget(t);
}

/* ---- comms ---- */

static struct track_comm *comm_find(struct kernel_track *t, const char *id)
{
	LIST_FOREACH (it, &t->comms) {
		struct track_comm *c = list_entry(it, struct track_comm, node);
		if (strcmp(c->id, id) == 0)
			return c;
	}
	return NULL;
}

static void comm_open(struct kernel_track *t, yyjson_val *root, struct tl_bytes content)
{
	const char *id = json_str(root, "comm_id", "");
	struct track_comm *c = *id ? comm_find(t, id) : NULL;
	if (!*id || strlen(id) >= JUPYTER_ID_MAX)
		return;
	if (c)
		comm_free(t, c);
	if (t->comm_count >= TL_LIMIT_KERNEL_COMMS || !(c = calloc(1, sizeof(*c)))) {
		t->cut = true;
		return;
	}
	str_copy(c->id, sizeof(c->id), id);
	str_copy(c->target, sizeof(c->target), json_str(root, "target_name", ""));
	c->content = content.n <= DATA_MAX ? str_ndup(content.p, content.n) : NULL;
	t->cut |= !c->content;
	list_add_tail(&t->comms, &c->node);
	t->comm_count++;
}

static void comm_seen(struct kernel_track *t, const char *type, struct tl_bytes content)
{
	yyjson_doc *d = json_parse(content, NULL);
	yyjson_val *root = yyjson_doc_get_root(d);
	if (strcmp(type, "comm_open") == 0) {
		comm_open(t, root, content);
	} else if (strcmp(type, "comm_close") == 0) {
		struct track_comm *c = comm_find(t, json_str(root, "comm_id", ""));
		if (c)
			comm_free(t, c);
	}
	yyjson_doc_free(d);
}

/* ---- busy and idle ---- */

static void busy_add(struct kernel_track *t, const char *id)
{
	for (size_t i = 0; i < t->busy_count; i++)
		if (strcmp(t->busy[i], id) == 0)
			return;
	if (t->busy_count < KERNEL_TRACK_BUSY)
		str_copy(t->busy[t->busy_count++], JUPYTER_ID_MAX, id);
}

static void busy_remove(struct kernel_track *t, const char *id)
{
	for (size_t i = 0; i < t->busy_count; i++) {
		if (strcmp(t->busy[i], id) == 0) {
			t->busy_count--;
			memmove(t->busy[i], t->busy[t->busy_count], JUPYTER_ID_MAX);
			return;
		}
	}
}

static void status_seen(struct kernel_track *t, const struct jupyter_head *parent,
			struct tl_bytes content)
{
	yyjson_doc *d = json_parse(content, NULL);
	const char *state = json_str(yyjson_doc_get_root(d), "execution_state", "");
	if (strcmp(state, "busy") == 0) {
		busy_add(t, parent->id);
	} else if (strcmp(state, "idle") == 0) {
		busy_remove(t, parent->id);
		struct track_exec *e = exec_find(t, parent->id);
		/* its reply is on the other channel, and may come later or have been lost */
		if (e && e->running)
			exec_ended(t, parent->id);
	}
	yyjson_doc_free(d);
}

/* ---- messages ---- */

bool kernel_track_sent(struct kernel_track *t, enum jupyter_channel c,
		       const struct jupyter_head *head, struct tl_bytes content, uint64_t now_ms)
{
	t->active_ms = now_ms;
	if (c == JUPYTER_STDIN) {
		if (!t->input_content || strcmp(head->type, "input_reply") != 0)
			return false;
		input_forget(t);
	} else if (c == JUPYTER_SHELL && strcmp(head->type, "execute_request") == 0) {
		exec_add(t, head, content, now_ms);
	} else if (str_starts(head->type, "comm_")) {
		comm_seen(t, head->type, content);
	}
	state_changed(t, now_ms);
	return true;
}

static void reply_seen(struct kernel_track *t, const char *type, const struct jupyter_head *parent,
		       struct tl_bytes content)
{
	if (strcmp(type, "execute_reply") == 0) {
		exec_ended(t, parent->id);
	} else if (strcmp(type, "kernel_info_reply") == 0) {
		char *copy = content.n <= DATA_MAX ? str_ndup(content.p, content.n) : NULL;
		if (copy) {
			free(t->kernel_info);
			t->kernel_info = copy;
		}
	}
}

void kernel_track_received(struct kernel_track *t, enum jupyter_channel c,
			   const struct jupyter_head *head, const struct jupyter_head *parent,
			   struct tl_bytes header, struct tl_bytes content, uint64_t now_ms)
{
	if (c == JUPYTER_STDIN && strcmp(head->type, "input_request") == 0) {
		input_forget(t);
		t->input_header = str_ndup(header.p, header.n);
		t->input_content = str_ndup(content.p, content.n);
		str_copy(t->input_id, sizeof(t->input_id), head->id);
	} else if (c == JUPYTER_SHELL || c == JUPYTER_CONTROL) {
		reply_seen(t, head->type, parent, content);
	} else if (c == JUPYTER_IOPUB && strcmp(head->type, "status") == 0) {
		status_seen(t, parent, content);
	} else if (c == JUPYTER_IOPUB && strcmp(head->type, "execute_input") == 0) {
		exec_begun(t, parent, content, now_ms);
	} else if (c == JUPYTER_IOPUB && str_starts(head->type, "comm_")) {
		comm_seen(t, head->type, content);
	}
	t->active_ms = now_ms;
	state_changed(t, now_ms);
}

/* ---- as JSON ---- */

/* A text of JSON as a member; what is no JSON becomes null. */
static void put_text(yyjson_mut_doc *d, yyjson_mut_val *o, const char *key, const char *text)
{
	yyjson_doc *doc = text ? json_parse(bytes_str(text), NULL) : NULL;
	yyjson_val *root = yyjson_doc_get_root(doc);
	yyjson_mut_val *v = root ? yyjson_val_mut_copy(d, root) : yyjson_mut_null(d);
	yyjson_mut_obj_add_val(d, o, key, v);
	yyjson_doc_free(doc);
}

static yyjson_mut_val *put_exec(yyjson_mut_doc *d, const struct track_exec *e)
{
	yyjson_mut_val *o = yyjson_mut_obj(d);
	json_add_path(d, o, "msgId", e->id);
	json_add_path(d, o, "session", e->session);
	json_add_path(d, o, "code", e->code ? e->code : "");
	yyjson_mut_obj_add_uint(d, o, "sinceMs", e->since_ms);
	return o;
}

static void put_comms(const struct kernel_track *t, yyjson_mut_doc *d, yyjson_mut_val *arr)
{
	size_t sum = 0;
	LIST_FOREACH (it, &t->comms) {
		const struct track_comm *c = list_entry(it, struct track_comm, node);
		yyjson_doc *doc = NULL;
		/* a snapshot has a bound; the kernel itself tells a comm's state when asked */
		if (c->content && sum + strlen(c->content) < TL_LIMIT_KERNEL_SNAPSHOT / 4)
			doc = json_parse(bytes_str(c->content), NULL);
		sum += doc ? strlen(c->content) : 0;
		yyjson_mut_val *o = yyjson_mut_obj(d);
		yyjson_val *data = json_get(yyjson_doc_get_root(doc), "data");
		yyjson_val *meta = json_get(yyjson_doc_get_root(doc), "metadata");
		json_add_path(d, o, "comm_id", c->id);
		json_add_path(d, o, "target_name", c->target);
		yyjson_mut_obj_add_val(d, o, "data",
				       data ? yyjson_val_mut_copy(d, data) : yyjson_mut_obj(d));
		yyjson_mut_obj_add_val(d, o, "metadata",
				       meta ? yyjson_val_mut_copy(d, meta) : yyjson_mut_obj(d));
		yyjson_mut_arr_append(arr, o);
		yyjson_doc_free(doc);
	}
}

bool kernel_track_put(const struct kernel_track *t, yyjson_mut_doc *d, yyjson_mut_val *obj)
{
	yyjson_mut_val *queue = yyjson_mut_arr(d), *running = NULL, *comms = yyjson_mut_arr(d);
	size_t code = 0;
	bool cut = t->cut;
	put_text(d, obj, "kernelInfo", t->kernel_info);
	LIST_FOREACH (it, &t->queue) {
		const struct track_exec *e = list_entry(it, struct track_exec, node);
		code += e->code ? strlen(e->code) : 0;
		if (code > TL_LIMIT_KERNEL_SNAPSHOT / 4) {
			cut = true;
			break;
		}
		if (e->running && !running)
			running = put_exec(d, e);
		else
			yyjson_mut_arr_append(queue, put_exec(d, e));
	}
	yyjson_mut_obj_add_val(d, obj, "running", running ? running : yyjson_mut_null(d));
	yyjson_mut_obj_add_val(d, obj, "queue", queue);
	if (t->input_content && strlen(t->input_content) < DATA_MAX) {
		yyjson_mut_val *in = yyjson_mut_obj(d);
		put_text(d, in, "header", t->input_header);
		put_text(d, in, "content", t->input_content);
		yyjson_mut_obj_add_val(d, obj, "input", in);
	} else {
		yyjson_mut_obj_add_null(d, obj, "input");
	}
	put_comms(t, d, comms);
	yyjson_mut_obj_add_val(d, obj, "comms", comms);
	return !cut || yyjson_mut_obj_add_bool(d, obj, "cut", true);
}
