/* copy_put.c - from this machine to the host: requests go out back to back, answers are counted
 * when they come. Owns what is being read; an entry under way is freed by its last answer. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sha2.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/copy.h"
#include "api/copy_lanes.h"
#include "base/limits.h"
#include "base/str.h"

#define HOLE_LEAST 65536

/* One entry: every request of it holds a reference, and so do its children and whoever still sends.
 */
struct put {
	struct copy *c;
	struct put *parent;
	size_t refs;
	struct tl_err err; /* the first failure */
	bool is_file, summed;
	uint8_t ours[COPY_DIGEST], theirs[COPY_DIGEST];
	char *local, *remote;
};

/* A request with what it counts in flight. */
struct step {
	struct put *p;
	size_t n;
};

/* A folder on the way down. */
struct level {
	const struct level *up;
	struct put *p;
	dev_t dev;
	ino_t ino;
	int depth;
};

static struct put *put_new(struct copy *c, struct put *parent, const char *local,
			   const char *remote, bool is_file)
{
	struct put *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	*p = (struct put){.c = c,
			  .refs = 1,
			  .is_file = is_file,
			  .local = str_dup(local),
			  .remote = str_dup(remote)};
	if (!p->local || !p->remote) {
		free(p->local);
		free(p->remote);
		free(p);
		return NULL;
	}
	p->parent = parent;
	if (parent)
		parent->refs++;
	return p;
}

static void put_settle(struct put *p)
{
	struct copy *c = p->c;

	if (p->err.code == TL_E_EXIST && c->o.no_overwrite)
		p->err.code = 0;
	else if (!p->err.code && p->summed && memcmp(p->ours, p->theirs, COPY_DIGEST) != 0)
		err_set(&p->err, TL_E_IO,
			"%s is not the same on %s after copying: its digest differs", p->local,
			session_host(c->s));
	/* below a folder that could not be made everything fails: told once */
	for (struct put *up = p->parent; up && p->err.code; up = up->parent)
		if (up->err.code)
			return;
	/* what ends everything is told by who ends it */
	if (p->err.code && !copy_is_fatal(p->err.code))
		copy_problem(c, p->local, &p->err);
	else if (!p->err.code && p->is_file)
		c->now.files_done++;
}

static void put_release(struct put *p)
{
	while (p && --p->refs == 0) {
		struct put *up = p->parent;
		put_settle(p);
		free(p->local);
		free(p->remote);
		free(p);
		p = up;
	}
}

static void step_done(void *ctx, int rc, const struct tl_err *err)
{
	struct step *s = ctx;

	s->p->c->flight -= s->n;
	if (rc && !s->p->err.code)
		s->p->err = *err;
	put_release(s->p);
	free(s);
}

static int no_memory(struct tl_err *err, const char *path)
{
	return err_set(err, TL_E_NOMEM, "cannot upload %s: out of memory", path);
}

/* Begins to count a request; NULL: out of memory. */
static struct step *step_new(struct put *p, size_t n)
{
	struct step *s = malloc(sizeof(*s));

	if (!s)
		return NULL;
	*s = (struct step){p, n};
	p->refs++;
	p->c->flight += n;
	return s;
}

/* Waits while too much is under way. */
static int throttle(struct copy *c, struct tl_err *err)
{
	int rc = 0;

	while (!rc && sftp_client_pending(c->c) &&
	       (c->flight > TL_LIMIT_COPY_FLIGHT ||
		sftp_client_pending(c->c) > TL_LIMIT_COPY_REQUESTS))
		rc = sftp_client_drain(c->c, sftp_client_pending(c->c) * 3 / 4, err);
	return rc;
}

/* ------------------------------------------------ one file */

struct sending {
	struct put *p;
	int fd;
	const struct stat *st;
	struct sftp_save save;
	uint64_t off, data_end;
	SHA2_CTX sum;
	bool sparse;
};

