/* fuzz_mux.c - a mux fed by a stranger while its owner opens, writes, reads and resets.
 * Input: the side, then pieces: length u8, that many bytes; length 0: the next two bytes are a
 * command. Whatever comes, memory stays within the limits and credit is never wrong. */
#include <stdlib.h>

#include "base/err.h"
#include "base/limits.h"
#include "core/mux.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define KEPT 8

struct owner {
	struct mux mux;
	struct mux_stream *st[KEPT];
};

static void events(struct owner *o)
{
	struct mux_stream *st;
	enum mux_ev ev;
	while (mux_next_event(&o->mux, &st, &ev)) {
		size_t i = st->id % KEPT;
		if (ev == MUX_EV_OPENED && !o->st[i])
			o->st[i] = st;
		if (ev == MUX_EV_CLOSED && o->st[i] == st)
			o->st[i] = NULL;
	}
}

static void send_some(struct mux *m, size_t room)
{
	struct mux_frame f;
	for (int i = 0; i < 8 && mux_next_frame(m, room, room, &f); i++) {
		tl_assert(f.size <= room && f.size <= TL_LIMIT_MUX_SLICE);
		mux_frame_sent(m, &f);
	}
}

static void command(struct owner *o, uint8_t what, uint8_t which)
{
	static const uint8_t block[3000];
	struct mux_stream **slot = &o->st[which % KEPT], *st = *slot;
	switch (what % 9) {
	case 0:
		if (!st && (st = mux_open(&o->mux, which % MUX_CLASSES)))
			o->st[st->id % KEPT] = o->st[st->id % KEPT] ? o->st[st->id % KEPT] : st;
		break;
	case 1:
		if (st)
			mux_write(st, bytes_of(block, (size_t)which * 11));
		break;
	case 2:
		if (st) {
			struct tl_bytes in = mux_peek(st);
			mux_consume(st, in.n > which ? which : in.n);
		}
		break;
	case 3:
		if (st)
			mux_finish(st);
		break;
	case 4:
		if (st)
			mux_reset(st);
		break;
	case 5:
		send_some(&o->mux, (size_t)which * 80);
		break;
	case 6:
		mux_sweep(&o->mux);
		break;
	case 7:
		if (st)
			mux_set_class(st, which % MUX_CLASSES);
		break;
	default:
		if (which == 255)
			mux_abort(&o->mux, TL_E_CLOSED);
		else if (which == 254)
			mux_goaway(&o->mux, YAMUX_AWAY_NORMAL);
		else
			mux_ping(&o->mux, which);
	}
}

static void check(struct mux *m)
{
	size_t count = 0, extra = 0, unacked = 0;
	for (size_t i = 0; i < MUX_BUCKETS; i++)
		LIST_FOREACH (it, &m->bucket[i]) {
			struct mux_stream *st = list_entry(it, struct mux_stream, node);
			size_t way = m->in_stream == st ? m->in_payload : 0;
			tl_assert(ring_len(&st->in) <= st->in_window);
			tl_assert(st->fin_got || ring_len(&st->in) + way + st->in_left + st->give ==
						     st->in_window);
			count++;
			extra += st->in_window - TL_LIMIT_MUX_WINDOW;
			unacked += st->unacked;
		}
	tl_assert(count == m->count && count <= TL_LIMIT_MUX_STREAMS);
	tl_assert(extra == m->extra && extra <= TL_LIMIT_MUX_WINDOW_EXTRA);
	tl_assert(unacked == m->unacked);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct owner o = {0};
	if (!size)
		return 0;
	mux_init(&o.mux, data[0] & 1);
	for (size_t at = 1; at + 2 < size;) {
		size_t n = data[at++];
		if (!n) {
			command(&o, data[at], data[at + 1]);
			at += 2;
		} else {
			n = n < size - at ? n : size - at;
			uint8_t *copy = malloc(n);
			tl_assert(copy);
			memcpy(copy, data + at, n);
			if (mux_feed(&o.mux, bytes_of(copy, n)))
				tl_assert(o.mux.failed && o.mux.text[0]);
			free(copy);
			at += n;
		}
		events(&o);
		check(&o.mux);
	}
	mux_fini(&o.mux);
	return 0;
}
