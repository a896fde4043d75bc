/* shell_input.h - what the user typed and the host has not acknowledged: sent again over a new
 * stream, so that every key arrives once (docs/protocol.md 5). Memory in, memory out; owns the
 * bytes it keeps. */
#ifndef TL_CMD_SHELL_INPUT_H
#define TL_CMD_SHELL_INPUT_H

#include "base/limits.h"
#include "base/ring.h"
#include "wire/hold_frame.h"

/* What the hold on the other side can do. */
enum shell_input_hold {
	SHELL_INPUT_UNKNOWN, /* it has not said a word yet */
	SHELL_INPUT_COUNTS,  /* it acknowledges */
	SHELL_INPUT_OLD,     /* it does not know INPUT_ID: what was sent is gone from here */
};

/* Invariant: kept.base_off <= sent_off <= kept.next_off. */
struct shell_input {
	uint64_t id;
	struct ring kept;  /* from the first byte not acknowledged to the last one typed */
	uint64_t sent_off; /* so far over this stream */
	uint64_t took_off; /* acknowledged; may be ahead of sent_off on a new stream */
	enum shell_input_hold hold;
	bool answered; /* INPUT_ACKED came over this stream */
};

/* id: random, one for the life of this viewer. */
void shell_input_init(struct shell_input *in, uint64_t id);
void shell_input_fini(struct shell_input *in);
/* How many bytes may be typed now. */
static inline size_t shell_input_room(const struct shell_input *in)
{
	return ring_room(&in->kept);
}
/* Bytes typed that are not known to have arrived. */
static inline size_t shell_input_waiting(const struct shell_input *in)
{
	return ring_len(&in->kept);
}
/* Takes what was typed; 0, TL_E_LIMIT (see shell_input_room) or TL_E_NOMEM. */
int shell_input_type(struct shell_input *in, const void *p, size_t n);
/* A new stream: appends INPUT_ID, and begins again at the first byte not acknowledged. To be called
 * before ATTACH is appended. 0 or what hold_put says. */
int shell_input_begin(struct shell_input *in, struct buf *out);
/* Appends INPUT frames while out has less than until_bytes. 0 or what hold_put says. */
int shell_input_send(struct shell_input *in, struct buf *out, size_t until_bytes);
/* INPUT_ACKED came. 0, TL_E_PROTO: nobody typed so much. */
int shell_input_acked(struct shell_input *in, uint64_t off);
/* ATTACHED came: INPUT_ACKED is there by now, or will never be. */
void shell_input_attached(struct shell_input *in);

#endif
