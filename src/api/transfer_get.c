/* transfer_get.c - from the host to this machine. Owns the files being written until each has its
 * name. The host is not trusted: entries are made relative to open folders, never through a link
 * that the host could have made just before. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/transfer.h"
#include "base/limits.h"
#include "base/str.h"
#include "loop/loop.h"

/* files asked for and not yet here */
#define WINDOW 32

/* ------------------------------------------------ shared with putting */

int transfer_fail(struct transfer *t, const struct tl_err *err)
{
	t->failures++;
	if (!t->first_rc)
		t->first_rc = err->code;
	if (t->failed)
		t->failed(t->ctx, err);
	return err->code;
}

void transfer_tick(struct transfer *t, const char *name, uint64_t n, uint64_t done, uint64_t total)
{
	t->bytes += n;
	if (t->progress)
		t->progress(t->ctx, t, name, done, total);
}

char *transfer_join(const char *folder, const char *name)
{
	return str_fmt("%s%s%s", folder, str_ends(folder, "/") ? "" : "/", name);
}

void transfer_temp_name(char *out, size_t n, const char *name)
{
	char id[9];

	random_id(id, 8);
	snprintf(out, n, ".%.200s.%s.towline", name, id);
}

/* ------------------------------------------------ one file */

struct get_file {
	struct transfer *t;
	int dirfd, fd; /* dirfd is borrowed */
	uint32_t mode;
	uint64_t mtime_ms, size, done;
	char *remote, *name;
	char temp[256];
};

