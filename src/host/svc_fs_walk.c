/* svc_fs_walk.c - tree@towline: a whole tree in one answer, entries and contents packed one behind
 * the other, so that small files cost neither a request nor a reply of their own.
 * Owns the descriptors of one walk. A failure of an entry is a record; the walk goes on. */
#include <dirent.h>
#include <sha2.h>
#include <stdio.h>

#include "base/str.h"
#include "host/svc_fs_priv.h"

#define PIECE      65536  /* of a folder */
#define REPLY      131072 /* of records in one reply */
#define DATA_LEAST 8192   /* with less room a piece of content waits for the next reply */
#define SLACK      (3 * FS_PATH)
#define DEPTH      250

/* A folder on the way down, to notice links that lead back. */
struct level {
	const struct level *up;
	dev_t dev;
	ino_t ino;
	int depth;
};

struct walking {
	struct fs_req *q;
	uint32_t flags;
	uint64_t inline_max;
	struct sftp_mark m;
	SHA2_CTX sum;
};

/* ------------------------------------------------ replies; results below 0 end the walk */

static int begin(struct walking *w)
{
	if (!fs_room(w->q->fs, REPLY + SLACK + SFTP_PACKET_EXTRA))
		return TL_E_CLOSED;
	w->m = sftp_begin(w->q->fs->out, SFTP_EXTENDED_REPLY, w->q->id);
	return w->m.rc ? w->m.rc : buf_put_u8(w->q->fs->out, 1);
}

static int end(struct walking *w, bool more)
{
	struct buf *out = w->q->fs->out;

	out->p[out->off + w->m.at + 9] = more;
	return sftp_end(out, w->m, 0);
}

static size_t used(const struct walking *w)
{
	return w->q->fs->out->len - w->m.at;
}

/* A reply that has room for n more bytes. */
static int need(struct walking *w, size_t n)
{
	int rc;

	if (used(w) + n <= REPLY + SLACK)
		return 0;
	rc = end(w, true);
	fs_push(w->q->fs);
	return rc ? rc : begin(w);
}

static int put_string(struct walking *w, const char *s)
{
	return buf_put_string(w->q->fs->out, s, strlen(s));
}

static uint64_t ns_of(const struct stat *st)
{
	return st->st_mtim.tv_sec < 0
		   ? 0
		   : (uint64_t)st->st_mtim.tv_sec * 1000000000u + (uint64_t)st->st_mtim.tv_nsec;
}

/* kind, name, mode, time: how every entry begins. */
static int put_entry(struct walking *w, uint8_t kind, const char *name, const struct stat *st)
{
	struct buf *out = w->q->fs->out;
	int rc = need(w, SLACK);

	rc = rc ? rc : buf_put_u8(out, kind);
	rc = rc ? rc : put_string(w, name);
	rc = rc ? rc : buf_put_u32(out, st->st_mode);
	return rc ? rc : buf_put_u64(out, ns_of(st));
}

static void problem_text(char *out, size_t n, int e)
{
	snprintf(out, n, "%s: %s", err_row(err_from_errno(e))->name, strerror(e));
}

static int put_problem_text(struct walking *w, const char *name, const char *text)
{
	int rc = need(w, SLACK);

	rc = rc ? rc : buf_put_u8(w->q->fs->out, SFTP_TREE_PROBLEM);
	rc = rc ? rc : put_string(w, name);
	return rc ? rc : put_string(w, text);
}

static int put_problem(struct walking *w, const char *name, int e)
{
	char text[256];

	problem_text(text, sizeof(text), e);
	return put_problem_text(w, name, text);
}

/* ------------------------------------------------ content */

static void sum_zeros(struct walking *w, uint64_t n)
{
	static const uint8_t zeros[4096];

	for (; n; n -= n < sizeof(zeros) ? n : sizeof(zeros))
		SHA256Update(&w->sum, zeros, n < sizeof(zeros) ? (size_t)n : sizeof(zeros));
}

static int put_hole(struct walking *w, uint64_t n)
{
	int rc = need(w, 16);

	if (w->flags & SFTP_TREE_DIGEST)
		sum_zeros(w, n);
	rc = rc ? rc : buf_put_u8(w->q->fs->out, SFTP_TREE_HOLE);
	return rc ? rc : buf_put_u64(w->q->fs->out, n);
}

