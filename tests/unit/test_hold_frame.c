/* test_hold_frame.c - the codec of terminals' frames, and the search for titles in their output. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/err.h"
#include "doc_example.h"
#include "host/hold_title.h"
#include "wire/hold_frame.h"

static void test_round_trips(void **state)
{
	struct buf b;
	struct hold_frame f;
	size_t used;
	(void)state;
	buf_init(&b, 4096);
	struct hold_attach a = {0x0102030405060708, 9, 10};
	struct hold_attached d = {1, 2, UINT64_MAX - 1, 80, 24, HOLD_GAP | HOLD_EXITED};
	assert_int_equal(hold_put_attach(&b, &a), 0);
	assert_int_equal(hold_frame_next(buf_data(&b), HOLD_FROM_VIEWER, &f, &used), 1);
	struct hold_attach a2 = hold_get_attach(f.payload);
	assert_memory_equal(&a2, &a, sizeof(a));
	assert_int_equal(used, 20);
	buf_clear(&b);
	assert_int_equal(hold_put_input_id(&b, (struct hold_input_id){UINT64_MAX, 1ULL << 40}), 0);
	assert_int_equal(hold_frame_next(buf_data(&b), HOLD_FROM_VIEWER, &f, &used), 1);
	assert_int_equal(f.type, HOLD_FRAME_INPUT_ID);
	assert_true(hold_get_input_id(f.payload).id == UINT64_MAX);
	assert_true(hold_get_input_id(f.payload).from_off == 1ULL << 40);
	buf_clear(&b);
	assert_int_equal(hold_put_attached(&b, &d), 0);
	assert_int_equal(hold_frame_next(buf_data(&b), HOLD_FROM_HOLD, &f, &used), 1);
	struct hold_attached d2 = hold_get_attached(f.payload);
	assert_true(d2.first_off == 1 && d2.from_off == 2 && d2.end_off == d.end_off &&
		    d2.cols == 80 && d2.rows == 24 && d2.flags == 3);
	buf_clear(&b);
	hold_put_size(&b, HOLD_FRAME_RESIZE, (struct hold_size){132, 50});
	assert_int_equal(hold_frame_next(buf_data(&b), HOLD_FROM_VIEWER, &f, &used), 1);
	assert_int_equal(hold_get_size(f.payload).cols, 132);
	assert_int_equal(hold_get_size(f.payload).rows, 50);
	buf_clear(&b);
	hold_put_offset(&b, HOLD_FRAME_GAP, 1ULL << 40);
	assert_int_equal(hold_frame_next(buf_data(&b), HOLD_FROM_HOLD, &f, &used), 1);
	assert_true(hold_get_offset(f.payload) == 1ULL << 40);
	buf_clear(&b);
	hold_put_exit(&b, (struct hold_exit){HOLD_EXIT_SIGNAL, 9});
	assert_int_equal(hold_frame_next(buf_data(&b), HOLD_FROM_HOLD, &f, &used), 1);
	assert_int_equal(hold_get_exit(f.payload).kind, 1);
	assert_int_equal(hold_get_exit(f.payload).value, 9);
	buf_fini(&b);
}

/* Exact bytes, so that both sides of an upgrade mean the same. */
static void test_bytes(void **state)
{
	static const uint8_t want[] = {2, 0, 0, 3, 'l', 's', '\n', 4, 0, 0, 1, 15};
	struct buf b;
	(void)state;
	buf_init(&b, 64);
	hold_put(&b, HOLD_FRAME_INPUT, "ls\n", 3);
	hold_put(&b, HOLD_FRAME_SIGNAL, "\x0f", 1);
	assert_int_equal(b.len, sizeof(want));
	assert_memory_equal(buf_data(&b).p, want, sizeof(want));
	buf_fini(&b);
}

static void test_examples_of_the_document(void **state)
{
	uint8_t want[64];
	struct buf b;
	(void)state;
	buf_init(&b, 64);
	hold_put_input_id(&b, (struct hold_input_id){1, 7});
	assert_int_equal(b.len, doc_example("input-id", want, sizeof(want)));
	assert_memory_equal(buf_data(&b).p, want, b.len);
	buf_clear(&b);
	hold_put_offset(&b, HOLD_FRAME_INPUT_ACKED, 10);
	assert_int_equal(b.len, doc_example("input-acked", want, sizeof(want)));
	assert_memory_equal(buf_data(&b).p, want, b.len);
	buf_fini(&b);
}

