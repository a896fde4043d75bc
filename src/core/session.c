/* session.c - see session.h: the mux over the link, joined just in time.
 *
 * Bytes wait in the queue of their stream, not in the ring, until the transport is ready for the
 * next frame; only then the mux chooses what goes. So a keystroke waits for one slice and for what
 * is already in flight, never for a queue. */
#include "core/session.h"

#include <stdlib.h>

#include "base/limits.h"
#include "base/str.h"
#include "core/session_parts.h"

#define SWEEP_MS   2000
#define STAGE_SIZE (LINK_HEAD_MAX + TL_LIMIT_LINK_FRAME_MAX)

_Static_assert((int)SESSION_CONTROL == (int)MUX_CONTROL && (int)SESSION_KEY == (int)MUX_KEY &&
		   (int)SESSION_NORMAL == (int)MUX_NORMAL && (int)SESSION_BULK == (int)MUX_BULK,
	       "classes are the mux's");

/* struct session_stream is struct mux_stream under its public name: never defined, only cast. */
static struct mux_stream *mux_of(const struct session_stream *st)
{
	return (struct mux_stream *)(uintptr_t)st;
}

static struct session_stream *public_of(struct mux_stream *st)
{
	return (struct session_stream *)st;
}

struct session *session_new(bool client, const uint8_t link_id[16])
{
	struct session *s = calloc(1, sizeof(*s));
	if (!s)
		return NULL;
	link_init(&s->link, client, link_id);
	mux_init(&s->mux, client);
	s->sweep_ms = UINT64_MAX;
	return s;
}

void session_free(struct session *s)
{
	if (!s)
		return;
	mux_fini(&s->mux);
	link_fini(&s->link);
	free(s->stage);
	free(s);
}

int session_peek_hello(struct tl_bytes in, uint8_t ret_link_id[16], uint32_t *ret_epoch)
{
	struct link_header head;
	struct link_hello hello;
	/* a wrong first byte is told at once: a stranger may never send 56 of them */
	if (in.n && in.p[0] != LINK_FRAME_HELLO)
		return TL_E_PROTO;
	if (in.n < LINK_HEADER)
		return TL_E_AGAIN;
	if (link_header_get(in.p, &head))
		return TL_E_PROTO;
	if (in.n < LINK_HEADER + LINK_HELLO_SIZE)
		return TL_E_AGAIN;
	if (link_hello_get(in.p + LINK_HEADER, &hello))
		return TL_E_PROTO;
	memcpy(ret_link_id, hello.link_id, LINK_ID_SIZE);
	*ret_epoch = hello.epoch;
	return 0;
}

/* ---- the transport ---- */

void session_transport_up(struct session *s, uint32_t server_epoch, uint64_t now_ms)
{
	link_up(&s->link, server_epoch, now_ms);
}

void session_transport_down(struct session *s, uint64_t now_ms)
{
	link_down(&s->link, now_ms);
}

/* Something moved: memory may become idle. */
static void session_used(struct session *s, uint64_t now_ms)
{
	if (s->sweep_ms == UINT64_MAX)
		s->sweep_ms = now_ms + SWEEP_MS;
}

/* What the mux lost or refused will not come again: no new transport can repair this. */
static int session_failed(struct session *s)
{
	link_end(&s->link, s->mux.fail_code, s->mux.text, true);
	return s->mux.fail_code;
}

int session_feed(struct session *s, struct tl_bytes in, uint64_t now_ms)
{
	while (in.n) {
		struct tl_bytes data;
		int rc = link_feed(&s->link, &in, now_ms, &data);
		if (rc)
			return rc;
		session_used(s, now_ms);
		if (!data.n)
			continue;
		if (mux_feed(&s->mux, data))
			return session_failed(s);
	}
	return 0;
}

