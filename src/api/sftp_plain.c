/* sftp_plain.c - our requests against an SFTP server that knows version 3 only: what one request of
 * ours does becomes several of the protocol's, each waited for; only contents go back to back. Owns
 * the file that is being written: a temporary name beside it, renamed when all of it is there. */
#include "api/sftp_plain.h"

#include <sha2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/sftp_priv.h"
#include "base/limits.h"
#include "base/str.h"
#include "loop/loop.h"

#define PIECE     32768 /* what every server takes and gives at once */
#define READ_MANY 64    /* pieces asked for at once */
#define FLIGHT    256   /* writes on their way */
#define DEPTH_MAX 64    /* folders made above a file */

struct sftp_plain {
	bool rename, expand; /* extensions of the server */
	/* the file being written; path "" none */
	char *path, *temp;
	struct plain_handle handle;
	bool open, skip, hole_last;
	int rc; /* its first failure */
	struct tl_err err;
	size_t flight;
	char id[9];
	uint8_t *buffer; /* READ_MANY pieces */
};

struct sftp_plain *sftp_plain_new(void)
{
	struct sftp_plain *s = calloc(1, sizeof(*s));

	if (s)
		random_id(s->id, 8);
	return s;
}

void sftp_plain_free(struct sftp_plain *s)
{
	if (!s)
		return;
	free(s->path);
	free(s->temp);
	free(s->buffer);
	free(s);
}

const char *sftp_plain_leftover(const struct sftp_plain *s)
{
	return s && s->open ? s->temp : NULL;
}

void sftp_plain_extension(struct sftp_plain *s, struct tl_bytes name)
{
	static const char rename[] = "posix-rename@openssh.com",
			  expand[] = "expand-path@openssh.com";

	s->rename = s->rename || (name.n == sizeof(rename) - 1 && !memcmp(name.p, rename, name.n));
	s->expand = s->expand || (name.n == sizeof(expand) - 1 && !memcmp(name.p, expand, name.n));
}

bool sftp_plain_can_expand(const struct sftp_plain *s)
{
	return s->expand;
}

int sftp_plain_unsupported(const char *what, struct tl_err *err)
{
	return err_set(err, TL_E_UNSUPPORTED, "%s is not possible with this host's SFTP server",
		       what);
}

/* ------------------------------------------------ small requests */

static int take_handle(struct sftp_pending *p, struct sftp_reader *r, bool more, struct tl_err *err)
{
	struct tl_bytes b = sftp_get_string(r);
	struct plain_handle *h = p->out;

	(void)more;
	if (r->bad || b.n > sizeof(h->p))
		return err_set(err, TL_E_PROTO, "the host's answer makes no sense");
	memcpy(h->p, b.p, b.n);
	h->n = b.n;
	return 0;
}

int plain_handle_open(struct sftp_client *c, const char *path, uint32_t flags, uint32_t mode,
		      struct plain_handle *ret, struct tl_err *err)
{
	struct sftp_call call =
	    sftp_call_begin(c, flags ? SFTP_OPEN : SFTP_OPENDIR, NULL, SFTP_HANDLE);
	struct sftp_attrs a = {.flags = SFTP_ATTR_MODE, .mode = mode};

	sftp_call_str(&call, path);
	if (flags) {
		if (!(flags & SFTP_OPEN_CREAT))
			a.flags = 0;
		sftp_call_u32(&call, flags);
		if (!call.rc)
			call.rc = sftp_put_attrs(call.out, &a);
	}
	if (call.p) {
		call.p->take = take_handle;
		call.p->out = ret;
	}
	return sftp_call_wait(&call, err);
}

int plain_handle_close(struct sftp_client *c, const struct plain_handle *h, struct tl_err *err)
{
	struct sftp_call call = sftp_call_begin(c, SFTP_CLOSE, NULL, SFTP_STATUS);

	sftp_call_bytes(&call, bytes_of(h->p, h->n));
	return sftp_call_wait(&call, err);
}

