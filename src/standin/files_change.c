/* files_change.c - changes of names and trees against plain SFTP (see files.h). SFTP's one failure
 * for everything is told apart by looking afterwards. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "loop/loop.h"
#include "standin/files.h"

#define DEPTH_MAX 128

/* Answers with success or with the sentence. */
static void answer(struct files_task *t, int rc, const struct tl_err *why, const char *fmt,
		   const char *path)
{
	char intent[FILES_PATH + 64];
	struct tl_err err;

	if (rc == 0) {
		files_reply_status(t->f, t->id, 0, "");
		return;
	}
	snprintf(intent, sizeof(intent), fmt, path);
	err_set(&err, rc, "%.400s: %s", intent, why->text[0] ? why->text : err_row(rc)->what);
	files_fail(t, &err);
}

static int bad_request(struct tl_err *err)
{
	return err_set(err, TL_E_PROTO, "the request makes no sense");
}

static bool exists(struct files *f, const char *path)
{
	struct sftp_attrs a;

	return files_attrs(f, path, false, &a, NULL) == 0;
}

void files_run_mkdir(struct files_task *t)
{
	char path[FILES_PATH];
	struct tl_err why = {0};
	int rc = sftp_get_cstr(&t->in, path, sizeof(path))
		     ? files_path_op(t->f, SFTP_MKDIR, path, &why)
		     : bad_request(&why);

	if (rc == TL_E_IO && exists(t->f, path))
		rc = err_set(&why, TL_E_EXIST, "%s", err_row(TL_E_EXIST)->what);
	answer(t, rc, &why, "cannot make the folder %s", path);
}

static int is_entry(void *ctx, const char *name, const struct sftp_attrs *a)
{
	(void)name;
	(void)a;
	*(bool *)ctx = true;
	return TL_E_CANCELED;
}

void files_run_rmdir(struct files_task *t)
{
	char path[FILES_PATH];
	struct tl_err why = {0};
	struct sftp_attrs a;
	bool some = false;
	int rc = sftp_get_cstr(&t->in, path, sizeof(path))
		     ? files_path_op(t->f, SFTP_RMDIR, path, &why)
		     : bad_request(&why);

	if (rc == TL_E_IO) {
		files_each(t->f, path, is_entry, &some, NULL);
		if (some)
			rc = err_set(&why, TL_E_NOTEMPTY, "%s", err_row(TL_E_NOTEMPTY)->what);
		else if (files_attrs(t->f, path, false, &a, NULL) == 0 &&
			 !files_is(&a, FILES_FOLDER))
			rc = err_set(&why, TL_E_NOTDIR, "%s", err_row(TL_E_NOTDIR)->what);
	}
	answer(t, rc, &why, "cannot remove the folder %s", path);
}

static void rename_task(struct files_task *t, bool over)
{
	char from[FILES_PATH], to[FILES_PATH];
	struct tl_err why = {0};
	struct files_req q;
	int rc;

	sftp_get_cstr(&t->in, from, sizeof(from));
	if (!sftp_get_cstr(&t->in, to, sizeof(to))) {
		rc = bad_request(&why);
	} else if (over) {
		rc = files_rename_over(t->f, from, to, &why);
	} else {
		files_ask(t->f, &q, SFTP_RENAME, NULL);
		files_put_str(&q, from);
		files_put_str(&q, to);
		files_post(&q);
		rc = files_done(&q, &why);
		if (rc == TL_E_IO && exists(t->f, to))
			rc = err_set(&why, TL_E_EXIST, "%.200s is there already", to);
	}
	answer(t, rc, &why, "cannot rename %s", from);
}

void files_run_rename(struct files_task *t)
{
	rename_task(t, false);
}

void files_run_posix_rename(struct files_task *t)
{
	rename_task(t, true);
}

/* ---- touch-mkdirs@towline ---- */

static int make_folders(struct files *f, char *path, struct tl_err *err)
{
	struct sftp_attrs a;
	char *slash;
	int rc = files_attrs(f, path, true, &a, NULL);

	if (rc == 0)
		return files_is(&a, FILES_FOLDER)
			   ? 0
			   : err_set(err, TL_E_NOTDIR, "%.200s is no folder", path);
	slash = strrchr(path, '/');
	if (slash && slash != path) {
		*slash = 0;
		rc = make_folders(f, path, err);
		*slash = '/';
		if (rc)
			return rc;
	}
	rc = files_path_op(f, SFTP_MKDIR, path, err);
	/* somebody else made it meanwhile */
	return rc == TL_E_IO && files_attrs(f, path, true, &a, NULL) == 0 &&
		       files_is(&a, FILES_FOLDER)
		   ? 0
		   : rc;
}

void files_run_mkdirs(struct files_task *t)
{
	char path[FILES_PATH];
	struct tl_err why = {0};
	int rc = sftp_get_cstr(&t->in, path, sizeof(path)) ? make_folders(t->f, path, &why)
							   : bad_request(&why);

	answer(t, rc, &why, "cannot make the folder %s", path);
}

