/* svc_fs_std.c - the requests of the SFTP draft, with OpenSSH's answers where the draft is silent.
 * Owns nothing beyond a request but the table of handles. */
#include <stdio.h>
#include <stdlib.h>

#include "host/svc_fs_priv.h"

#define DIR_PIECE     32768
#define READDIR_NAMES 100
#define LONGNAME      (FS_PATH + 128)
/* a name and its line still fit */
#define READDIR_BYTES (TL_LIMIT_SFTP_PACKET - 2 * LONGNAME - SFTP_PACKET_EXTRA)
#define HANDLE_BYTES  8
/* so much data fits one packet with everything around it */
#define DATA_MAX (TL_LIMIT_SFTP_PACKET - SFTP_PACKET_EXTRA)

/* A path argument; false after having answered. */
static bool path_arg(struct fs_req *q, char path[FS_PATH])
{
	if (sftp_get_cstr(&q->in, path, FS_PATH))
		return true;
	fs_bad(q);
	return false;
}

/* ------------------------------------------------ handles */

static void handle_close(struct fs_handle *h)
{
	if (h->fd >= 0)
		close(h->fd);
	fs_dirents_free(h->dir);
	*h = (struct fs_handle){.fd = -1};
}

void fs_handles_close(struct svc_fs *fs)
{
	for (size_t i = 0; i < TL_LIMIT_SFTP_HANDLES; i++)
		handle_close(&fs->handles[i]);
}

static struct fs_handle *handle_free_slot(struct svc_fs *fs)
{
	for (size_t i = 0; i < TL_LIMIT_SFTP_HANDLES; i++)
		if (fs->handles[i].fd < 0)
			return &fs->handles[i];
	return NULL;
}

static void reply_handle(struct fs_req *q, struct fs_handle *h)
{
	struct buf *out = q->fs->out;
	uint8_t word[HANDLE_BYTES];
	struct sftp_mark m;
	int rc;

	h->generation = ++q->fs->generation;
	set_u32(word, (uint32_t)(h - q->fs->handles));
	set_u32(word + 4, h->generation);
	if (!fs_room(q->fs, SFTP_PACKET_EXTRA))
		return;
	m = sftp_begin(out, SFTP_HANDLE, q->id);
	rc = sftp_end(out, m, buf_put_string(out, word, sizeof(word)));
	if (rc)
		q->fs->broken = rc;
}

struct fs_handle *fs_handle_arg(struct fs_req *q, bool want_dir, int e)
{
	struct tl_bytes b = sftp_get_string(&q->in);
	uint32_t i;

	if (q->in.bad) {
		fs_bad(q);
		return NULL;
	}
	if (b.n == HANDLE_BYTES) {
		i = get_u32(b.p);
		if (i < TL_LIMIT_SFTP_HANDLES && q->fs->handles[i].fd >= 0 &&
		    q->fs->handles[i].generation == get_u32(b.p + 4) &&
		    q->fs->handles[i].is_dir == want_dir)
			return &q->fs->handles[i];
	}
	if (e == ENOENT)
		fs_fail(q, e, "the handle is not open");
	else
		fs_refuse(q, TL_E_INVAL, "the handle is not open, or is not of this kind");
	return NULL;
}

static int open_flags(uint32_t pflags)
{
	static const struct {
		uint32_t p;
		int o;
	} map[] = {{SFTP_OPEN_APPEND, O_APPEND},
		   {SFTP_OPEN_CREAT, O_CREAT},
		   {SFTP_OPEN_TRUNC, O_TRUNC},
		   {SFTP_OPEN_EXCL, O_EXCL}};
	uint32_t rw = pflags & (SFTP_OPEN_READ | SFTP_OPEN_WRITE);
	int flags = rw == (SFTP_OPEN_READ | SFTP_OPEN_WRITE) ? O_RDWR
		    : rw == SFTP_OPEN_WRITE                  ? O_WRONLY
							     : O_RDONLY;

	for (size_t i = 0; i < sizeof(map) / sizeof(map[0]); i++)
		if (pflags & map[i].p)
			flags |= map[i].o;
	return flags;
}

