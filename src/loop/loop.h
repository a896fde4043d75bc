/* loop.h - the event loop, timers and clocks: libuv wrapped once.
 * Everything in this room runs on the loop thread. Handles are embedded in their owners; x_close is
 * idempotent and asynchronous: after it no callback of the handle comes any more, and on_closed
 * (may be NULL) is the moment its memory may go. */
#ifndef TL_LOOP_LOOP_H
#define TL_LOOP_LOOP_H

#include <stdbool.h>
#include <stdint.h>
#include <stddef.h>
#include <uv.h>

#include "base/err.h"
#include "base/list.h"

struct loop {
	uv_loop_t uv;
	uv_signal_t sigchld; /* once a child was spawned; does not keep the loop alive */
	bool sigchld_on;
	bool guest; /* set after loop_init: a thread of somebody's program. Children are watched one
		       by one, and the program's own SIGCHLD is not touched */
	bool adopts;          /* takes in orphans: reaps what it never started */
	struct list watches;  /* of guests, for their children */
	struct list children; /* of struct child.node: running ones */
	struct list orphans;  /* forgotten ones, still to be reaped */
};

int loop_init(struct loop *l);
/* Runs until loop_stop or until no handle is left. */
void loop_run(struct loop *l);
void loop_stop(struct loop *l);
/* Closes what is left (a program's end; asserts nothing). */
void loop_fini(struct loop *l);

uint64_t clock_mono_ms(void);
uint64_t clock_wall_ms(void);
/* Milliseconds this machine spent asleep since boot (boot time minus monotonic): a jump means a
 * sleep. */
uint64_t clock_slept_ms(void);
/* n bytes from the kernel's generator; ends the program where there is none. */
void random_bytes(void *p, size_t n);
/* A lower-case base-32 identifier of len characters plus NUL. */
void random_id(char *out, size_t len);

struct loop_timer {
	uv_timer_t uv;
	void (*fn)(void *ctx);
	void *ctx;
	bool open;
	void (*on_closed)(void *ctx);
};

/* fn(ctx) on each expiry. */
void timer_init(struct loop *l, struct loop_timer *t, void (*fn)(void *), void *ctx);
/* One shot, after delay_ms (0: next turn); restarts a running one. */
void timer_start(struct loop_timer *t, uint64_t delay_ms);
/* At an absolute clock_mono_ms time; UINT64_MAX stops. */
void timer_at(struct loop_timer *t, uint64_t when_ms);
void timer_stop(struct loop_timer *t);
void timer_close(struct loop_timer *t, void (*on_closed)(void *ctx));

struct loop_signal {
	uv_signal_t uv;
	void (*fn)(void *ctx, int signo);
	void *ctx;
};
int signal_watch(struct loop *l, struct loop_signal *s, int signo, void (*fn)(void *, int),
		 void *ctx);
void signal_close(struct loop_signal *s);

#endif
