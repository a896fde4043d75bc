/* mux.h - many streams over one reliable byte stream: yamux version 0 (docs/protocol.md 2).
 * Owns its streams and their queues. Touches no fd and no clock; knows nothing of the link below,
 * so the same engine talks to any yamux peer over a plain socket. Invariants, per stream: out holds
 * at most MUX_SEND_QUEUE; in holds at most in_window; what the peer may still send (in_left) + what
 * is held + what is consumed and not yet credited (give) == in_window. */
#ifndef TL_CORE_MUX_H
#define TL_CORE_MUX_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/bytes.h"
#include "base/list.h"
#include "base/ring.h"
#include "wire/yamux_frame.h"

#define MUX_BUCKETS 64 /* power of two */

/* scheduling classes, best first */
enum mux_class_id { MUX_CONTROL, MUX_KEY, MUX_NORMAL, MUX_BULK, MUX_CLASSES };

enum mux_ev { MUX_EV_OPENED = 1, MUX_EV_READABLE = 2, MUX_EV_WRITABLE = 4, MUX_EV_CLOSED = 8 };

struct mux_stream {
	struct mux *mux;
	void *user;
	uint32_t id;
	uint8_t cls;
	struct list node;         /* bucket of mux, or its dying list */
	struct list control_node; /* has flags or credit to send */
	struct list ready_node;   /* has bytes and credit: in the list of its class */
	struct list event_node;
	uint8_t events; /* enum mux_ev bits not yet taken */
	bool over;      /* no longer known to the peer; waits for its CLOSED event to be taken */
	bool unacked;   /* opened by us, the peer has not answered */
	bool syn_due, ack_due, fin_due, fin_sent, fin_got, want_write, touched;
	int error;

	struct ring out;
	uint32_t credit;
	size_t deficit;

	struct ring in;
	uint32_t in_left, in_window, give;
};

struct mux_class {
	struct list ready;
	size_t waited; /* bytes sent by higher classes while this one had something */
};

struct mux {
	bool client, away_sent, away_got, failed;
	uint32_t next_id, away_reason;
	size_t count, unacked;
	size_t extra; /* sum of in_window beyond MUX_WINDOW */
	struct list bucket[MUX_BUCKETS], control, events, dying;
	struct mux_class cls[MUX_CLASSES];
	struct buf raw; /* whole control frames without a stream: PING, GOAWAY, RST */

	uint8_t in_head[YAMUX_HEADER];
	size_t in_have;
	uint32_t in_payload;          /* DATA bytes still to come */
	struct mux_stream *in_stream; /* theirs; NULL: dropped */
	bool in_fin;

	uint64_t pings_back;
	uint32_t ping_back; /* opaque value of the last PING that came back */
	int fail_code;      /* TL_E_PROTO: the peer is at fault; TL_E_NOMEM */
	const char *text;   /* why it failed */
};

/* One frame to send: the parts, in order, are borrowed until mux_frame_sent. */
struct mux_frame {
	uint8_t head[YAMUX_HEADER];
	struct tl_bytes parts[3];
	size_t n_parts, size;
	struct mux_stream *stream; /* NULL: a frame of the session */
	bool data;
	uint16_t flags;
	uint32_t length;
};

void mux_init(struct mux *m, bool client);
void mux_fini(struct mux *m);

/* Takes all. 0, or TL_E_PROTO: the peer broke the protocol beyond repair (m->text), GOAWAY is
 * queued. */
int mux_feed(struct mux *m, struct tl_bytes in);
/* Decides on the next frame: at most room_control bytes for a control frame, room_data for data,
 * header included. False when there is none that fits. Then mux_frame_sent, or forget it: nothing
 * has changed. */
bool mux_next_frame(struct mux *m, size_t room_control, size_t room_data, struct mux_frame *ret);
void mux_frame_sent(struct mux *m, const struct mux_frame *f);
/* Does any stream have bytes and credit? */
bool mux_has_data(const struct mux *m);

/* The oldest event; MUX_EV_OPENED < READABLE < WRITABLE < CLOSED of one stream come in this order.
 * False when none. A stream whose CLOSED was handed out is freed by the next call. */
bool mux_next_event(struct mux *m, struct mux_stream **ret_stream, enum mux_ev *ret_ev);
/* Every stream is over with this error. */
void mux_abort(struct mux *m, int error);
void mux_ping(struct mux *m, uint32_t opaque);
void mux_goaway(struct mux *m, enum yamux_goaway reason);
/* Gives back the memory of queues that were empty and unused since the last call; true: call again
 * later. */
bool mux_sweep(struct mux *m);

/* NULL: limits (MUX_STREAMS, MUX_OPEN_PENDING), GOAWAY, no memory. */
struct mux_stream *mux_open(struct mux *m, unsigned cls);
void mux_set_class(struct mux_stream *st, unsigned cls);
/* Bytes taken, 0 .. n, or TL_E_CLOSED. */
long mux_write(struct mux_stream *st, struct tl_bytes in);
size_t mux_writable(const struct mux_stream *st);
struct tl_bytes mux_peek(const struct mux_stream *st);
void mux_consume(struct mux_stream *st, size_t n);
bool mux_eof(const struct mux_stream *st);
void mux_finish(struct mux_stream *st);
void mux_reset(struct mux_stream *st);

/* ---- between mux.c, mux_in.c and mux_out.c ---- */

struct mux_stream *mux_find(struct mux *m, uint32_t id);
struct mux_stream *mux_stream_new(struct mux *m, uint32_t id, unsigned cls);
void mux_event(struct mux_stream *st, enum mux_ev ev);
/* Puts the stream where its state belongs: control list, ready list of its class. */
void mux_schedule(struct mux_stream *st);
/* Both directions ended and everything is read: CLOSED. */
void mux_check_done(struct mux_stream *st);
/* Ends it now; rst: the peer is told. */
void mux_kill(struct mux_stream *st, int error, bool rst);
/* Queues a frame without a stream; a peer that makes us queue too many is at fault. */
void mux_raw(struct mux *m, uint8_t type, uint16_t flags, uint32_t stream, uint32_t length);
int mux_fail(struct mux *m, int code, const char *text);

#endif
