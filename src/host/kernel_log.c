/* kernel_log.c - what goes into a session's journal: the kernel's messages as they came, what the
 * process itself printed, and what the hold has to tell. */
#include <stdlib.h>

#include "base/log.h"
#include "host/kernel_state.h"
#include "host/ports_session.h"

/* Appends a record; what does not fit is replaced by a LOST. */
static void put_record(struct kernel *k, uint8_t kind, uint8_t channel,
		       const struct tl_bytes *parts, size_t n)
{
	struct tl_bytes *pieces = calloc(n + 1, sizeof(*pieces));
	struct buf head;
	size_t sum = 0;
	buf_init(&head, KERNEL_RECORD_HEAD + 4 * TL_LIMIT_KERNEL_PARTS);
	int rc = pieces ? kernel_record_put_head(&head, kind, channel, clock_wall_ms(), parts, n)
			: TL_E_NOMEM;
	if (!rc) {
		pieces[0] = buf_data(&head);
		for (size_t i = 0; i < n; i++)
			pieces[i + 1] = parts[i];
		rc = journal_put(&k->journal, pieces, n + 1);
	}
	buf_fini(&head);
	free(pieces);
	if (!rc || kind == KERNEL_RECORD_LOST)
		return;
	for (size_t i = 0; i < n; i++)
		sum += parts[i].n;
	kernel_log_lost(k, kind == KERNEL_RECORD_MESSAGE ? jupyter_channel_name(channel) : "output",
			sum, rc == TL_E_LIMIT ? "it is larger than the log" : err_row(rc)->what);
}

static void put_json(struct kernel *k, uint8_t kind, yyjson_mut_doc *d)
{
	struct buf text;
	buf_init(&text, 65536);
	if (json_write(&text, d) == 0) {
		struct tl_bytes part = buf_data(&text);
		put_record(k, kind, 0, &part, 1);
	}
	buf_fini(&text);
	yyjson_mut_doc_free(d);
}

void kernel_log_lost(struct kernel *k, const char *channel, uint64_t bytes, const char *reason)
{
	yyjson_mut_doc *d = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *o = yyjson_mut_obj(d);
	log_warn("session %s: lost on %s: %s", k->plan.id, channel, reason);
	yyjson_mut_doc_set_root(d, o);
	yyjson_mut_obj_add_str(d, o, "channel", channel);
	yyjson_mut_obj_add_uint(d, o, "bytes", bytes);
	yyjson_mut_obj_add_str(d, o, "reason", reason);
	put_json(k, KERNEL_RECORD_LOST, d);
}

void kernel_log_state(struct kernel *k, const char *state, const char *key, const char *value)
{
	yyjson_mut_doc *d = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *o = yyjson_mut_obj(d);
	yyjson_mut_doc_set_root(d, o);
	yyjson_mut_obj_add_str(d, o, "state", state);
	if (key && value)
		json_add_path(d, o, key, value);
	if (k->has_exit && k->phase == KERNEL_DEAD) {
		yyjson_mut_val *e = yyjson_mut_obj_add_obj(d, o, "exit");
		yyjson_mut_obj_add_str(d, e, "kind", k->exit.kind ? "signal" : "exit");
		yyjson_mut_obj_add_uint(d, e, "value", k->exit.value);
	}
	put_json(k, KERNEL_RECORD_STATE, d);
}

void kernel_log_output(struct kernel *k, uint8_t which, struct tl_bytes text)
{
	ring_put_drop(&k->output, text.p, text.n);
	if (!k->output_left)
		return;
	if (text.n > k->output_left) {
		text.n = k->output_left;
		put_record(k, KERNEL_RECORD_OUTPUT, which, &text, 1);
		kernel_log_lost(k, "output", 0, "the process itself prints too much");
		k->output_left = 0;
		return;
	}
	k->output_left -= text.n;
	put_record(k, KERNEL_RECORD_OUTPUT, which, &text, 1);
}

/* ---- the kernel's messages ---- */

/* libzmq drops what a PUB socket has queued beyond 1,000 messages, silently. ipykernel prints
 * faster than its own sending thread is scheduled on a busy machine, however fast we read; so its
 * queue is made longer, in the thread that owns the socket, before anybody's code runs. */
static void lengthen_queue(struct kernel *k, struct tl_bytes content)
{
	static const char order[] =
	    "{\"code\":\"get_ipython().kernel.iopub_thread.schedule(lambda: "
	    "get_ipython().kernel.iopub_thread.socket.setsockopt(__import__('zmq').SNDHWM, "
	    "1000000))\","
	    "\"silent\":true,\"store_history\":false,\"user_expressions\":{},"
	    "\"allow_stdin\":false,\"stop_on_error\":false}";
	yyjson_doc *d = json_parse(content, NULL);
	const char *name = json_str(yyjson_doc_get_root(d), "implementation", "");
	if (strcmp(name, "ipython") == 0)
		kernel_chan_ask(&k->chan[JUPYTER_SHELL], "execute_request", order);
	yyjson_doc_free(d);
}

/* An answer to ourselves: it tells that the kernel is there. */
static void own_message(struct kernel *k, enum jupyter_channel c, const struct jupyter_head *head,
			const struct jupyter_head *parent, const struct tl_bytes *parts)
{
	if (c == JUPYTER_IOPUB) {
		k->iopub_answers = true;
	} else if (strcmp(head->type, "kernel_info_reply") == 0) {
		kernel_track_received(&k->track, c, head, parent, parts[JUPYTER_HEADER],
				      parts[JUPYTER_CONTENT], k->track.active_ms);
		if (!k->shell_answers) {
			/* before anybody's code: what came meanwhile waits behind our question */
			session_sockets_note(k->plan.dir, k->child.pid);
			lengthen_queue(k, parts[JUPYTER_CONTENT]);
		}
		k->shell_answers = true;
	}
	if (k->phase == KERNEL_STARTING && k->shell_answers && k->iopub_answers && !k->stop) {
		k->phase = KERNEL_READY;
		kernel_log_state(k, "ready", NULL, NULL);
		kernel_start_done(k, NULL);
	}
}

void kernel_log_message(struct kernel *k, enum jupyter_channel c, const struct tl_bytes *parts,
			size_t n)
{
	struct jupyter_head head, parent;
	size_t first = 0, sum = 0;
	int rc = jupyter_open(parts, n, bytes_str(k->key), &first);
	if (!rc) {
		parts += first;
		n -= first;
		rc = jupyter_head_parse(parts[JUPYTER_HEADER], &head);
	}
	if (rc) {
		for (size_t i = 0; i < n; i++)
			sum += parts[i].n;
		kernel_log_lost(k, jupyter_channel_name(c), sum,
				rc == TL_E_ACCES ? "its signature is wrong" : "it is no message");
		return;
	}
	if (jupyter_head_parse(parts[JUPYTER_PARENT], &parent) != 0)
		parent = (struct jupyter_head){0};
	if (strcmp(parent.session, k->session) == 0) {
		own_message(k, c, &head, &parent, parts);
		return;
	}
	kernel_track_received(&k->track, c, &head, &parent, parts[JUPYTER_HEADER],
			      parts[JUPYTER_CONTENT], clock_wall_ms());
	if (c == JUPYTER_IOPUB && strcmp(head.type, "execute_input") == 0)
		k->output_left = TL_LIMIT_KERNEL_OUTPUT;
	put_record(k, KERNEL_RECORD_MESSAGE, (uint8_t)c, parts, n);
}
