/* kernel_frame.h - the frames between a session's viewers and its hold, and the records inside of
 * them (docs/protocol.md 11). Codec only. Types, directions and lengths come from
 * proto/frames.def. */
#ifndef TL_WIRE_KERNEL_FRAME_H
#define TL_WIRE_KERNEL_FRAME_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/limits.h"

enum kernel_frame_type {
#define TL_KERNEL_FRAME(sym, type, name, direction, fixed, summary) KERNEL_FRAME_##sym = (type),
#include "proto/frames.def"
#undef TL_KERNEL_FRAME
};

/* Who speaks. */
enum kernel_direction { KERNEL_FROM_VIEWER, KERNEL_FROM_HOLD };

#define KERNEL_HEADER    4
#define KERNEL_PAYLOAD   TL_LIMIT_TERM_FRAME
#define KERNEL_FRAME_MAX (KERNEL_HEADER + KERNEL_PAYLOAD)
#define KERNEL_FROM_TAIL UINT64_MAX /* ATTACH from: `tail` bytes before the end */
#define KERNEL_GAP       1u         /* flag of ATTACHED */

/* One frame; payload is borrowed from the input. */
struct kernel_frame {
	uint8_t type;
	bool known; /* false: a newer peer's type, to be skipped */
	struct tl_bytes payload;
};

struct kernel_attach {
	uint64_t from_off;
	uint32_t tail_bytes, window_bytes;
};

struct kernel_attached {
	uint64_t first_off, from_off, end_off;
	uint32_t flags;
};

struct kernel_exit {
	uint32_t kind, value; /* as in hold_frame.h */
};

/* Name of a type for logs, or "unknown". */
const char *kernel_frame_name(uint8_t type);
/* Looks at the front of `in` for a frame that `from` may send: 1, the frame and the bytes to
 * consume; 0 incomplete; TL_E_PROTO (too long, wrong fixed length, or the other side's type). */
int kernel_frame_next(struct tl_bytes in, enum kernel_direction from, struct kernel_frame *ret,
		      size_t *ret_consume);
/* Appends one whole frame of at most KERNEL_PAYLOAD bytes; 0, TL_E_LIMIT, TL_E_NOMEM. */
int kernel_put(struct buf *out, uint8_t type, const void *payload, size_t n);
/* Appends text as pieces of that type and the empty one that ends it. */
int kernel_put_pieces(struct buf *out, uint8_t type, struct tl_bytes text);
int kernel_put_attach(struct buf *out, const struct kernel_attach *a);
int kernel_put_attached(struct buf *out, const struct kernel_attached *a);
/* ACKED and GAP */
int kernel_put_offset(struct buf *out, uint8_t type, uint64_t off);
int kernel_put_exit(struct buf *out, struct kernel_exit e);
/* Payloads; kernel_frame_next has checked the lengths. */
struct kernel_attach kernel_get_attach(struct tl_bytes payload);
struct kernel_attached kernel_get_attached(struct tl_bytes payload);
uint64_t kernel_get_offset(struct tl_bytes payload);
struct kernel_exit kernel_get_exit(struct tl_bytes payload);

/* ---- records: what the log and SEND consist of ---- */

enum kernel_record_kind {
	KERNEL_RECORD_MESSAGE = 1, /* channel; parts: header, parent, metadata, content, buffers */
	KERNEL_RECORD_OUTPUT = 2,  /* channel 1 or 2: the process's own standard output, error */
	KERNEL_RECORD_STATE = 3,   /* one part, JSON: the hold tells what happened */
	KERNEL_RECORD_LOST = 4,    /* one part, JSON: what could not be kept */
};

#define KERNEL_RECORD_HEAD 16 /* length u32, kind u8, channel u8, count u16, time_ms u64 */
#define KERNEL_RECORD_MAX  (KERNEL_RECORD_HEAD + 4 * TL_LIMIT_KERNEL_PARTS + TL_LIMIT_KERNEL_MESSAGE)

/* One record; borrowed from the input. */
struct kernel_record {
	uint8_t kind, channel;
	uint16_t count; /* parts */
	uint64_t time_ms;
	struct tl_bytes sizes, body;
};

/* Looks at the front of `in`: 1, the record and the bytes to consume; 0 incomplete; TL_E_PROTO (its
 * lengths do not agree), TL_E_LIMIT (longer than KERNEL_RECORD_MAX). */
int kernel_record_next(struct tl_bytes in, struct kernel_record *ret, size_t *ret_consume);
/* Part i < count. */
struct tl_bytes kernel_record_part(const struct kernel_record *r, size_t i);
/* Appends head and sizes of a record with these parts; the parts themselves follow from elsewhere.
 * 0, TL_E_LIMIT, TL_E_NOMEM. */
int kernel_record_put_head(struct buf *out, uint8_t kind, uint8_t channel, uint64_t time_ms,
			   const struct tl_bytes *parts, size_t n);
/* Appends the whole record. */
int kernel_record_put(struct buf *out, uint8_t kind, uint8_t channel, uint64_t time_ms,
		      const struct tl_bytes *parts, size_t n);

#endif
