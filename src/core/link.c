/* link.c - see link.h: state, output, timers, events. What comes in is in link_in.c.
 *
 * Output is planned one frame at a time: link_pull fills `head` with the control frames that are
 * due and, where there are bytes, a DATA header; the payload goes out straight from the ring. A
 * plan once made is kept until it is written, so the transport may take it in pieces of any size.
 * Control frames are flags, not a queue: an ACK that waited says what is true when it leaves, and
 * nothing can pile up. */
#include "core/link.h"

#include <stdio.h>

#include "base/err.h"
#include "base/limits.h"
#include "base/str.h"
#include "core/fault.h"

void link_init(struct link *l, bool client, const uint8_t id[LINK_ID_SIZE])
{
	*l = (struct link){.client = client, .wake_due_ms = UINT64_MAX};
	memcpy(l->id, id, LINK_ID_SIZE);
	ring_init(&l->tx, TL_LIMIT_LINK_RING, 0);
	pace_reset(&l->pace);
}

void link_fini(struct link *l)
{
	ring_fini(&l->tx);
}

/* Forgets everything that belongs to one transport. */
static void link_clear_transport(struct link *l)
{
	if (!FAULT(FAULT_STALE_OUTPUT))
		l->head_off = l->head_len = l->data_left = 0;
	l->asked = l->asks = false;
	l->want_hello = l->want_ack = l->want_ping = l->want_pong = l->want_bye = false;
	l->head_has_ping = l->ping_open = l->sent_since_ping = false;
	l->wake_due_ms = UINT64_MAX;
	l->ev_up = l->ev_silent = l->ev_proto = false;
	if (!FAULT(FAULT_STALE_INPUT)) {
		l->in_have = 0;
		l->in_payload = false;
	}
}

void link_up(struct link *l, uint32_t epoch, uint64_t now_ms)
{
	if (l->state == LINK_OVER)
		return;
	link_down(l, now_ms);
	l->heard_ms = now_ms;
	l->want_hello = true;
	if (!l->epoch)
		l->down_since_ms = now_ms;
	if (l->client) {
		l->epoch++;
	} else if (epoch <= l->epoch) {
		l->state = LINK_BROKEN;
		l->want_bye = true;
		l->bye_error = TL_E_STALE;
		str_copy(l->bye_text, sizeof(l->bye_text), "a newer connection took over");
		l->ev_proto = true;
		l->over_error = TL_E_STALE;
		str_copy(l->over_text, sizeof(l->over_text), l->bye_text);
		return;
	} else {
		l->epoch = epoch;
	}
	l->state = LINK_HELLO;
}

void link_down(struct link *l, uint64_t now_ms)
{
	if (l->state == LINK_UP)
		l->down_since_ms = now_ms;
	if (l->state != LINK_OVER)
		l->state = LINK_DOWN;
	link_clear_transport(l);
}

void link_end(struct link *l, int error, const char *text, bool report)
{
	if (l->state == LINK_OVER)
		return;
	l->want_bye = l->state != LINK_DOWN;
	l->bye_error = error;
	str_copy(l->bye_text, sizeof(l->bye_text), text ? text : "");
	l->state = LINK_OVER;
	if (report) {
		l->ev_bye = true;
		l->over_error = error;
		str_copy(l->over_text, sizeof(l->over_text), text ? text : "");
	}
}

/* ---- output ---- */

/* b - a of a clock that a caller may have read a moment earlier. */
static uint64_t since(uint64_t a, uint64_t b)
{
	return b > a ? b - a : 0;
}

