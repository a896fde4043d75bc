/* files_save.c - save@towline against plain SFTP (see files.h): a file is replaced by its new
 * content, or stays as it was.
 *
 * The content goes under a temporary name beside the file and takes its name in one step, where the
 * server can rename like that. Where that would change more than the content (another owner, a
 * folder we may not write) it is written into the file; what breaks then leaves half of it, which
 * no SFTP server can do better. Conflicts are seen by time and size, twice: at the beginning and
 * just before the end.
 *
 * Pieces of one save belong to one struct files_save and run one after the other; its writes are
 * answered before the server has, and what the server says then is the failure of a later piece. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "loop/loop.h"
#include "standin/files.h"

#define SAVES_MAX 16
#define FLIGHT    64

struct files_save {
	struct files_save *next;
	char path[FILES_PATH], target[FILES_PATH], temp[FILES_PATH + 32];
	uint64_t total, have;
	unsigned refs;
	bool busy, over; /* a piece runs; no piece will run any more */
	/* of the piece that runs */
	struct files_handle handle;
	bool open, in_place, there, hole_last;
	struct sftp_attrs old;
	struct files_req flight[FLIGHT];
	size_t first, flying;
};

struct piece {
	char path[FILES_PATH];
	uint32_t flags, mode;
	uint8_t etag[SFTP_ETAG];
	uint64_t total, off;
	struct tl_bytes data;
};

static bool parse(struct sftp_reader in, struct piece *p)
{
	struct tl_bytes etag;

	sftp_get_cstr(&in, p->path, sizeof(p->path));
	p->flags = sftp_get_u32(&in);
	p->mode = sftp_get_u32(&in);
	etag = sftp_get_raw(&in, SFTP_ETAG);
	p->total = sftp_get_u64(&in);
	p->off = sftp_get_u64(&in);
	p->data = sftp_get_string(&in);
	if (!in.bad)
		memcpy(p->etag, etag.p, SFTP_ETAG);
	return !in.bad;
}

/* ---- who belongs to which save; under f->lock ---- */

static void save_unref(struct files *f, struct files_save *s)
{
	if (--s->refs)
		return;
	for (struct files_save **at = &f->saves; *at; at = &(*at)->next) {
		if (*at != s)
			continue;
		*at = s->next;
		break;
	}
	free(s);
}

void files_save_arrived(struct files_task *t)
{
	struct files *f = t->f;
	struct piece *p = calloc(1, sizeof(*p));
	struct files_save *s = NULL;
	size_t count = 0;

	if (!p || !parse(t->in, p)) {
		free(p);
		return;
	}
	pthread_mutex_lock(&f->lock);
	for (struct files_save *at = f->saves; at; at = at->next) {
		count += !at->over;
		if (strcmp(at->path, p->path) == 0 && !at->over)
			s = at;
	}
	/* the client begins again; what there was is swept up by the new one */
	if (s && p->off == 0) {
		s->over = true;
		count--;
		s = NULL;
	}
	if (!s && p->off == 0 && count < SAVES_MAX && (s = calloc(1, sizeof(*s)))) {
		str_copy(s->path, sizeof(s->path), p->path);
		s->total = p->total;
		s->refs = 1; /* until it is over */
		s->next = f->saves;
		f->saves = s;
	}
	if (s)
		s->refs++;
	t->save = s;
	pthread_mutex_unlock(&f->lock);
	free(p);
}

/* ---- the writes under way ---- */

/* Takes answers until at most `left` writes are under way. */
static int land(struct files_save *s, size_t left, struct tl_err *err)
{
	int rc = 0;

	while (s->flying > left) {
		struct files_req *q = &s->flight[s->first];
		s->first = (s->first + 1) % FLIGHT;
		s->flying--;
		if (rc == 0)
			rc = files_done(q, err);
		else
			files_forget(q);
	}
	return rc;
}

