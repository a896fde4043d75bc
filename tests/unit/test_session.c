/* test_session.c - core/session.h as its owners use it: two sessions and a wire between them.
 * What the simulation checks at random is here only where a promise is about order, time or a
 * limit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>

#include "base/limits.h"
#include "core/session.h"
#include "core/session_parts.h"

static const uint8_t id[16] = "a link for tests";

/* c: client, s: server; both live in one virtual time. */
struct pair {
	struct session *c, *s;
	uint64_t now;
	uint32_t epoch;
};

static void carry(struct session *from, struct session *to, size_t most, uint64_t now)
{
	for (size_t moved = 0; moved < most;) {
		struct tl_bytes out = session_pull(from, now);
		size_t n = out.n < most - moved ? out.n : most - moved;
		if (!n)
			return;
		assert_int_equal(session_feed(to, bytes_of(out.p, n), now), 0);
		session_pulled(from, n, now);
		moved += n;
	}
}

static void carry_all(struct pair *p)
{
	for (int i = 0; i < 40; i++) {
		carry(p->c, p->s, SIZE_MAX, p->now);
		carry(p->s, p->c, SIZE_MAX, p->now);
	}
}

static void connect_pair(struct pair *p)
{
	uint8_t got[16];
	uint32_t epoch;
	session_transport_up(p->c, 0, p->now);
	struct tl_bytes hello = session_pull(p->c, p->now);
	for (size_t n = 0; n < 56; n++)
		assert_int_equal(session_peek_hello(bytes_of(hello.p, n), got, &epoch), TL_E_AGAIN);
	assert_int_equal(session_peek_hello(hello, got, &epoch), 0);
	assert_memory_equal(got, id, 16);
	assert_int_equal(epoch, ++p->epoch);
	session_transport_up(p->s, epoch, p->now);
	carry_all(p);
	assert_true(session_is_up(p->c) && session_is_up(p->s));
	assert_int_equal(session_down_since_ms(p->c), UINT64_MAX);
}

static void disconnect_pair(struct pair *p)
{
	session_transport_down(p->c, p->now);
	session_transport_down(p->s, p->now);
	assert_int_equal(session_down_since_ms(p->c), p->now);
	assert_int_equal(session_pull(p->c, p->now).n, 0);
}

static struct session_event take(struct session *s, enum session_ev type)
{
	struct session_event ev;
	assert_true(session_next_event(s, &ev));
	assert_int_equal(ev.type, type);
	return ev;
}

static void no_event(struct session *s)
{
	struct session_event ev;
	assert_false(session_next_event(s, &ev));
}

static int pair_setup(void **state)
{
	struct pair *p = calloc(1, sizeof(*p));
	p->now = 1000;
	p->c = session_new(true, id);
	p->s = session_new(false, id);
	connect_pair(p);
	assert_false(take(p->c, SESSION_EV_UP).resumed);
	assert_false(take(p->s, SESSION_EV_UP).resumed);
	*state = p;
	return 0;
}

static int pair_teardown(void **state)
{
	struct pair *p = *state;
	session_free(p->c);
	session_free(p->s);
	free(p);
	return 0;
}

/* Opens at the client and returns both ends. */
static struct session_stream *open_pair(struct pair *p, enum session_class cls,
					struct session_stream **ret_server)
{
	struct session_stream *st = session_open(p->c, cls);
	assert_non_null(st);
	carry_all(p);
	*ret_server = take(p->s, SESSION_EV_OPENED).stream;
	no_event(p->s);
	return st;
}

static void drain(struct session_stream *st, size_t n)
{
	while (n) {
		struct tl_bytes in = session_peek(st);
		assert_true(in.n > 0);
		size_t take_n = in.n < n ? in.n : n;
		session_consume(st, take_n);
		n -= take_n;
	}
}

static void test_life_of_a_stream(void **state)
{
	struct pair *p = *state;
	struct session_stream *ss, *cs = open_pair(p, SESSION_KEY, &ss);
	session_stream_set_user(cs, p);
	assert_int_equal(session_write(cs, bytes_str("question")), 8);
	session_finish(cs);
	assert_int_equal(session_write(cs, bytes_str("x")), TL_E_CLOSED);
	assert_int_equal(session_writable(cs), 0);
	carry_all(p);
	assert_ptr_equal(take(p->s, SESSION_EV_READABLE).stream, ss);
	assert_false(session_eof(ss));
	assert_memory_equal(session_peek(ss).p, "question", 8);
	session_consume(ss, 8);
	assert_true(session_eof(ss));
	assert_int_equal(session_write(ss, bytes_str("answer")), 6);
	session_finish(ss);
	carry_all(p);
	struct session_event ev = take(p->s, SESSION_EV_CLOSED);
	assert_int_equal(ev.error, 0);
	no_event(p->s);
	ev = take(p->c, SESSION_EV_READABLE);
	assert_ptr_equal(ev.user, p);
	/* the end waits until the answer is read */
	no_event(p->c);
	drain(cs, 6);
	assert_true(session_eof(cs));
	assert_int_equal(take(p->c, SESSION_EV_CLOSED).error, 0);
	no_event(p->c);
	assert_int_equal(session_stream_count(p->c), 0);
	assert_int_equal(session_stream_count(p->s), 0);
}

