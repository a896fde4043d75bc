/* copy_tar_get.c - a tree of a host that has nothing but tar, as the records that our own server
 * would send. Names of the archive are taken apart and checked: they lead nowhere but below the
 * top. Owns the stream of one call. */
#include <errno.h>
#include <fcntl.h>
#include <sha2.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api/copy_tar.h"
#include "base/limits.h"
#include "base/str.h"

#define LINES_MAX  32768
#define PIECE      65536
#define GLOB_BYTES (1024 * 1024)

struct tree {
	struct copy *c;
	sftp_client_record *fn;
	void *ctx;
	int dirfd; /* where the top comes to be */
	const char *name;
	struct tar_run run;
	struct tar_reader in;
	/* folders we are in, joined by "/"; "" at the top */
	char at[TAR_NAME_MAX + 1];
	bool begun, folder; /* the top; it is one */
	bool file;          /* the content under way is wanted */
	SHA2_CTX sum;
	uint8_t buffer[PIECE];
};

static int bad(struct tree *t, struct tl_err *err)
{
	return err_set(err, TL_E_PROTO, "what tar on %s sends makes no sense",
		       session_host(t->c->s));
}

static int emit(struct tree *t, struct sftp_record *r, struct tl_err *err)
{
	if (!r->name)
		r->name = "";
	if (!r->target)
		r->target = "";
	if (!r->data.p)
		r->data = bytes_of("", 0);
	return t->fn(t->ctx, r, err);
}

/* Components of a name in the archive, without "./"; false: it leads elsewhere. */
static bool clean(const char *from, char to[TAR_NAME_MAX + 1])
{
	size_t n = 0;

	if (*from == '/')
		return false;
	while (*from) {
		size_t len = strcspn(from, "/");
		if (len == 2 && from[0] == '.' && from[1] == '.')
			return false;
		if (len && !(len == 1 && from[0] == '.')) {
			if (n)
				to[n++] = '/';
			memcpy(to + n, from, len);
			n += len;
		}
		from += len;
		from += *from ? 1 : 0;
	}
	to[n] = 0;
	return true;
}

/* Up until we are in the folder that `path` lies in; its last component. */
static int climb(struct tree *t, const char *path, const char **ret_last, struct tl_err *err)
{
	const char *slash = strrchr(path, '/');
	size_t n = slash ? (size_t)(slash - path) : 0;
	struct sftp_record up = {.kind = SFTP_TREE_UP};

	*ret_last = slash ? slash + 1 : path;
	while (strlen(t->at) > n || strncmp(t->at, path, strlen(t->at)) != 0 ||
	       (t->at[0] && path[strlen(t->at)] != '/')) {
		char *last = strrchr(t->at, '/');
		int rc;
		if (!t->at[0])
			return bad(t, err);
		*(last ? last : t->at) = 0;
		rc = emit(t, &up, err);
		if (rc)
			return rc;
	}
	/* tar sends a folder before what is in it */
	return strlen(t->at) == n ? 0 : bad(t, err);
}

/* ---- another name of a file that came before ---- */

