/* kernel_policy.c - see kernel_policy.h. */
#include "host/kernel_policy.h"

#include <string.h>

#include "base/limits.h"

#define HOUR 3600000ull

static const struct {
	const char *name;
	uint64_t wait_ms;
} timeouts[] = {
    [KERNEL_TIMEOUT_IMMEDIATELY] = {"immediately", TL_LIMIT_KERNEL_LEAVE_MS},
    [KERNEL_TIMEOUT_WHEN_IDLE] = {"when idle", TL_LIMIT_KERNEL_LEAVE_MS},
    [KERNEL_TIMEOUT_4] = {"4", 4 * HOUR},
    [KERNEL_TIMEOUT_8] = {"8", 8 * HOUR},
    [KERNEL_TIMEOUT_12] = {"12", 12 * HOUR},
    [KERNEL_TIMEOUT_24] = {"24", 24 * HOUR},
    [KERNEL_TIMEOUT_168] = {"168", 168 * HOUR},
    [KERNEL_TIMEOUT_INDEFINITELY] = {"indefinitely", UINT64_MAX},
};

bool kernel_timeout_parse(const char *text, enum kernel_timeout *ret)
{
	for (size_t i = 0; i < sizeof(timeouts) / sizeof(timeouts[0]); i++) {
		if (strcmp(timeouts[i].name, text) == 0) {
			*ret = (enum kernel_timeout)i;
			return true;
		}
	}
	return false;
}

const char *kernel_timeout_name(enum kernel_timeout t)
{
	return timeouts[t].name;
}

void kernel_policy_init(struct kernel_policy *p, enum kernel_timeout timeout, uint64_t now_ms)
{
	*p = (struct kernel_policy){.timeout = timeout,
				    .busy = true,
				    .since_ms = now_ms,
				    .lost_ms = now_ms + TL_LIMIT_KERNEL_LOST_MS};
}

void kernel_policy_set(struct kernel_policy *p, enum kernel_timeout timeout)
{
	p->timeout = timeout;
}

void kernel_policy_busy(struct kernel_policy *p, bool busy, uint64_t now_ms)
{
	if (p->busy && !busy)
		p->since_ms = now_ms;
	p->busy = busy;
}

void kernel_policy_viewers(struct kernel_policy *p, unsigned viewers, bool left, uint64_t now_ms)
{
	bool attended = viewers > 0;
	if (p->attended && !attended) {
		p->since_ms = now_ms;
		/* a crash, an upgrade or a lost link is no reason to end anything yet */
		p->lost_ms = left ? now_ms : now_ms + TL_LIMIT_KERNEL_LOST_MS;
	} else if (!attended && left) {
		p->lost_ms = now_ms;
	}
	p->attended = attended;
}

uint64_t kernel_policy_due(const struct kernel_policy *p)
{
	uint64_t wait = timeouts[p->timeout].wait_ms;
	uint64_t from = p->since_ms > p->lost_ms ? p->since_ms : p->lost_ms;
	if (p->busy || p->attended || wait == UINT64_MAX)
		return UINT64_MAX;
	/* what counts in hours began when it was left, a vanished viewer included */
	if (wait > TL_LIMIT_KERNEL_LOST_MS)
		from = p->since_ms;
	return from + wait;
}
