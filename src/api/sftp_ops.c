/* sftp_ops.c - the requests of sftp_client.h, one function each. Owns nothing.
 * What a host says is not believed where it could do harm here: names of entries are checked. */
#include <stdlib.h>

#include "api/sftp_plain.h"
#include "api/sftp_priv.h"
#include "base/limits.h"
#include "base/str.h"

static int bad_answer(struct tl_err *err)
{
	return err_set(err, TL_E_PROTO, "the host's answer makes no sense");
}

/* ------------------------------------------------ reading and saving */

static int take_read(struct sftp_pending *p, struct sftp_reader *r, bool more, struct tl_err *err)
{
	struct tl_bytes b;
	int rc = 0;

	(void)more;
	if (p->first) {
		struct tl_bytes etag = sftp_get_raw(r, SFTP_ETAG);
		uint64_t size = sftp_get_u64(r);
		if (r->bad)
			return bad_answer(err);
		if (p->head)
			rc = p->head(p->ctx, etag.p, size, err);
	}
	b = sftp_get_string(r);
	if (r->bad)
		return bad_answer(err);
	return rc || !b.n ? rc : p->data(p->ctx, b, err);
}

static struct sftp_call read_call(struct sftp_client *c, const char *path, uint64_t off,
				  uint64_t length, sftp_client_data *data, void *ctx)
{
	struct sftp_call call =
	    sftp_call_begin(c, SFTP_EXTENDED, SFTP_EXT_READ_FILE, SFTP_EXTENDED_REPLY);

	sftp_call_str(&call, path);
	sftp_call_u64(&call, off);
	sftp_call_u64(&call, length);
	if (call.p) {
		call.p->streamed = true;
		call.p->take = take_read;
		call.p->data = data;
		call.p->ctx = ctx;
	}
	return call;
}

int sftp_call_begun(struct sftp_call *call, sftp_client_done *done, void *ctx, struct tl_err *err)
{
	if (call->p) {
		call->p->done = done;
		call->p->done_ctx = ctx;
	} else if (done) {
		struct tl_err mine = {0};
		err_set(&mine, TL_E_NOMEM, "cannot ask the host: out of memory");
		done(ctx, TL_E_NOMEM, &mine);
	}
	return sftp_call_send(call, err);
}

static int ours_begin_read(struct sftp_client *c, const char *path, uint64_t off, uint64_t length,
			   sftp_client_head *head, sftp_client_data *data, sftp_client_done *done,
			   void *ctx, struct tl_err *err)
{
	struct sftp_call call = read_call(c, path, off, length, data, ctx);

	if (call.p)
		call.p->head = head;
	return sftp_call_begun(&call, done, ctx, err);
}

int sftp_client_begin_read(struct sftp_client *c, const char *path, uint64_t off, uint64_t length,
			   sftp_client_head *head, sftp_client_data *data, sftp_client_done *done,
			   void *ctx, struct tl_err *err)
{
	if (sftp_client_plain(c))
		return sftp_plain_begin_read(c, path, off, length, head, data, done, ctx, err);
	return ours_begin_read(c, path, off, length, head, data, done, ctx, err);
}

static int ours_read(struct sftp_client *c, const char *path, uint64_t off, uint64_t length,
		     sftp_client_data *data, void *ctx, struct tl_err *err)
{
	struct sftp_call call = read_call(c, path, off, length, data, ctx);
	return sftp_call_wait(&call, err);
}

int sftp_client_read(struct sftp_client *c, const char *path, uint64_t off, uint64_t length,
		     sftp_client_data *data, void *ctx, struct tl_err *err)
{
	if (sftp_client_plain(c))
		return sftp_plain_read(c, path, off, length, data, ctx, err);
	return ours_read(c, path, off, length, data, ctx, err);
}

