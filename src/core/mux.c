/* mux.c - see mux.h: streams, their life and what their owner calls. */
#include "core/mux.h"

#include <stdlib.h>

#include "base/err.h"
#include "base/limits.h"
#include "core/fault.h"

void mux_init(struct mux *m, bool client)
{
	*m = (struct mux){.client = client, .next_id = client ? 1 : 2, .text = ""};
	for (size_t i = 0; i < MUX_BUCKETS; i++)
		list_init(&m->bucket[i]);
	for (size_t i = 0; i < MUX_CLASSES; i++)
		list_init(&m->cls[i].ready);
	list_init(&m->control);
	list_init(&m->events);
	list_init(&m->dying);
	buf_init(&m->raw, TL_LIMIT_MUX_CONTROL_BYTES);
}

static void mux_stream_free(struct mux_stream *st)
{
	list_del(&st->node);
	list_del(&st->control_node);
	list_del(&st->ready_node);
	list_del(&st->event_node);
	ring_fini(&st->in);
	ring_fini(&st->out);
	free(st);
}

static void mux_free_all(struct list *head)
{
	LIST_FOREACH_SAFE (it, head)
		mux_stream_free(list_entry(it, struct mux_stream, node));
}

void mux_fini(struct mux *m)
{
	for (size_t i = 0; i < MUX_BUCKETS; i++)
		mux_free_all(&m->bucket[i]);
	/* over, and their CLOSED not yet taken: they hang on the event list only */
	LIST_FOREACH_SAFE (it, &m->events)
		mux_stream_free(list_entry(it, struct mux_stream, event_node));
	mux_free_all(&m->dying);
	buf_fini(&m->raw);
}

static struct list *mux_bucket(struct mux *m, uint32_t id)
{
	/* ids of one side differ by two; the two sides interleave */
	return &m->bucket[id & (MUX_BUCKETS - 1)];
}

struct mux_stream *mux_find(struct mux *m, uint32_t id)
{
	LIST_FOREACH (it, mux_bucket(m, id)) {
		struct mux_stream *st = list_entry(it, struct mux_stream, node);
		if (st->id == id)
			return st;
	}
	return NULL;
}

struct mux_stream *mux_stream_new(struct mux *m, uint32_t id, unsigned cls)
{
	struct mux_stream *st = calloc(1, sizeof(*st));
	if (!st)
		return NULL;
	st->mux = m;
	st->id = id;
	st->cls = (uint8_t)(cls < MUX_CLASSES ? cls : MUX_CLASSES - 1);
	st->credit = st->in_left = st->in_window = TL_LIMIT_MUX_WINDOW;
	ring_init(&st->out, TL_LIMIT_MUX_SEND_QUEUE, 0);
	ring_init(&st->in, TL_LIMIT_MUX_WINDOW_MAX, 0);
	list_init(&st->control_node);
	list_init(&st->ready_node);
	list_init(&st->event_node);
	list_add_tail(mux_bucket(m, id), &st->node);
	m->count++;
	return st;
}

/* ---- events and the end of a stream ---- */

void mux_event(struct mux_stream *st, enum mux_ev ev)
{
	if (!st->events)
		list_add_tail(&st->mux->events, &st->event_node);
	st->events |= (uint8_t)ev;
}

bool mux_next_event(struct mux *m, struct mux_stream **ret_stream, enum mux_ev *ret_ev)
{
	mux_free_all(&m->dying);
	if (list_empty(&m->events))
		return false;
	struct mux_stream *st = list_entry(m->events.next, struct mux_stream, event_node);
	unsigned ev = st->events & -(unsigned)st->events; /* lowest bit first */
	st->events &= (uint8_t)~ev;
	if (!st->events)
		list_del(&st->event_node);
	if (ev == MUX_EV_CLOSED)
		list_add_tail(&m->dying, &st->node);
	*ret_stream = st;
	*ret_ev = (enum mux_ev)ev;
	return true;
}

/* The peer and the scheduler forget the stream; its owner still has to take CLOSED. */
static void mux_over(struct mux_stream *st, int error)
{
	struct mux *m = st->mux;
	st->over = true;
	st->error = error;
	list_del(&st->node);
	list_del(&st->control_node);
	list_del(&st->ready_node);
	m->count--;
	m->unacked -= st->unacked;
	m->extra -= st->in_window - TL_LIMIT_MUX_WINDOW;
	if (m->in_stream == st)
		m->in_stream = NULL;
	mux_event(st, MUX_EV_CLOSED);
}

void mux_check_done(struct mux_stream *st)
{
	if (!st->over && st->fin_got && st->fin_sent && !ring_len(&st->in))
		mux_over(st, 0);
}

void mux_kill(struct mux_stream *st, int error, bool rst)
{
	if (st->over)
		return;
	/* what the peer never heard of needs no RST */
	if (rst && !st->syn_due && !FAULT(FAULT_RST_LOST))
		mux_raw(st->mux, YAMUX_WINDOW, YAMUX_RST, st->id, 0);
	/* an owner that never saw OPENED needs no CLOSED, but telling both is simpler than a hidden
	 * end */
	st->events &= MUX_EV_OPENED;
	if (!st->events)
		list_del(&st->event_node);
	ring_fini(&st->in);
	ring_fini(&st->out);
	mux_over(st, error);
}

