/* copy.c - tl_upload and tl_download: where the copies go, and how a call ends. Owns the stream of
 * one call. */
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
#include "loop/fsx.h"
#include "loop/loop.h"
#include "wire/json.h"

#define STREAM "{\"open\":\"sftp\",\"class\":\"bulk\"}"

/* ------------------------------------------------ shared */

static int copy_options(struct copy *c, const struct tl_copy *o, struct tl_err *err)
{
	c->o = (struct tl_copy)TL_COPY_INIT;
	if (!o)
		return 0;
	if (o->size < offsetof(struct tl_copy, cancel) + sizeof(o->cancel))
		return err_set(err, TL_E_INVAL,
			       "cannot %s: the options were not made with TL_COPY_INIT", c->verb);
	memcpy(&c->o, o, o->size < sizeof(c->o) ? o->size : sizeof(c->o));
	return 0;
}

static long pid_of(const char *ok)
{
	yyjson_doc *doc = ok ? json_parse(bytes_str(ok), NULL) : NULL;
	int64_t pid = json_int(yyjson_doc_get_root(doc), "pid", 0);

	yyjson_doc_free(doc);
	return pid > 0 && pid <= INT32_MAX ? (long)pid : 0;
}

int copy_begin(struct copy *c, struct tl_session *s, const struct tl_copy *o, const char *verb,
	       struct tl_err *err)
{
	struct tl_error e;
	char *ok = NULL;
	int fd, rc;

	memset(c, 0, sizeof(*c));
	c->s = s;
	c->verb = verb;
	rc = copy_options(c, o, err);
	if (rc)
		return rc;
	random_id(c->id, 8);
	c->piece = malloc(SFTP_CLIENT_PIECE);
	if (!c->piece)
		return err_set(err, TL_E_NOMEM, "cannot %s: out of memory", verb);
	rc = session_open_answered(s, STREAM, c->o.cancel, 0, &fd, &ok, &e);
	if (rc) {
		err_set(err, rc, "%s", e.message);
		return rc;
	}
	c->pid = pid_of(ok);
	free(ok);
	if (!session_plain_why(s))
		return sftp_client_open(&c->c, fd, cancel_fd(c->o.cancel), err);
	/* nobody there can tell whether the beginning of a part is right */
	c->o.resume = 0;
	rc = sftp_client_open_plain(&c->c, fd, cancel_fd(c->o.cancel), err);
	if (rc != TL_E_CLOSED || session_lost(s, NULL) != 0)
		return rc;
	session_log(s, 2, "copy: %s has no SFTP server: tar instead", session_host(s));
	c->tar = true;
	*err = (struct tl_err){0};
	return 0;
}

/* The half file of a transfer that was ended, by another stream: this one takes no more requests.
 */
static void remove_leftover(struct copy *c)
{
	char *path = sftp_client_leftover(c->c);
	struct sftp_client *other = NULL;
	struct tl_err err = {0};
	int fd;

	sftp_client_free(c->c);
	c->c = NULL;
	if (path && session_open_stream(c->s, STREAM, &fd, NULL) == 0 &&
	    sftp_client_open_plain(&other, fd, -1, &err) == 0) {
		sftp_client_remove(other, path, &err);
		sftp_client_free(other);
	}
	free(path);
}

static int end_fatal(struct copy *c, int rc, const struct tl_err *why, struct tl_error *err)
{
	if (rc == TL_E_CANCELED)
		return api_failf(err, rc, "the %s was canceled", c->verb);
	if (rc != TL_E_CLOSED && rc != TL_E_LOST)
		return api_fail(err, why);
	if (session_lost(c->s, err) == 0)
		api_failf(err, TL_E_LOST, "the %s was cut off: %s ended the stream", c->verb,
			  session_host(c->s));
	return TL_E_LOST;
}

int copy_end(struct copy *c, int rc, const struct tl_err *why, struct tl_error *err)
{
	/* the last counts; whoever has enough now is too late */
	if (!rc && c->o.progress) {
		c->now.path = "";
		c->now.file_done = c->now.file_total = 0;
		c->o.progress(c->o.ctx, &c->now);
	}
	remove_leftover(c);
	free(c->piece);
	c->piece = NULL;
	if (rc)
		return end_fatal(c, rc, why, err);
	if (!c->problems) {
		api_ok(err);
		return 0;
	}
	/* the only one, and nothing besides it: then it is the failure itself */
	if (c->problems == 1 && c->now.files_total <= 1 && !c->now.files_done) {
		if (err)
			*err = c->first;
		return c->first.number;
	}
	return api_failf(err, TL_E_PARTIAL, "%zu of the files could not be copied; the first: %s",
			 c->problems, c->first.message);
}

void copy_problem(struct copy *c, const char *path, const struct tl_err *why)
{
	struct tl_error e;

	api_fail(&e, why);
	e.sys_errno = why->sys_errno;
	if (!c->problems++)
		c->first = e;
	if (c->o.problem)
		c->o.problem(c->o.ctx, path, &e);
}

