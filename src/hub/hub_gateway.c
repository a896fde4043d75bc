/* hub_gateway.c - the table of gateways: start, stop, list, what survives the daemon, and where
 * requests and WebSockets go. See hub_gateway.h. */
#include "hub/hub_gateway.h"

#include <stdlib.h>

#include "base/log.h"

#define FILE_NAME   "gateways.json"
#define CURSORS_MAX 256 /* clients of one gateway whose place is remembered */

static struct hub_gateway *find(struct hub *h, const char *host)
{
	LIST_FOREACH (it, &h->gateways) {
		struct hub_gateway *g = list_entry(it, struct hub_gateway, node);
		if (strcmp(g->host, host) == 0)
			return g;
	}
	return NULL;
}

/* ---- where clients with a session_id were ---- */

struct gw_cursor *gw_cursor_find(struct hub_gateway *g, const char *uuid, const char *session)
{
	LIST_FOREACH (it, &g->cursors) {
		struct gw_cursor *c = list_entry(it, struct gw_cursor, node);
		if (strcmp(c->uuid, uuid) == 0 && strcmp(c->session, session) == 0)
			return c;
	}
	return NULL;
}

static void cursor_free(struct hub_gateway *g, struct gw_cursor *c)
{
	list_del(&c->node);
	g->n_cursors--;
	free(c);
}

void gw_cursor_keep(struct hub_gateway *g, const char *uuid, const char *session, uint64_t off)
{
	struct gw_cursor *c = gw_cursor_find(g, uuid, session);

	if (!session[0])
		return;
	if (!c) {
		if (g->n_cursors >= CURSORS_MAX)
			cursor_free(g, list_entry(g->cursors.prev, struct gw_cursor, node));
		c = calloc(1, sizeof(*c));
		if (!c)
			return;
		list_init(&c->node);
		g->n_cursors++;
		str_copy(c->uuid, sizeof(c->uuid), uuid);
		str_copy(c->session, sizeof(c->session), session);
	}
	c->off = off;
	list_del(&c->node);
	list_add_head(&g->cursors, &c->node);
}

/* ---- WebSockets ---- */

/* "/api/kernels/UUID/channels" or "/terminals/websocket/ID": the part between. */
static bool path_part(const char *path, const char *before, const char *after, char *out, size_t n)
{
	const char *p = path + strlen(before);
	size_t len;

	if (!str_starts(path, before))
		return false;
	len = strcspn(p, "/");
	if (len == 0 || len >= n || strcmp(p + len, after) != 0)
		return false;
	memcpy(out, p, len);
	out[len] = 0;
	return true;
}

static int on_socket(void *ctx, struct gate_conn *c, const struct gate_head *h)
{
	struct hub_gateway *g = ctx;
	char id[GW_UUID];

	g->asked_ms = clock_wall_ms();
	if (path_part(h->path, "/api/kernels/", "/channels", id, sizeof(id)))
		return gw_channels_open(g, c, id, h->session);
	if (path_part(h->path, "/terminals/websocket/", "", id, sizeof(id)))
		return gw_term_open(g, c, id);
	return 404;
}

static void on_open(void *ctx, struct gate_conn *c, bool v1)
{
	struct gw_socket *s = gate_user(c);

	(void)ctx;
	s->opened = true;
	s->v1 = v1;
	gw_socket_host(s, true);
}

static void on_message(void *ctx, struct gate_conn *c, struct tl_bytes m, bool binary)
{
	struct gw_socket *s = gate_user(c);

	(void)ctx;
	s->kind->message(s, m, binary);
}

static void on_writable(void *ctx, struct gate_conn *c)
{
	struct gw_socket *s = gate_user(c);

	(void)ctx;
	s->blocked = false;
	gw_socket_run(s);
}

/* A request's user is its call, a WebSocket's its socket; the first knows of its end itself. */
static void on_gone(void *ctx, struct gate_conn *c)
{
	struct hub_gateway *g = ctx;

	LIST_FOREACH (it, &g->calls) {
		struct gw_call *k = list_entry(it, struct gw_call, node);
		if (k->conn == c) {
			k->conn = NULL;
			return;
		}
	}
	LIST_FOREACH (it2, &g->sockets) {
		struct gw_socket *s = list_entry(it2, struct gw_socket, node);
		if (s->conn == c) {
			gw_socket_free(s);
			return;
		}
	}
}

/* ---- the host ---- */

struct hub_host *gw_host(struct hub_gateway *g, struct tl_err *err)
{
	struct hub_host *hh;

