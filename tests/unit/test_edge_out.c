/* test_edge_out.c - the queue of frames to a browser, and content types. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/err.h"
#include "edge/edge_out.h"
#include "edge/mime.h"

#define MAX 262144

static uint8_t data[3 * MAX];

static void text_is_cut_into_frames(void **state)
{
	struct out_queue q;
	size_t seen = 0;
	int frames = 0;

	(void)state;
	out_init(&q);
	assert_int_equal(out_message(&q, bytes_of(data, 150000), true, 0, MAX), 0);
	assert_int_equal(q.bytes, 150000);
	for (struct out_frame *f; (f = out_head(&q)); frames++) {
		assert_true(f->text);
		assert_int_equal(f->first, frames == 0);
		assert_int_equal(f->last, seen + f->len == 150000);
		assert_memory_equal(out_payload(f), data + seen, f->len);
		seen += f->len;
		out_drop(&q);
	}
	assert_int_equal(seen, 150000);
	assert_int_equal(frames, 3);
	assert_int_equal(q.bytes, 0);
	out_fini(&q);
}

static void text_beyond_the_limit_changes_nothing(void **state)
{
	struct out_queue q;

	(void)state;
	out_init(&q);
	assert_int_equal(out_message(&q, bytes_of(data, MAX + 1), true, 0, MAX), TL_E_LIMIT);
	assert_null(out_head(&q));
	assert_int_equal(out_message(&q, bytes_of(data, MAX), true, 0, MAX), 0);
	assert_int_equal(out_message(&q, bytes_of(data, 1), true, 0, MAX), TL_E_LIMIT);
	assert_int_equal(q.bytes, MAX);
	out_fini(&q);
}

static void stream_takes_what_fits_in_order(void **state)
{
	struct out_queue q;
	size_t put = 0, got = 0, step = 1;

	(void)state;
	out_init(&q);
	assert_int_equal(out_message(&q, bytes_of(data, 10), true, 0, MAX), 0);
	while (got < sizeof(data)) {
		struct out_frame *f;
		size_t want = step % 70001 < sizeof(data) - put ? step % 70001 : sizeof(data) - put;
		size_t n = out_stream(&q, bytes_of(data + put, want), MAX);
		assert_true(n <= want && q.bytes <= MAX);
		put += n;
		step = step * 7 + 3;
		if (n == want && put < sizeof(data))
			continue;
		f = out_head(&q);
		assert_non_null(f);
		assert_true(f->len > 0 && f->len <= OUT_FRAME);
		if (!f->text) {
			assert_true(f->first && f->last);
			assert_memory_equal(out_payload(f), data + got, f->len);
			got += f->len;
		}
		out_drop(&q);
	}
	assert_int_equal(got, sizeof(data));
	assert_int_equal(out_stream(&q, bytes_of(data, 0), MAX), 0);
	out_fini(&q);
}

static void small_writes_share_a_frame(void **state)
{
	struct out_queue q;

	(void)state;
	out_init(&q);
	for (int i = 0; i < 100; i++)
		assert_int_equal(out_stream(&q, bytes_of(data + i, 1), MAX), 1);
	assert_int_equal(out_head(&q)->len, 100);
	out_fini(&q);
}

static void types(void **state)
{
	static const char *const cases[][2] = {
	    {"/a/b.js", "text/javascript; charset=utf-8"},
	    {"/x.HTML", "text/html; charset=utf-8"},
	    {"/assets/f.woff2", "font/woff2"},
	    {"/a.js/b", "application/octet-stream"},
	    {"/a.", "application/octet-stream"},
	    {"/.js", "text/javascript; charset=utf-8"},
	    {"", "application/octet-stream"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_string_equal(mime_of(cases[i][0]), cases[i][1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(text_is_cut_into_frames),
	    cmocka_unit_test(text_beyond_the_limit_changes_nothing),
	    cmocka_unit_test(stream_takes_what_fits_in_order),
	    cmocka_unit_test(small_writes_share_a_frame),
	    cmocka_unit_test(types),
	};

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 31 + (i >> 8));
	return cmocka_run_group_tests(tests, NULL, NULL);
}
