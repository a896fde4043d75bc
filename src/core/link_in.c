/* link_in.c - the receiving half of link.h.
 *
 * DATA is handed out as it comes, without waiting for the whole frame: the offset, not the frame,
 * is what counts. So a cut in the middle of a frame loses nothing that had arrived. */
#include <stdio.h>

#include "base/err.h"
#include "base/limits.h"
#include "base/str.h"
#include "core/fault.h"
#include "core/link.h"

static int link_broken(struct link *l, const char *text)
{
	if (l->state == LINK_UP)
		l->down_since_ms = l->heard_ms;
	l->state = LINK_BROKEN;
	l->ev_proto = true;
	l->over_error = TL_E_PROTO;
	str_copy(l->over_text, sizeof(l->over_text), text);
	return TL_E_PROTO;
}

static int link_in_hello(struct link *l)
{
	struct link_hello h;
	char text[LINK_TEXT];
	if (l->state != LINK_HELLO)
		return link_broken(l, "the peer introduced itself twice");
	if (link_hello_get(l->in_body, &h))
		return link_broken(l, "the peer's HELLO names an impossible protocol range");
	if (h.proto_min > LINK_PROTO || h.proto_max < LINK_PROTO) {
		snprintf(text, sizeof(text), "we speak link protocol %d, the peer %u to %u",
			 LINK_PROTO, h.proto_min, h.proto_max);
		link_end(l, TL_E_VERSION, text, true);
		return 0;
	}
	if (memcmp(h.link_id, l->id, LINK_ID_SIZE) != 0)
		return link_broken(l, "the peer's HELLO is about another link");
	if (h.epoch != l->epoch)
		return link_broken(l, "the peer's HELLO is about another connection of this link");
	if (h.recv_off < l->tx.base_off || h.recv_off > l->tx.next_off || h.base_off > l->rx_off) {
		snprintf(text, sizeof(text),
			 "the peer has %llu of our bytes and we hold %llu to %llu; we have %llu of "
			 "its bytes and it holds them from %llu",
			 (unsigned long long)h.recv_off, (unsigned long long)l->tx.base_off,
			 (unsigned long long)l->tx.next_off, (unsigned long long)l->rx_off,
			 (unsigned long long)h.base_off);
		link_end(l, TL_E_GAP, text, true);
		return 0;
	}
	ring_trim(&l->tx, h.recv_off);
	if (!FAULT(FAULT_NO_REWIND) || l->sent_off < h.recv_off)
		l->sent_off = h.recv_off;
	pace_reset(&l->pace);
	l->state = LINK_UP;
	l->down_since_ms = UINT64_MAX;
	l->ev_up = true;
	l->want_ping = true; /* the first round trip, on an empty path */
	return 0;
}

static int link_in_ack(struct link *l, uint64_t now_ms)
{
	uint64_t off = get_u64(l->in_body), before = l->tx.base_off;
	if (off < before || off > l->sent_off)
		return link_broken(l, "the peer acknowledged what was never sent");
	ring_trim(&l->tx, off);
	pace_acked(&l->pace, off - before, l->sent_off - off, now_ms);
	return 0;
}

static int link_in_ping(struct link *l, uint64_t now_ms)
{
	uint64_t opaque = get_u64(l->in_body);
	if (!(l->in.flags & LINK_FLAG_PING_REPLY)) {
		l->want_pong = true;
		l->pong_opaque = opaque;
		return 0;
	}
	/* an old reply, from before a second PING, says nothing about the second */
	if (l->ping_open && opaque == l->ping_opaque) {
		l->ping_open = false;
		l->wake_due_ms = UINT64_MAX;
		pace_rtt(&l->pace, now_ms > l->ping_ms ? now_ms - l->ping_ms : 0);
	}
	return 0;
}

static int link_in_bye(struct link *l, size_t n)
{
	uint32_t error = get_u32(l->in_body);
	l->state = LINK_OVER;
	l->ev_bye = true;
	l->over_error = error > INT32_MAX ? TL_E_PROTO : -(int)error;
	n -= 4;
	if (n > sizeof(l->over_text) - 1)
		n = sizeof(l->over_text) - 1;
	memcpy(l->over_text, l->in_body + 4, n);
	l->over_text[n] = 0;
	if (!utf8_valid(bytes_str(l->over_text)))
		l->over_text[0] = 0;
	return 0;
}

