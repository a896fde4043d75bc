/* test_mux.c - core/mux.h against a peer whose every frame is written by hand: what implementations
 * do differently, and what a peer must not do. The answers are compared as bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/limits.h"
#include "core/mux.h"

#define WIRE 70000

static void frame(struct buf *b, uint8_t type, uint16_t flags, uint32_t stream, uint32_t length)
{
	uint8_t head[YAMUX_HEADER];
	yamux_header_put(head, type, flags, stream, length);
	assert_int_equal(buf_put(b, head, sizeof(head)), 0);
}

/* One frame from the peer. */
static int say(struct mux *m, uint8_t type, uint16_t flags, uint32_t stream, uint32_t length)
{
	uint8_t head[YAMUX_HEADER];
	yamux_header_put(head, type, flags, stream, length);
	return mux_feed(m, bytes_of(head, sizeof(head)));
}

static int say_data(struct mux *m, uint16_t flags, uint32_t stream, const char *text)
{
	int rc = say(m, YAMUX_DATA, flags, stream, (uint32_t)strlen(text));
	return rc ? rc : mux_feed(m, bytes_str(text));
}

/* Everything the mux sends now. */
static void hear(struct mux *m, struct buf *out)
{
	struct mux_frame f;
	buf_clear(out);
	while (mux_next_frame(m, WIRE, WIRE, &f)) {
		for (size_t i = 0; i < f.n_parts; i++)
			assert_int_equal(buf_put(out, f.parts[i].p, f.parts[i].n), 0);
		mux_frame_sent(m, &f);
	}
}

static void hears(struct mux *m, uint8_t type, uint16_t flags, uint32_t stream, uint32_t length)
{
	struct buf got, want;
	buf_init(&got, WIRE);
	buf_init(&want, WIRE);
	hear(m, &got);
	frame(&want, type, flags, stream, length);
	assert_int_equal(got.len, want.len);
	assert_memory_equal(buf_data(&got).p, buf_data(&want).p, want.len);
	buf_fini(&got);
	buf_fini(&want);
}

static void hears_nothing(struct mux *m)
{
	struct mux_frame f;
	assert_false(mux_next_frame(m, WIRE, WIRE, &f));
}

static struct mux_stream *event(struct mux *m, enum mux_ev want)
{
	struct mux_stream *st;
	enum mux_ev ev;
	assert_true(mux_next_event(m, &st, &ev));
	assert_int_equal(ev, want);
	return st;
}

static void no_event(struct mux *m)
{
	struct mux_stream *st;
	enum mux_ev ev;
	assert_false(mux_next_event(m, &st, &ev));
}

/* A server mux with stream 1 open. */
static struct mux_stream *serve(struct mux *m)
{
	mux_init(m, false);
	assert_int_equal(say(m, YAMUX_WINDOW, YAMUX_SYN, 1, 0), 0);
	hears(m, YAMUX_WINDOW, YAMUX_ACK, 1, 0);
	return event(m, MUX_EV_OPENED);
}

static void test_open_in_every_way(void **state)
{
	struct mux m;
	(void)state;
	mux_init(&m, false);
	/* on WINDOW_UPDATE the length beside SYN is credit */
	assert_int_equal(say(&m, YAMUX_WINDOW, YAMUX_SYN, 1, 1000), 0);
	struct mux_stream *st = event(&m, MUX_EV_OPENED);
	assert_int_equal(st->credit, TL_LIMIT_MUX_WINDOW + 1000);
	hears(&m, YAMUX_WINDOW, YAMUX_ACK, 1, 0);
	/* on DATA, with bytes, and the end at once */
	assert_int_equal(say_data(&m, YAMUX_SYN | YAMUX_FIN, 7, "all"), 0);
	st = event(&m, MUX_EV_OPENED);
	event(&m, MUX_EV_READABLE);
	assert_false(mux_eof(st));
	assert_memory_equal(mux_peek(st).p, "all", 3);
	mux_consume(st, 3);
	assert_true(mux_eof(st));
	mux_finish(st);
	hears(&m, YAMUX_WINDOW, YAMUX_ACK | YAMUX_FIN, 7, 0);
	assert_int_equal(event(&m, MUX_EV_CLOSED)->error, 0);
	/* opened and reset in one frame */
	assert_int_equal(say(&m, YAMUX_DATA, YAMUX_SYN | YAMUX_RST, 9, 0), 0);
	event(&m, MUX_EV_OPENED);
	assert_int_equal(event(&m, MUX_EV_CLOSED)->error, TL_E_CLOSED);
	hears_nothing(&m);
	mux_fini(&m);
}

