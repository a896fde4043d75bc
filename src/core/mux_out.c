/* mux_out.c - what mux.h sends next.
 *
 * Control frames first: they are 12 bytes and others wait for them. Then data, one slice at a time,
 * chosen just before it leaves: the highest class that has something, except that a class that
 * watched SHARE bytes of its betters go by gets one slice (nothing starves); inside a class deficit
 * round robin by bytes. */
#include "base/err.h"
#include "base/limits.h"
#include "core/fault.h"
#include "core/mux.h"

#define SLICE      (TL_LIMIT_MUX_SLICE - YAMUX_HEADER)
#define LEAST_PART 2048 /* do not cut smaller pieces only because there is little room just now */

/* bytes of higher classes after which a class gets a turn: control, key, normal, bulk */
static const size_t share[MUX_CLASSES] = {
    SIZE_MAX,
    2 * TL_LIMIT_MUX_SLICE,
    4 * TL_LIMIT_MUX_SLICE,
    8 * TL_LIMIT_MUX_SLICE,
};

static bool fin_ready(const struct mux_stream *st)
{
	return st->fin_due && !st->fin_sent && (!ring_len(&st->out) || FAULT(FAULT_FIN_OVERTAKES));
}

static bool credit_ready(const struct mux_stream *st)
{
	/* half of a large window would be long under way on a long path, and the sender wait for it
	 */
	uint32_t most = st->in_window / 2;
	return !st->fin_got &&
	       st->give >= (most < TL_LIMIT_MUX_CREDIT ? most : TL_LIMIT_MUX_CREDIT);
}

void mux_schedule(struct mux_stream *st)
{
	struct mux *m = st->mux;
	if (st->over)
		return;
	bool control = st->syn_due || st->ack_due || fin_ready(st) || credit_ready(st);
	if (control && list_empty(&st->control_node))
		list_add_tail(&m->control, &st->control_node);
	else if (!control)
		list_del(&st->control_node);
	bool ready = ring_len(&st->out) && st->credit;
	struct mux_class *c = &m->cls[st->cls];
	if (ready && list_empty(&st->ready_node)) {
		st->deficit = 0;
		list_add_tail(&c->ready, &st->ready_node);
	} else if (!ready && !list_empty(&st->ready_node)) {
		list_del(&st->ready_node);
		if (list_empty(&c->ready))
			c->waited = 0;
	}
}

bool mux_has_data(const struct mux *m)
{
	for (size_t i = 0; i < MUX_CLASSES; i++)
		if (!list_empty(&m->cls[i].ready))
			return true;
	return false;
}

/* A reader that has emptied its buffer by the time credit leaves is faster than the path: a window
 * twice as large keeps the path full. Interactive classes stay small: what waits there is stale. */
static uint32_t window_growth(const struct mux_stream *st)
{
	uint32_t more = st->in_window;
	if (st->cls < MUX_NORMAL || !credit_ready(st) || ring_len(&st->in))
		return 0;
	if (more > TL_LIMIT_MUX_WINDOW_MAX - st->in_window ||
	    st->mux->extra + more > TL_LIMIT_MUX_WINDOW_EXTRA)
		return 0;
	return more;
}

/* Control frame of a stream: everything it has to say at once. */
static void frame_control(struct mux_stream *st, struct mux_frame *f)
{
	f->flags = 0;
	if (st->syn_due)
		f->flags |= YAMUX_SYN;
	if (st->ack_due)
		f->flags |= YAMUX_ACK;
	if (fin_ready(st))
		f->flags |= YAMUX_FIN;
	f->length = st->fin_got ? 0 : st->give + window_growth(st);
	f->stream = st;
	yamux_header_put(f->head, YAMUX_WINDOW, f->flags, st->id, f->length);
}

static int pick_class(const struct mux *m)
{
	int pick = -1;
	for (int i = 0; i < MUX_CLASSES; i++) {
		if (list_empty(&m->cls[i].ready))
			continue;
		if (pick < 0)
			pick = i;
		else if (m->cls[i].waited >= share[i])
			return i;
	}
	return pick;
}

