/* copy_tar_put.c - to a host that has nothing but tar: all of an upload is one archive, unpacked in
 * a folder of its own beside the destination; only what is complete there gets its names. Owns the
 * stream of one call. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sha2.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/copy_tar.h"
#include "base/limits.h"
#include "base/str.h"

#define LINES_MAX 32768
#define OUT_MAX   65536
#define HEAD_MAX  ((size_t)4 * TAR_NAME_MAX)
#define END       "end" /* the last entry: without it not all has come */

struct sum {
	char *name;
	uint8_t v[COPY_DIGEST];
	bool same;
};

struct put {
	struct copy *c;
	struct tar_run run;
	struct buf head; /* blocks on their way */
	struct buf out;  /* names that could not be given there */
	/* with verify */
	struct sum *sums;
	size_t n, cap;
};

/* A folder on the way down. */
struct level {
	const struct level *up;
	dev_t dev;
	ino_t ino;
	int depth;
};

static void unreadable(struct put *p, const char *local, int sys_errno)
{
	struct tl_err e = {0};

	err_sys(&e, sys_errno, "cannot read %s", local);
	p->c->now.files_total++;
	copy_problem(p->c, local, &e);
}

static void left_out(struct put *p, const char *local, int code, const char *why)
{
	struct tl_err e = {0};

	err_set(&e, code, "cannot upload %s: %s", local, why);
	p->c->now.files_total++;
	copy_problem(p->c, local, &e);
}

static int flush(struct put *p, struct tl_err *err)
{
	int rc = tar_run_write(&p->run, buf_data(&p->head), &p->out, err);

	buf_clear(&p->head);
	return rc;
}

static int send_head(struct put *p, const char *local, const struct stat *st, enum tar_type type,
		     const char *name, const char *target, struct tl_err *err)
{
	struct tar_entry e = {.type = type,
			      .name = name,
			      .target = target,
			      .mode = st->st_mode & 0777,
			      .size = type == TAR_FILE ? (uint64_t)st->st_size : 0,
			      .mtime_s = (int64_t)st->st_mtime};

	if (tar_put(&p->head, &e))
		return err_set(err, TL_E_LIMIT, "cannot upload %s: its path is too long", local);
	return flush(p, err);
}

/* ---- one file ---- */

static int keep_sum(struct put *p, const char *name, SHA2_CTX *sum, struct tl_err *err)
{
	if (p->n == p->cap) {
		size_t cap = p->cap ? 2 * p->cap : 64;
		struct sum *v = realloc(p->sums, cap * sizeof(*v));
		if (!v)
			return err_set(err, TL_E_NOMEM, "cannot upload %s: out of memory", name);
		p->sums = v;
		p->cap = cap;
	}
	p->sums[p->n] = (struct sum){.name = str_dup(name)};
	SHA256Final(p->sums[p->n].v, sum);
	return p->sums[p->n].name
		   ? (p->n++, 0)
		   : err_set(err, TL_E_NOMEM, "cannot upload %s: out of memory", name);
}

static int put_file(struct put *p, int fd, const struct stat *st, const char *local,
		    const char *name, struct tl_err *err)
{
	struct copy *c = p->c;
	uint64_t total = (uint64_t)st->st_size, off = 0;
	SHA2_CTX sum;
	int rc;

	c->now.files_total++;
	c->now.total += total;
	rc = send_head(p, local, st, TAR_FILE, name, "", err);
	SHA256Init(&sum);
	while (!rc && off < total) {
		size_t want =
		    total - off < SFTP_CLIENT_PIECE ? (size_t)(total - off) : SFTP_CLIENT_PIECE;
		ssize_t n = copy_read(fd, c->piece, want);
		/* the archive has said how long it is: nothing of it can be used any more */
		if (n < 0)
			return err_sys(err, (int)-n, "cannot read %s", local);
		if ((size_t)n < want)
			return err_set(err, TL_E_CONFLICT,
				       "cannot upload %s: it became shorter while it was read",
				       local);
		if (c->o.verify)
			SHA256Update(&sum, c->piece, want);
		rc = tar_run_write(&p->run, bytes_of(c->piece, want), &p->out, err);
		off += want;
		rc = rc ? rc : copy_tick(c, local, want, off, total);
	}
	for (size_t n = tar_padding(total); n && !rc; n = 0) {
		uint8_t *zeros = buf_reserve(&p->head, n);
		if (zeros)
			memset(zeros, 0, n);
		buf_commit(&p->head, zeros ? n : 0);
	}
	if (!rc && c->o.verify)
		rc = keep_sum(p, name, &sum, err);
	c->now.files_done += rc ? 0 : 1;
	return rc;
}

