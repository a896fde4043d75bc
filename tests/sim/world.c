/* world.c - see world.h: the network, and the owner's part of two sessions. */
#include "world.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "core/fault.h"
#include "flows.h"
#include "memory.h"

enum core_fault core_fault;

#define PIPE_CAP  65536
#define MAX_STEPS 200000 /* without a byte that arrives */

uint64_t world_random(uint64_t *state)
{
	uint64_t z = (*state += 0x9e3779b97f4a7c15u);
	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

uint64_t below(struct world *w, uint64_t n)
{
	return n ? world_random(&w->rng) % n : 0;
}

bool world_broken(struct world *w, const char *fmt, ...)
{
	va_list ap;
	if (w->why[0])
		return false;
	va_start(ap, fmt);
	vsnprintf(w->why, sizeof(w->why), fmt, ap);
	va_end(ap);
	return false;
}

/* ---- the network ---- */

static void pipe_reset(struct world *w, struct pipe *p, uint64_t cut_at)
{
	p->head = p->len = 0;
	p->delivered = 0;
	p->cut_at = cut_at;
	p->ready_ms = w->now;
	p->cap = w->plan.big_chunks ? PIPE_CAP : 64 + below(w, 4096);
	p->rate = w->plan.throttle ? 20 + below(w, 4000) : 0;
	p->budget_ms = w->now;
	p->budget = 0;
}

static void transport_open(struct world *w)
{
	unsigned n = w->generation++;
	struct transport *t = &w->t[w->generation & 1];
	for (unsigned from = 0; from < SIDES; from++)
		pipe_reset(w, &t->pipe[from], n < w->plan.cuts ? w->plan.cut_at[n][from] : NEVER);
	t->exists = true;
	t->dead = t->pipe[CLIENT].cut_at == 0 || t->pipe[SERVER].cut_at == 0;
	for (unsigned i = 0; i < SIDES; i++)
		t->notice_ms[i] = t->dead ? w->now + below(w, 2000) : NEVER;
	/* this slot's old transport is gone; whoever still used it has lost it */
	for (unsigned i = 0; i < SIDES; i++)
		if (w->bound[i] && w->bound[i] + 2 == w->generation) {
			session_transport_down(w->s[i], w->now);
			w->bound[i] = 0;
		}
	session_transport_up(w->s[CLIENT], 0, w->now);
	w->peak_cap[CLIENT] = 0;
	w->bound[CLIENT] = w->generation;
	w->redial_ms = NEVER;
	w->moved = true;
}

static void transport_kill(struct world *w, struct transport *t)
{
	if (t->dead)
		return;
	t->dead = true;
	for (unsigned i = 0; i < SIDES; i++)
		t->notice_ms[i] = w->now + (below(w, 2) ? below(w, 3000) : 0);
}

static void side_lost(struct world *w, unsigned side)
{
	session_transport_down(w->s[side], w->now);
	w->bound[side] = 0;
	w->moved = true;
	if (side == CLIENT)
		w->redial_ms = w->now + below(w, 2000);
}

static struct transport *side_transport(struct world *w, unsigned side)
{
	return w->bound[side] ? &w->t[w->bound[side] & 1] : NULL;
}

static size_t chunk(struct world *w, size_t most)
{
	size_t small = 1 + below(w, 40), n = below(w, 4) ? most : small;
	return n < most ? n : most;
}

static void side_send(struct world *w, unsigned side)
{
	for (int turns = 0; turns < 8; turns++) {
		struct transport *t = side_transport(w, side);
		if (!t)
			return;
		struct pipe *p = &t->pipe[side];
		struct tl_bytes out = session_pull(w->s[side], w->now);
		size_t room = p->cap - p->len;
		size_t n = out.n < room ? out.n : room;
		if (!n)
			return;
		n = chunk(w, n);
		if (!p->len && p->ready_ms < w->now + w->plan.latency_ms)
			p->ready_ms = w->now + w->plan.latency_ms;
		for (size_t i = 0; i < n;) {
			size_t at = (p->head + p->len) % PIPE_CAP, part = PIPE_CAP - at;
			if (part > n - i)
				part = n - i;
			memcpy(p->p + at, out.p + i, part);
			p->len += part;
			i += part;
		}
		session_pulled(w->s[side], n, w->now);
		w->moved = true;
	}
}

/* How much may arrive now. */
static size_t pipe_ready(struct world *w, struct pipe *p)
{
	uint64_t n = p->len;
	if (w->now < p->ready_ms)
		return 0;
	if (n > p->cut_at - p->delivered)
		n = p->cut_at - p->delivered;
	if (p->rate) {
		uint64_t earned = (w->now - p->budget_ms) * p->rate;
		p->budget_ms = w->now;
		p->budget = p->budget + earned > 65536 ? 65536 : p->budget + earned;
		if (n > p->budget)
			n = p->budget;
	}
	return (size_t)n;
}

/* A piece of what waits in the pipe, contiguous in memory; the sanitizer-friendly exact copy. */
static size_t pipe_take(struct world *w, struct pipe *p, uint8_t *out, size_t most)
{
	size_t n = chunk(w, most), part = PIPE_CAP - p->head;
	if (n > part)
		n = part;
	memcpy(out, p->p + p->head, n);
	p->head = (p->head + n) % PIPE_CAP;
	p->len -= n;
	p->delivered += n;
	if (p->rate)
		p->budget -= n;
	w->moved = true;
	return n;
}

/* The server answers a new connection as the agent does: HELLO first, then the old one is closed.
 */
static bool server_accept(struct world *w)
{
	struct transport *t = &w->t[w->generation & 1];
	struct pipe *p = &t->pipe[CLIENT];
	uint8_t hello[56], id[16];
	uint32_t epoch;
	if (!w->generation || !t->exists || p->delivered)
		return false; /* there is none, or it was answered already */
	size_t ready = pipe_ready(w, p);
	if (ready && ready == p->cut_at) {
		transport_kill(w, t); /* all that will ever come is less than a HELLO */
		return false;
	}
	if (ready < sizeof(hello) || !below(w, 3))
		return false;
	for (size_t i = 0; i < sizeof(hello); i++)
		hello[i] = p->p[(p->head + i) % PIPE_CAP];
	int rc = session_peek_hello(bytes_of(hello, sizeof(hello)), id, &epoch);
	if (rc)
		return world_broken(w, "peek_hello says %d", rc);
	if (epoch <= session_epoch(w->s[SERVER])) {
		if (!t->dead)
			return world_broken(w, "epoch %u comes again", epoch);
		return false;
	}
	if (w->bound[SERVER])
		session_transport_down(w->s[SERVER], w->now);
	session_transport_up(w->s[SERVER], epoch, w->now);
	w->peak_cap[SERVER] = 0;
	w->bound[SERVER] = w->generation;
	w->moved = true;
	return true;
}

static void side_receive(struct world *w, unsigned side)
{
	static uint8_t in[PIPE_CAP];
	if (side == SERVER)
		server_accept(w);
	for (int turns = 0; turns < 8; turns++) {
		struct transport *t = side_transport(w, side);
		if (!t || t->dead)
			break;
		struct pipe *p = &t->pipe[!side];
		size_t n = pipe_ready(w, p);
		if (!n)
			break;
		n = pipe_take(w, p, in, n);
		int rc = session_feed(w->s[side], bytes_of(in, n), w->now);
		if (rc == TL_E_NOMEM)
			w->over |= w->plan.scarce > 0;
		if (rc && !w->over)
			world_broken(w, "side %u: feed refuses", side);
		if (p->delivered == p->cut_at)
			transport_kill(w, t);
	}
	struct transport *t = side_transport(w, side);
	if (t && t->dead && w->now >= t->notice_ms[side])
		side_lost(w, side);
}

/* ---- the owner ---- */

static void side_events(struct world *w, unsigned side)
{
	struct session_event ev;
	while (!w->why[0] && session_next_event(w->s[side], &ev)) {
		w->moved = true;
		switch (ev.type) {
		case SESSION_EV_UP:
			if (ev.resumed != (w->ups[side] > 0))
				world_broken(w, "side %u: resumed is wrong", side);
			w->ups[side]++;
			break;
		case SESSION_EV_SILENT:
			w->silences++;
			if (w->bound[side]) {
				transport_kill(w, side_transport(w, side));
				side_lost(w, side);
			}
			break;
		case SESSION_EV_BYE:
			if (w->plan.scarce && ev.error == TL_E_NOMEM)
				w->over = true;
			else
				world_broken(w, "side %u: BYE %d %s", side, ev.error, ev.text);
			break;
		case SESSION_EV_PROTO:
			world_broken(w, "side %u: PROTO %s", side, ev.text);
			break;
		default:
			flow_event(w, side, &ev);
		}
	}
}

static void world_mischief(struct world *w)
{
	struct transport *t = &w->t[w->generation & 1];
	if (w->plan.stalls && w->now >= w->stall_ms) {
		struct pipe *p = &t->pipe[below(w, 2)];
		uint64_t until = w->now + below(w, below(w, 4) ? 200 : 30000);
		if (until > p->ready_ms)
			p->ready_ms = until;
		w->stall_ms = w->opened < w->plan.streams ? w->now + below(w, 20000) : NEVER;
	}
	if (w->plan.jumps && w->now >= w->jump_ms) {
		w->now += below(w, 36000000);
		w->sleeps++;
		session_woke(w->s[CLIENT], w->now);
		if (below(w, 2))
			session_woke(w->s[SERVER], w->now);
		w->jump_ms = w->opened < w->plan.streams ? w->now + below(w, 100000) : NEVER;
	}
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* When does something happen by itself? */
static uint64_t world_next(struct world *w)
{
	uint64_t next = earlier(w->redial_ms, earlier(w->stall_ms, w->jump_ms));
	for (unsigned i = 0; i < SIDES; i++) {
		next = earlier(next, session_tick(w->s[i], w->now));
		struct transport *t = side_transport(w, i);
		if (t && t->dead)
			next = earlier(next, t->notice_ms[i]);
	}
	for (unsigned k = 0; k < 2; k++)
		for (unsigned i = 0; i < SIDES; i++) {
			struct pipe *p = &w->t[k].pipe[i];
			if (p->len && !w->t[k].dead)
				next =
				    earlier(next, p->ready_ms > w->now ? p->ready_ms : w->now + 1);
		}
	return earlier(next, flow_next(w));
}

static bool world_step(struct world *w)
{
	w->moved = false;
	if (w->now >= w->redial_ms)
		transport_open(w);
	world_mischief(w);
	for (unsigned k = 0; k < SIDES; k++) {
		unsigned side = (k + (unsigned)(w->steps & 1)) & 1;
		flow_act(w, side);
		side_send(w, side);
		side_receive(w, side);
		session_tick(w->s[side], w->now);
		side_events(w, side);
		flow_invariants(w, side);
	}
	if (w->why[0])
		return false;
	if (w->moved) {
		w->now += below(w, 8) == 0;
	} else {
		uint64_t next = world_next(w);
		if (next == NEVER)
			return world_broken(w, "nothing will ever happen again");
		w->now = next > w->now ? next : w->now + 1;
	}
	w->steps++;
	if (w->bytes != w->last_bytes) {
		w->last_bytes = w->bytes;
		w->last_step = w->steps;
	}
	if (w->steps - w->last_step > MAX_STEPS)
		return world_broken(w, "no end in sight after %llu bytes",
				    (unsigned long long)w->bytes);
	return true;
}

static void world_idle(struct world *w)
{
	/* the weather clears up and nothing is left to do: the engines come up and give back memory
	 */
	for (unsigned k = 0; k < 2; k++)
		for (unsigned i = 0; i < SIDES; i++) {
			w->t[k].pipe[i].cut_at = NEVER;
			w->t[k].pipe[i].ready_ms = w->now;
		}
	w->plan.cuts = 0;
	w->stall_ms = w->jump_ms = NEVER;
	for (uint64_t until = w->now + 200000; w->now < until && !w->why[0] && !w->over;) {
		if (!world_step(w) || w->over)
			return;
	}
	if (!w->over)
		flow_idle(w);
}

bool world_run(struct world *w, const struct plan *plan)
{
	static const uint8_t id[16] = "simulated link.";
	static uint8_t memory[2][SIDES][PIPE_CAP];
	*w = (struct world){.plan = *plan, .rng = plan->seed, .now = 1000000};
	w->stall_ms = plan->stalls ? w->now + below(w, 5000) : NEVER;
	w->jump_ms = plan->jumps ? w->now + below(w, 20000) : NEVER;
	for (unsigned i = 0; i < SIDES; i++) {
		w->s[i] = session_new(i == CLIENT, id);
		w->t[0].pipe[i].p = memory[0][i];
		w->t[1].pipe[i].p = memory[1][i];
	}
	flow_plan(w);
	w->redial_ms = w->now;
	memory_scarce(plan->scarce, plan->seed);
	while (!flow_done(w) && !w->over && world_step(w)) {
	}
	memory_scarce(0, 0);
	if (!w->why[0] && !w->over)
		flow_verdict(w);
	if (!w->why[0] && !w->over)
		world_idle(w);
	for (unsigned i = 0; i < SIDES; i++)
		session_free(w->s[i]);
	return !w->why[0];
}
