/* files_look.c - list, stat, read and expand of the window against plain SFTP (see files.h). Whose
 * rights count is not told by the protocol: a right that nobody has is missing, every other one is
 * tried. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "standin/files.h"

#define LIST_REPLY  32768
#define ENTRY_FIXED 25
#define LINKS_AHEAD 64

/* ---- list@towline ---- */

struct entry {
	char *name;
	struct sftp_attrs a, target;
	bool there; /* what a link leads to */
};

struct listing {
	struct files_task *t;
	const char *path;
	uint32_t flags, count;
	struct entry *v;
	size_t n, cap;
	struct buf out;
	struct sftp_mark m;
};

static int collect(void *ctx, const char *name, const struct sftp_attrs *a)
{
	struct listing *l = ctx;

	if (l->n == l->cap) {
		size_t cap = l->cap ? l->cap * 2 : 64;
		struct entry *v =
		    cap <= TL_LIMIT_LIST_ENTRIES ? realloc(l->v, cap * sizeof(*v)) : NULL;
		if (!v)
			return TL_E_LIMIT;
		l->v = v;
		l->cap = cap;
	}
	l->v[l->n] = (struct entry){.name = str_dup(name), .a = *a};
	return l->v[l->n].name ? (l->n++, 0) : TL_E_NOMEM;
}

static bool is_link(const struct entry *e)
{
	return files_is(&e->a, FILES_LINK);
}

/* Where the links lead, many at a time. */
static void follow(struct listing *l)
{
	struct {
		struct files_req q;
		struct entry *e;
	} ahead[LINKS_AHEAD];
	char path[2 * FILES_PATH];
	size_t i = 0;

	while (i < l->n) {
		size_t n = 0;
		for (; i < l->n && n < LINKS_AHEAD; i++) {
			if (!is_link(&l->v[i]))
				continue;
			snprintf(path, sizeof(path), "%s/%s", l->path, l->v[i].name);
			ahead[n].e = &l->v[i];
			files_ask(l->t->f, &ahead[n].q, SFTP_STAT, NULL);
			files_put_str(&ahead[n].q, path);
			files_post(&ahead[n++].q);
		}
		for (size_t k = 0; k < n; k++) {
			struct files_reply r;
			if (files_answer(&ahead[k].q, SFTP_ATTRS, &r, NULL) == 0) {
				sftp_get_attrs(&r.in, &ahead[k].e->target);
				ahead[k].e->there = !r.in.bad;
			}
			files_reply_free(&r);
		}
	}
}

static uint8_t type_of(const struct sftp_attrs *a, const struct sftp_attrs *target)
{
	if (files_is(a, FILES_LINK))
		return !target                          ? SFTP_ENTRY_LINK_BROKEN
		       : files_is(target, FILES_FOLDER) ? SFTP_ENTRY_LINK_FOLDER
							: SFTP_ENTRY_LINK_FILE;
	if (files_is(a, FILES_FOLDER))
		return SFTP_ENTRY_FOLDER;
	return files_is(a, FILES_FILE) || files_is(a, 0) ? SFTP_ENTRY_FILE : SFTP_ENTRY_OTHER;
}

static int begin(struct listing *l)
{
	int rc;

	l->count = 0;
	l->m = sftp_begin(&l->out, SFTP_EXTENDED_REPLY, l->t->id);
	rc = l->m.rc ? l->m.rc : buf_put_u8(&l->out, 1);
	return rc ? rc : buf_put_u32(&l->out, 0);
}

static int end(struct listing *l, bool more)
{
	uint8_t *p = l->out.p + l->out.off + l->m.at + 9;
	int rc;

	p[0] = more;
	set_u32(p + 1, l->count);
	rc = sftp_end(&l->out, l->m, 0);
	if (rc == 0)
		files_reply_packet(l->t->f, &l->out);
	return rc;
}

static int put(struct listing *l, const struct entry *e)
{
	const struct sftp_attrs *target = e->there ? &e->target : NULL;
	const struct sftp_attrs *a = target && l->flags & SFTP_LIST_FOLLOW ? target : &e->a;
	int rc = buf_put_string(&l->out, e->name, strlen(e->name));

	rc = rc ? rc : buf_put_u8(&l->out, type_of(&e->a, target));
	rc = rc ? rc : buf_put_u64(&l->out, a->size);
	rc = rc ? rc : buf_put_u64(&l->out, (uint64_t)a->mtime * 1000);
	rc = rc ? rc : buf_put_u32(&l->out, a->mode);
	l->count++;
	return rc;
}