static void sum_zeros(SHA2_CTX *sum, uint64_t n)
{
	static const uint8_t zeros[4096];

	for (; n; n -= n < sizeof(zeros) ? n : sizeof(zeros))
		SHA256Update(sum, zeros, n < sizeof(zeros) ? (size_t)n : sizeof(zeros));
}

/* Length of the hole at off; 0: data, until data_end. */
static uint64_t hole_at(struct sending *s)
{
	uint64_t size = s->save.total;
	off_t data = lseek(s->fd, (off_t)s->off, SEEK_DATA), hole;

	s->data_end = size;
	if (data < 0)
		data = errno == ENXIO ? (off_t)size : (off_t)s->off;
	if ((uint64_t)data > size)
		data = (off_t)size;
	if ((uint64_t)data - s->off >= HOLE_LEAST) {
		s->data_end = (uint64_t)data;
		return (uint64_t)data - s->off;
	}
	hole = lseek(s->fd, data, SEEK_HOLE);
	if (hole > 0 && (uint64_t)hole > s->off && (uint64_t)hole < size)
		s->data_end = (uint64_t)hole;
	lseek(s->fd, (off_t)s->off, SEEK_SET);
	return 0;
}

/* One piece. A failure of the file goes to p->err; the result is only the client's. */
static int send_piece(struct sending *s, struct tl_err *err)
{
	struct copy *c = s->p->c;
	struct sftp_save save = s->save;
	uint64_t hole = 0, left;
	struct step *step;
	uint8_t word[8];
	size_t want;
	ssize_t n;
	int rc;

	if (s->sparse && s->off >= s->data_end && s->off < save.total)
		hole = hole_at(s);
	left = (s->sparse ? s->data_end : save.total) - s->off;
	want = hole ? sizeof(word) : left < SFTP_CLIENT_PIECE ? (size_t)left : SFTP_CLIENT_PIECE;
	n = hole ? (ssize_t)want : copy_read(s->fd, c->piece, want);
	if (n < 0)
		err_sys(&s->p->err, (int)-n, "cannot read %s", s->p->local);
	else if ((size_t)n < want)
		err_set(&s->p->err, TL_E_CONFLICT,
			"cannot upload %s: it became shorter while it was read", s->p->local);
	if (s->p->err.code)
		return 0;
	step = step_new(s->p, want);
	if (!step)
		return no_memory(err, s->p->local);
	if (hole) {
		set_u64(word, hole);
		save.flags |= SFTP_SAVE_HOLE;
	}
	if (s->p->summed && hole)
		sum_zeros(&s->sum, hole);
	else if (s->p->summed)
		SHA256Update(&s->sum, c->piece, want);
	rc = sftp_client_begin_piece(c->c, &save, s->off, bytes_of(hole ? word : c->piece, want),
				     step_done, step, err);
	n = hole ? (ssize_t)hole : n;
	s->off += (uint64_t)n;
	rc = rc ? rc : copy_tick(c, s->p->local, (uint64_t)n, s->off, save.total);
	return rc ? rc : throttle(c, err);
}

static int set_attributes(struct put *p, const struct stat *st, bool times, bool mode,
			  struct tl_err *err)
{
	struct sftp_attrs a = {.flags =
				   (times ? SFTP_ATTR_TIMES : 0u) | (mode ? SFTP_ATTR_MODE : 0u),
			       .mode = st->st_mode & 0777,
			       .atime = (uint32_t)st->st_atime,
			       .mtime = (uint32_t)st->st_mtime};
	struct step *step = step_new(p, 0);

	if (!step)
		return no_memory(err, p->local);
	return sftp_client_begin_setstat(p->c->c, p->remote, &a, step_done, step, err);
}

static int ask_digest(struct sending *s, struct tl_err *err)
{
	struct step *step = step_new(s->p, 0);

	SHA256Final(s->p->ours, &s->sum);
	if (!step)
		return no_memory(err, s->p->local);
	return sftp_client_begin_digest(s->p->c->c, s->p->remote, 0, 0, s->p->theirs, NULL,
					step_done, step, err);
}

