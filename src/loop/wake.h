/* wake.h - calls a function on the loop's thread when another thread says so. Several calls before
 * the loop comes round are one. */
#ifndef TL_LOOP_WAKE_H
#define TL_LOOP_WAKE_H

#include "loop/loop.h"

struct loop_wake {
	uv_async_t uv;
	void (*fn)(void *ctx);
	void *ctx;
	void (*on_closed)(void *ctx);
};

/* Keeps the loop alive until wake_close. 0 or TL_E_NOMEM. */
int wake_init(struct loop *l, struct loop_wake *w, void (*fn)(void *), void *ctx);
/* From any thread, as long as the owner keeps it open. */
void wake_send(struct loop_wake *w);
void wake_close(struct loop_wake *w, void (*on_closed)(void *ctx));

#endif
