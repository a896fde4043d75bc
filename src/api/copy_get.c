/* copy_get.c - from the host to this machine: one stream of records becomes files and folders.
 * Owns the file being written and the open folders above it. The host is not trusted: entries are
 * made relative to open folders, never through a link that the host could have made just before,
 * and a record that cannot come here breaks the stream. */
#include <errno.h>
#include <fcntl.h>
#include <sha2.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/copy.h"
#include "api/copy_lanes.h"
#include "api/copy_tar.h"
#include "base/limits.h"
#include "base/str.h"

/* named things asked for and not yet here */
#define WINDOW       64
#define PATH_MAX_ALL (COPY_DEPTH * 256 + 2 * TL_LIMIT_PATH)

struct folder {
	int fd;
	size_t path_len; /* of the path without it */
	uint32_t mode;
	uint64_t mtime_ns;
	bool made;
	size_t laters; /* before it */
};

/* The file being written; open -1 and drop true: its content goes nowhere. */
struct file {
	bool on, drop, hole_last;
	int fd;
	uint32_t mode;
	uint64_t mtime_ns, size, done;
	bool set_mode;
	size_t path_len;
	char name[SFTP_NAME_BYTES], temp[256];
};

/* A folder in which something is still to be made, and which forbids that in the end. */
struct closed_folder {
	struct closed_folder *next;
	struct folder v;
};

/* Large files of all tops, for the end. */
struct laters {
	struct copy_later *first, **last;
	size_t count;
	struct closed_folder *folders;
};

/* One named thing of the host; freed when its answer has ended. */
struct get {
	struct copy *c;
	char *top, *name; /* the path there, its name here */
	int dirfd;        /* borrowed */
	struct buf path;  /* there, of what is being made */
	struct folder v[COPY_DEPTH];
	size_t depth, skip; /* skip: folders below one that could not be made */
	struct file f;
	bool over;
	struct laters *laters; /* borrowed */
};

static const char *path_of(struct get *g)
{
	const char *s = buf_cstr(&g->path);
	return s ? s : g->top;
}

/* Goes down to `name` of where we are; the length to come back to. */
static size_t path_push(struct get *g, const char *name)
{
	size_t n = g->path.len;

	if (name[0] && n && buf_data(&g->path).p[n - 1] != '/')
		buf_put_str(&g->path, "/");
	buf_put_str(&g->path, name);
	return n;
}

static void path_pop(struct get *g, size_t n)
{
	g->path.len = n;
}

static void told(struct get *g, int sys_errno, const char *what)
{
	struct tl_err e = {0};

	err_sys(&e, sys_errno, "cannot download %s: %s", path_of(g), what);
	copy_problem(g->c, path_of(g), &e);
}

static int folder_fd(const struct get *g)
{
	return g->depth ? g->v[g->depth - 1].fd : g->dirfd;
}

/* Nothing can have a name in a folder that we made ourselves. */
static bool folder_fresh(const struct get *g)
{
	return g->depth && g->v[g->depth - 1].made;
}

/* ------------------------------------------------ placing */

int copy_place(struct copy *c, const struct copy_place *p)
{
	struct timespec t[2] = {{.tv_nsec = UTIME_OMIT},
				{.tv_sec = (time_t)(p->mtime_ns / 1000000000u),
				 .tv_nsec = (long)(p->mtime_ns % 1000000000u)}};
	struct stat st;

	if (c->o.preserve || p->set_mode) {
		if (fchmod(p->fd, p->mode & 0777) != 0)
			return errno;
	}
	if (c->o.preserve && futimens(p->fd, t) != 0)
		return errno;
	if (!p->fresh && c->o.no_overwrite &&
	    fstatat(p->dirfd, p->name, &st, AT_SYMLINK_NOFOLLOW) == 0)
		return EEXIST;
	return renameat(p->dirfd, p->temp, p->dirfd, p->name) == 0 ? 0 : errno;
}

/* ------------------------------------------------ one file */

