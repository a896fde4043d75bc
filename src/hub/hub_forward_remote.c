/* hub_forward_remote.c - listeners on the host: a stream tells of each connection that came there,
 * and it is fetched once the place here where it goes to has answered. One that nobody takes here
 * is fetched and reset, so that the program there sees what it would see here. */
#include "hub/hub_forward.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "hub/hub_proxy.h"
#include "loop/sock.h"

#define CONNECT_MS 30000

struct forward_remote {
	struct pump_user user; /* of its stream; first */
	struct hub_forward *forward;
	struct session_stream *stream;
	struct buf in;
	bool answered;
};

/* A connection of the host on its way to a place here. */
struct coming {
	struct forward_conn conn; /* first */
	struct connector *connector;
	char *open; /* what fetches it */
};

/* ---- one connection ---- */

static void coming_abort(struct forward_conn *c)
{
	struct coming *k = (struct coming *)(void *)c;

	if (k->connector)
		connector_cancel(k->connector);
	free(k->open);
	forward_conn_free(c);
}

/* fd -1: fetched and reset. */
static void fetch(struct coming *k, int fd)
{
	char *open = k->open;

	k->open = NULL;
	forward_conn_carry(&k->conn, fd, open, bytes_of(NULL, 0));
	free(open);
}

static void reached(void *ctx, int fd, const struct tl_err *err)
{
	struct coming *k = ctx;
	struct hub_forward *f = k->conn.forward;

	k->connector = NULL;
	if (err)
		log_line(LOG_INFO, f->spec.host, "forward %s: %s", f->id, err->text);
	fetch(k, fd);
}

static void serve_proxy(struct coming *k)
{
	struct hub_forward *f = k->conn.forward;
	struct tl_err e;
	int pair[2];

	if (socket_pair(pair) != 0) {
		fetch(k, -1);
		return;
	}
	if (proxy_serve(f->hub, f->spec.host, pair[1], f->secret, &e) != 0) {
		log_line(LOG_WARN, f->spec.host, "forward %s: %s", f->id, e.text);
		local_listen_refuse(pair[0]);
		fetch(k, -1);
		return;
	}
	fetch(k, pair[0]);
}

static void reach(struct coming *k)
{
	struct hub_forward *f = k->conn.forward;
	struct forward_spec *s = &f->spec;
	struct connector_spec spec = {.host = s->local_address ? s->local_address : "localhost",
				      .port = s->local_port,
				      .path = s->local_path,
				      .timeout_ms = CONNECT_MS,
				      .on_done = reached,
				      .ctx = k};
	struct tl_err e;

	if (s->proxy) {
		serve_proxy(k);
		return;
	}
	if (connector_start(f->hub->loop, &spec, &k->connector, &e) != 0) {
		log_line(LOG_INFO, f->spec.host, "forward %s: %s", f->id, e.text);
		fetch(k, -1);
	}
}

/* One line of the host: {"id":"…","address":"…","port":N}. */
static void take_connection(struct hub_forward *f, yyjson_val *v)
{
	const char *id = json_str(v, "id", "");
	struct forward_conn *c;
	struct coming *k;
	yyjson_mut_doc *doc;
	yyjson_mut_val *o;

	/* one that is not fetched is closed there after a while */
	if (!id[0] || f->n_conns >= TL_LIMIT_FORWARD_CONNECTIONS)
		return;
	c = forward_conn_new(f, sizeof(*k));
	if (!c)
		return;
	k = (struct coming *)(void *)c;
	c->abort = coming_abort;
	doc = yyjson_mut_doc_new(NULL);
	o = yyjson_mut_obj(doc);
	yyjson_mut_doc_set_root(doc, o);
	yyjson_mut_obj_add_str(doc, o, "open", "forwarded-tcpip");
	yyjson_mut_obj_add_str(doc, o, "id", id);
	k->open = yyjson_mut_write(doc, 0, NULL);
	yyjson_mut_doc_free(doc);
	reach(k);
}

/* ---- the listener ---- */

static void listens(struct hub_forward *f, yyjson_val *ok)
{
	int64_t port = json_int(ok, "port", 0);

	f->remote->answered = true;
	f->port = port > 0 && port < 65536 ? (int)port : 0;
	memset(&f->failed, 0, sizeof(f->failed));
	forward_changed(f->hub, f->spec.host);
	(void)forward_answer(f); /* it did not fail: it stays */
}

static void stream_end(struct hub_forward *f)
{
	struct forward_remote *r = f->remote;

	if (r->stream) {
		session_stream_set_user(r->stream, NULL);
		session_reset(r->stream);
	}
	buf_fini(&r->in);
	free(r);
	f->remote = NULL;
	f->port = 0;
}

static void failed(struct hub_forward *f, const struct tl_err *why)
{
	f->failed = *why;
	log_line(LOG_WARN, f->spec.host, "forward %s: %s", f->id, why->text);
	stream_end(f);
	forward_changed(f->hub, f->spec.host);
	forward_answer(f); /* f may be gone */
}

