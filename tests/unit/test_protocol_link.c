/* test_protocol_link.c - the examples of docs/protocol.md, sections 1 and 2, are what the code
 * writes and reads; and what a link does with frames that are wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/limits.h"
#include "core/link.h"
#include "core/mux.h"
#include "doc_example.h"

static const uint8_t id[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

static size_t pull_all(struct link *l, uint8_t *out, size_t size, uint64_t now)
{
	size_t have = 0, n;
	struct tl_bytes v[LINK_SPANS];
	while ((n = link_pull(l, v, now))) {
		size_t sum = 0;
		for (size_t i = 0; i < n; i++) {
			assert_true(have + v[i].n <= size);
			memcpy(out + have, v[i].p, v[i].n);
			have += v[i].n;
			sum += v[i].n;
		}
		link_pulled(l, sum, now);
	}
	return have;
}

static int feed(struct link *l, const void *p, size_t n, uint64_t now, struct tl_bytes *ret_data)
{
	struct tl_bytes in = bytes_of(p, n), data;
	int rc = 0;
	*ret_data = bytes_of(p, 0);
	while (in.n && !rc) {
		rc = link_feed(l, &in, now, &data);
		if (data.n)
			*ret_data = data;
	}
	return rc;
}

static void expect_event(struct link *l, enum link_ev type, int error)
{
	struct link_event ev;
	assert_true(link_next_event(l, &ev));
	assert_int_equal(ev.type, type);
	assert_int_equal(ev.error, error);
}

/* A link in state UP as if it had sent sent_off bytes, all acknowledged, and got rx_off. */
static void bring_up(struct link *l, bool client, uint64_t sent_off, uint64_t rx_off)
{
	uint8_t hello[56], out[200];
	struct tl_bytes data;
	link_init(l, client, id);
	l->tx.base_off = l->tx.next_off = l->sent_off = sent_off;
	l->rx_off = rx_off;
	link_up(l, 1, 1000);
	link_hello_put(hello, &(struct link_hello){.proto_min = 1,
						   .proto_max = 1,
						   .epoch = 1,
						   .recv_off = sent_off,
						   .base_off = rx_off});
	memcpy(hello + 12, id, 16);
	assert_int_equal(feed(l, hello, sizeof(hello), 1000, &data), 0);
	pull_all(l, out, sizeof(out), 1000); /* HELLO and the first PING */
	expect_event(l, LINK_EV_UP, 0);
}

static void test_hello(void **state)
{
	struct link l;
	uint8_t want[100], got[200];
	(void)state;
	link_init(&l, true, id);
	link_up(&l, 0, 1000);
	size_t n = doc_example("hello-first", want, sizeof(want));
	assert_int_equal(pull_all(&l, got, sizeof(got), 1000), n);
	assert_memory_equal(got, want, n);
	link_down(&l, 1000);
	link_up(&l, 0, 1000);
	link_down(&l, 1000);
	l.tx.base_off = l.tx.next_off = l.sent_off = 70000;
	l.rx_off = 1000;
	link_up(&l, 0, 1000);
	n = doc_example("hello-third", want, sizeof(want));
	assert_int_equal(pull_all(&l, got, sizeof(got), 1000), n);
	assert_memory_equal(got, want, n);
	link_fini(&l);
}