static int take_attrs(struct sftp_pending *p, struct sftp_reader *r, bool more, struct tl_err *err)
{
	(void)more;
	sftp_get_attrs(r, p->out);
	return r->bad ? err_set(err, TL_E_PROTO, "the host's answer makes no sense") : 0;
}

int plain_attrs(struct sftp_client *c, const char *path, bool follow, struct sftp_attrs *ret,
		struct tl_err *err)
{
	struct sftp_call call =
	    sftp_call_begin(c, follow ? SFTP_STAT : SFTP_LSTAT, NULL, SFTP_ATTRS);

	memset(ret, 0, sizeof(*ret));
	sftp_call_str(&call, path);
	if (call.p) {
		call.p->take = take_attrs;
		call.p->out = ret;
	}
	return sftp_call_wait(&call, err);
}

int sftp_plain_stat(struct sftp_client *c, const char *path, struct sftp_stat *ret,
		    struct tl_err *err)
{
	struct sftp_attrs a;
	int rc = plain_attrs(c, path, true, &a, err);

	memset(ret, 0, sizeof(*ret));
	ret->type = plain_is_folder(&a) ? SFTP_ENTRY_FOLDER
		    : plain_is_file(&a) ? SFTP_ENTRY_FILE
					: SFTP_ENTRY_OTHER;
	ret->size = a.size;
	ret->mode = a.mode;
	ret->mtime_ms = (uint64_t)a.mtime * 1000;
	return rc;
}

/* A request about a path whose answer is a status. */
static int simple(struct sftp_client *c, uint8_t type, const char *path, const char *second,
		  struct tl_err *err)
{
	struct sftp_call call = sftp_call_begin(c, type, NULL, SFTP_STATUS);
	struct sftp_attrs none = {.flags = 0};

	sftp_call_str(&call, path);
	if (second)
		sftp_call_str(&call, second);
	if (type == SFTP_MKDIR && !call.rc)
		call.rc = sftp_put_attrs(call.out, &none);
	return sftp_call_wait(&call, err);
}

static int make_folders(struct sftp_client *c, const char *path, int depth, struct tl_err *err)
{
	struct sftp_attrs a;
	struct tl_err first = {0};
	char *up, *slash;
	int rc = simple(c, SFTP_MKDIR, path, NULL, &first), up_rc;

	if (!rc || sftp_client_is_broken(c)) {
		*err = first;
		return rc;
	}
	/* version 3 has no word for "exists" */
	if (plain_attrs(c, path, true, &a, err) == 0) {
		if (plain_is_folder(&a))
			return err->code = 0;
		return err_set(err, TL_E_NOTDIR, "cannot make the folder %s: it is a file", path);
	}
	*err = first;
	up = str_dup(path);
	slash = up ? strrchr(up, '/') : NULL;
	if (first.code == TL_E_NOENT && slash && slash != up && depth < DEPTH_MAX) {
		*slash = 0;
		up_rc = make_folders(c, up, depth + 1, err);
		rc = up_rc ? up_rc : simple(c, SFTP_MKDIR, path, NULL, err);
	}
	free(up);
	return rc;
}

int sftp_plain_mkdirs(struct sftp_client *c, const char *path, sftp_client_done *done, void *ctx,
		      struct tl_err *err)
{
	struct tl_err why = {0};
	size_t n = strlen(path);
	char *clean;
	int rc;

	while (n > 1 && path[n - 1] == '/')
		n--;
	clean = str_ndup(path, n);
	rc = clean ? make_folders(c, clean, 0, &why)
		   : err_set(&why, TL_E_NOMEM, "cannot make a folder: out of memory");
	free(clean);
	done(ctx, rc, &why);
	if (sftp_client_is_broken(c))
		*err = why;
	return sftp_client_is_broken(c) ? rc : 0;
}