static int ours_begin_piece(struct sftp_client *c, const struct sftp_save *s, uint64_t off,
			    struct tl_bytes data, sftp_client_done *done, void *ctx,
			    struct tl_err *err)
{
	static const uint8_t none[SFTP_ETAG];
	struct sftp_call call =
	    sftp_call_begin(c, SFTP_EXTENDED, SFTP_EXT_SAVE, SFTP_EXTENDED_REPLY);

	sftp_call_str(&call, s->path);
	sftp_call_u32(&call, s->flags);
	sftp_call_u32(&call, s->mode);
	sftp_call_raw(&call, bytes_of(s->etag ? s->etag : none, SFTP_ETAG));
	sftp_call_u64(&call, s->total);
	sftp_call_u64(&call, off);
	sftp_call_bytes(&call, data);
	return sftp_call_begun(&call, done, ctx, err);
}

int sftp_client_begin_piece(struct sftp_client *c, const struct sftp_save *s, uint64_t off,
			    struct tl_bytes data, sftp_client_done *done, void *ctx,
			    struct tl_err *err)
{
	if (sftp_client_plain(c))
		return sftp_plain_piece(c, s, off, data, done, ctx, err);
	return ours_begin_piece(c, s, off, data, done, ctx, err);
}

static int take_share(struct sftp_pending *p, struct sftp_reader *r, bool more, struct tl_err *err)
{
	bool done = sftp_get_u8(r) != 0;

	(void)more;
	*(uint64_t *)p->out = sftp_get_u64(r);
	return r->bad || done ? bad_answer(err) : 0;
}

int sftp_client_share(struct sftp_client *c, const struct sftp_save *s, uint64_t *ret_fd,
		      struct tl_err *err)
{
	static const uint8_t none[SFTP_ETAG];
	struct sftp_call call =
	    sftp_call_begin(c, SFTP_EXTENDED, SFTP_EXT_SAVE, SFTP_EXTENDED_REPLY);

	sftp_call_str(&call, s->path);
	sftp_call_u32(&call, s->flags | SFTP_SAVE_SHARE);
	sftp_call_u32(&call, s->mode);
	sftp_call_raw(&call, bytes_of(none, SFTP_ETAG));
	sftp_call_u64(&call, s->total);
	sftp_call_u64(&call, 0);
	sftp_call_bytes(&call, bytes_of(none, 0));
	if (call.p) {
		call.p->take = take_share;
		call.p->out = ret_fd;
	}
	return sftp_call_wait(&call, err);
}

/* ------------------------------------------------ small ones, begun */

static int ours_begin_mkdirs(struct sftp_client *c, const char *path, uint32_t mode,
			     sftp_client_done *done, void *ctx, struct tl_err *err)
{
	struct sftp_call call = sftp_call_begin(c, SFTP_EXTENDED, SFTP_EXT_MKDIRS, SFTP_STATUS);

	sftp_call_str(&call, path);
	sftp_call_u32(&call, mode);
	return sftp_call_begun(&call, done, ctx, err);
}

int sftp_client_begin_mkdirs(struct sftp_client *c, const char *path, uint32_t mode,
			     sftp_client_done *done, void *ctx, struct tl_err *err)
{
	if (sftp_client_plain(c))
		return sftp_plain_mkdirs(c, path, done, ctx, err);
	return ours_begin_mkdirs(c, path, mode, done, ctx, err);
}

int sftp_client_begin_symlink(struct sftp_client *c, const char *target, const char *path,
			      sftp_client_done *done, void *ctx, struct tl_err *err)
{
	struct sftp_call call = sftp_call_begin(c, SFTP_SYMLINK, NULL, SFTP_STATUS);

	sftp_call_str(&call, target);
	sftp_call_str(&call, path);
	return sftp_call_begun(&call, done, ctx, err);
}