static void test_back_pressure(void **state)
{
	struct pair *p = *state;
	static uint8_t block[1 << 20];
	struct session_stream *ss, *cs = open_pair(p, SESSION_NORMAL, &ss);
	size_t total = 0;
	for (int i = 0; i < 20; i++) {
		total += (size_t)session_write(cs, bytes_of(block, sizeof(block)));
		carry_all(p);
		p->now += 60;
		session_tick(p->s, p->now);
	}
	/* the reader's window and the writer's queue are full, and nothing else */
	assert_int_equal(total, TL_LIMIT_MUX_WINDOW + TL_LIMIT_MUX_SEND_QUEUE);
	take(p->s, SESSION_EV_READABLE);
	no_event(p->s);
	while (session_peek(ss).n)
		session_consume(ss, session_peek(ss).n);
	carry_all(p);
	/* one WRITABLE, not one per slice */
	assert_ptr_equal(take(p->c, SESSION_EV_WRITABLE).stream, cs);
	no_event(p->c);
	assert_int_equal(session_writable(cs), TL_LIMIT_MUX_SEND_QUEUE);
}

/* A keystroke behind a flood waits for one slice and for what is in flight, not for queues. */
static void test_keystroke_overtakes_bulk(void **state)
{
	struct pair *p = *state;
	static uint8_t block[1 << 20];
	struct session_stream *sb, *sk, *bulk[4];
	for (int i = 0; i < 4; i++)
		bulk[i] = open_pair(p, SESSION_BULK, &sb);
	struct session_stream *key = open_pair(p, SESSION_KEY, &sk);
	for (int i = 0; i < 4; i++)
		session_write(bulk[i], bytes_of(block, sizeof(block)));
	carry(p->c, p->s, 5000, p->now); /* in the middle of a slice */
	session_write(key, bytes_str("x"));
	uint64_t before, after, other;
	session_counters(p->s, &other, &before);
	while (!session_peek(sk).n)
		carry(p->c, p->s, 1, p->now);
	session_counters(p->s, &other, &after);
	assert_true(after - before <= TL_LIMIT_MUX_SLICE);
}

/* A flood in a higher class leaves every lower one its share; streams of a class share evenly. */
static void test_nothing_starves(void **state)
{
	struct pair *p = *state;
	static uint8_t block[1 << 16];
	struct session_stream *st[5], *ss[5];
	size_t got[5] = {0};
	for (int i = 0; i < 5; i++)
		st[i] = open_pair(p,
				  i < 3    ? SESSION_KEY
				  : i == 3 ? SESSION_NORMAL
					   : SESSION_BULK,
				  &ss[i]);
	for (int round = 0; round < 400; round++) {
		for (int i = 0; i < 5; i++)
			session_write(st[i], bytes_of(block, sizeof(block)));
		carry(p->c, p->s, 30000, p->now);
		for (int i = 0; i < 5; i++)
			for (struct tl_bytes in; (in = session_peek(ss[i])).n;) {
				got[i] += in.n;
				session_consume(ss[i], in.n);
			}
		p->now++;
		session_tick(p->s, p->now);
		carry(p->s, p->c, SIZE_MAX, p->now);
	}
	size_t all = got[0] + got[1] + got[2] + got[3] + got[4];
	for (int i = 1; i < 3; i++) {
		size_t apart = got[i] > got[0] ? got[i] - got[0] : got[0] - got[i];
		assert_true(apart <= 3 * TL_LIMIT_MUX_SLICE);
	}
	assert_true(got[0] > got[3] && got[3] > got[4]);
	assert_true(got[3] > all / 10);
	assert_true(got[4] > all / 20);
}

