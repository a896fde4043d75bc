/* hub_gateway_rest.c - requests of Jupyter clients: which route, the wait for the host, questions
 * to it, answers. A call lives until it is answered; a client that goes away leaves it to end by
 * itself. */
#include "hub/hub_gateway.h"

#include <stdlib.h>

#define CALLS_MAX 256 /* requests of one gateway under way */
#define JSON      "application/json"

/* ---- routes ---- */

static void api_version(struct gw_call *k)
{
	yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *o = yyjson_mut_obj(doc);

	yyjson_mut_doc_set_root(doc, o);
	/* of the interface, as Jupyter Server counts */
	yyjson_mut_obj_add_str(doc, o, "version", "2.0.0");
	gw_answer(k, 200, doc);
}

static void api_me(struct gw_call *k)
{
	static const char *const names[] = {"username", "name", "display_name"};
	const char *user = getenv("USER");
	yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *o = yyjson_mut_obj(doc), *who;

	yyjson_mut_doc_set_root(doc, o);
	who = yyjson_mut_obj_add_obj(doc, o, "identity");
	for (size_t i = 0; i < 3; i++)
		yyjson_mut_obj_add_str(doc, who, names[i], user ? user : "user");
	yyjson_mut_obj_add_null(doc, who, "initials");
	yyjson_mut_obj_add_null(doc, who, "avatar_url");
	yyjson_mut_obj_add_null(doc, who, "color");
	yyjson_mut_obj_add_obj(doc, o, "permissions");
	gw_answer(k, 200, doc);
}

static const struct gw_route routes[] = {
    {"GET", "/api", api_version, true},
    {"GET", "/api/me", api_me, true},
    {"GET", "/api/status", gw_status, false},
    {"GET", "/api/kernels", gw_kernels_list, false},
    {"POST", "/api/kernels", gw_kernels_start, false},
    {"GET", "/api/kernels/*", gw_kernel_get, false},
    {"DELETE", "/api/kernels/*", gw_kernel_delete, false},
    {"POST", "/api/kernels/*/interrupt", gw_kernel_interrupt, false},
    {"POST", "/api/kernels/*/restart", gw_kernel_restart, false},
    {"GET", "/api/kernelspecs", gw_specs_list, false},
    {"GET", "/api/kernelspecs/*", gw_specs_get, false},
    {"GET", "/kernelspecs/*/*", gw_specs_file, false},
    {"GET", "/api/sessions", gw_sessions_list, false},
    {"POST", "/api/sessions", gw_sessions_start, false},
    {"GET", "/api/sessions/*", gw_session_get, false},
    {"PATCH", "/api/sessions/*", gw_session_change, false},
    {"DELETE", "/api/sessions/*", gw_session_delete, false},
    {"GET", "/api/terminals", gw_terms_list, false},
    {"POST", "/api/terminals", gw_terms_start, false},
    {"GET", "/api/terminals/*", gw_term_get, false},
    {"DELETE", "/api/terminals/*", gw_term_delete, false},
};

/* Does path fit? Its varying parts go to arg (malloc'ed). */
static bool fits(const char *pattern, const char *path, char *arg[2])
{
	size_t n, have = 0;

	while (*pattern && *path) {
		if (*pattern != '*') {
			if (*pattern++ != *path++)
				return false;
			continue;
		}
		n = strcspn(path, "/");
		if (n == 0 || have == 2)
			return false;
		free(arg[have]);
		arg[have++] = str_ndup(path, n);
		pattern++;
		path += n;
	}
	return *pattern == 0 && (*path == 0 || strcmp(path, "/") == 0);
}

/* ---- life of a call ---- */

static void call_free(struct gw_call *k)
{
	list_del(&k->node);
	yyjson_doc_free(k->body);
	yyjson_doc_free(k->found);
	free(k->arg[0]);
	free(k->arg[1]);
	free(k->kernel);
	yyjson_mut_doc_free(k->params);
	free(k->text);
	free(k);
}

void gw_answer_at(struct gw_call *k, int status, yyjson_mut_doc *doc, const char *location)
{
	struct buf b;
	int rc = 0;

	buf_init(&b, TL_LIMIT_RPC_MESSAGE);
	if (doc)
		rc = json_write(&b, doc);
	if (k->conn)
		gate_answer(k->conn, rc ? 500 : status, JSON, buf_data(&b), location);
	buf_fini(&b);
	yyjson_mut_doc_free(doc);
	call_free(k);
}

void gw_answer_bytes(struct gw_call *k, int status, const char *type, struct tl_bytes body)
{
	if (k->conn)
		gate_answer(k->conn, status, type, body, NULL);
	call_free(k);
}

void gw_answer(struct gw_call *k, int status, yyjson_mut_doc *doc)
{
	gw_answer_at(k, status, doc, NULL);
}

void gw_fail_with(struct gw_call *k, int status, const char *text)
{
	yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *o = yyjson_mut_obj(doc);

	yyjson_mut_doc_set_root(doc, o);
	json_add_path(doc, o, "message", text);
	yyjson_mut_obj_add_null(doc, o, "reason");
	gw_answer(k, status, doc);
}