static int put_data(struct files *f, struct files_save *s, struct tl_bytes b, struct tl_err *err)
{
	size_t at = 0;
	int rc = 0;

	while (at < b.n && !rc) {
		size_t n = b.n - at < FILES_PIECE ? b.n - at : FILES_PIECE;
		struct files_req *q;
		rc = land(s, FLIGHT - 1, err);
		if (rc)
			break;
		q = &s->flight[(s->first + s->flying++) % FLIGHT];
		files_ask(f, q, SFTP_WRITE, NULL);
		files_put_bytes(q, s->handle.p, s->handle.n);
		files_put_u64(q, s->have);
		files_put_bytes(q, b.p + at, n);
		files_post(q);
		at += n;
		s->have += n;
	}
	return rc;
}

/* Whatever is left of a save that ended; under nobody's lock, by who ended it. */
static void discard(struct files *f, struct files_save *s)
{
	land(s, 0, NULL);
	if (s->open)
		files_close(f, &s->handle, true, NULL);
	if (s->open && !s->in_place)
		files_path_op(f, SFTP_REMOVE, s->temp, NULL);
	s->open = false;
}

/* What earlier saves of the same file left, when the client began again. */
static void sweep(struct files *f, const char *path)
{
	for (;;) {
		struct files_save *s;
		pthread_mutex_lock(&f->lock);
		for (s = f->saves; s; s = s->next)
			if (s->over && !s->busy && s->refs == 1 && strcmp(s->path, path) == 0)
				break;
		if (s)
			s->busy = true;
		pthread_mutex_unlock(&f->lock);
		if (!s)
			return;
		discard(f, s);
		pthread_mutex_lock(&f->lock);
		save_unref(f, s);
		pthread_mutex_unlock(&f->lock);
	}
}

/* ---- beginning ---- */

/* May what is there be replaced? Sets there and old. */
static int check(struct files *f, struct files_save *s, const struct piece *p, struct tl_err *err)
{
	static const uint8_t none[SFTP_ETAG];
	uint8_t etag[SFTP_ETAG] = {0};
	int rc = files_attrs(f, s->target, true, &s->old, err);

	s->there = rc == 0;
	if (rc && rc != TL_E_NOENT)
		return rc;
	if (s->there && files_is(&s->old, FILES_FOLDER))
		return err_set(err, TL_E_ISDIR, "%s", err_row(TL_E_ISDIR)->what);
	if (s->there && !files_is(&s->old, FILES_FILE))
		return err_set(err, TL_E_INVAL, "it is no regular file");
	if (s->there)
		files_etag(etag, &s->old);
	if (p->flags & SFTP_SAVE_COMPARE && memcmp(etag, p->etag, SFTP_ETAG) != 0)
		return err_set(err, TL_E_CONFLICT, "%s",
			       !s->there                               ? "it was removed meanwhile"
			       : memcmp(p->etag, none, SFTP_ETAG) == 0 ? "it was made meanwhile"
								       : "it changed meanwhile");
	if (!s->there && !(p->flags & SFTP_SAVE_CREATE))
		return err_set(err, TL_E_NOENT, "%s", err_row(TL_E_NOENT)->what);
	if (s->there && !(p->flags & SFTP_SAVE_OVERWRITE))
		return err_set(err, TL_E_EXIST, "%s", err_row(TL_E_EXIST)->what);
	if (s->there && !(s->old.mode & 0222))
		return err_set(err, TL_E_ACCES, "it is write-protected");
	return 0;
}

static int handle_attrs(struct files *f, const struct files_handle *h, struct sftp_attrs *ret)
{
	struct files_reply r;
	struct files_req q;
	int rc;

	files_ask(f, &q, SFTP_FSTAT, NULL);
	files_put_bytes(&q, h->p, h->n);
	files_post(&q);
	rc = files_answer(&q, SFTP_ATTRS, &r, NULL);
	if (rc == 0)
		sftp_get_attrs(&r.in, ret);
	files_reply_free(&r);
	return rc;
}

static int set_attrs(struct files *f, const struct files_handle *h, const struct sftp_attrs *a,
		     struct tl_err *err)
{
	struct files_req q;

	files_ask(f, &q, SFTP_FSETSTAT, NULL);
	files_put_bytes(&q, h->p, h->n);
	files_put_attrs(&q, a);
	files_post(&q);
	return files_done(&q, err);
}