/* ---- links and folders ---- */

static int put_entry(struct put *p, int dirfd, const char *name_here, const char *local,
		     const char *name, const struct level *up, struct tl_err *err);

static int put_link(struct put *p, int dirfd, const char *name_here, const struct stat *st,
		    const char *local, const char *name, struct tl_err *err)
{
	char target[TL_LIMIT_PATH + 1];
	ssize_t n = readlinkat(dirfd, name_here, target, sizeof(target) - 1);

	if (n < 0) {
		unreadable(p, local, errno);
		return 0;
	}
	target[n] = 0;
	p->c->now.files_total++;
	p->c->now.files_done++;
	return send_head(p, local, st, TAR_LINK, name, target, err);
}

static const char *refuse(const struct level *up, const struct stat *st)
{
	if (up && up->depth + 1 >= COPY_DEPTH)
		return "it is too deep";
	for (; up; up = up->up)
		if (up->dev == st->st_dev && up->ino == st->st_ino)
			return "the link leads back to a folder that is being copied";
	return NULL;
}

/* fd is closed. */
static int put_folder(struct put *p, int fd, const struct stat *st, const char *local,
		      const char *name, const struct level *up, struct tl_err *err)
{
	struct level here = {up, st->st_dev, st->st_ino, up ? up->depth + 1 : 0};
	const char *why = refuse(up, st);
	struct stat first = *st;
	DIR *dir = fdopendir(fd);
	struct dirent *e;
	int rc;

	if (!dir) {
		close(fd);
		return err_set(err, TL_E_NOMEM, "cannot upload %s: out of memory", local);
	}
	if (why) {
		left_out(p, local, TL_E_LIMIT, why);
		closedir(dir);
		return 0;
	}
	first.st_mode |= 0700;
	rc = send_head(p, local, &first, TAR_FOLDER, name, "", err);
	while (!rc && (errno = 0, e = readdir(dir))) {
		char *below, *far;
		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		below = str_fmt("%s%s%s", local, str_ends(local, "/") ? "" : "/", e->d_name);
		far = str_fmt("%s/%s", name, e->d_name);
		rc = below && far
			 ? put_entry(p, dirfd(dir), e->d_name, below, far, &here, err)
			 : err_set(err, TL_E_NOMEM, "cannot upload %s: out of memory", local);
		free(below);
		free(far);
	}
	if (!rc && errno)
		unreadable(p, local, errno);
	/* once more: its mode may forbid writing, and writing changes its time; GNU's tar keeps
	 * both for the end, others do not */
	if (!rc && (p->c->o.preserve || first.st_mode != st->st_mode))
		rc = send_head(p, local, st, TAR_FOLDER, name, "", err);
	closedir(dir);
	return rc;
}

static int put_entry(struct put *p, int dirfd, const char *name_here, const char *local,
		     const char *name, const struct level *up, struct tl_err *err)
{
	bool follow = !up || p->c->o.follow_links;
	struct stat st;
	int fd, rc;

	if (fstatat(dirfd, name_here, &st, follow ? 0 : AT_SYMLINK_NOFOLLOW) != 0) {
		unreadable(p, local, errno);
		return 0;
	}
	if (S_ISLNK(st.st_mode))
		return put_link(p, dirfd, name_here, &st, local, name, err);
	/* a device or FIFO is not opened: that can do things, or wait for ever */
	if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode)) {
		left_out(p, local, TL_E_UNSUPPORTED, "it is no regular file");
		return 0;
	}
	fd = openat(dirfd, name_here,
		    O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC | (follow ? 0 : O_NOFOLLOW));
	if (fd < 0 || fstat(fd, &st) != 0) {
		unreadable(p, local, errno);
		if (fd >= 0)
			close(fd);
		return 0;
	}
	if (S_ISDIR(st.st_mode))
		return put_folder(p, fd, &st, local, name, up, err);
	rc = put_file(p, fd, &st, local, name, err);
	close(fd);
	return rc;
}