/* ---- trees ---- */

struct names {
	struct {
		char *name;
		struct sftp_attrs a;
	} * v;
	size_t n, cap;
};

static int keep_name(void *ctx, const char *name, const struct sftp_attrs *a)
{
	struct names *l = ctx;

	if (l->n == l->cap) {
		size_t cap = l->cap ? l->cap * 2 : 64;
		void *v = cap <= TL_LIMIT_LIST_ENTRIES ? realloc(l->v, cap * sizeof(*l->v)) : NULL;
		if (!v)
			return TL_E_LIMIT;
		l->v = v;
		l->cap = cap;
	}
	l->v[l->n].name = str_dup(name);
	l->v[l->n].a = *a;
	return l->v[l->n].name ? (l->n++, 0) : TL_E_NOMEM;
}

static void names_free(struct names *l)
{
	for (size_t i = 0; i < l->n; i++)
		free(l->v[i].name);
	free(l->v);
}

static int child_of(char *path, size_t at, const char *name, struct tl_err *err)
{
	int n = snprintf(path + at, FILES_PATH - at, "%s%s", at > 1 ? "/" : "", name);

	return n > 0 && (size_t)n < FILES_PATH - at
		   ? 0
		   : err_set(err, TL_E_LIMIT, "a path below it is too long");
}

/* path: room for FILES_PATH; as it was afterwards. */
static int remove_folder(struct files *f, char *path, int depth, struct tl_err *err)
{
	struct names l = {.n = 0};
	size_t at = strlen(path);
	int rc = depth > DEPTH_MAX ? err_set(err, TL_E_LIMIT, "its folders are too deep")
				   : files_each(f, path, keep_name, &l, err);

	for (size_t i = 0; i < l.n && !rc; i++) {
		rc = f->ending ? TL_E_CANCELED : child_of(path, at, l.v[i].name, err);
		if (rc)
			break;
		rc = files_is(&l.v[i].a, FILES_FOLDER) ? remove_folder(f, path, depth + 1, err)
						       : files_path_op(f, SFTP_REMOVE, path, err);
		/* what is gone is gone */
		rc = rc == TL_E_NOENT ? 0 : rc;
		path[at] = 0;
	}
	path[at] = 0;
	names_free(&l);
	return rc ? rc : files_path_op(f, SFTP_RMDIR, path, err);
}

static int remove_any(struct files *f, char *path, struct tl_err *err)
{
	struct sftp_attrs a;
	int rc = files_attrs(f, path, false, &a, err);

	if (rc)
		return rc;
	return files_is(&a, FILES_FOLDER) ? remove_folder(f, path, 0, err)
					  : files_path_op(f, SFTP_REMOVE, path, err);
}

void files_run_remove_tree(struct files_task *t)
{
	char path[FILES_PATH];
	struct tl_err why = {0};
	int rc = sftp_get_cstr(&t->in, path, sizeof(path)) ? remove_any(t->f, path, &why)
							   : bad_request(&why);

	answer(t, rc, &why, "cannot remove %s", path);
}

/* ---- copy-tree@towline ---- */

struct copying {
	struct files *f;
	struct files_handle to;
	uint64_t off;
};

static int copy_piece(void *ctx, struct tl_bytes b)
{
	struct copying *c = ctx;
	struct files_req q;

	if (c->f->ending)
		return TL_E_CANCELED;
	files_ask(c->f, &q, SFTP_WRITE, NULL);
	files_put_bytes(&q, c->to.p, c->to.n);
	files_put_u64(&q, c->off);
	files_put_bytes(&q, b.p, b.n);
	files_post(&q);
	c->off += b.n;
	return files_done(&q, NULL);
}

/* The server copies by itself where it can; else every byte comes here and goes back. */
static int copy_content(struct files *f, const struct files_handle *from,
			const struct files_handle *to, struct tl_err *err)
{
	struct copying c = {.f = f, .to = *to};
	struct files_req q;

	if (!(f->extensions & FILES_COPY))
		return files_content(f, from, 0, 0, copy_piece, &c, err);
	files_ask(f, &q, SFTP_EXTENDED, "copy-data");
	files_put_bytes(&q, from->p, from->n);
	files_put_u64(&q, 0);
	files_put_u64(&q, 0);
	files_put_bytes(&q, to->p, to->n);
	files_put_u64(&q, 0);
	files_post(&q);
	return files_done(&q, err);
}

static int copy_file(struct files *f, const char *from, const char *to, const struct sftp_attrs *a,
		     struct tl_err *err)
{
	struct sftp_attrs set = {.flags = SFTP_ATTR_MODE | SFTP_ATTR_TIMES,
				 .mode = a->mode & 07777,
				 .atime = a->atime,
				 .mtime = a->mtime};
	struct files_handle in, out;
	struct files_req q;
	int rc = files_open(f, from, SFTP_OPEN_READ, 0, &in, err);

