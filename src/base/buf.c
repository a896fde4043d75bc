/* buf.c - see buf.h. Growth doubles; bytes are moved to the front only when that pays for itself
 * (at least as much free space as content) or when the maximum leaves no other choice. */
#include "base/buf.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"

#define BUF_FIRST 256

void buf_init(struct buf *b, size_t max)
{
	*b = (struct buf){.max = max};
}

void buf_fini(struct buf *b)
{
	free(b->p);
	*b = (struct buf){.max = b->max};
}

void buf_clear(struct buf *b)
{
	b->off = b->len = 0;
}

/* Content at the start of a block of at least `need` bytes; need <= max + 1. */
static bool buf_grow(struct buf *b, size_t need)
{
	size_t cap = b->cap ? b->cap : BUF_FIRST;
	while (cap < need)
		cap = cap > SIZE_MAX / 2 ? need : cap * 2;
	if (cap > b->max)
		cap = need > b->max ? need : b->max;
	if (cap == b->cap || (b->off && b->off >= b->len && need <= b->cap)) {
		memmove(b->p, b->p + b->off, b->len);
		b->off = 0;
		return true;
	}
	uint8_t *p = malloc(cap);
	if (!p)
		return false;
	if (b->len)
		memcpy(p, b->p + b->off, b->len);
	free(b->p);
	b->p = p;
	b->off = 0;
	b->cap = cap;
	return true;
}

static uint8_t *buf_reserve_err(struct buf *b, size_t n, int *ret_code)
{
	if (n > b->max - b->len) {
		*ret_code = TL_E_LIMIT;
		return NULL;
	}
	*ret_code = 0;
	if ((!b->p || n > b->cap - b->off - b->len) && !buf_grow(b, b->len + n)) {
		*ret_code = TL_E_NOMEM;
		return NULL;
	}
	return b->p + b->off + b->len;
}

uint8_t *buf_reserve(struct buf *b, size_t n)
{
	int code;
	return buf_reserve_err(b, n, &code);
}

void buf_commit(struct buf *b, size_t n)
{
	tl_assert(n <= b->cap - b->off - b->len);
	b->len += n;
}

int buf_put(struct buf *b, const void *p, size_t n)
{
	if (!n)
		return 0;
	int code;
	uint8_t *to = buf_reserve_err(b, n, &code);
	if (!to)
		return code;
	memcpy(to, p, n);
	b->len += n;
	return 0;
}

int buf_put_str(struct buf *b, const char *s)
{
	return buf_put(b, s, strlen(s));
}

int buf_put_u8(struct buf *b, uint8_t v)
{
	return buf_put(b, &v, 1);
}

int buf_put_u16(struct buf *b, uint16_t v)
{
	uint8_t w[2];
	set_u16(w, v);
	return buf_put(b, w, sizeof(w));
}

int buf_put_u32(struct buf *b, uint32_t v)
{
	uint8_t w[4];
	set_u32(w, v);
	return buf_put(b, w, sizeof(w));
}

int buf_put_u64(struct buf *b, uint64_t v)
{
	uint8_t w[8];
	set_u64(w, v);
	return buf_put(b, w, sizeof(w));
}

int buf_put_string(struct buf *b, const void *p, size_t n)
{
	int code;
	if (n > UINT32_MAX || n > SIZE_MAX - 4)
		return TL_E_LIMIT;
	uint8_t *to = buf_reserve_err(b, n + 4, &code);
	if (!to)
		return code;
	set_u32(to, (uint32_t)n);
	if (n)
		memcpy(to + 4, p, n);
	b->len += n + 4;
	return 0;
}

int buf_printf(struct buf *b, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	int n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	if (n < 0)
		return TL_E_INVAL;
	/* one more byte for vsnprintf's NUL, which is not content */
	if ((size_t)n > b->max - b->len)
		return TL_E_LIMIT;
	if ((!b->p || (size_t)n + 1 > b->cap - b->off - b->len) &&
	    !buf_grow(b, b->len + (size_t)n + 1))
		return TL_E_NOMEM;
	va_start(ap, fmt);
	vsnprintf((char *)b->p + b->off + b->len, (size_t)n + 1, fmt, ap);
	va_end(ap);
	b->len += (size_t)n;
	return 0;
}

void buf_consume(struct buf *b, size_t n)
{
	tl_assert(n <= b->len);
	b->off += n;
	b->len -= n;
	if (!b->len)
		b->off = 0;
}

void buf_shrink(struct buf *b)
{
	if (!b->len)
		buf_fini(b);
}

const char *buf_cstr(struct buf *b)
{
	if ((!b->p || b->off + b->len >= b->cap) && !buf_grow(b, b->len + 1))
		return NULL;
	b->p[b->off + b->len] = 0;
	return (const char *)b->p + b->off;
}
