/* shell_input.c - see shell_input.h. */
#include "cmd/shell_input.h"

#include "base/err.h"

/* A key pressed while a paste goes out waits for one frame at most. */
#define FRAME_BYTES 4096

void shell_input_init(struct shell_input *in, uint64_t id)
{
	*in = (struct shell_input){.id = id};
	ring_init(&in->kept, TL_LIMIT_TERM_INPUT, 0);
}

void shell_input_fini(struct shell_input *in)
{
	ring_fini(&in->kept);
}

int shell_input_type(struct shell_input *in, const void *p, size_t n)
{
	return ring_put(&in->kept, p, n);
}

/* Forgets what need not be sent again. Bytes of this stream are numbered without holes, so one that
 * arrived over an earlier stream is still sent over this one; the hold skips it. */
static void input_forget(struct shell_input *in)
{
	uint64_t done = in->hold == SHELL_INPUT_OLD ? in->sent_off : in->took_off;
	if (done > in->sent_off)
		done = in->sent_off;
	if (done > in->kept.base_off)
		ring_trim(&in->kept, done);
	ring_shrink(&in->kept);
}

int shell_input_begin(struct shell_input *in, struct buf *out)
{
	/* what arrived over the stream before this one need not go over this one */
	in->sent_off = in->took_off > in->kept.base_off ? in->took_off : in->kept.base_off;
	in->answered = false;
	input_forget(in);
	return hold_put_input_id(out, (struct hold_input_id){in->id, in->kept.base_off});
}

int shell_input_send(struct shell_input *in, struct buf *out, size_t until_bytes)
{
	int rc = 0;
	while (!rc && in->sent_off < in->kept.next_off && out->len < until_bytes) {
		struct tl_bytes b = ring_peek(&in->kept, in->sent_off);
		size_t n = b.n < FRAME_BYTES ? b.n : FRAME_BYTES;
		rc = hold_put(out, HOLD_FRAME_INPUT, b.p, n);
		if (!rc)
			in->sent_off += n;
	}
	input_forget(in);
	return rc;
}

int shell_input_acked(struct shell_input *in, uint64_t off)
{
	if (off > in->kept.next_off)
		return TL_E_PROTO;
	in->answered = true;
	in->hold = SHELL_INPUT_COUNTS;
	if (off > in->took_off)
		in->took_off = off;
	input_forget(in);
	return 0;
}

void shell_input_attached(struct shell_input *in)
{
	if (!in->answered)
		in->hold = SHELL_INPUT_OLD;
	input_forget(in);
}