/* Would the temporary file be somebody else's than the old one? */
static bool owner_differs(struct files *f, struct files_save *s)
{
	struct sftp_attrs a = {.flags = 0}, want = {.flags = SFTP_ATTR_UIDGID};

	if (!s->there || !(s->old.flags & SFTP_ATTR_UIDGID) ||
	    handle_attrs(f, &s->handle, &a) != 0 || !(a.flags & SFTP_ATTR_UIDGID) ||
	    (a.uid == s->old.uid && a.gid == s->old.gid))
		return false;
	want.uid = s->old.uid;
	want.gid = s->old.gid;
	return set_attrs(f, &s->handle, &want, NULL) != 0;
}

static int open_temp(struct files *f, struct files_save *s, const struct piece *p,
		     struct tl_err *err)
{
	const char *slash = strrchr(s->target, '/');
	int front = slash ? (int)(slash - s->target) + 1 : 0, rc;
	char id[9];

	random_id(id, 8);
	/* a dot in front: lists leave it out; the file's own name may be as long as names can be */
	snprintf(s->temp, sizeof(s->temp), "%.*s.towline-%s", front, s->target, id);
	rc = files_open(f, s->temp, SFTP_OPEN_WRITE | SFTP_OPEN_CREAT | SFTP_OPEN_EXCL,
			s->there ? 0600 : p->mode & 0777, &s->handle, err);
	s->open = rc == 0;
	if (rc == 0 && owner_differs(f, s)) {
		discard(f, s);
		rc = err_set(err, TL_E_ACCES, "%s", err_row(TL_E_ACCES)->what);
	}
	return rc;
}

static int begin(struct files *f, struct files_save *s, const struct piece *p, struct tl_err *err)
{
	struct sftp_attrs a;
	int rc;

	sweep(f, s->path);
	/* through a link: the file it leads to gets the content */
	str_copy(s->target, sizeof(s->target), s->path);
	if (files_attrs(f, s->path, false, &a, NULL) == 0 && files_is(&a, FILES_LINK) &&
	    files_real(f, s->path, s->target, err) != 0)
		return err->code;
	rc = check(f, s, p, err);
	if (rc)
		return rc;
	rc = open_temp(f, s, p, err);
	if (rc == 0 || !s->there || (rc != TL_E_ACCES && rc != TL_E_IO))
		return rc;
	rc = files_open(f, s->target, SFTP_OPEN_WRITE, 0, &s->handle, err);
	s->in_place = s->open = rc == 0;
	return rc;
}

/* ---- the end ---- */

static int set_size(struct files *f, struct files_save *s, struct tl_err *err)
{
	struct sftp_attrs a = {.flags = SFTP_ATTR_SIZE, .size = s->total};

	return s->in_place || s->hole_last ? set_attrs(f, &s->handle, &a, err) : 0;
}

static int commit(struct files *f, struct files_save *s, const struct piece *p, struct tl_err *err)
{
	struct sftp_attrs mode = {.flags = SFTP_ATTR_MODE};
	struct files_req q;
	int rc = land(s, 0, err);

	rc = rc ? rc : set_size(f, s, err);
	if (rc == 0 && p->flags & SFTP_SAVE_FSYNC && f->extensions & FILES_FSYNC) {
		files_ask(f, &q, SFTP_EXTENDED, "fsync@openssh.com");
		files_put_bytes(&q, s->handle.p, s->handle.n);
		files_post(&q);
		rc = files_done(&q, err);
	}
	if (rc || s->in_place) {
		s->open = s->open && rc;
		return rc ? rc : files_close(f, &s->handle, true, err);
	}
	/* the umask of the server counted at its birth */
	mode.mode = s->old.mode & 07777;
	if (s->there && s->old.flags & SFTP_ATTR_MODE)
		rc = set_attrs(f, &s->handle, &mode, err);
	/* it may have changed while a large file was on its way */
	rc = rc ? rc : check(f, s, p, err);
	if (rc)
		return rc;
	rc = files_close(f, &s->handle, true, err);
	rc = rc ? rc : files_rename_over(f, s->temp, s->target, err);
	if (rc)
		files_path_op(f, SFTP_REMOVE, s->temp, NULL);
	s->open = false;
	return rc;
}

