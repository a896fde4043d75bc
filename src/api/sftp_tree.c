/* sftp_tree.c - the requests of copying: tree@towline, glob@towline, digest@towline. Owns nothing.
 * What a host says is not believed where it could do harm here: names of entries are checked, and
 * records come only where they can. */
#include <sha2.h>
#include <stdio.h>
#include <stdlib.h>

#include "api/sftp_plain.h"
#include "api/sftp_priv.h"
#include "base/limits.h"
#include "base/str.h"

static int bad_answer(struct tl_err *err)
{
	return err_set(err, TL_E_PROTO, "the host's answer makes no sense");
}

/* ------------------------------------------------ tree */

/* "WORD: text" as an error. */
static void problem_of(struct tl_bytes b, struct tl_err *ret)
{
	const uint8_t *colon = memchr(b.p, ':', b.n);
	const struct tl_error_row *row = NULL;
	size_t skip = 0;

	*ret = (struct tl_err){0};
	if (!b.n)
		return;
	if (colon)
		row = err_row_by_name((const char *)b.p, (size_t)(colon - b.p));
	if (row) {
		skip = (size_t)(colon - b.p) + 1;
		while (skip < b.n && b.p[skip] == ' ')
			skip++;
	}
	err_set(ret, row ? row->code : TL_E_IO, "%.*s", (int)(b.n - skip),
		(const char *)b.p + skip);
}

