/* svc_fs_tree.c - remove-tree@towline, copy-tree@towline, touch-mkdirs@towline.
 * Owns the descriptors of one walk. Links are never followed on the way.
 * Removing holds one folder open however deep the tree is; copying holds two for every level, and
 * makes everything under a temporary name first, so a copy is there whole or not at all. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/str.h"
#include "host/svc_fs_priv.h"

#define PIECE      32768
#define COPY_DEPTH 400
#define DEPTH_MAX  100000

/* ------------------------------------------------ removing */

/* The folders between the top and where we are. */
struct level {
	dev_t dev;
	ino_t ino;
	char *name;
};

struct removal {
	int fd; /* the folder we are in */
	struct level *v;
	size_t n, cap;
	char *where; /* receives what refused */
	size_t where_n;
};

static void refuse_at(struct removal *r, const char *name)
{
	size_t n = 0;

	r->where[0] = 0;
	/* the path of a deep entry is cut at its beginning, where the client knows it */
	for (size_t i = r->n > 8 ? r->n - 8 : 0; i < r->n && n < r->where_n; i++)
		n += (size_t)snprintf(r->where + n, r->where_n - n, "%s/", r->v[i].name);
	if (n < r->where_n)
		snprintf(r->where + n, r->where_n - n, "%s", name);
}

