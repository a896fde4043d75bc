/* kernel_frame.c - see kernel_frame.h. Owns nothing. */
#include "wire/kernel_frame.h"

#include "base/err.h"

struct kernel_row {
	uint8_t type;
	const char *name;
	enum kernel_direction from;
	int fixed; /* payload length, -1: any */
};

/* The direction column of the table, as enum values. */
enum { VIEWER = KERNEL_FROM_VIEWER, HOLD = KERNEL_FROM_HOLD };

static const struct kernel_row kernel_rows[] = {
#define TL_KERNEL_FRAME(sym, type, name, direction, fixed, summary)                                \
	{type, name, (enum kernel_direction)(direction), fixed},
#include "proto/frames.def"
#undef TL_KERNEL_FRAME
};

static const struct kernel_row *kernel_row_of(uint8_t type)
{
	for (size_t i = 0; i < sizeof(kernel_rows) / sizeof(kernel_rows[0]); i++)
		if (kernel_rows[i].type == type)
			return &kernel_rows[i];
	return NULL;
}

const char *kernel_frame_name(uint8_t type)
{
	const struct kernel_row *row = kernel_row_of(type);
	return row ? row->name : "unknown";
}

int kernel_frame_next(struct tl_bytes in, enum kernel_direction from, struct kernel_frame *ret,
		      size_t *ret_consume)
{
	if (in.n < KERNEL_HEADER)
		return 0;
	const struct kernel_row *row = kernel_row_of(in.p[0]);
	size_t n = get_u24(in.p + 1);
	/* a wrong header is told before its payload is waited for */
	if (n > KERNEL_PAYLOAD)
		return TL_E_PROTO;
	if (row && (row->from != from || (row->fixed >= 0 && (size_t)row->fixed != n)))
		return TL_E_PROTO;
	if (in.n < KERNEL_HEADER + n)
		return 0;
	ret->type = in.p[0];
	ret->known = row != NULL;
	ret->payload = bytes_of(in.p + KERNEL_HEADER, n);
	*ret_consume = KERNEL_HEADER + n;
	return 1;
}

int kernel_put(struct buf *out, uint8_t type, const void *payload, size_t n)
{
	if (n > KERNEL_PAYLOAD || n + KERNEL_HEADER > buf_room(out))
		return TL_E_LIMIT;
	uint8_t *p = buf_reserve(out, KERNEL_HEADER + n);
	if (!p)
		return TL_E_NOMEM;
	p[0] = type;
	set_u24(p + 1, (uint32_t)n);
	if (n)
		memcpy(p + KERNEL_HEADER, payload, n);
	buf_commit(out, KERNEL_HEADER + n);
	return 0;
}

int kernel_put_pieces(struct buf *out, uint8_t type, struct tl_bytes text)
{
	int rc = 0;
	while (text.n && !rc) {
		size_t n = text.n < KERNEL_PAYLOAD ? text.n : KERNEL_PAYLOAD;
		rc = kernel_put(out, type, text.p, n);
		text = bytes_of(text.p + n, text.n - n);
	}
	return rc ? rc : kernel_put(out, type, NULL, 0);
}

int kernel_put_attach(struct buf *out, const struct kernel_attach *a)
{
	uint8_t p[16];
	set_u64(p, a->from_off);
	set_u32(p + 8, a->tail_bytes);
	set_u32(p + 12, a->window_bytes);
	return kernel_put(out, KERNEL_FRAME_ATTACH, p, sizeof(p));
}

int kernel_put_attached(struct buf *out, const struct kernel_attached *a)
{
	uint8_t p[32] = {0};
	set_u64(p, a->first_off);
	set_u64(p + 8, a->from_off);
	set_u64(p + 16, a->end_off);
	set_u32(p + 24, a->flags);
	return kernel_put(out, KERNEL_FRAME_ATTACHED, p, sizeof(p));
}

int kernel_put_offset(struct buf *out, uint8_t type, uint64_t off)
{
	uint8_t p[8];
	set_u64(p, off);
	return kernel_put(out, type, p, sizeof(p));
}

int kernel_put_exit(struct buf *out, struct kernel_exit e)
{
	uint8_t p[8];
	set_u32(p, e.kind);
	set_u32(p + 4, e.value);
	return kernel_put(out, KERNEL_FRAME_EXIT, p, sizeof(p));
}