void gw_fail(struct gw_call *k, const struct tl_err *err)
{
	char text[TL_ERR_TEXT + 256];
	int status = err_row(err->code)->http_status;

	/* the host is away: for the client the service is, and worth another try */
	if ((err->code <= TL_E_RESOLVE && err->code >= TL_E_HOSTBUSY) || err->code == TL_E_GAP ||
	    err->code == TL_E_NOLINK || err->code == TL_E_STALE || err->code == TL_E_CLOSED)
		status = 503;
	gw_fail_with(k, status, err_message(err, text, sizeof(text)));
}

/* ---- questions to the host ---- */

static void asked(void *ctx, const struct jsonrpc_msg *m, const struct tl_err *e)
{
	struct gw_call *k = ctx;

	if (k->gateway)
		k->next(k, e ? NULL : m->result, e);
	else
		call_free(k);
}

void gw_ask(struct gw_call *k, const char *method, yyjson_mut_doc *params,
	    void (*next)(struct gw_call *, yyjson_val *, const struct tl_err *))
{
	struct hub_host *hh = host_find(k->gateway->hub, k->gateway->host);
	struct tl_err e;
	struct buf b;
	int rc = 0;

	buf_init(&b, TL_LIMIT_RPC_MESSAGE);
	k->next = next;
	rc = params ? json_write(&b, params) : buf_put_str(&b, "{}");
	if (!rc && hh) {
		rpc_call(hh, NULL, method, buf_data(&b), asked, k);
	} else {
		err_set(&e, rc ? rc : TL_E_NOHOST, "ask %s", k->gateway->host);
		next(k, NULL, &e);
	}
	buf_fini(&b);
	yyjson_mut_doc_free(params);
}

yyjson_doc *gw_copy(yyjson_val *v)
{
	yyjson_mut_doc *copy = yyjson_mut_doc_new(NULL);
	yyjson_doc *doc;

	yyjson_mut_doc_set_root(copy, yyjson_val_mut_copy(copy, v));
	doc = yyjson_mut_doc_imut_copy(copy, NULL);
	yyjson_mut_doc_free(copy);
	return doc;
}

static void kernel_found(struct gw_call *k, yyjson_val *result, const struct tl_err *err)
{
	yyjson_val *info;
	size_t i, n;

	if (err) {
		gw_fail(k, err);
		return;
	}
	yyjson_arr_foreach(json_get(result, "kernels"), i, n, info)
	{
		if (strcmp(json_str(info, "uuid", ""), k->arg[0]) == 0) {
			k->found = gw_copy(info);
			k->kernel = str_dup(json_str(info, "id", ""));
			k->then(k);
			return;
		}
	}
	gw_fail_with(k, 404, "there is no such kernel");
}

void gw_find_kernel(struct gw_call *k, void (*then)(struct gw_call *k))
{
	k->then = then;
	gw_ask(k, "kernel/list", NULL, kernel_found);
}

/* ---- requests come in ---- */

void gw_request(void *ctx, struct gate_conn *c, const struct gate_head *h)
{
	struct hub_gateway *g = ctx;
	struct gw_call *k = calloc(1, sizeof(*k));
	struct hub_host *hh;
	struct tl_err e = {0};
	size_t count = 0;
	bool known = false;

	if (!k) {
		gate_answer(c, 500, JSON, bytes_str("{\"message\":\"out of memory\"}"), NULL);
		return;
	}
	LIST_FOREACH (it, &g->calls)
		count++;
	k->gateway = g;
	k->conn = c;
	list_add_tail(&g->calls, &k->node);
	g->asked_ms = clock_wall_ms();
	for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]) && !k->route; i++) {
		if (!fits(routes[i].path, h->path, k->arg))
			continue;
		known = true;
		if (strcmp(routes[i].method, h->method) == 0 ||
		    (strcmp(h->method, "HEAD") == 0 && strcmp(routes[i].method, "GET") == 0))
			k->route = &routes[i];
	}
	if (!k->route) {
		gw_fail_with(k, known ? 405 : 404,
			     known ? "the method is not possible here"
				   : "the gateway serves kernels, kernelspecs, sessions and "
				     "terminals only");
		return;
	}
	if (h->body.n && !(k->body = json_parse(h->body, &e))) {
		gw_fail_with(k, 400, e.text);
		return;
	}
	if (k->route->here) {
		k->route->fn(k);
		return;
	}
	if (count >= CALLS_MAX) {
		gw_fail_with(k, 503, "too many requests are under way");
		return;
	}
	hh = gw_host(g, &e);
	if (!hh)
		gw_fail(k, &e);
	else if (hh->phase == HOST_CONNECTED && hh->rpc)
		k->route->fn(k);
	else
		k->waiting = true;
}

void gw_calls_go_on(struct hub_gateway *g, const struct tl_err *err)
{
	LIST_FOREACH_SAFE (it, &g->calls) {
		struct gw_call *k = list_entry(it, struct gw_call, node);
		if (!k->waiting)
			continue;
		k->waiting = false;
		if (err)
			gw_fail(k, err);
		else
			k->route->fn(k);
	}
}

void gw_calls_end(struct hub_gateway *g)
{
	LIST_FOREACH_SAFE (it, &g->calls) {
		struct gw_call *k = list_entry(it, struct gw_call, node);
		list_del(&k->node);
		if (k->waiting) {
			call_free(k);
			continue;
		}
		/* the host's answer is on its way: it frees the call */
		k->gateway = NULL;
		k->conn = NULL;
	}
}
