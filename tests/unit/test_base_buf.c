/* test_base_buf.c - base/buf.h: order, bounds, memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/err.h"

static void test_integers_and_strings(void **state)
{
	struct buf b;
	(void)state;
	buf_init(&b, 64);
	assert_int_equal(buf_put_u8(&b, 0x01), 0);
	assert_int_equal(buf_put_u16(&b, 0x0203), 0);
	assert_int_equal(buf_put_u32(&b, 0x04050607), 0);
	assert_int_equal(buf_put_u64(&b, 0x08090a0b0c0d0e0fu), 0);
	assert_int_equal(buf_put_string(&b, "ab", 2), 0);
	assert_int_equal(buf_put_str(&b, "c"), 0);
	static const uint8_t want[] = {1,  2,  3,  4,  5, 6, 7, 8, 9,   10,  11,
				       12, 13, 14, 15, 0, 0, 0, 2, 'a', 'b', 'c'};
	assert_int_equal(b.len, sizeof(want));
	assert_memory_equal(buf_data(&b).p, want, sizeof(want));
	buf_fini(&b);
}

static void test_limit_changes_nothing(void **state)
{
	struct buf b;
	(void)state;
	buf_init(&b, 10);
	assert_int_equal(buf_put(&b, "12345678", 8), 0);
	assert_int_equal(buf_put(&b, "abc", 3), TL_E_LIMIT);
	assert_int_equal(buf_put_u32(&b, 1), TL_E_LIMIT);
	assert_int_equal(buf_put_string(&b, "", 0), TL_E_LIMIT);
	assert_int_equal(buf_printf(&b, "%s", "abc"), TL_E_LIMIT);
	assert_null(buf_reserve(&b, 3));
	assert_int_equal(b.len, 8);
	assert_int_equal(buf_room(&b), 2);
	assert_int_equal(buf_printf(&b, "%d", 90), 0);
	assert_memory_equal(buf_data(&b).p, "1234567890", 10);
	assert_string_equal(buf_cstr(&b), "1234567890");
	buf_fini(&b);
}

/* A queue that is always nearly full: what is consumed in front must become room again. */
static void test_queue_at_its_limit(void **state)
{
	struct buf b;
	uint8_t in = 0, out = 0;
	(void)state;
	buf_init(&b, 100);
	for (int round = 0; round < 10000; round++) {
		size_t n = (size_t)(rand() % 40);
		for (size_t i = 0; i < n; i++)
			if (buf_put_u8(&b, in) == 0)
				in++;
		n = (size_t)(rand() % 40);
		if (n > b.len)
			n = b.len;
		for (size_t i = 0; i < n; i++)
			assert_int_equal(buf_data(&b).p[i], (uint8_t)(out + i));
		buf_consume(&b, n);
		out = (uint8_t)(out + n);
		assert_true(b.off + b.len <= b.cap);
		assert_true(b.cap <= b.max + 1);
	}
	buf_fini(&b);
}

static void test_memory_given_back(void **state)
{
	struct buf b;
	(void)state;
	buf_init(&b, 1 << 20);
	assert_int_equal(buf_data(&b).n, 0);
	assert_non_null(buf_data(&b).p);
	uint8_t *p = buf_reserve(&b, 5000);
	assert_non_null(p);
	memset(p, 'x', 5000);
	buf_commit(&b, 5000);
	buf_shrink(&b);
	assert_non_null(b.p);
	buf_consume(&b, 5000);
	buf_shrink(&b);
	assert_null(b.p);
	assert_string_equal(buf_cstr(&b), "");
	buf_fini(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_integers_and_strings),
	    cmocka_unit_test(test_limit_changes_nothing),
	    cmocka_unit_test(test_queue_at_its_limit),
	    cmocka_unit_test(test_memory_given_back),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
