/* copy_later.c - large files of a download, one after the other behind the tree: over channels of
 * their own where the session has such, or, with resume, continuing what is here already, compared
 * by its digest. Owns the file until it has its name; a part of a copy with resume keeps its
 * recognisable name when that does not come. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/copy.h"
#include "api/copy_lanes.h"
#include "base/limits.h"
#include "base/str.h"

struct getting {
	struct copy *c;
	const struct copy_later *l;
	int dirfd, fd; /* dirfd is ours */
	const char *name;
	char part[256];
	uint64_t done, size;
	/* how the request ended */
	int rc;
	struct tl_err why;
};

/* The folder of below, no component of which may be a link. */
static int open_folder(int dirfd, const char *below, const char **ret_name)
{
	int fd = fcntl(dirfd, F_DUPFD_CLOEXEC, 0), next;
	const char *slash;
	char one[256];

	while (fd >= 0 && (slash = strchr(below, '/'))) {
		if ((size_t)(slash - below) >= sizeof(one)) {
			close(fd);
			errno = ENAMETOOLONG;
			return -1;
		}
		memcpy(one, below, (size_t)(slash - below));
		one[slash - below] = 0;
		next = openat(fd, one, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		close(fd);
		fd = next;
		below = slash + 1;
	}
	*ret_name = below;
	return fd;
}

static int take_data(void *ctx, struct tl_bytes b, struct tl_err *err)
{
	struct getting *g = ctx;

	g->done += b.n;
	for (size_t n = b.n; n;) {
		ssize_t w = write(g->fd, b.p + b.n - n, n);
		if (w < 0 && errno == EINTR)
			continue;
		if (w <= 0)
			return err_sys(err, w < 0 ? errno : EIO, "cannot write %s here",
				       g->l->below);
		n -= (size_t)w;
	}
	return copy_tick(g->c, g->l->remote, b.n, g->done, g->size);
}

/* The file that is here is the one there. */
static int is_there(struct getting *g, bool *ret_same, struct tl_err *err)
{
	int fd = openat(g->dirfd, g->name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	struct stat st;
	int rc = 0;

	*ret_same = false;
	if (fd < 0)
		return 0;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && (uint64_t)st.st_size == g->l->size)
		rc = copy_same(g->c, fd, g->l->remote, g->l->size, ret_same, err);
	close(fd);
	return rc;
}

/* Opens the part and finds out how much of it counts. */
static int open_part(struct getting *g, struct tl_err *err)
{
	struct stat st;
	bool same = false;
	int rc = 0;

	snprintf(g->part, sizeof(g->part), COPY_PART, g->name);
	g->fd = openat(g->dirfd, g->part, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC,
		       g->l->mode & 0777 & ~077u);
	if (g->fd < 0 || fstat(g->fd, &st) != 0)
		return err_sys(err, errno, "cannot write %s here", g->l->below);
	if (!S_ISREG(st.st_mode) || st.st_nlink != 1)
		return err_set(err, TL_E_EXIST, "cannot write %s here: %s is in the way",
			       g->l->below, g->part);
	if (flock(g->fd, LOCK_EX | LOCK_NB) != 0)
		return err_set(err, TL_E_AGAIN, "cannot write %s here: another transfer does",
			       g->l->below);
	if (st.st_size > 0 && (uint64_t)st.st_size <= g->l->size)
		rc = copy_same(g->c, g->fd, g->l->remote, (uint64_t)st.st_size, &same, err);
	g->done = same ? (uint64_t)st.st_size : 0;
	if (rc)
		return rc;
	if (ftruncate(g->fd, (off_t)g->done) != 0 || lseek(g->fd, (off_t)g->done, SEEK_SET) < 0)
		return err_sys(err, errno, "cannot write %s here", g->l->below);
	return copy_tick(g->c, g->l->remote, g->done, g->done, g->size);
}

/* A file under a name of this copy. */
static int open_temp(struct getting *g, struct tl_err *err)
{
	struct stat st;

	if (fstatat(g->dirfd, g->name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode))
		return err_sys(err, EISDIR, "cannot download %s: here is a folder of this name",
			       g->l->remote);
	snprintf(g->part, sizeof(g->part), ".%.200s.%s.towline", g->name, g->c->id);
	g->fd = openat(g->dirfd, g->part, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
		       g->l->mode & 0777);
	return g->fd < 0 ? err_sys(err, errno, "cannot write %s here", g->l->below) : 0;
}

/* Over channels of its own. What went wrong there, the ordinary way will find again. */
static int get_wide(struct getting *g, struct tl_err *err)
{
	struct lanes_file f = {.fd = g->fd,
			       .remote = g->l->remote,
			       .name = g->l->remote,
			       .size = g->size,
			       .mtime_ns = g->l->mtime_ns};
	struct tl_err mine = {0};
	int rc = lanes_are_there(g->c) ? lanes_copy(g->c, &f, &mine) : TL_E_UNSUPPORTED;

	if (rc == TL_E_CANCELED)
		return *err = mine, rc;
	if (rc == 0) {
		g->done = g->size;
		return 0;
	}
	session_log(g->c->s, 3, "copy: %s", mine.text);
	if (ftruncate(g->fd, 0) != 0)
		return err_sys(err, errno, "cannot write %s here", g->l->below);
	return 0;
}

static int finish(struct getting *g, struct tl_err *err)
{
	struct copy_place p = {.fd = g->fd,
			       .dirfd = g->dirfd,
			       .temp = g->part,
			       .name = g->name,
			       .mode = g->l->mode,
			       .mtime_ns = g->l->mtime_ns};
	struct stat st, dir;
	bool same = true, kept = fstat(g->dirfd, &dir) == 0;
	int rc = 0, e;

	if (g->c->o.verify)
		rc = copy_same(g->c, g->fd, g->l->remote, g->done, &same, err);
	if (!rc && !same)
		return err_set(err, TL_E_IO,
			       "%s is not the same here after copying: its digest differs",
			       g->l->remote);
	if (rc)
		return rc;
	if (fstatat(g->dirfd, g->name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode) &&
	    !g->c->o.preserve) {
		p.mode = st.st_mode;
		p.set_mode = true;
	}
	e = copy_place(g->c, &p);
	if (e == EEXIST && g->c->o.no_overwrite) {
		unlinkat(g->dirfd, g->part, 0);
		return 0;
	}
	if (e)
		return err_sys(err, e, "cannot give the file its name %s here", g->l->below);
	/* its folder got its time before */
	if (g->c->o.preserve && kept) {
		struct timespec t[2] = {{.tv_nsec = UTIME_OMIT}, dir.st_mtim};
		futimens(g->dirfd, t);
	}
	return 0;
}

static void ended(void *ctx, int rc, const struct tl_err *err)
{
	struct getting *g = ctx;

	g->rc = rc;
	g->why = *err;
}

static int get(struct getting *g, struct tl_err *err)
{
	bool there = false;
	struct stat st;
	int rc = 0;

	if (g->c->o.no_overwrite && fstatat(g->dirfd, g->name, &st, AT_SYMLINK_NOFOLLOW) == 0)
		return 0;
	if (g->c->o.resume)
		rc = is_there(g, &there, err);
	if (rc || there)
		return rc;
	rc = g->c->o.resume ? open_part(g, err) : open_temp(g, err);
	if (!rc && !g->c->o.resume)
		rc = get_wide(g, err);
	if (!rc && g->done < g->size) {
		rc = sftp_client_begin_read(g->c->c, g->l->remote, g->done, 0, NULL, take_data,
					    ended, g, err);
		rc = rc ? rc : sftp_client_drain(g->c->c, 0, err);
		if (rc) {
			/* it answers into what is on this stack */
			sftp_client_free(g->c->c);
			g->c->c = NULL;
		} else if (g->rc) {
			rc = g->rc;
			*err = g->why;
		}
	}
	if (!rc && g->done < g->size)
		rc = err_set(err, TL_E_CONFLICT, "%s became shorter while it was read",
			     g->l->remote);
	return rc ? rc : finish(g, err);
}

int copy_get_later(struct copy *c, int dirfd, const struct copy_later *l, struct tl_err *err)
{
	struct getting g = {.c = c, .l = l, .fd = -1, .size = l->size};
	int rc;

	g.dirfd = open_folder(dirfd, l->below, &g.name);
	rc = g.dirfd < 0 ? err_sys(err, errno, "cannot write %s here", l->below) : get(&g, err);
	if (rc && g.fd >= 0 && !c->o.resume)
		unlinkat(g.dirfd, g.part, 0);
	if (g.fd >= 0)
		close(g.fd);
	if (g.dirfd >= 0)
		close(g.dirfd);
	if (!rc)
		c->now.files_done++;
	if (!rc || copy_is_fatal(rc))
		return rc;
	copy_problem(c, l->remote, err);
	return 0;
}
