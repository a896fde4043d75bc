/* edge_ws.c - WebSockets of windows: hello, then JSON-RPC in text messages or one stream in binary
 * ones. Owns its connections. Back-pressure both ways: what the hub does not take stops reading
 * from the browser, what the browser does not take stays in a bounded queue and then with the
 * caller. */
#include "edge/edge_lws.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/str.h"
#include "edge/edge_out.h"

#define HELLO_US (10 * LWS_US_PER_SEC) /* for the first message */
#define CLOSE_S  5                     /* for a browser to take its last bytes */
#define PATH     "/ws"
#define PROTOCOL "towline"
/* the library's own value, which its header leaves out between CONTINUATION, HTTP and PING */
#define WRITE_CLOSE ((enum lws_write_protocol)4)

struct ws_client {
	struct edge_client c;
	struct lws *wsi;
	struct out_queue out;
	int close_code; /* while closing */
	bool close_sent;
};

static struct ws_client *of(struct edge_client *c)
{
	return list_entry(c, struct ws_client, c);
}

/* The close frame follows what is queued; a browser that takes nothing is cut off. */
static void ws_close(struct edge_client *c, int ws_code)
{
	struct ws_client *w = of(c);

	if (c->closing)
		return;
	c->closing = true;
	w->close_code = ws_code;
	if (c->stream && ws_code != WS_CLOSE_DONE)
		out_fini(&w->out);
	lws_set_timeout(w->wsi, PENDING_TIMEOUT_CLOSE_SEND, CLOSE_S);
	lws_callback_on_writable(w->wsi);
}

static void ws_send(struct edge_client *c, struct tl_bytes message)
{
	struct ws_client *w = of(c);

	if (out_message(&w->out, message, true, 0, TL_LIMIT_RPC_MESSAGE + TL_LIMIT_STREAM_BUFFER) !=
	    0) {
		log_warn("a window takes no answers and is dropped");
		out_fini(&w->out);
		ws_close(c, WS_CLOSE_BASE - TL_E_LIMIT);
		return;
	}
	lws_callback_on_writable(w->wsi);
}

static size_t ws_write(struct edge_client *c, struct tl_bytes b)
{
	struct ws_client *w = of(c);
	size_t n = out_stream(&w->out, b, TL_LIMIT_STREAM_BUFFER);

	if (n > 0)
		lws_callback_on_writable(w->wsi);
	return n;
}

static void ws_want_read(struct edge_client *c, bool on)
{
	lws_rx_flow_control(of(c)->wsi, on ? 1 : 0);
}

static void ws_finish(struct edge_client *c)
{
	ws_close(c, WS_CLOSE_DONE);
}

static void ws_mode_changed(struct edge_client *c)
{
	if (c->ready)
		lws_set_timer_usecs(of(c)->wsi, LWS_SET_TIMER_USEC_CANCEL);
}

static const struct edge_face ws_face = {
    .send = ws_send,
    .write = ws_write,
    .want_read = ws_want_read,
    .finish = ws_finish,
    .close = ws_close,
    .mode_changed = ws_mode_changed,
};

/* Does the comma separated list of subprotocols have ours? */
static bool offers_us(struct lws *wsi)
{
	char list[128];
	const char *p = list;

	if (lws_hdr_copy(wsi, list, sizeof(list), WSI_TOKEN_PROTOCOL) <= 0)
		return false;
	while (*p) {
		size_t n;
		p += strspn(p, ", \t");
		n = strcspn(p, ", \t");
		if (n == sizeof(PROTOCOL) - 1 && memcmp(p, PROTOCOL, n) == 0)
			return true;
		p += n;
	}
	return false;
}

static int refuse(struct lws *wsi, int status, const char *text)
{
	return http_say(wsi, status, text) != 0 ? -1 : 1;
}

int ws_refuse(struct lws *wsi, const char *what)
{
	struct edge *e = edge_of(wsi);
	char text[64];

	if (!host_is_ours(wsi))
		return refuse(wsi, 421, "This address is served under the name localhost only.");
	if (strcasecmp(what, "websocket") != 0 || port_of_wsi(wsi) != EDGE_PORT_WINDOW ||
	    lws_hdr_copy(wsi, text, sizeof(text), WSI_TOKEN_GET_URI) <= 0 ||
	    strcmp(text, PATH) != 0)
		return refuse(wsi, 404, "There is no WebSocket here.");
	if (lws_hdr_copy(wsi, text, sizeof(text), WSI_TOKEN_ORIGIN) <= 0 ||
	    strcmp(text, e->origin[EDGE_PORT_WINDOW]) != 0) {
		log_warn("a page of another origin asked for a WebSocket");
		return refuse(
		    wsi, 403,
		    "Only Towline's own window may connect here. Open it with `towline open`.");
	}
	if (!offers_us(wsi))
		return refuse(wsi, 400, "The WebSocket protocol must be towline.");
	return 0;
}