static void file_drop(struct get *g)
{
	struct file *f = &g->f;

	if (f->fd >= 0) {
		close(f->fd);
		unlinkat(folder_fd(g), f->temp, 0);
	}
	f->fd = -1;
	f->drop = true;
}

static void file_open(struct get *g, const struct sftp_record *r)
{
	struct file *f = &g->f;
	struct copy *c = g->c;
	int dirfd = folder_fd(g);
	mode_t mode = r->mode & 0777;
	struct stat st;

	f->drop = true;
	if (!folder_fresh(g) && fstatat(dirfd, f->name, &st, AT_SYMLINK_NOFOLLOW) == 0) {
		if (c->o.no_overwrite)
			return;
		if (S_ISDIR(st.st_mode)) {
			told(g, EISDIR, "here is a folder of this name");
			return;
		}
		/* what is replaced keeps its mode */
		f->set_mode = S_ISREG(st.st_mode) && !c->o.preserve;
		f->mode = f->set_mode ? st.st_mode & 0777 : f->mode;
	}
	snprintf(f->temp, sizeof(f->temp), ".%.200s.%s.towline", f->name, c->id);
	f->fd = openat(dirfd, f->temp, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
	if (f->fd < 0)
		told(g, errno, "it cannot be written here");
	else
		f->drop = false;
}

static int file_begin(struct get *g, const struct sftp_record *r)
{
	struct file *f = &g->f;
	const char *name = r->name[0] ? r->name : g->name;

	f->on = true;
	f->fd = -1;
	f->set_mode = f->hole_last = false;
	f->mode = r->mode;
	f->mtime_ns = r->mtime_ns;
	f->size = r->size;
	f->done = 0;
	f->path_len = path_push(g, r->name);
	str_copy(f->name, sizeof(f->name), name);
	f->drop = true;
	if (g->skip)
		return 0;
	g->c->now.files_total++;
	g->c->now.total += r->size;
	file_open(g, r);
	return 0;
}

static int file_data(struct get *g, struct tl_bytes b)
{
	struct file *f = &g->f;
	size_t n = b.n;

	while (b.n && !f->drop) {
		ssize_t w = write(f->fd, b.p, b.n);
		if (w < 0 && errno == EINTR)
			continue;
		if (w <= 0) {
			told(g, w < 0 ? errno : EIO, "it cannot be written here");
			file_drop(g);
			break;
		}
		b = bytes_of(b.p + w, b.n - (size_t)w);
	}
	f->done += n;
	f->hole_last = false;
	return g->skip ? 0
		       : copy_tick(g->c, g->c->o.progress ? path_of(g) : "", n, f->done, f->size);
}

static int file_hole(struct get *g, uint64_t n)
{
	struct file *f = &g->f;

	if (n > INT64_MAX - f->done)
		return TL_E_PROTO;
	if (!f->drop && lseek(f->fd, (off_t)(f->done + n), SEEK_SET) < 0) {
		told(g, errno, "it cannot be written here");
		file_drop(g);
	}
	f->done += n;
	f->hole_last = true;
	return g->skip ? 0
		       : copy_tick(g->c, g->c->o.progress ? path_of(g) : "", n, f->done, f->size);
}

/* What was written, read again, against what the host read. */
static bool file_same(struct get *g, struct tl_bytes sum, struct tl_err *err)
{
	uint8_t ours[COPY_DIGEST];
	int e;

	if (!g->c->o.verify)
		return true;
	e = copy_sum(g->c, g->f.fd, g->f.done, ours);
	if (e)
		err_sys(err, e, "cannot verify %s", path_of(g));
	else if (sum.n != sizeof(ours) || memcmp(ours, sum.p, sizeof(ours)) != 0)
		err_set(err, TL_E_IO, "%s is not the same here after copying: its digest differs",
			path_of(g));
	return err->code == 0;
}

/* All of it is there: mode, time, name. */
static void file_finish(struct get *g)
{
	struct file *f = &g->f;
	struct copy_place p = {.fd = f->fd,
			       .dirfd = folder_fd(g),
			       .temp = f->temp,
			       .name = f->name,
			       .mode = f->mode,
			       .mtime_ns = f->mtime_ns,
			       .fresh = folder_fresh(g),
			       .set_mode = f->set_mode};
	int e = copy_place(g->c, &p);

	if (!e) {
		/* some network file systems report a full disk only here */
		if (close(f->fd) != 0 && errno != EINTR)
			told(g, errno, "it cannot be written here");
		else
			g->c->now.files_done++;
		f->fd = -1;
		return;
	}
	file_drop(g);
	if (e != EEXIST || !g->c->o.no_overwrite)
		told(g, e, "it cannot get its name here");
}

static int file_end(struct get *g, const struct sftp_record *r)
{
	struct file *f = &g->f;
	struct tl_err why = {0};

	if (r->problem.code && !g->skip) {
		err_set(&why, r->problem.code, "cannot read %s: %s", path_of(g), r->problem.text);
		copy_problem(g->c, path_of(g), &why);
		file_drop(g);
	} else if (!f->drop && f->hole_last && ftruncate(f->fd, (off_t)f->done) != 0) {
		told(g, errno, "it cannot be written here");
		file_drop(g);
	} else if (!f->drop && !file_same(g, r->data, &why)) {
		copy_problem(g->c, path_of(g), &why);
		file_drop(g);
	}
	if (!f->drop)
		file_finish(g);
	f->on = false;
	path_pop(g, f->path_len);
	return 0;
}

/* ------------------------------------------------ folders, links, problems */

static void folder_begin(struct get *g, const struct sftp_record *r)
{
	const char *name = r->name[0] ? r->name : g->name;
	struct folder *v = &g->v[g->depth];
	int dirfd = folder_fd(g);

	*v = (struct folder){.mode = r->mode, .mtime_ns = r->mtime_ns, .laters = g->laters->count};
	v->path_len = path_push(g, r->name);
	v->made = mkdirat(dirfd, name, (r->mode & 0777) | 0700) == 0;
	v->fd = -1;
	if (!v->made && errno != EEXIST)
		told(g, errno, "the folder cannot be made here");
	else
		v->fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (v->fd < 0 && (v->made || errno == ENOTDIR || errno == ELOOP || errno == EACCES))
		told(g, errno, "the folder cannot be opened here");
	if (v->fd >= 0) {
		g->depth++;
		return;
	}
	path_pop(g, v->path_len);
	g->skip = 1;
}

/* Its mode last, because it may forbid writing, and its time, because writing changes it. */
static void folder_close(const struct copy *c, const struct folder *v)
{
	struct timespec t[2] = {{.tv_nsec = UTIME_OMIT},
				{.tv_sec = (time_t)(v->mtime_ns / 1000000000u),
				 .tv_nsec = (long)(v->mtime_ns % 1000000000u)}};
	struct stat st;

	if (c->o.preserve) {
		fchmod(v->fd, v->mode & 0777);
		futimens(v->fd, t);
	} else if (v->made && (v->mode & 0700) != 0700 && fstat(v->fd, &st) == 0) {
		/* the rest of it was made under the umask */
		fchmod(v->fd, st.st_mode & 0777 & ~(0700 & ~v->mode));
	}
	close(v->fd);
}

static void folder_end(struct get *g)
{
	struct folder *v = &g->v[--g->depth];
	bool waits = g->laters->count > v->laters && (v->mode & 0700) != 0700;
	struct closed_folder *w = waits ? malloc(sizeof(*w)) : NULL;

	if (w) {
		*w = (struct closed_folder){.next = g->laters->folders, .v = *v};
		g->laters->folders = w;
	} else {
		folder_close(g->c, v);
	}
	path_pop(g, v->path_len);
}

static void link_make(struct get *g, const struct sftp_record *r)
{
	const char *name = r->name[0] ? r->name : g->name;
	size_t back = path_push(g, r->name);
	struct copy *c = g->c;
	int dirfd = folder_fd(g);
	struct timespec t[2] = {{.tv_nsec = UTIME_OMIT},
				{.tv_sec = (time_t)(r->mtime_ns / 1000000000u),
				 .tv_nsec = (long)(r->mtime_ns % 1000000000u)}};
	bool exist = false, ok;
	char temp[256];
	struct stat st;

	c->now.files_total++;
	snprintf(temp, sizeof(temp), ".%.200s.%s.towline", name, c->id);
	if (c->o.no_overwrite && fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) == 0)
		exist = true;
	ok = !exist && symlinkat(r->target, dirfd, temp) == 0;
	if (ok && c->o.preserve)
		utimensat(dirfd, temp, t, AT_SYMLINK_NOFOLLOW);
	if (ok && renameat(dirfd, temp, dirfd, name) == 0) {
		c->now.files_done++;
	} else if (!exist) {
		told(g, errno, "the link cannot be made here");
		if (ok)
			unlinkat(dirfd, temp, 0);
	}
	path_pop(g, back);
}

