/* hub_rpc.c - calls to the agent on the host's rpc stream: framing, ids, exactly one answer each.
 */
#include "hub/hub_priv.h"

#include <stdlib.h>

#include "base/log.h"

struct hub_rpc {
	struct session_stream *stream;
	struct buf in, out;
	bool answered; /* the opening line was answered */
	int64_t next_id;
	struct list calls;
};

struct hub_call {
	struct list node, client_node;
	int64_t id;
	hub_rpc_done *done;
	void *ctx;
	bool has_client, orphan;
};

static void flush(struct hub_host *hh)
{
	struct hub_rpc *r = hh->rpc;

	while (r->out.len > 0) {
		long n = session_write(r->stream, buf_data(&r->out));
		if (n <= 0)
			break;
		buf_consume(&r->out, (size_t)n);
	}
	buf_shrink(&r->out);
}

int rpc_open(struct hub_host *hh)
{
	struct hub_rpc *r = calloc(1, sizeof(*r));

	if (!r)
		return TL_E_NOMEM;
	r->stream = session_open(hh->session, SESSION_CONTROL);
	if (!r->stream) {
		free(r);
		return TL_E_LIMIT;
	}
	session_stream_set_user(r->stream, hh);
	buf_init(&r->in, TL_LIMIT_RPC_MESSAGE + TL_LIMIT_LSP_HEADER);
	buf_init(&r->out, TL_LIMIT_RPC_MESSAGE + TL_LIMIT_LSP_HEADER);
	list_init(&r->calls);
	r->next_id = 1;
	hh->rpc = r;
	buf_put_str(&r->out, "{\"open\":\"rpc\",\"urls\":true}\n");
	flush(hh);
	return 0;
}

static void call_end(struct hub_call *c, const struct jsonrpc_msg *m, const struct tl_err *e)
{
	list_del(&c->node);
	if (c->has_client)
		list_del(&c->client_node);
	if (c->orphan)
		free(c->ctx);
	else
		c->done(c->ctx, m, e);
	free(c);
}

void rpc_close(struct hub_host *hh, const struct tl_err *why)
{
	struct hub_rpc *r = hh->rpc;
	struct tl_err e = *why;

	if (!r)
		return;
	hh->rpc = NULL;
	LIST_FOREACH_SAFE (it, &r->calls)
		call_end(list_entry(it, struct hub_call, node), NULL, &e);
	buf_fini(&r->in);
	buf_fini(&r->out);
	free(r);
}

void rpc_call(struct hub_host *hh, struct hub_client *client, const char *method,
	      struct tl_bytes params, hub_rpc_done *done, void *ctx)
{
	struct hub_rpc *r = hh->rpc;
	struct hub_call *c;
	struct buf msg;
	struct tl_err e;

	if (!r) {
		err_set(&e, TL_E_NOHOST, "not connected to %s", hh->name);
		done(ctx, NULL, &e);
		return;
	}
	c = calloc(1, sizeof(*c));
	buf_init(&msg, TL_LIMIT_RPC_MESSAGE);
	if (!c || jsonrpc_put_request_text(&msg, r->next_id, method, params) != 0 ||
	    lsp_put(&r->out, buf_data(&msg)) != 0) {
		free(c);
		buf_fini(&msg);
		err_set(&e, TL_E_LIMIT, "cannot call %s on %s: too much is waiting", method,
			hh->name);
		done(ctx, NULL, &e);
		return;
	}
	buf_fini(&msg);
	c->id = r->next_id++;
	c->done = done;
	c->ctx = ctx;
	list_add_tail(&r->calls, &c->node);
	if (client) {
		c->has_client = true;
		list_add_tail(&client->calls, &c->client_node);
	}
	flush(hh);
	pump_kick(&hh->pump);
}

void rpc_client_gone(struct hub_client *client)
{
	LIST_FOREACH_SAFE (it, &client->calls) {
		struct hub_call *c = list_entry(it, struct hub_call, client_node);
		list_del(&c->client_node);
		c->has_client = false;
		c->orphan = true;
	}
}

static void take_message(struct hub_host *hh, struct tl_bytes text)
{
	struct jsonrpc_msg m;
	struct tl_err e = {0};
	int64_t id;

	if (jsonrpc_parse(text, &m, &e) != 0) {
		log_line(LOG_WARN, hh->name, "the server sent nonsense: %s", e.text);
		return;
	}
	if (m.kind == JSONRPC_NOTIFICATION && strcmp(m.method, "host/openUrl") == 0)
		url_open(hh, m.params);
	id = m.kind == JSONRPC_RESPONSE && yyjson_is_int(m.id) ? yyjson_get_sint(m.id) : -1;
	LIST_FOREACH_SAFE (it, &hh->rpc->calls) {
		struct hub_call *c = list_entry(it, struct hub_call, node);
		if (c->id != id)
			continue;
		if (m.error) {
			jsonrpc_error_of(&m, &e);
			call_end(c, NULL, &e);
		} else {
			call_end(c, &m, NULL);
		}
		break;
	}
	jsonrpc_fini(&m);
}

/* Parses what is complete; false when the stream is useless. A callback may close the rpc. */
static bool take_all(struct hub_host *hh)
{
	struct tl_bytes msg;
	size_t used;
	int rc;

	while (hh->rpc) {
		struct hub_rpc *r = hh->rpc;
		if (!r->answered) {
			rc = open_next_line(buf_data(&r->in), &msg, &used);
			if (rc <= 0)
				return rc == 0;
			r->answered = true;
			buf_consume(&r->in, used);
			continue;
		}
		rc = lsp_next(buf_data(&r->in), &msg, &used);
		if (rc <= 0)
			return rc == 0;
		take_message(hh, msg);
		if (hh->rpc == r)
			buf_consume(&r->in, used);
	}
	return true;
}

void rpc_event(struct hub_host *hh, struct session_event *ev)
{
	struct hub_rpc *r = hh->rpc;
	struct tl_bytes b;
	struct tl_err e;
	bool ok = true;

	if (!r || ev->stream != r->stream)
		return;
	if (ev->type == SESSION_EV_WRITABLE)
		flush(hh);
	if (ev->type == SESSION_EV_READABLE) {
		while (ok && hh->rpc == r && (b = session_peek(r->stream)).n > 0) {
			size_t n = b.n < buf_room(&r->in) ? b.n : buf_room(&r->in);
			ok = n > 0 && buf_put(&r->in, b.p, n) == 0;
			if (ok)
				session_consume(r->stream, n);
			ok = ok && take_all(hh);
		}
		if (hh->rpc == r && ok)
			buf_shrink(&r->in);
	}
	if (hh->rpc != r)
		return;
	if (ev->type == SESSION_EV_CLOSED || !ok || session_eof(r->stream)) {
		if (ev->type != SESSION_EV_CLOSED) {
			session_stream_set_user(r->stream, NULL);
			session_reset(r->stream);
		}
		err_set(&e, TL_E_CLOSED, "the server on %s ended the control stream", hh->name);
		rpc_close(hh, &e);
		if (hh->session && session_is_up(hh->session) && rpc_open(hh) != 0)
			log_line(LOG_ERROR, hh->name, "cannot open the control stream again");
	}
}