void fs_op_open(struct fs_req *q)
{
	char path[FS_PATH];
	struct sftp_attrs a;
	struct fs_handle *h;
	struct fs_at at;
	uint32_t pflags;
	int e, flags;

	if (!path_arg(q, path))
		return;
	pflags = sftp_get_u32(&q->in);
	sftp_get_attrs(&q->in, &a);
	if (q->in.bad) {
		fs_bad(q);
		return;
	}
	flags = open_flags(pflags);
	if (q->fs->read_only && flags & (O_WRONLY | O_RDWR | O_CREAT | O_TRUNC)) {
		fs_refuse(q, TL_E_ROFS, "this file service only reads");
		return;
	}
	h = handle_free_slot(q->fs);
	if (!h) {
		fs_refuse(q, TL_E_LIMIT, "cannot open %s: too many open files", path);
		return;
	}
	/* O_EXCL looks at the name itself, so a link there must not be followed before */
	e = fs_at(q->fs, path, !(flags & O_EXCL && flags & O_CREAT), &at);
	if (!e) {
		h->fd = fs_at_open(&at, flags, a.flags & SFTP_ATTR_MODE ? a.mode & 07777 : 0666);
		e = h->fd < 0 ? errno : 0;
		fs_at_close(&at);
	}
	h->append = flags & O_APPEND;
	if (e)
		fs_fail(q, e, "cannot open %s", path);
	else
		reply_handle(q, h);
}

void fs_op_close(struct fs_req *q)
{
	struct sftp_reader again = q->in;
	struct tl_bytes b = sftp_get_string(&again);
	struct fs_handle *h;
	bool is_dir = false;
	int fd, e = 0;

	if (b.n == HANDLE_BYTES && get_u32(b.p) < TL_LIMIT_SFTP_HANDLES)
		is_dir = q->fs->handles[get_u32(b.p)].is_dir;
	h = fs_handle_arg(q, is_dir, ENOENT);
	if (!h)
		return;
	/* some network file systems report a full disk only here */
	fd = h->fd;
	h->fd = -1;
	if (close(fd) != 0 && errno != EINTR)
		e = errno;
	handle_close(h);
	fs_fail(q, e, "cannot close the file");
}

void fs_op_read(struct fs_req *q)
{
	struct fs_handle *h = fs_handle_arg(q, false, 0);
	struct buf *out = q->fs->out;
	uint64_t off = sftp_get_u64(&q->in);
	uint32_t n = sftp_get_u32(&q->in);
	struct sftp_mark m;
	ssize_t got;
	uint8_t *p;

	if (!h)
		return;
	if (q->in.bad) {
		fs_bad(q);
		return;
	}
	if (n > DATA_MAX)
		n = DATA_MAX;
	if (!fs_room(q->fs, n + SFTP_PACKET_EXTRA))
		return;
	m = sftp_begin(out, SFTP_DATA, q->id);
	p = buf_reserve(out, n + 4);
	if (!p) {
		q->fs->broken = TL_E_NOMEM;
		return;
	}
	got = pread(h->fd, p + 4, n, (off_t)off);
	if (got < 0 && errno == ESPIPE)
		got = read(h->fd, p + 4, n);
	if (got <= 0) {
		int e = got < 0 ? errno : 0;
		sftp_end(out, m, TL_E_IO);
		if (e)
			fs_fail(q, e, "cannot read the file");
		else if (n == 0)
			fs_refuse(q, TL_E_INVAL, "cannot read: no bytes were asked for");
		else
			fs_eof(q);
		return;
	}
	set_u32(p, (uint32_t)got);
	buf_commit(out, (size_t)got + 4);
	sftp_end(out, m, 0);
}

void fs_op_write(struct fs_req *q)
{
	struct fs_handle *h = fs_handle_arg(q, false, 0);
	uint64_t off = sftp_get_u64(&q->in);
	struct tl_bytes data = sftp_get_string(&q->in);
	ssize_t n;

	if (!h)
		return;
	if (q->in.bad) {
		fs_bad(q);
		return;
	}
	/* also nothing is written, to learn whether the handle may */
	do {
		n = h->append ? write(h->fd, data.p, data.n)
			      : pwrite(h->fd, data.p, data.n, (off_t)off);
		if (n < 0 && errno == ESPIPE)
			n = write(h->fd, data.p, data.n);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 || (n == 0 && data.n)) {
			fs_fail(q, n < 0 ? errno : EIO, "cannot write the file");
			return;
		}
		data = bytes_of(data.p + n, data.n - (size_t)n);
		off += (uint64_t)n;
	} while (data.n);
	fs_done(q);
}

/* ------------------------------------------------ attributes */

static void do_stat(struct fs_req *q, bool follow)
{
	char path[FS_PATH];
	struct stat st;
	struct fs_at at;
	int e;

	if (!path_arg(q, path))
		return;
	e = fs_at(q->fs, path, follow, &at);
	if (!e)
		e = fs_at_stat(&at, &st);
	fs_at_close(&at);
	if (e)
		fs_fail(q, e, "cannot look at %s", path);
	else
		fs_reply_attrs(q, &st);
}

