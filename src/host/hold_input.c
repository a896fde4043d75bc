/* hold_input.c - what viewers type, each byte once (see hold_state.h, docs/protocol.md 5).
 * Owns the table of input sequences: a viewer that gave an id numbers what it types, and may come
 * again over another connection and send again what was not acknowledged. What the program already
 * got is skipped. Of the connections that gave one id only the newest counts, so a sequence has one
 * writer and v->input_off <= v->seq->took_off always holds. */
#include <string.h>
#include <termios.h>

#include "base/log.h"
#include "host/hold_state.h"

/* Ctrl-C by someone who lags more than this skips all but the newest bytes. */
#define SKIP_LAG 262144
/* So much is acknowledged at once: a viewer keeps TERM_INPUT bytes at most. */
#define TELL_BYTES (TL_LIMIT_TERM_INPUT / 8)

/* ---- acknowledgements ---- */

void viewer_put_told(struct viewer *v)
{
	if (!v->seq || (!v->told_wanted && v->told_off == v->seq->took_off))
		return;
	v->told_wanted = false;
	/* without memory it is told with the next key */
	if (hold_put_offset(&v->out, HOLD_FRAME_INPUT_ACKED, v->seq->took_off) == 0)
		v->told_off = v->seq->took_off;
}

static void on_teller(void *ctx)
{
	struct hold *h = ctx;
	h->telling = false;
	LIST_FOREACH_SAFE (it, &h->viewers) {
		struct viewer *v = list_entry(it, struct viewer, node);
		v->told_wanted |= v->seq && v->told_off != v->seq->took_off;
		viewer_pump(v);
	}
	hold_reconsider(h);
}

/* Usually the echo takes the acknowledgement along: a frame of its own for every key would double
 * what a slow line carries back. */
static void viewer_took(struct viewer *v, size_t n)
{
	struct hold *h = v->hold;
	if (!v->seq)
		return;
	v->input_off += n;
	if (v->seq->took_off < v->input_off)
		v->seq->took_off = v->input_off;
	v->told_wanted |= v->seq->took_off - v->told_off >= TELL_BYTES;
	if (!h->telling && v->told_off != v->seq->took_off) {
		h->telling = true;
		timer_start(&h->teller, TL_LIMIT_TERM_INPUT_ACK_MS);
	}
}

/* ---- sequences ---- */

static struct input_seq *seq_find(struct hold *h, uint64_t id)
{
	for (size_t i = 0; i < TL_LIMIT_TERM_INPUT_IDS; i++)
		if (h->inputs[i].used && h->inputs[i].id == id)
			return &h->inputs[i];
	return NULL;
}

/* A free place, else that of the one which was not heard of for longest. NULL: all are connected.
 */
static struct input_seq *seq_place(struct hold *h)
{
	struct input_seq *best = NULL;
	for (size_t i = 0; i < TL_LIMIT_TERM_INPUT_IDS; i++)
		if (!h->inputs[i].speaker && (!best || h->inputs[i].used < best->used))
			best = &h->inputs[i];
	return best;
}

/* The connections that were replaced: closed from the loop, where nobody walks the list. */
static void on_fence(void *ctx)
{
	struct hold *h = ctx;
	LIST_FOREACH_SAFE (it, &h->viewers) {
		struct viewer *v = list_entry(it, struct viewer, node);
		if (v->replaced)
			viewer_close(v);
	}
}

static void seq_take_over(struct viewer *v, struct input_seq *seq)
{
	struct viewer *old = seq->speaker;
	if (old) {
		viewer_input_close(old);
		old->replaced = true;
		timer_start(&v->hold->fence, 0);
	}
	seq->speaker = v;
}

bool viewer_input_id(struct viewer *v, struct hold_input_id i)
{
	struct hold *h = v->hold;
	struct input_seq *seq = seq_find(h, i.id);
	if (v->seq || i.from_off > INT64_MAX)
		return false;
	if (seq && i.from_off > seq->took_off) {
		/* what is between would be lost without a word */
		log_warn("terminal %s: a viewer skipped %llu typed bytes", h->plan.id,
			 (unsigned long long)(i.from_off - seq->took_off));
		return false;
	}
	if (!seq) {
		seq = seq_place(h);
		if (!seq)
			return false;
		*seq = (struct input_seq){.id = i.id, .took_off = i.from_off};
	}
	seq->used = ++h->inputs_used;
	seq_take_over(v, seq);
	v->seq = seq;
	v->input_off = i.from_off;
	v->told_wanted = true;
	return true;
}

void viewer_input_close(struct viewer *v)
{
	if (v->hold->input_owner == v)
		v->hold->input_owner = NULL;
	if (v->seq && v->seq->speaker == v)
		v->seq->speaker = NULL;
}

void hold_input_init(struct hold *h)
{
	timer_init(&h->loop, &h->teller, on_teller, h);
	timer_init(&h->loop, &h->fence, on_fence, h);
}

/* ---- to the program ---- */

/* A terminal of the kernel throws its unread output away on Ctrl-C. So does the viewer that types
 * it, except for the newest part, and it is told of the gap: else the end of a flood would come
 * after megabytes that nobody wants to see any more. The log keeps them. */
static void viewer_interrupts(struct viewer *v, const uint8_t *p, size_t n)
{
	const struct hold *h = v->hold;
	struct termios t;
	if (!v->attached || h->log.next_off - v->cursor_off < SKIP_LAG || !h->pty_open ||
	    tcgetattr(h->pty.rfd, &t) != 0)
		return;
	if ((t.c_lflag & ISIG) && !(t.c_lflag & NOFLSH))
		v->skip_wanted |= memchr(p, t.c_cc[VINTR], n) || memchr(p, t.c_cc[VQUIT], n);
}

/* How many of the n bytes the program got over an earlier connection. */
static size_t viewer_had(const struct viewer *v, size_t n)
{
	uint64_t had = v->seq ? v->seq->took_off - v->input_off : 0;
	return had < n ? (size_t)had : n;
}

/* Writes to the program: how many of the n bytes it took, 0: not now. */
static size_t viewer_write_pty(struct viewer *v, const uint8_t *p, size_t n)
{
	struct hold *h = v->hold;
	long took = h->pty_open && !h->exited ? io_write(&h->pty, p, n) : (long)n;
	if (took < 0)
		took = (long)n; /* the program is gone: its input goes nowhere */
	if (took == 0) {
		h->input_waits = true;
		io_want_write(&h->pty, true);
		return 0;
	}
	viewer_interrupts(v, p, (size_t)took);
	return (size_t)took;
}

bool viewer_input(struct viewer *v)
{
	struct hold *h = v->hold;
	if (h->input_owner && h->input_owner != v)
		return false;
	h->input_owner = v;
	while (v->input_left && v->in.len) {
		struct tl_bytes b = buf_data(&v->in);
		size_t n = b.n < v->input_left ? b.n : v->input_left;
		size_t took = viewer_had(v, n);
		if (!took)
			took = viewer_write_pty(v, b.p, n);
		if (!took)
			return false;
		buf_consume(&v->in, took);
		v->input_left -= (uint32_t)took;
		viewer_took(v, took);
	}
	/* the rest of a frame may be hours away on a broken line: others may type meanwhile */
	h->input_owner = NULL;
	return true;
}
