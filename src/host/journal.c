/* journal.c - see journal.h. A file is written in large pieces, when the tail in memory is full. */
#include "host/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/log.h"

#define MARKS 512 /* about so many for all that is kept */

void journal_init(struct journal *j, int fd, size_t file_max, size_t memory_max, size_t tail_max)
{
	*j = (struct journal){
	    .fd = fd, .file_max = file_max, .memory_max = memory_max, .tail_max = tail_max};
	ring_init(&j->tail, fd >= 0 ? tail_max : memory_max, 0);
}

void journal_fini(struct journal *j)
{
	ring_fini(&j->tail);
	free(j->mark);
	if (j->fd >= 0)
		close(j->fd);
	j->fd = -1;
}

static size_t journal_max(const struct journal *j)
{
	return j->fd >= 0 ? j->file_max : j->memory_max;
}

/* ---- marks ---- */

static void marks_trim(struct journal *j)
{
	size_t n = 0;
	while (n < j->marks && j->mark[n] < j->base_off)
		n++;
	memmove(j->mark, j->mark + n, (j->marks - n) * sizeof(*j->mark));
	j->marks -= n;
}

static int mark_here(struct journal *j)
{
	uint64_t here = journal_next(j);
	if (j->marks && here - j->mark[j->marks - 1] < journal_max(j) / MARKS)
		return 0;
	if (j->marks == j->marks_cap) {
		size_t cap = j->marks_cap ? j->marks_cap * 2 : 16;
		uint64_t *p = realloc(j->mark, cap * sizeof(*p));
		if (!p)
			return TL_E_NOMEM;
		j->mark = p;
		j->marks_cap = cap;
	}
	j->mark[j->marks++] = here;
	return 0;
}

/* Forgets whole records until at most `keep` bytes before next are left, perhaps fewer. */
static void journal_drop(struct journal *j, size_t keep)
{
	uint64_t next = journal_next(j), least = next > keep ? next - keep : 0;
	size_t i = 0;
	if (j->base_off >= least)
		return;
	while (i < j->marks && j->mark[i] < least)
		i++;
	j->base_off = i < j->marks ? j->mark[i] : next;
	if (j->tail.base_off < j->base_off)
		ring_trim(&j->tail, j->base_off);
	marks_trim(j);
}

/* ---- the file ---- */

/* The disk is full or broken: from now on memory alone, and what only the file had is gone. */
static void file_give_up(struct journal *j)
{
	log_warn("a session's log leaves its file: %s", strerror(errno));
	close(j->fd);
	j->fd = -1;
	j->tail.max = j->memory_max;
	journal_drop(j, ring_len(&j->tail));
}

static bool file_write(struct journal *j, uint64_t off, struct tl_bytes b)
{
	while (b.n) {
		uint64_t at = off % j->file_max;
		size_t n = b.n < j->file_max - at ? b.n : (size_t)(j->file_max - at);
		ssize_t got = pwrite(j->fd, b.p, n, (off_t)at);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0) {
			errno = got ? errno : ENOSPC;
			return false;
		}
		off += (uint64_t)got;
		b = bytes_of(b.p + got, b.n - (size_t)got);
	}
	return true;
}

/* Moves the oldest n bytes of the tail into the file. */
static bool file_take(struct journal *j, size_t n)
{
	uint64_t to = j->tail.base_off + n;
	while (j->tail.base_off < to) {
		struct tl_bytes b = ring_peek(&j->tail, j->tail.base_off);
		if (b.n > to - j->tail.base_off)
			b.n = (size_t)(to - j->tail.base_off);
		if (!file_write(j, j->tail.base_off, b)) {
			file_give_up(j);
			return false;
		}
		ring_trim(&j->tail, j->tail.base_off + b.n);
	}
	return true;
}

