/* test_kernel_wire.c - ZMTP, Jupyter's messages, frames and records of sessions: bytes and bad
 * input. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/err.h"
#include "wire/jupyter_msg.h"
#include "wire/kernel_frame.h"
#include "wire/zmtp.h"

#define MAX 65536

/* Feeds all of in, one byte at a time where asked; counts events, stops at an error. */
static int feed(struct zmtp *z, struct tl_bytes in, bool bytewise, unsigned counts[4])
{
	while (in.n) {
		size_t used;
		int rc = zmtp_feed(z, bytes_of(in.p, bytewise ? 1 : in.n), &used);
		if (rc < 0)
			return rc;
		counts[rc]++;
		in = bytes_of(in.p + used, in.n - used);
	}
	return 0;
}

/* Two engines greet each other. */
static int greet(struct zmtp *a, struct zmtp *b)
{
	unsigned n[4] = {0};
	int rc = feed(a, buf_data(&b->out), false, n);
	rc = rc ? rc : feed(b, buf_data(&a->out), true, n);
	buf_clear(&a->out);
	buf_clear(&b->out);
	return rc;
}

static void test_greeting_bytes(void **state)
{
	struct zmtp z;
	(void)state;
	assert_int_equal(zmtp_init(&z, ZMTP_DEALER, bytes_str("me"), MAX, 16), 0);
	struct tl_bytes b = buf_data(&z.out);
	static const uint8_t ready[] = "\x04\x2b\x05READY\x0bSocket-Type\x00\x00\x00\x06"
				       "DEALER\x08Identity\x00\x00\x00\x02me";
	assert_int_equal(b.n, 64 + sizeof(ready) - 1);
	assert_true(b.p[0] == 0xff && b.p[9] == 0x7f && b.p[10] == 3 && b.p[11] == 1);
	assert_memory_equal(b.p + 12, "NULL\0\0", 6);
	assert_memory_equal(b.p + 64, ready, sizeof(ready) - 1);
	zmtp_fini(&z);
}

static void test_messages_any_cut(void **state)
{
	(void)state;
	for (int bytewise = 0; bytewise < 2; bytewise++) {
		struct zmtp a, b;
		struct buf out;
		unsigned n[4] = {0};
		uint8_t big[300];
		memset(big, 'b', sizeof(big));
		buf_init(&out, MAX);
		zmtp_init(&a, ZMTP_DEALER, bytes_of("", 0), MAX, 16);
		zmtp_init(&b, ZMTP_ROUTER, bytes_of("", 0), MAX, 16);
		assert_int_equal(greet(&a, &b), 0);
		const struct tl_bytes parts[] = {bytes_str("one"), bytes_of("", 0),
						 bytes_of(big, sizeof(big))};
		assert_int_equal(zmtp_put(&out, parts, 3), 0);
		assert_int_equal(feed(&b, buf_data(&out), bytewise, n), 0);
		assert_int_equal(n[ZMTP_MESSAGE], 1);
		assert_int_equal(zmtp_parts(&b), 3);
		assert_int_equal(zmtp_part(&b, 1).n, 0);
		assert_memory_equal(zmtp_part(&b, 2).p, big, sizeof(big));
		buf_fini(&out);
		zmtp_fini(&a);
		zmtp_fini(&b);
	}
}

static void test_too_large_and_too_many_are_walked_over(void **state)
{
	struct zmtp a, b;
	struct buf out;
	unsigned n[4] = {0};
	static uint8_t big[5000];
	(void)state;
	buf_init(&out, MAX);
	zmtp_init(&a, ZMTP_PUB, bytes_of("", 0), 4096, 4);
	zmtp_init(&b, ZMTP_SUB, bytes_of("", 0), 4096, 4);
	assert_int_equal(greet(&a, &b), 0);
	const struct tl_bytes large[] = {bytes_str("x"), bytes_of(big, sizeof(big)),
					 bytes_str("y")};
	const struct tl_bytes many[] = {bytes_str("1"), bytes_str("2"), bytes_str("3"),
					bytes_str("4"), bytes_str("5")};
	zmtp_put(&out, large, 3);
	zmtp_put(&out, many, 5);
	zmtp_put(&out, many, 4);
	assert_int_equal(feed(&b, buf_data(&out), false, n), 0);
	assert_int_equal(n[ZMTP_DROPPED], 2);
	assert_int_equal(n[ZMTP_MESSAGE], 1);
	assert_int_equal(zmtp_parts(&b), 4);
	buf_fini(&out);
	zmtp_fini(&a);
	zmtp_fini(&b);
}

