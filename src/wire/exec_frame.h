/* exec_frame.h - the frames of a command: its input, its two outputs, how it ended
 * (docs/protocol.md 9). Memory in, memory out. */
#ifndef TL_WIRE_EXEC_FRAME_H
#define TL_WIRE_EXEC_FRAME_H

#include "base/buf.h"
#include "base/limits.h"

enum exec_frame_type {
#define TL_EXEC_FRAME(sym, type, name, direction, fixed, summary) EXEC_FRAME_##sym = (type),
#include "proto/frames.def"
#undef TL_EXEC_FRAME
};

enum exec_direction { EXEC_FROM_CLIENT, EXEC_FROM_HOST };
enum exec_exit_kind { EXEC_EXIT_STATUS, EXEC_EXIT_SIGNAL };

#define EXEC_HEADER    4
#define EXEC_PAYLOAD   TL_LIMIT_EXEC_FRAME
#define EXEC_FRAME_MAX (EXEC_HEADER + EXEC_PAYLOAD)

/* One frame; payload is borrowed from the input. */
struct exec_frame {
	uint8_t type;
	struct tl_bytes payload;
};

/* Looks at the front of `in` for a frame that `from` may send: 1, the frame and the bytes to
 * consume; 0 incomplete; TL_E_PROTO. */
int exec_frame_next(struct tl_bytes in, enum exec_direction from, struct exec_frame *ret,
		    size_t *ret_consume);
/* Header of a frame with n bytes of payload (n <= EXEC_PAYLOAD). */
void exec_put_header(uint8_t out[EXEC_HEADER], uint8_t type, size_t n);
/* Appends one whole frame; 0, TL_E_LIMIT, TL_E_NOMEM. */
int exec_put(struct buf *out, uint8_t type, const void *payload, size_t n);
int exec_put_exit(struct buf *out, enum exec_exit_kind kind, uint32_t value);

#endif