/* ---- the host's side ---- */

/* What `to` is there: 'd' a folder (made where it must be one), 'f' something else, 'n' nothing. */
static int look_there(struct copy *c, const char *to, bool must, char *ret, struct tl_err *err)
{
	struct buf lines, out;
	int rc;

	buf_init(&lines, LINES_MAX);
	buf_init(&out, OUT_MAX);
	rc = buf_put_str(&lines, "p=");
	rc = rc ? rc : tar_put_path(&lines, to, false);
	rc = rc ? rc
		: buf_printf(&lines,
			     "\ncommand -v tar >/dev/null||{ echo 'tar: not found' >&2;exit 3;}\n"
			     "%s[ ! -e \"$p\" ]||{ if [ -d \"$p\" ];then echo d;else echo f;fi;"
			     "exit 0;}\necho n\n",
			     must ? "[ -e \"$p\" ]||mkdir -p \"$p\"||exit 3\n" : "");
	rc = rc ? err_set(err, TL_E_LIMIT, "cannot upload to %s: its path is too long", to)
		: tar_run_all(c, &lines, &out, err);
	*ret = out.len ? (char)buf_data(&out).p[0] : 0;
	buf_fini(&lines);
	buf_fini(&out);
	if (!rc && must && *ret != 'd')
		rc = err_set(err, TL_E_NOTDIR, "cannot upload into %s on %s: it is no folder", to,
			     session_host(c->s));
	return rc;
}

/* Unpacks into a folder of its own, then gives the names. What is in the way of one is printed. */
static const char unpack[] =
    "CDPATH= cd \"$p\"||exit 3\n"
    "clean(){ chmod -R u+rwx \"./$t\" 2>/dev/null;rm -rf \"./$t\";}\n"
    "trap clean 0;trap 'exit 9' 1 2 13 15\n"
    "mkdir \"$t\"||exit 4\n"
    "(cd \"$t\"&&exec tar $x -f -)||exit 5\n"
    "[ -e \"$t/" END "\" ]||{ echo 'not all of it arrived' >&2;exit 6;}\n"
    "s=0;bad(){ printf '%s\\000' \"$1\";s=1;}\n"
    /* another folder can have it only while it may be written */
    "take(){ if [ -d \"$1\" ]&&[ ! -L \"$1\" ]&&[ ! -w \"$1\" ];then chmod u+w \"$1\";"
    "mv \"$1\" \"$2\"&&chmod u-w \"$2\";else mv -f \"$1\" \"$2\";fi||bad \"$2\";}\n"
    "go(){ for y in \"$t/f/$1\"* \"$t/f/$1\".[!.]* \"$t/f/$1\"..?*;do\n"
    "[ -e \"$y\" ]||[ -L \"$y\" ]||continue\n"
    "z=./${y#\"$t/f/\"}\n"
    "if [ -d \"$y\" ]&&[ ! -L \"$y\" ];then\n"
    "if [ -d \"$z\" ];then go \"${y#\"$t/f/\"}/\"\n"
    "elif [ -e \"$z\" ]||[ -L \"$z\" ];then bad \"$z\"\nelse take \"$y\" \"$z\";fi\n"
    "elif [ -d \"$z\" ]&&[ ! -L \"$z\" ];then bad \"$z\"\n"
    "elif [ $k = 1 ]&&{ [ -e \"$z\" ]||[ -L \"$z\" ];};then :\n"
    "else take \"$y\" \"$z\";fi\ndone;}\n"
    "go ''\nexit $s\n";

