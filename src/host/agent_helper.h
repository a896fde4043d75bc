/* agent_helper.h - a question answered by a short-lived child of our own program, because the
 * answer may block in the kernel (dead network file systems). */
#ifndef TL_HOST_AGENT_HELPER_H
#define TL_HOST_AGENT_HELPER_H

#include "host/agent.h"

#define HELPER_WORDS 6

/* Runs `towline-host WORDS…` (the face and its arguments, NULL-terminated, at most HELPER_WORDS,
 * borrowed); done comes once, later, with everything it printed (borrowed), or
 * TL_E_TIMEOUT, TL_E_INTERNAL (it failed). 0, or TL_E_AGAIN (too many at once), TL_E_NOMEM, exec
 * errors without a callback. */
int helper_run(struct agent *a, const char *const *words, uint64_t deadline_ms,
	       void (*done)(void *ctx, int rc, struct tl_bytes out), void *ctx, struct tl_err *err);

#endif
