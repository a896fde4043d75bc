/* conn_relay.h - local connections (TCP or unix sockets) carried by streams of a session, all on
 * the session's loop: bytes go from the socket to the stream and back with no thread, no socket
 * pair and no buffer between. What one side does not take stays with the other, so back-pressure
 * goes end to end; half-closes and resets are passed on as such.
 *
 * A set belongs to one pump and outlives its sessions: a connection that comes while there is no
 * session, or no free stream, waits in the set. Loop thread. */
#ifndef TL_DIAL_CONN_RELAY_H
#define TL_DIAL_CONN_RELAY_H

#include "dial/pump.h"

struct conn_relay;

struct conn_relays {
	struct pump *pump;
	struct list live;    /* struct conn_relay.node: on a stream */
	struct list waiting; /* the same, without a stream yet; oldest first */
	size_t count;        /* both */
};

/* Kept up to date while connections live; may be shared by any number of them. */
struct conn_counters {
	uint64_t bytes_in, bytes_out; /* from the host, to the host */
	size_t open;
};

struct conn_relay_spec {
	int fd;                /* the local connection; -1: fetch the host's and reset it */
	const char *open_json; /* the stream's opening object (docs/protocol.md 9) */
	struct tl_bytes first; /* read from fd before (SOCKS); at most CONN_RELAY_FIRST bytes */
	struct conn_counters *counters; /* may be NULL; outlives the connection */
	/* The host has answered. err NULL: it is connected and bytes flow from now on. Otherwise
	 * the local program gets a reset, or, when this function said a last word (conn_relay_say),
	 * an orderly end. May be NULL. */
	void (*on_answered)(void *ctx, struct conn_relay *r, const struct tl_err *err);
	/* The last call, once: afterwards r may not be used. why->code 0: both directions ended.
	 * May be NULL. */
	void (*on_ended)(void *ctx, struct conn_relay *r, const struct tl_err *why);
	void *ctx;
};

/* With the opening line it fits into the queue of a fresh stream. */
#define CONN_RELAY_FIRST 4096

void conn_relays_init(struct conn_relays *set, struct pump *p);
/* Carries one more connection. Takes fd, also on failure: TL_E_INVAL, TL_E_LIMIT (the opening line
 * or first are too long), TL_E_NOMEM; no callback comes then. on_ended
 * may come before it returns. What the program sends goes to the
 * host at once, before the host has answered. ret may be NULL. */
int conn_relay_start(struct conn_relays *set, const struct conn_relay_spec *spec,
		     struct conn_relay **ret, struct tl_err *err);
/* From on_answered only: bytes for the local program ahead of the host's. */
void conn_relay_say(struct conn_relay *r, struct tl_bytes b);
/* Ends it now, both sides with a reset. on_ended is called with why. */
void conn_relay_end(struct conn_relay *r, const struct tl_err *why);
/* Gives streams to those that wait: after a session came up, and after its events. */
void conn_relays_serve(struct conn_relays *set);
/* The session is lost for good: ends what it carried. Those that wait go on waiting. */
void conn_relays_lost(struct conn_relays *set, const struct tl_err *why);
/* Ends all. */
void conn_relays_end(struct conn_relays *set, const struct tl_err *why);

#endif