static void problem(struct get *g, const struct sftp_record *r)
{
	size_t back = path_push(g, r->name);
	struct tl_err e = {0};

	g->c->now.files_total++;
	err_set(&e, r->problem.code, "cannot read %s: %s", path_of(g), r->problem.text);
	copy_problem(g->c, path_of(g), &e);
	path_pop(g, back);
}

/* A large file for copy_get_later. */
static int later(struct get *g, const struct sftp_record *r, struct tl_err *err)
{
	size_t back = path_push(g, r->name);
	struct copy_later *l = calloc(1, sizeof(*l));
	const char *all = path_of(g);
	/* below the top folder the places here are those there */
	const char *rest = all + strlen(g->top);

	rest += strspn(rest, "/");
	if (l) {
		l->remote = str_dup(all);
		l->below = r->name[0] ? str_fmt("%s/%s", g->name, rest) : str_dup(g->name);
	}
	path_pop(g, back);
	if (!l || !l->remote || !l->below) {
		free(l ? l->remote : NULL);
		free(l ? l->below : NULL);
		free(l);
		return err_set(err, TL_E_NOMEM, "cannot download: out of memory");
	}
	l->mode = r->mode;
	l->mtime_ns = r->mtime_ns;
	l->size = r->size;
	g->c->now.files_total++;
	g->c->now.total += l->size;
	*g->laters->last = l;
	g->laters->last = &l->next;
	g->laters->count++;
	return 0;
}

