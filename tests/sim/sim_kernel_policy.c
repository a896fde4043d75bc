/* sim_kernel_policy.c - when sessions end, by a virtual clock: the documented values, long
 * computations, viewers that leave and vanish; then random lives, in which a busy or attended
 * session never ends. */
#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/limits.h"
#include "host/kernel_policy.h"

#define HOUR 3600000ull

static int number, failed;

static void expect(bool ok, const char *what)
{
	printf("%sok %d - %s\n", ok ? "" : "not ", ++number, what);
	failed += !ok;
}

/* A session that was attached, became idle at t, and was left then. */
static struct kernel_policy left_at(enum kernel_timeout timeout, uint64_t t, bool said)
{
	struct kernel_policy p;
	kernel_policy_init(&p, timeout, 0);
	kernel_policy_viewers(&p, 1, false, 0);
	kernel_policy_busy(&p, false, t);
	kernel_policy_viewers(&p, 0, said, t);
	return p;
}

static void documented(void)
{
	static const struct {
		enum kernel_timeout timeout;
		uint64_t hours;
	} rows[] = {{KERNEL_TIMEOUT_4, 4},
		    {KERNEL_TIMEOUT_8, 8},
		    {KERNEL_TIMEOUT_12, 12},
		    {KERNEL_TIMEOUT_24, 24},
		    {KERNEL_TIMEOUT_168, 168}};
	char what[100];
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct kernel_policy p = left_at(rows[i].timeout, 1000, true);
		snprintf(what, sizeof(what), "%s ends after as many hours",
			 kernel_timeout_name(rows[i].timeout));
		expect(kernel_policy_due(&p) == 1000 + rows[i].hours * HOUR, what);
		p = left_at(rows[i].timeout, 1000, false);
		expect(kernel_policy_due(&p) == 1000 + rows[i].hours * HOUR,
		       "the same when the viewer only vanished");
	}
	struct kernel_policy p = left_at(KERNEL_TIMEOUT_INDEFINITELY, 0, true);
	expect(kernel_policy_due(&p) == UINT64_MAX, "indefinitely never ends");
	p = left_at(KERNEL_TIMEOUT_IMMEDIATELY, 5000, true);
	expect(kernel_policy_due(&p) == 5000 + TL_LIMIT_KERNEL_LEAVE_MS, "immediately, when left");
	p = left_at(KERNEL_TIMEOUT_IMMEDIATELY, 5000, false);
	expect(kernel_policy_due(&p) == 5000 + TL_LIMIT_KERNEL_LOST_MS + TL_LIMIT_KERNEL_LEAVE_MS,
	       "immediately, when vanished: the viewer may come back");
}

static void long_computation(void)
{
	struct kernel_policy p = left_at(KERNEL_TIMEOUT_WHEN_IDLE, 0, true);
	kernel_policy_busy(&p, true, 10);
	expect(kernel_policy_due(&p) == UINT64_MAX, "busy: no end in sight");
	kernel_policy_busy(&p, true, 30 * HOUR);
	expect(kernel_policy_due(&p) == UINT64_MAX, "30 hours of computing under `when idle`");
	kernel_policy_busy(&p, false, 30 * HOUR);
	expect(kernel_policy_due(&p) == 30 * HOUR + TL_LIMIT_KERNEL_LEAVE_MS, "and then it ends");
	kernel_policy_set(&p, KERNEL_TIMEOUT_24);
	expect(kernel_policy_due(&p) == 54 * HOUR, "a new value counts from the same moment");
	kernel_policy_viewers(&p, 2, false, 40 * HOUR);
	expect(kernel_policy_due(&p) == UINT64_MAX, "attended: no end");
	kernel_policy_viewers(&p, 1, true, 41 * HOUR);
	expect(kernel_policy_due(&p) == UINT64_MAX, "one of two left");
	kernel_policy_viewers(&p, 0, true, 42 * HOUR);
	expect(kernel_policy_due(&p) == 66 * HOUR, "the last one left: counted anew");
}

static void young(void)
{
	struct kernel_policy p;
	kernel_policy_init(&p, KERNEL_TIMEOUT_IMMEDIATELY, 100);
	expect(kernel_policy_due(&p) == UINT64_MAX, "a starting one is busy");
	kernel_policy_busy(&p, false, 900);
	expect(kernel_policy_due(&p) == 100 + TL_LIMIT_KERNEL_LOST_MS + TL_LIMIT_KERNEL_LEAVE_MS,
	       "a new one is awaited");
}

static void names(void)
{
	enum kernel_timeout t;
	bool all = true;
	for (int i = 0; i <= KERNEL_TIMEOUT_INDEFINITELY; i++)
		all &= kernel_timeout_parse(kernel_timeout_name((enum kernel_timeout)i), &t) &&
		       (int)t == i;
	expect(all, "names lead to values and back");
	expect(!kernel_timeout_parse("5", &t) && !kernel_timeout_parse("", &t), "others do not");
}

/* Random events; whenever the session would end, it must be idle and left for long enough. */
static bool life(unsigned seed)
{
	struct kernel_policy p;
	uint64_t now = 0, idle_since = UINT64_MAX, alone_since = 0;
	unsigned viewers = 0;
	bool busy = true;
	srand(seed);
	enum kernel_timeout timeout = (enum kernel_timeout)(rand() % 8);
	uint64_t wait = timeout == KERNEL_TIMEOUT_IMMEDIATELY || timeout == KERNEL_TIMEOUT_WHEN_IDLE
			    ? TL_LIMIT_KERNEL_LEAVE_MS
			    : (uint64_t)atoll(kernel_timeout_name(timeout)) * HOUR;
	kernel_policy_init(&p, timeout, 0);
	for (int i = 0; i < 2000; i++) {
		uint64_t step = (uint64_t)rand() % (rand() % 10 ? 60000 : 50 * HOUR);
		uint64_t due = kernel_policy_due(&p);
		if (due <= now + step) {
			if (busy || viewers || due < idle_since + wait ||
			    due < alone_since + wait || timeout == KERNEL_TIMEOUT_INDEFINITELY)
				return false;
			return true; /* it ended, rightly */
		}
		now += step;
		if (rand() % 2) {
			busy = !busy;
			kernel_policy_busy(&p, busy, now);
			idle_since = busy ? UINT64_MAX : now;
		} else {
			unsigned before = viewers;
			viewers = (unsigned)rand() % 3;
			kernel_policy_viewers(&p, viewers, rand() % 2, now);
			if (before && !viewers)
				alone_since = now;
		}
	}
	return true;
}

int main(void)
{
	unsigned bad = 0;
	documented();
	long_computation();
	young();
	names();
	for (unsigned seed = 1; seed <= 20000; seed++) {
		if (!life(seed)) {
			printf("# seed %u ends a session wrongly\n", seed);
			bad++;
		}
	}
	expect(bad == 0, "20000 random lives end rightly or not at all");
	printf("1..%d\n", number);
	return failed ? 1 : 0;
}