int journal_file(const char *fallback_dir)
{
	const char *dirs[] = {"/var/tmp", fallback_dir, "/tmp"};
	char path[TL_LIMIT_PATH];
	for (size_t i = 0; i < sizeof(dirs) / sizeof(dirs[0]); i++) {
		int fd = open(dirs[i], O_TMPFILE | O_RDWR | O_CLOEXEC | O_EXCL, 0600);
		if (fd >= 0)
			return fd;
		snprintf(path, sizeof(path), "%s/towline-XXXXXX", dirs[i]);
		fd = mkostemp(path, O_CLOEXEC);
		if (fd >= 0) {
			unlink(path);
			return fd;
		}
	}
	return -1;
}

/* ---- writing ---- */

/* A record that the tail cannot hold goes straight into the file. */
static bool put_through(struct journal *j, const struct tl_bytes *pieces, size_t n)
{
	uint64_t off;
	if (!file_take(j, ring_len(&j->tail)))
		return false;
	off = journal_next(j);
	for (size_t i = 0; i < n; i++) {
		if (!file_write(j, off, pieces[i])) {
			file_give_up(j);
			return false;
		}
		off += pieces[i].n;
	}
	ring_fini(&j->tail);
	ring_init(&j->tail, j->tail_max, off);
	return true;
}

static int put_tail(struct journal *j, const struct tl_bytes *pieces, size_t n)
{
	uint64_t before = journal_next(j);
	for (size_t i = 0; i < n; i++) {
		int rc = ring_put(&j->tail, pieces[i].p, pieces[i].n);
		if (rc) {
			j->tail.next_off = before;
			return rc;
		}
	}
	return 0;
}

int journal_put(struct journal *j, const struct tl_bytes *pieces, size_t n)
{
	size_t size = 0;
	int rc;
	for (size_t i = 0; i < n; i++)
		size += pieces[i].n;
	if (size > journal_max(j) / 2)
		return TL_E_LIMIT;
	journal_drop(j, journal_max(j) - size);
	rc = mark_here(j);
	if (rc)
		return rc;
	if (j->fd >= 0 && size > j->tail_max / 2) {
		if (put_through(j, pieces, n))
			return 0;
	} else if (j->fd >= 0 && ring_room(&j->tail) < size) {
		file_take(j, j->tail_max / 2);
	}
	if (j->fd < 0) { /* perhaps only now */
		if (size > j->memory_max / 2)
			return TL_E_LIMIT;
		journal_drop(j, j->memory_max - size);
		mark_here(j);
	}
	return put_tail(j, pieces, n);
}

/* ---- reading ---- */

long journal_read(struct journal *j, uint64_t off, void *p, size_t n)
{
	tl_assert(off >= j->base_off && off <= journal_next(j));
	if (off >= j->tail.base_off) {
		struct tl_bytes b = ring_peek(&j->tail, off);
		n = n < b.n ? n : b.n;
		memcpy(p, b.p, n);
		return (long)n;
	}
	uint64_t at = off % j->file_max;
	if (n > j->tail.base_off - off)
		n = (size_t)(j->tail.base_off - off);
	if (n > j->file_max - at)
		n = (size_t)(j->file_max - at);
	ssize_t got;
	do
		got = pread(j->fd, p, n, (off_t)at);
	while (got < 0 && errno == EINTR);
	return got > 0 ? (long)got : TL_E_IO;
}

static bool read_all(struct journal *j, uint64_t off, uint8_t *p, size_t n)
{
	while (n) {
		long got = journal_read(j, off, p, n);
		if (got <= 0)
			return false;
		off += (uint64_t)got;
		p += got;
		n -= (size_t)got;
	}
	return true;
}

uint64_t journal_boundary(struct journal *j, uint64_t off)
{
	uint64_t at = j->base_off, next = journal_next(j);
	uint8_t head[4];
	if (off <= at)
		return at;
	if (off >= next)
		return next;
	for (size_t i = 0; i < j->marks && j->mark[i] <= off; i++)
		at = j->mark[i];
	while (at < off) {
		if (!read_all(j, at, head, sizeof(head)))
			return next;
		at += 4 + (uint64_t)get_u32(head);
	}
	return at;
}
