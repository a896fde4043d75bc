/* edge_gate.c - see edge_gate.h: the port, who may come in, and requests. WebSockets are in
 * edge_gate_ws.c. A connection of the library (wsi) has at most one struct gate_conn at a time, as
 * its opaque data; it is freed with the request or the connection. */
#include "edge/edge_gate_priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/str.h"

#define BODY_MAX   1048576 /* a request that starts a kernel has some hundred bytes */
#define HEAD_MAX   8192
#define PIECE      65536
#define TOKEN_MAX  256
#define TOKEN_PATH "/token/"
#define ANSWER_S   20 /* for a client to take its answer */

struct head {
	struct lws *wsi;
	unsigned char *at, *end;
	bool failed;
};

static struct gate_conn *conn_of(struct lws *wsi)
{
	return lws_get_opaque_user_data(wsi);
}

/* ---- life of a connection ---- */

static struct gate_conn *conn_new(struct edge_gate *g, struct lws *wsi)
{
	struct gate_conn *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->gate = g;
	c->wsi = wsi;
	out_init(&c->out);
	buf_init(&c->in, BODY_MAX);
	buf_init(&c->answer, TL_LIMIT_RPC_MESSAGE);
	list_add_tail(&g->conns, &c->node);
	lws_set_opaque_user_data(wsi, c);
	return c;
}

static void conn_free(struct gate_conn *c)
{
	struct edge_gate *g = c->gate;

	lws_set_opaque_user_data(c->wsi, NULL);
	list_del(&c->node);
	if (g && c->known)
		g->ops.on_gone(g->ctx, c);
	out_fini(&c->out);
	buf_fini(&c->in);
	buf_fini(&c->answer);
	free(c->method);
	free(c->path);
	free(c->location);
	free(c);
}

/* ---- who may come in ---- */

/* "localhost:PORT" and what else means this port. */
static bool is_mine(const struct edge_gate *g, const char *host)
{
	static const char *const names[] = {"localhost", "127.0.0.1", "[::1]"};
	char mine[64];

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		snprintf(mine, sizeof(mine), "%s:%d", names[i], g->listen.port);
		if (strcasecmp(host, mine) == 0)
			return true;
	}
	return false;
}

static bool host_is_mine(const struct edge_gate *g, struct lws *wsi)
{
	char host[64];

	return lws_hdr_copy(wsi, host, sizeof(host), WSI_TOKEN_HOST) > 0 && is_mine(g, host);
}

/* The Origin of the request, where it is one that was allowed, or our own address, which programs
 * that are no browsers give; "" where there is none. NULL: a page that has no business here. */
static const char *origin_of(struct edge_gate *g, struct lws *wsi, char *out, size_t n)
{
	out[0] = 0;
	if (lws_hdr_total_length(wsi, WSI_TOKEN_ORIGIN) <= 0)
		return out;
	if (lws_hdr_copy(wsi, out, (int)n, WSI_TOKEN_ORIGIN) <= 0)
		return NULL;
	if (str_starts(out, "http://") && is_mine(g, out + 7))
		return out;
	return g->origin && strcmp(out, g->origin) == 0 ? out : NULL;
}

/* Some clients send their token with requests and forget it with WebSockets; for them it may stand
 * in the address they are given: /token/TOKEN/api/… True: it is right, and *path goes on behind it.
 */
static bool token_in_path(const struct edge_gate *g, const char **path)
{
	char text[TOKEN_MAX];
	const char *p = *path + sizeof(TOKEN_PATH) - 1;
	size_t n;

	if (!str_starts(*path, TOKEN_PATH))
		return false;
	n = strcspn(p, "/");
	if (n >= sizeof(text))
		return false;
	memcpy(text, p, n);
	text[n] = 0;
	if (!str_equal_secret(text, g->token))
		return false;
	*path = p[n] ? p + n : "/";
	return true;
}

static bool token_is_right(const struct edge_gate *g, struct lws *wsi)
{
	char text[TOKEN_MAX];
	const char *p;

	if (lws_hdr_copy(wsi, text, sizeof(text), WSI_TOKEN_HTTP_AUTHORIZATION) > 0) {
		p = text + strcspn(text, " ");
		p += strspn(p, " ");
		if ((strncasecmp(text, "token ", 6) == 0 || strncasecmp(text, "bearer ", 7) == 0) &&
		    str_equal_secret(p, g->token))
			return true;
	}
	p = lws_get_urlarg_by_name(wsi, "token=", text, sizeof(text));
	return p && str_equal_secret(p, g->token);
}