	if (g->parked) {
		err_set(err, TL_E_NOHOST, "the connection to %s was closed by its user", g->host);
		return NULL;
	}
	if (host_get(g->hub, g->host, NULL, &hh, err) != 0)
		return NULL;
	if (hh->phase == HOST_DISCONNECTED || hh->phase == HOST_FAILED)
		host_start(hh);
	/* an attempt can fail at once */
	if (hh->phase == HOST_FAILED) {
		*err = hh->last;
		return NULL;
	}
	return hh;
}

void gateway_host_phase(struct hub_host *hh)
{
	struct hub_gateway *g = find(hh->hub, hh->name);
	struct tl_err e = hh->last;

	if (!g)
		return;
	if (hh->phase == HOST_CONNECTED) {
		g->parked = false;
		gw_calls_go_on(g, NULL);
		LIST_FOREACH_SAFE (it, &g->sockets)
			gw_socket_host(list_entry(it, struct gw_socket, node), true);
	} else if (hh->phase == HOST_FAILED || hh->phase == HOST_DISCONNECTED) {
		if (!e.code)
			err_set(&e, TL_E_NOHOST, "not connected to %s", hh->name);
		gw_calls_go_on(g, &e);
	}
}

void gateway_host_closed(struct hub *h, const char *host)
{
	struct hub_gateway *g = find(h, host);

	if (g)
		g->parked = true;
}

void gateway_session_lost(struct hub_host *hh)
{
	struct hub_gateway *g = find(hh->hub, hh->name);

	if (!g)
		return;
	LIST_FOREACH_SAFE (it, &g->sockets)
		gw_socket_host(list_entry(it, struct gw_socket, node), false);
}

/* ---- start and stop ---- */

static void gateway_free(struct hub_gateway *g)
{
	gw_calls_end(g);
	if (g->gate)
		edge_gate_close(g->gate);
	LIST_FOREACH_SAFE (it, &g->sockets)
		gw_socket_free(list_entry(it, struct gw_socket, node));
	LIST_FOREACH_SAFE (it2, &g->cursors)
		cursor_free(g, list_entry(it2, struct gw_cursor, node));
	list_del(&g->node);
	free(g->host);
	free(g->origin);
	free(g);
}

static const struct gate_ops ops = {.on_request = gw_request,
				    .on_socket = on_socket,
				    .on_open = on_open,
				    .on_message = on_message,
				    .on_writable = on_writable,
				    .on_gone = on_gone};

/* token: of the store, or NULL. */
static int gateway_new(struct hub *h, const char *host, int port, const char *token,
		       struct hub_gateway **ret, struct tl_err *err)
{
	struct hub_gateway *g = calloc(1, sizeof(*g));
	uint8_t raw[24];
	int rc;

	if (!g || !(g->host = str_dup(host))) {
		free(g);
		return err_set(err, TL_E_NOMEM, "open a gateway to %s", host);
	}
	g->hub = h;
	list_init(&g->node);
	list_init(&g->calls);
	list_init(&g->sockets);
	list_init(&g->cursors);
	g->started_ms = g->asked_ms = clock_wall_ms();
	random_bytes(raw, sizeof(raw));
	str_hex(raw, sizeof(raw), g->token);
	if (token)
		str_copy(g->token, sizeof(g->token), token);
	rc = edge_gate_open(h->edge, port, g->token, &ops, g, &g->gate, err);
	if (rc) {
		gateway_free(g);
		return rc;
	}
	list_add_tail(&h->gateways, &g->node);
	log_info("a gateway to %s listens on port %d", host, edge_gate_port(g->gate));
	*ret = g;
	return 0;
}

static void put_gateway(const struct hub_gateway *g, yyjson_mut_doc *doc, yyjson_mut_val *o)
{
	char url[64];

	snprintf(url, sizeof(url), "http://localhost:%d", edge_gate_port(g->gate));
	yyjson_mut_obj_add_strcpy(doc, o, "host", g->host);
	yyjson_mut_obj_add_strcpy(doc, o, "url", url);
	yyjson_mut_obj_add_int(doc, o, "port", edge_gate_port(g->gate));
	yyjson_mut_obj_add_strcpy(doc, o, "token", g->token);
	if (g->origin)
		yyjson_mut_obj_add_strcpy(doc, o, "origin", g->origin);
}

/* {"gateways": […]} of one host, or of all. */
static yyjson_mut_doc *list_of(struct hub *h, const char *host)
{
	yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *o = yyjson_mut_obj(doc), *a;

	yyjson_mut_doc_set_root(doc, o);
	a = yyjson_mut_obj_add_arr(doc, o, "gateways");
	LIST_FOREACH (it, &h->gateways) {
		struct hub_gateway *g = list_entry(it, struct hub_gateway, node);
		if (!host[0] || strcmp(host, g->host) == 0)
			put_gateway(g, doc, yyjson_mut_arr_add_obj(doc, a));
	}
	return doc;
}

