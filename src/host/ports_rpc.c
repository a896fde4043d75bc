/* ports_rpc.c - the list as messages (see ports_state.h). A list is made only when the last message
 * has left, so a slow reader costs one message and gets the newest state when it comes back. */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/str.h"
#include "host/ports_state.h"

#define COMMAND_MAX 1024

/* ---- the list ---- */

static bool told_first(const struct ports_entry *a, const struct ports_entry *b, int *ret)
{
	int owned = (b->kind == ENTRY_OWNED) - (a->kind == ENTRY_OWNED);
	int port = (a->s.port > b->s.port) - (a->s.port < b->s.port);
	int family = a->s.family - b->s.family;

	*ret = owned ? owned : port ? port : family;
	return *ret != 0;
}

static int by_rank(const void *x, const void *y)
{
	const struct ports_entry *a = *(const struct ports_entry *const *)x,
				 *b = *(const struct ports_entry *const *)y;
	int rc;

	return told_first(a, b, &rc) ? rc
				     : memcmp(a->s.address, b->s.address, sizeof(a->s.address));
}

/* Several processes may listen on one port (SO_REUSEPORT): one entry is enough. */
static bool same_place(const struct ports_socket *a, const struct ports_socket *b)
{
	return a->port == b->port && a->family == b->family &&
	       memcmp(a->address, b->address, sizeof(a->address)) == 0;
}

static void add_process(yyjson_mut_doc *d, yyjson_mut_val *o, const struct ports_entry *e)
{
	char cmdline[COMMAND_MAX + 1], text[COMMAND_MAX + 1], path[64], cwd[TL_LIMIT_PATH];
	struct tl_bytes args =
	    bytes_of(cmdline, tree_read(e->pid, "cmdline", cmdline, sizeof(cmdline)));
	ssize_t n;

	yyjson_mut_obj_add_int(d, o, "pid", e->pid);
	proc_name(e->comm, args, text, sizeof(text));
	json_add_path(d, o, "process", text);
	proc_command(args, text, sizeof(text));
	if (text[0])
		json_add_path(d, o, "command", text);
	snprintf(path, sizeof(path), "/proc/%ld/cwd", (long)e->pid);
	n = readlink(path, cwd, sizeof(cwd) - 1);
	if (n > 0) {
		cwd[n] = 0;
		json_add_path(d, o, "cwd", cwd);
	}
}

static bool add_entry(yyjson_mut_doc *d, yyjson_mut_val *list, const struct ports_entry *e)
{
	char address[INET6_ADDRSTRLEN];
	yyjson_mut_val *o = yyjson_mut_arr_add_obj(d, list);

	if (!inet_ntop(e->s.family == 4 ? AF_INET : AF_INET6, e->s.address, address,
		       sizeof(address)))
		return false;
	yyjson_mut_obj_add_uint(d, o, "port", e->s.port);
	yyjson_mut_obj_add_strcpy(d, o, "address", address);
	yyjson_mut_obj_add_uint(d, o, "family", e->s.family);
	yyjson_mut_obj_add_uint(d, o, "uid", e->s.uid);
	if (e->pid)
		add_process(d, o, e);
	if (e->kind == ENTRY_OWNED)
		yyjson_mut_obj_add_strcpy(d, o, e->from.kernel ? "kernel" : "term", e->from.id);
	return yyjson_mut_obj_add_bool(d, o, "owned", e->kind == ENTRY_OWNED);
}

static const char *mode_name(const struct ports *o)
{
	return o->netlink >= 0 ? "netlink" : "proc";
}