static void test_frames(void **state)
{
	struct link l;
	uint8_t data[100], want[100], got[200];
	struct tl_bytes stream;
	(void)state;
	size_t n = doc_example("data", data, sizeof(data));
	bring_up(&l, true, 0x100000003u, 0x100000003u);
	assert_int_equal(feed(&l, data, n, 1000, &stream), 0);
	assert_int_equal(stream.n, 12);
	assert_memory_equal(stream.p, data + 8, 12);
	/* not yet: 12 bytes wait for 50 ms */
	assert_int_equal(pull_all(&l, got, sizeof(got), 1000), 0);
	assert_int_equal(link_tick(&l, 1000), 1000 + TL_LIMIT_LINK_ACK_MS);
	link_tick(&l, 1000 + TL_LIMIT_LINK_ACK_MS);
	n = doc_example("ack", want, sizeof(want));
	assert_int_equal(pull_all(&l, got, sizeof(got), 1050), n);
	assert_memory_equal(got, want, n);
	/* the same bytes, sent: the first of a transport ask */
	struct tl_bytes part = bytes_of(data + 8, 12);
	assert_int_equal(link_put(&l, &part, 1), 0);
	n = doc_example("data-ask", want, sizeof(want));
	assert_int_equal(pull_all(&l, got, sizeof(got), 1050), n);
	assert_memory_equal(got, want, n);
	/* acknowledged: the ring is empty */
	n = doc_example("ack", want, sizeof(want));
	assert_int_equal(feed(&l, want, n, 1060, &stream), 0);
	assert_int_equal(ring_len(&l.tx), 0);
	/* ping and its reply */
	n = doc_example("ping", want, sizeof(want));
	assert_int_equal(feed(&l, want, n, 1060, &stream), 0);
	n = doc_example("ping-reply", want, sizeof(want));
	assert_int_equal(pull_all(&l, got, sizeof(got), 1060), n);
	assert_memory_equal(got, want, n);
	/* BYE, said and heard */
	n = doc_example("bye", want, sizeof(want));
	link_end(&l, TL_E_GAP, "gap", false);
	assert_int_equal(pull_all(&l, got, sizeof(got), 1060), n);
	assert_memory_equal(got, want, n);
	link_fini(&l);
	bring_up(&l, false, 0, 0);
	assert_int_equal(feed(&l, want, n, 1060, &stream), 0);
	expect_event(&l, LINK_EV_BYE, TL_E_GAP);
	assert_int_equal(l.state, LINK_OVER);
	link_fini(&l);
}

static size_t mux_bytes(struct mux *m, uint8_t *out)
{
	struct mux_frame f;
	size_t n = 0;
	while (mux_next_frame(m, 65536, 65536, &f)) {
		for (size_t i = 0; i < f.n_parts; i++) {
			memcpy(out + n, f.parts[i].p, f.parts[i].n);
			n += f.parts[i].n;
		}
		mux_frame_sent(m, &f);
	}
	return n;
}

static void expect_mux(struct mux *m, const char *name)
{
	uint8_t want[100], got[200];
	size_t n = doc_example(name, want, sizeof(want));
	assert_int_equal(mux_bytes(m, got), n);
	assert_memory_equal(got, want, n);
}

static void feed_mux(struct mux *m, const char *name)
{
	uint8_t in[100];
	size_t n = doc_example(name, in, sizeof(in));
	assert_int_equal(mux_feed(m, bytes_of(in, n)), 0);
}

static void test_yamux(void **state)
{
	struct mux c, s;
	struct mux_stream *st, *peer;
	enum mux_ev ev;
	(void)state;
	mux_init(&c, true);
	mux_init(&s, false);
	st = mux_open(&c, MUX_KEY);
	expect_mux(&c, "yamux-open");
	feed_mux(&s, "yamux-open");
	expect_mux(&s, "yamux-accept");
	feed_mux(&c, "yamux-accept");
	assert_int_equal(c.unacked, 0);
	assert_true(mux_next_event(&s, &peer, &ev));
	assert_int_equal(ev, MUX_EV_OPENED);
	assert_int_equal(mux_write(st, bytes_str("hello")), 5);
	expect_mux(&c, "yamux-data");
	feed_mux(&s, "yamux-data");
	assert_memory_equal(mux_peek(peer).p, "hello", 5);
	uint32_t credit = st->credit;
	feed_mux(&c, "yamux-credit");
	assert_int_equal(st->credit, credit + 131072);
	mux_finish(st);
	expect_mux(&c, "yamux-finish");
	assert_false(mux_eof(peer));
	feed_mux(&s, "yamux-finish");
	mux_consume(peer, 5);
	assert_true(mux_eof(peer));
	mux_reset(peer);
	expect_mux(&s, "yamux-reset");
	feed_mux(&c, "yamux-reset");
	assert_true(mux_next_event(&c, &st, &ev));
	assert_int_equal(ev, MUX_EV_CLOSED);
	assert_int_equal(st->error, TL_E_CLOSED);
	mux_fini(&c);
	mux_fini(&s);
}