static int begin(struct put *p, const char *folder, struct tl_err *err)
{
	const struct tl_copy *o = &p->c->o;
	struct buf lines;
	int rc;

	buf_init(&lines, LINES_MAX);
	rc = buf_put_str(&lines, "p=");
	rc = rc ? rc : tar_put_path(&lines, folder, false);
	rc = rc ? rc
		: buf_printf(&lines, "\nt=.towline-%s;k=%d;x='-x%s'\n", p->c->id,
			     o->no_overwrite ? 1 : 0, o->preserve ? "p" : "m");
	rc = rc ? rc : buf_put_str(&lines, unpack);
	rc = rc ? err_set(err, TL_E_LIMIT, "cannot upload to %s: its path is too long", folder)
		: tar_run_begin(&p->run, p->c, &lines, true, err);
	buf_fini(&lines);
	return rc;
}

static int put_end(struct put *p, struct tl_err *err)
{
	struct tar_entry e = {.type = TAR_FILE, .name = END, .target = "", .mode = 0600};

	if (tar_put(&p->head, &e) || tar_put_end(&p->head))
		return err_set(err, TL_E_NOMEM, "cannot upload: out of memory");
	return flush(p, err);
}

/* Names that are taken by something else. */
static void tell_bad(struct put *p, const char *folder)
{
	struct tl_bytes b = buf_data(&p->out);
	const uint8_t *nul;

	while (b.n && (nul = memchr(b.p, 0, b.n))) {
		struct tl_err e = {0};
		const char *name = (const char *)b.p;
		name += str_starts(name, "./") ? 2 : 0;
		err_set(&e, TL_E_EXIST,
			"cannot write %s in %s: something else of this name is there", name,
			folder);
		copy_problem(p->c, name, &e);
		b = bytes_of(nul + 1, b.n - (size_t)(nul + 1 - b.p));
	}
}

/* ---- verifying: the host's files come back as an archive ---- */

static struct sum *find_sum(struct put *p, const char *name)
{
	name += str_starts(name, "./") ? 2 : 0;
	for (size_t i = 0; i < p->n; i++)
		if (strcmp(p->sums[i].name + 2, name) == 0)
			return &p->sums[i];
	return NULL;
}

static int read_back(struct put *p, struct tl_err *err)
{
	struct copy *c = p->c;
	struct sum *now = NULL;
	struct tar_reader in;
	uint8_t sum[COPY_DIGEST];
	SHA2_CTX ctx;
	ssize_t n;

	tar_reader_init(&in);
	while ((n = tar_run_read(&p->run, c->piece, SFTP_CLIENT_PIECE, err)) > 0) {
		struct tl_bytes b = bytes_of(c->piece, (size_t)n), data;
		struct tar_entry e;
		enum tar_word w;
		while ((w = tar_next(&in, &b, &e, &data)) != TAR_MORE && w != TAR_OVER) {
			if (w == TAR_BAD)
				return err_set(err, TL_E_PROTO,
					       "what tar on %s sends makes no sense",
					       session_host(c->s));
			if (w == TAR_ENTRY) {
				now = e.type == TAR_FILE ? find_sum(p, e.name) : NULL;
				SHA256Init(&ctx);
			} else if (w == TAR_DATA && now) {
				SHA256Update(&ctx, data.p, data.n);
			} else if (w == TAR_DONE && now) {
				SHA256Final(sum, &ctx);
				now->same = memcmp(sum, now->v, sizeof(sum)) == 0;
			}
		}
	}
	return (int)n;
}