static void test_answers_to_our_open(void **state)
{
	struct mux m;
	struct buf out;
	(void)state;
	buf_init(&out, WIRE);
	mux_init(&m, true);
	struct mux_stream *a = mux_open(&m, MUX_NORMAL), *b = mux_open(&m, MUX_NORMAL),
			  *c = mux_open(&m, MUX_NORMAL);
	assert_int_equal(a->id, 1);
	assert_int_equal(b->id, 3);
	hear(&m, &out);
	assert_int_equal(out.len, 3 * YAMUX_HEADER);
	/* DATA with ACK; ACK with credit; bytes without any ACK */
	assert_int_equal(say_data(&m, YAMUX_ACK, 1, "x"), 0);
	assert_int_equal(say(&m, YAMUX_WINDOW, YAMUX_ACK, 3, 5), 0);
	assert_int_equal(b->credit, TL_LIMIT_MUX_WINDOW + 5);
	assert_int_equal(m.unacked, 1);
	assert_int_equal(say_data(&m, 0, 5, "x"), 0);
	assert_int_equal(m.unacked, 0);
	assert_ptr_equal(event(&m, MUX_EV_READABLE), a);
	assert_ptr_equal(event(&m, MUX_EV_READABLE), c);
	/* refused */
	struct mux_stream *d = mux_open(&m, MUX_NORMAL);
	hear(&m, &out);
	assert_int_equal(say(&m, YAMUX_WINDOW, YAMUX_RST, d->id, 0), 0);
	assert_int_equal(event(&m, MUX_EV_CLOSED)->error, TL_E_CLOSED);
	assert_int_equal(m.unacked, 0);
	buf_fini(&out);
	mux_fini(&m);
}

/* What a peer does wrong with one stream costs that stream. */
static void test_stream_faults(void **state)
{
	struct mux m;
	(void)state;
	/* beyond the window; its payload is dropped, the next frame is read */
	serve(&m);
	assert_int_equal(say(&m, YAMUX_DATA, 0, 1, TL_LIMIT_MUX_WINDOW + 1), 0);
	uint8_t *junk = calloc(1, TL_LIMIT_MUX_WINDOW + 1);
	assert_int_equal(mux_feed(&m, bytes_of(junk, TL_LIMIT_MUX_WINDOW + 1)), 0);
	free(junk);
	hears(&m, YAMUX_WINDOW, YAMUX_RST, 1, 0);
	assert_int_equal(event(&m, MUX_EV_CLOSED)->error, TL_E_PROTO);
	assert_int_equal(say(&m, YAMUX_PING, YAMUX_SYN, 0, 77), 0);
	hears(&m, YAMUX_PING, YAMUX_ACK, 0, 77);
	mux_fini(&m);
	/* bytes after the end; a WINDOW_UPDATE after it is tolerated, so is another FIN */
	struct mux_stream *st = serve(&m);
	assert_int_equal(say(&m, YAMUX_WINDOW, YAMUX_FIN, 1, 0), 0);
	assert_int_equal(say(&m, YAMUX_WINDOW, 0, 1, 9), 0);
	assert_int_equal(say(&m, YAMUX_DATA, YAMUX_FIN, 1, 0), 0);
	assert_int_equal(st->credit, TL_LIMIT_MUX_WINDOW + 9);
	assert_int_equal(say_data(&m, 0, 1, "late"), 0);
	hears(&m, YAMUX_WINDOW, YAMUX_RST, 1, 0);
	assert_int_equal(event(&m, MUX_EV_CLOSED)->error, TL_E_PROTO);
	mux_fini(&m);
	/* more credit than 32 bits */
	serve(&m);
	assert_int_equal(say(&m, YAMUX_WINDOW, 0, 1, UINT32_MAX), 0);
	hears(&m, YAMUX_WINDOW, YAMUX_RST, 1, 0);
	assert_int_equal(event(&m, MUX_EV_CLOSED)->error, TL_E_PROTO);
	mux_fini(&m);
}