/* A large file on channels of its own; *ret_there: nothing but its end is left to be said. What
 * went wrong there, the ordinary way will find again. */
static int put_wide(struct sending *s, bool *ret_there, struct tl_err *err)
{
	struct copy *c = s->p->c;
	struct tl_err mine = {0};
	struct lanes_file f = {.up = true, .fd = s->fd, .name = s->p->local, .size = s->save.total};
	struct stat st;
	char spool[64];
	uint64_t fd;
	int rc;

	*ret_there = false;
	if (s->save.total < TL_LIMIT_COPY_LANE || s->sparse || c->o.resume || !lanes_are_there(c))
		return 0;
	rc = sftp_client_share(c->c, &s->save, &fd, &s->p->err);
	if (rc)
		return copy_is_fatal(rc) ? (*err = s->p->err, rc) : 0;
	snprintf(spool, sizeof(spool), "/proc/%ld/fd/%llu", c->pid, (unsigned long long)fd);
	f.remote = spool;
	rc = lanes_copy(c, &f, &mine);
	if (rc == TL_E_CANCELED)
		return *err = mine, rc;
	if (rc)
		return session_log(c->s, 3, "copy: %s", mine.text), 0;
	if (fstat(s->fd, &st) != 0 || st.st_size != s->st->st_size ||
	    st.st_mtim.tv_sec != s->st->st_mtim.tv_sec ||
	    st.st_mtim.tv_nsec != s->st->st_mtim.tv_nsec) {
		err_set(&s->p->err, TL_E_CONFLICT, "cannot upload %s: it changed while it was read",
			s->p->local);
		return 0;
	}
	*ret_there = true;
	return 0;
}

/* The word that all of a shared save is there, and its digest where that is wanted. */
static int end_wide(struct sending *s, struct tl_err *err)
{
	struct copy *c = s->p->c;
	struct sftp_save save = s->save;
	struct step *step;
	int e = s->p->summed ? copy_sum_into(c, s->fd, save.total, &s->sum) : 0;

	if (e)
		return err_sys(&s->p->err, e, "cannot read %s", s->p->local), 0;
	step = step_new(s->p, 0);
	if (!step)
		return no_memory(err, s->p->local);
	save.flags |= SFTP_SAVE_SHARE;
	return sftp_client_begin_piece(c->c, &save, save.total, bytes_of("", 0), step_done, step,
				       err);
}

/* Where to begin: large files may be there in part. */
static int begin_file(struct sending *s, bool *ret_there, struct tl_err *err)
{
	struct copy *c = s->p->c;
	uint8_t *left;
	int rc;

	*ret_there = false;
	SHA256Init(&s->sum);
	if (!c->o.resume || s->save.total < TL_LIMIT_COPY_PART)
		return 0;
	s->save.flags |= SFTP_SAVE_KEEP;
	rc = copy_put_where(c, s->fd, s->save.total, (int64_t)s->st->st_mtime, s->p->remote,
			    ret_there, &s->off, err);
	if (rc && !copy_is_fatal(rc)) {
		s->p->err = *err;
		return 0;
	}
	if (rc || *ret_there)
		return rc;
	if (lseek(s->fd, 0, SEEK_SET) < 0)
		return err_sys(&s->p->err, errno, "cannot read %s", s->p->local), 0;
	for (uint64_t done = 0; s->p->summed && done < s->off;) {
		uint64_t most = s->off - done;
		ssize_t n;
		left = c->piece;
		n = copy_read(s->fd, left,
			      most < SFTP_CLIENT_PIECE ? (size_t)most : SFTP_CLIENT_PIECE);
		if (n <= 0)
			break;
		SHA256Update(&s->sum, left, (size_t)n);
		done += (uint64_t)n;
	}
	if (lseek(s->fd, (off_t)s->off, SEEK_SET) < 0)
		err_sys(&s->p->err, errno, "cannot read %s", s->p->local);
	return copy_tick(c, s->p->local, s->off, s->off, s->save.total);
}