/* 0, or the status that says why not. *path loses a token in front. */
static int admit(struct edge_gate *g, struct lws *wsi, const char **path, const char **ret_text)
{
	char origin[256];
	bool known;

	*ret_text = "the Host of the request is not this gateway";
	if (!host_is_mine(g, wsi))
		return 421;
	*ret_text = "pages of this origin may not use the gateway; see towline gateway --help";
	if (!origin_of(g, wsi, origin, sizeof(origin)))
		return 403;
	*ret_text = "the token is missing or wrong; `towline gateway HOST` prints it";
	/* which API this is, is no secret: clients ask before they know their token */
	known = token_in_path(g, path);
	if (!known && strcmp(*path, "/api") != 0 && !token_is_right(g, wsi))
		return 403;
	return 0;
}

/* ---- answers ---- */

static void put_header(struct head *h, const char *name, const char *value)
{
	if (value && *value && !h->failed)
		h->failed = lws_add_http_header_by_name(h->wsi, (const unsigned char *)name,
							(const unsigned char *)value,
							(int)strlen(value), &h->at, h->end) != 0;
}

static int send_head(struct gate_conn *c)
{
	unsigned char space[LWS_PRE + HEAD_MAX];
	struct head h = {.wsi = c->wsi, .at = space + LWS_PRE, .end = space + sizeof(space)};
	char origin[256];
	const char *allowed = origin_of(c->gate, c->wsi, origin, sizeof(origin));

	h.failed = lws_add_http_header_status(c->wsi, (unsigned)c->status, &h.at, h.end) != 0;
	put_header(&h, "content-type:", c->answer.len ? c->type : NULL);
	put_header(&h, "location:", c->location);
	put_header(&h, "cache-control:", "no-store");
	put_header(&h, "x-content-type-options:", "nosniff");
	put_header(&h, "content-security-policy:", "default-src 'none'; frame-ancestors 'none'");
	put_header(&h, "access-control-allow-origin:", allowed);
	if (allowed && *allowed) {
		put_header(&h, "access-control-allow-headers:", "authorization, content-type");
		put_header(&h, "access-control-allow-methods:", "GET, POST, PUT, PATCH, DELETE");
		put_header(&h, "vary:", "origin");
	}
	if (h.failed || lws_add_http_header_content_length(c->wsi, c->answer.len, &h.at, h.end) ||
	    lws_finalize_write_http_header(c->wsi, space + LWS_PRE, &h.at, h.end)) {
		log_warn("an answer of a gateway could not be built");
		return -1;
	}
	return 0;
}

/* The transaction is over; the connection may live on. */
static int request_over(struct gate_conn *c)
{
	struct lws *wsi = c->wsi;
	bool drop = c->drop;

	conn_free(c);
	return lws_http_transaction_completed(wsi) || drop ? -1 : 0;
}

/* 0, or -1: the connection is broken. */
static int send_piece(struct gate_conn *c)
{
	unsigned char space[LWS_PRE + PIECE];
	struct tl_bytes b = buf_data(&c->answer);

	b.n = b.n < PIECE ? b.n : PIECE;
	memcpy(space + LWS_PRE, b.p, b.n);
	buf_consume(&c->answer, b.n);
	return lws_write(c->wsi, space + LWS_PRE, b.n,
			 c->answer.len ? LWS_WRITE_HTTP : LWS_WRITE_HTTP_FINAL) < 0
		   ? -1
		   : 0;
}

/* The head, then a piece of the answer at a time. */
static int request_writable(struct gate_conn *c)
{
	if (!c->answered)
		return 0;
	if (!c->head_sent) {
		if (send_head(c) != 0)
			return -1;
		c->head_sent = true;
		if (c->answer.len == 0 || strcmp(c->method, "HEAD") == 0)
			return request_over(c);
		lws_callback_on_writable(c->wsi);
		return 0;
	}
	if (send_piece(c) != 0)
		return -1;
	if (c->answer.len == 0)
		return request_over(c);
	lws_callback_on_writable(c->wsi);
	return 0;
}

void gate_answer(struct gate_conn *c, int status, const char *type, struct tl_bytes body,
		 const char *location)
{
	if (c->answered || c->socket)
		return;
	c->answered = true;
	c->status = buf_put(&c->answer, body.p, body.n) == 0 ? status : 500;
	c->type = type;
	c->location = str_dup(location);
	lws_set_timeout(c->wsi, PENDING_TIMEOUT_HTTP_CONTENT, ANSWER_S);
	lws_callback_on_writable(c->wsi);
}