void files_run_list(struct files_task *t)
{
	struct listing l = {.t = t};
	char path[FILES_PATH];
	struct tl_err why = {0}, err;
	int rc;

	sftp_get_cstr(&t->in, path, sizeof(path));
	l.flags = sftp_get_u32(&t->in);
	l.path = strcmp(path, "/") ? path : "";
	buf_init(&l.out, TL_LIMIT_SFTP_PACKET);
	rc = t->in.bad ? err_set(&why, TL_E_PROTO, "the request makes no sense")
		       : files_each(t->f, path, collect, &l, &why);
	if (rc == 0) {
		follow(&l);
		rc = begin(&l);
		for (size_t i = 0; i < l.n && !rc; i++) {
			rc = put(&l, &l.v[i]);
			if (!rc && l.out.len >= LIST_REPLY) {
				rc = end(&l, true);
				rc = rc ? rc : begin(&l);
			}
		}
		rc = rc ? rc : end(&l, false);
		err_set(&why, rc, "%s", err_row(rc)->what);
	}
	if (rc) {
		err_set(&err, rc, "cannot list %.300s: %s", path, why.text);
		files_fail(t, &err);
	}
	for (size_t i = 0; i < l.n; i++)
		free(l.v[i].name);
	free(l.v);
	buf_fini(&l.out);
}

/* ---- stat@towline ---- */

static uint8_t access_of(const struct sftp_attrs *a)
{
	if (!(a->flags & SFTP_ATTR_MODE))
		return SFTP_CAN_READ | SFTP_CAN_WRITE | SFTP_CAN_EXECUTE;
	return (a->mode & 0444 ? SFTP_CAN_READ : 0) | (a->mode & 0222 ? SFTP_CAN_WRITE : 0) |
	       (a->mode & 0111 ? SFTP_CAN_EXECUTE : 0);
}

void files_run_stat(struct files_task *t)
{
	uint8_t etag[SFTP_ETAG], type;
	char path[FILES_PATH];
	struct tl_err why = {0}, err;
	struct sftp_attrs a, target;
	struct sftp_mark m;
	struct buf out;
	int rc;

	if (!sftp_get_cstr(&t->in, path, sizeof(path)))
		rc = err_set(&why, TL_E_PROTO, "the request makes no sense");
	else
		rc = files_attrs(t->f, path, false, &a, &why);
	if (rc) {
		err_set(&err, rc, "cannot look at %.300s: %s", path, why.text);
		files_fail(t, &err);
		return;
	}
	type = type_of(&a, NULL);
	if (files_is(&a, FILES_LINK) && files_attrs(t->f, path, true, &target, NULL) == 0) {
		type = type_of(&a, &target);
		a = target;
	}
	files_etag(etag, &a);
	buf_init(&out, SFTP_PACKET_EXTRA);
	m = sftp_begin(&out, SFTP_EXTENDED_REPLY, t->id);
	rc = m.rc ? m.rc : buf_put_u8(&out, type);
	rc = rc ? rc : buf_put_u64(&out, a.size);
	rc = rc ? rc : buf_put_u64(&out, (uint64_t)a.mtime * 1000);
	rc = rc ? rc : buf_put_u64(&out, (uint64_t)a.mtime * 1000);
	rc = rc ? rc : buf_put_u32(&out, a.mode);
	rc = rc ? rc : buf_put_u8(&out, access_of(&a));
	rc = rc ? rc : buf_put(&out, etag, sizeof(etag));
	if (sftp_end(&out, m, rc) == 0)
		files_reply_packet(t->f, &out);
	buf_fini(&out);
}

/* ---- read-file@towline ---- */

struct reading {
	struct files_task *t;
	struct sftp_attrs a;
	bool first;
	struct buf out;
};

