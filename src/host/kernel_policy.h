/* kernel_policy.h - when an unattended session ends: kernelSupervisor.shutdownTimeout. An engine
 * without a clock: it is told what is so at a time, and says when it wants to be asked again.
 * A busy kernel is never ended, whatever is set. */
#ifndef TL_HOST_KERNEL_POLICY_H
#define TL_HOST_KERNEL_POLICY_H

#include <stdbool.h>
#include <stdint.h>

enum kernel_timeout {
	KERNEL_TIMEOUT_IMMEDIATELY,
	KERNEL_TIMEOUT_WHEN_IDLE,
	KERNEL_TIMEOUT_4,
	KERNEL_TIMEOUT_8,
	KERNEL_TIMEOUT_12,
	KERNEL_TIMEOUT_24,
	KERNEL_TIMEOUT_168,
	KERNEL_TIMEOUT_INDEFINITELY,
};

struct kernel_policy {
	enum kernel_timeout timeout;
	bool busy, attended;
	uint64_t since_ms; /* idle and unattended since then, while it is both */
	uint64_t lost_ms;  /* until then a vanished viewer counts as watching */
};

/* "when idle", "24", …; false: no such value. */
bool kernel_timeout_parse(const char *text, enum kernel_timeout *ret);
const char *kernel_timeout_name(enum kernel_timeout t);

/* A new session: busy (it starts), and whoever asked for it has KERNEL_LOST_MS to attach. */
void kernel_policy_init(struct kernel_policy *p, enum kernel_timeout timeout, uint64_t now_ms);
void kernel_policy_set(struct kernel_policy *p, enum kernel_timeout timeout);
/* busy: it executes, starts or restarts. */
void kernel_policy_busy(struct kernel_policy *p, bool busy, uint64_t now_ms);
/* viewers: how many are attached. left: the last one said LEAVE rather than vanish. */
void kernel_policy_viewers(struct kernel_policy *p, unsigned viewers, bool left, uint64_t now_ms);
/* The time at which the session ends if nothing happens; UINT64_MAX: none. */
uint64_t kernel_policy_due(const struct kernel_policy *p);

#endif