/* Goes into the folder `name` of where we are. */
static int go_down(struct removal *r, const char *name)
{
	int fd = openat(r->fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;

	if (fd < 0)
		return errno;
	if (r->n >= DEPTH_MAX || fstat(r->fd, &st) != 0) {
		close(fd);
		return r->n >= DEPTH_MAX ? ENAMETOOLONG : errno;
	}
	if (r->n == r->cap) {
		size_t cap = r->cap ? r->cap * 2 : 16;
		struct level *v = realloc(r->v, cap * sizeof(*v));
		if (!v) {
			close(fd);
			return ENOMEM;
		}
		r->v = v;
		r->cap = cap;
	}
	r->v[r->n] = (struct level){st.st_dev, st.st_ino, str_dup(name)};
	if (!r->v[r->n].name) {
		close(fd);
		return ENOMEM;
	}
	r->n++;
	close(r->fd);
	r->fd = fd;
	return 0;
}

/* Goes back to the folder above, which must be the one we came from, and removes the one we left.
 */
static int go_up(struct removal *r)
{
	struct level *l = &r->v[r->n - 1];
	int fd = openat(r->fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC), e = 0;
	struct stat st;

	if (fd < 0)
		return errno;
	if (fstat(fd, &st) != 0 || st.st_dev != l->dev || st.st_ino != l->ino) {
		close(fd);
		return EBUSY;
	}
	close(r->fd);
	r->fd = fd;
	r->n--;
	if (unlinkat(fd, l->name, AT_REMOVEDIR) != 0 && errno != ENOENT) {
		e = errno;
		refuse_at(r, l->name);
	}
	free(l->name);
	return e;
}

/* Removes an entry; EAGAIN: it is a folder and we are in it now. */
static int remove_entry(struct removal *r, const struct fs_dirent *d)
{
	int e = EISDIR;

	if (d->type != DT_DIR) {
		if (unlinkat(r->fd, d->name, 0) == 0 || errno == ENOENT)
			return 0;
		e = errno;
	}
	if (e == EISDIR || e == EPERM) {
		if (unlinkat(r->fd, d->name, AT_REMOVEDIR) == 0 || errno == ENOENT)
			return 0;
		if (errno != ENOTDIR)
			e = errno;
		if (e == ENOTEMPTY || e == EEXIST) {
			e = go_down(r, d->name);
			if (!e)
				return EAGAIN;
		}
	}
	refuse_at(r, d->name);
	return e;
}

/* Empties the folder we are in as far as it has no folders; EAGAIN: went into one. */
static int empty(struct removal *r)
{
	struct fs_dirents *list;
	struct fs_dirent d;
	bool any;
	int e = fs_dirents_new(&list, r->fd, PIECE), got = 0;

	if (e)
		return e;
	/* again until nothing is left: some file systems skip entries while others are removed */
	do {
		any = false;
		while (!e && (got = fs_dirents_next(list, &d)) == 1) {
			if (fs_is_dot(d.name))
				continue;
			any = true;
			e = remove_entry(r, &d);
		}
		if (!e && got < 0)
			e = -got;
		if (!e && any)
			e = fs_dirents_rewind(list);
	} while (!e && any);
	fs_dirents_free(list);
	return e;
}

int fs_remove_tree(int dirfd, const char *name, char *where, size_t n)
{
	struct removal r = {.where = where, .where_n = n};
	int e;

	str_copy(where, n, name);
	if (unlinkat(dirfd, name, 0) == 0)
		return 0;
	if (errno != EISDIR && errno != EPERM)
		return errno;
	e = errno;
	r.fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (r.fd < 0)
		return errno == ENOTDIR || errno == ELOOP ? e : errno;
	for (;;) {
		e = empty(&r);
		if (e == EAGAIN)
			continue;
		if (e || r.n == 0)
			break;
		e = go_up(&r);
		if (e)
			break;
	}
	while (r.n)
		free(r.v[--r.n].name);
	free(r.v);
	close(r.fd);
	if (!e && unlinkat(dirfd, name, AT_REMOVEDIR) != 0) {
		e = errno;
		str_copy(where, n, name);
	}
	return e;
}

void fs_ext_remove_tree(struct fs_req *q)
{
	char path[FS_PATH], where[1024] = "";
	struct fs_at at;
	int e;

	if (!sftp_get_cstr(&q->in, path, sizeof(path))) {
		fs_bad(q);
		return;
	}
	e = fs_at_parent(q->fs, path, &at);
	if (!e && fs_is_dot(at.name)) {
		fs_at_close(&at);
		fs_refuse(q, TL_E_INVAL, "cannot remove %s: name the folder itself", path);
		return;
	}
	if (!e)
		e = fs_remove_tree(at.dirfd, at.name, where, sizeof(where));
	fs_at_close(&at);
	if (e && where[0] && strcmp(where, at.name) != 0)
		fs_fail(q, e, "cannot remove %s: %s in it", path, where);
	else
		fs_fail(q, e, "cannot remove %s", path);
}

/* ------------------------------------------------ copying */

struct copying {
	char where[1024]; /* the entry that refused */
	int depth;
	dev_t top_dev; /* the copy itself, which is not copied into itself */
	ino_t top_ino;
};

static int copy_entry(struct copying *c, int from_dir, const char *from, int to_dir,
		      const char *to);

static int copy_file(int from_dir, const char *from, int to_dir, const char *to)
{
	int a = openat(from_dir, from, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC), b, e;
	struct stat st;

	if (a < 0)
		return errno;
	e = fstat(a, &st) == 0 ? 0 : errno;
	if (!e && !S_ISREG(st.st_mode))
		e = EINVAL;
	b = e ? -1 : openat(to_dir, to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (!e && b < 0)
		e = errno;
	if (!e)
		e = fs_copy_fd(a, b);
	if (!e && fchmod(b, st.st_mode & 07777) != 0)
		e = errno;
	if (b >= 0 && close(b) != 0 && !e && errno != EINTR)
		e = errno;
	close(a);
	return e;
}

static int copy_children(struct copying *c, int from, int to)
{
	struct fs_dirents *list;
	struct fs_dirent d;
	int e = fs_dirents_new(&list, from, PIECE), got = 0;

	while (!e && (got = fs_dirents_next(list, &d)) == 1)
		if (!fs_is_dot(d.name))
			e = copy_entry(c, from, d.name, to, d.name);
	fs_dirents_free(list);
	return e ? e : got < 0 ? -got : 0;
}

static int copy_folder(struct copying *c, int from_dir, const char *from, int to_dir,
		       const char *to, const struct stat *st)
{
	int a = -1, b = -1, e = 0;
	struct stat made;

	if (++c->depth > COPY_DEPTH)
		return ENAMETOOLONG;
	a = openat(from_dir, from, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (a < 0 || mkdirat(to_dir, to, 0700) != 0)
		e = errno;
	if (!e) {
		b = openat(to_dir, to, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (b < 0 || fstat(b, &made) != 0)
			e = errno;
	}
	if (!e && c->depth == 1) {
		c->top_dev = made.st_dev;
		c->top_ino = made.st_ino;
	}
	if (!e)
		e = copy_children(c, a, b);
	/* last, because a folder may forbid writing */
	if (!e && fchmod(b, st->st_mode & 07777) != 0)
		e = errno;
	if (a >= 0)
		close(a);
	if (b >= 0)
		close(b);
	c->depth--;
	return e;
}

static int copy_link(int from_dir, const char *from, int to_dir, const char *to)
{
	char target[FS_PATH];
	ssize_t n = readlinkat(from_dir, from, target, sizeof(target) - 1);

	if (n < 0)
		return errno;
	target[n] = 0;
	return symlinkat(target, to_dir, to) == 0 ? 0 : errno;
}

static int copy_entry(struct copying *c, int from_dir, const char *from, int to_dir, const char *to)
{
	struct stat st;
	int e = 0;

	if (fstatat(from_dir, from, &st, AT_SYMLINK_NOFOLLOW) != 0)
		e = errno;
	else if (c->top_ino && st.st_dev == c->top_dev && st.st_ino == c->top_ino)
		return 0;
	else if (S_ISREG(st.st_mode))
		e = copy_file(from_dir, from, to_dir, to);
	else if (S_ISDIR(st.st_mode))
		e = copy_folder(c, from_dir, from, to_dir, to, &st);
	else if (S_ISLNK(st.st_mode))
		e = copy_link(from_dir, from, to_dir, to);
	else if (!S_ISSOCK(st.st_mode)) /* a socket's program would not listen on its copy */
		e = mknodat(to_dir, to, st.st_mode, st.st_rdev) == 0 ? 0 : errno;
	if (e && !c->where[0])
		str_copy(c->where, sizeof(c->where), from);
	return e;
}

/* Puts the finished copy in place of what is there, which is kept until that has worked. */
static int replace(int dirfd, const char *temp, const char *name)
{
	char old[256], where[256];
	struct stat a, b;
	int e;

	if (fstatat(dirfd, name, &b, AT_SYMLINK_NOFOLLOW) != 0 ||
	    fstatat(dirfd, temp, &a, AT_SYMLINK_NOFOLLOW) != 0)
		return errno;
	if (!S_ISDIR(a.st_mode) && !S_ISDIR(b.st_mode))
		return renameat(dirfd, temp, dirfd, name) == 0 ? 0 : errno;
	fs_temp_name(old, sizeof(old), name);
	if (renameat(dirfd, name, dirfd, old) != 0)
		return errno;
	if (renameat(dirfd, temp, dirfd, name) != 0) {
		e = errno;
		renameat(dirfd, old, dirfd, name);
		return e;
	}
	return fs_remove_tree(dirfd, old, where, sizeof(where));
}

/* a is b or below it */
static bool is_within(const char *a, const char *b)
{
	size_t n = strlen(b);

	if (n && b[n - 1] == '/')
		n--;
	return strncmp(a, b, n) == 0 && (a[n] == 0 || a[n] == '/');
}

/* The real paths of both, for comparing; the names themselves are not followed. */
static int real_of(struct svc_fs *fs, const char *path, char out[FS_PATH])
{
	char copy[FS_PATH], real[FS_PATH], *slash;
	size_t n;

	str_copy(copy, sizeof(copy), path);
	for (n = strlen(copy); n > 1 && copy[n - 1] == '/'; n--)
		copy[n - 1] = 0;
	slash = strrchr(copy, '/');
	if (!slash || fs_is_dot(slash + 1) || !slash[1])
		return fs_realpath(fs, path, out);
	*slash = 0;
	int e = fs_realpath(fs, slash == copy ? "/" : copy, real);
	if (e)
		return e;
	n = (size_t)snprintf(out, FS_PATH, "%s%s%s", real, strcmp(real, "/") == 0 ? "" : "/",
			     slash + 1);
	return n < FS_PATH ? 0 : ENAMETOOLONG;
}

/* 0, errno; -1 after having answered */
static int copy_check(struct fs_req *q, const char *from, const char *to)
{
	char a[FS_PATH], b[FS_PATH];
	int e = real_of(q->fs, from, a);

	if (!e)
		e = real_of(q->fs, to, b);
	if (e)
		return e;
	if (!is_within(b, a) && !is_within(a, b))
		return 0;
	fs_refuse(q, TL_E_INVAL, "cannot copy %s to %s: one is inside the other", from, to);
	return -1;
}

static int copy_tree(const struct fs_at *a, const struct fs_at *b, bool overwrite,
		     struct copying *c)
{
	char temp[256], where[256];
	struct stat st;
	int e;

	if (!overwrite && fs_at_stat(b, &st) == 0)
		return EEXIST;
	fs_temp_name(temp, sizeof(temp), b->name);
	e = copy_entry(c, a->dirfd, a->name, b->dirfd, temp);
	if (!e)
		e = fs_rename_new(b->dirfd, temp, b->dirfd, b->name);
	if (e == EEXIST && overwrite)
		e = replace(b->dirfd, temp, b->name);
	if (e)
		fs_remove_tree(b->dirfd, temp, where, sizeof(where));
	return e;
}

void fs_ext_copy_tree(struct fs_req *q)
{
	char from[FS_PATH], to[FS_PATH];
	struct copying c = {.depth = 0};
	struct fs_at a = {.dirfd = AT_FDCWD}, b = {.dirfd = AT_FDCWD};
	uint32_t flags;
	int e;

	sftp_get_cstr(&q->in, from, sizeof(from));
	sftp_get_cstr(&q->in, to, sizeof(to));
	flags = sftp_get_u32(&q->in);
	if (q->in.bad) {
		fs_bad(q);
		return;
	}
	e = copy_check(q, from, to);
	if (e < 0)
		return;
	if (!e)
		e = fs_at_parent(q->fs, from, &a);
	if (!e)
		e = fs_at_parent(q->fs, to, &b);
	if (!e)
		e = copy_tree(&a, &b, flags & SFTP_COPY_OVERWRITE, &c);
	if (e && c.where[0] && strcmp(c.where, a.name) != 0)
		fs_fail(q, e, "cannot copy %s to %s: %s in it", from, to, c.where);
	else
		fs_fail(q, e, "cannot copy %s to %s", from, to);
	fs_at_close(&a);
	fs_at_close(&b);
}

/* ------------------------------------------------ making folders */

static int make_one(struct fs_req *q, const char *path, mode_t mode)
{
	struct fs_at at;
	struct stat st;
	int e = fs_at(q->fs, path, true, &at);

	if (!e && mkdirat(at.dirfd, at.name, mode) != 0) {
		e = errno;
		/* a read-only file system says so even of folders that are there */
		if (fs_at_stat(&at, &st) == 0)
			e = S_ISDIR(st.st_mode) ? 0 : ENOTDIR;
	}
	fs_at_close(&at);
	return e;
}

void fs_ext_mkdirs(struct fs_req *q)
{
	char path[FS_PATH], part[FS_PATH];
	uint32_t mode;
	int e = 0;

	sftp_get_cstr(&q->in, path, sizeof(path));
	mode = sftp_get_u32(&q->in);
	if (q->in.bad || !path[0]) {
		fs_bad(q);
		return;
	}
	mode = mode ? mode & 07777 : 0777;
	for (size_t i = 1; !e; i++) {
		if (path[i] != '/' && path[i] != 0)
			continue;
		memcpy(part, path, i);
		part[i] = 0;
		/* parents must be passable, whatever the last one gets */
		e = make_one(q, part, path[i] ? mode | 0700 : mode);
		if (!path[i])
			break;
	}
	fs_fail(q, e, "cannot make the folder %s", path);
}