static void test_incomplete_and_wrong(void **state)
{
	static const struct {
		uint8_t in[8];
		size_t n;
		enum hold_direction from;
		int rc;
	} rows[] = {
	    {{1, 0, 0}, 3, HOLD_FROM_VIEWER, 0},
	    {{2, 0, 0, 2, 'x'}, 5, HOLD_FROM_VIEWER, 0},
	    {{1, 0, 0, 15}, 4, HOLD_FROM_VIEWER, TL_E_PROTO}, /* wrong fixed length */
	    {{8, 0, 0, 8}, 4, HOLD_FROM_VIEWER, TL_E_PROTO},
	    {{71, 0, 0, 8}, 4, HOLD_FROM_VIEWER, TL_E_PROTO},
	    {{8, 0, 0, 16}, 4, HOLD_FROM_HOLD, TL_E_PROTO},
	    {{2, 0, 0x40, 1}, 4, HOLD_FROM_VIEWER, TL_E_PROTO}, /* one byte too long */
	    {{66, 0, 0, 1}, 4, HOLD_FROM_VIEWER, TL_E_PROTO},   /* the other side's */
	    {{2, 0, 0, 1, 'x'}, 5, HOLD_FROM_HOLD, TL_E_PROTO},
	    {{0, 0, 0, 0}, 4, HOLD_FROM_VIEWER, 1}, /* unknown: to be skipped */
	    {{200, 0, 0, 1, 'x'}, 5, HOLD_FROM_HOLD, 1},
	};
	struct hold_frame f;
	size_t used;
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_int_equal(
		    hold_frame_next(bytes_of(rows[i].in, rows[i].n), rows[i].from, &f, &used),
		    rows[i].rc);
	assert_false(f.known);
	assert_int_equal(used, 5);
}

static void test_limits(void **state)
{
	static uint8_t big[TL_LIMIT_TERM_FRAME + 1];
	struct buf b;
	(void)state;
	buf_init(&b, HOLD_FRAME_MAX);
	assert_int_equal(hold_put(&b, HOLD_FRAME_DATA, big, sizeof(big)), TL_E_LIMIT);
	assert_int_equal(hold_put(&b, HOLD_FRAME_DATA, big, sizeof(big) - 1), 0);
	assert_int_equal(hold_put(&b, HOLD_FRAME_DATA, big, 0), TL_E_LIMIT);
	assert_int_equal(b.len, HOLD_FRAME_MAX);
	buf_fini(&b);
	assert_string_equal(hold_frame_name(HOLD_FRAME_EXIT), "EXIT");
	assert_string_equal(hold_frame_name(99), "unknown");
}

/* The same answer whatever way the output is cut. */
static void title_is(const char *out, const char *want)
{
	size_t n = strlen(out);
	for (size_t cut = 1; cut <= n; cut++) {
		struct hold_title t = {0};
		for (size_t at = 0; at < n; at += cut)
			hold_title_feed(&t, bytes_of(out + at, n - at < cut ? n - at : cut));
		assert_string_equal(t.title, want);
	}
}

static void test_titles(void **state)
{
	(void)state;
	title_is("plain text", "");
	title_is("\033]0;one\a", "one");
	title_is("x\033]2;two\033\\y", "two");
	title_is("\033]0;one\a\033]2;\033\\", "");
	title_is("\033]1;icon\a", "");
	title_is("\033]02;no\a\033]22;no\a", "");
	title_is("\033]52;c;QQ==\a\033]0;t\a", "t");
	title_is("\033]0;never ends \033[1mbold\033]0;real\a", "real");
	title_is("\033\033]0;esc\a", "esc");
	title_is("\033]0;can\030celed\a", "");
	title_is("\033]0;\033]0;inner\a", "inner");
	title_is("\033]0;tab\there\a", "tabhere");
	title_is("\033]0;a;b;c\a", "a;b;c");
	title_is("\033]633;A\a\033]7;file://h/p\a", "");
	title_is("\033]l\a\033]0;ok\a", "ok");
}

static void test_long_title_is_cut(void **state)
{
	struct hold_title t = {0};
	char out[1000];
	(void)state;
	memset(out, 'x', sizeof(out));
	memcpy(out, "\033]0;", 4);
	out[sizeof(out) - 1] = '\a';
	hold_title_feed(&t, bytes_of(out, sizeof(out)));
	assert_int_equal(strlen(t.title), HOLD_TITLE_MAX - 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_round_trips),
	    cmocka_unit_test(test_bytes),
	    cmocka_unit_test(test_examples_of_the_document),
	    cmocka_unit_test(test_incomplete_and_wrong),
	    cmocka_unit_test(test_limits),
	    cmocka_unit_test(test_titles),
	    cmocka_unit_test(test_long_title_is_cut),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
