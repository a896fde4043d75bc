/* edge.c - what all kinds of clients share: JSON-RPC messages and hello, then perhaps a stream with
 * back-pressure; and the start and the end of the whole room. Owns the list of clients; a client's
 * memory belongs to its kind. Invariant: the hub hears of a client only while it is ready, and
 * never after on_gone. */
#include "edge/edge_priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "base/str.h"

/* turns of the loop the library's own handles get to close */
#define CLOSE_TURNS 4

void client_init(struct edge_client *c, struct edge *e, enum edge_kind kind,
		 const struct edge_face *face)
{
	c->edge = e;
	c->kind = kind;
	c->face = face;
	buf_init(&c->in, kind == EDGE_CONTROL ? TL_LIMIT_RPC_MESSAGE + TL_LIMIT_LSP_HEADER
					      : TL_LIMIT_WS_MESSAGE);
	list_add_tail(&e->clients, &c->node);
}

static void count_window(struct edge_client *c, int by)
{
	if (c->kind == EDGE_WINDOW && c->ready && !c->stream)
		c->edge->windows += (size_t)by;
}

void client_gone(struct edge_client *c)
{
	struct edge *e = c->edge;

	count_window(c, -1);
	list_del(&c->node);
	c->closing = true;
	if (c->ready)
		e->ops.on_gone(e->ops.ctx, c);
	c->ready = false;
	buf_fini(&c->in);
}

/* ---- messages ---- */

void client_error(struct edge_client *c, yyjson_val *id, const struct tl_err *err)
{
	struct buf b;

	buf_init(&b, TL_LIMIT_RPC_MESSAGE);
	if (jsonrpc_put_error(&b, id, err) == 0)
		c->face->send(c, buf_data(&b));
	buf_fini(&b);
}

void client_result(struct edge_client *c, yyjson_val *id, yyjson_mut_doc *result)
{
	struct buf b;

	buf_init(&b, TL_LIMIT_RPC_MESSAGE);
	if (jsonrpc_put_result(&b, id, result) == 0)
		c->face->send(c, buf_data(&b));
	buf_fini(&b);
	yyjson_mut_doc_free(result);
}

static void reply_hello(struct edge_client *c, const struct jsonrpc_msg *m)
{
	struct edge *e = c->edge;
	yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *o = yyjson_mut_obj(doc);

	yyjson_mut_doc_set_root(doc, o);
	yyjson_mut_obj_add_str(doc, o, "version", e->version);
	yyjson_mut_obj_add_int(doc, o, "pid", getpid());
	yyjson_mut_obj_add_str(doc, o, "origin", e->origin[EDGE_PORT_WINDOW]);
	yyjson_mut_obj_add_str(doc, o, "frameOrigin", e->origin[EDGE_PORT_FRAME]);
	client_result(c, m->id, doc);
}

/* What this room answers by itself. */
static const struct {
	const char *method;
	void (*answer)(struct edge_client *c, const struct jsonrpc_msg *m);
} own[] = {
    {"hello", reply_hello},
    {"window/ticket", ticket_request},
};

static void answer(struct edge_client *c, const struct jsonrpc_msg *m)
{
	struct edge *e = c->edge;

	for (size_t i = 0; m->kind == JSONRPC_REQUEST && i < sizeof(own) / sizeof(own[0]); i++) {
		if (strcmp(m->method, own[i].method) == 0) {
			own[i].answer(c, m);
			return;
		}
	}
	e->ops.on_message(e->ops.ctx, c, m);
}

/* A window's first message must be hello with the right token. */
static void take_hello(struct edge_client *c, const struct jsonrpc_msg *m)
{
	struct tl_err err;
	const char *token;

	if (m->kind != JSONRPC_REQUEST || strcmp(m->method, "hello") != 0) {
		err_set(&err, TL_E_TOKEN, "the first message of a window must be hello");
		client_error(c, m->id, &err);
		c->face->close(c, WS_CLOSE_TOKEN);
		return;
	}
	token = json_str(m->params, "token", "");
	if (!str_equal_secret(token, c->edge->token)) {
		log_warn("a window came with a wrong token");
		c->face->close(c, WS_CLOSE_TOKEN);
		return;
	}
	c->ready = true;
	count_window(c, 1);
	c->face->mode_changed(c);
	reply_hello(c, m);
}