static void test_survives_transports(void **state)
{
	struct pair *p = *state;
	struct session_stream *ss, *cs = open_pair(p, SESSION_KEY, &ss);
	/* opened and written while nothing is connected */
	disconnect_pair(p);
	assert_int_equal(session_write(cs, bytes_str("one ")), 4);
	struct session_stream *late = session_open(p->c, SESSION_NORMAL);
	assert_int_equal(session_write(late, bytes_str("late")), 4);
	connect_pair(p);
	assert_true(take(p->c, SESSION_EV_UP).resumed);
	assert_true(take(p->s, SESSION_EV_UP).resumed);
	/* the SYN is a control frame: it goes before everybody's bytes */
	struct session_stream *sl = take(p->s, SESSION_EV_OPENED).stream;
	assert_ptr_equal(take(p->s, SESSION_EV_READABLE).stream, sl);
	assert_ptr_equal(take(p->s, SESSION_EV_READABLE).stream, ss);
	assert_memory_equal(session_peek(ss).p, "one ", 4);
	assert_memory_equal(session_peek(sl).p, "late", 4);
	/* lost on the way: taken by the transport, never arrived */
	assert_int_equal(session_write(cs, bytes_str("two")), 3);
	struct tl_bytes out = session_pull(p->c, p->now);
	session_pulled(p->c, out.n, p->now);
	disconnect_pair(p);
	connect_pair(p);
	assert_memory_equal(session_peek(ss).p, "one two", 7);
	/* an event of a transport that is gone is not told any more */
	assert_true(take(p->c, SESSION_EV_UP).resumed);
	no_event(p->c);
}

static void test_limits_of_streams(void **state)
{
	struct pair *p = *state;
	struct session_stream *st[TL_LIMIT_MUX_STREAMS];
	/* not more than MUX_OPEN_PENDING unanswered, not more than MUX_STREAMS at all */
	for (int i = 0; i < TL_LIMIT_MUX_OPEN_PENDING; i++)
		assert_non_null(st[i] = session_open(p->c, SESSION_NORMAL));
	assert_null(session_open(p->c, SESSION_NORMAL));
	for (int i = TL_LIMIT_MUX_OPEN_PENDING; i < TL_LIMIT_MUX_STREAMS; i++) {
		if (i % TL_LIMIT_MUX_OPEN_PENDING == 0)
			carry_all(p);
		assert_non_null(st[i] = session_open(p->c, SESSION_NORMAL));
	}
	carry_all(p);
	assert_null(session_open(p->c, SESSION_NORMAL));
	assert_null(session_open(p->s, SESSION_NORMAL));
	assert_int_equal(session_stream_count(p->s), TL_LIMIT_MUX_STREAMS);
	for (int i = 0; i < TL_LIMIT_MUX_STREAMS; i++) {
		session_reset(st[i]);
		assert_int_equal(take(p->c, SESSION_EV_CLOSED).error, TL_E_CANCELED);
	}
	carry_all(p);
	assert_int_equal(session_stream_count(p->s), 0);
	assert_non_null(session_open(p->s, SESSION_NORMAL));
	carry_all(p);
	assert_int_equal(session_stream_count(p->c), 1);
}

static void test_reset(void **state)
{
	struct pair *p = *state;
	struct session_stream *ss, *cs = open_pair(p, SESSION_NORMAL, &ss);
	session_write(ss, bytes_str("never read"));
	session_write(cs, bytes_str("never sent"));
	carry(p->s, p->c, SIZE_MAX, p->now);
	session_reset(cs);
	/* only CLOSED is left; the calls of an owner that does not know yet do no harm */
	assert_int_equal(session_write(cs, bytes_str("x")), TL_E_CLOSED);
	assert_int_equal(session_peek(cs).n, 0);
	assert_false(session_eof(cs));
	session_consume(cs, 0);
	session_finish(cs);
	session_reset(cs);
	assert_int_equal(take(p->c, SESSION_EV_CLOSED).error, TL_E_CANCELED);
	no_event(p->c);
	carry_all(p);
	assert_int_equal(take(p->s, SESSION_EV_CLOSED).error, TL_E_CLOSED);
	no_event(p->s);
	/* one that nobody ever heard of leaves no trace */
	session_reset(session_open(p->c, SESSION_KEY));
	take(p->c, SESSION_EV_CLOSED);
	carry_all(p);
	no_event(p->s);
}

static void test_bye_ends_everything(void **state)
{
	struct pair *p = *state;
	struct session_stream *ss;
	open_pair(p, SESSION_NORMAL, &ss);
	session_bye(p->c, TL_E_VERSION, "come back newer");
	assert_null(session_open(p->c, SESSION_NORMAL));
	carry_all(p);
	struct session_event ev = take(p->s, SESSION_EV_BYE);
	assert_int_equal(ev.error, TL_E_VERSION);
	assert_string_equal(ev.text, "come back newer");
	ev = take(p->s, SESSION_EV_CLOSED);
	assert_ptr_equal(ev.stream, ss);
	assert_int_equal(ev.error, TL_E_CLOSED);
	no_event(p->s);
	assert_null(session_open(p->s, SESSION_NORMAL));
	session_transport_up(p->s, 9, p->now);
	assert_int_equal(session_pull(p->s, p->now).n, 0);
	session_tick(p->c, p->now + 10000);
	session_tick(p->c, p->now + 20000);
	assert_int_equal(session_tick(p->c, p->now + 30000), UINT64_MAX);
	assert_null(p->c->link.tx.p);
}

