/* link_frame.h - the frames of the link (docs/protocol.md 1): memory in, memory out.
 * Owns nothing. */
#ifndef TL_WIRE_LINK_FRAME_H
#define TL_WIRE_LINK_FRAME_H

#include <stdbool.h>

#include "base/bytes.h"

#define LINK_HEADER  8
#define LINK_PROTO   1 /* the only version there is */
#define LINK_ID_SIZE 16

enum link_frame_type {
#define TL_LINK_FRAME(sym, type, name, fixed, summary) LINK_FRAME_##sym = (type),
#include "proto/frames.def"
#undef TL_LINK_FRAME
};

#define LINK_HELLO_SIZE      48
#define LINK_FLAG_PING_REPLY 1
#define LINK_FLAG_DATA_ASK   1 /* acknowledge what comes up to the end of this frame */

struct link_header {
	uint8_t type, flags;
	uint16_t length;
	uint32_t offset_low;
};

struct link_hello {
	uint16_t proto_min, proto_max;
	uint8_t link_id[LINK_ID_SIZE];
	uint32_t epoch;
	uint64_t recv_off, base_off;
	uint32_t ring_bytes, features;
};

/* out has LINK_HEADER bytes. */
void link_header_put(uint8_t *out, const struct link_header *h);
/* 0, or TL_E_PROTO for an unknown type or a length that type cannot have; in has LINK_HEADER bytes.
 */
int link_header_get(const uint8_t *in, struct link_header *ret);
/* out has LINK_HEADER + LINK_HELLO_SIZE bytes: the whole frame. */
void link_hello_put(uint8_t *out, const struct link_hello *h);
/* in is the payload, LINK_HELLO_SIZE bytes. 0, or TL_E_PROTO where the members contradict each
 * other. */
int link_hello_get(const uint8_t *in, struct link_hello *ret);
/* "HELLO" and so on; "unknown" otherwise. */
const char *link_frame_name(uint8_t type);

#endif
