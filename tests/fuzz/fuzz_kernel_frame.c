/* fuzz_kernel_frame.c - any bytes as frames of a session, from both sides, and as records; then as
 * messages that tell what the session is doing. What is accepted must come out of the encoder as it
 * went in. */
#include <stdlib.h>

#include "base/err.h"
#include "host/kernel_track.h"
#include "wire/kernel_frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void frames(struct tl_bytes in, enum kernel_direction from)
{
	struct kernel_frame f;
	struct buf again;
	size_t used = 0;
	buf_init(&again, KERNEL_FRAME_MAX);
	while (kernel_frame_next(in, from, &f, &used) == 1) {
		tl_assert(used == KERNEL_HEADER + f.payload.n && used <= in.n);
		buf_clear(&again);
		tl_assert(kernel_put(&again, f.type, f.payload.p, f.payload.n) == 0);
		tl_assert(!memcmp(buf_data(&again).p, in.p, used));
		if (f.type == KERNEL_FRAME_ATTACH)
			kernel_get_attach(f.payload);
		else if (f.type == KERNEL_FRAME_ATTACHED)
			kernel_get_attached(f.payload);
		else if (f.type == KERNEL_FRAME_EXIT)
			kernel_get_exit(f.payload);
		in = bytes_of(in.p + used, in.n - used);
	}
	buf_fini(&again);
}

static void track(struct kernel_track *t, const struct kernel_record *r, uint64_t now)
{
	struct jupyter_head head, parent;
	struct tl_bytes header, content;
	if (r->count < JUPYTER_PARTS)
		return;
	header = kernel_record_part(r, JUPYTER_HEADER);
	content = kernel_record_part(r, JUPYTER_CONTENT);
	if (jupyter_head_parse(header, &head) != 0)
		return;
	if (jupyter_head_parse(kernel_record_part(r, JUPYTER_PARENT), &parent) != 0)
		parent = head;
	if (r->kind == KERNEL_RECORD_MESSAGE)
		kernel_track_received(t, (enum jupyter_channel)(r->channel % 4), &head, &parent,
				      header, content, now);
	else
		kernel_track_sent(t, (enum jupyter_channel)(r->channel % 4), &head, content, now);
}

static void records(struct tl_bytes in)
{
	struct kernel_record r;
	struct kernel_track t;
	size_t used = 0;
	uint64_t now = 0;
	kernel_track_init(&t, 0);
	while (kernel_record_next(in, &r, &used) == 1) {
		struct tl_bytes *parts = calloc((size_t)r.count + 1, sizeof(*parts));
		struct buf again;
		buf_init(&again, KERNEL_RECORD_MAX);
		tl_assert(parts && used <= in.n);
		for (size_t i = 0; i < r.count; i++)
			parts[i] = kernel_record_part(&r, i);
		tl_assert(kernel_record_put(&again, r.kind, r.channel, r.time_ms, parts, r.count) ==
			  0);
		tl_assert(again.len == used && !memcmp(buf_data(&again).p, in.p, used));
		track(&t, &r, ++now);
		buf_fini(&again);
		free(parts);
		in = bytes_of(in.p + used, in.n - used);
	}
	yyjson_mut_doc *d = yyjson_mut_doc_new(NULL);
	kernel_track_put(&t, d, yyjson_mut_obj(d));
	yyjson_mut_doc_free(d);
	kernel_track_restart(&t, now);
	tl_assert(!kernel_track_is_busy(&t));
	kernel_track_fini(&t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct tl_bytes in = bytes_of(data, size);
	frames(in, KERNEL_FROM_VIEWER);
	frames(in, KERNEL_FROM_HOLD);
	records(in);
	return 0;
}