/* ------------------------------------------------ records */

static int unexpected(struct tl_err *err)
{
	return err_set(err, TL_E_PROTO, "the host's answer makes no sense");
}

/* Below a folder that could not be made. */
static int take_skipped(struct get *g, const struct sftp_record *r)
{
	if (r->kind == SFTP_TREE_FOLDER)
		g->skip++;
	else if (r->kind == SFTP_TREE_UP)
		g->skip--;
	else if (r->kind == SFTP_TREE_FILE)
		return file_begin(g, r);
	if (g->skip == 0 && g->depth == 0)
		g->over = true;
	return 0;
}

static int take_entry(struct get *g, const struct sftp_record *r, struct tl_err *err)
{
	/* only the top has no name */
	if (r->kind != SFTP_TREE_UP && (r->kind != SFTP_TREE_PROBLEM || g->depth == 0) &&
	    (r->name[0] == 0) != (g->depth == 0))
		return unexpected(err);
	switch (r->kind) {
	case SFTP_TREE_FOLDER:
		if (g->depth == COPY_DEPTH)
			return unexpected(err);
		folder_begin(g, r);
		return 0;
	case SFTP_TREE_FILE:
		return file_begin(g, r);
	case SFTP_TREE_LATER:
		return later(g, r, err);
	case SFTP_TREE_LINK:
		link_make(g, r);
		return 0;
	case SFTP_TREE_PROBLEM:
		problem(g, r);
		return 0;
	case SFTP_TREE_UP:
		if (!g->depth)
			return unexpected(err);
		folder_end(g);
		return 0;
	default:
		return unexpected(err);
	}
}

