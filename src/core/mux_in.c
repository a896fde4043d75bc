/* mux_in.c - what mux.h receives.
 *
 * The smallest thing is closed: a stream whose peer overruns its window or writes after FIN is
 * reset; only what makes every later byte doubtful (version, type, stream numbers) fails the
 * session. Frames for streams we no longer know are dropped: they were on the way when the stream
 * ended. */
#include "base/err.h"
#include "base/limits.h"
#include "core/fault.h"
#include "core/mux.h"

/* A stream the peer opens: NULL when it was refused with RST, or when m has failed. */
static struct mux_stream *in_syn(struct mux *m, uint32_t id)
{
	if (mux_find(m, id)) {
		mux_fail(m, TL_E_PROTO, "the peer opened a stream twice");
		return NULL;
	}
	if ((id & 1) == (m->client ? 1u : 0u)) {
		mux_fail(m, TL_E_PROTO,
			 "the peer opened a stream with a number that is ours to give");
		return NULL;
	}
	struct mux_stream *st = NULL;
	if (m->count < TL_LIMIT_MUX_STREAMS && !m->away_sent)
		st = mux_stream_new(m, id, MUX_NORMAL);
	if (!st) {
		mux_raw(m, YAMUX_WINDOW, YAMUX_RST, id, 0);
		return NULL;
	}
	st->ack_due = true;
	mux_event(st, MUX_EV_OPENED);
	mux_schedule(st);
	return st;
}

static void in_fin(struct mux_stream *st)
{
	if (st->fin_got)
		return;
	st->fin_got = true;
	mux_event(st, MUX_EV_READABLE);
	mux_schedule(st); /* credit is of no use to it any more */
	mux_check_done(st);
}

static void in_window(struct mux_stream *st, const struct yamux_header *h)
{
	if (h->length > UINT32_MAX - st->credit) {
		mux_kill(st, TL_E_PROTO, true);
		return;
	}
	st->credit += h->length;
	mux_schedule(st);
	if (h->flags & YAMUX_FIN)
		in_fin(st);
}

static void in_data_head(struct mux_stream *st, const struct yamux_header *h)
{
	struct mux *m = st->mux;
	if (h->length > st->in_left || (st->fin_got && h->length)) {
		mux_kill(st, TL_E_PROTO, true);
		return;
	}
	st->in_left -= h->length;
	if (!h->length) {
		if (h->flags & YAMUX_FIN)
			in_fin(st);
		return;
	}
	m->in_stream = st;
	m->in_fin = h->flags & YAMUX_FIN;
}

/* DATA or WINDOW */
static int in_stream_frame(struct mux *m, const struct yamux_header *h)
{
	struct mux_stream *st = NULL;
	if (h->flags & YAMUX_SYN)
		st = in_syn(m, h->stream);
	else
		st = mux_find(m, h->stream);
	if (m->failed)
		return m->fail_code;
	m->in_stream = NULL;
	m->in_payload = h->type == YAMUX_DATA ? h->length : 0;
	if (!st)
		return 0;
	if (st->unacked) {
		/* any frame is an answer; ACK need not come alone */
		st->unacked = false;
		m->unacked--;
	}
	if (h->flags & YAMUX_RST)
		mux_kill(st, TL_E_CLOSED, false);
	else if (h->type == YAMUX_DATA)
		in_data_head(st, h);
	else
		in_window(st, h);
	return m->fail_code;
}

static int in_session_frame(struct mux *m, const struct yamux_header *h)
{
	if (h->type == YAMUX_GOAWAY) {
		m->away_got = true;
		m->away_reason = h->length;
	} else if (h->flags & YAMUX_SYN) {
		mux_raw(m, YAMUX_PING, YAMUX_ACK, 0, h->length);
	} else if (h->flags & YAMUX_ACK) {
		m->pings_back++;
		m->ping_back = h->length;
	}
	return m->fail_code;
}

static int in_header(struct mux *m)
{
	struct yamux_header h;
	if (yamux_header_get(m->in_head, &h))
		return mux_fail(m, TL_E_PROTO, "a frame that is not yamux version 0");
	return h.stream ? in_stream_frame(m, &h) : in_session_frame(m, &h);
}

static void in_payload(struct mux *m, struct tl_bytes part)
{
	struct mux_stream *st = m->in_stream;
	m->in_payload -= (uint32_t)part.n;
	if (!st)
		return;
	if (ring_put(&st->in, part.p, part.n)) {
		mux_kill(st, TL_E_NOMEM, true);
		return;
	}
	st->touched = true;
	if (FAULT(FAULT_CREDIT_TWICE)) {
		st->give += (uint32_t)part.n;
		mux_schedule(st);
	}
	mux_event(st, MUX_EV_READABLE);
	if (!m->in_payload && m->in_fin)
		in_fin(st);
}

int mux_feed(struct mux *m, struct tl_bytes in)
{
	while (in.n) {
		if (m->failed)
			return m->fail_code;
		size_t want = m->in_payload ? m->in_payload : YAMUX_HEADER - m->in_have;
		struct tl_bytes part = bytes_of(in.p, in.n < want ? in.n : want);
		in.p += part.n;
		in.n -= part.n;
		if (m->in_payload) {
			in_payload(m, part);
			continue;
		}
		memcpy(m->in_head + m->in_have, part.p, part.n);
		m->in_have += part.n;
		if (m->in_have < YAMUX_HEADER)
			continue;
		m->in_have = 0;
		if (in_header(m))
			return m->fail_code;
	}
	return m->fail_code;
}