/* ---- wrong frames ---- */

static void test_wrong_frames(void **state)
{
	static const struct {
		const char *why;
		uint8_t bytes[24];
		size_t n;
	} t[] = {
	    {"unknown type", {9}, 8},
	    {"type 0", {0}, 8},
	    {"short ACK", {3, 0, 0, 7}, 8},
	    {"long PING", {4, 0, 0, 9}, 8},
	    {"BYE without number", {5, 0, 0, 3}, 8},
	    {"second HELLO", {1, 0, 0, 48}, 8 + 48},
	    {"DATA elsewhere", {2, 0, 0, 1, 0, 0, 0, 1}, 8},
	    {"ACK of unsent bytes", {3, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}, 16},
	};
	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		struct link l;
		struct tl_bytes data;
		uint8_t in[64] = {0};
		memcpy(in, t[i].bytes, sizeof(t[i].bytes));
		bring_up(&l, i & 1, 0, 0);
		assert_int_equal(feed(&l, in, t[i].n, 1000, &data), TL_E_PROTO);
		expect_event(&l, LINK_EV_PROTO, TL_E_PROTO);
		/* nothing from this transport counts any more, the next one starts clean */
		assert_int_equal(feed(&l, "\2\0\0\1\0\0\0\0x", 9, 1000, &data), 0);
		assert_int_equal(data.n, 0);
		assert_int_equal(l.rx_off, 0);
		link_up(&l, 2, 1000);
		assert_int_equal(l.state, LINK_HELLO);
		link_fini(&l);
	}
}

static void test_wrong_hello(void **state)
{
	static const struct {
		struct link_hello h;
		bool other_id;
		enum link_ev ev;
		int error;
	} t[] = {
	    {{.proto_min = 2, .proto_max = 3, .epoch = 5}, false, LINK_EV_BYE, TL_E_VERSION},
	    {{.proto_min = 2, .proto_max = 1, .epoch = 5}, false, LINK_EV_PROTO, TL_E_PROTO},
	    {{.proto_min = 0, .proto_max = 1, .epoch = 5}, false, LINK_EV_PROTO, TL_E_PROTO},
	    {{.proto_min = 1, .proto_max = 9, .epoch = 4}, false, LINK_EV_PROTO, TL_E_PROTO},
	    {{.proto_min = 1, .proto_max = 1, .epoch = 5}, true, LINK_EV_PROTO, TL_E_PROTO},
	    {{1, 1, {0}, 5, 99, 50, 0, 0}, false, LINK_EV_BYE, TL_E_GAP},
	    {{1, 1, {0}, 5, 301, 50, 0, 0}, false, LINK_EV_BYE, TL_E_GAP},
	    {{1, 1, {0}, 5, 100, 51, 0, 0}, false, LINK_EV_BYE, TL_E_GAP},
	    {{1, 1, {0}, 5, 100, 50, 0, 0}, false, LINK_EV_UP, 0},
	    {{1, 9, {0}, 5, 300, 0, 0, 0xffffffff}, false, LINK_EV_UP, 0},
	};
	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		struct link l;
		struct tl_bytes data;
		uint8_t hello[56], bytes[600] = {0};
		link_init(&l, false, id);
		l.tx.base_off = l.tx.next_off = l.sent_off = 100;
		assert_int_equal(ring_put(&l.tx, bytes, 200), 0);
		l.rx_off = 50;
		link_up(&l, 5, 1000);
		link_hello_put(hello, &t[i].h);
		if (!t[i].other_id)
			memcpy(hello + 12, id, 16);
		feed(&l, hello, sizeof(hello), 1000, &data);
		expect_event(&l, t[i].ev, t[i].error);
		if (t[i].ev == LINK_EV_UP)
			assert_int_equal(l.sent_off, t[i].h.recv_off);
		/* a gap and a wrong version are told to the peer */
		size_t n = pull_all(&l, bytes, sizeof(bytes), 1000);
		if (t[i].ev == LINK_EV_BYE)
			assert_true(n > 56 && bytes[56] == LINK_FRAME_BYE);
		link_fini(&l);
	}
}

