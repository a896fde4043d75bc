/* edge_gate_ws.c - WebSockets of a gate: whole messages in, whole messages out, a bounded queue.
 * Back-pressure: gate_send refuses while much waits, gate_pause stops reading. */
#include "edge/edge_gate_priv.h"

#include <string.h>

#include "base/log.h"
#include "wire/jupyter_ws.h"

/* one message always fits behind what may wait */
#define QUEUE_MAX (TL_LIMIT_STREAM_BUFFER + 2 * TL_LIMIT_KERNEL_MESSAGE)
#define IN_MAX    (TL_LIMIT_KERNEL_MESSAGE + 65536)
#define TURN      32 /* frames sent in one turn of the loop */
#define CLOSE_S   5

void gate_ws_begin(struct gate_conn *c)
{
	c->socket = true;
	buf_fini(&c->in);
	buf_init(&c->in, IN_MAX);
}

uint64_t gate_sent(const struct gate_conn *c)
{
	return c->sent;
}

bool gate_send(struct gate_conn *c, struct tl_bytes message, bool text, uint64_t mark)
{
	if (c->closing)
		return true;
	if (c->out.bytes > TL_LIMIT_STREAM_BUFFER) {
		c->full = true;
		return false;
	}
	if (out_message(&c->out, message, text, mark, QUEUE_MAX) != 0) {
		log_warn("a message for a client of a gateway is too large: %zu bytes", message.n);
		out_fini(&c->out);
		gate_close(c, LWS_CLOSE_STATUS_MESSAGE_TOO_LARGE);
	}
	lws_callback_on_writable(c->wsi);
	return true;
}

void gate_pause(struct gate_conn *c, bool paused)
{
	if (!c->closing)
		lws_rx_flow_control(c->wsi, paused ? 0 : 1);
}

void gate_close(struct gate_conn *c, int code)
{
	if (c->closing)
		return;
	c->closing = true;
	c->close_code = code;
	lws_set_timeout(c->wsi, PENDING_TIMEOUT_CLOSE_SEND, CLOSE_S);
	lws_callback_on_writable(c->wsi);
}

static void received(struct gate_conn *c, struct tl_bytes in)
{
	struct edge_gate *g = c->gate;
	bool binary = lws_frame_is_binary(c->wsi) != 0;
	bool whole = lws_is_final_fragment(c->wsi) != 0;

	if (c->closing)
		return;
	/* the usual message is whole: no copy */
	if (c->in.len == 0 && whole && lws_is_first_fragment(c->wsi)) {
		g->ops.on_message(g->ctx, c, in, binary);
		return;
	}
	if (buf_put(&c->in, in.p, in.n) != 0) {
		gate_close(c, LWS_CLOSE_STATUS_MESSAGE_TOO_LARGE);
		return;
	}
	if (!whole)
		return;
	g->ops.on_message(g->ctx, c, buf_data(&c->in), binary);
	buf_clear(&c->in);
	buf_shrink(&c->in);
}

static int writable(struct gate_conn *c)
{
	struct out_frame *f;

	for (int i = 0; i < TURN && (f = out_head(&c->out)) != NULL; i++) {
		enum lws_write_protocol how = !f->first ? LWS_WRITE_CONTINUATION
					      : f->text ? LWS_WRITE_TEXT
							: LWS_WRITE_BINARY;
		if (i > 0 && lws_send_pipe_choked(c->wsi))
			break;
		if (!f->last)
			how = (enum lws_write_protocol)(how | LWS_WRITE_NO_FIN);
		if (lws_write(c->wsi, out_payload(f), f->len, how) < 0)
			return -1;
		if (f->last && f->mark)
			c->sent = f->mark;
		out_drop(&c->out);
	}
	if (out_head(&c->out)) {
		lws_callback_on_writable(c->wsi);
	} else if (c->closing && !c->close_sent) {
		c->close_sent = true;
		return ws_put_close(c->wsi, c->close_code);
	}
	if (c->full && !c->closing && c->out.bytes < TL_LIMIT_STREAM_BUFFER / 2) {
		c->full = false;
		c->gate->ops.on_writable(c->gate->ctx, c);
	}
	return 0;
}

int gate_ws_callback(struct gate_conn *c, enum lws_callback_reasons why, void *in, size_t len)
{
	const struct lws_protocols *p;

	switch (why) {
	case LWS_CALLBACK_ESTABLISHED:
		p = lws_get_protocol(c->wsi);
		c->gate->ops.on_open(c->gate->ctx, c, p && strcmp(p->name, JUPYTER_WS_V1) == 0);
		return 0;
	case LWS_CALLBACK_RECEIVE:
		received(c, bytes_of(in, len));
		return 0;
	case LWS_CALLBACK_SERVER_WRITEABLE:
		return writable(c);
	case LWS_CALLBACK_WS_PEER_INITIATED_CLOSE:
		return c->close_sent ? -1 : 0;
	default:
		return 0;
	}
}
