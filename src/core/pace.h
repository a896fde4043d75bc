/* pace.h - how many bytes may be in flight, learned from acknowledgements.
 * Owns nothing outside the struct. Times in milliseconds of the caller's monotonic clock.
 * Invariant: LINK_CAP_MIN <= cap_bytes <= LINK_CAP_MAX. */
#ifndef TL_CORE_PACE_H
#define TL_CORE_PACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PACE_SAMPLES 8

struct pace {
	size_t cap_bytes;
	uint32_t min_rtt_ms; /* 0: not measured */
	uint32_t rtt_us;     /* smoothed; 0: not measured */
	bool found;          /* the path has been seen full: the cap follows the rate */
	/* the sample under way */
	bool sampling, limited;
	uint64_t start_ms, bytes;
	/* delivered rates of the last samples, bytes per second */
	uint64_t rate[PACE_SAMPLES];
	unsigned next;
};

/* A new transport: nothing is known about its path. */
void pace_reset(struct pace *p);
/* A PING came back. */
void pace_rtt(struct pace *p, uint64_t rtt_ms);
/* n more bytes are acknowledged; in_flight after that. */
void pace_acked(struct pace *p, uint64_t n, uint64_t in_flight, uint64_t now_ms);
/* The sender wanted to send and the cap said no: the rate is the path's, not the sender's. */
static inline void pace_limited(struct pace *p)
{
	p->limited = true;
}

#endif