static void refuse(struct gate_conn *c, int status, const char *text)
{
	char body[256];
	int n = snprintf(body, sizeof(body), "{\"message\":\"%s\",\"reason\":null}", text);

	gate_answer(c, status, "application/json", bytes_of(body, (size_t)n), NULL);
}

/* ---- requests ---- */

/* All of it is there. */
static void ask(struct gate_conn *c)
{
	struct edge_gate *g = c->gate;
	struct gate_head h = {
	    .method = c->method, .path = c->path, .session = "", .body = buf_data(&c->in)};

	if (c->asked)
		return;
	c->asked = true;
	/* starting a kernel takes its time; the client's patience counts */
	lws_set_timeout(c->wsi, NO_PENDING_TIMEOUT, 0);
	if (c->refused) {
		refuse(c, c->refused, c->refused_text);
	} else if (strcmp(c->method, "OPTIONS") == 0) {
		gate_answer(c, 204, "", bytes_of("", 0), NULL);
	} else {
		c->known = true;
		g->ops.on_request(g->ctx, c, &h);
	}
}

static int request(struct edge_gate *g, struct lws *wsi, const char *path)
{
	static const char *const names[] = {
	    [LWSHUMETH_GET] = "GET",  [LWSHUMETH_POST] = "POST",   [LWSHUMETH_OPTIONS] = "OPTIONS",
	    [LWSHUMETH_PUT] = "PUT",  [LWSHUMETH_PATCH] = "PATCH", [LWSHUMETH_DELETE] = "DELETE",
	    [LWSHUMETH_HEAD] = "HEAD"};
	struct gate_conn *c = conn_new(g, wsi);
	char *uri, length[32], origin[256];
	int uri_len, method = lws_http_get_uri_and_method(wsi, &uri, &uri_len);
	long long body = 0;

	if (!c)
		return -1;
	c->method =
	    str_dup(method >= 0 && method < (int)(sizeof(names) / sizeof(names[0])) && names[method]
			? names[method]
			: "?");
	if (!c->method)
		return -1;
	if (strcmp(c->method, "OPTIONS") == 0 && host_is_mine(g, wsi) &&
	    origin_of(g, wsi, origin, sizeof(origin)) && origin[0])
		c->refused = 0; /* a page asks whether it may ask: without a token, by design */
	else
		c->refused = admit(g, wsi, &path, &c->refused_text);
	c->path = str_dup(path);
	if (!c->path)
		return -1;
	if (lws_hdr_copy(wsi, length, sizeof(length), WSI_TOKEN_HTTP_CONTENT_LENGTH) > 0 &&
	    !str_to_int(length, 0, BODY_MAX, &body)) {
		c->refused = 413;
		c->refused_text = "the request is too long";
		c->drop = true;
		body = 0;
	}
	if (body == 0)
		ask(c);
	return 0;
}

static int request_body(struct gate_conn *c, struct tl_bytes in)
{
	return c->asked || buf_put(&c->in, in.p, in.n) == 0 ? 0 : -1;
}

/* ---- WebSockets come in ---- */

static int upgrade(struct edge_gate *g, struct lws *wsi, const char *what)
{
	char uri[1024], session[128] = "";
	const char *text, *p, *path = uri;
	struct gate_head h = {.method = "GET", .session = session};
	struct gate_conn *c;
	int status;

	if (lws_hdr_copy(wsi, uri, sizeof(uri), WSI_TOKEN_GET_URI) <= 0 ||
	    strcasecmp(what, "websocket") != 0)
		return -1;
	status = admit(g, wsi, &path, &text);
	h.path = path;
	c = conn_new(g, wsi);
	if (!c)
		return -1;
	c->method = str_dup("GET");
	c->path = str_dup(path);
	p = lws_get_urlarg_by_name(wsi, "session_id=", session, sizeof(session));
	if (p && p != session)
		memmove(session, p, strlen(p) + 1);
	if (!status) {
		c->known = true;
		status = g->ops.on_socket(g->ctx, c, &h);
		text = "there is no such kernel or terminal";
	}
	if (!status) {
		gate_ws_begin(c);
		return 0;
	}
	/* an upgrade is answered here and now */
	refuse(c, status, text);
	return send_head(c) == 0 && send_piece(c) == 0 ? 1 : -1;
}

