/* svc_fs_read.c - read-file@towline and digest@towline. Owns the descriptor during one request.
 * A regular file is sent as long as it was when it was opened, so the size of the first reply is
 * a promise (shorter only where the file shrank); what has no size (/proc) is sent to its end. */
#include <sha2.h>
#include <stdlib.h>
#include <sys/uio.h>

#include "base/str.h"
#include "host/svc_fs_priv.h"

/* so many replies are filled by one read: 4 bytes length, type, id, more, length of the data */
#define BATCH       8
#define REPLY_HEAD  14
#define FIRST_EXTRA (SFTP_ETAG + 8)
#define DIGEST_BUF  65536

struct reading {
	struct fs_req *q;
	int fd;
	uint64_t off, end;
	bool sized, first;
	struct stat st;
};

/* Opens a file to read; 0 or errno (EISDIR for folders). */
static int open_file(struct fs_req *q, const char *path, struct reading *r)
{
	struct fs_at at;
	int e = fs_at(q->fs, path, true, &at);

	r->fd = -1;
	if (!e) {
		r->fd = fs_at_open(&at, O_RDONLY, 0);
		e = r->fd < 0 ? errno : 0;
	}
	fs_at_close(&at);
	if (!e && fstat(r->fd, &r->st) != 0)
		e = errno;
	if (!e && S_ISDIR(r->st.st_mode))
		e = EISDIR;
	return e;
}

static void set_range(struct reading *r, uint64_t off, uint64_t length)
{
	uint64_t size = (uint64_t)r->st.st_size;

	r->sized = S_ISREG(r->st.st_mode) && size > 0;
	r->off = off;
	r->end = length == 0 || length > UINT64_MAX - off ? UINT64_MAX : off + length;
	if (r->sized && r->end > size)
		r->end = size;
	if (r->end < r->off)
		r->end = r->off;
}

/* Writes the head of one reply of n bytes of data before p. */
static void put_head(struct reading *r, uint8_t *p, size_t n, bool more)
{
	size_t extra = r->first ? FIRST_EXTRA : 0;

	set_u32(p, (uint32_t)(REPLY_HEAD - SFTP_LENGTH + extra + n));
	p[4] = SFTP_EXTENDED_REPLY;
	set_u32(p + 5, r->q->id);
	p[9] = more;
	if (r->first) {
		fs_etag_of(p + 10, &r->st);
		set_u64(p + 10 + SFTP_ETAG, (uint64_t)r->st.st_size);
	}
	set_u32(p + 10 + extra, (uint32_t)n);
	r->first = false;
}

/* One read into the data places of up to BATCH replies; places are at fixed distances from p.
 * > 0 bytes, 0 end, negative errno. */
static ssize_t read_batch(struct reading *r, uint8_t *p, size_t want)
{
	struct iovec v[BATCH];
	size_t at = r->first ? FIRST_EXTRA : 0;
	int n = 0;
	ssize_t got;

	while (want && n < BATCH) {
		size_t part = want < TL_LIMIT_SFTP_CHUNK ? want : TL_LIMIT_SFTP_CHUNK;
		v[n].iov_base = p + at + REPLY_HEAD;
		v[n++].iov_len = part;
		at += REPLY_HEAD + part;
		want -= part;
	}
	do {
		got = preadv(r->fd, v, n, (off_t)r->off);
		if (got < 0 && errno == ESPIPE)
			got = readv(r->fd, v, n);
	} while (got < 0 && errno == EINTR);
	return got < 0 ? -errno : got;
}

/* One round: reads, and puts the replies that came of it. 1 go on, 0 done, negative errno. */
static int round_of(struct reading *r)
{
	struct buf *out = r->q->fs->out;
	size_t most = BATCH * TL_LIMIT_SFTP_CHUNK, want, used = 0;
	uint8_t *p;
	ssize_t got;
	bool last;

	want = r->end - r->off < most ? (size_t)(r->end - r->off) : most;
	if (!fs_room(r->q->fs, want + BATCH * REPLY_HEAD + FIRST_EXTRA))
		return 0;
	p = buf_reserve(out, want + BATCH * REPLY_HEAD + FIRST_EXTRA);
	if (!p) {
		r->q->fs->broken = TL_E_NOMEM;
		return 0;
	}
	got = want ? read_batch(r, p, want) : 0;
	if (got < 0)
		return (int)got;
	r->off += (uint64_t)got;
	/* without a size only nothing means the end */
	last = got == 0 || r->off == r->end || (r->sized && (size_t)got < want);
	do {
		size_t part = (size_t)got < TL_LIMIT_SFTP_CHUNK ? (size_t)got : TL_LIMIT_SFTP_CHUNK;
		size_t extra = r->first ? FIRST_EXTRA : 0;
		got -= (ssize_t)part;
		put_head(r, p + used, part, !(last && got == 0));
		used += REPLY_HEAD + extra + part;
	} while (got > 0);
	buf_commit(out, used);
	fs_push(r->q->fs);
	return last ? 0 : 1;
}