static int rename_over(struct sftp_client *c, const char *from, const char *to, struct tl_err *err)
{
	struct sftp_call call;

	if (sftp_client_plain(c)->rename) {
		call = sftp_call_begin(c, SFTP_EXTENDED, "posix-rename@openssh.com", SFTP_STATUS);
		sftp_call_str(&call, from);
		sftp_call_str(&call, to);
		return sftp_call_wait(&call, err);
	}
	/* RENAME of version 3 replaces nothing: there is a moment without the file */
	simple(c, SFTP_REMOVE, to, NULL, NULL);
	return simple(c, SFTP_RENAME, from, to, err);
}

int sftp_plain_rename(struct sftp_client *c, const char *from, const char *to,
		      sftp_client_done *done, void *ctx, struct tl_err *err)
{
	struct tl_err why = {0};
	int rc = rename_over(c, from, to, &why);

	done(ctx, rc, &why);
	if (sftp_client_is_broken(c))
		*err = why;
	return sftp_client_is_broken(c) ? rc : 0;
}

/* ------------------------------------------------ writing */

static void written(void *ctx, int rc, const struct tl_err *err)
{
	struct sftp_plain *s = ctx;

	s->flight--;
	if (rc && !s->rc) {
		s->rc = rc;
		s->err = *err;
	}
}

static void fail_file(struct sftp_plain *s, int rc, const struct tl_err *err)
{
	if (s->rc)
		return;
	s->rc = rc;
	s->err = *err;
}

/* The file gets a temporary name beside its own. */
static void begin_file(struct sftp_client *c, const struct sftp_save *save)
{
	struct sftp_plain *s = sftp_client_plain(c);
	const char *slash = strrchr(save->path, '/');
	struct sftp_attrs a;
	struct tl_err err = {0};
	uint32_t mode = save->mode & 0777;
	int rc;

	free(s->path);
	free(s->temp);
	s->path = str_dup(save->path);
	s->temp = str_fmt("%.*s.%.200s.%s.towline", slash ? (int)(slash - save->path + 1) : 0,
			  save->path, slash ? slash + 1 : save->path, s->id);
	s->open = s->skip = s->hole_last = false;
	s->rc = 0;
	s->err = (struct tl_err){0};
	if (!s->path || !s->temp) {
		err_set(&err, TL_E_NOMEM, "out of memory");
		fail_file(s, TL_E_NOMEM, &err);
		return;
	}
	if (plain_attrs(c, s->path, true, &a, NULL) == 0) {
		if (plain_is_folder(&a)) {
			err_set(&err, TL_E_ISDIR, "cannot write %s: there is a folder of this name",
				s->path);
			fail_file(s, TL_E_ISDIR, &err);
			return;
		}
		if (!(save->flags & SFTP_SAVE_OVERWRITE)) {
			err_set(&err, TL_E_EXIST, "%s exists already", s->path);
			fail_file(s, TL_E_EXIST, &err);
			return;
		}
		/* what is replaced keeps its mode */
		mode = a.flags & SFTP_ATTR_MODE ? a.mode & 0777 : mode;
	}
	rc = plain_handle_open(c, s->temp, SFTP_OPEN_WRITE | SFTP_OPEN_CREAT | SFTP_OPEN_EXCL, mode,
			       &s->handle, &err);
	s->open = rc == 0;
	if (rc) {
		struct tl_err why = {0};
		err_set(&why, rc, "cannot write %s: %s", s->path, err.text);
		fail_file(s, rc, &why);
	}
}

