/* svc_fs_place.c - how saved content takes its place: see svc_fs_save.c for the order of things.
 * Owns descriptors within one call. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/xattr.h>

#include "base/str.h"
#include "host/svc_fs_save.h"

#define XATTR_LIST  65536
#define XATTR_VALUE 65536
#ifndef O_TMPFILE
#define O_TMPFILE 0
#endif

/* ------------------------------------------------ the spool */

/* A file without a name can get one only through /proc. */
static bool has_proc(void)
{
	return access("/proc/self/fd", X_OK) == 0;
}

static int open_unnamed(int dirfd, mode_t mode)
{
	if (!O_TMPFILE || !has_proc()) {
		errno = EOPNOTSUPP;
		return -1;
	}
	return openat(dirfd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, mode);
}

/* Elsewhere: only to hold the content until it is copied, so its name goes at once. */
static int open_elsewhere(void)
{
	static const char *const places[] = {"/var/tmp", "/tmp", "."};
	char name[256];
	int fd = -1, dirfd;

	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]) && fd < 0; i++) {
		dirfd = open(places[i], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (dirfd < 0)
			continue;
		fs_temp_name(name, sizeof(name), "save");
		fd = openat(dirfd, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
		if (fd >= 0)
			unlinkat(dirfd, name, 0);
		close(dirfd);
	}
	return fd;
}

int fs_spool_open(struct fs_spool *s, int dirfd, const char *name, mode_t mode, bool confined)
{
	*s = (struct fs_spool){.dirfd = dirfd, .beside = true};
	s->fd = open_unnamed(dirfd, mode);
	if (s->fd >= 0)
		return 0;
	fs_temp_name(s->name, sizeof(s->name), name);
	s->fd = openat(dirfd, s->name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
	if (s->fd >= 0)
		return 0;
	s->why = errno;
	s->name[0] = 0;
	s->beside = false;
	/* a full or read-only disk will not take the content later, either */
	if (confined || s->why == ENOSPC || s->why == EDQUOT || s->why == EROFS)
		return s->why;
	s->fd = open_elsewhere();
	return s->fd < 0 ? s->why : 0;
}

int fs_spool_part(struct fs_spool *s, int dirfd, const char *name, mode_t mode, uint64_t off)
{
	struct stat st;
	int e = 0;

	*s = (struct fs_spool){.dirfd = dirfd, .beside = true, .keep = true};
	snprintf(s->name, sizeof(s->name), ".%.200s.towline-part", name);
	s->fd =
	    openat(dirfd, s->name, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, mode);
	if (s->fd < 0 || fstat(s->fd, &st) != 0)
		e = errno;
	else if (!S_ISREG(st.st_mode) || st.st_nlink != 1)
		e = EEXIST;
	else if (flock(s->fd, LOCK_EX | LOCK_NB) != 0)
		e = errno;
	else if (off && off != (uint64_t)st.st_size)
		e = ESTALE;
	else if (ftruncate(s->fd, (off_t)off) != 0 || lseek(s->fd, 0, SEEK_END) < 0)
		e = errno;
	if (e)
		fs_spool_drop(s);
	return e;
}

void fs_spool_drop(struct fs_spool *s)
{
	if (s->name[0] && !s->keep)
		unlinkat(s->dirfd, s->name, 0);
	if (s->fd >= 0)
		close(s->fd);
	s->fd = -1;
	s->name[0] = 0;
}

/* Gives a spool without a name this one; EEXIST when it is taken. */
static int spool_link(struct fs_spool *s, const char *name)
{
	char proc[64];

	snprintf(proc, sizeof(proc), "/proc/self/fd/%d", s->fd);
	return linkat(AT_FDCWD, proc, s->dirfd, name, AT_SYMLINK_FOLLOW) == 0 ? 0 : errno;
}

/* ------------------------------------------------ keeping what is not content */

static bool same_xattr(int fd, const char *name, const void *value, size_t n)
{
	uint8_t *mine = malloc(n ? n : 1);
	bool same =
	    mine && fgetxattr(fd, name, mine, n) == (ssize_t)n && memcmp(mine, value, n) == 0;

	free(mine);
	return same;
}

/* Copies ACL, security label and user attributes; 0, or why not. */
static int keep_xattrs(int from, int to)
{
	char *list = malloc(XATTR_LIST), *value = malloc(XATTR_VALUE);
	ssize_t n = list ? flistxattr(from, list, XATTR_LIST) : 0;
	int e = list && value ? 0 : ENOMEM;

	if (!e && n < 0 && errno != ENOTSUP && errno != ENOSYS)
		e = errno;
	for (char *name = list; !e && n > 0 && name < list + n; name += strlen(name) + 1) {
		ssize_t got = fgetxattr(from, name, value, XATTR_VALUE);
		if (got < 0)
			e = errno;
		else if (fsetxattr(to, name, value, (size_t)got, 0) != 0 &&
			 !same_xattr(to, name, value, (size_t)got))
			e = errno;
	}
	free(list);
	free(value);
	return e;
}

/* Makes the spool like the old file in everything but content; 0, or why that cannot be. */
static int become_like(struct fs_save *s, const struct stat *old)
{
	struct stat st;
	int fd, e = 0;

	if (fstat(s->spool.fd, &st) != 0)
		return errno;
	if ((st.st_uid != old->st_uid || st.st_gid != old->st_gid) &&
	    fchown(s->spool.fd, old->st_uid, old->st_gid) != 0)
		return errno;
	fd = fs_at_open(&s->at, O_RDONLY, 0);
	if (fd < 0)
		return errno;
	e = keep_xattrs(fd, s->spool.fd);
	close(fd);
	/* after owner and ACL, which both change it */
	if (!e && fchmod(s->spool.fd, old->st_mode & 07777) != 0)
		e = errno;
	return e;
}

/* ------------------------------------------------ in place */

/* Puts n bytes of old content back, as well as it goes. */
static void put_back(int fd, int backup, uint64_t size)
{
	if (fs_copy_fd(backup, fd) == 0 && ftruncate(fd, (off_t)size) == 0)
		return;
	/* blocks that were there can always be written again, so this is a broken disk */
	fprintf(stderr, "towline-host: a file could not be restored: %s\n", strerror(errno));
}

/* Reserves the blocks that the new content needs beyond the old ones. */
static int reserve(int fd, uint64_t old_size, uint64_t size)
{
	int e = 0;

	if (size <= old_size)
		return 0;
	/* the emulation of a C library would write into the file; the system call does not */
	if (fallocate(fd, 0, (off_t)old_size, (off_t)(size - old_size)) != 0)
		e = errno;
	if (e == EOPNOTSUPP || e == ENOSYS || e == EINTR)
		return 0;
	if (e && ftruncate(fd, (off_t)old_size) != 0)
		return errno;
	return e;
}

static int copy_into(struct fs_save *s, int fd, int backup, const struct stat *old)
{
	int e = fs_copy_fd(fd, backup);

	if (!e)
		e = reserve(fd, (uint64_t)old->st_size, s->total);
	if (e)
		return e;
	e = fs_copy_fd(s->spool.fd, fd);
	if (!e && ftruncate(fd, (off_t)s->total) != 0)
		e = errno;
	if (!e && fsync(fd) != 0 && errno != EINVAL)
		e = errno;
	if (e)
		put_back(fd, backup, (uint64_t)old->st_size);
	return e;
}

static int place_inside(struct fs_save *s, const struct stat *old)
{
	struct fs_spool backup;
	struct stat st;
	int fd = fs_at_open(&s->at, O_RDWR, 0), e;

	if (fd < 0 && errno == EACCES)
		return EACCES; /* not readable: no way to keep the old content */
	if (fd < 0)
		return errno;
	if (fstat(fd, &st) != 0 || st.st_ino != old->st_ino || st.st_dev != old->st_dev) {
		close(fd);
		return EBUSY;
	}
	e = fs_spool_open(&backup, s->at.dirfd, s->at.name, 0600, false);
	if (!e)
		e = copy_into(s, fd, backup.fd, old);
	fs_spool_drop(&backup);
	if (close(fd) != 0 && !e && errno != EINTR)
		e = errno;
	return e;
}

/* ------------------------------------------------ taking the name */

/* A new file: must not replace what came meanwhile. */
static int place_new(struct fs_save *s)
{
	int e;

	if (!s->spool.name[0])
		return spool_link(&s->spool, s->at.name);
	e = fs_rename_new(s->spool.dirfd, s->spool.name, s->at.dirfd, s->at.name);
	if (!e)
		s->spool.name[0] = 0;
	return e;
}

static int place_over(struct fs_save *s)
{
	struct fs_spool *p = &s->spool;
	char temp[sizeof(p->name)];
	int e;

	if (!p->name[0]) {
		fs_temp_name(temp, sizeof(temp), s->at.name);
		e = spool_link(p, temp);
		if (e)
			return e;
		memcpy(p->name, temp, sizeof(temp));
	}
	if (renameat(p->dirfd, p->name, s->at.dirfd, s->at.name) != 0)
		return errno;
	p->name[0] = 0;
	return 0;
}

static void sync_folder(int dirfd)
{
	/* the descriptor we have is only a path */
	int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return;
	fsync(fd);
	close(fd);
}

int fs_place(struct fs_save *s, const struct stat *old, bool sync)
{
	int e;

	if (!old)
		e = place_new(s);
	else if (!s->spool.beside || old->st_nlink > 1 || become_like(s, old) != 0)
		return place_inside(s, old);
	else
		e = place_over(s);
	/* a sticky folder lets us make files, but not replace another's */
	if (e && old && (e == EPERM || e == EACCES || e == EBUSY || e == ETXTBSY))
		return place_inside(s, old);
	if (!e && sync)
		sync_folder(s->at.dirfd);
	return e;
}