static void store(struct hub *h)
{
	yyjson_mut_doc *doc = list_of(h, "");
	struct tl_err e = {0};
	struct buf b;

	buf_init(&b, TL_LIMIT_RPC_MESSAGE);
	if (json_write(&b, doc) != 0 || store_write(h, FILE_NAME, buf_data(&b), &e) != 0)
		log_warn("the gateways could not be remembered: %s", e.text);
	buf_fini(&b);
	yyjson_mut_doc_free(doc);
}

/* ---- methods ---- */

static bool is_origin(const char *text)
{
	size_t n = str_starts(text, "http://") ? 7 : str_starts(text, "https://") ? 8 : 0;

	return n && text[n] && !strpbrk(text + n, "/?# \t\r\n") && strlen(text) < 200;
}

void m_gateway_start(struct call *k)
{
	const char *host = json_str(k->params, "host", "");
	const char *origin = json_str(k->params, "origin", NULL);
	int64_t port = json_int(k->params, "port", 0);
	struct hub_gateway *g = find(k->h, host);
	yyjson_mut_doc *doc;
	struct hub_host *hh;
	struct tl_err e = {0};
	int rc = host_get(k->h, host, NULL, &hh, &e);

	if (!rc && (port < 0 || port > 65535))
		rc = err_set(&e, TL_E_INVAL, "open a gateway: there is no such port");
	if (!rc && origin && origin[0] && !is_origin(origin))
		rc = err_set(&e, TL_E_INVAL,
			     "open a gateway: an origin looks like http://localhost:8888");
	/* clients of the old port lose it: that was asked for */
	if (!rc && (!g || (port && edge_gate_port(g->gate) != port))) {
		struct hub_gateway *old = g;
		rc = gateway_new(k->h, host, (int)port, old ? old->token : NULL, &g, &e);
		if (!rc && old)
			gateway_free(old);
	}
	if (!rc && origin) {
		free(g->origin);
		g->origin = origin[0] ? str_dup(origin) : NULL;
		rc = edge_gate_allow_origin(g->gate, g->origin);
	}
	if (rc) {
		client_reply_err(k->c, k->id, &e);
		return;
	}
	store(k->h);
	doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_doc_set_root(doc, yyjson_mut_obj(doc));
	put_gateway(g, doc, yyjson_mut_doc_get_root(doc));
	client_reply(k->c, k->id, doc);
}

void m_gateway_stop(struct call *k)
{
	const char *host = json_str(k->params, "host", "");
	struct hub_gateway *g = find(k->h, host);
	struct tl_err e;

	if (!g) {
		err_set(&e, TL_E_NOENT, "there is no gateway to %.200s", host);
		client_reply_err(k->c, k->id, &e);
		return;
	}
	gateway_free(g);
	store(k->h);
	client_reply(k->c, k->id, NULL);
}

void m_gateway_list(struct call *k)
{
	client_reply(k->c, k->id, list_of(k->h, json_str(k->params, "host", "")));
}

/* ---- life with the daemon ---- */

static void restore(struct hub *h, yyjson_val *v)
{
	const char *host = json_str(v, "host", ""), *token = json_str(v, "token", "");
	const char *origin = json_str(v, "origin", NULL);
	int port = (int)json_int(v, "port", 0);
	struct hub_gateway *g;
	struct tl_err e = {0};

	if (strlen(token) != 48 || strspn(token, "0123456789abcdef") != 48 || port < 1 ||
	    port > 65535 || find(h, host))
		return;
	if (gateway_new(h, host, port, token, &g, &e) != 0) {
		log_warn("the gateway to %s does not listen any more: %s", host, e.text);
		return;
	}
	if (origin && is_origin(origin)) {
		g->origin = str_dup(origin);
		edge_gate_allow_origin(g->gate, g->origin);
	}
}

void gateways_restore(struct hub *h)
{
	char *text = store_read(h, FILE_NAME);
	yyjson_doc *doc = text ? yyjson_read(text, strlen(text), 0) : NULL;
	yyjson_val *v;
	size_t i, n;

	yyjson_arr_foreach(json_get(yyjson_doc_get_root(doc), "gateways"), i, n, v)
	{
		restore(h, v);
	}
	yyjson_doc_free(doc);
	free(text);
}

void gateways_close(struct hub *h)
{
	LIST_FOREACH_SAFE (it, &h->gateways)
		gateway_free(list_entry(it, struct hub_gateway, node));
}
