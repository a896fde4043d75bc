/* test_journal.c - the log of a session against a model that keeps everything: with a file,
 * without, and with a disk that fills up. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <signal.h>
#include <unistd.h>

#include <cmocka.h>

#include "host/journal.h"

#define FILE_MAX   65536
#define MEMORY_MAX 16384
#define TAIL_MAX   4096
#define ALL_MAX    (4 << 20)

/* Everything ever put, and where records begin. */
struct model {
	uint8_t *all;
	uint64_t n, start[200000];
	size_t records;
};

static struct model *model_new(void)
{
	struct model *m = calloc(1, sizeof(*m));
	m->all = malloc(ALL_MAX);
	return m;
}

static void model_free(struct model *m)
{
	free(m->all);
	free(m);
}

/* A record of size bytes (its length word included) in three pieces. */
static int put(struct journal *j, struct model *m, size_t size, unsigned fill)
{
	static uint8_t rec[FILE_MAX];
	memset(rec, (int)fill, size);
	set_u32(rec, (uint32_t)(size - 4));
	const struct tl_bytes p[] = {bytes_of(rec, 3), bytes_of(rec + 3, size / 2 - 3),
				     bytes_of(rec + size / 2, size - size / 2)};
	int rc = journal_put(j, p, 3);
	if (rc)
		return rc;
	memcpy(m->all + m->n, rec, size);
	m->start[m->records++] = m->n;
	m->n += size;
	return 0;
}

static void check(struct journal *j, const struct model *m)
{
	uint8_t got[1000];
	uint64_t off = j->base_off;
	bool is_start = off == m->n;
	assert_int_equal(journal_next(j), m->n);
	for (size_t i = 0; i < m->records; i++)
		is_start |= m->start[i] == off;
	assert_true(is_start);
	while (off < m->n) {
		long n = journal_read(j, off, got, sizeof(got));
		assert_true(n > 0);
		assert_memory_equal(got, m->all + off, (size_t)n);
		off += (uint64_t)n;
	}
	assert_int_equal(journal_read(j, off, got, sizeof(got)), 0);
}

static void check_boundaries(struct journal *j, const struct model *m)
{
	for (size_t i = 0; i + 1 < m->records; i++) {
		uint64_t here = m->start[i], next = m->start[i + 1];
		uint64_t want = here < j->base_off ? j->base_off : here;
		assert_int_equal(journal_boundary(j, here), want);
		assert_int_equal(journal_boundary(j, here + 1),
				 here + 1 <= j->base_off ? j->base_off : next);
	}
	assert_int_equal(journal_boundary(j, m->n + 100), m->n);
}

static void fill(int fd, unsigned seed)
{
	struct journal j;
	struct model *m = model_new();
	journal_init(&j, fd, FILE_MAX, MEMORY_MAX, TAIL_MAX);
	srand(seed);
	for (int i = 0; i < 3000 && m->n < ALL_MAX - FILE_MAX; i++) {
		size_t size = 8 + (size_t)rand() % (rand() % 20 ? 200 : 7000);
		assert_int_equal(put(&j, m, size, (unsigned)i), 0);
		assert_true(m->n - j.base_off <= (j.fd >= 0 ? FILE_MAX : MEMORY_MAX));
		if (i % 97 == 0) {
			check(&j, m);
			check_boundaries(&j, m);
		}
	}
	check(&j, m);
	check_boundaries(&j, m);
	/* most of what may be kept is kept */
	assert_true(m->n - j.base_off > (j.fd >= 0 ? FILE_MAX : MEMORY_MAX) / 2);
	journal_fini(&j);
	model_free(m);
}

static void test_with_a_file(void **state)
{
	(void)state;
	for (unsigned seed = 1; seed < 5; seed++) {
		int fd = journal_file("/tmp");
		assert_true(fd >= 0);
		fill(fd, seed);
	}
}

static void test_in_memory(void **state)
{
	(void)state;
	for (unsigned seed = 1; seed < 5; seed++)
		fill(-1, seed);
}

static void test_too_large_is_not_taken(void **state)
{
	struct journal j;
	struct model *m = model_new();
	(void)state;
	journal_init(&j, journal_file("/tmp"), FILE_MAX, MEMORY_MAX, TAIL_MAX);
	put(&j, m, 100, 1);
	assert_int_equal(put(&j, m, FILE_MAX / 2 + 1, 2), TL_E_LIMIT);
	assert_int_equal(put(&j, m, FILE_MAX / 2, 3), 0);
	check(&j, m);
	journal_fini(&j);
	model_free(m);
}

/* The disk takes 20,000 bytes and no more: memory goes on, what only the file had is a gap. */
static void test_full_disk_leaves_memory(void **state)
{
	struct journal j;
	struct model *m = model_new();
	struct rlimit was, low = {20000, RLIM_INFINITY};
	(void)state;
	getrlimit(RLIMIT_FSIZE, &was);
	low.rlim_max = was.rlim_max;
	signal(SIGXFSZ, SIG_IGN);
	journal_init(&j, journal_file("/tmp"), FILE_MAX, MEMORY_MAX, TAIL_MAX);
	setrlimit(RLIMIT_FSIZE, &low);
	for (int i = 0; i < 1000; i++) {
		assert_int_equal(put(&j, m, 150, (unsigned)i), 0);
		check(&j, m);
	}
	setrlimit(RLIMIT_FSIZE, &was);
	assert_int_equal(j.fd, -1);
	check_boundaries(&j, m);
	assert_true(m->n - j.base_off > MEMORY_MAX / 2);
	journal_fini(&j);
	model_free(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_with_a_file),
	    cmocka_unit_test(test_in_memory),
	    cmocka_unit_test(test_too_large_is_not_taken),
	    cmocka_unit_test(test_full_disk_leaves_memory),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
