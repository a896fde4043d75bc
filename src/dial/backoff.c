/* backoff.c - pauses between reconnection attempts. Pure: the randomness is the caller's seed. */
#include "dial/dial.h"

#include "base/limits.h"

uint64_t backoff_next_ms(struct backoff *b)
{
	uint64_t ms = 0;

	/* the first try comes at once: most cuts are short and a person is waiting */
	if (b->tries > 0)
		ms = b->tries > 16 ? TL_LIMIT_BACKOFF_MAX_MS : UINT64_C(1000) << (b->tries - 1);
	if (ms > TL_LIMIT_BACKOFF_MAX_MS)
		ms = TL_LIMIT_BACKOFF_MAX_MS;
	b->tries++;
	/* minus up to a quarter, so that many windows do not knock in step */
	b->seed = b->seed * 1664525U + 1013904223U;
	return ms - ms / 4 * (b->seed >> 16 & 0xff) / 255;
}

void backoff_reset(struct backoff *b)
{
	b->tries = 0;
}