static void reply_saved(struct files_task *t, bool done, const struct sftp_attrs *a)
{
	uint8_t etag[SFTP_ETAG] = {0};
	struct sftp_mark m;
	struct buf out;
	int rc;

	if (done)
		files_etag(etag, a);
	buf_init(&out, SFTP_PACKET_EXTRA);
	m = sftp_begin(&out, SFTP_EXTENDED_REPLY, t->id);
	rc = m.rc ? m.rc : buf_put_u8(&out, done);
	if (sftp_end(&out, m, rc ? rc : buf_put(&out, etag, sizeof(etag))) == 0)
		files_reply_packet(t->f, &out);
	buf_fini(&out);
}

/* ---- one piece ---- */

static int feed(struct files *f, struct files_save *s, const struct piece *p, struct tl_err *err)
{
	bool hole = p->flags & SFTP_SAVE_HOLE;
	uint64_t n = hole ? p->data.n == 8 ? get_u64(p->data.p) : 0 : p->data.n;

	if (p->total != s->total || n > s->total - s->have || (n == 0 && s->have < s->total))
		return err_set(err, TL_E_INVAL, "its pieces do not follow each other");
	s->hole_last = hole;
	if (!hole)
		return put_data(f, s, p->data, err);
	s->have += n;
	return 0;
}

static int run(struct files_task *t, struct files_save *s, const struct piece *p,
	       struct tl_err *err)
{
	struct files *f = t->f;
	struct sftp_attrs a;
	int rc = p->off == 0 ? begin(f, s, p, err) : 0;

	rc = rc ? rc : feed(f, s, p, err);
	if (rc)
		return rc;
	if (s->have < s->total) {
		reply_saved(t, false, NULL);
		return 0;
	}
	rc = commit(f, s, p, err);
	rc = rc ? rc : files_attrs(f, s->target, true, &a, err);
	if (rc == 0)
		reply_saved(t, true, &a);
	return rc;
}

/* Waits until it is this piece's turn: false, when it will never be. */
static bool turn(struct files *f, struct files_save *s, uint64_t off)
{
	bool mine;

	pthread_mutex_lock(&f->lock);
	while (!s->over && !f->lost && !f->ending && (s->busy || s->have < off))
		pthread_cond_wait(&f->changed, &f->lock);
	mine = !s->over && !f->lost && !s->busy && s->have == off;
	s->busy = s->busy || mine;
	pthread_mutex_unlock(&f->lock);
	return mine;
}

void files_run_save(struct files_task *t)
{
	struct files *f = t->f;
	struct files_save *s = t->save;
	struct piece *p = calloc(1, sizeof(*p));
	struct tl_err why = {0}, err;
	bool parsed = p && parse(t->in, p), mine;
	int rc = 0;

	if (!parsed)
		err_set(&why, TL_E_PROTO, "the request makes no sense");
	else if (p->flags & SFTP_SAVE_SHARE || (p->flags & SFTP_SAVE_KEEP && p->off && !s))
		err_set(&why, TL_E_UNSUPPORTED, "this host's SFTP server cannot do that");
	else if (!s)
		err_set(&why, p->off ? TL_E_CANCELED : TL_E_LIMIT, "%s",
			p->off ? "an earlier piece failed" : "too many saves at the same time");
	mine = s && !why.code && turn(f, s, p->off);
	if (s && !why.code && !mine)
		err_set(&why, TL_E_CANCELED, "an earlier piece failed");
	if (mine)
		rc = run(t, s, p, &why);
	if (rc)
		discard(f, s);
	if (rc || !mine) {
		err_set(&err, why.code, "cannot save %.300s: %s", parsed ? p->path : "a file",
			why.text);
		files_fail(t, &err);
	}
	if (s) {
		pthread_mutex_lock(&f->lock);
		if (mine) {
			s->busy = false;
			if ((rc || s->have == s->total) && !s->over) {
				s->over = true;
				s->refs--; /* cannot be the last: ours is */
			}
		}
		save_unref(f, s);
		pthread_cond_broadcast(&f->changed);
		pthread_mutex_unlock(&f->lock);
	}
	free(p);
}

void files_saves_end(struct files *f)
{
	for (struct files_save *s = f->saves; s; s = s->next)
		discard(f, s);
}