static int put_file(struct copy *c, int fd, const struct stat *st, const char *local,
		    const char *remote, struct put *parent, struct tl_err *err)
{
	struct put *p = put_new(c, parent, local, remote, true);
	struct sending s = {.p = p,
			    .fd = fd,
			    .st = st,
			    .sparse = (uint64_t)st->st_blocks * 512 < (uint64_t)st->st_size &&
				      st->st_size > HOLE_LEAST};
	bool there = false, wide = false;
	int rc;

	if (!p)
		return no_memory(err, local);
	p->summed = c->o.verify;
	s.save = (struct sftp_save){.path = p->remote,
				    .flags = SFTP_SAVE_CREATE |
					     (c->o.no_overwrite ? 0u : SFTP_SAVE_OVERWRITE),
				    .mode = st->st_mode & 0777,
				    .total = (uint64_t)st->st_size};
	c->now.files_total++;
	c->now.total += s.save.total;
	rc = begin_file(&s, &there, err);
	if (there)
		p->summed = false;
	if (!rc && !there && !p->err.code)
		rc = put_wide(&s, &wide, err);
	if (!rc && wide)
		rc = end_wide(&s, err);
	/* a part that is complete still has to get its name */
	if (!rc && !there && !wide && !p->err.code)
		do
			rc = send_piece(&s, err);
		while (!rc && s.off < s.save.total && !p->err.code);
	if (!rc && c->o.preserve && !p->err.code)
		rc = set_attributes(p, st, true, true, err);
	if (!rc && p->summed && !p->err.code)
		rc = ask_digest(&s, err);
	else
		p->summed = false;
	put_release(p);
	return rc;
}

/* ------------------------------------------------ links and folders */

static int put_link(struct copy *c, int dirfd, const char *name, const char *local,
		    const char *remote, struct put *parent, struct tl_err *err)
{
	struct put *p = put_new(c, parent, local, remote, true);
	char target[TL_LIMIT_PATH + 1], *temp = NULL;
	const char *slash = strrchr(remote, '/');
	struct step *step = NULL;
	ssize_t n = readlinkat(dirfd, name, target, sizeof(target) - 1);
	int rc = 0;

	if (!p)
		return no_memory(err, local);
	c->now.files_total++;
	if (n < 0) {
		err_sys(&p->err, errno, "cannot read the link %s", local);
		put_release(p);
		return 0;
	}
	target[n] = 0;
	temp = c->o.no_overwrite
		   ? str_dup(remote)
		   : str_fmt("%.*s.%.200s.%s.towline", slash ? (int)(slash - remote + 1) : 0,
			     remote, slash ? slash + 1 : remote, c->id);
	step = temp ? step_new(p, 0) : NULL;
	rc = step ? sftp_client_begin_symlink(c->c, target, temp, step_done, step, err)
		  : no_memory(err, local);
	if (!rc && !c->o.no_overwrite) {
		step = step_new(p, 0);
		rc = step ? sftp_client_begin_rename(c->c, temp, remote, step_done, step, err)
			  : no_memory(err, local);
	}
	free(temp);
	put_release(p);
	return rc ? rc : throttle(c, err);
}

static int put_entry(struct copy *c, int dirfd, const char *name, const char *local,
		     const char *remote, const struct level *up, struct tl_err *err);

static void problem(struct copy *c, const char *local, int sys_errno)
{
	struct tl_err e = {0};

	err_sys(&e, sys_errno, "cannot read %s", local);
	c->now.files_total++;
	copy_problem(c, local, &e);
}

