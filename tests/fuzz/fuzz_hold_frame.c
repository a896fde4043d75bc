/* fuzz_hold_frame.c - any bytes as a stream of hold frames, from both sides, and as output with
 * titles. What is accepted must come out of the encoder as it went in. */
#include <stdlib.h>

#include "base/err.h"
#include "host/hold_title.h"
#include "wire/hold_frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void frames(const uint8_t *data, size_t size, enum hold_direction from)
{
	struct tl_bytes in = bytes_of(data, size);
	struct hold_frame f;
	struct buf again;
	size_t used = 0;
	buf_init(&again, HOLD_FRAME_MAX);
	while (hold_frame_next(in, from, &f, &used) == 1) {
		tl_assert(used == HOLD_HEADER + f.payload.n && used <= in.n);
		buf_clear(&again);
		tl_assert(hold_put(&again, f.type, f.payload.p, f.payload.n) == 0);
		tl_assert(again.len == used && !memcmp(buf_data(&again).p, in.p, used));
		if (f.type == HOLD_FRAME_ATTACH)
			hold_get_attach(f.payload);
		else if (f.type == HOLD_FRAME_INPUT_ID)
			hold_get_input_id(f.payload);
		else if (f.type == HOLD_FRAME_INPUT_ACKED)
			hold_get_offset(f.payload);
		else if (f.type == HOLD_FRAME_ATTACHED)
			hold_get_attached(f.payload);
		else if (f.type == HOLD_FRAME_RESIZE || f.type == HOLD_FRAME_SIZE)
			hold_get_size(f.payload);
		else if (f.type == HOLD_FRAME_EXIT)
			hold_get_exit(f.payload);
		in = bytes_of(in.p + used, in.n - used);
	}
	buf_fini(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct hold_title whole = {0}, pieces = {0};
	frames(data, size, HOLD_FROM_VIEWER);
	frames(data, size, HOLD_FROM_HOLD);
	hold_title_feed(&whole, bytes_of(data, size));
	for (size_t at = 0; at < size; at++)
		hold_title_feed(&pieces, bytes_of(data + at, 1));
	tl_assert(!strcmp(whole.title, pieces.title));
	tl_assert(strlen(whole.title) < HOLD_TITLE_MAX);
	return 0;
}