	if (rc)
		return rc;
	rc = files_open(f, to, SFTP_OPEN_WRITE | SFTP_OPEN_CREAT | SFTP_OPEN_EXCL, 0600, &out, err);
	if (rc == 0) {
		rc = copy_content(f, &in, &out, err);
		if (rc == 0) {
			files_ask(f, &q, SFTP_FSETSTAT, NULL);
			files_put_bytes(&q, out.p, out.n);
			files_put_attrs(&q, &set);
			files_post(&q);
			rc = files_done(&q, err);
		}
		rc = rc ? (files_close(f, &out, false, NULL), rc) : files_close(f, &out, true, err);
	}
	files_close(f, &in, false, NULL);
	return rc;
}

static int copy_link(struct files *f, const char *from, const char *to, struct tl_err *err)
{
	char target[FILES_PATH];
	struct files_reply r;
	struct files_req q;
	int rc;

	files_ask(f, &q, SFTP_READLINK, NULL);
	files_put_str(&q, from);
	files_post(&q);
	rc = files_answer(&q, SFTP_NAME, &r, err);
	if (rc == 0) {
		sftp_get_u32(&r.in);
		if (!sftp_get_cstr(&r.in, target, sizeof(target)))
			rc = err_set(err, TL_E_PROTO, "the host's answer makes no sense");
	}
	files_reply_free(&r);
	if (rc)
		return rc;
	/* OpenSSH's order, which everybody has: target, then name */
	files_ask(f, &q, SFTP_SYMLINK, NULL);
	files_put_str(&q, target);
	files_put_str(&q, to);
	files_post(&q);
	return files_done(&q, err);
}

/* from, to: room for FILES_PATH each; as they were afterwards. */
static int copy_any(struct files *f, char *from, char *to, const struct sftp_attrs *a, int depth,
		    struct tl_err *err)
{
	size_t at = strlen(from), at_to = strlen(to);
	struct names l = {.n = 0};
	int rc;

	if (files_is(a, FILES_LINK))
		return copy_link(f, from, to, err);
	if (files_is(a, FILES_FILE) || files_is(a, 0))
		return copy_file(f, from, to, a, err);
	if (!files_is(a, FILES_FOLDER))
		return 0; /* sockets and the like are left out */
	rc = depth > DEPTH_MAX ? err_set(err, TL_E_LIMIT, "its folders are too deep")
			       : files_path_op(f, SFTP_MKDIR, to, err);
	rc = rc ? rc : files_each(f, from, keep_name, &l, err);
	for (size_t i = 0; i < l.n && !rc; i++) {
		rc = f->ending ? TL_E_CANCELED : child_of(from, at, l.v[i].name, err);
		rc = rc ? rc : child_of(to, at_to, l.v[i].name, err);
		rc = rc ? rc : copy_any(f, from, to, &l.v[i].a, depth + 1, err);
		from[at] = to[at_to] = 0;
	}
	names_free(&l);
	return rc;
}

/* Beside its place first, so that half a copy never has the name. */
static int copy_tree(struct files *f, char *from, char *to, bool over, struct tl_err *err)
{
	char beside[FILES_PATH], id[9];
	struct sftp_attrs a, old;
	int rc = files_attrs(f, from, false, &a, err), n;

	if (rc)
		return rc;
	if (strcmp(from, to) == 0)
		return err_set(err, TL_E_INVAL, "it cannot be copied onto itself");
	n = (int)strlen(from);
	if (files_is(&a, FILES_FOLDER) && str_starts(to, from) && (to[n] == '/' || n == 1))
		return err_set(err, TL_E_INVAL, "it cannot be copied into itself");
	if (files_attrs(f, to, false, &old, NULL) == 0 && !over)
		return err_set(err, TL_E_EXIST, "%.200s is there already", to);
	random_id(id, 8);
	n = snprintf(beside, sizeof(beside), "%s.towline-%s", to, id);
	if (n < 0 || (size_t)n >= sizeof(beside))
		return err_set(err, TL_E_LIMIT, "the path is too long");
	rc = copy_any(f, from, beside, &a, 0, err);
	/* a folder gives way to nothing but an empty place */
	if (rc == 0 && files_attrs(f, to, false, &old, NULL) == 0 &&
	    (files_is(&old, FILES_FOLDER) || files_is(&a, FILES_FOLDER)))
		rc = remove_any(f, to, err);
	rc = rc ? rc : files_rename_over(f, beside, to, err);
	if (rc)
		remove_any(f, beside, NULL);
	return rc;
}

void files_run_copy_tree(struct files_task *t)
{
	char from[FILES_PATH], to[FILES_PATH];
	struct tl_err why = {0};
	uint32_t flags;
	int rc;

	sftp_get_cstr(&t->in, from, sizeof(from));
	sftp_get_cstr(&t->in, to, sizeof(to));
	flags = sftp_get_u32(&t->in);
	rc = t->in.bad ? bad_request(&why)
		       : copy_tree(t->f, from, to, flags & SFTP_COPY_OVERWRITE, &why);
	answer(t, rc, &why, "cannot copy %s", from);
}