static void test_ping_is_answered_and_the_unknown_skipped(void **state)
{
	static const uint8_t in[] = "\x04\x09\x04PING\x00\x0ahi\x04\x06\x05WHAT?\x04\x07\x04PONGhi";
	static const uint8_t want[] = "\x04\x07\x04PONGhi";
	struct zmtp a, b;
	unsigned n[4] = {0};
	(void)state;
	zmtp_init(&a, ZMTP_REQ, bytes_of("", 0), MAX, 4);
	zmtp_init(&b, ZMTP_REP, bytes_of("", 0), MAX, 4);
	assert_int_equal(greet(&a, &b), 0);
	assert_int_equal(feed(&a, bytes_of(in, sizeof(in) - 1), true, n), 0);
	assert_int_equal(a.out.len, sizeof(want) - 1);
	assert_memory_equal(buf_data(&a.out).p, want, sizeof(want) - 1);
	zmtp_fini(&a);
	zmtp_fini(&b);
}

/* After the greeting of a good peer. */
static int after_greeting(const char *bytes, size_t len)
{
	struct zmtp a, b;
	unsigned n[4] = {0};
	zmtp_init(&a, ZMTP_DEALER, bytes_of("", 0), MAX, 4);
	zmtp_init(&b, ZMTP_ROUTER, bytes_of("", 0), MAX, 4);
	struct tl_bytes g = bytes_of(buf_data(&b.out).p, ZMTP_GREETING);
	int rc = feed(&a, g, false, n);
	rc = rc ? rc : feed(&a, bytes_of(bytes, len), true, n);
	zmtp_fini(&a);
	zmtp_fini(&b);
	return rc;
}

static void test_bad_peers(void **state)
{
	uint8_t greeting[ZMTP_GREETING] = {[0] = 0xff, [9] = 0x7f, [10] = 3, [12] = 'P'};
	struct zmtp a, b;
	(void)state;
#define AFTER(text) after_greeting(text, sizeof(text) - 1)
	assert_int_equal(AFTER("\x00\x01x"), TL_E_PROTO);    /* before READY */
	assert_int_equal(AFTER("\x80\x01x"), TL_E_PROTO);    /* flags */
	assert_int_equal(AFTER("\x05\x01x"), TL_E_PROTO);    /* command with more */
	assert_int_equal(AFTER("\x04\x00"), TL_E_PROTO);     /* empty command */
	assert_int_equal(AFTER("\x04\x01\x09"), TL_E_PROTO); /* name beyond the end */
	assert_int_equal(AFTER("\x04\x0a\x05READY\x0bSoc"), TL_E_PROTO);
	assert_int_equal(AFTER("\x04\x06\x05READY"), TL_E_PROTO); /* no socket type */
	assert_int_equal(AFTER("\x04\x09\x05"
			       "ERROR\x02no"),
			 TL_E_PROTO);
	assert_int_equal(AFTER("\x06\x00\x00\x00\x00\x00\x01\x00\x00"), TL_E_PROTO);
	zmtp_init(&a, ZMTP_DEALER, bytes_of("", 0), MAX, 4);
	size_t used;
	assert_int_equal(zmtp_feed(&a, bytes_of(greeting, 64), &used), TL_E_UNSUPPORTED);
	zmtp_fini(&a);
	greeting[10] = 2;
	zmtp_init(&a, ZMTP_DEALER, bytes_of("", 0), MAX, 4);
	assert_int_equal(zmtp_feed(&a, bytes_of(greeting, 64), &used), TL_E_UNSUPPORTED);
	zmtp_fini(&a);
	/* sockets that do not belong together */
	zmtp_init(&a, ZMTP_DEALER, bytes_of("", 0), MAX, 4);
	zmtp_init(&b, ZMTP_PUB, bytes_of("", 0), MAX, 4);
	assert_int_equal(greet(&a, &b), TL_E_PROTO);
	assert_string_equal(a.reason, "the peer's socket is of the wrong type");
	zmtp_fini(&a);
	zmtp_fini(&b);
}