static void write_piece(struct sftp_client *c, uint64_t off, struct tl_bytes data)
{
	struct sftp_plain *s = sftp_client_plain(c);

	while (data.n && !sftp_client_is_broken(c)) {
		size_t n = data.n < PIECE ? data.n : PIECE;
		struct sftp_call call = sftp_call_begin(c, SFTP_WRITE, NULL, SFTP_STATUS);
		sftp_call_bytes(&call, bytes_of(s->handle.p, s->handle.n));
		sftp_call_u64(&call, off);
		sftp_call_bytes(&call, bytes_of(data.p, n));
		s->flight++;
		sftp_call_begun(&call, written, s, NULL);
		if (s->flight > FLIGHT)
			sftp_client_drain(c, FLIGHT / 2, NULL);
		off += n;
		data = bytes_of(data.p + n, data.n - n);
	}
}

static int set_size(struct sftp_client *c, const struct plain_handle *h, uint64_t size,
		    struct tl_err *err)
{
	struct sftp_call call = sftp_call_begin(c, SFTP_FSETSTAT, NULL, SFTP_STATUS);
	struct sftp_attrs a = {.flags = SFTP_ATTR_SIZE, .size = size};

	sftp_call_bytes(&call, bytes_of(h->p, h->n));
	if (!call.rc)
		call.rc = sftp_put_attrs(call.out, &a);
	return sftp_call_wait(&call, err);
}

/* All of it is on its way: waits for it, then the name. */
static void end_file(struct sftp_client *c, uint64_t total)
{
	struct sftp_plain *s = sftp_client_plain(c);
	struct tl_err err = {0};
	int rc = sftp_client_drain(c, 0, &err);

	if (!rc && !s->rc && s->hole_last)
		rc = set_size(c, &s->handle, total, &err);
	if (!rc && s->open)
		rc = plain_handle_close(c, &s->handle, &err);
	if (!rc && !s->rc)
		rc = rename_over(c, s->temp, s->path, &err);
	if (rc)
		fail_file(s, rc, &err);
	if (s->open && s->rc && !sftp_client_is_broken(c))
		simple(c, SFTP_REMOVE, s->temp, NULL, NULL);
	/* what broke the client leaves the rest to who cleans up */
	s->open = s->open && sftp_client_is_broken(c);
}

int sftp_plain_piece(struct sftp_client *c, const struct sftp_save *save, uint64_t off,
		     struct tl_bytes data, sftp_client_done *done, void *ctx, struct tl_err *err)
{
	struct sftp_plain *s = sftp_client_plain(c);
	bool hole = save->flags & SFTP_SAVE_HOLE;
	uint64_t n = hole ? get_u64(data.p) : data.n;

	if (off == 0 || !s->path || strcmp(s->path, save->path) != 0)
		begin_file(c, save);
	if (s->open && !s->rc && !hole)
		write_piece(c, off, data);
	s->hole_last = hole;
	if (s->open && (off + n >= save->total || s->rc))
		end_file(c, save->total);
	done(ctx, s->rc, &s->err);
	if (!sftp_client_is_broken(c))
		return 0;
	*err = s->err;
	return sftp_client_drain(c, 0, err);
}

/* ------------------------------------------------ reading */

struct slot {
	uint8_t *p;
	size_t n;
	int rc;
	bool end;
};

static int take_data(struct sftp_pending *p, struct sftp_reader *r, bool more, struct tl_err *err)
{
	struct tl_bytes b = sftp_get_string(r);
	struct slot *s = p->out;

	(void)more;
	if (r->bad || b.n > PIECE)
		return err_set(err, TL_E_PROTO, "the host's answer makes no sense");
	memcpy(s->p, b.p, b.n);
	s->n = b.n;
	return 0;
}

static void slot_done(void *ctx, int rc, const struct tl_err *err)
{
	struct slot *s = ctx;

	(void)err;
	s->rc = rc;
}

