/* world.h - two sessions, a network that misbehaves between them, and streams whose every byte is
 * known. Owns everything. The clock is virtual: the same seed is the same run, whatever the machine
 * does. Invariant: the first broken promise is kept in `why`; after it the world only has to be
 * freed. */
#ifndef TL_TESTS_SIM_WORLD_H
#define TL_TESTS_SIM_WORLD_H

#include <stdbool.h>
#include <stdint.h>

#include "core/session.h"

enum { CLIENT, SERVER, SIDES };

#define NEVER       UINT64_MAX
#define MAX_STREAMS 24
#define MAX_CUTS    16

/* What a run does; everything else follows from the seed. */
struct plan {
	uint64_t seed;
	unsigned streams;
	uint64_t most_bytes; /* per stream and direction */
	unsigned cuts;       /* transports that die */
	/* bytes that transport i delivers in each direction before it dies; NEVER: it does not by
	 * itself */
	uint64_t cut_at[MAX_CUTS][SIDES];
	bool resets, stalls, jumps, slow_readers, big_chunks, throttle;
	uint32_t latency_ms;
	unsigned scarce; /* one request for memory in this many fails; 0: none */
};

/* Bytes on their way, written by side `from`. */
struct pipe {
	uint8_t *p;
	size_t cap, head, len;
	uint64_t delivered, cut_at;
	uint64_t ready_ms; /* earliest delivery: latency, stall */
	uint64_t rate;     /* bytes per ms, 0: no limit */
	uint64_t budget_ms, budget;
};

struct transport {
	struct pipe pipe[SIDES]; /* by writer */
	bool exists, dead;
	uint64_t notice_ms[SIDES]; /* when each side sees that it is dead */
};

struct flow {
	struct session_stream *end[SIDES];
	uint32_t id;
	bool used, reset, closed[SIDES], fin[SIDES], short_write[SIDES];
	unsigned reset_by;
	uint64_t reset_at, total[SIDES], sent[SIDES], got[SIDES], sleep_ms[SIDES];
	int error[SIDES];
};

struct world {
	struct plan plan;
	uint64_t rng, now;
	struct session *s[SIDES];
	struct transport t[2]; /* the newest and the one before: an old one may still deliver */
	unsigned generation,
	    bound[SIDES]; /* number of the newest; which one each side uses, 0: none */
	uint64_t redial_ms, stall_ms, jump_ms;
	struct flow flow[MAX_STREAMS];
	unsigned opened, ups[SIDES];
	size_t peak_cap[SIDES]; /* largest cap on this transport */
	uint64_t steps, bytes, last_step, last_bytes;
	unsigned silences, sleeps; /* transports given up by silence; clock jumps */
	bool moved;                /* anything happened in this round */
	bool over;                 /* ended for want of memory, which is honest */
	char why[400];
};

/* true: every promise was kept; else w->why says which was not. The world is freed either way. */
bool world_run(struct world *w, const struct plan *plan);
uint64_t world_random(uint64_t *state);

#endif
