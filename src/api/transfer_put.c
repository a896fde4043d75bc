/* transfer_put.c - from this machine to the host, without waiting for single answers. Owns the
 * local file being read; what is under way is counted, and freed by the last answer. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/transfer.h"
#include "base/limits.h"
#include "base/str.h"

/* pieces (and small requests) sent and not yet answered */
#define WINDOW 32

/* One entry on its way: every request of it holds a reference, and so does whoever still sends. */
struct put {
	struct transfer *t;
	size_t refs;
	struct tl_err err; /* the first failure */
	bool counts_file;
	char *remote;
};

static struct put *put_new(struct transfer *t, const char *remote, bool counts_file)
{
	struct put *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	*p = (struct put){.t = t, .refs = 1, .counts_file = counts_file, .remote = str_dup(remote)};
	if (p->remote)
		return p;
	free(p);
	return NULL;
}

static void put_release(struct put *p)
{
	if (--p->refs)
		return;
	if (p->err.code)
		transfer_fail(p->t, &p->err);
	else if (p->counts_file)
		p->t->files++;
	free(p->remote);
	free(p);
}

static void put_done(void *ctx, int rc, const struct tl_err *err)
{
	struct put *p = ctx;

	if (rc && !p->err.code)
		p->err = *err;
	put_release(p);
}

static int no_memory(struct tl_err *err, const char *remote)
{
	return err_set(err, TL_E_NOMEM, "cannot put %s: out of memory", remote);
}

/* ------------------------------------------------ one file */

/* Fills p with up to n bytes; short only at the end of the file. Negative: -errno. */
static ssize_t read_piece(int fd, uint8_t *p, size_t n)
{
	size_t have = 0;

	while (have < n) {
		ssize_t got = read(fd, p + have, n - have);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		if (got == 0)
			break;
		have += (size_t)got;
	}
	return (ssize_t)have;
}

/* Sends all pieces. A failure of the file goes to p->err; the result is only the client's. */
static int send_pieces(struct put *p, int fd, const struct stat *st, uint8_t *piece,
		       struct tl_err *err)
{
	struct sftp_save s = {.path = p->remote,
			      .flags = SFTP_SAVE_CREATE | SFTP_SAVE_OVERWRITE,
			      .mode = st->st_mode & 0777,
			      .total = (uint64_t)st->st_size};
	uint64_t off = 0;
	int rc = 0;

	do {
		uint64_t left = s.total - off;
		size_t want = left < SFTP_CLIENT_PIECE ? (size_t)left : SFTP_CLIENT_PIECE;
		ssize_t n = read_piece(fd, piece, want);
		if (n < 0)
			err_sys(&p->err, (int)-n, "cannot read the file for %s here", p->remote);
		else if ((size_t)n < want)
			err_set(&p->err, TL_E_CONFLICT,
				"cannot put %s: the file here became shorter while it was read",
				p->remote);
		if (p->err.code)
			return 0;
		p->refs++;
		rc = sftp_client_begin_piece(p->t->c, &s, off, bytes_of(piece, want), put_done, p,
					     err);
		off += want;
		transfer_tick(p->t, p->remote, want, off, s.total);
		if (!rc)
			rc = sftp_client_drain(p->t->c, WINDOW, err);
	} while (!rc && off < s.total && !p->err.code);
	return rc;
}

static struct sftp_attrs times_of(const struct stat *st)
{
	return (struct sftp_attrs){.flags = SFTP_ATTR_TIMES,
				   .atime = (uint32_t)st->st_atime,
				   .mtime = (uint32_t)st->st_mtime};
}

static int put_file(struct transfer *t, int fd, const struct stat *st, const char *remote,
		    struct tl_err *err)
{
	struct put *p = put_new(t, remote, true);
	uint8_t *piece = p ? malloc(SFTP_CLIENT_PIECE) : NULL;
	struct sftp_attrs a = times_of(st);
	int rc = 0;

	if (!p)
		return no_memory(err, remote);
	if (piece)
		rc = send_pieces(p, fd, st, piece, err);
	else
		no_memory(&p->err, remote);
	if (!rc && t->times && !p->err.code) {
		p->refs++;
		rc = sftp_client_begin_setstat(t->c, remote, &a, put_done, p, err);
	}
	free(piece);
	put_release(p);
	return rc;
}

/* ------------------------------------------------ trees */

static int put_link(struct transfer *t, int dirfd, const char *name, const char *remote,
		    struct tl_err *err)
{
	char target[TL_LIMIT_PATH + 1], part[256];
	ssize_t n = readlinkat(dirfd, name, target, sizeof(target) - 1);
	const char *slash = strrchr(remote, '/');
	struct put *p;
	char *temp;
	int rc;

