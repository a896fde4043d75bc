/* hub_gateway_socket.c - a WebSocket of a gateway and the host's stream behind it. The WebSocket
 * outlives the stream: when the agent is killed or the link is lost for good, the stream is opened
 * again once the host is back, from where the client is. What the client sent and the stream has
 * not taken waits here, bounded, and the client is not read meanwhile. */
#include "hub/hub_gateway.h"

#include <stdlib.h>

#include "base/log.h"

#define OUT_BUSY     262144 /* bytes for the host beyond which the client is not read */
#define LOSSES_MAX   8      /* streams lost in a row without a frame */
#define CLOSE_AGAIN  1012   /* "service restart": clients come back */
#define CLOSE_BROKEN 1011

static void socket_event(struct pump_user *u, const struct session_event *ev);

void gw_socket_init(struct gw_socket *s, struct hub_gateway *g, struct gate_conn *c,
		    const struct gw_kind *kind)
{
	s->user.event = socket_event;
	s->gateway = g;
	s->conn = c;
	s->kind = kind;
	list_init(&s->out);
	buf_init(&s->in, kind->in_max);
	list_add_tail(&g->sockets, &s->node);
	gate_set_user(c, s);
}

static struct hub_host *host_of(const struct gw_socket *s)
{
	return host_find(s->gateway->hub, s->gateway->host);
}

/* ---- to the host ---- */

static void out_free(struct gw_socket *s, struct gw_out *o)
{
	s->out_bytes -= o->frames.len;
	list_del(&o->node);
	buf_fini(&o->frames);
	free(o);
}

static void pace(struct gw_socket *s)
{
	bool busy = s->out_bytes > OUT_BUSY;

	if (busy != s->paused)
		gate_pause(s->conn, busy);
	s->paused = busy;
}

static void flush(struct gw_socket *s)
{
	struct hub_host *hh = host_of(s);
	bool moved = false;

	while (s->phase == GW_RUNNING && s->stream && !list_empty(&s->out)) {
		struct gw_out *o = list_entry(s->out.next, struct gw_out, node);
		struct tl_bytes b = buf_data(&o->frames);
		long n = session_write(s->stream, bytes_of(b.p + o->sent, b.n - o->sent));
		if (n <= 0)
			break;
		moved = true;
		o->sent += (size_t)n;
		if (o->sent < o->frames.len)
			break;
		out_free(s, o);
	}
	pace(s);
	if (moved && hh)
		pump_kick(&hh->pump);
}

void gw_socket_write(struct gw_socket *s, struct buf *frames, bool first)
{
	struct gw_out *o = calloc(1, sizeof(*o));

	if (!o) {
		buf_fini(frames);
		gate_close(s->conn, CLOSE_BROKEN);
		return;
	}
	o->frames = *frames;
	s->out_bytes += o->frames.len;
	if (first)
		list_add_head(&s->out, &o->node);
	else
		list_add_tail(&s->out, &o->node);
	flush(s);
}

/* ---- the stream ---- */

static void drop_stream(struct gw_socket *s)
{
	struct session_stream *st = s->stream;
	struct hub_host *hh = host_of(s);

	s->stream = NULL;
	if (!st)
		return;
	session_stream_set_user(st, NULL);
	session_reset(st);
	if (hh)
		pump_kick(&hh->pump);
}

void gw_socket_connect(struct gw_socket *s)
{
	struct hub_host *hh = host_of(s);
	char *line;

	if (s->phase == GW_OVER || s->stream || !hh || !hh->session || !s->id)
		return;
	line = str_fmt("{\"open\":\"%s\",\"id\":\"%s\"}\n", s->kind->open, s->id);
	s->stream = line ? session_open(hh->session, SESSION_KEY) : NULL;
	if (!s->stream) {
		free(line);
		gate_close(s->conn, CLOSE_AGAIN);
		return;
	}
	s->phase = GW_OPENING;
	buf_clear(&s->in);
	session_stream_set_user(s->stream, &s->user);
	session_write(s->stream, bytes_str(line));
	free(line);
	pump_kick(&hh->pump);
}

/* The stream ended while somebody still wants it: opened again, a few times. */
static void again(struct gw_socket *s)
{
	if (s->phase == GW_OVER)
		return;
	s->phase = GW_FINDING;
	LIST_FOREACH (it, &s->out)
		list_entry(it, struct gw_out, node)->sent = 0;
	if (++s->losses > LOSSES_MAX) {
		log_line(LOG_WARN, s->gateway->host,
			 "a stream of the gateway breaks again and again");
		gate_close(s->conn, CLOSE_AGAIN);
		return;
	}
	gw_socket_host(s, true);
}