struct kernel_attach kernel_get_attach(struct tl_bytes payload)
{
	tl_assert(payload.n == 16);
	return (struct kernel_attach){get_u64(payload.p), get_u32(payload.p + 8),
				      get_u32(payload.p + 12)};
}

struct kernel_attached kernel_get_attached(struct tl_bytes payload)
{
	tl_assert(payload.n == 32);
	const uint8_t *p = payload.p;
	return (struct kernel_attached){get_u64(p), get_u64(p + 8), get_u64(p + 16),
					get_u32(p + 24)};
}

uint64_t kernel_get_offset(struct tl_bytes payload)
{
	tl_assert(payload.n == 8);
	return get_u64(payload.p);
}

struct kernel_exit kernel_get_exit(struct tl_bytes payload)
{
	tl_assert(payload.n == 8);
	return (struct kernel_exit){get_u32(payload.p), get_u32(payload.p + 4)};
}

/* ---- records ---- */

int kernel_record_next(struct tl_bytes in, struct kernel_record *ret, size_t *ret_consume)
{
	size_t length, parts, sum = 0;
	if (in.n < 4)
		return 0;
	length = (size_t)get_u32(in.p) + 4;
	if (length > KERNEL_RECORD_MAX)
		return TL_E_LIMIT;
	if (length < KERNEL_RECORD_HEAD)
		return TL_E_PROTO;
	if (in.n < KERNEL_RECORD_HEAD)
		return 0;
	*ret =
	    (struct kernel_record){.kind = in.p[4], .channel = in.p[5], .count = get_u16(in.p + 6)};
	ret->time_ms = get_u64(in.p + 8);
	parts = ret->count;
	if (parts > TL_LIMIT_KERNEL_PARTS || length < KERNEL_RECORD_HEAD + 4 * parts)
		return TL_E_PROTO;
	if (in.n < KERNEL_RECORD_HEAD + 4 * parts)
		return 0;
	ret->sizes = bytes_of(in.p + KERNEL_RECORD_HEAD, 4 * parts);
	for (size_t i = 0; i < parts; i++)
		sum += get_u32(ret->sizes.p + 4 * i);
	if (sum != length - KERNEL_RECORD_HEAD - 4 * parts)
		return TL_E_PROTO;
	if (in.n < length)
		return 0;
	ret->body = bytes_of(ret->sizes.p + 4 * parts, sum);
	*ret_consume = length;
	return 1;
}

struct tl_bytes kernel_record_part(const struct kernel_record *r, size_t i)
{
	size_t at = 0;
	tl_assert(i < r->count);
	for (size_t k = 0; k < i; k++)
		at += get_u32(r->sizes.p + 4 * k);
	return bytes_of(r->body.p + at, get_u32(r->sizes.p + 4 * i));
}

int kernel_record_put_head(struct buf *out, uint8_t kind, uint8_t channel, uint64_t time_ms,
			   const struct tl_bytes *parts, size_t n)
{
	size_t sum = 0, head = KERNEL_RECORD_HEAD + 4 * n;
	if (n > TL_LIMIT_KERNEL_PARTS)
		return TL_E_LIMIT;
	for (size_t i = 0; i < n; i++)
		sum += parts[i].n;
	if (sum > TL_LIMIT_KERNEL_MESSAGE || head > buf_room(out))
		return TL_E_LIMIT;
	uint8_t *p = buf_reserve(out, head);
	if (!p)
		return TL_E_NOMEM;
	set_u32(p, (uint32_t)(head - 4 + sum));
	p[4] = kind;
	p[5] = channel;
	set_u16(p + 6, (uint16_t)n);
	set_u64(p + 8, time_ms);
	for (size_t i = 0; i < n; i++)
		set_u32(p + KERNEL_RECORD_HEAD + 4 * i, (uint32_t)parts[i].n);
	buf_commit(out, head);
	return 0;
}

int kernel_record_put(struct buf *out, uint8_t kind, uint8_t channel, uint64_t time_ms,
		      const struct tl_bytes *parts, size_t n)
{
	size_t sum = KERNEL_RECORD_HEAD + 4 * n;
	for (size_t i = 0; i < n; i++)
		sum += parts[i].n;
	if (sum > buf_room(out))
		return TL_E_LIMIT;
	if (!buf_reserve(out, sum))
		return TL_E_NOMEM;
	int rc = kernel_record_put_head(out, kind, channel, time_ms, parts, n);
	for (size_t i = 0; i < n && !rc; i++)
		rc = buf_put(out, parts[i].p, parts[i].n);
	return rc;
}