void fs_ext_read_file(struct fs_req *q)
{
	struct reading r = {.q = q, .first = true};
	char path[FS_PATH];
	uint64_t off, length;
	int e;

	sftp_get_cstr(&q->in, path, sizeof(path));
	off = sftp_get_u64(&q->in);
	length = sftp_get_u64(&q->in);
	if (q->in.bad) {
		fs_bad(q);
		return;
	}
	e = open_file(q, path, &r);
	if (!e) {
		set_range(&r, off, length);
#ifdef POSIX_FADV_SEQUENTIAL
		if (r.end - r.off > BATCH * TL_LIMIT_SFTP_CHUNK)
			posix_fadvise(r.fd, 0, 0, POSIX_FADV_SEQUENTIAL);
#endif
		while ((e = round_of(&r)) == 1 && !q->fs->broken)
			;
		e = e < 0 ? -e : 0;
	}
	if (r.fd >= 0)
		close(r.fd);
	if (e)
		fs_fail(q, e, "cannot read %s", path);
}

/* ------------------------------------------------ digest@towline */

static int digest(struct reading *r, uint8_t sum[SHA256_DIGEST_LENGTH], uint64_t *ret_size)
{
	uint8_t *p = malloc(DIGEST_BUF);
	SHA2_CTX ctx;
	int e = p ? 0 : ENOMEM;

	SHA256Init(&ctx);
	*ret_size = 0;
	while (!e && r->off < r->end) {
		size_t want = r->end - r->off < DIGEST_BUF ? (size_t)(r->end - r->off) : DIGEST_BUF;
		ssize_t got = pread(r->fd, p, want, (off_t)r->off);
		if (got < 0 && errno == ESPIPE)
			got = read(r->fd, p, want);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0) {
			e = got < 0 ? errno : 0;
			break;
		}
		SHA256Update(&ctx, p, (size_t)got);
		r->off += (uint64_t)got;
		*ret_size += (uint64_t)got;
	}
	SHA256Final(sum, &ctx);
	free(p);
	return e;
}

static void reply_digest(struct fs_req *q, const uint8_t *sum, uint64_t size)
{
	struct buf *out = q->fs->out;
	struct sftp_mark m;
	int rc;

	if (!fs_room(q->fs, SFTP_PACKET_EXTRA))
		return;
	m = sftp_begin(out, SFTP_EXTENDED_REPLY, q->id);
	rc = buf_put_string(out, sum, SHA256_DIGEST_LENGTH);
	rc = sftp_end(out, m, rc ? rc : buf_put_u64(out, size));
	if (rc)
		q->fs->broken = rc;
}

void fs_ext_digest(struct fs_req *q)
{
	uint8_t sum[SHA256_DIGEST_LENGTH];
	char path[FS_PATH], algorithm[32];
	struct reading r = {.q = q};
	uint64_t off, length, size = 0;
	int e;

	sftp_get_cstr(&q->in, path, sizeof(path));
	sftp_get_cstr(&q->in, algorithm, sizeof(algorithm));
	off = sftp_get_u64(&q->in);
	length = sftp_get_u64(&q->in);
	if (q->in.bad) {
		fs_bad(q);
		return;
	}
	if (strcmp(algorithm, "sha256") != 0) {
		fs_refuse(q, TL_E_UNSUPPORTED, "the digest \"%s\" is not known; sha256 is",
			  algorithm);
		return;
	}
	e = open_file(q, path, &r);
	if (!e) {
		set_range(&r, off, length);
		e = digest(&r, sum, &size);
	}
	if (r.fd >= 0)
		close(r.fd);
	if (e)
		fs_fail(q, e, "cannot read %s", path);
	else
		reply_digest(q, sum, size);
}