static int verify(struct put *p, const char *folder, const struct strv *tops, struct tl_err *err)
{
	struct buf lines;
	int rc;

	buf_init(&lines, (size_t)4 * LINES_MAX);
	rc = buf_put_str(&lines, "p=");
	rc = rc ? rc : tar_put_path(&lines, folder, false);
	rc = rc ? rc : buf_put_str(&lines, "\nCDPATH= cd \"$p\"&&exec tar -cf -");
	for (size_t i = 0; i < tops->n && !rc; i++) {
		rc = buf_put_u8(&lines, ' ');
		rc = rc ? rc : tar_put_path(&lines, tops->v[i], false);
	}
	rc = rc ? rc : buf_put_str(&lines, "\n");
	tar_run_fini(&p->run);
	rc = rc ? err_set(err, TL_E_LIMIT, "cannot verify in %s: the paths are too long", folder)
		: tar_run_begin(&p->run, p->c, &lines, false, err);
	buf_fini(&lines);
	rc = rc ? rc : read_back(p, err);
	rc = tar_run_end(&p->run, rc, NULL, err);
	for (size_t i = 0; i < p->n && !rc; i++) {
		struct tl_err e = {0};
		if (p->sums[i].same)
			continue;
		err_set(&e, TL_E_IO, "%s is not the same on %s after copying: its digest differs",
			p->sums[i].name + 2, session_host(p->c->s));
		copy_problem(p->c, p->sums[i].name + 2, &e);
	}
	return rc;
}

/* ---- all of it ---- */

/* tops[i]: the name of files[i] in the folder there. */
static int put_all(struct put *p, const char *const *files, const struct strv *tops,
		   const char *folder, struct tl_err *err)
{
	struct stat top = {.st_mode = 0700};
	int rc = begin(p, folder, err);

	rc = rc ? rc : send_head(p, "", &top, TAR_FOLDER, "f", "", err);
	for (size_t i = 0; i < tops->n && !rc; i++) {
		bool here = strcmp(tops->v[i], ".") == 0;
		char *name = here ? str_dup("f") : str_fmt("f/%s", tops->v[i]);
		rc = name ? put_entry(p, AT_FDCWD, files[i], files[i], name, NULL, err)
			  : err_set(err, TL_E_NOMEM, "cannot upload: out of memory");
		free(name);
	}
	rc = rc ? rc : put_end(p, err);
	rc = tar_run_end(&p->run, rc, &p->out, err);
	if (!rc)
		tell_bad(p, folder);
	if (!rc && p->c->o.verify && !p->c->problems)
		rc = verify(p, folder, tops, err);
	return rc;
}

/* The folder to put into, and the names there. */
static int places(struct copy *c, const char *const *files, size_t n, const char *to, char **folder,
		  struct strv *tops, struct tl_err *err)
{
	bool must = n > 1 || str_ends(to, "/");
	const char *slash = strrchr(to, '/');
	char what = 0;
	int rc = look_there(c, to, must, &what, err);

	if (rc)
		return rc;
	if (what == 'd') {
		*folder = str_dup(to);
		for (size_t i = 0; i < n && !rc; i++) {
			char *base = copy_base(files[i]);
			rc = base ? strv_add(tops, base) : TL_E_NOMEM;
			free(base);
		}
	} else {
		*folder = !slash        ? str_dup(".")
			  : slash == to ? str_dup("/")
					: str_ndup(to, (size_t)(slash - to));
		rc = strv_add(tops, slash ? slash + 1 : to);
	}
	return rc || !*folder ? err_set(err, TL_E_NOMEM, "cannot upload: out of memory") : 0;
}

int copy_tar_put(struct copy *c, const char *const *files, size_t n, const char *to,
		 struct tl_err *err)
{
	struct put p = {.c = c, .run = {.in = -1, .out = -1, .errs = -1}};
	struct strv tops = {0};
	char *folder = NULL;
	int rc = places(c, files, n, *to ? to : ".", &folder, &tops, err);

	buf_init(&p.head, HEAD_MAX);
	buf_init(&p.out, OUT_MAX);
	rc = rc ? rc : put_all(&p, files, &tops, folder, err);
	tar_run_fini(&p.run);
	buf_fini(&p.head);
	buf_fini(&p.out);
	for (size_t i = 0; i < p.n; i++)
		free(p.sums[i].name);
	free(p.sums);
	free(folder);
	strv_fini(&tops);
	return rc;
}
