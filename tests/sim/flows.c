/* flows.c - see flows.h. The byte at position n of a flow is known to both sides (pattern), so one
 * that is lost, doubled, moved or changed is seen when it is read. */
#include "flows.h"

#include <string.h>

#include "base/limits.h"
#include "core/fault.h"
#include "core/session_parts.h"

#define PATTERN 65521 /* prime: no power of two lost at once goes unseen */
#define BLOCK   65536

static uint8_t pattern[PATTERN + BLOCK];

static const uint8_t *pattern_at(const struct flow *f, unsigned from, uint64_t off)
{
	if (!pattern[0] && !pattern[1] && !pattern[2]) {
		uint64_t rng = 7;
		for (size_t i = 0; i < PATTERN; i++)
			pattern[i] = (uint8_t)world_random(&rng);
		for (size_t i = 0; i < BLOCK; i++)
			pattern[PATTERN + i] = pattern[i];
	}
	return pattern + (off + f->id * 7919u + from * 30011u) % PATTERN;
}

void flow_plan(struct world *w)
{
	for (unsigned i = 0; i < w->plan.streams; i++) {
		struct flow *f = &w->flow[i];
		for (unsigned side = 0; side < SIDES; side++)
			f->total[side] = below(w, below(w, 3) ? w->plan.most_bytes / 16 + 2
							      : w->plan.most_bytes + 1);
		f->reset = w->plan.resets && !below(w, 4);
		f->reset_by = (unsigned)below(w, 2);
		f->reset_at = below(w, f->total[f->reset_by] + 1);
	}
}

static struct flow *flow_of(struct world *w, uint32_t id)
{
	for (unsigned i = 0; i < w->opened; i++)
		if (w->flow[i].id == id)
			return &w->flow[i];
	return NULL;
}

static void flow_write(struct world *w, struct flow *f, unsigned side)
{
	while (f->sent[side] < f->total[side]) {
		uint64_t n = f->total[side] - f->sent[side], most = 1 + below(w, BLOCK);
		if (n > most)
			n = most;
		if (!below(w, 4))
			n = 1;
		size_t fits = session_writable(f->end[side]);
		long took = session_write(f->end[side],
					  bytes_of(pattern_at(f, side, f->sent[side]), (size_t)n));
		if (took < 0 || (uint64_t)took > n || (size_t)took > fits ||
		    ((uint64_t)took < n && (size_t)took < fits && !w->plan.scarce)) {
			world_broken(w, "write of %llu with room for %zu says %ld",
				     (unsigned long long)n, fits, took);
			return;
		}
		f->sent[side] += (uint64_t)took;
		w->moved |= took > 0;
		f->short_write[side] = (uint64_t)took < n;
		if (f->short_write[side] || !below(w, 3))
			return;
	}
	if (!f->fin[side]) {
		f->fin[side] = true;
		session_finish(f->end[side]);
		w->moved = true;
	}
}

static void flow_read(struct world *w, struct flow *f, unsigned side)
{
	if (w->plan.slow_readers && !below(w, 200))
		f->sleep_ms[side] = w->now + below(w, 20000);
	if (w->now < f->sleep_ms[side])
		return;
	for (;;) {
		struct tl_bytes in = session_peek(f->end[side]);
		if (!in.n)
			return;
		size_t n = below(w, 3) ? in.n : 1 + below(w, in.n);
		if (n > BLOCK)
			n = BLOCK;
		if (memcmp(in.p, pattern_at(f, !side, f->got[side]), n) != 0) {
			world_broken(w, "stream %u: wrong byte after %llu", f->id,
				     (unsigned long long)f->got[side]);
			return;
		}
		f->got[side] += n;
		w->bytes += n;
		session_consume(f->end[side], n);
		w->moved = true;
		if (n < in.n && below(w, 2))
			return;
	}
}

static void flow_open(struct world *w, unsigned side)
{
	if (w->opened == w->plan.streams || below(w, 4))
		return;
	struct flow *f = &w->flow[w->opened];
	f->end[side] = session_open(w->s[side], (enum session_class)below(w, 4));
	if (!f->end[side]) {
		if (!w->plan.scarce)
			world_broken(w, "open says no");
		return;
	}
	f->used = true;
	f->id = ((struct mux_stream *)(void *)f->end[side])->id;
	session_stream_set_user(f->end[side], f);
	w->opened++;
	w->moved = true;
}

void flow_act(struct world *w, unsigned side)
{
	flow_open(w, side);
	for (unsigned i = 0; i < w->opened && !w->why[0]; i++) {
		struct flow *f = &w->flow[i];
		if (!f->end[side] || f->closed[side] || !below(w, 3))
			continue;
		if (!f->short_write[side] && !f->fin[side])
			flow_write(w, f, side);
		flow_read(w, f, side);
		if (!below(w, 50))
			session_stream_set_class(f->end[side], (enum session_class)below(w, 4));
		if (f->reset && side == f->reset_by && f->sent[side] >= f->reset_at &&
		    !f->closed[side] && !below(w, 3)) {
			session_reset(f->end[side]);
			f->reset_at = UINT64_MAX;
			w->moved = true;
		}
	}
}

void flow_event(struct world *w, unsigned side, const struct session_event *ev)
{
	struct flow *f = ev->user;
	if (ev->type == SESSION_EV_OPENED) {
		f = flow_of(w, ((struct mux_stream *)(void *)ev->stream)->id);
		if (!f || f->end[side]) {
			world_broken(w, "OPENED for a stream nobody opened");
			return;
		}
		f->end[side] = ev->stream;
		session_stream_set_user(ev->stream, f);
		return;
	}
	if (!f || f->end[side] != ev->stream || f->closed[side]) {
		world_broken(w, "event %d for a stream that is not there", ev->type);
		return;
	}
	if (ev->type == SESSION_EV_WRITABLE) {
		if (!session_writable(ev->stream))
			world_broken(w, "WRITABLE and no room");
		f->short_write[side] = false;
	} else if (ev->type == SESSION_EV_CLOSED) {
		f->closed[side] = true;
		f->error[side] = ev->error;
		if (!ev->error && !session_eof(ev->stream))
			world_broken(w, "CLOSED before its end was read");
	}
}

