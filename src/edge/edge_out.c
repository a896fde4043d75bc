/* edge_out.c - frames waiting for a browser. */
#include "edge/edge_out.h"

#include <libwebsockets.h>
#include <stdlib.h>

#include "base/err.h"

#define FRAME_MIN 4096 /* small writes share a frame of this size */

void out_init(struct out_queue *q)
{
	list_init(&q->frames);
	q->bytes = 0;
}

void out_fini(struct out_queue *q)
{
	while (out_head(q))
		out_drop(q);
}

struct out_frame *out_head(struct out_queue *q)
{
	return list_empty(&q->frames) ? NULL : list_entry(q->frames.next, struct out_frame, node);
}

void out_drop(struct out_queue *q)
{
	struct out_frame *f = out_head(q);

	q->bytes -= f->len;
	list_del(&f->node);
	free(f);
}

uint8_t *out_payload(struct out_frame *f)
{
	return f->room + LWS_PRE;
}

static struct out_frame *frame_add(struct out_queue *q, size_t cap)
{
	struct out_frame *f;

	cap = cap < FRAME_MIN ? FRAME_MIN : cap > OUT_FRAME ? OUT_FRAME : cap;
	f = malloc(sizeof(*f) + LWS_PRE + cap);
	if (!f)
		return NULL;
	*f = (struct out_frame){.cap = cap};
	list_add_tail(&q->frames, &f->node);
	return f;
}

static size_t frame_put(struct out_queue *q, struct out_frame *f, struct tl_bytes b)
{
	size_t n = b.n < f->cap - f->len ? b.n : f->cap - f->len;

	memcpy(out_payload(f) + f->len, b.p, n);
	f->len += n;
	q->bytes += n;
	return n;
}

int out_message(struct out_queue *q, struct tl_bytes message, bool text, uint64_t mark, size_t max)
{
	bool first = true;

	if (q->bytes + message.n > max)
		return TL_E_LIMIT;
	while (message.n > 0) {
		struct out_frame *f = frame_add(q, message.n);
		size_t n;
		if (!f)
			return TL_E_NOMEM;
		n = frame_put(q, f, message);
		message = bytes_of(message.p + n, message.n - n);
		f->text = text;
		f->mark = mark;
		f->first = first;
		f->last = message.n == 0;
		first = false;
	}
	return 0;
}

size_t out_stream(struct out_queue *q, struct tl_bytes b, size_t max)
{
	size_t room = max > q->bytes ? max - q->bytes : 0, taken = 0;

	if (b.n > room)
		b.n = room;
	while (taken < b.n) {
		struct out_frame *f = list_empty(&q->frames)
					  ? NULL
					  : list_entry(q->frames.prev, struct out_frame, node);
		if (!f || f->text || f->len == f->cap) {
			/* what waits behind another frame gathers in a large one */
			f = frame_add(q, f ? OUT_FRAME : b.n - taken);
			if (!f)
				break;
			f->first = f->last = true;
		}
		taken += frame_put(q, f, bytes_of(b.p + taken, b.n - taken));
	}
	return taken;
}
