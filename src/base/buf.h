/* buf.h - a growing byte queue with a maximum: bytes go in at the end and out at the front.
 * Owns its memory. Invariant: off + len <= cap <= max (after the first growth). */
#ifndef TL_BASE_BUF_H
#define TL_BASE_BUF_H

#include "base/bytes.h"

struct buf {
	uint8_t *p;
	size_t off, len, cap, max;
};

/* max: most bytes ever held; there is no unbounded buf. */
void buf_init(struct buf *b, size_t max);
void buf_fini(struct buf *b);
void buf_clear(struct buf *b);
/* Room for n more bytes at the end, or NULL (limit or memory). Follow with buf_commit. */
uint8_t *buf_reserve(struct buf *b, size_t n);
void buf_commit(struct buf *b, size_t n);
/* 0, TL_E_LIMIT or TL_E_NOMEM; on failure nothing was added. */
int buf_put(struct buf *b, const void *p, size_t n);
int buf_put_str(struct buf *b, const char *s);
int buf_put_u8(struct buf *b, uint8_t v);
int buf_put_u16(struct buf *b, uint16_t v);
int buf_put_u32(struct buf *b, uint32_t v);
int buf_put_u64(struct buf *b, uint64_t v);
/* SSH string: u32 length and bytes (RFC 4251 section 5). */
int buf_put_string(struct buf *b, const void *p, size_t n);
int buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* What is held; borrowed until the next change. */
static inline struct tl_bytes buf_data(const struct buf *b)
{
	return bytes_of(b->p ? b->p + b->off : (const uint8_t *)"", b->len);
}
void buf_consume(struct buf *b, size_t n);
static inline size_t buf_room(const struct buf *b)
{
	return b->max - b->len;
}
/* Gives memory back when empty. */
void buf_shrink(struct buf *b);
/* NUL-terminated content, owned by b; NULL when memory or limit refuses. */
const char *buf_cstr(struct buf *b);

#endif