static void test_unknown_streams(void **state)
{
	struct mux m;
	(void)state;
	struct mux_stream *st = serve(&m);
	mux_reset(st);
	hears(&m, YAMUX_WINDOW, YAMUX_RST, 1, 0);
	event(&m, MUX_EV_CLOSED);
	/* what was on its way when we reset, and things that never were */
	assert_int_equal(say_data(&m, 0, 1, "on its way"), 0);
	assert_int_equal(say(&m, YAMUX_WINDOW, YAMUX_FIN, 1, 0), 0);
	assert_int_equal(say(&m, YAMUX_WINDOW, YAMUX_RST, 1, 0), 0);
	assert_int_equal(say_data(&m, YAMUX_FIN, 999, "??"), 0);
	hears_nothing(&m);
	no_event(&m);
	/* the number may come again */
	assert_int_equal(say(&m, YAMUX_WINDOW, YAMUX_SYN, 1, 0), 0);
	event(&m, MUX_EV_OPENED);
	mux_fini(&m);
}

static void test_fatal(void **state)
{
	static const struct {
		const char *why;
		uint8_t version, type;
		uint16_t flags;
		uint32_t stream;
	} t[] = {
	    {"version", 1, YAMUX_DATA, 0, 1},
	    {"type", 0, 4, 0, 1},
	    {"DATA for the session", 0, YAMUX_DATA, 0, 0},
	    {"WINDOW_UPDATE for the session", 0, YAMUX_WINDOW, 0, 0},
	    {"PING for a stream", 0, YAMUX_PING, YAMUX_SYN, 1},
	    {"GO_AWAY for a stream", 0, YAMUX_GOAWAY, 0, 1},
	    {"opened twice", 0, YAMUX_WINDOW, YAMUX_SYN, 1},
	    {"our number", 0, YAMUX_WINDOW, YAMUX_SYN, 2},
	};
	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		struct mux m;
		uint8_t head[YAMUX_HEADER];
		serve(&m);
		yamux_header_put(head, t[i].type, t[i].flags, t[i].stream, 0);
		head[0] = t[i].version;
		assert_int_equal(mux_feed(&m, bytes_of(head, sizeof(head))), TL_E_PROTO);
		assert_true(m.text[0]);
		hears(&m, YAMUX_GOAWAY, 0, 0, YAMUX_AWAY_PROTO);
		/* and nothing is read or opened any more */
		assert_int_equal(say(&m, YAMUX_PING, YAMUX_SYN, 0, 1), TL_E_PROTO);
		assert_null(mux_open(&m, MUX_NORMAL));
		mux_fini(&m);
	}
}

/* A peer that asks and asks and reads nothing. */
static void test_control_flood(void **state)
{
	struct mux m;
	(void)state;
	mux_init(&m, false);
	int rc = 0, n = 0;
	for (; !rc && n < 100000; n++)
		rc = say(&m, YAMUX_PING, YAMUX_SYN, 0, 1);
	assert_int_equal(rc, TL_E_PROTO);
	assert_true(n <= TL_LIMIT_MUX_CONTROL_BYTES / YAMUX_HEADER + 1);
	assert_true(m.raw.len <= TL_LIMIT_MUX_CONTROL_BYTES);
	mux_fini(&m);
}

static void test_too_many_streams(void **state)
{
	const uint32_t beyond = 2 * TL_LIMIT_MUX_STREAMS + 1;
	struct mux m;
	struct buf out;
	(void)state;
	buf_init(&out, WIRE);
	mux_init(&m, false);
	for (uint32_t i = 0; i < TL_LIMIT_MUX_STREAMS; i++)
		assert_int_equal(say(&m, YAMUX_WINDOW, YAMUX_SYN, 2 * i + 1, 0), 0);
	hear(&m, &out);
	/* refused, with the bytes that came along */
	assert_int_equal(say_data(&m, YAMUX_SYN, beyond, "hello"), 0);
	hears(&m, YAMUX_WINDOW, YAMUX_RST, beyond, 0);
	assert_int_equal(m.count, TL_LIMIT_MUX_STREAMS);
	mux_abort(&m, TL_E_CLOSED);
	assert_int_equal(m.count, 0);
	for (int i = 0; i < TL_LIMIT_MUX_STREAMS; i++) {
		event(&m, MUX_EV_OPENED);
		event(&m, MUX_EV_CLOSED);
	}
	no_event(&m);
	buf_fini(&out);
	mux_fini(&m);
}

