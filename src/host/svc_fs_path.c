/* svc_fs_path.c - from a client's path to (folder, one name), free or confined below a root.
 * Owns the descriptor in struct fs_at until fs_at_close.
 * Confined, every component is looked at and no link is ever left to the kernel: links are read
 * and walked here, so none can lead out, on any kernel; what changes under our feet makes the call
 * fail, because the last step refuses links. */
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/str.h"
#include "host/svc_fs_priv.h"
#include "loop/fsx.h"

#define LINKS_MAX 40

static void at_init(struct fs_at *at, bool follow)
{
	at->dirfd = AT_FDCWD;
	at->oflag = follow ? 0 : O_NOFOLLOW;
	at->sflag = follow ? 0 : AT_SYMLINK_NOFOLLOW;
	at->name[0] = 0;
}

/* ------------------------------------------------ confined */

struct walk {
	char done[FS_PATH];     /* components without links, joined by /; "" is the root */
	char todo[2 * FS_PATH]; /* what is still to be walked */
	int links;
};

/* The folder `done`, of which no component may be a link. */
static int open_done(int root, const char *done)
{
	int fd = fcntl(root, F_DUPFD_CLOEXEC, 0);
	char part[FS_PATH];

	while (fd >= 0 && *done) {
		size_t n = strcspn(done, "/");
		int next, e;
		memcpy(part, done, n);
		part[n] = 0;
		next = openat(fd, part, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		e = errno;
		close(fd);
		errno = e;
		fd = next;
		done += n;
		done += strspn(done, "/");
	}
	return fd;
}

/* Takes the next component of todo; false: there is none. ret_last: nothing follows it. */
static bool walk_next(struct walk *w, char part[FS_PATH], bool *ret_last)
{
	char *s = w->todo + strspn(w->todo, "/");
	size_t n = strcspn(s, "/");

	if (n == 0 || n >= FS_PATH)
		return false;
	memcpy(part, s, n);
	part[n] = 0;
	s += n;
	s += strspn(s, "/");
	*ret_last = *s == 0;
	memmove(w->todo, s, strlen(s) + 1);
	return true;
}

static void walk_up(struct walk *w)
{
	char *slash = strrchr(w->done, '/');
	/* above the root is the root */
	*(slash ? slash : w->done) = 0;
}

static int walk_down(struct walk *w, const char *part)
{
	size_t have = strlen(w->done), n = strlen(part);

	if (have + n + 2 > FS_PATH)
		return ENAMETOOLONG;
	if (have)
		w->done[have++] = '/';
	memcpy(w->done + have, part, n + 1);
	return 0;
}

/* Puts a link's target before what is still to be walked. */
static int walk_link(struct walk *w, int dirfd, const char *part)
{
	char target[FS_PATH];
	ssize_t n = readlinkat(dirfd, part, target, sizeof(target) - 1);
	size_t rest = strlen(w->todo) + 1;

	if (n < 0)
		return errno;
	target[n] = 0;
	if (++w->links > LINKS_MAX)
		return ELOOP;
	if (target[0] == '/')
		return EACCES;
	if ((size_t)n + 1 + rest > sizeof(w->todo))
		return ENAMETOOLONG;
	memmove(w->todo + n + 1, w->todo, rest);
	memcpy(w->todo, target, (size_t)n);
	w->todo[n] = '/';
	return 0;
}

static int walk_step(struct svc_fs *fs, struct walk *w, const char *part, bool last, bool follow)
{
	struct stat st;
	int fd, e = 0;

	if (strcmp(part, ".") == 0)
		return 0;
	if (strcmp(part, "..") == 0) {
		walk_up(w);
		return 0;
	}
	fd = open_done(fs->root, w->done);
	if (fd < 0)
		return errno;
	if (fstatat(fd, part, &st, AT_SYMLINK_NOFOLLOW) != 0)
		e = last && errno == ENOENT ? walk_down(w, part) : errno;
	else if (S_ISLNK(st.st_mode) && (!last || follow))
		e = walk_link(w, fd, part);
	else
		e = walk_down(w, part);
	close(fd);
	return e;
}

static int walk(struct svc_fs *fs, const char *path, bool follow, struct walk *w)
{
	char part[FS_PATH];
	bool last = false;
	int e = 0;

	memset(w, 0, sizeof(*w));
	if (!path[0])
		return ENOENT;
	if (!str_copy(w->todo, FS_PATH, path))
		return ENAMETOOLONG;
	while (!e && walk_next(w, part, &last))
		e = walk_step(fs, w, part, last, follow);
	return e;
}

static int at_confined(struct svc_fs *fs, const char *path, bool follow, struct fs_at *ret)
{
	struct walk w;
	char *slash;
	int e = walk(fs, path, follow, &w);

	at_init(ret, false);
	if (e)
		return e;
	slash = strrchr(w.done, '/');
	str_copy(ret->name, sizeof(ret->name), slash ? slash + 1 : w.done[0] ? w.done : ".");
	*(slash ? slash : w.done) = 0;
	ret->dirfd = open_done(fs->root, w.done);
	return ret->dirfd < 0 ? errno : 0;
}

/* ------------------------------------------------ free */

/* Splits into the folder and one name; trailing slashes do not count. "/" gives "/" and ".". */
static int split(const char *path, char dir[FS_PATH], char name[FS_PATH])
{
	size_t n = strlen(path), from;

	if (n == 0)
		return ENOENT;
	if (n >= FS_PATH)
		return ENAMETOOLONG;
	while (n > 1 && path[n - 1] == '/')
		n--;
	for (from = n; from > 0 && path[from - 1] != '/'; from--)
		;
	memcpy(name, path + from, n - from);
	name[n - from] = 0;
	if (fs_is_dot(name) || !name[0]) {
		memcpy(dir, path, n);
		dir[n] = 0;
		str_copy(name, 2, ".");
		return 0;
	}
	memcpy(dir, path, from);
	dir[from] = 0;
	if (from == 0)
		str_copy(dir, 2, ".");
	return 0;
}

static int at_split(const char *path, struct fs_at *ret)
{
	char dir[FS_PATH];
	int e;

	at_init(ret, false);
	e = split(path, dir, ret->name);
	if (e)
		return e;
	ret->dirfd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (ret->dirfd >= 0)
		return 0;
	e = errno;
	ret->dirfd = AT_FDCWD;
	return e;
}

/* The path without a link as its last component; what it points to need not exist. */
static int follow_links(const char *path, char out[FS_PATH])
{
	char target[FS_PATH], dir[FS_PATH], name[FS_PATH], next[2 * FS_PATH];
	ssize_t n;
	int e;

	if (!str_copy(out, FS_PATH, path))
		return ENAMETOOLONG;
	for (int i = 0; i < LINKS_MAX; i++) {
		n = readlink(out, target, sizeof(target) - 1);
		if (n < 0)
			return errno == EINVAL || errno == ENOENT ? 0 : errno;
		target[n] = 0;
		e = split(out, dir, name);
		if (e)
			return e;
		if (target[0] == '/')
			str_copy(next, sizeof(next), target);
		else
			snprintf(next, sizeof(next), "%s/%s", dir, target);
		if (!str_copy(out, FS_PATH, next))
			return ENAMETOOLONG;
	}
	return ELOOP;
}

/* ------------------------------------------------ both */

int fs_at(struct svc_fs *fs, const char *path, bool follow, struct fs_at *ret)
{
	if (fs->root >= 0)
		return at_confined(fs, path, follow, ret);
	at_init(ret, follow);
	return str_copy(ret->name, sizeof(ret->name), path) ? 0 : ENAMETOOLONG;
}

int fs_at_final(struct svc_fs *fs, const char *path, struct fs_at *ret)
{
	char real[FS_PATH];
	int e;

	if (fs->root >= 0)
		return at_confined(fs, path, true, ret);
	at_init(ret, false);
	e = follow_links(path, real);
	return e ? e : at_split(real, ret);
}

int fs_at_parent(struct svc_fs *fs, const char *path, struct fs_at *ret)
{
	if (fs->root >= 0)
		return at_confined(fs, path, false, ret);
	return at_split(path, ret);
}

void fs_at_close(struct fs_at *at)
{
	if (at->dirfd >= 0)
		close(at->dirfd);
	at->dirfd = AT_FDCWD;
}

int fs_at_stat(const struct fs_at *at, struct stat *ret)
{
	return fstatat(at->dirfd, at->name, ret, at->sflag) == 0 ? 0 : errno;
}

int fs_at_open(const struct fs_at *at, int flags, mode_t mode)
{
	int all = flags | at->oflag | O_CLOEXEC | O_NOCTTY, fd;
	struct stat st;

	fd = openat(at->dirfd, at->name, all | O_NONBLOCK, mode);
	/* a lease of a file server is waited for; a FIFO is not */
	if (fd < 0 && errno == EAGAIN && fs_at_stat(at, &st) == 0 && S_ISREG(st.st_mode))
		fd = openat(at->dirfd, at->name, all, mode);
	return fd;
}

int fs_realpath(struct svc_fs *fs, const char *path, char out[FS_PATH])
{
	char last[FS_PATH], dir[FS_PATH], name[FS_PATH], full[2 * FS_PATH];
	struct walk w;
	int e;

	if (fs->root >= 0) {
		e = walk(fs, path[0] ? path : "/", true, &w);
		snprintf(full, sizeof(full), "/%s", w.done);
		return e ? e : str_copy(out, FS_PATH, full) ? 0 : ENAMETOOLONG;
	}
	if (realpath(path[0] ? path : ".", out))
		return 0;
	if (errno != ENOENT)
		return errno;
	e = follow_links(path, last);
	if (!e)
		e = split(last, dir, name);
	if (e)
		return e;
	if (!realpath(dir, out))
		return errno;
	snprintf(full, sizeof(full), "%s/%s", strcmp(out, "/") == 0 ? "" : out, name);
	return str_copy(out, FS_PATH, full) ? 0 : ENAMETOOLONG;
}

int fs_home(const char *user, char out[FS_PATH])
{
	struct passwd *pw;

	if (!user || !user[0])
		return home_dir(out, FS_PATH) == 0 ? 0 : ENOENT;
	errno = 0;
	pw = getpwnam(user);
	if (!pw || !pw->pw_dir)
		return ENOENT;
	return str_copy(out, FS_PATH, pw->pw_dir) ? 0 : ENAMETOOLONG;
}