/* The first line. False: the stream is gone. */
static bool take_answer(struct gw_socket *s)
{
	struct tl_bytes line;
	size_t used;
	int rc = open_next_line(session_peek(s->stream), &line, &used);
	yyjson_doc *doc = rc == 1 ? json_parse(line, NULL) : NULL;
	yyjson_val *root = yyjson_doc_get_root(doc);
	bool ok = json_get(root, "ok") != NULL, none;

	if (rc == 0 && !session_eof(s->stream))
		return true;
	none = strcmp(json_str(json_get(root, "error"), "name", ""), "no_kernel") == 0 ||
	       strcmp(json_str(json_get(root, "error"), "name", ""), "no_terminal") == 0;
	yyjson_doc_free(doc);
	if (ok) {
		session_consume(s->stream, used);
		s->phase = GW_RUNNING;
		s->kind->opened(s);
		return true;
	}
	drop_stream(s);
	if (none) {
		s->phase = GW_OVER;
		s->kind->ended(s);
	} else {
		again(s);
	}
	return false;
}

/* Frames, as far as the client takes what they carry. */
void gw_socket_run(struct gw_socket *s)
{
	struct hub_host *hh = host_of(s);
	bool moved = false;

	while (s->stream && s->phase == GW_RUNNING && !s->blocked) {
		struct tl_bytes b;
		size_t room = buf_room(&s->in);
		long n = s->kind->frame(s);
		if (n < 0) {
			log_line(LOG_WARN, s->gateway->host,
				 "a stream of the gateway is broken: %s", err_row((int)n)->what);
			drop_stream(s);
			again(s);
			return;
		}
		if (n > 0) {
			s->losses = 0;
			buf_consume(&s->in, (size_t)n);
			continue;
		}
		if (s->blocked || !s->stream)
			break;
		b = session_peek(s->stream);
		b.n = b.n < room ? b.n : room;
		if (b.n == 0)
			break;
		if (buf_put(&s->in, b.p, b.n) != 0) {
			gate_close(s->conn, CLOSE_BROKEN);
			return;
		}
		session_consume(s->stream, b.n);
		moved = true;
	}
	if (s->stream && s->phase == GW_RUNNING && !s->blocked && session_eof(s->stream)) {
		drop_stream(s);
		again(s);
		return;
	}
	if (moved && hh)
		pump_kick(&hh->pump);
}

static void socket_event(struct pump_user *u, const struct session_event *ev)
{
	struct gw_socket *s = (struct gw_socket *)(void *)u;

	if (ev->type == SESSION_EV_CLOSED) {
		s->stream = NULL;
		/* a link that is lost says so by itself, to all */
		if (host_of(s) && host_of(s)->session)
			again(s);
		return;
	}
	if (ev->type == SESSION_EV_READABLE && s->phase == GW_OPENING && !take_answer(s))
		return;
	if (ev->type == SESSION_EV_READABLE)
		gw_socket_run(s);
	else if (ev->type == SESSION_EV_WRITABLE)
		flush(s);
}

void gw_socket_host(struct gw_socket *s, bool there)
{
	struct hub_host *hh = host_of(s);
	struct tl_err e;

	if (s->phase == GW_OVER)
		return;
	if (!there) {
		/* the session's memory goes, its streams with it */
		s->stream = NULL;
		s->phase = GW_FINDING;
		LIST_FOREACH (it, &s->out)
			list_entry(it, struct gw_out, node)->sent = 0;
		return;
	}
	if (!s->opened || s->stream)
		return;
	if (!hh || hh->phase == HOST_DISCONNECTED)
		hh = gw_host(s->gateway, &e);
	if (!hh)
		gate_close(s->conn, CLOSE_AGAIN);
	else if (hh->phase != HOST_CONNECTED)
		return;
	else if (s->id)
		gw_socket_connect(s);
	else
		gw_channels_find(s);
}

void gw_socket_free(struct gw_socket *s)
{
	drop_stream(s);
	s->kind->fini(s);
	LIST_FOREACH_SAFE (it, &s->out)
		out_free(s, list_entry(it, struct gw_out, node));
	buf_fini(&s->in);
	list_del(&s->node);
	free(s->id);
	free(s);
}
