/* test_base_ring.c - base/ring.h: offsets mean the same bytes through growth, wrap and dropping. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/ring.h"

static uint8_t byte_at(uint64_t off)
{
	return (uint8_t)(off * 2654435761u >> 7);
}

static void put(struct ring *r, size_t n, bool drop)
{
	uint8_t block[40000];
	for (size_t i = 0; i < n; i++)
		block[i] = byte_at(r->next_off + i);
	assert_int_equal(drop ? ring_put_drop(r, block, n) : ring_put(r, block, n), 0);
}

static void check(const struct ring *r)
{
	assert_true(ring_len(r) <= r->max);
	assert_true(r->cap <= r->max);
	for (uint64_t off = r->base_off; off < r->next_off;) {
		struct tl_bytes part = ring_peek(r, off);
		assert_true(part.n > 0);
		for (size_t i = 0; i < part.n; i++)
			assert_int_equal(part.p[i], byte_at(off + i));
		off += part.n;
	}
	assert_int_equal(ring_peek(r, r->next_off).n, 0);
}

static void test_put_and_trim(void **state)
{
	struct ring r;
	(void)state;
	/* near the end of 32 bits: offsets are 64 bits wide */
	ring_init(&r, 16384, 0xfffffff0u);
	for (int round = 0; round < 2000; round++) {
		size_t n = (size_t)rand() % 5000;
		if (n <= ring_room(&r))
			put(&r, n, false);
		else
			assert_int_equal(ring_put(&r, "", n), TL_E_LIMIT);
		if (round % 50 == 0)
			check(&r);
		ring_trim(&r, r.base_off + (uint64_t)rand() % (ring_len(&r) + 1));
		if (round % 100 == 99) {
			check(&r);
			ring_trim(&r, r.next_off);
			ring_shrink(&r);
			assert_null(r.p);
		}
	}
	assert_true(r.next_off > UINT32_MAX);
	ring_fini(&r);
}

static void test_put_drop(void **state)
{
	struct ring r;
	(void)state;
	ring_init(&r, 8192, 5);
	put(&r, 100, true);
	check(&r);
	assert_int_equal(r.base_off, 5);
	put(&r, 40000, true);
	check(&r);
	assert_int_equal(ring_len(&r), 8192);
	assert_int_equal(r.next_off, 40105);
	for (int round = 0; round < 500; round++) {
		uint64_t before = r.next_off;
		size_t n = (size_t)rand() % 9000;
		put(&r, n, true);
		assert_int_equal(r.next_off, before + n);
		assert_int_equal(ring_len(&r), 8192);
	}
	check(&r);
	ring_trim(&r, r.next_off - 10);
	put(&r, 8190, true);
	assert_int_equal(ring_len(&r), 8192);
	check(&r);
	ring_fini(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_put_and_trim),
	    cmocka_unit_test(test_put_drop),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