void fs_op_stat(struct fs_req *q)
{
	do_stat(q, true);
}

void fs_op_lstat(struct fs_req *q)
{
	do_stat(q, false);
}

void fs_op_fstat(struct fs_req *q)
{
	struct fs_handle *h = fs_handle_arg(q, false, 0);
	struct stat st;

	if (!h)
		return;
	if (fstat(h->fd, &st) != 0)
		fs_fail(q, errno, "cannot look at the file");
	else
		fs_reply_attrs(q, &st);
}

void fs_op_setstat(struct fs_req *q)
{
	char path[FS_PATH];
	struct sftp_attrs a;
	struct fs_at at;
	int e;

	if (!path_arg(q, path))
		return;
	sftp_get_attrs(&q->in, &a);
	if (q->in.bad) {
		fs_bad(q);
		return;
	}
	e = fs_at(q->fs, path, true, &at);
	if (!e)
		e = fs_setstat(&at, &a, q->fs->root >= 0);
	fs_at_close(&at);
	fs_fail(q, e, "cannot change the attributes of %s", path);
}

void fs_op_fsetstat(struct fs_req *q)
{
	struct fs_handle *h = fs_handle_arg(q, false, 0);
	struct sftp_attrs a;

	if (!h)
		return;
	sftp_get_attrs(&q->in, &a);
	if (q->in.bad)
		fs_bad(q);
	else
		fs_fail(q, fs_fsetstat(h->fd, &a), "cannot change the file's attributes");
}

/* ------------------------------------------------ folders */

void fs_op_opendir(struct fs_req *q)
{
	char path[FS_PATH];
	struct fs_handle *h = handle_free_slot(q->fs);
	struct fs_at at;
	int e;

	if (!path_arg(q, path))
		return;
	if (!h) {
		fs_refuse(q, TL_E_LIMIT, "cannot open %s: too many open files", path);
		return;
	}
	e = fs_at(q->fs, path, true, &at);
	if (!e) {
		h->fd = fs_at_open(&at, O_RDONLY | O_DIRECTORY, 0);
		e = h->fd < 0 ? errno : 0;
	}
	fs_at_close(&at);
	if (!e)
		e = fs_dirents_new(&h->dir, h->fd, DIR_PIECE);
	if (e) {
		handle_close(h);
		fs_fail(q, e, "cannot open the folder %s", path);
		return;
	}
	h->is_dir = true;
	reply_handle(q, h);
}

static int put_name(struct fs_req *q, int dirfd, const char *name)
{
	struct buf *out = q->fs->out;
	char line[LONGNAME];
	struct sftp_attrs a;
	struct stat st;
	int rc;

	if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
		return TL_E_NOENT;
	a = fs_attrs(&st);
	fs_longname(q->fs, name, &st, line, sizeof(line));
	rc = buf_put_string(out, name, strlen(name));
	if (!rc)
		rc = buf_put_string(out, line, strlen(line));
	return rc ? rc : sftp_put_attrs(out, &a);
}

void fs_op_readdir(struct fs_req *q)
{
	struct fs_handle *h = fs_handle_arg(q, true, 0);
	struct buf *out = q->fs->out;
	struct fs_dirent entry;
	struct sftp_mark m;
	uint32_t count = 0;
	int got = 1, rc = 0;

	if (!h || !fs_room(q->fs, TL_LIMIT_SFTP_PACKET + SFTP_PACKET_EXTRA))
		return;
	m = sftp_begin(out, SFTP_NAME, q->id);
	rc = buf_put_u32(out, 0);
	while (!rc && count < READDIR_NAMES && out->len - m.at < READDIR_BYTES &&
	       (got = fs_dirents_next(h->dir, &entry)) == 1) {
		rc = put_name(q, h->fd, entry.name);
		if (rc == 0)
			count++;
		else if (rc == TL_E_NOENT)
			rc = 0; /* went away meanwhile */
	}
	if (rc)
		q->fs->broken = rc;
	if (rc || count == 0) {
		sftp_end(out, m, TL_E_IO);
		if (got < 0)
			fs_fail(q, -got, "cannot read the folder");
		else
			fs_eof(q);
		return;
	}
	set_u32(out->p + out->off + m.at + 9, count);
	sftp_end(out, m, 0);
}