int sftp_plain_read(struct sftp_client *c, const char *path, uint64_t off, uint64_t length,
		    sftp_client_data *data, void *ctx, struct tl_err *err)
{
	struct sftp_plain *s = sftp_client_plain(c);
	uint64_t stop = length ? off + length : UINT64_MAX;
	struct slot slot[READ_MANY];
	struct plain_handle h;
	bool end = false;
	int rc = plain_handle_open(c, path, SFTP_OPEN_READ, 0, &h, err), many = 4;

	if (rc)
		return rc;
	if (!s->buffer)
		s->buffer = malloc((size_t)READ_MANY * PIECE);
	if (!s->buffer)
		rc = err_set(err, TL_E_NOMEM, "cannot read %s: out of memory", path);
	while (!rc && !end && off < stop) {
		int n = 0;
		uint64_t at = off;
		for (; n < many && at < stop; n++, at += PIECE) {
			struct sftp_call call = sftp_call_begin(c, SFTP_READ, NULL, SFTP_DATA);
			size_t want = stop - at < PIECE ? (size_t)(stop - at) : PIECE;
			slot[n] = (struct slot){.p = s->buffer + (size_t)n * PIECE};
			sftp_call_bytes(&call, bytes_of(h.p, h.n));
			sftp_call_u64(&call, at);
			sftp_call_u32(&call, (uint32_t)want);
			if (call.p) {
				call.p->take = take_data;
				call.p->out = &slot[n];
				call.p->at_end = &slot[n].end;
			}
			sftp_call_begun(&call, slot_done, &slot[n], NULL);
		}
		rc = sftp_client_drain(c, 0, err);
		for (int i = 0; i < n && !rc; i++) {
			if (slot[i].end || (slot[i].rc == 0 && slot[i].n == 0)) {
				end = true;
				break;
			}
			if (slot[i].rc)
				rc = err_set(err, slot[i].rc, "cannot read %s: %s", path,
					     err_row(slot[i].rc)->what);
			else
				rc = data(ctx, bytes_of(slot[i].p, slot[i].n), err);
			off += slot[i].n;
			/* a short one: what was asked behind it does not follow it */
			if (slot[i].n < PIECE)
				break;
		}
		many = READ_MANY;
	}
	if (!sftp_client_is_broken(c))
		plain_handle_close(c, &h, NULL);
	return rc;
}

int sftp_plain_begin_read(struct sftp_client *c, const char *path, uint64_t off, uint64_t length,
			  sftp_client_head *head, sftp_client_data *data, sftp_client_done *done,
			  void *ctx, struct tl_err *err)
{
	struct tl_err why = {0};
	struct sftp_attrs a;
	uint8_t etag[SFTP_ETAG];
	int rc = head ? plain_attrs(c, path, true, &a, &why) : 0;

	if (head && rc == 0) {
		sftp_etag(etag, (uint64_t)a.mtime * 1000000000, a.size, 0);
		rc = head(ctx, etag, a.size, &why);
	}
	rc = rc ? rc : sftp_plain_read(c, path, off, length, data, ctx, &why);
	done(ctx, rc, &why);
	if (!sftp_client_is_broken(c))
		return 0;
	*err = why;
	return rc;
}

struct summing {
	SHA2_CTX sum;
	uint64_t n;
};

static int add_sum(void *ctx, struct tl_bytes b, struct tl_err *err)
{
	struct summing *s = ctx;

	(void)err;
	SHA256Update(&s->sum, b.p, b.n);
	s->n += b.n;
	return 0;
}

/* The server cannot sum: the bytes come here. */
int sftp_plain_digest(struct sftp_client *c, const char *path, uint64_t off, uint64_t length,
		      uint8_t sum[32], uint64_t *size, sftp_client_done *done, void *ctx,
		      struct tl_err *err)
{
	struct tl_err why = {0};
	struct summing s = {.n = 0};
	int rc;

	SHA256Init(&s.sum);
	rc = sftp_plain_read(c, path, off, length, add_sum, &s, &why);
	SHA256Final(sum, &s.sum);
	if (size)
		*size = s.n;
	done(ctx, rc, &why);
	if (!sftp_client_is_broken(c))
		return 0;
	*err = why;
	return rc;
}