/* One read into the reply: > 0 bytes, 0 end, negative TL_E_*; *ret_e errno. */
static ssize_t put_data(struct walking *w, int fd, uint64_t left, int *ret_e)
{
	struct buf *out = w->q->fs->out;
	size_t want;
	ssize_t got;
	uint8_t *p;
	int rc = 0;

	*ret_e = 0;
	if (used(w) + DATA_LEAST > REPLY && used(w) + left > REPLY)
		rc = need(w, REPLY + SLACK);
	if (rc)
		return rc;
	want = REPLY + SLACK - used(w) - 16;
	if (want > left)
		want = (size_t)left;
	p = buf_reserve(out, want + 5);
	if (!p)
		return TL_E_NOMEM;
	do
		got = read(fd, p + 5, want);
	while (got < 0 && errno == EINTR);
	if (got < 0) {
		*ret_e = errno;
		return 0;
	}
	if (got == 0)
		return 0;
	p[0] = SFTP_TREE_DATA;
	set_u32(p + 1, (uint32_t)got);
	if (w->flags & SFTP_TREE_DIGEST)
		SHA256Update(&w->sum, p + 5, (size_t)got);
	buf_commit(out, (size_t)got + 5);
	return got;
}

/* The bytes from off on that are data, after a hole was told. Negative: TL_E_*. */
static int skip_hole(struct walking *w, int fd, uint64_t size, uint64_t *off, uint64_t *until)
{
	off_t data = lseek(fd, (off_t)*off, SEEK_DATA), hole;
	uint64_t to;
	int rc = 0;

	*until = size;
	if (data < 0 && errno != ENXIO)
		return lseek(fd, (off_t)*off, SEEK_SET) < 0 ? TL_E_IO : 0;
	to = data < 0 || (uint64_t)data > size ? size : (uint64_t)data;
	if (to > *off)
		rc = put_hole(w, to - *off);
	*off = to;
	if (rc || to == size)
		return rc;
	hole = lseek(fd, data, SEEK_HOLE);
	if (hole > data && (uint64_t)hole < size)
		*until = (uint64_t)hole;
	return lseek(fd, data, SEEK_SET) < 0 ? TL_E_IO : 0;
}

/* Everything as long as the file was when it was opened; *ret_e: why not, as errno. */
static int put_content(struct walking *w, int fd, const struct stat *st, int *ret_e)
{
	uint64_t size = (uint64_t)st->st_size, off = 0, until;
	bool sparse = size > 65536 && (uint64_t)st->st_blocks * 512 < size;
	ssize_t got;
	int rc = 0;

	*ret_e = 0;
	if (size == 0) { /* files of /proc say so and have content */
		while ((got = put_data(w, fd, REPLY, ret_e)) > 0)
			if (w->q->fs->broken)
				return TL_E_CLOSED;
		return got < 0 ? (int)got : 0;
	}
	until = sparse ? 0 : size;
	while (!rc && off < size) {
		if (off >= until)
			rc = skip_hole(w, fd, size, &off, &until);
		if (rc || off >= size)
			break;
		got = put_data(w, fd, until - off, ret_e);
		if (got < 0)
			return (int)got;
		if (got == 0) {
			*ret_e = *ret_e ? *ret_e : ESTALE;
			break;
		}
		off += (uint64_t)got;
	}
	return rc;
}

static int put_end(struct walking *w, int e)
{
	uint8_t sum[SHA256_DIGEST_LENGTH];
	char text[256] = "";
	int rc = need(w, SLACK);

	if (e == ESTALE)
		str_copy(text, sizeof(text), "conflict: it became shorter while it was read");
	else if (e)
		problem_text(text, sizeof(text), e);
	rc = rc ? rc : buf_put_u8(w->q->fs->out, SFTP_TREE_END);
	rc = rc ? rc : put_string(w, text);
	if (w->flags & SFTP_TREE_DIGEST)
		SHA256Final(sum, &w->sum);
	return rc ? rc
		  : buf_put_string(w->q->fs->out, sum,
				   w->flags & SFTP_TREE_DIGEST ? sizeof(sum) : 0);
}

/* fd is closed. */
static int walk_file(struct walking *w, int fd, const char *name, const struct stat *st)
{
	bool sparse = (uint64_t)st->st_blocks * 512 < (uint64_t)st->st_size;
	bool later =
	    (uint64_t)st->st_size > w->inline_max && !(sparse && w->flags & SFTP_TREE_DENSE);
	int rc = put_entry(w, later ? SFTP_TREE_LATER : SFTP_TREE_FILE, name, st), e = 0;

	rc = rc ? rc : buf_put_u64(w->q->fs->out, (uint64_t)st->st_size);
	if (!rc && !later) {
		if (w->flags & SFTP_TREE_DIGEST)
			SHA256Init(&w->sum);
		rc = put_content(w, fd, st, &e);
		rc = rc ? rc : put_end(w, e);
	}
	close(fd);
	return rc;
}