static uint64_t earliest(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* Marks the control frames whose time has come; the time of the next one. Asked by tick and by
 * pull, so that an owner may call them in either order. */
static uint64_t link_due(struct link *l, uint64_t now_ms)
{
	/* silence asks "are you there"; traffic asks now and then how long a round trip takes */
	uint64_t ping_due = l->heard_ms + TL_LIMIT_LINK_PING_MS;
	if (ping_due < l->ping_ms + TL_LIMIT_LINK_PING_MS || l->sent_since_ping)
		ping_due = l->ping_ms + TL_LIMIT_LINK_PING_MS;
	if (now_ms >= ping_due) {
		if (!l->head_has_ping)
			l->want_ping = true;
		ping_due = now_ms + TL_LIMIT_LINK_PING_MS;
	}
	if (l->rx_off == l->rx_acked_off || l->want_ack)
		return ping_due;
	if (now_ms < l->ack_due_ms)
		return earliest(ping_due, l->ack_due_ms);
	l->want_ack = true;
	return ping_due;
}

bool link_wants_data(const struct link *l)
{
	return l->state == LINK_UP && l->head_off == l->head_len && !l->data_left;
}

static size_t link_cap(const struct link *l)
{
	return FAULT(FAULT_DEAF_TO_CAP) ? TL_LIMIT_LINK_RING : l->pace.cap_bytes;
}

size_t link_room(const struct link *l, bool control)
{
	if (l->state != LINK_UP)
		return 0;
	size_t held = ring_len(&l->tx), cap = link_cap(l);
	/* the overdraw must fit even when the cap is as large as the ring */
	if (cap > l->tx.max - LINK_OVERDRAW)
		cap = l->tx.max - LINK_OVERDRAW;
	if (control)
		cap += LINK_OVERDRAW;
	return held < cap ? cap - held : 0;
}

int link_put(struct link *l, const struct tl_bytes *parts, size_t n)
{
	uint64_t before = l->tx.next_off;
	for (size_t i = 0; i < n; i++) {
		int rc = ring_put(&l->tx, parts[i].p, parts[i].n);
		if (rc) {
			l->tx.next_off = before;
			return rc;
		}
	}
	return 0;
}

static uint8_t *link_head_frame(struct link *l, uint8_t type, uint8_t flags, size_t length,
				uint32_t offset_low)
{
	uint8_t *at = l->head + l->head_len;
	tl_assert(length <= UINT16_MAX);
	link_header_put(at, &(struct link_header){type, flags, (uint16_t)length, offset_low});
	l->head_len += LINK_HEADER;
	if (type != LINK_FRAME_DATA)
		l->head_len += length;
	tl_assert(l->head_len <= sizeof(l->head));
	return at + LINK_HEADER;
}

static void link_plan_hello(struct link *l)
{
	tl_assert(l->head_len == 0);
	link_hello_put(l->head, &(struct link_hello){.proto_min = LINK_PROTO,
						     .proto_max = LINK_PROTO,
						     .epoch = l->epoch,
						     .recv_off = l->rx_off,
						     .base_off = l->tx.base_off,
						     .ring_bytes = TL_LIMIT_LINK_RING});
	memcpy(l->head + LINK_HEADER + 4, l->id, LINK_ID_SIZE);
	l->head_len = LINK_HEADER + LINK_HELLO_SIZE;
	l->want_hello = false;
	l->rx_acked_off = l->rx_off;
}

static void link_plan_ack(struct link *l)
{
	uint64_t off = l->rx_off;
	if (FAULT(FAULT_ACK_OFF_BY_ONE))
		off++;
	set_u64(link_head_frame(l, LINK_FRAME_ACK, 0, 8, 0), off);
	l->rx_acked_off = l->rx_off;
	l->want_ack = false;
}

static void link_plan_bye(struct link *l)
{
	size_t n = strlen(l->bye_text);
	uint8_t *p = link_head_frame(l, LINK_FRAME_BYE, 0, 4 + n, 0);
	set_u32(p, (uint32_t)-l->bye_error);
	memcpy(p + 4, l->bye_text, n);
	l->want_bye = false;
}

static size_t part_of_cap(const struct link *l, size_t parts, size_t least, size_t most)
{
	size_t n = l->pace.cap_bytes / parts;
	return n < least ? least : n > most ? most : n;
}

size_t link_frame_max(const struct link *l)
{
	return part_of_cap(l, 16, TL_LIMIT_LINK_FRAME_SEND, TL_LIMIT_LINK_FRAME_MAX);
}

/* Four times for each cap's worth of bytes: the sender never waits for an acknowledgement that the
 * receiver has no reason to send. */
static uint8_t link_ask(struct link *l, size_t data)
{
	uint64_t end = l->sent_off + data;
	size_t step = part_of_cap(l, 4, TL_LIMIT_LINK_ACK_BYTES, TL_LIMIT_LINK_ACK_ASKED);
	if (l->asked && l->asked_off <= l->sent_off && end - l->asked_off < step)
		return 0;
	l->asked = true;
	l->asked_off = end;
	return LINK_FLAG_DATA_ASK;
}

/* Bytes of the ring for the next DATA frame. After a resume the ring may hold more than the cap of
 * the fresh path, so the cap counts here too. */
static size_t link_sendable(struct link *l)
{
	if (l->state != LINK_UP)
		return 0;
	uint64_t waiting = l->tx.next_off - l->sent_off, flying = l->sent_off - l->tx.base_off;
	uint64_t cap = link_cap(l) + LINK_OVERDRAW;
	if (waiting && flying >= cap)
		pace_limited(&l->pace);
	uint64_t n = flying < cap ? cap - flying : 0;
	if (n > waiting)
		n = waiting;
	return n > link_frame_max(l) ? link_frame_max(l) : (size_t)n;
}

static void link_plan(struct link *l)
{
	l->head_off = l->head_len = 0;
	if (l->want_hello)
		link_plan_hello(l);
	if (l->want_bye)
		link_plan_bye(l);
	if (l->state != LINK_HELLO && l->state != LINK_UP)
		return;
	if (l->want_pong) {
		set_u64(link_head_frame(l, LINK_FRAME_PING, LINK_FLAG_PING_REPLY, 8, 0),
			l->pong_opaque);
		l->want_pong = false;
	}
	if (l->want_ping) {
		set_u64(link_head_frame(l, LINK_FRAME_PING, 0, 8, 0), ++l->ping_opaque);
		l->want_ping = l->sent_since_ping = false;
		l->head_has_ping = true;
	}
	size_t data = link_sendable(l);
	/* an acknowledgement costs nothing extra when something goes out anyway */
	if (l->want_ack || (data && l->rx_off != l->rx_acked_off))
		link_plan_ack(l);
	if (data) {
		link_head_frame(l, LINK_FRAME_DATA, link_ask(l, data), data, (uint32_t)l->sent_off);
		l->data_left = data;
		l->sent_since_ping = true;
	}
}

size_t link_pull(struct link *l, struct tl_bytes v[LINK_SPANS], uint64_t now_ms)
{
	size_t n = 0;
	if (l->state == LINK_DOWN)
		return 0;
	if (l->head_off == l->head_len && !l->data_left) {
		if (l->state == LINK_UP)
			link_due(l, now_ms);
		link_plan(l);
	}
	if (l->head_off < l->head_len)
		v[n++] = bytes_of(l->head + l->head_off, l->head_len - l->head_off);
	for (size_t at = 0; at < l->data_left;) {
		struct tl_bytes part = ring_peek(&l->tx, l->sent_off + at);
		if (part.n > l->data_left - at)
			part.n = l->data_left - at;
		v[n++] = part;
		at += part.n;
	}
	return n;
}

void link_pulled(struct link *l, size_t n, uint64_t now_ms)
{
	size_t head = l->head_len - l->head_off;
	if (head > n)
		head = n;
	l->head_off += head;
	n -= head;
	if (l->head_has_ping && l->head_off == l->head_len) {
		l->head_has_ping = false;
		l->ping_open = true;
		l->ping_ms = now_ms;
	}
	tl_assert(n <= l->data_left);
	l->data_left -= n;
	l->sent_off += n;
	if (FAULT(FAULT_RING_FORGETS) && n)
		ring_trim(&l->tx, l->sent_off);
}

/* ---- time ---- */

uint64_t link_tick(struct link *l, uint64_t now_ms)
{
	uint64_t next = UINT64_MAX;
	if (l->state != LINK_HELLO && l->state != LINK_UP)
		return next;
	uint64_t quiet = since(l->heard_ms, now_ms);
	if (quiet >= TL_LIMIT_LINK_DEAD_MS || now_ms >= l->wake_due_ms) {
		l->state = LINK_BROKEN;
		l->down_since_ms = now_ms;
		l->ev_silent = true;
		return next;
	}
	next = earliest(l->heard_ms + TL_LIMIT_LINK_DEAD_MS, l->wake_due_ms);
	if (l->state == LINK_HELLO)
		return next;
	return earliest(next, link_due(l, now_ms));
}

void link_sweep(struct link *l)
{
	/* nobody will ask for a replay any more; a frame under way still goes out whole */
	if (l->state == LINK_OVER && !l->data_left)
		ring_trim(&l->tx, l->tx.next_off);
	ring_shrink(&l->tx);
}

void link_woke(struct link *l, uint64_t now_ms)
{
	if (l->state != LINK_HELLO && l->state != LINK_UP)
		return;
	l->heard_ms = now_ms;
	if (l->state != LINK_UP)
		return;
	l->want_ping = true;
	l->wake_due_ms = now_ms + TL_LIMIT_LINK_WAKE_MS;
}

bool link_next_event(struct link *l, struct link_event *ret)
{
	*ret = (struct link_event){.text = ""};
	if (l->ev_up) {
		l->ev_up = false;
		ret->type = LINK_EV_UP;
		ret->resumed = l->resumed;
		l->resumed = true;
	} else if (l->ev_silent) {
		l->ev_silent = false;
		ret->type = LINK_EV_SILENT;
	} else if (l->ev_proto || l->ev_bye) {
		ret->type = l->ev_proto ? LINK_EV_PROTO : LINK_EV_BYE;
		*(l->ev_proto ? &l->ev_proto : &l->ev_bye) = false;
		ret->error = l->over_error;
		ret->text = l->over_text;
	}
	return ret->type != LINK_EV_NONE;
}