void client_message(struct edge_client *c, struct tl_bytes text)
{
	struct jsonrpc_msg m;
	struct tl_err err = {0};

	if (jsonrpc_parse(text, &m, &err) != 0) {
		if (c->ready)
			client_error(c, NULL, &err);
		c->face->close(c, WS_CLOSE_BASE - TL_E_PROTO);
		return;
	}
	if (!c->ready)
		take_hello(c, &m);
	else
		answer(c, &m);
	jsonrpc_fini(&m);
}

/* ---- streams ---- */

/* Offers what is kept. A callee may ask for more in the middle of its own call
 * (edge_stream_resume): then the offer is repeated, never nested. */
static void push(struct edge_client *c)
{
	struct edge *e = c->edge;
	size_t n;

	if (c->pushing) {
		c->push_again = true;
		return;
	}
	c->pushing = true;
	while (c->in.len > 0 && !c->closing) {
		c->push_again = false;
		n = e->ops.on_stream_data(e->ops.ctx, c, buf_data(&c->in));
		buf_consume(&c->in, n);
		if (n == 0 && !c->push_again)
			break;
	}
	c->pushing = false;
	if (c->closing)
		return;
	c->face->want_read(c, c->in.len == 0);
	if (c->in.len == 0) {
		buf_shrink(&c->in);
		if (c->eof && !c->eof_told) {
			c->eof_told = true;
			e->ops.on_stream_eof(e->ops.ctx, c);
		}
	}
}

void client_stream_in(struct edge_client *c, struct tl_bytes in)
{
	struct edge *e = c->edge;
	size_t n = 0;

	if (c->closing)
		return;
	if (c->in.len == 0 && !c->pushing) {
		c->pushing = true;
		n = e->ops.on_stream_data(e->ops.ctx, c, in);
		c->pushing = false;
		if (n == in.n || c->closing)
			return;
	}
	if (buf_put(&c->in, in.p + n, in.n - n) != 0) {
		c->face->close(c, WS_CLOSE_BASE - TL_E_LIMIT);
		return;
	}
	if (c->push_again)
		push(c);
	else
		c->face->want_read(c, false);
}

void client_stream_eof(struct edge_client *c)
{
	c->eof = true;
	push(c);
}

void client_writable(struct edge_client *c)
{
	if (!c->wants_write || c->closing || c->finishing)
		return;
	c->wants_write = false;
	c->edge->ops.on_stream_writable(c->edge->ops.ctx, c);
}

/* ---- what the hub calls ---- */

enum edge_kind edge_client_kind(const struct edge_client *c)
{
	return c->kind;
}

void edge_client_set_user(struct edge_client *c, void *user)
{
	c->user = user;
}

void *edge_client_user(const struct edge_client *c)
{
	return c->user;
}

void edge_client_send(struct edge_client *c, struct tl_bytes message)
{
	if (!c->closing && !c->stream)
		c->face->send(c, message);
}

void edge_client_become_stream(struct edge_client *c)
{
	if (c->closing || c->stream)
		return;
	count_window(c, -1);
	c->stream = true;
	c->face->mode_changed(c);
}

size_t edge_stream_write(struct edge_client *c, struct tl_bytes b)
{
	size_t n;

	if (c->closing || c->finishing)
		return b.n;
	n = c->face->write(c, b);
	if (n < b.n)
		c->wants_write = true;
	return n;
}

void edge_stream_resume(struct edge_client *c)
{
	if (c->stream && !c->closing)
		push(c);
}

void edge_stream_finish(struct edge_client *c)
{
	if (c->closing || c->finishing)
		return;
	c->finishing = true;
	c->face->finish(c);
}

void edge_client_close(struct edge_client *c, int error)
{
	if (!c->closing)
		c->face->close(c, error ? WS_CLOSE_BASE - error : WS_CLOSE_DONE);
}

