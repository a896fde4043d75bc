/* zmtp.h - one ZMTP 3.1 connection with the NULL mechanism (rfc.zeromq.org/spec/37), as an engine:
 * bytes in, whole multipart messages out; no descriptor, no clock. Both sides of a connection are
 * alike, so the same engine is client and, for the tests, server. Peers of ZMTP 3.0 are welcome,
 * older ones are refused. */
#ifndef TL_WIRE_ZMTP_H
#define TL_WIRE_ZMTP_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/err.h"

/* Sockets that can be announced. Which may talk to which follows the specification. */
enum zmtp_socket {
	ZMTP_DEALER,
	ZMTP_ROUTER,
	ZMTP_REQ,
	ZMTP_REP,
	ZMTP_SUB,
	ZMTP_PUB,
};

/* What zmtp_feed stopped for. */
enum zmtp_event {
	ZMTP_NONE,    /* everything was consumed, more is needed */
	ZMTP_READY,   /* handshake done: messages may be written */
	ZMTP_MESSAGE, /* zmtp_part: a whole message */
	ZMTP_DROPPED, /* a message that was too large or had too many parts went by unread */
};

#define ZMTP_GREETING    64
#define ZMTP_HEAD        9    /* flags and a long size */
#define ZMTP_COMMAND_MAX 4096 /* our bound for a peer's command */

struct zmtp {
	enum zmtp_socket type;
	struct buf out; /* greeting, READY, PONG: the owner writes it and consumes */
	struct buf command;
	struct buf message; /* parts of the message being collected, end to end */
	size_t *end;        /* of each part in message */
	size_t parts, parts_cap, parts_max;
	uint8_t head[ZMTP_GREETING];
	size_t have;   /* bytes in head */
	uint64_t left; /* of the frame's body */
	bool greeted, ready, in_body, more, is_command, discard, delivered;
	char reason[128]; /* of an ERROR command, or what was wrong */
};

/* message_max: most bytes of one message's parts; parts_max: most parts. identity: at most 255
 * bytes, may be empty. Greeting and READY are in z->out at once. 0, TL_E_NOMEM or TL_E_LIMIT. */
int zmtp_init(struct zmtp *z, enum zmtp_socket type, struct tl_bytes identity, size_t message_max,
	      size_t parts_max);
void zmtp_fini(struct zmtp *z);
/* Takes bytes of the peer up to the next event: *ret_used of them were consumed. Returns an
 * enum zmtp_event, or TL_E_PROTO, TL_E_UNSUPPORTED (older protocol, other mechanism), TL_E_NOMEM:
 * the connection is of no use any more and z->reason says why. */
int zmtp_feed(struct zmtp *z, struct tl_bytes in, size_t *ret_used);
/* After ZMTP_MESSAGE until the next zmtp_feed: number of parts, and each (borrowed). */
size_t zmtp_parts(const struct zmtp *z);
struct tl_bytes zmtp_part(const struct zmtp *z, size_t i);

/* Appends one message of n >= 1 parts. 0, TL_E_LIMIT or TL_E_NOMEM; then nothing was added. */
int zmtp_put(struct buf *out, const struct tl_bytes *parts, size_t n);
/* Appends the head of one part of size bytes, whose bytes the caller appends or writes. */
int zmtp_put_head(struct buf *out, uint64_t size, bool more);
/* A subscriber's wish for topics that begin with topic (empty: all). */
int zmtp_put_subscribe(struct buf *out, struct tl_bytes topic);

#endif
