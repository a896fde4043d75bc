/* ring.c - see ring.h. cap is 0 or a power of two; the byte at offset o lies at p[o & (cap - 1)],
 * so growing moves bytes but never changes what an offset means. */
#include "base/ring.h"

#include <stdbool.h>
#include <stdlib.h>

#include "base/err.h"

#define RING_FIRST 4096

void ring_init(struct ring *r, size_t max_bytes, uint64_t start_off)
{
	tl_assert(max_bytes && !(max_bytes & (max_bytes - 1)));
	*r = (struct ring){.max = max_bytes, .base_off = start_off, .next_off = start_off};
}

void ring_fini(struct ring *r)
{
	free(r->p);
	r->p = NULL;
	r->cap = 0;
	r->base_off = r->next_off;
}

/* Writes at off, wrapping; the place must exist. */
static void ring_store(uint8_t *p, size_t cap, uint64_t off, const uint8_t *from, size_t n)
{
	size_t at = (size_t)(off & (cap - 1)), first = cap - at;
	if (first > n)
		first = n;
	memcpy(p + at, from, first);
	if (n > first)
		memcpy(p, from + first, n - first);
}

static bool ring_grow(struct ring *r, size_t need)
{
	size_t cap = r->cap ? r->cap : RING_FIRST;
	if (cap > r->max)
		cap = r->max;
	while (cap < need)
		cap *= 2; /* need <= max and both are powers of two: never beyond max */
	if (cap == r->cap)
		return true;
	uint8_t *p = malloc(cap);
	if (!p)
		return false;
	for (uint64_t off = r->base_off; off < r->next_off;) {
		struct tl_bytes part = ring_peek(r, off);
		ring_store(p, cap, off, part.p, part.n);
		off += part.n;
	}
	free(r->p);
	r->p = p;
	r->cap = cap;
	return true;
}

int ring_put(struct ring *r, const void *p, size_t n)
{
	if (n > ring_room(r))
		return TL_E_LIMIT;
	if (!n)
		return 0;
	if (ring_len(r) + n > r->cap && !ring_grow(r, ring_len(r) + n))
		return TL_E_NOMEM;
	ring_store(r->p, r->cap, r->next_off, p, n);
	r->next_off += n;
	return 0;
}

int ring_put_drop(struct ring *r, const void *p, size_t n)
{
	const uint8_t *from = p;
	size_t keep = n < r->max ? n : r->max, old = ring_len(r);
	if (old > r->max - keep)
		old = r->max - keep;
	if (!n)
		return 0;
	/* all-or-nothing: memory first, then the bookkeeping */
	if (old + keep > r->cap && !ring_grow(r, old + keep))
		return TL_E_NOMEM;
	r->base_off = r->next_off - old;
	r->next_off += n - keep;
	if (n > keep)
		r->base_off = r->next_off;
	ring_store(r->p, r->cap, r->next_off, from + (n - keep), keep);
	r->next_off += keep;
	return 0;
}

struct tl_bytes ring_peek(const struct ring *r, uint64_t off)
{
	tl_assert(off >= r->base_off && off <= r->next_off);
	if (off == r->next_off)
		return bytes_of((const uint8_t *)"", 0);
	size_t at = (size_t)(off & (r->cap - 1)), n = (size_t)(r->next_off - off);
	if (n > r->cap - at)
		n = r->cap - at;
	return bytes_of(r->p + at, n);
}

void ring_trim(struct ring *r, uint64_t off)
{
	tl_assert(off >= r->base_off && off <= r->next_off);
	r->base_off = off;
}

void ring_shrink(struct ring *r)
{
	if (r->base_off == r->next_off)
		ring_fini(r);
}