uint64_t flow_next(const struct world *w)
{
	uint64_t next = NEVER;
	for (unsigned i = 0; i < w->opened; i++)
		for (unsigned side = 0; side < SIDES; side++) {
			const struct flow *f = &w->flow[i];
			if (!f->end[side] || f->closed[side])
				continue;
			if (f->sleep_ms[side] > w->now && f->sleep_ms[side] < next)
				next = f->sleep_ms[side];
			/* flow_act skips by chance: what can be done now is done soon */
			if (!f->short_write[side] && !f->fin[side])
				next = w->now + 1;
			if (f->sleep_ms[side] <= w->now && session_peek(f->end[side]).n)
				next = w->now + 1;
			if (f->reset && side == f->reset_by && f->reset_at != UINT64_MAX &&
			    f->sent[side] >= f->reset_at)
				next = w->now + 1;
		}
	return w->opened < w->plan.streams ? w->now + 1 : next;
}

bool flow_done(const struct world *w)
{
	if (w->opened < w->plan.streams)
		return false;
	for (unsigned i = 0; i < w->opened; i++) {
		const struct flow *f = &w->flow[i];
		for (unsigned side = 0; side < SIDES; side++) {
			/* a stream reset before its SYN left is never seen by the other side */
			bool unseen = (f->reset || w->plan.scarce) && !f->end[side];
			if (!f->closed[side] && !unseen)
				return false;
		}
	}
	return true;
}

void flow_verdict(struct world *w)
{
	for (unsigned i = 0; i < w->opened; i++) {
		struct flow *f = &w->flow[i];
		bool reset = f->reset && f->reset_at == UINT64_MAX;
		for (unsigned side = 0; side < SIDES; side++) {
			if (!reset && f->error[side] && !w->plan.scarce)
				world_broken(w, "stream %u ended with %d", f->id, f->error[side]);
			if (!f->error[side] && f->end[side] && f->got[side] != f->total[!side])
				world_broken(w, "stream %u: %llu of %llu bytes", f->id,
					     (unsigned long long)f->got[side],
					     (unsigned long long)f->total[!side]);
		}
	}
}

static void stream_invariants(struct world *w, const struct mux_stream *st)
{
	size_t held = ring_len(&st->in);
	if (ring_len(&st->out) > TL_LIMIT_MUX_SEND_QUEUE)
		world_broken(w, "stream %u queues too much", st->id);
	if (held > st->in_window || st->in_window > TL_LIMIT_MUX_WINDOW_MAX)
		world_broken(w, "stream %u holds %zu in a window of %u", st->id, held,
			     st->in_window);
	size_t on_the_way = st->mux->in_stream == st ? st->mux->in_payload : 0;
	if (!st->fin_got && held + st->in_left + st->give + on_the_way != st->in_window)
		world_broken(w, "stream %u: window %u is not %zu + %zu + %u + %u", st->id,
			     st->in_window, held, on_the_way, st->in_left, st->give);
}

void flow_invariants(struct world *w, unsigned side)
{
	const struct link *l = &w->s[side]->link, *peer = &w->s[!side]->link;
	const struct mux *m = &w->s[side]->mux;
	if (l->sent_off < l->tx.base_off || l->sent_off > l->tx.next_off)
		world_broken(w, "side %u: offsets out of order", side);
	if (l->state != LINK_OVER && l->tx.base_off > peer->rx_off)
		world_broken(w, "side %u: forgot bytes that did not arrive", side);
	if (peer->rx_off > l->tx.next_off)
		world_broken(w, "side %u: more arrived than was written", side);
	if (l->tx.cap > TL_LIMIT_LINK_RING || ring_len(&l->tx) > TL_LIMIT_LINK_RING)
		world_broken(w, "side %u: the ring is too large", side);
	if (l->pace.cap_bytes < TL_LIMIT_LINK_CAP_MIN || l->pace.cap_bytes > TL_LIMIT_LINK_CAP_MAX)
		world_broken(w, "side %u: cap %zu", side, l->pace.cap_bytes);
	if (l->pace.cap_bytes > w->peak_cap[side])
		w->peak_cap[side] = l->pace.cap_bytes;
	if (l->state == LINK_UP && l->sent_off - l->tx.base_off > w->peak_cap[side] + LINK_OVERDRAW)
		world_broken(w, "side %u: %llu bytes in flight", side,
			     (unsigned long long)(l->sent_off - l->tx.base_off));
	if (m->count > TL_LIMIT_MUX_STREAMS || m->extra > TL_LIMIT_MUX_WINDOW_EXTRA)
		world_broken(w, "side %u: limits of the mux", side);
	for (size_t i = 0; i < MUX_BUCKETS && !w->why[0]; i++)
		LIST_FOREACH (it, &m->bucket[i])
			stream_invariants(w, list_entry(it, struct mux_stream, node));
}

void flow_idle(struct world *w)
{
	for (unsigned side = 0; side < SIDES; side++) {
		const struct session *s = w->s[side];
		if (!session_is_up(s))
			world_broken(w, "side %u: not up after a rest", side);
		else if (session_stream_count(s))
			world_broken(w, "side %u: streams are left", side);
		else if (s->link.tx.p || s->stage || s->mux.raw.p)
			world_broken(w, "side %u: memory is not given back", side);
	}
}