static int ours_begin_rename(struct sftp_client *c, const char *from, const char *to,
			     sftp_client_done *done, void *ctx, struct tl_err *err)
{
	struct sftp_call call =
	    sftp_call_begin(c, SFTP_EXTENDED, "posix-rename@openssh.com", SFTP_STATUS);

	sftp_call_str(&call, from);
	sftp_call_str(&call, to);
	return sftp_call_begun(&call, done, ctx, err);
}

int sftp_client_begin_rename(struct sftp_client *c, const char *from, const char *to,
			     sftp_client_done *done, void *ctx, struct tl_err *err)
{
	if (sftp_client_plain(c))
		return sftp_plain_rename(c, from, to, done, ctx, err);
	return ours_begin_rename(c, from, to, done, ctx, err);
}

int sftp_client_begin_setstat(struct sftp_client *c, const char *path, const struct sftp_attrs *a,
			      sftp_client_done *done, void *ctx, struct tl_err *err)
{
	struct sftp_call call = sftp_call_begin(c, SFTP_SETSTAT, NULL, SFTP_STATUS);

	sftp_call_str(&call, path);
	if (!call.rc)
		call.rc = sftp_put_attrs(call.out, a);
	return sftp_call_begun(&call, done, ctx, err);
}

/* ------------------------------------------------ looking */

static int take_stat(struct sftp_pending *p, struct sftp_reader *r, bool more, struct tl_err *err)
{
	struct sftp_stat *s = p->out;
	struct tl_bytes etag;

	(void)more;
	s->type = sftp_get_u8(r);
	s->size = sftp_get_u64(r);
	s->mtime_ms = sftp_get_u64(r);
	s->ctime_ms = sftp_get_u64(r);
	s->mode = sftp_get_u32(r);
	s->access = sftp_get_u8(r);
	etag = sftp_get_raw(r, SFTP_ETAG);
	if (r->bad)
		return bad_answer(err);
	memcpy(s->etag, etag.p, SFTP_ETAG);
	return 0;
}

static int ours_stat(struct sftp_client *c, const char *path, struct sftp_stat *ret,
		     struct tl_err *err)
{
	struct sftp_call call =
	    sftp_call_begin(c, SFTP_EXTENDED, SFTP_EXT_STAT, SFTP_EXTENDED_REPLY);

	sftp_call_str(&call, path);
	if (call.p) {
		call.p->take = take_stat;
		call.p->out = ret;
	}
	return sftp_call_wait(&call, err);
}

int sftp_client_stat(struct sftp_client *c, const char *path, struct sftp_stat *ret,
		     struct tl_err *err)
{
	if (sftp_client_plain(c))
		return sftp_plain_stat(c, path, ret, err);
	return ours_stat(c, path, ret, err);
}

static int take_attrs(struct sftp_pending *p, struct sftp_reader *r, bool more, struct tl_err *err)
{
	(void)more;
	sftp_get_attrs(r, p->out);
	return r->bad ? bad_answer(err) : 0;
}

int sftp_client_lstat(struct sftp_client *c, const char *path, struct sftp_attrs *ret,
		      struct tl_err *err)
{
	struct sftp_call call = sftp_call_begin(c, SFTP_LSTAT, NULL, SFTP_ATTRS);

	sftp_call_str(&call, path);
	if (call.p) {
		call.p->take = take_attrs;
		call.p->out = ret;
	}
	return sftp_call_wait(&call, err);
}

bool sftp_entry_name(struct sftp_reader *r, char name[SFTP_NAME_BYTES])
{
	if (!sftp_get_cstr(r, name, SFTP_NAME_BYTES))
		return false;
	return name[0] && !strchr(name, '/');
}

