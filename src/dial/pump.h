/* pump.h - a session bound to the descriptors of a transport.
 * Owns the io and the timer, borrows the session. One place to read, feed, pull, write and tick, so
 * that nobody forgets a step. Loop thread. */
#ifndef TL_DIAL_PUMP_H
#define TL_DIAL_PUMP_H

#include "core/session.h"
#include "loop/io.h"

struct pump;

/* The user of a stream (session_stream_set_user) where streams of several kinds share a session:
 * first member of the one it is for. */
struct pump_user {
	void (*event)(struct pump_user *u, const struct session_event *ev);
};

/* Hands an event of a stream to its user, when it has one. */
void pump_user_event(const struct session_event *ev);

/* One transport: outlives its pump_unbind until the loop has closed the descriptors. */
struct pump_conn {
	struct io io;
	struct pump *pump;
};

struct pump {
	struct loop *loop;
	struct session *session;
	struct pump_conn *conn; /* while bound */
	struct loop_timer tick;
	bool running, again;
	uint64_t slept_ms; /* last seen clock_slept_ms */
	uint64_t tick_ms;  /* when the timer comes */
	/* called for every session event; may call session_* and pump_unbind, not pump_kick */
	void (*on_event)(void *ctx, struct session_event *ev);
	/* the transport ended or broke by itself: already unbound */
	void (*on_lost)(void *ctx);
	void (*on_closed)(void *ctx);
	void *ctx;
};

void pump_init(struct pump *p, struct loop *l, void (*on_event)(void *, struct session_event *),
	       void (*on_lost)(void *), void *ctx);
/* Takes the descriptors and starts the session's transport. early: bytes read before. 0 or an error
 * (the descriptors are closed then). */
int pump_bind(struct pump *p, struct session *s, int rfd, int wfd, struct tl_bytes early,
	      struct tl_err *err);
/* The transport goes away now (no on_lost). */
void pump_unbind(struct pump *p);
/* After any session_* call from outside: moves bytes, delivers events, sets the timer. */
void pump_kick(struct pump *p);
/* Forgets the session (before session_free). */
void pump_detach(struct pump *p);
/* Stops the timer for good; on_closed(ctx) when the memory may go. */
void pump_close(struct pump *p, void (*on_closed)(void *ctx));

#endif
