/* fuzz_session.c - a whole session as an agent runs it, fed by a stranger: first looked at with
 * session_peek_hello, then fed in pieces, every stream echoing what it gets. */
#include <stdlib.h>

#include "base/err.h"
#include "core/session.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void echo(struct session_stream *st)
{
	for (struct tl_bytes in; (in = session_peek(st)).n;) {
		long n = session_write(st, in);
		if (n <= 0)
			return;
		session_consume(st, (size_t)n);
	}
	if (session_eof(st))
		session_finish(st);
}

/* What an owner does after each call; at most so much goes out, as into a slow transport. */
static bool turn(struct session *s, size_t most, uint64_t now)
{
	struct session_event ev;
	bool over = false;
	for (bool moved = true; moved;) {
		moved = false;
		while (session_next_event(s, &ev)) {
			moved = true;
			if (ev.type == SESSION_EV_OPENED || ev.type == SESSION_EV_READABLE ||
			    ev.type == SESSION_EV_WRITABLE)
				echo(ev.stream);
			over |= ev.type == SESSION_EV_BYE;
		}
		struct tl_bytes out = session_pull(s, now);
		size_t n = out.n < most ? out.n : most;
		if (n)
			session_pulled(s, n, now);
		most -= n;
		moved |= n > 0;
	}
	return !over;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t id[16];
	uint32_t epoch;
	uint64_t now = 1000;
	if (session_peek_hello(bytes_of(data, size), id, &epoch))
		return 0;
	struct session *s = session_new(false, id);
	tl_assert(s);
	session_transport_up(s, epoch, now);
	for (size_t at = 0; at < size;) {
		/* the input says itself in which pieces it comes and how time goes by */
		size_t n = 1 + data[at] % 97;
		n = n < size - at ? n : size - at;
		uint8_t *copy = malloc(n);
		tl_assert(copy);
		memcpy(copy, data + at, n);
		bool good = session_feed(s, bytes_of(copy, n), now) == 0;
		free(copy);
		at += n;
		if (!turn(s, data[at - 1] & 1 ? SIZE_MAX : 30, now) || !good)
			break;
		now += data[at - 1];
		if (session_tick(s, now) == now)
			break;
	}
	turn(s, SIZE_MAX, now);
	session_transport_down(s, now);
	session_free(s);
	return 0;
}
