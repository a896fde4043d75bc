/* pump.c - moves bytes between a session and its transport. */
#include "dial/pump.h"

#include <stdlib.h>
#include <unistd.h>

void pump_user_event(const struct session_event *ev)
{
	struct pump_user *u = ev->user;

	if (u)
		u->event(u, ev);
}

static void pump_tick(void *ctx)
{
	struct pump *p = ctx;
	uint64_t slept = clock_slept_ms();

	p->tick_ms = UINT64_MAX;
	if (p->session && slept > p->slept_ms + 1000)
		session_woke(p->session, clock_mono_ms());
	p->slept_ms = slept;
	pump_kick(p);
}

void pump_init(struct pump *p, struct loop *l, void (*on_event)(void *, struct session_event *),
	       void (*on_lost)(void *), void *ctx)
{
	memset(p, 0, sizeof(*p));
	p->loop = l;
	p->on_event = on_event;
	p->on_lost = on_lost;
	p->ctx = ctx;
	p->slept_ms = clock_slept_ms();
	p->tick_ms = UINT64_MAX;
	timer_init(l, &p->tick, pump_tick, p);
}

static void pump_lost(struct pump *p)
{
	if (!p->conn)
		return;
	pump_unbind(p);
	p->on_lost(p->ctx);
}

static void pump_readable(void *ctx)
{
	struct pump_conn *c = ctx;
	struct pump *p = c->pump;
	uint8_t in[65536];
	uint64_t now = clock_mono_ms();

	/* a few reads per turn: a flood must not starve the other clients */
	for (int i = 0; i < 8 && p->conn == c; i++) {
		long got = io_read(&c->io, in, sizeof(in));
		if (got == TL_E_AGAIN)
			break;
		if (got <= 0) {
			pump_lost(p);
			return;
		}
		session_feed(p->session, bytes_of(in, (size_t)got), now);
		if ((size_t)got < sizeof(in))
			break;
	}
	pump_kick(p);
}

static void pump_writable(void *ctx)
{
	struct pump_conn *c = ctx;

	pump_kick(c->pump);
}

int pump_bind(struct pump *p, struct session *s, int rfd, int wfd, struct tl_bytes early,
	      struct tl_err *err)
{
	struct pump_conn *c = calloc(1, sizeof(*c));
	int rc = TL_E_NOMEM;

	tl_assert(!p->conn);
	if (c)
		rc = io_open(p->loop, &c->io, rfd, wfd, pump_readable, pump_writable, c);
	if (rc) {
		close(rfd);
		if (wfd != rfd)
			close(wfd);
		free(c);
		return err_set(err, rc, "cannot use the connection's descriptors");
	}
	c->pump = p;
	p->conn = c;
	p->session = s;
	session_transport_up(s, 0, clock_mono_ms());
	if (early.n)
		session_feed(s, early, clock_mono_ms());
	pump_kick(p);
	return 0;
}

void pump_unbind(struct pump *p)
{
	struct pump_conn *c = p->conn;

	if (!c)
		return;
	p->conn = NULL;
	io_close(&c->io, free);
	session_transport_down(p->session, clock_mono_ms());
}

void pump_detach(struct pump *p)
{
	pump_unbind(p);
	p->session = NULL;
	p->tick_ms = UINT64_MAX;
	timer_stop(&p->tick);
}

static void pump_closed(void *ctx)
{
	struct pump *p = ctx;

	if (p->on_closed)
		p->on_closed(p->ctx);
}

void pump_close(struct pump *p, void (*on_closed)(void *ctx))
{
	pump_detach(p);
	p->on_closed = on_closed;
	timer_close(&p->tick, pump_closed);
}

/* Frame by frame, straight from the ring; false when the transport broke. */
static bool pump_write(struct pump *p, uint64_t now)
{
	struct pump_conn *c = p->conn;

	for (;;) {
		struct tl_bytes b[SESSION_SPANS];
		struct iovec v[SESSION_SPANS];
		size_t count = session_pullv(p->session, b, now), want = 0;
		long put;
		if (count == 0)
			return true;
		for (size_t i = 0; i < count; i++) {
			v[i].iov_base = (void *)(uintptr_t)b[i].p;
			v[i].iov_len = b[i].n;
			want += b[i].n;
		}
		put = io_writev(&c->io, v, (int)count);
		if (put < 0)
			return false;
		session_pulled(p->session, (size_t)put, now);
		if ((size_t)put < want) {
			io_want_write(&c->io, true);
			return true;
		}
	}
}

/* Most turns want the timer where it is. */
static void pump_timer(struct pump *p, uint64_t when_ms)
{
	if (when_ms == p->tick_ms)
		return;
	p->tick_ms = when_ms;
	timer_at(&p->tick, when_ms);
}

void pump_kick(struct pump *p)
{
	struct session_event ev;

	if (p->running) {
		p->again = true;
		return;
	}
	p->running = true;
	do {
		uint64_t now = clock_mono_ms();
		p->again = false;
		if (p->conn && !pump_write(p, now)) {
			p->running = false;
			pump_lost(p);
			return;
		}
		while (p->session && session_next_event(p->session, &ev)) {
			p->again = true; /* events mostly produce output */
			p->on_event(p->ctx, &ev);
		}
		if (p->session)
			pump_timer(p, session_tick(p->session, now));
	} while (p->again && p->session);
	p->running = false;
}
