/* fuzz_link.c - a link fed by a stranger: no input may crash it, and what it hands out is counted
 * once. Input: the side, then pieces: length u8, that many bytes; length 0: the next byte is a
 * command. */
#include <stdlib.h>

#include "base/err.h"
#include "core/link.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { CMD_PULL, CMD_PULL_LITTLE, CMD_PUT, CMD_TICK, CMD_WAKE, CMD_UP, CMD_DOWN, CMD_END, CMDS };

static void pull(struct link *l, size_t most, uint64_t now)
{
	struct tl_bytes v[LINK_SPANS];
	size_t n, sum = 0;
	while ((n = link_pull(l, v, now)) && most) {
		sum = 0;
		for (size_t i = 0; i < n; i++)
			sum += v[i].n;
		sum = sum < most ? sum : most;
		link_pulled(l, sum, now);
		most -= sum;
	}
}

static uint64_t command(struct link *l, uint8_t c, uint64_t now)
{
	struct tl_bytes part = bytes_of("0123456789abcdef", 16);
	switch (c % CMDS) {
	case CMD_PULL:
		pull(l, SIZE_MAX, now);
		break;
	case CMD_PULL_LITTLE:
		pull(l, 5, now);
		break;
	case CMD_PUT:
		if (link_wants_data(l) && link_room(l, false) >= part.n)
			link_put(l, &part, 1);
		break;
	case CMD_TICK:
		now += (uint64_t)c * 40;
		link_tick(l, now);
		break;
	case CMD_WAKE:
		link_woke(l, now);
		break;
	case CMD_UP:
		link_up(l, l->epoch + 1, now);
		break;
	case CMD_DOWN:
		link_down(l, now);
		break;
	case CMD_END:
		if (c > 240)
			link_end(l, TL_E_CLOSED, "end", true);
		break;
	}
	return now;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t id[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
	struct link l;
	struct link_event ev;
	uint64_t now = 1000, got = 0;
	if (!size)
		return 0;
	link_init(&l, data[0] & 1, id);
	link_up(&l, 1, now);
	for (size_t at = 1; at + 1 < size;) {
		size_t n = data[at++];
		if (!n) {
			now = command(&l, data[at++], now);
			continue;
		}
		if (n > size - at)
			n = size - at;
		/* a block of its own, so that an overread is seen */
		uint8_t *copy = malloc(n);
		tl_assert(copy);
		memcpy(copy, data + at, n);
		for (struct tl_bytes in = bytes_of(copy, n), out; in.n;) {
			if (link_feed(&l, &in, now, &out))
				tl_assert(!in.n);
			got += out.n;
		}
		free(copy);
		at += n;
		while (link_next_event(&l, &ev)) {
		}
		tl_assert(l.tx.base_off <= l.sent_off && l.sent_off <= l.tx.next_off);
		tl_assert(l.rx_off == got);
	}
	link_fini(&l);
	return 0;
}