yyjson_mut_doc *ports_document(struct ports *o, bool with_mode)
{
	const struct ports_entry **rank =
	    malloc((o->entry_count ? o->entry_count : 1) * sizeof(struct ports_entry *));
	yyjson_mut_doc *d = rank ? yyjson_mut_doc_new(NULL) : NULL;
	yyjson_mut_val *root = d ? yyjson_mut_obj(d) : NULL, *list;
	size_t n = 0, told = 0;

	for (size_t i = 0; d && i < o->entry_count; i++)
		if (o->entries[i].kind == ENTRY_OWNED || o->entries[i].kind == ENTRY_OTHER)
			rank[n++] = &o->entries[i];
	if (n > 1)
		qsort(rank, n, sizeof(struct ports_entry *), by_rank);
	if (d)
		yyjson_mut_doc_set_root(d, root);
	list = d ? yyjson_mut_obj_add_arr(d, root, "ports") : NULL;
	for (size_t i = 0; list && i < n && told < TL_LIMIT_PORTS; i++) {
		if (i && same_place(&rank[i]->s, &rank[i - 1]->s))
			continue;
		told += add_entry(d, list, rank[i]);
	}
	if (d && with_mode) {
		yyjson_mut_obj_add_str(d, root, "mode", mode_name(o));
		if (o->reason[0])
			yyjson_mut_obj_add_str(d, root, "reason", o->reason);
	}
	free(rank);
	return d;
}

/* ---- out ---- */

static void send_message(struct ports *o, const struct buf *message, int rc)
{
	if (!rc)
		rc = lsp_put(&o->out, buf_data(message));
	if (rc)
		o->ended = true; /* a message that cannot be sent must not be missing silently */
}

/* Takes d. */
static void notify(struct ports *o, const char *method, yyjson_mut_doc *d)
{
	struct buf m;

	buf_init(&m, TL_LIMIT_RPC_MESSAGE);
	send_message(o, &m, d ? jsonrpc_put_notification(&m, method, d) : TL_E_NOMEM);
	buf_fini(&m);
	yyjson_mut_doc_free(d);
}

static void report_state(struct ports *o)
{
	yyjson_mut_doc *d = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *obj = d ? yyjson_mut_obj(d) : NULL;

	o->state_wanted = false;
	if (d) {
		yyjson_mut_doc_set_root(d, obj);
		yyjson_mut_obj_add_str(d, obj, "mode", mode_name(o));
		if (o->reason[0])
			yyjson_mut_obj_add_str(d, obj, "reason", o->reason);
	}
	notify(o, "ports/state", d);
}

void ports_report(struct ports *o, uint64_t now_ms)
{
	if (o->out.len > 0)
		return;
	if (o->state_wanted)
		report_state(o);
	if (!o->dirty && !(o->others_dirty && now_ms >= o->others_at_ms))
		return;
	o->dirty = o->others_dirty = false;
	o->others_at_ms = now_ms + TL_LIMIT_PORTS_OTHERS_MS;
	notify(o, "ports/changed", ports_document(o, false));
}

/* ---- in ---- */

static void refuse(struct ports *o, const struct jsonrpc_msg *m, struct tl_err *err)
{
	struct buf answer;

	if (m)
		err_set(err, TL_E_NOMETHOD, "call %.100s: a stream of ports only tells", m->method);
	buf_init(&answer, TL_LIMIT_OPEN_LINE);
	send_message(o, &answer, jsonrpc_put_error(&answer, m ? m->id : NULL, err));
	buf_fini(&answer);
}

void ports_obey(struct ports *o)
{
	struct tl_bytes text;
	size_t used;
	int rc;

	while (!o->ended && o->out.len == 0 &&
	       (rc = lsp_next(buf_data(&o->in), &text, &used)) != 0) {
		struct jsonrpc_msg m;
		struct tl_err err = {0};
		if (rc < 0) {
			o->ended = true; /* where the next message starts is unknown */
			return;
		}
		if (jsonrpc_parse(text, &m, &err) != 0) {
			refuse(o, NULL, &err);
		} else {
			if (m.kind == JSONRPC_REQUEST)
				refuse(o, &m, &err);
			jsonrpc_fini(&m);
		}
		buf_consume(&o->in, used);
	}
	buf_shrink(&o->in);
}
