/* agent_start.h - finding the agent, or starting one (the bridge's side; blocking). */
#ifndef TL_HOST_AGENT_START_H
#define TL_HOST_AGENT_START_H

#include "base/err.h"
#include "host/handshake.h"

struct agent_where {
	const char *run_dir; /* --run-dir, or NULL */
	const char *idle_ms; /* --idle-ms, or NULL */
};

/* A connection to the agent on which the first lines were exchanged: starts an agent where none
 * answers; of many callers at once one starts it. Returns the descriptor, or TL_E_* with a sentence
 * in err (not NULL). ret_agent: what it said about itself. */
int agent_reach(const struct agent_where *w, bool splice, struct handshake_peer *ret_agent,
		struct tl_err *err);
/* Blocking, bounded by HANDSHAKE_MS: one line into out (without LF), 0, TL_E_CLOSED, TL_E_TIMEOUT,
 * TL_E_LIMIT. */
int handshake_read_line(int fd, char *out, size_t n);

#endif