static int take(void *ctx, const struct sftp_record *r, struct tl_err *err)
{
	struct get *g = ctx;
	int rc;

	if (g->over)
		return unexpected(err);
	if (g->f.on) {
		if (r->kind == SFTP_TREE_DATA)
			rc = file_data(g, r->data);
		else if (r->kind == SFTP_TREE_HOLE)
			rc = file_hole(g, r->size);
		else if (r->kind == SFTP_TREE_END)
			rc = file_end(g, r);
		else
			rc = TL_E_PROTO;
	} else {
		rc = g->skip ? take_skipped(g, r) : take_entry(g, r, err);
	}
	if (rc == TL_E_PROTO)
		return unexpected(err);
	if (!g->f.on && !g->depth && !g->skip)
		g->over = true;
	return rc;
}

static void get_free(struct get *g)
{
	buf_fini(&g->path);
	free(g->top);
	free(g->name);
	free(g);
}

static void done(void *ctx, int rc, const struct tl_err *err)
{
	struct get *g = ctx;

	if (g->f.on)
		file_drop(g);
	while (g->depth)
		folder_end(g);
	if (rc && !copy_is_fatal(rc)) {
		g->c->now.files_total++;
		copy_problem(g->c, g->top, err);
	}
	get_free(g);
}

static int no_memory(struct tl_err *err, const char *remote)
{
	return err_set(err, TL_E_NOMEM, "cannot download %s: out of memory", remote);
}

static int get_begin(struct copy *c, const char *remote, int dirfd, const char *name,
		     struct laters *laters, struct tl_err *err)
{
	bool wide = !c->o.resume && lanes_are_there(c);
	uint32_t flags = (c->o.follow_links ? SFTP_TREE_FOLLOW : 0u) |
			 (c->o.verify ? SFTP_TREE_DIGEST : 0u) | (wide ? SFTP_TREE_DENSE : 0u);
	struct get *g = calloc(1, sizeof(*g));
	uint64_t most;

	if (!g)
		return no_memory(err, remote);
	*g = (struct get){.c = c, .dirfd = dirfd, .laters = laters, .f.fd = -1};
	g->top = str_dup(remote);
	g->name = name ? str_dup(name) : copy_base(remote);
	buf_init(&g->path, PATH_MAX_ALL);
	if (!g->top || !g->name || buf_put_str(&g->path, remote)) {
		get_free(g);
		return no_memory(err, remote);
	}
	if (c->tar)
		return copy_tar_tree(c, remote, dirfd, g->name, take, done, g, err);
	most = c->o.resume ? TL_LIMIT_COPY_PART - 1 : wide ? TL_LIMIT_COPY_LANE - 1 : UINT64_MAX;
	return sftp_client_begin_tree(c->c, remote, flags, most, take, done, g, err);
}

int copy_get(struct copy *c, const struct strv *remote, int dirfd, const char *name,
	     struct tl_err *err)
{
	struct laters all = {.first = NULL, .last = &all.first};
	int rc = 0;

	for (size_t i = 0; i < remote->n && !rc; i++) {
		rc = get_begin(c, remote->v[i], dirfd, name, &all, err);
		rc = rc || c->tar ? rc : sftp_client_drain(c->c, WINDOW, err);
	}
	if (!rc && !c->tar)
		rc = sftp_client_drain(c->c, 0, err);
	if (rc) {
		/* what was begun uses what is here */
		sftp_client_free(c->c);
		c->c = NULL;
	}
	while (all.first) {
		struct copy_later *l = all.first;
		if (!rc)
			rc = copy_get_later(c, dirfd, l, err);
		all.first = l->next;
		free(l->remote);
		free(l->below);
		free(l);
	}
	while (all.folders) {
		struct closed_folder *w = all.folders;
		all.folders = w->next;
		folder_close(c, &w->v);
		free(w);
	}
	return rc;
}
