/* test_shell_input.c - what is typed in `towline shell` reaches a hold once, however its streams
 * break. The hold is a model: it takes bytes of one sequence and skips what it has. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/err.h"
#include "cmd/shell_input.h"

#define TYPED 700000

struct model {
	bool old;          /* knows nothing of INPUT_ID */
	uint64_t took_off; /* of the sequence */
	uint64_t at_off;   /* of this stream */
	bool wrong;        /* a byte came that is not the one expected */
};

static uint8_t typed(uint64_t off)
{
	return (uint8_t)(off * 7 + off / 251);
}

/* Obeys the frames in out, at most until_bytes of them (a stream may break anywhere). */
static void model_feed(struct model *m, struct buf *out, size_t until_bytes)
{
	struct hold_frame f;
	size_t used;
	struct tl_bytes in =
	    bytes_of(buf_data(out).p, out->len < until_bytes ? out->len : until_bytes);
	while (hold_frame_next(in, HOLD_FROM_VIEWER, &f, &used) == 1) {
		if (f.type == HOLD_FRAME_INPUT_ID) {
			assert_true(hold_get_input_id(f.payload).id == 77);
			m->at_off = hold_get_input_id(f.payload).from_off;
			assert_true(m->old || m->at_off <= m->took_off);
		}
		for (size_t i = 0; f.type == HOLD_FRAME_INPUT && i < f.payload.n;
		     i++, m->at_off++) {
			if (m->at_off < m->took_off)
				continue;
			m->wrong |= f.payload.p[i] != typed(m->at_off);
			m->took_off = m->at_off + 1;
		}
		in = bytes_of(in.p + used, in.n - used);
	}
	buf_clear(out);
}

static void type_up_to(struct shell_input *in, uint64_t *next, size_t n)
{
	while (n && shell_input_room(in) && *next < TYPED) {
		uint8_t b = typed((*next)++);
		assert_int_equal(shell_input_type(in, &b, 1), 0);
		n--;
	}
}

/* Streams that break after any number of bytes, acknowledgements that come late or never. */
static void test_every_byte_once(void **state)
{
	(void)state;
	for (uint32_t seed = 1; seed <= 10; seed++) {
		struct shell_input in;
		struct model m = {0};
		struct buf out;
		uint64_t next = 0;
		uint32_t r = seed * 2654435761u;
		buf_init(&out, 65536);
		shell_input_init(&in, 77);
		assert_int_equal(shell_input_begin(&in, &out), 0);
		while (m.took_off < TYPED) {
			r = r * 1664525u + 1013904223u;
			type_up_to(&in, &next, r >> 18);
			assert_int_equal(shell_input_send(&in, &out, 32768), 0);
			if ((r >> 8) % 5) {
				model_feed(&m, &out, SIZE_MAX);
				if ((r >> 16) % 3)
					assert_int_equal(shell_input_acked(&in, m.took_off), 0);
				continue;
			}
			/* only a part of it arrives; all later frames are lost with the stream */
			model_feed(&m, &out, (r >> 11) % 65536);
			assert_int_equal(shell_input_begin(&in, &out), 0);
			shell_input_attached(&in);
			in.hold = SHELL_INPUT_COUNTS;
		}
		assert_false(m.wrong);
		assert_int_equal(shell_input_acked(&in, TYPED), 0);
		assert_int_equal(shell_input_send(&in, &out, 32768), 0);
		shell_input_fini(&in);
		buf_fini(&out);
	}
}

static void test_full_until_acknowledged(void **state)
{
	struct shell_input in;
	struct buf out;
	uint64_t next = 0;
	(void)state;
	buf_init(&out, 1 << 20);
	shell_input_init(&in, 77);
	shell_input_begin(&in, &out);
	type_up_to(&in, &next, TYPED);
	assert_int_equal(next, TL_LIMIT_TERM_INPUT);
	assert_int_equal(shell_input_send(&in, &out, 1 << 20), 0);
	assert_int_equal(shell_input_room(&in), 0);
	assert_int_equal(shell_input_type(&in, "x", 1), TL_E_LIMIT);
	assert_int_equal(shell_input_acked(&in, 1000), 0);
	assert_int_equal(shell_input_room(&in), 1000);
	/* nobody typed that */
	assert_int_equal(shell_input_acked(&in, TL_LIMIT_TERM_INPUT + 1), TL_E_PROTO);
	shell_input_fini(&in);
	buf_fini(&out);
}

/* A hold of an earlier version never acknowledges: typing must not stop after TERM_INPUT bytes. */
static void test_old_hold(void **state)
{
	struct shell_input in;
	struct model m = {.old = true};
	struct buf out;
	uint64_t next = 0;
	(void)state;
	buf_init(&out, 65536);
	shell_input_init(&in, 77);
	shell_input_begin(&in, &out);
	/* typed before the hold has said what it is */
	type_up_to(&in, &next, 3);
	shell_input_send(&in, &out, 32768);
	assert_int_equal(shell_input_waiting(&in), 3);
	shell_input_attached(&in);
	assert_int_equal(shell_input_waiting(&in), 0);
	while (next < TYPED) {
		type_up_to(&in, &next, 9999);
		shell_input_send(&in, &out, 32768);
		model_feed(&m, &out, SIZE_MAX);
	}
	assert_true(m.took_off == TYPED && !m.wrong);
	/* over a new stream only what was typed meanwhile */
	shell_input_type(&in, "abc", 3);
	buf_clear(&out);
	shell_input_begin(&in, &out);
	shell_input_send(&in, &out, 32768);
	assert_int_equal(out.len, 20 + 4 + 3);
	shell_input_fini(&in);
	buf_fini(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_every_byte_once),
	    cmocka_unit_test(test_full_until_acknowledged),
	    cmocka_unit_test(test_old_hold),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