static int link_in_header(struct link *l)
{
	char text[LINK_TEXT];
	if (link_header_get(l->in_head, &l->in)) {
		snprintf(text, sizeof(text), "frame of type %u with %u bytes", l->in.type,
			 l->in.length);
		return link_broken(l, text);
	}
	if (l->state == LINK_HELLO && l->in.type != LINK_FRAME_HELLO &&
	    l->in.type != LINK_FRAME_BYE)
		return link_broken(l, "the peer did not begin with HELLO");
	if (l->in.type == LINK_FRAME_DATA && l->in.offset_low != (uint32_t)l->rx_off) {
		snprintf(text, sizeof(text), "bytes for offset ...%08x where ...%08x is next",
			 l->in.offset_low, (uint32_t)l->rx_off);
		return link_broken(l, text);
	}
	l->in_payload = l->in.length > 0;
	l->in_have = 0;
	return 0;
}

static int link_in_control(struct link *l, uint64_t now_ms)
{
	size_t n = l->in.length < sizeof(l->in_body) ? l->in.length : sizeof(l->in_body);
	switch (l->in.type) {
	case LINK_FRAME_HELLO:
		return link_in_hello(l);
	case LINK_FRAME_ACK:
		return link_in_ack(l, now_ms);
	case LINK_FRAME_PING:
		return link_in_ping(l, now_ms);
	default:
		return link_in_bye(l, n);
	}
}

/* Part of a payload. */
static int link_in_body(struct link *l, struct tl_bytes part, uint64_t now_ms,
			struct tl_bytes *ret_data)
{
	if (l->in.type == LINK_FRAME_DATA) {
		if (l->rx_off == l->rx_acked_off)
			l->ack_due_ms = now_ms + TL_LIMIT_LINK_ACK_MS;
		l->rx_off += part.n;
		l->asks = l->asks || (l->in.flags & LINK_FLAG_DATA_ASK);
		if (l->rx_off - l->rx_acked_off >=
		    (l->asks ? TL_LIMIT_LINK_ACK_ASKED : TL_LIMIT_LINK_ACK_BYTES))
			l->want_ack = true;
		*ret_data = part;
	} else if (l->in_have < sizeof(l->in_body)) {
		/* only BYE can be longer than in_body: the rest of its text is dropped */
		size_t keep = sizeof(l->in_body) - l->in_have;
		memcpy(l->in_body + l->in_have, part.p, part.n < keep ? part.n : keep);
	}
	l->in_have += part.n;
	if (l->in_have < l->in.length)
		return 0;
	l->in_have = 0;
	l->in_payload = false;
	if (l->in.type == LINK_FRAME_DATA && (l->in.flags & LINK_FLAG_DATA_ASK))
		l->want_ack = true;
	return l->in.type == LINK_FRAME_DATA ? 0 : link_in_control(l, now_ms);
}

int link_feed(struct link *l, struct tl_bytes *in, uint64_t now_ms, struct tl_bytes *ret_data)
{
	int rc = 0;
	*ret_data = bytes_of(in->p, 0);
	if (in->n && (l->state == LINK_HELLO || l->state == LINK_UP)) {
		l->heard_ms = now_ms;
		/* after a sleep any byte proves little (it may have waited here), but buys time */
		if (l->wake_due_ms != UINT64_MAX)
			l->wake_due_ms = now_ms + TL_LIMIT_LINK_WAKE_MS;
	}
	while (in->n && !rc && !ret_data->n) {
		if (l->state != LINK_HELLO && l->state != LINK_UP)
			break;
		size_t want = (l->in_payload ? l->in.length : LINK_HEADER) - l->in_have;
		struct tl_bytes part = bytes_of(in->p, in->n < want ? in->n : want);
		in->p += part.n;
		in->n -= part.n;
		if (l->in_payload) {
			rc = link_in_body(l, part, now_ms, ret_data);
			continue;
		}
		memcpy(l->in_head + l->in_have, part.p, part.n);
		l->in_have += part.n;
		if (l->in_have == LINK_HEADER)
			rc = link_in_header(l);
	}
	if (rc || (l->state != LINK_HELLO && l->state != LINK_UP)) {
		in->p += in->n;
		in->n = 0;
	}
	return rc;
}