static int established(struct lws *wsi, struct ws_slot *slot)
{
	struct ws_client *w = calloc(1, sizeof(*w));

	if (!w)
		return -1;
	slot->w = w;
	w->wsi = wsi;
	out_init(&w->out);
	client_init(&w->c, edge_of(wsi), EDGE_WINDOW, &ws_face);
	lws_set_timer_usecs(wsi, HELLO_US);
	return 0;
}

static void closed(struct ws_slot *slot)
{
	struct ws_client *w = slot->w;

	if (!w)
		return;
	slot->w = NULL;
	client_gone(&w->c);
	out_fini(&w->out);
	free(w);
}

static void take_text(struct ws_client *w, struct tl_bytes in, bool last)
{
	struct edge_client *c = &w->c;

	if (buf_put(&c->in, in.p, in.n) != 0) {
		ws_close(c, LWS_CLOSE_STATUS_MESSAGE_TOO_LARGE);
		return;
	}
	if (!last)
		return;
	client_message(c, buf_data(&c->in));
	buf_clear(&c->in);
	buf_shrink(&c->in);
}

static void received(struct ws_client *w, struct tl_bytes in)
{
	struct edge_client *c = &w->c;
	bool binary = lws_frame_is_binary(w->wsi) != 0;

	if (c->closing)
		return;
	if (c->stream != binary)
		ws_close(c, LWS_CLOSE_STATUS_UNACCEPTABLE_OPCODE);
	else if (c->stream)
		client_stream_in(c, in);
	else
		take_text(w, in, lws_is_final_fragment(w->wsi) != 0);
}

int ws_put_close(struct lws *wsi, int code)
{
	uint8_t frame[LWS_PRE + 2];

	set_u16(frame + LWS_PRE, (uint16_t)code);
	if (lws_write(wsi, frame + LWS_PRE, 2, WRITE_CLOSE) < 0)
		return -1;
	lws_set_timeout(wsi, PENDING_TIMEOUT_CLOSE_ACK, CLOSE_S);
	lws_rx_flow_control(wsi, 1);
	return 0;
}

static int send_close(struct ws_client *w)
{
	if (w->close_sent)
		return 0;
	w->close_sent = true;
	return ws_put_close(w->wsi, w->close_code);
}

/* Sends one frame; more come with the next call. -1 ends the connection. */
static int writable(struct ws_client *w)
{
	struct out_frame *f = out_head(&w->out);
	enum lws_write_protocol how;

	if (!f)
		return w->c.closing ? send_close(w) : 0;
	how = !f->first ? LWS_WRITE_CONTINUATION : f->text ? LWS_WRITE_TEXT : LWS_WRITE_BINARY;
	if (!f->last)
		how = (enum lws_write_protocol)(how | LWS_WRITE_NO_FIN);
	if (lws_write(w->wsi, out_payload(f), f->len, how) < 0)
		return -1;
	out_drop(&w->out);
	if (w->c.stream && w->out.bytes < TL_LIMIT_STREAM_BUFFER / 2)
		client_writable(&w->c);
	if (out_head(&w->out) || w->c.closing)
		lws_callback_on_writable(w->wsi);
	return 0;
}

int ws_callback(struct lws *wsi, enum lws_callback_reasons why, void *user, void *in, size_t len)
{
	struct ws_slot *slot = user;
	struct ws_client *w = slot ? slot->w : NULL;

	switch (why) {
	case LWS_CALLBACK_ESTABLISHED:
		return established(wsi, slot);
	case LWS_CALLBACK_RECEIVE:
		if (w)
			received(w, bytes_of(in, len));
		return 0;
	case LWS_CALLBACK_SERVER_WRITEABLE:
		return w ? writable(w) : 0;
	case LWS_CALLBACK_TIMER:
		if (w && !w->c.ready)
			ws_close(&w->c, WS_CLOSE_BASE - TL_E_TIMEOUT);
		return 0;
	case LWS_CALLBACK_WS_PEER_INITIATED_CLOSE:
		/* the answer to ours needs no answer */
		return w && w->close_sent ? -1 : 0;
	case LWS_CALLBACK_CLOSED:
		closed(slot);
		return 0;
	default:
		return 0;
	}
}
