/* hold_frame.c - see hold_frame.h. Owns nothing. */
#include "wire/hold_frame.h"

#include "base/err.h"

struct hold_row {
	uint8_t type;
	const char *name;
	enum hold_direction from;
	int fixed; /* payload length, -1: any up to TERM_FRAME */
};

/* The direction column of the table, as enum values. */
enum { VIEWER = HOLD_FROM_VIEWER, HOLD = HOLD_FROM_HOLD };

static const struct hold_row hold_rows[] = {
#define TL_HOLD_FRAME(sym, type, name, direction, fixed, summary)                                  \
	{type, name, (enum hold_direction)(direction), fixed},
#include "proto/frames.def"
#undef TL_HOLD_FRAME
};

static const struct hold_row *hold_row_of(uint8_t type)
{
	for (size_t i = 0; i < sizeof(hold_rows) / sizeof(hold_rows[0]); i++)
		if (hold_rows[i].type == type)
			return &hold_rows[i];
	return NULL;
}

const char *hold_frame_name(uint8_t type)
{
	const struct hold_row *row = hold_row_of(type);
	return row ? row->name : "unknown";
}

int hold_frame_next(struct tl_bytes in, enum hold_direction from, struct hold_frame *ret,
		    size_t *ret_consume)
{
	if (in.n < HOLD_HEADER)
		return 0;
	const struct hold_row *row = hold_row_of(in.p[0]);
	size_t n = get_u24(in.p + 1);
	/* a wrong header is told before its payload is waited for */
	if (n > TL_LIMIT_TERM_FRAME)
		return TL_E_PROTO;
	if (row && (row->from != from || (row->fixed >= 0 && (size_t)row->fixed != n)))
		return TL_E_PROTO;
	if (in.n < HOLD_HEADER + n)
		return 0;
	ret->type = in.p[0];
	ret->known = row != NULL;
	ret->payload = bytes_of(in.p + HOLD_HEADER, n);
	*ret_consume = HOLD_HEADER + n;
	return 1;
}

void hold_put_header(uint8_t out[HOLD_HEADER], uint8_t type, size_t n)
{
	tl_assert(n <= TL_LIMIT_TERM_FRAME);
	out[0] = type;
	set_u24(out + 1, (uint32_t)n);
}

int hold_put(struct buf *out, uint8_t type, const void *payload, size_t n)
{
	if (n > TL_LIMIT_TERM_FRAME || n + HOLD_HEADER > buf_room(out))
		return TL_E_LIMIT;
	uint8_t *p = buf_reserve(out, HOLD_HEADER + n);
	if (!p)
		return TL_E_NOMEM;
	hold_put_header(p, type, n);
	if (n)
		memcpy(p + HOLD_HEADER, payload, n);
	buf_commit(out, HOLD_HEADER + n);
	return 0;
}

int hold_put_attach(struct buf *out, const struct hold_attach *a)
{
	uint8_t p[16];
	set_u64(p, a->from_off);
	set_u32(p + 8, a->tail_bytes);
	set_u32(p + 12, a->window_bytes);
	return hold_put(out, HOLD_FRAME_ATTACH, p, sizeof(p));
}

int hold_put_input_id(struct buf *out, struct hold_input_id i)
{
	uint8_t p[16];
	set_u64(p, i.id);
	set_u64(p + 8, i.from_off);
	return hold_put(out, HOLD_FRAME_INPUT_ID, p, sizeof(p));
}

int hold_put_attached(struct buf *out, const struct hold_attached *a)
{
	uint8_t p[32];
	set_u64(p, a->first_off);
	set_u64(p + 8, a->from_off);
	set_u64(p + 16, a->end_off);
	set_u16(p + 24, a->cols);
	set_u16(p + 26, a->rows);
	set_u32(p + 28, a->flags);
	return hold_put(out, HOLD_FRAME_ATTACHED, p, sizeof(p));
}

int hold_put_size(struct buf *out, uint8_t type, struct hold_size s)
{
	uint8_t p[4];
	set_u16(p, s.cols);
	set_u16(p + 2, s.rows);
	return hold_put(out, type, p, sizeof(p));
}

int hold_put_offset(struct buf *out, uint8_t type, uint64_t off)
{
	uint8_t p[8];
	set_u64(p, off);
	return hold_put(out, type, p, sizeof(p));
}

int hold_put_exit(struct buf *out, struct hold_exit e)
{
	uint8_t p[8];
	set_u32(p, e.kind);
	set_u32(p + 4, e.value);
	return hold_put(out, HOLD_FRAME_EXIT, p, sizeof(p));
}

struct hold_attach hold_get_attach(struct tl_bytes payload)
{
	tl_assert(payload.n == 16);
	return (struct hold_attach){get_u64(payload.p), get_u32(payload.p + 8),
				    get_u32(payload.p + 12)};
}

struct hold_input_id hold_get_input_id(struct tl_bytes payload)
{
	tl_assert(payload.n == 16);
	return (struct hold_input_id){get_u64(payload.p), get_u64(payload.p + 8)};
}

struct hold_attached hold_get_attached(struct tl_bytes payload)
{
	tl_assert(payload.n == 32);
	const uint8_t *p = payload.p;
	return (struct hold_attached){get_u64(p),      get_u64(p + 8),  get_u64(p + 16),
				      get_u16(p + 24), get_u16(p + 26), get_u32(p + 28)};
}

struct hold_size hold_get_size(struct tl_bytes payload)
{
	tl_assert(payload.n == 4);
	return (struct hold_size){get_u16(payload.p), get_u16(payload.p + 2)};
}

uint64_t hold_get_offset(struct tl_bytes payload)
{
	tl_assert(payload.n == 8);
	return get_u64(payload.p);
}

struct hold_exit hold_get_exit(struct tl_bytes payload)
{
	tl_assert(payload.n == 8);
	return (struct hold_exit){get_u32(payload.p), get_u32(payload.p + 4)};
}