	if (n < 0)
		return err_sys(err, errno, "cannot read the link %s here", name);
	target[n] = 0;
	transfer_temp_name(part, sizeof(part), name);
	temp = slash ? str_fmt("%.*s/%s", (int)(slash - remote), remote, part) : str_dup(part);
	p = temp ? put_new(t, remote, true) : NULL;
	if (!p) {
		free(temp);
		return no_memory(err, remote);
	}
	p->refs += 2;
	rc = sftp_client_begin_symlink(t->c, target, temp, put_done, p, err);
	if (!rc)
		rc = sftp_client_begin_rename(t->c, temp, remote, put_done, p, err);
	else
		put_release(p); /* the second was not begun */
	put_release(p);
	free(temp);
	return rc ? rc : sftp_client_drain(t->c, WINDOW, err);
}

static int put_entry(struct transfer *t, int dirfd, const char *name, const char *remote,
		     int follow, int depth, struct tl_err *err);

static int put_children(struct transfer *t, DIR *dir, const char *remote, int depth,
			struct tl_err *err)
{
	struct dirent *e;
	int rc = 0;

	while (!rc && (errno = 0, e = readdir(dir))) {
		char *path;
		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		path = transfer_join(remote, e->d_name);
		if (!path)
			return no_memory(err, remote);
		rc = put_entry(t, dirfd(dir), e->d_name, path, 0, depth + 1, err);
		free(path);
	}
	if (!rc && errno) {
		err_sys(err, errno, "cannot read the folder for %s here", remote);
		transfer_fail(t, err);
	}
	return rc;
}

static int put_folder(struct transfer *t, int fd, const struct stat *st, const char *remote,
		      int depth, struct tl_err *err)
{
	struct sftp_attrs a = times_of(st);
	struct put *p = put_new(t, remote, false);
	DIR *dir = p ? fdopendir(fd) : NULL;
	int rc;

	if (!dir) {
		close(fd);
		if (p)
			put_release(p);
		return no_memory(err, remote);
	}
	p->refs++;
	rc = sftp_client_begin_mkdirs(t->c, remote, (st->st_mode & 0777) | 0700, put_done, p, err);
	t->folders++;
	if (!rc && depth < TRANSFER_DEPTH)
		rc = put_children(t, dir, remote, depth, err);
	else if (!rc)
		err_set(&p->err, TL_E_LIMIT, "cannot put %s: it is too deep", remote);
	if (!rc && t->times) {
		p->refs++;
		rc = sftp_client_begin_setstat(t->c, remote, &a, put_done, p, err);
	}
	put_release(p);
	closedir(dir);
	return rc;
}

/* Result: only what breaks the client; the entry's own failure is told here. */
static int put_entry(struct transfer *t, int dirfd, const char *name, const char *remote,
		     int follow, int depth, struct tl_err *err)
{
	struct stat st;
	int fd, rc;

	if (fstatat(dirfd, name, &st, follow ? 0 : AT_SYMLINK_NOFOLLOW) != 0) {
		err_sys(err, errno, "cannot read %s here", name);
		transfer_fail(t, err);
		return 0;
	}
	if (S_ISLNK(st.st_mode)) {
		rc = put_link(t, dirfd, name, remote, err);
		return rc;
	}
	if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode)) {
		err_set(err, TL_E_UNSUPPORTED, "%s is left out: it is no regular file", name);
		transfer_fail(t, err);
		return 0;
	}
	if (S_ISDIR(st.st_mode) && !t->recursive) {
		err_set(err, TL_E_ISDIR, "cannot put %s: it is a folder", name);
		transfer_fail(t, err);
		return 0;
	}
	fd = openat(dirfd, name, O_RDONLY | O_NONBLOCK | O_CLOEXEC | (follow ? 0 : O_NOFOLLOW));
	if (fd < 0 || fstat(fd, &st) != 0) {
		err_sys(err, errno, "cannot read %s here", name);
		transfer_fail(t, err);
		if (fd >= 0)
			close(fd);
		return 0;
	}
	if (S_ISDIR(st.st_mode))
		return put_folder(t, fd, &st, remote, depth, err);
	rc = put_file(t, fd, &st, remote, err);
	close(fd);
	return rc;
}

int transfer_put(struct transfer *t, int dirfd, const char *name, const char *remote,
		 struct tl_err *err)
{
	int rc = put_entry(t, dirfd, name, remote, 1, 0, err);

	if (!rc)
		rc = sftp_client_drain(t->c, 0, err);
	return rc ? rc : t->first_rc;
}
