/* journal.h - the bounded log of one session: whole records, addressed by the 64-bit offset of
 * their first byte. The newest part is in memory, the rest in a nameless file that is used as a
 * ring; where no file can be had, or its disk is full, memory alone, and less of it. Owns both.
 * Invariants: base <= tail.base_off <= next; base is the beginning of a record; everything from
 * base on can be read. */
#ifndef TL_HOST_JOURNAL_H
#define TL_HOST_JOURNAL_H

#include "base/err.h"
#include "base/ring.h"

struct journal {
	struct ring tail; /* [tail.base_off, next) */
	int fd;           /* [base, tail.base_off), at offset % file_max; -1: none */
	size_t file_max, memory_max, tail_max;
	uint64_t base_off;
	uint64_t
	    *mark; /* beginnings of records, far apart, ascending; the first is base or above */
	size_t marks, marks_cap;
};

/* file_max: most bytes kept with a file; memory_max: without; tail_max: in memory with a file (both
 * powers of two). fd: an empty regular file, taken; -1 for none. */
void journal_init(struct journal *j, int fd, size_t file_max, size_t memory_max, size_t tail_max);
void journal_fini(struct journal *j);
/* Appends one record given in n pieces. 0; TL_E_LIMIT: larger than half of what is kept, it was not
 * taken; TL_E_NOMEM. */
int journal_put(struct journal *j, const struct tl_bytes *pieces, size_t n);
static inline uint64_t journal_next(const struct journal *j)
{
	return j->tail.next_off;
}
/* Up to n bytes from off on (base <= off <= next) into p; how many: 0 at the end, or TL_E_IO. */
long journal_read(struct journal *j, uint64_t off, void *p, size_t n);
/* The beginning of the first record at or after off; base and next bound it. */
uint64_t journal_boundary(struct journal *j, uint64_t off);
/* A nameless file for a journal: in TMPDIR's stead a disk is preferred. -1: none to be had. */
int journal_file(const char *fallback_dir);

#endif