static bool is_dot(const char *name)
{
	return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

static int take_list(struct sftp_pending *p, struct sftp_reader *r, bool more, struct tl_err *err)
{
	uint32_t n = sftp_get_u32(r);
	struct sftp_entry_info e = {0};
	char name[SFTP_NAME_BYTES];
	int rc = 0;

	(void)more;
	for (; n && !rc; n--) {
		if (!sftp_entry_name(r, name) || is_dot(name))
			return bad_answer(err);
		e.name = name;
		e.type = sftp_get_u8(r);
		e.size = sftp_get_u64(r);
		e.mtime_ms = sftp_get_u64(r);
		e.mode = sftp_get_u32(r);
		if (r->bad)
			return bad_answer(err);
		rc = p->entry(p->ctx, &e, err);
	}
	return rc;
}

int sftp_client_list(struct sftp_client *c, const char *path, uint32_t flags, sftp_client_entry *fn,
		     void *ctx, struct tl_err *err)
{
	struct sftp_call call =
	    sftp_call_begin(c, SFTP_EXTENDED, SFTP_EXT_LIST, SFTP_EXTENDED_REPLY);

	sftp_call_str(&call, path);
	sftp_call_u32(&call, flags);
	if (call.p) {
		call.p->streamed = true;
		call.p->take = take_list;
		call.p->entry = fn;
		call.p->ctx = ctx;
	}
	return sftp_call_wait(&call, err);
}

static uint8_t type_of(uint32_t mode)
{
	static const struct {
		uint32_t bits;
		uint8_t type;
	} types[] = {{0100000, SFTP_ENTRY_FILE},
		     {0040000, SFTP_ENTRY_FOLDER},
		     {0120000, SFTP_ENTRY_LINK_FILE}};

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if ((mode & 0170000) == types[i].bits)
			return types[i].type;
	return SFTP_ENTRY_OTHER;
}

static int take_names(struct sftp_pending *p, struct sftp_reader *r, bool more, struct tl_err *err)
{
	uint32_t n = sftp_get_u32(r);
	char name[SFTP_NAME_BYTES];
	struct sftp_attrs a;
	int rc = 0;

	(void)more;
	for (; n && !rc; n--) {
		bool good = sftp_entry_name(r, name);
		sftp_get_string(r);
		sftp_get_attrs(r, &a);
		if (!good || r->bad)
			return bad_answer(err);
		if (is_dot(name))
			continue;
		struct sftp_entry_info e = {.name = name,
					    .type = type_of(a.mode),
					    .size = a.size,
					    .mtime_ms = (uint64_t)a.mtime * 1000,
					    .mode = a.mode,
					    .uid = a.uid,
					    .gid = a.gid};
		rc = p->entry(p->ctx, &e, err);
	}
	return rc;
}

struct handle {
	uint8_t p[256];
	size_t n;
};

static int take_handle(struct sftp_pending *p, struct sftp_reader *r, bool more, struct tl_err *err)
{
	struct tl_bytes b = sftp_get_string(r);
	struct handle *h = p->out;

	(void)more;
	if (r->bad || b.n > sizeof(h->p))
		return bad_answer(err);
	memcpy(h->p, b.p, b.n);
	h->n = b.n;
	return 0;
}

int sftp_client_list_long(struct sftp_client *c, const char *path, sftp_client_entry *fn, void *ctx,
			  struct tl_err *err)
{
	struct sftp_call call = sftp_call_begin(c, SFTP_OPENDIR, NULL, SFTP_HANDLE);
	struct handle h = {.n = 0};
	bool end = false;
	int rc;

	sftp_call_str(&call, path);
	if (call.p) {
		call.p->take = take_handle;
		call.p->out = &h;
	}
	rc = sftp_call_wait(&call, err);
	if (rc)
		return rc;
	while (!rc && !end) {
		call = sftp_call_begin(c, SFTP_READDIR, NULL, SFTP_NAME);
		sftp_call_bytes(&call, bytes_of(h.p, h.n));
		if (call.p) {
			call.p->take = take_names;
			call.p->entry = fn;
			call.p->ctx = ctx;
			call.p->out = &end;
		}
		rc = sftp_call_wait(&call, err);
	}
	call = sftp_call_begin(c, SFTP_CLOSE, NULL, SFTP_STATUS);
	sftp_call_bytes(&call, bytes_of(h.p, h.n));
	int closed = sftp_call_wait(&call, rc ? NULL : err);
	return rc ? rc : closed;
}

/* ------------------------------------------------ removing, names */

static int path_call(struct sftp_client *c, uint8_t type, const char *extension, const char *path,
		     struct tl_err *err)
{
	struct sftp_call call = sftp_call_begin(c, type, extension, SFTP_STATUS);

	sftp_call_str(&call, path);
	return sftp_call_wait(&call, err);
}

int sftp_client_remove(struct sftp_client *c, const char *path, struct tl_err *err)
{
	return path_call(c, SFTP_REMOVE, NULL, path, err);
}

int sftp_client_rmdir(struct sftp_client *c, const char *path, struct tl_err *err)
{
	return path_call(c, SFTP_RMDIR, NULL, path, err);
}

int sftp_client_remove_tree(struct sftp_client *c, const char *path, struct tl_err *err)
{
	return path_call(c, SFTP_EXTENDED, SFTP_EXT_REMOVE_TREE, path, err);
}

static int take_name(struct sftp_pending *p, struct sftp_reader *r, bool more, struct tl_err *err)
{
	(void)more;
	if (sftp_get_u32(r) < 1 || !sftp_get_cstr(r, p->out, p->out_n))
		return bad_answer(err);
	return 0;
}

static int name_call(struct sftp_call *call, const char *path, char *out, size_t n,
		     struct tl_err *err)
{
	sftp_call_str(call, path);
	if (call->p) {
		call->p->take = take_name;
		call->p->out = out;
		call->p->out_n = n;
	}
	return sftp_call_wait(call, err);
}

int sftp_client_readlink(struct sftp_client *c, const char *path, char *out, size_t n,
			 struct tl_err *err)
{
	struct sftp_call call = sftp_call_begin(c, SFTP_READLINK, NULL, SFTP_NAME);
	return name_call(&call, path, out, n, err);
}

int sftp_client_realpath(struct sftp_client *c, const char *path, char *out, size_t n)
{
	struct sftp_call call = sftp_call_begin(c, SFTP_REALPATH, NULL, SFTP_NAME);
	return name_call(&call, path, out, n, NULL);
}

int sftp_client_expand(struct sftp_client *c, const char *path, char *out, size_t n,
		       struct tl_err *err)
{
	if (sftp_client_plain(c) && !sftp_plain_can_expand(sftp_client_plain(c)))
		return sftp_plain_unsupported("another user's ~", err);
	struct sftp_call call =
	    sftp_call_begin(c, SFTP_EXTENDED, "expand-path@openssh.com", SFTP_NAME);
	return name_call(&call, path, out, n, err);
}

static int take_ids(struct sftp_pending *p, struct sftp_reader *r, bool more, struct tl_err *err)
{
	struct tl_bytes users = sftp_get_string(r), groups = sftp_get_string(r);
	struct sftp_reader one = sftp_reader_of(users.n ? users : groups);

	(void)more;
	if (r->bad || !sftp_get_cstr(&one, p->out, p->out_n))
		return bad_answer(err);
	return 0;
}

int sftp_client_id_name(struct sftp_client *c, bool group, uint32_t id, char *out, size_t n,
			struct tl_err *err)
{
	struct sftp_call call = sftp_call_begin(c, SFTP_EXTENDED, "users-groups-by-id@openssh.com",
						SFTP_EXTENDED_REPLY);
	uint8_t word[4];

	set_u32(word, id);
	sftp_call_bytes(&call, bytes_of(word, group ? 0 : 4));
	sftp_call_bytes(&call, bytes_of(word, group ? 4 : 0));
	if (call.p) {
		call.p->take = take_ids;
		call.p->out = out;
		call.p->out_n = n;
	}
	return sftp_call_wait(&call, err);
}