void mux_abort(struct mux *m, int error)
{
	for (size_t i = 0; i < MUX_BUCKETS; i++)
		LIST_FOREACH_SAFE (it, &m->bucket[i])
			mux_kill(list_entry(it, struct mux_stream, node), error, false);
}

int mux_fail(struct mux *m, int code, const char *text)
{
	if (!m->failed) {
		m->failed = true;
		m->fail_code = code;
		m->text = text;
		mux_goaway(m, code == TL_E_PROTO ? YAMUX_AWAY_PROTO : YAMUX_AWAY_INTERNAL);
	}
	return m->fail_code;
}

/* ---- frames of the session itself ---- */

void mux_raw(struct mux *m, uint8_t type, uint16_t flags, uint32_t stream, uint32_t length)
{
	uint8_t frame[YAMUX_HEADER];
	yamux_header_put(frame, type, flags, stream, length);
	int rc = buf_put(&m->raw, frame, sizeof(frame));
	if (rc == TL_E_LIMIT)
		mux_fail(m, TL_E_PROTO, "the peer asks for more control frames than it reads");
	else if (rc && type != YAMUX_PING) /* a PING may stay without an answer */
		mux_fail(m, rc, "out of memory for control frames");
}

void mux_ping(struct mux *m, uint32_t opaque)
{
	mux_raw(m, YAMUX_PING, YAMUX_SYN, 0, opaque);
}

void mux_goaway(struct mux *m, enum yamux_goaway reason)
{
	if (m->away_sent)
		return;
	m->away_sent = true;
	mux_raw(m, YAMUX_GOAWAY, 0, 0, reason);
}

/* ---- what the owner of a stream calls ---- */

struct mux_stream *mux_open(struct mux *m, unsigned cls)
{
	if (m->failed || m->away_got || m->count >= TL_LIMIT_MUX_STREAMS ||
	    m->unacked >= TL_LIMIT_MUX_OPEN_PENDING || m->next_id > UINT32_MAX - 2)
		return NULL;
	struct mux_stream *st = mux_stream_new(m, m->next_id, cls);
	if (!st)
		return NULL;
	m->next_id += 2;
	m->unacked++;
	st->unacked = st->syn_due = true;
	mux_schedule(st);
	return st;
}

void mux_set_class(struct mux_stream *st, unsigned cls)
{
	if (cls >= MUX_CLASSES || cls == st->cls)
		return;
	list_del(&st->ready_node);
	if (list_empty(&st->mux->cls[st->cls].ready))
		st->mux->cls[st->cls].waited = 0;
	st->cls = (uint8_t)cls;
	mux_schedule(st);
}

size_t mux_writable(const struct mux_stream *st)
{
	return st->over || st->fin_due ? 0 : ring_room(&st->out);
}

long mux_write(struct mux_stream *st, struct tl_bytes in)
{
	if (st->over || st->fin_due)
		return TL_E_CLOSED;
	size_t n = in.n, room = ring_room(&st->out);
	if (!n)
		return 0;
	if (n > room)
		n = room;
	/* without memory nothing is taken now; the sweep wakes the writer again */
	if (ring_put(&st->out, in.p, n))
		n = 0;
	st->want_write = n < in.n;
	st->touched = true;
	mux_schedule(st);
	return (long)n;
}

struct tl_bytes mux_peek(const struct mux_stream *st)
{
	return ring_peek(&st->in, st->in.base_off);
}

void mux_consume(struct mux_stream *st, size_t n)
{
	if (!n)
		return;
	ring_trim(&st->in, st->in.base_off + n);
	st->touched = true;
	if (st->over)
		return;
	if (st->fin_got) {
		mux_check_done(st);
		return;
	}
	st->give += (uint32_t)n;
	mux_schedule(st);
}

bool mux_eof(const struct mux_stream *st)
{
	return st->fin_got && !ring_len(&st->in);
}

void mux_finish(struct mux_stream *st)
{
	if (st->over || st->fin_due)
		return;
	st->fin_due = true;
	st->want_write = false;
	mux_schedule(st);
}

void mux_reset(struct mux_stream *st)
{
	mux_kill(st, TL_E_CANCELED, true);
}

static bool ring_sweep(struct ring *r, bool touched)
{
	if (!touched)
		ring_shrink(r);
	/* bytes that wait are no reason to look again: what moves them calls for the next look */
	return r->p && !ring_len(r);
}

bool mux_sweep(struct mux *m)
{
	bool more = false;
	for (size_t i = 0; i < MUX_BUCKETS; i++)
		LIST_FOREACH (it, &m->bucket[i]) {
			struct mux_stream *st = list_entry(it, struct mux_stream, node);
			more |= ring_sweep(&st->in, st->touched);
			more |= ring_sweep(&st->out, st->touched);
			st->touched = false;
			if (st->want_write && !ring_len(&st->out)) {
				st->want_write = false;
				mux_event(st, MUX_EV_WRITABLE);
			}
		}
	buf_shrink(&m->raw);
	return more;
}
