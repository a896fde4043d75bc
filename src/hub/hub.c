/* hub.c - the daemon's root: clients come and go, hosts are looked up, everything is closed in
 * order. */
#include "hub/hub_priv.h"

#include <stdlib.h>

#include "base/log.h"

char *id_text(yyjson_val *id)
{
	if (!id)
		return str_dup("null");
	return yyjson_val_write(id, 0, NULL);
}

static void client_send(struct hub_client *c, struct buf *b, int rc)
{
	if (rc == 0)
		edge_client_send(c->edge, buf_data(b));
	else
		log_warn("a message to a client could not be built: %s", err_row(rc)->what);
	buf_fini(b);
}

void client_reply_text(struct hub_client *c, const char *id, struct tl_bytes result)
{
	struct buf b;

	buf_init(&b, TL_LIMIT_RPC_MESSAGE);
	client_send(c, &b,
		    buf_printf(&b, "{\"jsonrpc\":\"2.0\",\"id\":%s,\"result\":", id) ||
			    buf_put(&b, result.p, result.n) || buf_put_str(&b, "}")
			? TL_E_LIMIT
			: 0);
}

void client_reply(struct hub_client *c, const char *id, yyjson_mut_doc *result)
{
	struct buf b;
	int rc;

	buf_init(&b, TL_LIMIT_RPC_MESSAGE);
	rc = result ? json_write(&b, result) : buf_put_str(&b, "{}");
	if (rc == 0)
		client_reply_text(c, id, buf_data(&b));
	buf_fini(&b);
	yyjson_mut_doc_free(result);
}

void client_reply_err(struct hub_client *c, const char *id, const struct tl_err *e)
{
	yyjson_doc *doc = yyjson_read(id, strlen(id), 0);
	struct buf b;

	buf_init(&b, TL_LIMIT_RPC_MESSAGE);
	client_send(c, &b, jsonrpc_put_error(&b, yyjson_doc_get_root(doc), e));
	yyjson_doc_free(doc);
}

void client_notify(struct hub_client *c, const char *method, struct tl_bytes params)
{
	struct buf b;

	if (c->relay)
		return;
	buf_init(&b, TL_LIMIT_RPC_MESSAGE);
	client_send(c, &b,
		    buf_printf(&b, "{\"jsonrpc\":\"2.0\",\"method\":\"%s\",\"params\":", method) ||
			    buf_put(&b, params.p, params.n) || buf_put_str(&b, "}")
			? TL_E_LIMIT
			: 0);
}

bool client_subscribed(const struct hub_client *c, const char *host)
{
	for (size_t i = 0; i < c->subscribed.n; i++)
		if (strcmp(c->subscribed.v[i], host) == 0)
			return true;
	return false;
}

void hub_notify_name(struct hub *h, const char *host, const char *method, yyjson_mut_doc *params)
{
	struct buf b;

	buf_init(&b, TL_LIMIT_RPC_MESSAGE);
	if (json_write(&b, params) == 0)
		LIST_FOREACH_SAFE (it, &h->clients) {
			struct hub_client *c = list_entry(it, struct hub_client, node);
			if (client_subscribed(c, host))
				client_notify(c, method, buf_data(&b));
		}
	buf_fini(&b);
	yyjson_mut_doc_free(params);
}

void hub_notify_host(struct hub_host *hh, const char *method, yyjson_mut_doc *params)
{
	hub_notify_name(hh->hub, hh->name, method, params);
}

static struct hub_client *client_of(struct hub *h, struct edge_client *e)
{
	struct hub_client *c = edge_client_user(e);

	if (c)
		return c;
	c = calloc(1, sizeof(*c));
	if (!c)
		return NULL;
	c->hub = h;
	c->edge = e;
	list_init(&c->calls);
	list_add_tail(&h->clients, &c->node);
	edge_client_set_user(e, c);
	return c;
}

static void on_message(void *ctx, struct edge_client *e, const struct jsonrpc_msg *m)
{
	struct hub *h = ctx;
	struct hub_client *c = client_of(h, e);

	if (!c || h->closing) {
		edge_client_close(e, c ? TL_E_CLOSED : TL_E_NOMEM);
		return;
	}
	if (m->kind == JSONRPC_RESPONSE)
		prompt_response(c, m);
	else if (m->kind == JSONRPC_REQUEST)
		method_dispatch(c, m);
}