/* "", or one component that leads nowhere else */
static bool record_name(struct sftp_reader *r, char name[SFTP_NAME_BYTES])
{
	return sftp_get_cstr(r, name, SFTP_NAME_BYTES) && !strchr(name, '/') &&
	       strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

static bool read_record(struct sftp_reader *r, struct sftp_record *rec, char name[SFTP_NAME_BYTES],
			char target[SFTP_NAME_BYTES])
{
	rec->kind = sftp_get_u8(r);
	rec->name = name;
	rec->target = target;
	switch (rec->kind) {
	case SFTP_TREE_FOLDER:
	case SFTP_TREE_FILE:
	case SFTP_TREE_LATER:
	case SFTP_TREE_LINK:
		if (!record_name(r, name))
			return false;
		rec->mode = sftp_get_u32(r);
		rec->mtime_ns = sftp_get_u64(r);
		if (rec->kind == SFTP_TREE_LINK)
			return sftp_get_cstr(r, target, SFTP_NAME_BYTES);
		if (rec->kind != SFTP_TREE_FOLDER)
			rec->size = sftp_get_u64(r);
		return !r->bad;
	case SFTP_TREE_DATA:
		rec->data = sftp_get_string(r);
		return !r->bad;
	case SFTP_TREE_HOLE:
		rec->size = sftp_get_u64(r);
		return !r->bad;
	case SFTP_TREE_END:
		problem_of(sftp_get_string(r), &rec->problem);
		rec->data = sftp_get_string(r);
		return !r->bad;
	case SFTP_TREE_UP:
		return !r->bad;
	case SFTP_TREE_PROBLEM:
		if (!record_name(r, name))
			return false;
		problem_of(sftp_get_string(r), &rec->problem);
		return !r->bad && rec->problem.code;
	default:
		return false;
	}
}

static int take_tree(struct sftp_pending *p, struct sftp_reader *r, bool more, struct tl_err *err)
{
	char name[SFTP_NAME_BYTES] = "", target[SFTP_NAME_BYTES] = "";
	int rc = 0;

	(void)more;
	while (r->n && !rc) {
		struct sftp_record rec = {.data = bytes_of("", 0)};
		if (!read_record(r, &rec, name, target))
			return bad_answer(err);
		rc = p->record(p->ctx, &rec, err);
	}
	return rc;
}

static int ours_begin_tree(struct sftp_client *c, const char *path, uint32_t flags,
			   uint64_t inline_max, sftp_client_record *fn, sftp_client_done *done,
			   void *ctx, struct tl_err *err)
{
	struct sftp_call call =
	    sftp_call_begin(c, SFTP_EXTENDED, SFTP_EXT_TREE, SFTP_EXTENDED_REPLY);

	sftp_call_str(&call, path);
	sftp_call_u32(&call, flags);
	sftp_call_u64(&call, inline_max);
	if (call.p) {
		call.p->streamed = true;
		call.p->take = take_tree;
		call.p->record = fn;
		call.p->ctx = ctx;
	}
	return sftp_call_begun(&call, done, ctx, err);
}

int sftp_client_begin_tree(struct sftp_client *c, const char *path, uint32_t flags,
			   uint64_t inline_max, sftp_client_record *fn, sftp_client_done *done,
			   void *ctx, struct tl_err *err)
{
	if (sftp_client_plain(c))
		return sftp_plain_tree(c, path, flags, fn, done, ctx, err);
	return ours_begin_tree(c, path, flags, inline_max, fn, done, ctx, err);
}

/* ------------------------------------------------ names */

static int take_names(struct sftp_pending *p, struct sftp_reader *r, bool more, struct tl_err *err)
{
	uint32_t n = sftp_get_u32(r);
	char name[SFTP_NAME_BYTES];
	int rc = 0;

	(void)more;
	for (; n && !rc; n--) {
		if (!sftp_get_cstr(r, name, sizeof(name)) || !name[0])
			return bad_answer(err);
		rc = p->name(p->ctx, name, err);
	}
	return rc;
}

static int ours_glob(struct sftp_client *c, const char *pattern, sftp_client_name *fn, void *ctx,
		     struct tl_err *err)
{
	struct sftp_call call =
	    sftp_call_begin(c, SFTP_EXTENDED, SFTP_EXT_GLOB, SFTP_EXTENDED_REPLY);

	sftp_call_str(&call, pattern);
	if (call.p) {
		call.p->streamed = true;
		call.p->take = take_names;
		call.p->name = fn;
		call.p->ctx = ctx;
	}
	return sftp_call_wait(&call, err);
}

int sftp_client_glob(struct sftp_client *c, const char *pattern, sftp_client_name *fn, void *ctx,
		     struct tl_err *err)
{
	if (sftp_client_plain(c))
		return sftp_plain_glob(c, pattern, fn, ctx, err);
	return ours_glob(c, pattern, fn, ctx, err);
}

/* ------------------------------------------------ digests */

static int take_digest(struct sftp_pending *p, struct sftp_reader *r, bool more, struct tl_err *err)
{
	struct tl_bytes b = sftp_get_string(r);
	uint64_t size = sftp_get_u64(r);

	(void)more;
	if (r->bad || b.n != SHA256_DIGEST_LENGTH)
		return bad_answer(err);
	memcpy(p->out, b.p, b.n);
	if (p->ctx)
		*(uint64_t *)p->ctx = size;
	return 0;
}

static struct sftp_call digest_call(struct sftp_client *c, const char *path, uint64_t off,
				    uint64_t length, uint8_t *sum, uint64_t *size)
{
	struct sftp_call call =
	    sftp_call_begin(c, SFTP_EXTENDED, SFTP_EXT_DIGEST, SFTP_EXTENDED_REPLY);

	sftp_call_str(&call, path);
	sftp_call_str(&call, "sha256");
	sftp_call_u64(&call, off);
	sftp_call_u64(&call, length);
	if (call.p) {
		call.p->take = take_digest;
		call.p->out = sum;
		call.p->ctx = size;
	}
	return call;
}

static int ours_begin_digest(struct sftp_client *c, const char *path, uint64_t off, uint64_t length,
			     uint8_t sum[32], uint64_t *size, sftp_client_done *done, void *ctx,
			     struct tl_err *err)
{
	struct sftp_call call = digest_call(c, path, off, length, sum, size);
	return sftp_call_begun(&call, done, ctx, err);
}

int sftp_client_begin_digest(struct sftp_client *c, const char *path, uint64_t off, uint64_t length,
			     uint8_t sum[32], uint64_t *size, sftp_client_done *done, void *ctx,
			     struct tl_err *err)
{
	if (sftp_client_plain(c))
		return sftp_plain_digest(c, path, off, length, sum, size, done, ctx, err);
	return ours_begin_digest(c, path, off, length, sum, size, done, ctx, err);
}

int sftp_client_digest(struct sftp_client *c, const char *path, uint64_t off, uint64_t length,
		       uint8_t sum[32], uint64_t *size, struct tl_err *err)
{
	struct sftp_call call = digest_call(c, path, off, length, sum, size);
	return sftp_call_wait(&call, err);
}
