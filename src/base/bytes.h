/* bytes.h - a borrowed span of bytes.
 * Never owned: it dies when the function that was given it returns. */
#ifndef TL_BASE_BYTES_H
#define TL_BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct tl_bytes {
	const uint8_t *p;
	size_t n;
};

static inline struct tl_bytes bytes_of(const void *p, size_t n)
{
	return (struct tl_bytes){(const uint8_t *)p, n};
}

static inline struct tl_bytes bytes_str(const char *s)
{
	return bytes_of(s, strlen(s));
}

static inline bool bytes_equal(struct tl_bytes a, struct tl_bytes b)
{
	return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

/* Big-endian integers at an unaligned address. */
static inline uint16_t get_u16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static inline uint32_t get_u24(const uint8_t *p)
{
	return (uint32_t)p[0] << 16 | (uint32_t)p[1] << 8 | p[2];
}

static inline uint32_t get_u32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static inline uint64_t get_u64(const uint8_t *p)
{
	return (uint64_t)get_u32(p) << 32 | get_u32(p + 4);
}

static inline void set_u16(uint8_t *p, uint16_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static inline void set_u24(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 16);
	p[1] = (uint8_t)(v >> 8);
	p[2] = (uint8_t)v;
}

static inline void set_u32(uint8_t *p, uint32_t v)
{
	set_u16(p, (uint16_t)(v >> 16));
	set_u16(p + 2, (uint16_t)v);
}

static inline void set_u64(uint8_t *p, uint64_t v)
{
	set_u32(p, (uint32_t)(v >> 32));
	set_u32(p + 4, (uint32_t)v);
}

#endif
