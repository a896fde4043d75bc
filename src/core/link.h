/* link.h - one byte stream each way that survives the death of its transport (docs/protocol.md 1).
 * Owns the replay ring; borrows nothing. Touches no fd and no clock.
 * Invariants, for what we send: tx.base_off <= sent_off <= tx.next_off, tx.base_off is what the
 * peer acknowledged; for what we get: rx_off bytes were handed to the owner, each exactly once. */
#ifndef TL_CORE_LINK_H
#define TL_CORE_LINK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/ring.h"
#include "core/pace.h"
#include "wire/link_frame.h"

#define LINK_TEXT     256
#define LINK_OVERDRAW 4096 /* bytes beyond the cap for the mux's control frames */
/* every control frame at once, and a DATA header */
#define LINK_HEAD_MAX                                                                              \
	(LINK_HEADER * 6 + LINK_HELLO_SIZE + 8 /* PONG */ + 8 /* PING */ + 8 /* ACK */ + 4 +       \
	 LINK_TEXT)
#define LINK_SPANS 3

enum link_state {
	LINK_DOWN,   /* no transport */
	LINK_HELLO,  /* transport, peer's HELLO not here yet */
	LINK_UP,     /* bytes flow */
	LINK_BROKEN, /* this transport is spoilt: nothing in, at most a BYE out */
	LINK_OVER,   /* BYE said or heard: for ever */
};

enum link_ev { LINK_EV_NONE, LINK_EV_UP, LINK_EV_SILENT, LINK_EV_PROTO, LINK_EV_BYE };

struct link_event {
	enum link_ev type;
	bool resumed;     /* UP: not the first time */
	int error;        /* PROTO, BYE: TL_E_* or 0 */
	const char *text; /* borrowed until the next call */
};

struct link {
	bool client, resumed;
	uint8_t id[LINK_ID_SIZE];
	uint32_t epoch;
	enum link_state state;

	/* sending */
	struct ring tx;
	uint64_t sent_off;
	struct pace pace;
	uint8_t head[LINK_HEAD_MAX]; /* frames and frame header on their way out */
	size_t head_off, head_len, data_left;
	uint64_t asked_off; /* up to here the peer was asked to acknowledge */
	bool asked;         /* at all, on this transport */
	bool want_hello, want_ack, want_ping, want_pong, want_bye, head_has_ping;
	uint64_t pong_opaque;
	int bye_error;
	char bye_text[LINK_TEXT];

	/* receiving */
	uint64_t rx_off, rx_acked_off, ack_due_ms;
	bool asks; /* the peer says when it wants an acknowledgement */
	uint8_t in_head[LINK_HEADER];
	size_t in_have; /* bytes of header, then of payload */
	bool in_payload;
	struct link_header in;
	uint8_t in_body[4 + LINK_TEXT]; /* payload of everything but DATA */

	/* liveness */
	uint64_t heard_ms, ping_ms, wake_due_ms, ping_opaque, down_since_ms;
	bool ping_open, sent_since_ping;

	/* events not yet taken */
	bool ev_up, ev_silent, ev_proto, ev_bye;
	int over_error;
	char over_text[LINK_TEXT];
};

void link_init(struct link *l, bool client, const uint8_t id[LINK_ID_SIZE]);
void link_fini(struct link *l);

/* A fresh transport. epoch: the peer's (server), ignored by a client, which counts its own. An
 * epoch that is not higher than the last is refused on this transport with BYE(STALE) and the event
 * PROTO. */
void link_up(struct link *l, uint32_t epoch, uint64_t now_ms);
void link_down(struct link *l, uint64_t now_ms);

/* Takes bytes from the front of *in. Call again until *in is empty: each call hands out at most one
 * span of the stream in *ret_data (borrowed from *in). 0, or TL_E_PROTO (the event says more; *in
 * is then empty). */
int link_feed(struct link *l, struct tl_bytes *in, uint64_t now_ms, struct tl_bytes *ret_data);

/* Is nothing decided about what goes out next? Only then may the owner fill the ring: just in time.
 */
bool link_wants_data(const struct link *l);
/* Bytes link_put would take now; control: with the overdraw. */
size_t link_room(const struct link *l, bool control);
/* Appends the concatenation of the parts to the stream, all or nothing: 0, TL_E_LIMIT, TL_E_NOMEM.
 */
int link_put(struct link *l, const struct tl_bytes *parts, size_t n);
/* The largest DATA frame: no small part of what may be in flight, so that what waits for its end
 * hardly waits longer, and as large as may be, because each costs a write here and a read there. */
size_t link_frame_max(const struct link *l);
/* What goes out next, at most LINK_SPANS spans, borrowed until any other call; returns their
 * number. */
size_t link_pull(struct link *l, struct tl_bytes v[LINK_SPANS], uint64_t now_ms);
/* The transport took the first n bytes of it. */
void link_pulled(struct link *l, size_t n, uint64_t now_ms);

/* Timers; absolute time of the next call wanted, UINT64_MAX for none. */
uint64_t link_tick(struct link *l, uint64_t now_ms);
/* Gives back the ring's memory where nothing needs it. */
void link_sweep(struct link *l);
void link_woke(struct link *l, uint64_t now_ms);
bool link_next_event(struct link *l, struct link_event *ret);
/* Says BYE and is over. With report the owner hears of it by an event too. error: TL_E_* or 0. */
void link_end(struct link *l, int error, const char *text, bool report);

#endif
