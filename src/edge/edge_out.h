/* edge_out.h - what waits for a browser: frames with room in front for the library's header, so
 * that bytes are copied once on their way from the caller to the socket. Owns its frames. */
#ifndef TL_EDGE_OUT_H
#define TL_EDGE_OUT_H

#include <stdbool.h>

#include "base/bytes.h"
#include "base/list.h"

#define OUT_FRAME 65536 /* largest payload of one frame */

struct out_frame {
	struct list node;
	size_t len, cap;
	bool text, first, last; /* first, last: of a message */
	uint64_t mark;          /* of its sender, 0 none */
	uint8_t room[];         /* out_payload begins behind the library's headroom */
};

struct out_queue {
	struct list frames;
	size_t bytes; /* payload in all of them */
};

void out_init(struct out_queue *q);
void out_fini(struct out_queue *q);
/* A whole message, cut into frames. 0, TL_E_NOMEM, or TL_E_LIMIT when more than max would wait. */
int out_message(struct out_queue *q, struct tl_bytes message, bool text, uint64_t mark, size_t max);
/* Stream bytes, as many as keep the queue within max; returns how many. */
size_t out_stream(struct out_queue *q, struct tl_bytes b, size_t max);
/* First frame or NULL; out_drop removes it. */
struct out_frame *out_head(struct out_queue *q);
void out_drop(struct out_queue *q);
uint8_t *out_payload(struct out_frame *f);

#endif