static int open_below(int dirfd, const char *top, const char *path)
{
	char *all = str_fmt("%s/%s", top, path), *at = all, *slash;
	int fd = all ? fcntl(dirfd, F_DUPFD_CLOEXEC, 0) : -1, next;

	while (fd >= 0 && (slash = strchr(at, '/'))) {
		*slash = 0;
		next = openat(fd, at, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		close(fd);
		fd = next;
		at = slash + 1;
	}
	next = fd >= 0 ? openat(fd, at, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC) : -1;
	if (fd >= 0)
		close(fd);
	free(all);
	return next;
}

static int copy_content(struct tree *t, int fd, struct tl_err *problem, struct tl_err *err)
{
	for (;;) {
		ssize_t n = copy_read(fd, t->buffer, sizeof(t->buffer));
		struct sftp_record r = {.kind = SFTP_TREE_DATA};
		int rc;
		if (n < 0)
			return err_sys(problem, (int)-n, "its other name cannot be read here"), 0;
		if (n == 0)
			return 0;
		SHA256Update(&t->sum, t->buffer, (size_t)n);
		r.data = bytes_of(t->buffer, (size_t)n);
		rc = emit(t, &r, err);
		if (rc)
			return rc;
	}
}

/* ---- entries ---- */

static int end_file(struct tree *t, const struct tl_err *problem, struct tl_err *err)
{
	struct sftp_record r = {.kind = SFTP_TREE_END};
	uint8_t sum[COPY_DIGEST];

	SHA256Final(sum, &t->sum);
	if (problem)
		r.problem = *problem;
	if (t->c->o.verify)
		r.data = bytes_of(sum, sizeof(sum));
	t->file = false;
	return emit(t, &r, err);
}

static int hard_link(struct tree *t, struct sftp_record *r, const char *target, struct tl_err *err)
{
	char path[TAR_NAME_MAX + 1];
	struct tl_err problem = {0};
	int fd, rc;

	if (!clean(target, path) || !path[0])
		return bad(t, err);
	rc = emit(t, r, err);
	if (rc)
		return rc;
	SHA256Init(&t->sum);
	fd = open_below(t->dirfd, t->name, path);
	if (fd < 0)
		err_sys(&problem, errno, "its other name %s cannot be read here", path);
	else
		rc = copy_content(t, fd, &problem, err);
	if (fd >= 0)
		close(fd);
	return rc ? rc : end_file(t, problem.code ? &problem : NULL, err);
}

static int other(struct tree *t, const char *name, struct tl_err *err)
{
	struct sftp_record r = {.kind = SFTP_TREE_PROBLEM, .name = name};

	err_set(&r.problem, TL_E_UNSUPPORTED, "it is no regular file");
	return emit(t, &r, err);
}

static int entry(struct tree *t, const struct tar_entry *e, struct tl_err *err)
{
	struct sftp_record r = {
	    .mode = e->mode, .mtime_ns = (uint64_t)e->mtime_s * 1000000000u, .size = e->size};
	char path[TAR_NAME_MAX + 1];
	const char *last = "";
	int rc = 0;

	if (!clean(e->name, path))
		return bad(t, err);
	if (!t->begun) {
		t->begun = true;
		t->folder = e->type == TAR_FOLDER;
		/* a file comes under its own name, which we know */
		path[t->folder ? strlen(path) : 0] = 0;
	} else if (!path[0] || !t->folder) {
		return bad(t, err);
	} else {
		rc = climb(t, path, &last, err);
		if (!rc && strlen(last) >= SFTP_NAME_BYTES)
			rc = bad(t, err);
	}
	if (rc)
		return rc;
	r.name = last;
	switch (e->type) {
	case TAR_FOLDER:
		memcpy(t->at, path, strlen(path) + 1);
		r.kind = SFTP_TREE_FOLDER;
		return emit(t, &r, err);
	case TAR_FILE:
		r.kind = SFTP_TREE_FILE;
		t->file = true;
		SHA256Init(&t->sum);
		return emit(t, &r, err);
	case TAR_HARD_LINK:
		r.kind = SFTP_TREE_FILE;
		return hard_link(t, &r, e->target, err);
	case TAR_LINK:
		r.kind = SFTP_TREE_LINK;
		r.target = e->target;
		return emit(t, &r, err);
	default:
		return other(t, last, err);
	}
}

static int take(struct tree *t, struct tl_bytes b, struct tl_err *err)
{
	struct sftp_record r = {.kind = SFTP_TREE_DATA};
	int rc = 0;

	while (!rc) {
		struct tar_entry e;
		switch (tar_next(&t->in, &b, &e, &r.data)) {
		case TAR_MORE:
		case TAR_OVER:
			return 0;
		case TAR_ENTRY:
			rc = entry(t, &e, err);
			break;
		case TAR_DATA:
			if (!t->file)
				break;
			SHA256Update(&t->sum, r.data.p, r.data.n);
			rc = emit(t, &r, err);
			break;
		case TAR_DONE:
			rc = t->file ? end_file(t, NULL, err) : 0;
			break;
		case TAR_BAD:
			rc = bad(t, err);
			break;
		}
	}
	return rc;
}

/* What tar complained about, line by line: files it could not read. The rest is there. */
static void complaints(struct tree *t, const char *path)
{
	const char *text = buf_cstr(&t->run.said);

	for (size_t n; text && *text; text += n + (text[n] ? 1 : 0)) {
		struct tl_err e = {0};
		n = strcspn(text, "\n");
		/* its last line only counts the others */
		if (!n || memmem(text, n, "xit", 3) != NULL)
			continue;
		err_set(&e, memmem(text, n, "ermission", 9) ? TL_E_ACCES : TL_E_IO,
			"cannot read all of %s: %.*s", path, (int)(n < 400 ? n : 400), text);
		t->c->now.files_total++;
		copy_problem(t->c, path, &e);
	}
}

static int lines_of(struct buf *lines, struct copy *c, const char *path)
{
	int rc = buf_put_str(lines, "r=");

	rc = rc ? rc : tar_put_path(lines, path, false);
	/* what is named is meant, not the link that bears the name */
	return rc ? rc
		  : buf_printf(lines,
			       "\nCDPATH=;export CDPATH\n"
			       "[ -e \"$r\" ]||{ echo \"$r: no such file or folder\" >&2;exit 3;}\n"
			       "if [ -d \"$r\" ];then cd \"$r\"&&exec tar -c%sf - .\n"
			       "else cd \"$(dirname \"$r\")\"&&exec tar -chf - \"./$(basename "
			       "\"$r\")\";fi\n",
			       c->o.follow_links ? "h" : "");
}

/* Up to the top, and out of it. */
static int leave(struct tree *t, struct tl_err *err)
{
	struct sftp_record up = {.kind = SFTP_TREE_UP};
	int rc = 0;

	while (t->folder && !rc) {
		char *last = strrchr(t->at, '/');
		t->folder = t->at[0] != 0;
		*(last ? last : t->at) = 0;
		rc = emit(t, &up, err);
	}
	return rc;
}

static int stream(struct tree *t, const char *path, struct tl_err *err)
{
	struct tl_err why = {0};
	struct buf lines;
	ssize_t n = 1;
	int rc, end;

	buf_init(&lines, LINES_MAX);
	rc = lines_of(&lines, t->c, path)
		 ? err_set(err, TL_E_LIMIT, "cannot download %s: its path is too long", path)
		 : tar_run_begin(&t->run, t->c, &lines, false, err);
	while (!rc && n > 0) {
		n = tar_run_read(&t->run, t->buffer, sizeof(t->buffer), err);
		rc = n < 0 ? (int)n : n ? take(t, bytes_of(t->buffer, (size_t)n), err) : 0;
	}
	buf_fini(&lines);
	end = tar_run_end(&t->run, rc, NULL, &why);
	if (rc)
		return rc;
	if (end && (end == TL_E_CLOSED || copy_is_fatal(end) || !t->in.over))
		return *err = why, end;
	if (!t->begun || !t->in.over)
		return bad(t, err);
	/* all of the archive came, though tar may not be content: single files are missing */
	if (t->run.status)
		complaints(t, path);
	return leave(t, err);
}

int copy_tar_tree(struct copy *c, const char *path, int dirfd, const char *name,
		  sftp_client_record *fn, sftp_client_done *done, void *ctx, struct tl_err *err)
{
	struct tree *t = calloc(1, sizeof(*t));
	struct tl_err why = {0};
	int rc = TL_E_NOMEM;

	if (t) {
		*t = (struct tree){.c = c, .fn = fn, .ctx = ctx, .dirfd = dirfd, .name = name};
		tar_reader_init(&t->in);
		rc = stream(t, path, &why);
	} else {
		err_set(&why, rc, "cannot download %s: out of memory", path);
	}
	if (t)
		tar_run_fini(&t->run);
	free(t);
	done(ctx, rc, &why);
	*err = why;
	return copy_is_fatal(rc) ? rc : 0;
}

int copy_tar_glob(struct copy *c, const char *pattern, sftp_client_name *fn, void *ctx,
		  struct tl_err *err)
{
	struct buf lines, out;
	struct tl_bytes b;
	int rc;

	buf_init(&lines, LINES_MAX);
	buf_init(&out, GLOB_BYTES);
	rc = buf_put_str(&lines, "n=\nshow(){ if [ -e \"$1\" ]||[ -L \"$1\" ];then "
				 "printf '%s\\000' \"$1\";n=1;fi;}\nfor f in ");
	rc = rc ? rc : tar_put_path(&lines, pattern, true);
	/* as it stands where the pattern finds nothing: names with stars exist */
	rc = rc ? rc : buf_put_str(&lines, ";do show \"$f\";done\n[ -n \"$n\" ]||show ");
	rc = rc ? rc : tar_put_path(&lines, pattern, false);
	rc = rc ? rc : buf_put_str(&lines, "\nexit 0\n");
	rc = rc ? err_set(err, TL_E_LIMIT, "cannot download %s: its path is too long", pattern)
		: tar_run_all(c, &lines, &out, err);
	b = buf_data(&out);
	if (!rc && !b.n)
		rc = err_set(err, TL_E_NOENT, "%s: no such file or folder", pattern);
	while (!rc && b.n) {
		const uint8_t *nul = memchr(b.p, 0, b.n);
		const char *name = (const char *)b.p;
		if (!nul)
			rc = err_set(err, TL_E_LIMIT, "%s: too many files", pattern);
		else
			rc = fn(ctx, str_starts(name, "./") && name[2] ? name + 2 : name, err);
		if (nul)
			b = bytes_of(nul + 1, b.n - (size_t)(nul + 1 - b.p));
	}
	buf_fini(&lines);
	buf_fini(&out);
	return rc;
}
