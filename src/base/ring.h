/* ring.h - the last bytes of an endless stream, addressed by 64-bit offset.
 * Owns its memory, which starts small and doubles up to max. Invariants: base <= next; next - base
 * <= max; bytes [base, next) are readable. */
#ifndef TL_BASE_RING_H
#define TL_BASE_RING_H

#include "base/bytes.h"

struct ring {
	uint8_t *p;
	size_t cap, max;
	uint64_t base_off, next_off;
};

/* max_bytes: power of two. start_off: offset of the first byte ever put. */
void ring_init(struct ring *r, size_t max_bytes, uint64_t start_off);
void ring_fini(struct ring *r);
static inline size_t ring_len(const struct ring *r)
{
	return (size_t)(r->next_off - r->base_off);
}
static inline size_t ring_room(const struct ring *r)
{
	return r->max - ring_len(r);
}
/* Appends exactly n bytes; 0, TL_E_LIMIT (does not fit) or TL_E_NOMEM; on failure nothing changes.
 */
int ring_put(struct ring *r, const void *p, size_t n);
/* Appends n bytes and drops the oldest as needed (n may exceed max: only the tail stays). 0 or
 * TL_E_NOMEM. */
int ring_put_drop(struct ring *r, const void *p, size_t n);
/* Contiguous bytes from off on (off in [base, next]); may be shorter than what is held because of
 * the wrap. */
struct tl_bytes ring_peek(const struct ring *r, uint64_t off);
/* Forgets everything below off (base <= off <= next). */
void ring_trim(struct ring *r, uint64_t off);
/* Gives memory back when empty. */
void ring_shrink(struct ring *r);

#endif