int copy_tick(struct copy *c, const char *path, uint64_t n, uint64_t done, uint64_t total)
{
	c->now.done += n;
	if (!c->o.progress)
		return 0;
	c->now.path = path;
	c->now.file_done = done;
	c->now.file_total = total;
	return c->o.progress(c->o.ctx, &c->now) ? TL_E_CANCELED : 0;
}

bool copy_is_fatal(int rc)
{
	return rc == TL_E_CLOSED || rc == TL_E_PROTO || rc == TL_E_CANCELED || rc == TL_E_NOMEM;
}

char *copy_base(const char *path)
{
	size_t n = strlen(path), from;

	while (n > 0 && path[n - 1] == '/')
		n--;
	for (from = n; from > 0 && path[from - 1] != '/'; from--)
		;
	if (n == from || (n - from == 2 && memcmp(path + from, "..", 2) == 0) ||
	    (n - from == 1 && path[from] == '.'))
		return str_dup(".");
	return str_ndup(path + from, n - from);
}

char *copy_join(const char *folder, const char *name)
{
	if (strcmp(name, ".") == 0)
		return str_dup(folder);
	if (strcmp(folder, ".") == 0)
		return str_dup(name);
	return str_fmt("%s%s%s", folder, str_ends(folder, "/") ? "" : "/", name);
}

int copy_home(struct copy *c, const char *path, char **ret, struct tl_err *err)
{
	char full[TL_LIMIT_PATH + 1];
	int rc;

	*ret = NULL;
	if (!path[0] || strcmp(path, "~") == 0 || strcmp(path, "~/") == 0) {
		*ret = str_dup(".");
	} else if (str_starts(path, "~/")) {
		*ret = str_dup(path + 2 + strspn(path + 2, "/"));
	} else if (path[0] == '~') {
		rc = sftp_client_expand(c->c, path, full, sizeof(full), err);
		if (rc)
			return rc;
		*ret = str_dup(full);
	} else {
		*ret = str_dup(path);
	}
	return *ret ? 0 : err_set(err, TL_E_NOMEM, "out of memory");
}

ssize_t copy_read(int fd, void *p, size_t n)
{
	uint8_t *to = p;
	size_t have = 0;

	while (have < n) {
		ssize_t got = read(fd, to + have, n - have);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		if (got == 0)
			break;
		have += (size_t)got;
	}
	return (ssize_t)have;
}

int copy_sum_into(struct copy *c, int fd, uint64_t n, SHA2_CTX *sum)
{
	uint64_t off = 0;

	while (off < n) {
		size_t want = n - off < SFTP_CLIENT_PIECE ? (size_t)(n - off) : SFTP_CLIENT_PIECE;
		ssize_t got = pread(fd, c->piece, want, (off_t)off);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return errno;
		if (got == 0)
			break;
		SHA256Update(sum, c->piece, (size_t)got);
		off += (uint64_t)got;
	}
	return 0;
}

int copy_sum(struct copy *c, int fd, uint64_t n, uint8_t out[COPY_DIGEST])
{
	SHA2_CTX sum;
	int e;

	SHA256Init(&sum);
	e = copy_sum_into(c, fd, n, &sum);
	SHA256Final(out, &sum);
	return e;
}

/* ------------------------------------------------ upload */

static int check_arguments(struct tl_session *s, const char *const *files, const char *verb,
			   size_t *ret_n, struct tl_err *err)
{
	size_t n = 0;

	if (!s)
		return err_set(err, TL_E_INVAL, "cannot %s: there is no session", verb);
	while (files && files[n]) {
		if (!files[n][0])
			return err_set(err, TL_E_INVAL, "cannot %s: a file name is empty", verb);
		n++;
	}
	if (!n)
		return err_set(err, TL_E_INVAL, "cannot %s: no files are given", verb);
	*ret_n = n;
	return 0;
}

/* Looked at before the host is asked, so that a typing error costs nothing. */
static int check_here(const char *const *files, struct tl_err *err)
{
	struct stat st;

	for (size_t i = 0; files[i]; i++)
		if (stat(files[i], &st) != 0)
			return err_sys(err, errno, "cannot upload %s", files[i]);
	return 0;
}

static int made(struct copy *c, const char *path, struct tl_err *err);

/* Is `to` a folder to copy into? It is made where it must be one. */
static int upload_place(struct copy *c, const char *path, bool several, bool *ret_folder,
			struct tl_err *err)
{
	struct sftp_stat st;
	int rc = sftp_client_stat(c->c, path, &st, err);
	bool must = several || str_ends(path, "/");

	*ret_folder = must;
	if (rc == TL_E_NOENT)
		return must ? made(c, path, err) : 0;
	if (rc)
		return rc;
	*ret_folder = st.type == SFTP_ENTRY_FOLDER || st.type == SFTP_ENTRY_LINK_FOLDER;
	if (must && !*ret_folder)
		return err_set(err, TL_E_NOTDIR, "cannot upload into %s on %s: it is no folder",
			       path, session_host(c->s));
	return 0;
}