/* A host that was restarted knows nothing of what was acknowledged. */
static void test_gap(void **state)
{
	struct pair *p = *state;
	struct session_stream *ss, *cs = open_pair(p, SESSION_NORMAL, &ss);
	session_write(cs, bytes_str("known to the old one"));
	carry_all(p);
	p->now += 60;
	session_tick(p->s, p->now);
	carry_all(p);
	disconnect_pair(p);
	session_free(p->s);
	p->s = session_new(false, id);
	session_transport_up(p->c, 0, p->now);
	session_transport_up(p->s, ++p->epoch, p->now);
	carry_all(p);
	assert_int_equal(take(p->c, SESSION_EV_BYE).error, TL_E_GAP);
	assert_int_equal(take(p->c, SESSION_EV_CLOSED).error, TL_E_CLOSED);
	assert_int_equal(take(p->s, SESSION_EV_BYE).error, TL_E_GAP);
}

static void test_peek_hello_refuses(void **state)
{
	uint8_t got[16];
	uint32_t epoch;
	(void)state;
	assert_int_equal(session_peek_hello(bytes_str(""), got, &epoch), TL_E_AGAIN);
	assert_int_equal(session_peek_hello(bytes_str("GET / HTTP"), got, &epoch), TL_E_PROTO);
	assert_int_equal(session_peek_hello(bytes_of("\1\0\0\57\0\0\0\0", 8), got, &epoch),
			 TL_E_PROTO);
}

/* A window that is emptied in time grows, one that is not stays; all memory comes back. */
static void test_memory(void **state)
{
	struct pair *p = *state;
	static uint8_t block[1 << 16];
	struct session_stream *ss, *cs = open_pair(p, SESSION_BULK, &ss);
	for (size_t total = 0; total < 12 << 20;) {
		long n = session_write(cs, bytes_of(block, sizeof(block)));
		assert_true(n >= 0);
		total += (size_t)n;
		carry(p->c, p->s, 65536, p->now);
		while (session_peek(ss).n)
			session_consume(ss, session_peek(ss).n);
		carry(p->s, p->c, SIZE_MAX, p->now);
	}
	assert_int_equal(((struct mux_stream *)(void *)ss)->in_window, TL_LIMIT_MUX_WINDOW_MAX);
	carry_all(p);
	while (session_peek(ss).n)
		session_consume(ss, session_peek(ss).n);
	for (int i = 0; i < 100; i++) {
		p->now += 100;
		session_tick(p->c, p->now);
		session_tick(p->s, p->now);
		carry_all(p);
	}
	assert_null(p->c->link.tx.p);
	assert_null(p->c->stage);
	assert_null(((struct mux_stream *)(void *)cs)->out.p);
	assert_null(((struct mux_stream *)(void *)ss)->in.p);
	/* and an idle pair wants to be looked at only for its PING */
	assert_true(session_tick(p->c, p->now) >= p->now + 1000);
}

static void test_spans_are_the_same_bytes(void **state)
{
	struct pair *p = *state;
	struct tl_bytes v[SESSION_SPANS];
	static uint8_t block[40000];
	struct session_stream *st = session_open(p->c, SESSION_BULK);
	session_write(st, bytes_of(block, sizeof(block)));
	struct tl_bytes whole = session_pull(p->c, p->now);
	size_t n = session_pullv(p->c, v, p->now), at = 0;
	assert_true(n >= 2);
	for (size_t i = 0; i < n; at += v[i++].n)
		assert_memory_equal(whole.p + at, v[i].p, v[i].n);
	assert_int_equal(at, whole.n);
	assert_true(at > TL_LIMIT_LINK_FRAME_SEND);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, pair_setup, pair_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_life_of_a_stream),
	    TEST(test_back_pressure),
	    TEST(test_keystroke_overtakes_bulk),
	    TEST(test_nothing_starves),
	    TEST(test_survives_transports),
	    TEST(test_limits_of_streams),
	    TEST(test_reset),
	    TEST(test_bye_ends_everything),
	    TEST(test_gap),
	    TEST(test_memory),
	    TEST(test_spans_are_the_same_bytes),
	    cmocka_unit_test(test_peek_hello_refuses),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