/* RFC 4231's second case, its text cut into our four parts. */
static void test_signature(void **state)
{
	char out[JUPYTER_SIGNATURE + 1];
	const struct tl_bytes parts[] = {bytes_str("what do "), bytes_str("ya want"), bytes_str(""),
					 bytes_str(" for nothing?")};
	uint8_t longkey[131];
	(void)state;
	jupyter_sign(bytes_str("Jefe"), parts, out);
	assert_string_equal(out,
			    "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
	/* its sixth: a key longer than a block */
	memset(longkey, 0xaa, sizeof(longkey));
	const struct tl_bytes six[] = {bytes_str("Test Using Larger "), bytes_str("Than Block-"),
				       bytes_str("Size Key - "), bytes_str("Hash Key First")};
	jupyter_sign(bytes_of(longkey, sizeof(longkey)), six, out);
	assert_string_equal(out,
			    "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}

static void test_open_checks(void **state)
{
	struct tl_bytes p[8] = {bytes_str("who"), bytes_str("<IDS|MSG>"),
				bytes_str(""),    bytes_str("{\"msg_id\":\"1\"}"),
				bytes_str("{}"),  bytes_str("{}"),
				bytes_str("{}"),  bytes_str("buffer")};
	char sig[JUPYTER_SIGNATURE + 1];
	struct jupyter_head head;
	size_t first = 0;
	(void)state;
	assert_int_equal(jupyter_open(p, 8, bytes_str("k"), &first), TL_E_ACCES);
	jupyter_sign(bytes_str("k"), p + 3, sig);
	p[2] = bytes_str(sig);
	assert_int_equal(jupyter_open(p, 8, bytes_str("k"), &first), 0);
	assert_int_equal(first, 3);
	sig[5] ^= 1;
	assert_int_equal(jupyter_open(p, 8, bytes_str("k"), &first), TL_E_ACCES);
	assert_int_equal(jupyter_open(p, 8, bytes_str(""), &first), 0);
	assert_int_equal(jupyter_open(p, 6, bytes_str(""), &first), TL_E_PROTO);
	assert_int_equal(jupyter_open(p + 2, 6, bytes_str(""), &first), TL_E_PROTO);
	assert_int_equal(jupyter_head_parse(p[3], &head), 0);
	assert_string_equal(head.id, "1");
	assert_string_equal(head.type, "");
	assert_int_equal(jupyter_head_parse(bytes_str("[]"), &head), TL_E_PROTO);
	assert_int_equal(jupyter_head_parse(bytes_str("nonsense"), &head), TL_E_PROTO);
}

/* What jupyter_put writes, the engine and jupyter_open read. */
static void test_put_and_open(void **state)
{
	struct zmtp a, b;
	struct buf out, header;
	unsigned n[4] = {0};
	size_t first;
	struct tl_bytes got[8];
	(void)state;
	buf_init(&out, MAX);
	buf_init(&header, MAX);
	zmtp_init(&a, ZMTP_DEALER, bytes_of("", 0), MAX, 16);
	zmtp_init(&b, ZMTP_ROUTER, bytes_of("", 0), MAX, 16);
	greet(&a, &b);
	jupyter_put_header(&header, "id", "session", "execute_request", "us\"er", 1700000000123);
	assert_non_null(strstr(buf_cstr(&header), "\"date\":\"2023-11-14T22:13:20.123000Z\""));
	const struct tl_bytes parts[] = {buf_data(&header), bytes_str("{}"), bytes_str("{}"),
					 bytes_str("{}"), bytes_of("\0\1\2", 3)};
	assert_int_equal(jupyter_put(&out, bytes_str("key"), parts, 5), 0);
	assert_int_equal(feed(&b, buf_data(&out), true, n), 0);
	assert_int_equal(zmtp_parts(&b), 7);
	for (size_t i = 0; i < 7; i++)
		got[i] = zmtp_part(&b, i);
	assert_int_equal(jupyter_open(got, 7, bytes_str("key"), &first), 0);
	assert_memory_equal(got[first + 4].p, "\0\1\2", 3);
	buf_fini(&out);
	buf_fini(&header);
	zmtp_fini(&a);
	zmtp_fini(&b);
}

static void test_frames(void **state)
{
	struct buf b;
	struct kernel_frame f;
	size_t used;
	static uint8_t text[40000];
	(void)state;
	buf_init(&b, MAX);
	struct kernel_attach a = {0x0102030405060708, 9, 10};
	kernel_put_attach(&b, &a);
	assert_int_equal(kernel_frame_next(buf_data(&b), KERNEL_FROM_VIEWER, &f, &used), 1);
	struct kernel_attach a2 = kernel_get_attach(f.payload);
	assert_memory_equal(&a2, &a, sizeof(a));
	assert_int_equal(kernel_frame_next(buf_data(&b), KERNEL_FROM_HOLD, &f, &used), TL_E_PROTO);
	buf_clear(&b);
	struct kernel_attached d = {1, 2, UINT64_MAX - 1, KERNEL_GAP};
	kernel_put_attached(&b, &d);
	assert_int_equal(kernel_frame_next(buf_data(&b), KERNEL_FROM_HOLD, &f, &used), 1);
	struct kernel_attached d2 = kernel_get_attached(f.payload);
	assert_true(d2.first_off == 1 && d2.from_off == 2 && d2.end_off == d.end_off &&
		    d2.flags == KERNEL_GAP);
	buf_clear(&b);
	assert_int_equal(kernel_put_pieces(&b, KERNEL_FRAME_ANSWER, bytes_of(text, sizeof(text))),
			 0);
	size_t sizes[] = {16384, 16384, 40000 - 32768, 0};
	for (size_t i = 0; i < 4; i++) {
		assert_int_equal(kernel_frame_next(buf_data(&b), KERNEL_FROM_HOLD, &f, &used), 1);
		assert_int_equal(f.payload.n, sizes[i]);
		buf_consume(&b, used);
	}
	assert_int_equal(
	    kernel_frame_next(bytes_of("\x63\x00\x00\x00", 4), KERNEL_FROM_HOLD, &f, &used), 1);
	assert_false(f.known);
	assert_int_equal(
	    kernel_frame_next(bytes_of("\x43\x00\x40\x01", 4), KERNEL_FROM_HOLD, &f, &used),
	    TL_E_PROTO);
	buf_fini(&b);
}

static void test_records(void **state)
{
	struct buf b;
	struct kernel_record r;
	size_t used;
	(void)state;
	buf_init(&b, MAX);
	const struct tl_bytes parts[] = {bytes_str("ab"), bytes_of("", 0), bytes_str("c")};
	static const uint8_t want[] =
	    "\x00\x00\x00\x1b\x01\x02\x00\x03\x00\x00\x00\x00\x00\x00\x00\x07"
	    "\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00\x01"
	    "abc";
	assert_int_equal(kernel_record_put(&b, KERNEL_RECORD_MESSAGE, 2, 7, parts, 3), 0);
	assert_int_equal(b.len, sizeof(want) - 1);
	assert_memory_equal(buf_data(&b).p, want, sizeof(want) - 1);
	for (size_t n = 0; n < b.len; n++)
		assert_int_equal(kernel_record_next(bytes_of(want, n), &r, &used), 0);
	assert_int_equal(kernel_record_next(buf_data(&b), &r, &used), 1);
	assert_int_equal(used, b.len);
	assert_memory_equal(kernel_record_part(&r, 2).p, "c", 1);
	uint8_t bad[sizeof(want)];
	memcpy(bad, want, sizeof(want));
	bad[19] = 3; /* the sizes no longer agree */
	assert_int_equal(kernel_record_next(bytes_of(bad, sizeof(bad)), &r, &used), TL_E_PROTO);
	bad[3] = 4;
	assert_int_equal(kernel_record_next(bytes_of(bad, sizeof(bad)), &r, &used), TL_E_PROTO);
	memset(bad, 0xff, 4);
	assert_int_equal(kernel_record_next(bytes_of(bad, 4), &r, &used), TL_E_LIMIT);
	buf_fini(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_greeting_bytes),
	    cmocka_unit_test(test_messages_any_cut),
	    cmocka_unit_test(test_too_large_and_too_many_are_walked_over),
	    cmocka_unit_test(test_ping_is_answered_and_the_unknown_skipped),
	    cmocka_unit_test(test_bad_peers),
	    cmocka_unit_test(test_signature),
	    cmocka_unit_test(test_open_checks),
	    cmocka_unit_test(test_put_and_open),
	    cmocka_unit_test(test_frames),
	    cmocka_unit_test(test_records),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