static size_t least(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* Moves frames into the ring until the next link frame is full. */
static void session_fill(struct session *s)
{
	struct link *l = &s->link;
	size_t most = link_frame_max(l);
	struct mux_frame f;
	for (;;) {
		uint64_t waiting = l->tx.next_off - l->sent_off;
		if (waiting >= most)
			return;
		size_t frame = most - (size_t)waiting;
		size_t data = link_room(l, false);
		if (!mux_next_frame(&s->mux, least(frame, link_room(l, true)), least(frame, data),
				    &f)) {
			if (data < frame && mux_has_data(&s->mux))
				pace_limited(&l->pace);
			return;
		}
		if (link_put(l, f.parts, f.n_parts))
			return;
		mux_frame_sent(&s->mux, &f);
	}
}

size_t session_pullv(struct session *s, struct tl_bytes v[SESSION_SPANS], uint64_t now_ms)
{
	if (s->mux.failed)
		session_failed(s);
	else if (link_wants_data(&s->link))
		session_fill(s);
	size_t n = link_pull(&s->link, v, now_ms);
	if (n)
		session_used(s, now_ms);
	return n;
}

struct tl_bytes session_pull(struct session *s, uint64_t now_ms)
{
	struct tl_bytes v[SESSION_SPANS];
	size_t n = session_pullv(s, v, now_ms), have = 0;
	if (!n)
		return bytes_of("", 0);
	if (n == 1)
		return v[0];
	/* one write of one piece beats two: a header alone would become a packet of its own */
	if (!s->stage)
		s->stage = malloc(STAGE_SIZE);
	if (!s->stage)
		return v[0];
	s->stage_used = true;
	for (size_t i = 0; i < n; i++) {
		memcpy(s->stage + have, v[i].p, v[i].n);
		have += v[i].n;
	}
	return bytes_of(s->stage, have);
}

void session_pulled(struct session *s, size_t n, uint64_t now_ms)
{
	link_pulled(&s->link, n, now_ms);
}

static void session_sweep(struct session *s, uint64_t now_ms)
{
	bool more = mux_sweep(&s->mux);
	link_sweep(&s->link);
	if (!s->stage_used) {
		free(s->stage);
		s->stage = NULL;
	}
	s->stage_used = false;
	more |= (s->link.tx.p && !ring_len(&s->link.tx)) || s->stage;
	s->sweep_ms = more ? now_ms + SWEEP_MS : UINT64_MAX;
}

uint64_t session_tick(struct session *s, uint64_t now_ms)
{
	if (now_ms >= s->sweep_ms)
		session_sweep(s, now_ms);
	uint64_t next = link_tick(&s->link, now_ms);
	return next < s->sweep_ms ? next : s->sweep_ms;
}

void session_woke(struct session *s, uint64_t now_ms)
{
	link_woke(&s->link, now_ms);
}

void session_bye(struct session *s, int error, const char *text)
{
	link_end(&s->link, error, text, false);
}

/* ---- events ---- */

static bool link_event_of(struct session *s, struct session_event *ret)
{
	static const enum session_ev type[] = {
	    [LINK_EV_NONE] = SESSION_EV_NONE,     [LINK_EV_UP] = SESSION_EV_UP,
	    [LINK_EV_SILENT] = SESSION_EV_SILENT, [LINK_EV_PROTO] = SESSION_EV_PROTO,
	    [LINK_EV_BYE] = SESSION_EV_BYE,
	};
	struct link_event ev;
	if (!link_next_event(&s->link, &ev))
		return false;
	ret->type = type[ev.type];
	ret->resumed = ev.resumed;
	ret->error = ev.error;
	str_copy(ret->text, sizeof(ret->text), ev.text);
	if (ev.type == LINK_EV_BYE)
		mux_abort(&s->mux, TL_E_CLOSED);
	return true;
}

static bool mux_event_of(struct session *s, struct session_event *ret)
{
	struct mux_stream *st;
	enum mux_ev ev;
	if (!mux_next_event(&s->mux, &st, &ev))
		return false;
	switch (ev) {
	case MUX_EV_OPENED:
		ret->type = SESSION_EV_OPENED;
		break;
	case MUX_EV_READABLE:
		ret->type = SESSION_EV_READABLE;
		break;
	case MUX_EV_WRITABLE:
		ret->type = SESSION_EV_WRITABLE;
		break;
	case MUX_EV_CLOSED:
		ret->type = SESSION_EV_CLOSED;
		ret->error = st->error;
		break;
	}
	ret->stream = public_of(st);
	ret->user = st->user;
	return true;
}

bool session_next_event(struct session *s, struct session_event *ret)
{
	*ret = (struct session_event){.type = SESSION_EV_NONE};
	return link_event_of(s, ret) || mux_event_of(s, ret);
}

/* ---- facts ---- */

bool session_is_up(const struct session *s)
{
	return s->link.state == LINK_UP;
}

uint32_t session_epoch(const struct session *s)
{
	return s->link.epoch;
}

uint32_t session_rtt_us(const struct session *s)
{
	return s->link.pace.rtt_us;
}

uint64_t session_last_heard_ms(const struct session *s)
{
	return s->link.heard_ms;
}

uint64_t session_down_since_ms(const struct session *s)
{
	return s->link.down_since_ms;
}

size_t session_stream_count(const struct session *s)
{
	return s->mux.count;
}

void session_counters(const struct session *s, uint64_t *ret_sent_off, uint64_t *ret_recv_off)
{
	*ret_sent_off = s->link.sent_off;
	*ret_recv_off = s->link.rx_off;
}

/* ---- streams ---- */

struct session_stream *session_open(struct session *s, enum session_class cls)
{
	return s->link.state == LINK_OVER ? NULL : public_of(mux_open(&s->mux, cls));
}

void session_stream_set_user(struct session_stream *st, void *user)
{
	mux_of(st)->user = user;
}

void *session_stream_user(const struct session_stream *st)
{
	return mux_of(st)->user;
}

void session_stream_set_class(struct session_stream *st, enum session_class cls)
{
	mux_set_class(mux_of(st), cls);
}

long session_write(struct session_stream *st, struct tl_bytes in)
{
	return mux_write(mux_of(st), in);
}

size_t session_writable(const struct session_stream *st)
{
	return mux_writable(mux_of(st));
}

struct tl_bytes session_peek(struct session_stream *st)
{
	return mux_peek(mux_of(st));
}

void session_consume(struct session_stream *st, size_t n)
{
	mux_consume(mux_of(st), n);
}

bool session_eof(const struct session_stream *st)
{
	return mux_eof(mux_of(st));
}

void session_finish(struct session_stream *st)
{
	mux_finish(mux_of(st));
}

void session_reset(struct session_stream *st)
{
	mux_reset(mux_of(st));
}
