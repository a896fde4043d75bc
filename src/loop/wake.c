/* wake.c - a word from another thread. */
#include "loop/wake.h"

#include <string.h>

static void wake_fired(uv_async_t *uv)
{
	struct loop_wake *w = uv->data;

	w->fn(w->ctx);
}

int wake_init(struct loop *l, struct loop_wake *w, void (*fn)(void *), void *ctx)
{
	memset(w, 0, sizeof(*w));
	w->fn = fn;
	w->ctx = ctx;
	if (uv_async_init(&l->uv, &w->uv, wake_fired) != 0)
		return TL_E_NOMEM;
	w->uv.data = w;
	return 0;
}

void wake_send(struct loop_wake *w)
{
	uv_async_send(&w->uv);
}

static void wake_closed(uv_handle_t *h)
{
	struct loop_wake *w = h->data;

	if (w->on_closed)
		w->on_closed(w->ctx);
}

void wake_close(struct loop_wake *w, void (*on_closed)(void *ctx))
{
	if (uv_is_closing((uv_handle_t *)&w->uv))
		return;
	w->on_closed = on_closed;
	uv_close((uv_handle_t *)&w->uv, wake_closed);
}