void fs_op_mkdir(struct fs_req *q)
{
	char path[FS_PATH];
	struct sftp_attrs a;
	struct fs_at at;
	int e;

	if (!path_arg(q, path))
		return;
	sftp_get_attrs(&q->in, &a);
	if (q->in.bad) {
		fs_bad(q);
		return;
	}
	e = fs_at(q->fs, path, false, &at);
	if (!e && mkdirat(at.dirfd, at.name, a.flags & SFTP_ATTR_MODE ? a.mode & 07777 : 0777) != 0)
		e = errno;
	fs_at_close(&at);
	fs_fail(q, e, "cannot make the folder %s", path);
}

static void do_unlink(struct fs_req *q, int flags, const char *what)
{
	char path[FS_PATH];
	struct fs_at at;
	int e;

	if (!path_arg(q, path))
		return;
	e = fs_at(q->fs, path, false, &at);
	if (!e && unlinkat(at.dirfd, at.name, flags) != 0)
		e = errno;
	fs_at_close(&at);
	fs_fail(q, e, "cannot remove the %s %s", what, path);
}

void fs_op_remove(struct fs_req *q)
{
	do_unlink(q, 0, "file");
}

void fs_op_rmdir(struct fs_req *q)
{
	do_unlink(q, AT_REMOVEDIR, "folder");
}

/* ------------------------------------------------ names */

void fs_op_realpath(struct fs_req *q)
{
	char path[FS_PATH], real[FS_PATH];
	int e;

	if (!path_arg(q, path))
		return;
	e = fs_realpath(q->fs, path, real);
	if (e)
		fs_fail(q, e, "cannot resolve %s", path);
	else
		fs_reply_name(q, real);
}

/* Two paths that name the entries themselves; false after having answered. */
static bool two_paths(struct fs_req *q, struct fs_at *a, struct fs_at *b, const char *what)
{
	char from[FS_PATH], to[FS_PATH];
	int e;

	a->dirfd = b->dirfd = AT_FDCWD;
	if (!path_arg(q, from) || !path_arg(q, to))
		return false;
	e = fs_at(q->fs, from, false, a);
	if (!e)
		e = fs_at(q->fs, to, false, b);
	if (!e)
		return true;
	fs_at_close(a);
	fs_at_close(b);
	fs_fail(q, e, "cannot %s %s to %s", what, from, to);
	return false;
}

void fs_op_rename(struct fs_req *q)
{
	struct fs_at a, b;

	if (!two_paths(q, &a, &b, "rename"))
		return;
	fs_fail(q, fs_rename_new(a.dirfd, a.name, b.dirfd, b.name), "cannot rename %s to %s",
		a.name, b.name);
	fs_at_close(&a);
	fs_at_close(&b);
}

void fs_ext_posix_rename(struct fs_req *q)
{
	struct fs_at a, b;

	if (!two_paths(q, &a, &b, "rename"))
		return;
	fs_fail(q, renameat(a.dirfd, a.name, b.dirfd, b.name) == 0 ? 0 : errno,
		"cannot rename %s to %s", a.name, b.name);
	fs_at_close(&a);
	fs_at_close(&b);
}

void fs_ext_hardlink(struct fs_req *q)
{
	struct fs_at a, b;

	if (!two_paths(q, &a, &b, "link"))
		return;
	fs_fail(q, linkat(a.dirfd, a.name, b.dirfd, b.name, 0) == 0 ? 0 : errno,
		"cannot link %s to %s", a.name, b.name);
	fs_at_close(&a);
	fs_at_close(&b);
}

void fs_op_readlink(struct fs_req *q)
{
	char path[FS_PATH], target[FS_PATH];
	struct fs_at at;
	ssize_t n = 0;
	int e;

	if (!path_arg(q, path))
		return;
	e = fs_at(q->fs, path, false, &at);
	if (!e) {
		n = readlinkat(at.dirfd, at.name, target, sizeof(target) - 1);
		e = n < 0 ? errno : 0;
	}
	fs_at_close(&at);
	if (e) {
		fs_fail(q, e, "cannot read the link %s", path);
		return;
	}
	target[n] = 0;
	fs_reply_name(q, target);
}

void fs_op_symlink(struct fs_req *q)
{
	/* OpenSSH's order, which everyone follows: the target first, then the link */
	char target[FS_PATH], path[FS_PATH];
	struct fs_at at;
	int e;

	if (!path_arg(q, target) || !path_arg(q, path))
		return;
	e = fs_at(q->fs, path, false, &at);
	if (!e && symlinkat(target, at.dirfd, at.name) != 0)
		e = errno;
	fs_at_close(&at);
	fs_fail(q, e, "cannot make the link %s", path);
}