static void on_gone(void *ctx, struct edge_client *e)
{
	struct hub *h = ctx;
	struct hub_client *c = edge_client_user(e);

	if (!c)
		return;
	edge_client_set_user(e, NULL);
	list_del(&c->node);
	relay_client_gone(c);
	rpc_client_gone(c);
	config_client_gone(c);
	errand_client_gone(c);
	if (h->forwards)
		forward_client_gone(c);
	LIST_FOREACH_SAFE (it, &h->hosts)
		host_client_gone(list_entry(it, struct hub_host, node), c);
	strv_fini(&c->subscribed);
	free(c);
}

static size_t on_stream_data(void *ctx, struct edge_client *e, struct tl_bytes in)
{
	struct hub_client *c = edge_client_user(e);

	(void)ctx;
	return c ? relay_client_data(c, in) : in.n;
}

static void on_stream_eof(void *ctx, struct edge_client *e)
{
	struct hub_client *c = edge_client_user(e);

	(void)ctx;
	if (c)
		relay_client_eof(c);
}

static void on_stream_writable(void *ctx, struct edge_client *e)
{
	struct hub_client *c = edge_client_user(e);

	(void)ctx;
	if (c)
		relay_client_writable(c);
}

int hub_new(struct loop *l, const struct hub_config *cfg, void (*stop)(void *ctx), void *ctx,
	    struct hub **ret, struct tl_err *err)
{
	struct hub *h = calloc(1, sizeof(*h));
	struct edge_config ec;
	struct edge_ops ops;
	bool fixed = cfg->port != 0;
	int rc;

	if (!h)
		return err_set(err, TL_E_NOMEM, "cannot start: out of memory");
	h->loop = l;
	h->cfg = *cfg;
	h->stop = stop;
	h->stop_ctx = ctx;
	h->started_ms = clock_wall_ms();
	h->next_id = 1;
	list_init(&h->hosts);
	list_init(&h->clients);
	list_init(&h->config_works);
	list_init(&h->gateways);
	rc = store_token(h, err);
	if (rc == 0 && forwards_open(h) != 0)
		rc = err_set(err, TL_E_NOMEM, "cannot start: out of memory");
	if (rc)
		goto fail;
	ec = (struct edge_config){.ui_dir = cfg->ui_dir,
				  .control_path = cfg->control_path,
				  .token = h->token,
				  .port = cfg->port,
				  .frame_port = cfg->frame_port,
				  .version = cfg->version};
	ops = (struct edge_ops){.on_message = on_message,
				.on_gone = on_gone,
				.on_stream_data = on_stream_data,
				.on_stream_eof = on_stream_eof,
				.on_stream_writable = on_stream_writable,
				.ctx = h};
	/* the same address as last time keeps bookmarks and the browser's storage; when it is taken
	 * any other will do */
	if (!fixed)
		store_ports(h, &ec.port, &ec.frame_port);
	rc = edge_start(l, &ec, &ops, &h->edge, err);
	if (rc == TL_E_PORT && !fixed && ec.port) {
		ec.port = ec.frame_port = 0;
		rc = edge_start(l, &ec, &ops, &h->edge, err);
	}
	if (rc)
		goto fail;
	if (!fixed)
		store_save_ports(h);
	host_plain_sweep(h);
	forwards_restore(h);
	gateways_restore(h);
	*ret = h;
	return 0;
fail:
	if (h->forwards)
		forwards_close(h);
	free(h);
	return rc;
}

int hub_port(const struct hub *h)
{
	return edge_port(h->edge);
}

static void edge_gone(void *ctx)
{
	struct hub *h = ctx;
	void (*done)(void *) = h->on_closed;
	void *done_ctx = h->closed_ctx;

	free(h);
	done(done_ctx);
}

void hub_close(struct hub *h, void (*on_closed)(void *ctx), void *ctx)
{
	if (h->closing)
		return;
	h->closing = true;
	h->on_closed = on_closed;
	h->closed_ctx = ctx;
	gateways_close(h);
	LIST_FOREACH_SAFE (it, &h->hosts) {
		struct hub_host *hh = list_entry(it, struct hub_host, node);
		host_disconnect(hh, NULL);
		host_free(hh);
	}
	config_close(h);
	forwards_close(h);
	edge_close(h->edge, edge_gone, h);
}