struct answer {
	int rc;
	struct tl_err err;
};

static void answered(void *ctx, int rc, const struct tl_err *err)
{
	struct answer *a = ctx;

	a->rc = rc;
	a->err = *err;
}

static int made(struct copy *c, const char *path, struct tl_err *err)
{
	struct answer a = {0};
	int rc = sftp_client_begin_mkdirs(c->c, path, 0, answered, &a, err);

	rc = rc ? rc : sftp_client_drain(c->c, 0, err);
	if (!rc && a.rc)
		*err = a.err;
	return rc ? rc : a.rc;
}

static int upload_all(struct copy *c, const char *const *files, size_t n, const char *to,
		      struct tl_err *err)
{
	bool folder = false;
	char *path = NULL;
	int rc = copy_home(c, to, &path, err);

	if (!rc)
		rc = upload_place(c, path, n > 1, &folder, err);
	for (size_t i = 0; i < n && !rc; i++) {
		char *base = folder ? copy_base(files[i]) : NULL;
		char *place = base ? copy_join(path, base) : folder ? NULL : str_dup(path);
		rc = place ? copy_put(c, files[i], place, err)
			   : err_set(err, TL_E_NOMEM, "cannot upload: out of memory");
		free(base);
		free(place);
	}
	if (!rc)
		rc = sftp_client_drain(c->c, 0, err);
	free(path);
	return rc;
}

int tl_upload(struct tl_session *s, const char *const *files, const char *to,
	      const struct tl_copy *o, struct tl_error *err)
{
	struct tl_err e = {0};
	struct copy c;
	size_t n;
	int rc = check_arguments(s, files, "upload", &n, &e);

	if (!rc)
		rc = check_here(files, &e);
	if (rc)
		return api_fail(err, &e);
	rc = copy_begin(&c, s, o, "upload", &e);
	if (!rc)
		rc = (c.tar ? copy_tar_put : upload_all)(&c, files, n, to ? to : ".", &e);
	/* what is under way when it ends early answers into memory that is still there */
	return copy_end(&c, rc, &e, err);
}

/* ------------------------------------------------ download */

static int add_name(void *ctx, const char *name, struct tl_err *err)
{
	struct strv *all = ctx;

	if (all->n >= TL_LIMIT_COPY_SOURCES)
		return err_set(err, TL_E_LIMIT, "more than %d files are named: name their folder",
			       TL_LIMIT_COPY_SOURCES);
	return strv_add(all, name) ? err_set(err, TL_E_NOMEM, "out of memory") : 0;
}

/* The folder here, and the name where `to` is one. */
static int download_place(const char *to, bool several, int *ret_fd, char **ret_name,
			  struct tl_err *err)
{
	bool must = several || str_ends(to, "/"), folder;
	char *dir = NULL, *slash;
	struct stat st;
	int rc = 0;

	*ret_name = NULL;
	folder = stat(to, &st) == 0 ? S_ISDIR(st.st_mode) : must;
	if (must && !folder)
		return err_set(err, TL_E_NOTDIR, "cannot download into %s: it is no folder", to);
	if (folder) {
		rc = fs_mkdirs(to, 0777, err);
		dir = str_dup(to);
	} else {
		*ret_name = copy_base(to);
		dir = str_dup(to);
		slash = dir ? strrchr(dir, '/') : NULL;
		if (slash)
			slash[slash == dir] = 0;
		else if (dir)
			str_copy(dir, strlen(dir) + 1, ".");
	}
	if (!rc && (!dir || (!folder && !*ret_name)))
		rc = err_set(err, TL_E_NOMEM, "cannot download: out of memory");
	if (!rc) {
		*ret_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (*ret_fd < 0)
			rc = err_sys(err, errno, "cannot download to %s: the folder %s", to, dir);
	}
	free(dir);
	return rc;
}

int tl_download(struct tl_session *s, const char *const *files, const char *to,
		const struct tl_copy *o, struct tl_error *err)
{
	struct strv all = {0};
	struct tl_err e = {0};
	struct copy c;
	char *name = NULL;
	size_t n;
	int fd = -1, rc = check_arguments(s, files, "download", &n, &e);

	if (rc)
		return api_fail(err, &e);
	if (!to || !to[0])
		to = ".";
	rc = copy_begin(&c, s, o, "download", &e);
	for (size_t i = 0; i < n && !rc; i++)
		rc = c.tar ? copy_tar_glob(&c, files[i], add_name, &all, &e)
			   : sftp_client_glob(c.c, files[i], add_name, &all, &e);
	if (!rc)
		rc = download_place(to, all.n > 1, &fd, &name, &e);
	if (!rc)
		rc = copy_get(&c, &all, fd, name, &e);
	rc = copy_end(&c, rc, &e, err);
	if (fd >= 0)
		close(fd);
	free(name);
	strv_fini(&all);
	return rc;
}