static int put_children(struct copy *c, DIR *dir, const struct level *here, struct tl_err *err)
{
	struct dirent *e;
	int rc = 0;

	while (!rc && !here->p->err.code && (errno = 0, e = readdir(dir))) {
		char *local, *remote;
		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		local = str_fmt("%s%s%s", here->p->local, str_ends(here->p->local, "/") ? "" : "/",
				e->d_name);
		remote = copy_join(here->p->remote, e->d_name);
		rc = local && remote ? put_entry(c, dirfd(dir), e->d_name, local, remote, here, err)
				     : no_memory(err, here->p->local);
		free(local);
		free(remote);
	}
	if (!rc && !here->p->err.code && errno)
		problem(c, here->p->local, errno);
	return rc;
}

static const char *refuse_folder(const struct level *up, const struct stat *st)
{
	if (up && up->depth + 1 >= COPY_DEPTH)
		return "it is too deep";
	for (; up; up = up->up)
		if (up->dev == st->st_dev && up->ino == st->st_ino)
			return "the link leads back to a folder that is being copied";
	return NULL;
}

/* fd is closed. */
static int put_folder(struct copy *c, int fd, const struct stat *st, const char *local,
		      const char *remote, const struct level *up, struct tl_err *err)
{
	const char *why = refuse_folder(up, st);
	struct put *p = put_new(c, up ? up->p : NULL, local, remote, false);
	struct level here = {up, p, st->st_dev, st->st_ino, up ? up->depth + 1 : 0};
	struct step *step = p ? step_new(p, 0) : NULL;
	DIR *dir = fdopendir(fd);
	int rc;

	if (!step || !dir) {
		if (step)
			step_done(step, 0, NULL);
		if (p)
			put_release(p);
		if (dir)
			closedir(dir);
		else
			close(fd);
		return no_memory(err, local);
	}
	if (why) {
		err_set(&p->err, TL_E_LIMIT, "cannot upload %s: %s", local, why);
		step_done(step, 0, NULL);
		put_release(p);
		closedir(dir);
		return 0;
	}
	rc = sftp_client_begin_mkdirs(c->c, remote, (st->st_mode & 0777) | 0700, step_done, step,
				      err);
	if (!rc)
		rc = put_children(c, dir, &here, err);
	/* last, because it may forbid writing, and because writing changes its time */
	if (!rc && !p->err.code && (c->o.preserve || (st->st_mode & 0700) != 0700))
		rc = set_attributes(p, st, c->o.preserve, true, err);
	put_release(p);
	closedir(dir);
	return rc;
}

/* Result: only what breaks the client; the entry's own failure is told here. */
static int put_entry(struct copy *c, int dirfd, const char *name, const char *local,
		     const char *remote, const struct level *up, struct tl_err *err)
{
	bool follow = !up || c->o.follow_links;
	struct put *parent = up ? up->p : NULL;
	struct stat st;
	int fd, rc;

	/* a device or FIFO is not opened: that can do things, or wait for ever */
	if (fstatat(dirfd, name, &st, follow ? 0 : AT_SYMLINK_NOFOLLOW) != 0) {
		problem(c, local, errno);
		return 0;
	}
	if (S_ISLNK(st.st_mode))
		return put_link(c, dirfd, name, local, remote, parent, err);
	if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode)) {
		struct tl_err e = {0};
		err_set(&e, TL_E_UNSUPPORTED, "%s is left out: it is no regular file", local);
		c->now.files_total++;
		copy_problem(c, local, &e);
		return 0;
	}
	fd = openat(dirfd, name,
		    O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC | (follow ? 0 : O_NOFOLLOW));
	if (fd < 0 || fstat(fd, &st) != 0) {
		problem(c, local, errno);
		if (fd >= 0)
			close(fd);
		return 0;
	}
	if (S_ISDIR(st.st_mode))
		return put_folder(c, fd, &st, local, remote, up, err);
	rc = put_file(c, fd, &st, local, remote, parent, err);
	close(fd);
	return rc;
}

int copy_put(struct copy *c, const char *local, const char *remote, struct tl_err *err)
{
	return put_entry(c, AT_FDCWD, local, local, remote, NULL, err);
}
