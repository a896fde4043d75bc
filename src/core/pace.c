/* pace.c - see pace.h.
 *
 * cap = 2 x delivered rate x least round trip (at least TURNS_MS): twice what the path holds, which
 * keeps it busy and yet bounds what a Ctrl-C has to wait for. The rate is the best of the last
 * samples (one stall must not shrink the cap). A sample in which the sender had nothing to send
 * says nothing about the path, so it can only raise the cap. Until the path has been seen full, the
 * cap grows by what is acknowledged, so it doubles every round trip (RFC 5681 section 3.1); by
 * samples alone it would take two, since what a sample counts was sent a round trip before. The
 * path is full when a sample of a sender with work to do allows clearly less than the cap. */
#include "core/pace.h"

#include "base/limits.h"

#define SAMPLE_MS 20 /* shorter ones measure the clock and the delayed acknowledgement */
/* On a path as short as this machine's own, programs wait for each other's turns rather than for
 * the path, and a cap made of its idle round trip would make them wait for each other more. */
#define TURNS_MS 5

void pace_reset(struct pace *p)
{
	*p = (struct pace){.cap_bytes = TL_LIMIT_LINK_CAP_START};
}

void pace_rtt(struct pace *p, uint64_t rtt_ms)
{
	/* the clock counts whole milliseconds: below one is one */
	uint32_t ms = rtt_ms < 1 ? 1 : rtt_ms > 600000 ? 600000 : (uint32_t)rtt_ms;
	if (!p->min_rtt_ms || ms < p->min_rtt_ms)
		p->min_rtt_ms = ms;
	p->rtt_us =
	    p->rtt_us ? (uint32_t)(((uint64_t)p->rtt_us * 3 + (uint64_t)ms * 1000) / 4) : ms * 1000;
}

static size_t pace_cap_of(const struct pace *p, uint64_t rate)
{
	uint64_t ms = p->min_rtt_ms < TURNS_MS ? TURNS_MS : p->min_rtt_ms;
	if (rate > UINT64_MAX / 2 / ms)
		return TL_LIMIT_LINK_CAP_MAX;
	uint64_t cap = 2 * rate * ms / 1000;
	if (cap < TL_LIMIT_LINK_CAP_MIN)
		return TL_LIMIT_LINK_CAP_MIN;
	return cap > TL_LIMIT_LINK_CAP_MAX ? TL_LIMIT_LINK_CAP_MAX : (size_t)cap;
}

static void pace_sample(struct pace *p, uint64_t rate)
{
	size_t cap = pace_cap_of(p, rate);
	if (!p->limited && cap <= p->cap_bytes)
		return;
	if (p->limited && (cap < p->cap_bytes / 4 * 3 || p->cap_bytes == TL_LIMIT_LINK_CAP_MAX))
		p->found = true;
	p->rate[p->next++ % PACE_SAMPLES] = rate;
	uint64_t best = 0;
	for (unsigned i = 0; i < PACE_SAMPLES; i++)
		if (p->rate[i] > best)
			best = p->rate[i];
	cap = pace_cap_of(p, best);
	if (p->found || cap > p->cap_bytes)
		p->cap_bytes = cap;
}

void pace_acked(struct pace *p, uint64_t n, uint64_t in_flight, uint64_t now_ms)
{
	if (!p->sampling) {
		/* begin at an acknowledgement, not at the send: the first round trip brings nothing
		 */
		p->sampling = in_flight > 0;
		p->limited = false;
		p->start_ms = now_ms;
		p->bytes = 0;
		return;
	}
	p->bytes += n;
	if (!p->found && p->limited)
		p->cap_bytes = p->cap_bytes + n < TL_LIMIT_LINK_CAP_MAX ? p->cap_bytes + (size_t)n
									: TL_LIMIT_LINK_CAP_MAX;
	uint64_t elapsed = now_ms > p->start_ms ? now_ms - p->start_ms : 0;
	uint64_t wanted = p->min_rtt_ms > SAMPLE_MS ? p->min_rtt_ms : SAMPLE_MS;
	if (elapsed >= wanted && p->min_rtt_ms) {
		pace_sample(p, p->bytes * 1000 / elapsed);
		p->start_ms = now_ms;
		p->bytes = 0;
		p->limited = false;
	}
	if (!in_flight)
		p->sampling = false;
}