static int get_head(void *ctx, const uint8_t etag[SFTP_ETAG], uint64_t size, struct tl_err *err)
{
	struct get_file *f = ctx;

	(void)etag;
	f->size = size;
	transfer_temp_name(f->temp, sizeof(f->temp), f->name);
	f->fd = openat(f->dirfd, f->temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (f->fd >= 0)
		return 0;
	f->temp[0] = 0;
	return err_sys(err, errno, "cannot write %s here", f->name);
}

static int get_data(void *ctx, struct tl_bytes data, struct tl_err *err)
{
	struct get_file *f = ctx;
	size_t n = data.n;

	while (data.n) {
		ssize_t w = write(f->fd, data.p, data.n);
		if (w < 0 && errno == EINTR)
			continue;
		if (w <= 0)
			return err_sys(err, w < 0 ? errno : EIO, "cannot write %s here", f->name);
		data = bytes_of(data.p + w, data.n - (size_t)w);
	}
	f->done += n;
	transfer_tick(f->t, f->name, n, f->done, f->size);
	return 0;
}

static mode_t current_umask(void)
{
	mode_t m = umask(077);
	umask(m);
	return m;
}

static void set_times(int fd, uint64_t mtime_ms)
{
	struct timespec t[2] = {
	    {.tv_nsec = UTIME_OMIT},
	    {.tv_sec = (time_t)(mtime_ms / 1000), .tv_nsec = (long)(mtime_ms % 1000) * 1000000}};
	futimens(fd, t);
}

/* Mode of what is replaced, else the host's under our umask; then the name. */
static int get_place(struct get_file *f, struct tl_err *err)
{
	mode_t mode = f->mode & 0777 & ~current_umask();
	struct stat st;

	if (fstatat(f->dirfd, f->name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode))
		mode = st.st_mode & 0777; /* what came from elsewhere gets no more */
	if (fchmod(f->fd, mode) != 0)
		return err_sys(err, errno, "cannot set the mode of %s here", f->name);
	if (f->t->times)
		set_times(f->fd, f->mtime_ms);
	/* some network file systems report a full disk only here */
	int fd = f->fd;
	f->fd = -1;
	if (close(fd) != 0 && errno != EINTR)
		return err_sys(err, errno, "cannot write %s here", f->name);
	if (renameat(f->dirfd, f->temp, f->dirfd, f->name) != 0)
		return err_sys(err, errno, "cannot give the file its name %s here", f->name);
	f->temp[0] = 0;
	return 0;
}

static void get_done(void *ctx, int rc, const struct tl_err *why)
{
	struct get_file *f = ctx;
	struct tl_err err = {0};

	if (rc)
		err = *why;
	else
		rc = get_place(f, &err);
	if (f->fd >= 0)
		close(f->fd);
	if (f->temp[0])
		unlinkat(f->dirfd, f->temp, 0);
	if (rc)
		transfer_fail(f->t, &err);
	else
		f->t->files++;
	free(f->remote);
	free(f->name);
	free(f);
}

static int get_file(struct transfer *t, const char *remote, int dirfd, const char *name,
		    uint32_t mode, uint64_t mtime_ms, struct tl_err *err)
{
	struct get_file *f = calloc(1, sizeof(*f));
	int rc;

	if (!f)
		return err_set(err, TL_E_NOMEM, "cannot get %s: out of memory", remote);
	*f =
	    (struct get_file){.t = t, .dirfd = dirfd, .fd = -1, .mode = mode, .mtime_ms = mtime_ms};
	f->remote = str_dup(remote);
	f->name = str_dup(name);
	if (!f->remote || !f->name) {
		free(f->remote);
		free(f->name);
		free(f);
		return err_set(err, TL_E_NOMEM, "cannot get %s: out of memory", remote);
	}
	rc = sftp_client_begin_read(t->c, f->remote, 0, 0, get_head, get_data, get_done, f, err);
	return rc ? rc : sftp_client_drain(t->c, WINDOW, err);
}

/* ------------------------------------------------ trees */

struct entry {
	char *name;
	uint8_t type;
	uint32_t mode;
	uint64_t mtime_ms;
};

struct entries {
	struct entry *v;
	size_t n, cap;
};

static int collect(void *ctx, const struct sftp_entry_info *e, struct tl_err *err)
{
	struct entries *all = ctx;

	if (all->n == all->cap) {
		size_t cap = all->cap ? all->cap * 2 : 64;
		struct entry *v = realloc(all->v, cap * sizeof(*v));
		if (!v)
			return err_set(err, TL_E_NOMEM, "a folder has too many entries");
		all->v = v;
		all->cap = cap;
	}
	all->v[all->n] = (struct entry){str_dup(e->name), e->type, e->mode, e->mtime_ms};
	if (!all->v[all->n].name)
		return err_set(err, TL_E_NOMEM, "a folder has too many entries");
	all->n++;
	return 0;
}

static void entries_fini(struct entries *all)
{
	for (size_t i = 0; i < all->n; i++)
		free(all->v[i].name);
	free(all->v);
}

/* Is the failure only about this entry? Then it is told and forgotten. */
static int settle(struct transfer *t, int rc, const struct tl_err *err)
{
	if (rc == 0)
		return 0;
	if (rc == TL_E_CLOSED || rc == TL_E_PROTO || rc == TL_E_CANCELED || rc == TL_E_NOMEM)
		return rc;
	transfer_fail(t, err);
	return 0;
}

static int get_link(struct transfer *t, const char *remote, int dirfd, const char *name,
		    struct tl_err *err)
{
	char target[TL_LIMIT_PATH + 1], temp[256];
	int rc = sftp_client_readlink(t->c, remote, target, sizeof(target), err);

	if (rc)
		return rc;
	transfer_temp_name(temp, sizeof(temp), name);
	if (symlinkat(target, dirfd, temp) != 0)
		return err_sys(err, errno, "cannot make the link %s here", name);
	if (renameat(dirfd, temp, dirfd, name) == 0) {
		t->files++;
		return 0;
	}
	rc = err_sys(err, errno, "cannot make the link %s here", name);
	unlinkat(dirfd, temp, 0);
	return rc;
}

static int get_folder(struct transfer *t, const char *remote, int dirfd, const char *name,
		      const struct entry *self, int depth, struct tl_err *err);

static int get_entry(struct transfer *t, const char *remote, int dirfd, const char *name,
		     const struct entry *e, int depth, struct tl_err *err)
{
	switch (e->type) {
	case SFTP_ENTRY_FILE:
		return get_file(t, remote, dirfd, name, e->mode, e->mtime_ms, err);
	case SFTP_ENTRY_FOLDER:
		return get_folder(t, remote, dirfd, name, e, depth, err);
	case SFTP_ENTRY_LINK_FILE:
	case SFTP_ENTRY_LINK_FOLDER:
	case SFTP_ENTRY_LINK_BROKEN:
		return get_link(t, remote, dirfd, name, err);
	default:
		return err_set(err, TL_E_UNSUPPORTED, "%s is left out: it is no regular file",
			       remote);
	}
}

static int get_children(struct transfer *t, const char *remote, int fd, int depth,
			struct tl_err *err)
{
	struct entries all = {0};
	int rc = sftp_client_list(t->c, remote, 0, collect, &all, err);

	for (size_t i = 0; i < all.n && !rc; i++) {
		char *path = transfer_join(remote, all.v[i].name);
		if (!path) {
			rc = err_set(err, TL_E_NOMEM, "cannot get %s: out of memory", remote);
			break;
		}
		rc = get_entry(t, path, fd, all.v[i].name, &all.v[i], depth + 1, err);
		rc = settle(t, rc, err);
		free(path);
	}
	entries_fini(&all);
	return rc;
}

static int get_folder(struct transfer *t, const char *remote, int dirfd, const char *name,
		      const struct entry *self, int depth, struct tl_err *err)
{
	bool made = mkdirat(dirfd, name, 0700) == 0;
	struct tl_err other;
	int fd, rc, drained;

	if (!made && errno != EEXIST)
		return err_sys(err, errno, "cannot make the folder %s here", name);
	if (depth > TRANSFER_DEPTH)
		return err_set(err, TL_E_LIMIT, "cannot get %s: it is too deep", remote);
	fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return err_sys(err, errno, "cannot write into the folder %s here", name);
	t->folders++;
	rc = get_children(t, remote, fd, depth, err);
	/* what is under way uses fd */
	drained = sftp_client_drain(t->c, 0, rc ? &other : err);
	if (made)
		fchmod(fd, self->mode & 0777 & ~current_umask());
	if (t->times)
		set_times(fd, self->mtime_ms);
	close(fd);
	return rc ? rc : drained;
}

int transfer_get(struct transfer *t, const char *remote, int dirfd, const char *name,
		 struct tl_err *err)
{
	struct sftp_stat st;
	struct entry self;
	int rc = sftp_client_stat(t->c, remote, &st, err);

	/* the named thing itself is followed; links below it are not */
	if (!rc && st.type == SFTP_ENTRY_LINK_BROKEN)
		rc = err_set(err, TL_E_NOENT, "cannot get %s: what the link points to is not there",
			     remote);
	if (!rc) {
		bool folder = st.type == SFTP_ENTRY_FOLDER || st.type == SFTP_ENTRY_LINK_FOLDER;
		self = (struct entry){.type = folder                            ? SFTP_ENTRY_FOLDER
					      : st.type == SFTP_ENTRY_LINK_FILE ? SFTP_ENTRY_FILE
										: st.type,
				      .mode = st.mode,
				      .mtime_ms = st.mtime_ms};
		if (folder && !t->recursive)
			rc = err_set(err, TL_E_ISDIR, "cannot get %s: it is a folder", remote);
	}
	if (!rc)
		rc = get_entry(t, remote, dirfd, name, &self, 0, err);
	if (!rc)
		rc = sftp_client_drain(t->c, 0, err);
	rc = settle(t, rc, err);
	return rc ? rc : t->first_rc;
}
