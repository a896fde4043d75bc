/* hold_frame.h - the frames between a terminal's viewers and its hold (docs/protocol.md 5).
 * Codec only: memory in, memory out. Types, directions and lengths come from proto/frames.def. */
#ifndef TL_WIRE_HOLD_FRAME_H
#define TL_WIRE_HOLD_FRAME_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/limits.h"

enum hold_frame_type {
#define TL_HOLD_FRAME(sym, type, name, direction, fixed, summary) HOLD_FRAME_##sym = (type),
#include "proto/frames.def"
#undef TL_HOLD_FRAME
};

/* Who speaks. */
enum hold_direction { HOLD_FROM_VIEWER, HOLD_FROM_HOLD };

#define HOLD_HEADER    4
#define HOLD_FRAME_MAX (HOLD_HEADER + TL_LIMIT_TERM_FRAME)
#define HOLD_FROM_TAIL UINT64_MAX /* ATTACH from: `tail` bytes before the end */
#define HOLD_GAP       1u         /* flags of ATTACHED */
#define HOLD_EXITED    2u

/* Kinds of EXIT. */
enum hold_exit_kind { HOLD_EXIT_STATUS, HOLD_EXIT_SIGNAL };

/* One frame; payload is borrowed from the input. */
struct hold_frame {
	uint8_t type;
	bool known; /* false: a newer peer's type, to be skipped */
	struct tl_bytes payload;
};

struct hold_attach {
	uint64_t from_off;
	uint32_t tail_bytes, window_bytes;
};

struct hold_input_id {
	uint64_t id, from_off;
};

struct hold_attached {
	uint64_t first_off, from_off, end_off;
	uint16_t cols, rows;
	uint32_t flags;
};

struct hold_exit {
	uint32_t kind, value;
};

struct hold_size {
	uint16_t cols, rows;
};

/* Name of a frame type for logs and errors ("INPUT"), or "unknown". */
const char *hold_frame_name(uint8_t type);
/* Looks at the front of `in` for a frame that `from` may send: 1, the frame and the bytes to
 * consume; 0 incomplete; TL_E_PROTO (too long, wrong fixed length, or the other side's type). */
int hold_frame_next(struct tl_bytes in, enum hold_direction from, struct hold_frame *ret,
		    size_t *ret_consume);

/* Header of a frame with n bytes of payload (n <= TERM_FRAME). */
void hold_put_header(uint8_t out[HOLD_HEADER], uint8_t type, size_t n);
/* Appends one whole frame; 0, TL_E_LIMIT (also: payload above TERM_FRAME), TL_E_NOMEM. */
int hold_put(struct buf *out, uint8_t type, const void *payload, size_t n);
int hold_put_attach(struct buf *out, const struct hold_attach *a);
int hold_put_input_id(struct buf *out, struct hold_input_id i);
int hold_put_attached(struct buf *out, const struct hold_attached *a);
/* RESIZE and SIZE */
int hold_put_size(struct buf *out, uint8_t type, struct hold_size s);
/* ACKED, GAP and INPUT_ACKED */
int hold_put_offset(struct buf *out, uint8_t type, uint64_t off);
int hold_put_exit(struct buf *out, struct hold_exit e);

/* Payloads; hold_frame_next has checked the lengths. */
struct hold_attach hold_get_attach(struct tl_bytes payload);
struct hold_input_id hold_get_input_id(struct tl_bytes payload);
struct hold_attached hold_get_attached(struct tl_bytes payload);
struct hold_size hold_get_size(struct tl_bytes payload);
uint64_t hold_get_offset(struct tl_bytes payload);
struct hold_exit hold_get_exit(struct tl_bytes payload);

#endif