int edge_port(const struct edge *e)
{
	return e->tcp[EDGE_PORT_WINDOW].port;
}

int edge_frame_port(const struct edge *e)
{
	return e->tcp[EDGE_PORT_FRAME].port;
}

size_t edge_window_count(const struct edge *e)
{
	return e->windows;
}

/* ---- start and end ---- */

/* Addresses and policies that name the ports, once they are known. */
static void name_ports(struct edge *e)
{
	int p = edge_port(e), f = edge_frame_port(e);

	for (int i = 0; i < EDGE_PORTS; i++) {
		snprintf(e->host[i], sizeof(e->host[i]), "localhost:%d", e->tcp[i].port);
		snprintf(e->origin[i], sizeof(e->origin[i]), "http://localhost:%d", e->tcp[i].port);
	}
	snprintf(
	    e->policy[EDGE_PORT_WINDOW], sizeof(e->policy[0]),
	    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self' blob:; "
	    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self'; "
	    "media-src 'self'; connect-src 'self' ws://localhost:%d; "
	    "frame-src http://localhost:%d; manifest-src 'self'; base-uri 'none'; "
	    "form-action 'none'; frame-ancestors 'none'",
	    p, f);
	snprintf(e->policy[EDGE_PORT_FRAME], sizeof(e->policy[0]),
		 "frame-ancestors 'self' http://localhost:%d", p);
}

static void edge_free(struct edge *e)
{
	free(e->ui_dir);
	free(e->token);
	free(e->version);
	free(e->control_path);
	ticket_fini(e);
	free(e);
}

static void ended(void *ctx)
{
	struct edge *e = ctx;
	void (*on_closed)(void *) = e->on_closed;
	void *closed_ctx = e->closed_ctx;

	edge_free(e);
	if (on_closed)
		on_closed(closed_ctx);
}

/* Ends when the library, the listeners and every client are closed. The library gives no sign of
 * its own last handle, so it gets some turns of the loop. */
static void try_end(void *ctx)
{
	struct edge *e = ctx;
	bool busy = !list_empty(&e->clients) || e->controls || e->tcp_open;

	if (!busy)
		e->turns++;
	if (busy || e->turns < CLOSE_TURNS || !lws_ended(e))
		timer_start(&e->closer, busy || e->turns < CLOSE_TURNS ? 1 : 5);
	else
		timer_close(&e->closer, ended);
}

int edge_start(struct loop *l, const struct edge_config *cfg, const struct edge_ops *ops,
	       struct edge **ret, struct tl_err *err)
{
	struct edge *e = calloc(1, sizeof(*e));
	int rc;

	if (!e)
		return err_set(err, TL_E_NOMEM, "cannot listen: out of memory");
	e->loop = l;
	e->ops = *ops;
	list_init(&e->clients);
	list_init(&e->gates);
	e->ui_dir = str_dup(cfg->ui_dir);
	e->token = str_dup(cfg->token);
	e->version = str_dup(cfg->version);
	rc = e->ui_dir && e->token && e->version ? 0 : TL_E_NOMEM;
	if (rc)
		err_set(err, rc, "cannot listen: out of memory");
	if (rc || (rc = tcp_bind(e, cfg->port, cfg->frame_port, err)) ||
	    (rc = control_start(e, cfg->control_path, err))) {
		tcp_unbind(e);
		edge_free(e);
		return rc;
	}
	name_ports(e);
	timer_init(l, &e->closer, try_end, e);
	if ((rc = lws_start(e, err)) || (rc = tcp_watch(e, err))) {
		edge_close(e, NULL, NULL);
		return rc;
	}
	*ret = e;
	return 0;
}

void edge_close(struct edge *e, void (*on_closed)(void *ctx), void *ctx)
{
	if (e->closing)
		return;
	e->closing = true;
	e->on_closed = on_closed;
	e->closed_ctx = ctx;
	control_stop(e);
	tcp_stop(e);
	lws_stop(e);
	timer_start(&e->closer, 0);
}
