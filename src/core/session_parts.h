/* session_parts.h - what a session is made of. For session.c, and for tests that check the engines'
 * invariants from inside; nobody else includes it. */
#ifndef TL_CORE_SESSION_PARTS_H
#define TL_CORE_SESSION_PARTS_H

#include "core/link.h"
#include "core/mux.h"

struct session {
	struct link link;
	struct mux mux;
	uint8_t *stage;    /* one frame in one piece, for session_pull; NULL while idle */
	uint64_t sweep_ms; /* next look for idle memory; UINT64_MAX: nothing to look for */
	bool stage_used;
};

#endif
