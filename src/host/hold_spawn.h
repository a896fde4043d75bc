/* hold_spawn.h - starts the hold of a new terminal or kernel and waits, without blocking, for its
 * answer. The hold is nobody's child and lives on whatever happens to the caller. */
#ifndef TL_HOST_HOLD_SPAWN_H
#define TL_HOST_HOLD_SPAWN_H

#include "loop/loop.h"
#include "wire/json.h"

/* What to start. Everything is borrowed for the call only. */
struct hold_spawn_spec {
	const char *face;     /* NULL: "hold" */
	const char *what;     /* for sentences; a static text; NULL: "a terminal" */
	uint64_t deadline_ms; /* 0: as for a terminal */
	const char *exe;     /* towline-host; NULL: the running program, even if its file is gone */
	const char *run_dir; /* absolute, 0700; the socket is <run_dir>/hold-<id>.sock */
	const char *id;      /* lower-case letters and digits (random_id) */
	const char *browser; /* what $BROWSER shall be, or NULL: as the login has it */
	bool raw;            /* the program makes a terminal of its own somewhere else (ssh -tt) */
	yyjson_val *params;  /* of its create method, or NULL; checked by the hold */
};

struct hold_spawn;

/* Exactly one call, from the loop, unless forgotten: err NULL and info = TermInfo or KernelInfo as
 * JSON text (borrowed), or err. */
typedef void hold_spawn_done(void *ctx, struct tl_bytes info, const struct tl_err *err);

/* NULL and err when nothing could be started (then no callback comes). The object frees itself
 * after the callback. */
struct hold_spawn *hold_spawn(struct loop *l, const struct hold_spawn_spec *spec,
			      hold_spawn_done *on_done, void *ctx, struct tl_err *err);
/* No callback any more. A terminal that was not reported yet ends itself, since nobody knows it. */
void hold_spawn_forget(struct hold_spawn *s);

#endif