static int put_content(struct reading *r, struct tl_bytes b, bool more)
{
	struct sftp_mark m = sftp_begin(&r->out, SFTP_EXTENDED_REPLY, r->t->id);
	uint8_t etag[SFTP_ETAG];
	int rc = m.rc ? m.rc : buf_put_u8(&r->out, more);

	if (r->first) {
		files_etag(etag, &r->a);
		rc = rc ? rc : buf_put(&r->out, etag, sizeof(etag));
		rc = rc ? rc : buf_put_u64(&r->out, r->a.size);
	}
	r->first = false;
	rc = rc ? rc : buf_put_string(&r->out, b.p, b.n);
	rc = sftp_end(&r->out, m, rc);
	if (rc == 0)
		files_reply_packet(r->t->f, &r->out);
	return rc;
}

static int got_content(void *ctx, struct tl_bytes b)
{
	struct reading *r = ctx;

	/* nobody waits any more */
	return r->t->f->ending ? TL_E_CANCELED : put_content(r, b, true);
}

static int head_of(struct files *f, const struct files_handle *h, struct sftp_attrs *ret,
		   struct tl_err *err)
{
	struct files_reply r;
	struct files_req q;
	int rc;

	files_ask(f, &q, SFTP_FSTAT, NULL);
	files_put_bytes(&q, h->p, h->n);
	files_post(&q);
	rc = files_answer(&q, SFTP_ATTRS, &r, err);
	if (rc == 0)
		sftp_get_attrs(&r.in, ret);
	files_reply_free(&r);
	if (rc == 0 && files_is(ret, FILES_FOLDER))
		rc = err_set(err, TL_E_ISDIR, "%s", err_row(TL_E_ISDIR)->what);
	return rc;
}

void files_run_read(struct files_task *t)
{
	struct reading r = {.t = t, .first = true};
	struct tl_err why = {0}, err;
	struct files_handle h;
	char path[FILES_PATH];
	uint64_t off, length;
	int rc;

	sftp_get_cstr(&t->in, path, sizeof(path));
	off = sftp_get_u64(&t->in);
	length = sftp_get_u64(&t->in);
	buf_init(&r.out, TL_LIMIT_SFTP_PACKET);
	rc = t->in.bad ? err_set(&why, TL_E_PROTO, "the request makes no sense")
		       : files_open(t->f, path, SFTP_OPEN_READ, 0, &h, &why);
	/* OpenSSH opens folders for reading, and then fails without a word */
	if (rc == 0) {
		rc = head_of(t->f, &h, &r.a, &why);
		rc = rc ? rc : files_content(t->f, &h, off, length, got_content, &r, &why);
		files_close(t->f, &h, false, NULL);
	}
	if (rc == 0)
		rc = put_content(&r, bytes_of("", 0), false);
	if (rc) {
		err_set(&err, rc, "cannot read %.300s: %s", path, why.text);
		files_fail(t, &err);
	}
	buf_fini(&r.out);
}

/* ---- expand-path@openssh.com, where the server has it not ---- */

void files_run_expand(struct files_task *t)
{
	char path[FILES_PATH], full[FILES_PATH + 8], real[FILES_PATH];
	struct tl_err why = {0}, err;
	struct sftp_attrs none = {.flags = 0};
	struct sftp_mark m;
	struct buf out;
	int rc;

	if (!sftp_get_cstr(&t->in, path, sizeof(path)))
		rc = err_set(&why, TL_E_PROTO, "the request makes no sense");
	else if (path[0] == '~' && path[1] && path[1] != '/')
		rc = err_set(&why, TL_E_UNSUPPORTED,
			     "the host's SFTP server does not know other users' folders");
	else {
		/* a session of SFTP begins at home */
		snprintf(full, sizeof(full), "%s%s", path[0] == '~' ? "." : "",
			 path[0] == '~' ? path + 1 : path);
		rc = files_real(t->f, full, real, &why);
	}
	if (rc) {
		err_set(&err, rc, "cannot find %.300s: %s", path, why.text);
		files_fail(t, &err);
		return;
	}
	buf_init(&out, TL_LIMIT_SFTP_PACKET);
	m = sftp_begin(&out, SFTP_NAME, t->id);
	rc = m.rc ? m.rc : buf_put_u32(&out, 1);
	rc = rc ? rc : buf_put_string(&out, real, strlen(real));
	rc = rc ? rc : buf_put_string(&out, real, strlen(real));
	rc = rc ? rc : sftp_put_attrs(&out, &none);
	if (sftp_end(&out, m, rc) == 0)
		files_reply_packet(t->f, &out);
	buf_fini(&out);
}
