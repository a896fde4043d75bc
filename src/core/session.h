/* session.h - link + mux composed: streams over a transport that may die and come back.
 * Owns both engines. Touches no fd and no clock. Time is milliseconds of a monotonic clock, passed
 * in. Used by towlined (client side) and by the agent (server side); transports are bound and
 * unbound by dial and bridge.
 *
 * Life: session_new -> (transport_up -> many feed, pull, tick -> transport_down) repeated -> free.
 * After every call that can produce output (feed, tick, stream calls) the owner pulls until empty
 * and asks session_next_event until none, again and again while one of the two had something:
 * pulling makes room (WRITABLE), reading makes credit. Then session_tick says when to come back. */
#ifndef TL_CORE_SESSION_H
#define TL_CORE_SESSION_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"

struct session;
struct session_stream; /* owned by the session; valid until its CLOSED event was taken */

enum session_class { SESSION_CONTROL, SESSION_KEY, SESSION_NORMAL, SESSION_BULK };

enum session_ev {
	SESSION_EV_NONE,
	SESSION_EV_UP, /* HELLO exchanged: bytes flow (first time or resumed); ev.resumed tells */
	SESSION_EV_SILENT, /* the transport is dead by silence: owner must close it and call
			      session_transport_down */
	SESSION_EV_BYE,    /* the peer ended the link (ev.error, ev.text): session is over, CLOSED
			      follows for every stream; for GAP, NOLINK, STALE a new session is
			      needed */
	SESSION_EV_PROTO,  /* the peer broke the protocol on this transport (ev.text): close it and
			      reconnect */
	SESSION_EV_OPENED, /* server side: the peer opened ev.stream */
	SESSION_EV_READABLE, /* ev.stream has bytes, or its end; edge-triggered: read until empty */
	SESSION_EV_WRITABLE, /* ev.stream takes bytes again after a short write */
	SESSION_EV_CLOSED,   /* ev.stream is over (both FIN, or ev.error); its pointer dies when the
				next event is asked for */
};

struct session_event {
	enum session_ev type;
	struct session_stream *stream;
	void *user; /* session_stream_set_user's value */
	bool resumed;
	int error; /* TL_E_* or 0 */
	char text[256];
};

/* client: true opens odd stream ids. link_id: 16 random bytes (client) or the peer's (server, from
 * session_peek_hello). NULL when out of memory. */
struct session *session_new(bool client, const uint8_t link_id[16]);
/* Server side, before a session is known: parses the HELLO frame at the start of a fresh transport
 * without consuming it. 0 and link id and epoch; TL_E_AGAIN: more bytes needed; TL_E_PROTO. */
int session_peek_hello(struct tl_bytes in, uint8_t ret_link_id[16], uint32_t *ret_epoch);
void session_free(struct session *s);

/* A fresh transport is there: queues HELLO with a higher epoch (client) or the peer's epoch
 * (server). */
void session_transport_up(struct session *s, uint32_t server_epoch, uint64_t now_ms);
/* The transport is gone; unsent and unacknowledged bytes wait in the ring. */
void session_transport_down(struct session *s, uint64_t now_ms);
/* Bytes from the transport. Always takes all. 0, TL_E_PROTO or TL_E_NOMEM (an event says more). */
int session_feed(struct session *s, struct tl_bytes in, uint64_t now_ms);
/* Bytes for the transport: a borrowed span, empty when there is nothing to send now. Repeat
 * session_pulled(n) with what was written. */
struct tl_bytes session_pull(struct session *s, uint64_t now_ms);
void session_pulled(struct session *s, size_t n, uint64_t now_ms);
/* The same without a copy, for writev: at most SESSION_SPANS spans, borrowed until any other call;
 * returns their number. Follow with session_pulled(bytes written). */
#define SESSION_SPANS 3
size_t session_pullv(struct session *s, struct tl_bytes v[SESSION_SPANS], uint64_t now_ms);
/* Timers. Returns the absolute time of the next call wanted, UINT64_MAX for none. */
uint64_t session_tick(struct session *s, uint64_t now_ms);
/* The machine slept: PING at once, short deadline, silence not counted. */
void session_woke(struct session *s, uint64_t now_ms);
/* Next event, false when none. */
bool session_next_event(struct session *s, struct session_event *ret);
/* Says BYE (queued; pull once more). error 0 = done. */
void session_bye(struct session *s, int error, const char *text);

bool session_is_up(const struct session *s);
uint32_t session_epoch(const struct session *s);
uint32_t session_rtt_us(const struct session *s);        /* 0: not measured */
uint64_t session_last_heard_ms(const struct session *s); /* last byte from the peer */
uint64_t session_down_since_ms(const struct session *s); /* UINT64_MAX while up */
size_t session_stream_count(const struct session *s);
/* Bytes sent and received by the link since birth, for status. */
void session_counters(const struct session *s, uint64_t *ret_sent_off, uint64_t *ret_recv_off);

/* Opens a stream; usable at once, even while the transport is down. NULL: TL_LIMIT_MUX_STREAMS
 * reached or no memory. */
struct session_stream *session_open(struct session *s, enum session_class cls);
void session_stream_set_user(struct session_stream *st, void *user);
void *session_stream_user(const struct session_stream *st);
void session_stream_set_class(struct session_stream *st, enum session_class cls);
/* Takes what fits now (credit and queue); returns the count, 0 .. n; TL_E_CLOSED after reset. A
 * short count means WRITABLE will come. */
long session_write(struct session_stream *st, struct tl_bytes in);
/* How much session_write would take now. */
size_t session_writable(const struct session_stream *st);
/* Borrowed received bytes; empty: none now. session_consume gives credit back. */
struct tl_bytes session_peek(struct session_stream *st);
void session_consume(struct session_stream *st, size_t n);
/* The peer sent FIN and everything was consumed. */
bool session_eof(const struct session_stream *st);
/* FIN: no more writes; reading goes on. */
void session_finish(struct session_stream *st);
/* RST: both directions end now; the owner gets no further READABLE/WRITABLE, only CLOSED. */
void session_reset(struct session_stream *st);

#endif
