/* agent_holds.h - the terminals and sessions of this user on this host, as the agent sees them:
 * sockets of holds in the run folders. Nothing is remembered between calls: the folders are the
 * truth. */
#ifndef TL_HOST_AGENT_HOLDS_H
#define TL_HOST_AGENT_HOLDS_H

#include "base/bytes.h"
#include "base/err.h"
#include "loop/loop.h"

#define HOLD_INFO_MS 2000 /* a hold that does not answer in time is left out of the list */
#define HOLD_KILL_MS 9000 /* SIGHUP, five seconds, SIGKILL, and some time to die */

/* Non-blocking connect to the hold of terminal id, wherever it lives. forced_run_dir may be NULL.
 * fd, TL_E_NOTERM, TL_E_INVAL (not an id), TL_E_AGAIN (the hold is too busy to accept). */
int hold_connect(const char *forced_run_dir, const char *id, struct tl_err *err);
/* The same for a session. fd, TL_E_NOKERNEL, TL_E_INVAL, TL_E_AGAIN. */
int kernel_connect(const char *forced_run_dir, const char *id, struct tl_err *err);
/* Calls fn for the id of every hold socket there is; returns their number (at most TERMS). */
size_t holds_each(const char *forced_run_dir, void (*fn)(void *ctx, const char *id), void *ctx);
/* The same for sessions; at most KERNELS. */
size_t kernels_each(const char *forced_run_dir, void (*fn)(void *ctx, const char *id), void *ctx);
/* Asks the hold behind fd (taken): INFO_REQ answers with the INFO payload; DROP with the end of the
 * hold. done is called once, later, from the loop; info is borrowed, empty for DROP and on failure.
 * 0, or TL_E_NOMEM without a callback. */
int hold_ask(struct loop *l, int fd, uint8_t frame_type, uint64_t deadline_ms,
	     void (*done)(void *ctx, int rc, struct tl_bytes info), void *ctx);

#endif
