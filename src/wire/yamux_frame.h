/* yamux_frame.h - the 12-byte header of yamux version 0 (docs/protocol.md 2).
 * Owns nothing. */
#ifndef TL_WIRE_YAMUX_FRAME_H
#define TL_WIRE_YAMUX_FRAME_H

#include "base/bytes.h"

#define YAMUX_HEADER  12
#define YAMUX_VERSION 0

enum yamux_type { YAMUX_DATA, YAMUX_WINDOW, YAMUX_PING, YAMUX_GOAWAY, YAMUX_TYPES };
enum yamux_flag { YAMUX_SYN = 1, YAMUX_ACK = 2, YAMUX_FIN = 4, YAMUX_RST = 8 };
enum yamux_goaway { YAMUX_AWAY_NORMAL, YAMUX_AWAY_PROTO, YAMUX_AWAY_INTERNAL };

struct yamux_header {
	uint8_t version, type;
	uint16_t flags;
	uint32_t stream;
	uint32_t length; /* payload bytes, window increment, opaque value or reason, by type */
};

/* out has YAMUX_HEADER bytes; version is written as 0. */
void yamux_header_put(uint8_t *out, uint8_t type, uint16_t flags, uint32_t stream, uint32_t length);
/* 0, or TL_E_PROTO: other version, unknown type, stream 0 with a stream's frame or the reverse.
 * Unknown flags are kept. */
int yamux_header_get(const uint8_t *in, struct yamux_header *ret);

#endif