/* false: the listener is gone. */
static bool take_line(struct hub_forward *f, struct tl_bytes line)
{
	struct tl_err e = {0};
	yyjson_doc *doc = json_parse(line, &e);
	yyjson_val *root = yyjson_doc_get_root(doc);
	bool alive = true;

	if (f->remote->answered) {
		take_connection(f, root);
	} else if (json_get(root, "ok")) {
		listens(f, json_get(root, "ok"));
	} else {
		struct jsonrpc_msg m = {.error = json_get(root, "error")};
		if (m.error)
			jsonrpc_error_of(&m, &e);
		else
			err_set(&e, TL_E_PROTO, "the host gave no valid answer to a listener");
		failed(f, &e);
		alive = false;
	}
	yyjson_doc_free(doc);
	return alive;
}

static void readable(struct hub_forward *f)
{
	struct forward_remote *r = f->remote;
	struct tl_bytes b, line;
	struct tl_err e;
	size_t used;
	int rc = 0;

	while ((b = session_peek(r->stream)).n > 0) {
		size_t n = b.n < buf_room(&r->in) ? b.n : buf_room(&r->in);
		if (n == 0 || buf_put(&r->in, b.p, n) != 0)
			break;
		session_consume(r->stream, n);
		while ((rc = open_next_line(buf_data(&r->in), &line, &used)) == 1) {
			if (!take_line(f, line))
				return;
			buf_consume(&r->in, used);
		}
		if (rc < 0)
			break;
	}
	if (b.n > 0 || session_eof(r->stream)) {
		err_set(&e, b.n > 0 ? TL_E_PROTO : TL_E_CLOSED, "the listener on %s ended",
			f->spec.host);
		failed(f, &e);
	}
}

static void remote_event(struct pump_user *u, const struct session_event *ev)
{
	struct forward_remote *r = (struct forward_remote *)(void *)u;
	struct hub_forward *f = r->forward;
	struct tl_err e;

	if (ev->type == SESSION_EV_READABLE) {
		readable(f);
	} else if (ev->type == SESSION_EV_CLOSED) {
		r->stream = NULL;
		err_set(&e, ev->error ? ev->error : TL_E_CLOSED, "the listener on %s ended",
			f->spec.host);
		failed(f, &e);
	}
}

/* What this forward is called on the host, over the life of the daemon: who comes with the same
 * name takes the place of one that was left behind. */
static void name_of(const struct hub_forward *f, char *out, size_t n)
{
	char target[TL_ERR_TEXT];
	uint32_t sum = 2166136261u;

	forward_target_text(&f->spec, target, sizeof(target));
	for (const char *p = target; *p; p++)
		sum = (sum ^ (uint8_t)*p) * 16777619u;
	/* one of the configuration has a new id every time, but says where it listens */
	if (forward_is_kept(f))
		snprintf(out, n, "%s-%s", f->hub->forwards->key, f->id);
	else
		snprintf(out, n, "%s-%08x", f->hub->forwards->key, sum);
}

static char *open_line(const struct hub_forward *f)
{
	const struct forward_spec *s = &f->spec;
	char name[64];

	yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *o = yyjson_mut_obj(doc);
	char *text, *line;

	yyjson_mut_doc_set_root(doc, o);
	yyjson_mut_obj_add_str(doc, o, "open", "tcpip-forward");
	if (s->target_path) {
		yyjson_mut_obj_add_str(doc, o, "path", s->target_path);
	} else {
		yyjson_mut_obj_add_str(doc, o, "address",
				       s->target_host ? s->target_host : "127.0.0.1");
		yyjson_mut_obj_add_int(doc, o, "port", s->target_port > 0 ? s->target_port : 0);
	}
	name_of(f, name, sizeof(name));
	yyjson_mut_obj_add_str(doc, o, "key", name);
	text = yyjson_mut_write(doc, 0, NULL);
	line = text ? str_fmt("%s\n", text) : NULL;
	free(text);
	yyjson_mut_doc_free(doc);
	return line;
}

void forward_remote_open(struct hub_forward *f)
{
	struct hub_host *hh = host_find(f->hub, f->spec.host);
	struct forward_remote *r;
	char *line;

	if (f->remote || !hh || !hh->session || hh->phase != HOST_CONNECTED)
		return;
	r = calloc(1, sizeof(*r));
	line = open_line(f);
	if (r)
		r->stream = session_open(hh->session, SESSION_CONTROL);
	if (!r || !line || !r->stream) {
		err_set(&f->failed, TL_E_LIMIT, "cannot open another stream to %s", hh->name);
		if (r && r->stream)
			session_reset(r->stream);
		free(r);
		free(line);
		return;
	}
	memset(&f->failed, 0, sizeof(f->failed));
	r->user.event = remote_event;
	r->forward = f;
	buf_init(&r->in, 2 * TL_LIMIT_OPEN_LINE);
	f->remote = r;
	session_stream_set_user(r->stream, &r->user);
	/* a fresh stream has a whole window: the line fits */
	session_write(r->stream, bytes_str(line));
	free(line);
	pump_kick(&hh->pump);
}

bool forward_remote_answered(const struct hub_forward *f)
{
	return f->remote && f->remote->answered;
}

void forward_remote_close(struct hub_forward *f, bool tell)
{
	struct hub_host *hh = host_find(f->hub, f->spec.host);

	if (!f->remote)
		return;
	if (!tell)
		f->remote->stream = NULL;
	stream_end(f);
	if (tell && hh)
		pump_kick(&hh->pump);
}