static void test_credit(void **state)
{
	struct mux m;
	struct mux_frame f;
	(void)state;
	struct mux_stream *st = serve(&m);
	mux_set_class(st, MUX_KEY);
	uint8_t *block = calloc(1, TL_LIMIT_MUX_WINDOW);
	/* consumed, not received, is what gives credit; in one piece when half the window is due */
	assert_int_equal(say(&m, YAMUX_DATA, 0, 1, TL_LIMIT_MUX_WINDOW), 0);
	assert_int_equal(mux_feed(&m, bytes_of(block, TL_LIMIT_MUX_WINDOW)), 0);
	hears_nothing(&m);
	mux_consume(st, TL_LIMIT_MUX_WINDOW / 2 - 1);
	hears_nothing(&m);
	mux_consume(st, 1);
	hears(&m, YAMUX_WINDOW, 0, 1, TL_LIMIT_MUX_WINDOW / 2);
	/* at the end of the peer's bytes credit is of no use */
	mux_consume(st, mux_peek(st).n);
	assert_int_equal(say(&m, YAMUX_WINDOW, YAMUX_FIN, 1, 0), 0);
	hears_nothing(&m);
	/* ours: not one byte beyond what the peer gave */
	size_t sent = 0;
	for (long n = 1; n > 0 || mux_has_data(&m);) {
		n = mux_write(st, bytes_of(block, 10000));
		while (mux_next_frame(&m, WIRE, WIRE, &f)) {
			assert_true(f.size <= TL_LIMIT_MUX_SLICE);
			sent += f.length;
			mux_frame_sent(&m, &f);
		}
	}
	assert_int_equal(sent, TL_LIMIT_MUX_WINDOW);
	assert_int_equal(say(&m, YAMUX_WINDOW, 0, 1, 100), 0);
	assert_true(mux_next_frame(&m, WIRE, WIRE, &f));
	assert_int_equal(f.length, 100);
	free(block);
	mux_fini(&m);
}

/* A frame that does not fit waits; deciding on it changes nothing. */
static void test_room(void **state)
{
	struct mux m;
	struct mux_frame f;
	static uint8_t block[20000];
	(void)state;
	struct mux_stream *st = serve(&m);
	mux_write(st, bytes_of(block, sizeof(block)));
	for (int again = 0; again < 2; again++) {
		assert_true(mux_next_frame(&m, WIRE, WIRE, &f));
		assert_int_equal(f.size, TL_LIMIT_MUX_SLICE);
	}
	assert_true(mux_next_frame(&m, WIRE, 5000, &f));
	assert_int_equal(f.size, 5000);
	assert_false(mux_next_frame(&m, WIRE, 1000, &f));
	assert_true(mux_has_data(&m));
	/* data does not pass a control frame that has no room */
	mux_ping(&m, 1);
	assert_false(mux_next_frame(&m, YAMUX_HEADER - 1, WIRE, &f));
	assert_true(mux_next_frame(&m, YAMUX_HEADER, 0, &f));
	assert_false(f.data);
	mux_fini(&m);
}

static void test_goaway(void **state)
{
	struct mux m;
	(void)state;
	struct mux_stream *st = serve(&m);
	assert_int_equal(say(&m, YAMUX_GOAWAY, 0, 0, YAMUX_AWAY_NORMAL), 0);
	assert_null(mux_open(&m, MUX_NORMAL));
	assert_int_equal(mux_write(st, bytes_str("still")), 5);
	mux_goaway(&m, YAMUX_AWAY_NORMAL);
	mux_goaway(&m, YAMUX_AWAY_NORMAL);
	struct buf out;
	buf_init(&out, WIRE);
	hear(&m, &out);
	assert_int_equal(out.len, 2 * YAMUX_HEADER + 5);
	buf_fini(&out);
	/* after ours, theirs are refused */
	assert_int_equal(say(&m, YAMUX_WINDOW, YAMUX_SYN, 3, 0), 0);
	hears(&m, YAMUX_WINDOW, YAMUX_RST, 3, 0);
	mux_fini(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_open_in_every_way),
	    cmocka_unit_test(test_answers_to_our_open),
	    cmocka_unit_test(test_stream_faults),
	    cmocka_unit_test(test_unknown_streams),
	    cmocka_unit_test(test_fatal),
	    cmocka_unit_test(test_control_flood),
	    cmocka_unit_test(test_too_many_streams),
	    cmocka_unit_test(test_credit),
	    cmocka_unit_test(test_room),
	    cmocka_unit_test(test_goaway),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