static bool frame_data(struct mux *m, size_t room, struct mux_frame *f)
{
	int pick = pick_class(m);
	if (pick < 0 || room <= YAMUX_HEADER)
		return false;
	struct mux_stream *st = list_entry(m->cls[pick].ready.next, struct mux_stream, ready_node);
	if (st->deficit < LEAST_PART)
		st->deficit += SLICE;
	size_t n = ring_len(&st->out);
	if (n > st->credit)
		n = st->credit;
	if (n > SLICE)
		n = SLICE;
	if (n > st->deficit)
		n = st->deficit;
	if (n > room - YAMUX_HEADER) {
		n = room - YAMUX_HEADER;
		if (n < LEAST_PART)
			return false;
	}
	f->stream = st;
	f->data = true;
	f->length = (uint32_t)n;
	yamux_header_put(f->head, YAMUX_DATA, 0, st->id, f->length);
	for (size_t at = 0; at < n;) {
		struct tl_bytes part = ring_peek(&st->out, st->out.base_off + at);
		if (part.n > n - at)
			part.n = n - at;
		f->parts[f->n_parts++] = part;
		at += part.n;
	}
	return true;
}

bool mux_next_frame(struct mux *m, size_t room_control, size_t room_data, struct mux_frame *ret)
{
	ret->stream = NULL;
	ret->data = false;
	ret->flags = 0;
	ret->length = 0;
	ret->n_parts = 1;
	if (m->raw.len || !list_empty(&m->control)) {
		/* data must not overtake its own SYN, nor a credit what it was asked for: wait */
		if (room_control < YAMUX_HEADER)
			return false;
		if (m->raw.len)
			memcpy(ret->head, buf_data(&m->raw).p, YAMUX_HEADER);
		else
			frame_control(list_entry(m->control.next, struct mux_stream, control_node),
				      ret);
	} else if (m->failed || !frame_data(m, room_data, ret)) {
		return false;
	}
	ret->parts[0] = bytes_of(ret->head, YAMUX_HEADER);
	ret->size = YAMUX_HEADER + (ret->data ? ret->length : 0);
	return true;
}

static void sent_control(struct mux_stream *st, const struct mux_frame *f)
{
	st->syn_due = st->ack_due = false;
	if (!st->fin_got) {
		uint32_t growth = f->length - st->give;
		st->in_window += growth;
		st->mux->extra += growth;
		st->in_left += f->length;
		st->give = 0;
	}
	if (f->flags & YAMUX_FIN)
		st->fin_sent = true;
	mux_schedule(st);
	mux_check_done(st);
}

static void sent_data(struct mux_stream *st, size_t n)
{
	struct mux *m = st->mux;
	struct mux_class *c = &m->cls[st->cls];
	ring_trim(&st->out, st->out.base_off + n);
	st->credit -= (uint32_t)n;
	st->deficit -= n;
	st->touched = true;
	c->waited = 0;
	for (size_t i = st->cls + 1u; i < MUX_CLASSES; i++)
		if (!list_empty(&m->cls[i].ready))
			m->cls[i].waited += n;
	if (st->deficit < LEAST_PART) {
		list_del(&st->ready_node);
		if (ring_len(&st->out) && st->credit)
			list_add_tail(&c->ready, &st->ready_node);
	}
	if (st->want_write && ring_room(&st->out) >= TL_LIMIT_MUX_SEND_QUEUE / 2) {
		st->want_write = false;
		mux_event(st, MUX_EV_WRITABLE);
	}
	mux_schedule(st);
}

void mux_frame_sent(struct mux *m, const struct mux_frame *f)
{
	if (f->data)
		sent_data(f->stream, f->length);
	else if (f->stream)
		sent_control(f->stream, f);
	else
		buf_consume(&m->raw, YAMUX_HEADER);
}