/* ------------------------------------------------ entries */

static int walk_entry(struct walking *w, int dirfd, const char *name, uint8_t d_type,
		      const struct level *up);

static bool leads_back(const struct level *l, const struct stat *st)
{
	for (; l; l = l->up)
		if (l->dev == st->st_dev && l->ino == st->st_ino)
			return true;
	return false;
}

/* fd is closed. */
static int walk_folder(struct walking *w, int fd, const char *name, const struct stat *st,
		       const struct level *up)
{
	struct level here = {up, st->st_dev, st->st_ino, up ? up->depth + 1 : 0};
	struct fs_dirents *list = NULL;
	struct fs_dirent d;
	int rc, e, got = 0;

	if (leads_back(up, st) || here.depth > DEPTH) {
		rc = put_problem_text(w, name,
				      here.depth > DEPTH ? "limit: it is too deep"
							 : "limit: the link leads back to a folder "
							   "that is being copied");
		close(fd);
		return rc;
	}
	rc = put_entry(w, SFTP_TREE_FOLDER, name, st);
	e = fs_dirents_new(&list, fd, PIECE);
	while (!rc && !e && (got = fs_dirents_next(list, &d)) == 1)
		if (!fs_is_dot(d.name))
			rc = walk_entry(w, fd, d.name, d.type, &here);
	if (got < 0)
		e = -got;
	fs_dirents_free(list);
	close(fd);
	if (!rc && e)
		rc = put_problem(w, "", e);
	rc = rc ? rc : need(w, 16);
	return rc ? rc : buf_put_u8(w->q->fs->out, SFTP_TREE_UP);
}

static int walk_link(struct walking *w, int dirfd, const char *name, const struct stat *st)
{
	char target[FS_PATH];
	ssize_t n = readlinkat(dirfd, name, target, sizeof(target) - 1);
	int rc;

	if (n < 0)
		return put_problem(w, name, errno);
	target[n] = 0;
	rc = put_entry(w, SFTP_TREE_LINK, name, st);
	return rc ? rc : put_string(w, target);
}

/* fd: what name (relative to the folder, "" for the top) means. */
static int walk_open(struct walking *w, int fd, const char *name, const struct level *up)
{
	struct stat st;
	int rc;

	if (fstat(fd, &st) != 0)
		rc = put_problem(w, name, errno);
	else if (S_ISDIR(st.st_mode))
		return walk_folder(w, fd, name, &st, up);
	else if (S_ISREG(st.st_mode))
		return walk_file(w, fd, name, &st);
	else
		rc = put_problem_text(w, name, "unsupported: it is no regular file");
	close(fd);
	return rc;
}

static int walk_entry(struct walking *w, int dirfd, const char *name, uint8_t d_type,
		      const struct level *up)
{
	bool follow = w->flags & SFTP_TREE_FOLLOW && w->q->fs->root < 0;
	struct stat st;
	int fd;

	if (w->q->fs->broken)
		return TL_E_CLOSED;
	if (d_type != DT_REG && d_type != DT_DIR) {
		if (fstatat(dirfd, name, &st, follow ? 0 : AT_SYMLINK_NOFOLLOW) != 0)
			return put_problem(w, name, errno);
		if (S_ISLNK(st.st_mode))
			return walk_link(w, dirfd, name, &st);
		/* opening a device can do things */
		if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode))
			return put_problem_text(w, name, "unsupported: it is no regular file");
	}
	fd = openat(dirfd, name,
		    O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC | (follow ? 0 : O_NOFOLLOW));
	return fd < 0 ? put_problem(w, name, errno) : walk_open(w, fd, name, up);
}

void fs_ext_tree(struct fs_req *q)
{
	struct walking w = {.q = q};
	char path[FS_PATH];
	struct fs_at at;
	int e, rc, fd = -1;

	sftp_get_cstr(&q->in, path, sizeof(path));
	w.flags = sftp_get_u32(&q->in);
	w.inline_max = sftp_get_u64(&q->in);
	if (q->in.bad) {
		fs_bad(q);
		return;
	}
	/* the named thing itself is followed */
	e = fs_at(q->fs, path, true, &at);
	if (!e) {
		fd = fs_at_open(&at, O_RDONLY, 0);
		e = fd < 0 ? errno : 0;
	}
	fs_at_close(&at);
	if (e) {
		fs_fail(q, e, "cannot read %s", path);
		return;
	}
	rc = begin(&w);
	if (rc)
		close(fd);
	else
		rc = walk_open(&w, fd, "", NULL);
	rc = rc ? rc : end(&w, false);
	if (rc && !q->fs->broken)
		q->fs->broken = rc;
}