static void test_stale_epoch(void **state)
{
	struct link l;
	uint8_t out[400];
	(void)state;
	link_init(&l, false, id);
	link_up(&l, 5, 1000);
	link_up(&l, 5, 1000);
	expect_event(&l, LINK_EV_PROTO, TL_E_STALE);
	size_t n = pull_all(&l, out, sizeof(out), 1000);
	assert_true(n > 56 + 12);
	assert_int_equal(out[56], LINK_FRAME_BYE);
	assert_int_equal(get_u32(out + 64), -TL_E_STALE);
	link_up(&l, 6, 1000);
	assert_int_equal(l.state, LINK_HELLO);
	assert_int_equal(l.epoch, 6);
	link_fini(&l);
}

/* ---- time ---- */

static void test_silence(void **state)
{
	struct link l;
	struct tl_bytes data;
	uint8_t out[400], ping[16];
	(void)state;
	bring_up(&l, true, 0, 0);
	/* 5 s of silence: PING; 15 s: dead */
	assert_int_equal(link_tick(&l, 1000), 1000 + TL_LIMIT_LINK_PING_MS);
	link_tick(&l, 6000);
	assert_int_equal(pull_all(&l, out, sizeof(out), 6000), 16);
	assert_int_equal(out[0], LINK_FRAME_PING);
	memcpy(ping, out, 16);
	ping[1] = LINK_FLAG_PING_REPLY;
	assert_int_equal(feed(&l, ping, 16, 6030, &data), 0);
	assert_int_equal(l.pace.min_rtt_ms, 30);
	for (uint64_t now = 6030; now < 6030 + TL_LIMIT_LINK_DEAD_MS;) {
		uint64_t next = link_tick(&l, now);
		assert_true(next > now);
		assert_int_equal(l.state, LINK_UP);
		pull_all(&l, out, sizeof(out), now);
		now = next;
	}
	assert_int_equal(link_tick(&l, 6030 + TL_LIMIT_LINK_DEAD_MS), UINT64_MAX);
	expect_event(&l, LINK_EV_SILENT, 0);
	link_fini(&l);
}

static void test_sleep(void **state)
{
	struct link l;
	struct tl_bytes data;
	uint8_t out[400];
	uint64_t now = 1000 + 3600000;
	(void)state;
	bring_up(&l, true, 0, 0);
	link_woke(&l, now);
	assert_int_equal(link_tick(&l, now), now + TL_LIMIT_LINK_WAKE_MS);
	assert_int_equal(l.state, LINK_UP);
	assert_int_equal(pull_all(&l, out, sizeof(out), now), 16);
	/* bytes that had waited here buy time, the reply ends the hurry */
	assert_int_equal(feed(&l, "\3\0\0\10\0\0\0\0\0\0\0\0\0\0\0\0", 16, now + 1, &data), 0);
	assert_int_equal(link_tick(&l, now + 1), now + 1 + TL_LIMIT_LINK_WAKE_MS);
	out[1] = LINK_FLAG_PING_REPLY;
	assert_int_equal(feed(&l, out, 16, now + 500, &data), 0);
	assert_int_equal(link_tick(&l, now + 500), now + 500 + TL_LIMIT_LINK_PING_MS);
	/* and without one the transport is dead after 2 s */
	link_woke(&l, now + 9000);
	link_tick(&l, now + 9000 + TL_LIMIT_LINK_WAKE_MS);
	expect_event(&l, LINK_EV_SILENT, 0);
	link_fini(&l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_hello),       cmocka_unit_test(test_frames),
	    cmocka_unit_test(test_yamux),       cmocka_unit_test(test_wrong_frames),
	    cmocka_unit_test(test_wrong_hello), cmocka_unit_test(test_stale_epoch),
	    cmocka_unit_test(test_silence),     cmocka_unit_test(test_sleep),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