/* ---- the library's callback ---- */

static struct edge_gate *gate_of(struct lws *wsi)
{
	struct edge *e = edge_of(wsi);
	int port = e ? port_number_of_wsi(wsi) : 0;

	for (struct list *it = e ? e->gates.next : NULL; e && it != &e->gates; it = it->next) {
		struct edge_gate *g = list_entry(it, struct edge_gate, node);
		if (g->listen.port == port)
			return g;
	}
	return NULL;
}

bool gate_owns(struct lws *wsi, enum lws_callback_reasons why)
{
	return conn_of(wsi) ||
	       ((why == LWS_CALLBACK_HTTP || why == LWS_CALLBACK_HTTP_CONFIRM_UPGRADE) &&
		gate_of(wsi));
}

int gate_callback(struct lws *wsi, enum lws_callback_reasons why, void *user, void *in, size_t len)
{
	struct gate_conn *c = conn_of(wsi);
	struct edge_gate *g;
	struct edge *e;

	(void)user;
	/* the subprotocol was asked for on another port than a gate's */
	if (!c && why == LWS_CALLBACK_ESTABLISHED)
		return -1;
	switch (why) {
	case LWS_CALLBACK_HTTP:
		g = gate_of(wsi);
		return g ? request(g, wsi, in) : -1;
	case LWS_CALLBACK_HTTP_CONFIRM_UPGRADE:
		g = gate_of(wsi);
		return g ? upgrade(g, wsi, in) : -1;
	case LWS_CALLBACK_HTTP_BODY:
		return c ? request_body(c, bytes_of(in, len)) : -1;
	case LWS_CALLBACK_HTTP_BODY_COMPLETION:
		if (c)
			ask(c);
		return 0;
	case LWS_CALLBACK_HTTP_WRITEABLE:
		return c && c->gate ? request_writable(c) : 0;
	case LWS_CALLBACK_CLOSED_HTTP:
		if (c && !c->socket)
			conn_free(c);
		return 0;
	case LWS_CALLBACK_WSI_DESTROY:
		if (c)
			conn_free(c);
		e = edge_of(wsi);
		if (e && e->tcp_count > 0)
			e->tcp_count--;
		return 0;
	default:
		return c && c->gate ? gate_ws_callback(c, why, in, len) : 0;
	}
}

/* ---- the port ---- */

static void accepted(void *ctx, int fd)
{
	struct edge_gate *g = ctx;

	lws_take(g->edge, fd);
}

int edge_gate_open(struct edge *e, int port, const char *token, const struct gate_ops *ops,
		   void *ctx, struct edge_gate **ret, struct tl_err *err)
{
	struct edge_gate *g = calloc(1, sizeof(*g));
	int rc;

	if (!g || !(g->token = str_dup(token))) {
		free(g);
		return err_set(err, TL_E_NOMEM, "open a gateway");
	}
	g->edge = e;
	g->ops = *ops;
	g->ctx = ctx;
	list_init(&g->conns);
	rc = local_listen_tcp(e->loop, &g->listen, "localhost", port, accepted, g, err);
	if (rc) {
		free(g->token);
		free(g);
		return rc;
	}
	list_add_tail(&e->gates, &g->node);
	*ret = g;
	return 0;
}

static void gate_closed(void *ctx)
{
	struct edge_gate *g = ctx;

	g->edge->tcp_open--;
	free(g->token);
	free(g->origin);
	free(g);
}

void edge_gate_close(struct edge_gate *g)
{
	LIST_FOREACH_SAFE (it, &g->conns) {
		struct gate_conn *c = list_entry(it, struct gate_conn, node);
		list_del(&c->node);
		list_init(&c->node);
		c->gate = NULL;
		lws_set_timeout(c->wsi, PENDING_TIMEOUT_KILLED_BY_PARENT, LWS_TO_KILL_ASYNC);
	}
	list_del(&g->node);
	g->edge->tcp_open++;
	local_listen_close(&g->listen, gate_closed);
}

int edge_gate_port(const struct edge_gate *g)
{
	return g->listen.port;
}

int edge_gate_allow_origin(struct edge_gate *g, const char *origin)
{
	char *text = str_dup(origin);

	if (origin && !text)
		return TL_E_NOMEM;
	free(g->origin);
	g->origin = text;
	return 0;
}

void gate_set_user(struct gate_conn *c, void *user)
{
	c->user = user;
}

void *gate_user(const struct gate_conn *c)
{
	return c->user;
}
