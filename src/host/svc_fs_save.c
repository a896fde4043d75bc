/* svc_fs_save.c - save@towline: a file is replaced by its new content, or stays as it was.
 * Owns what the saves under way have received: a file without a name where the system can do
 * that, else one with a temporary name, so that nothing stays behind even when we are killed.
 *
 * 1. Every byte is first in that spool, in the file's own folder when it can be written.
 * 2. Then the conditions are looked at once more, and the spool takes the file's name in one step
 *    (rename), with its mode, owner, ACL and other attributes (svc_fs_place.c).
 * 3. Where that would change more than the content (the file has other names, another owner, or a
 *    folder we may not write) the content is copied into the file instead, over a copy of the old
 *    content that is put back when the disk is full. */
#include "host/svc_fs_save.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/str.h"

#define SAVES_MAX 16

/* What a save request says. */
struct save_request {
	char path[FS_PATH];
	uint32_t flags, mode;
	uint8_t etag[SFTP_ETAG];
	uint64_t total, off;
	struct tl_bytes data;
};

static void save_drop(struct svc_fs *fs, struct fs_save *s)
{
	for (struct fs_save **p = &fs->saves; *p; p = &(*p)->next) {
		if (*p != s)
			continue;
		*p = s->next;
		break;
	}
	fs_spool_drop(&s->spool);
	fs_at_close(&s->at);
	free(s);
}

void fs_saves_free(struct svc_fs *fs)
{
	while (fs->saves)
		save_drop(fs, fs->saves);
}

static struct fs_save *save_find(struct svc_fs *fs, const char *path, size_t *ret_count)
{
	*ret_count = 0;
	for (struct fs_save *s = fs->saves; s; s = s->next) {
		if (strcmp(s->path, path) == 0)
			return s;
		++*ret_count;
	}
	return NULL;
}

/* What is at the place, and may it be replaced? 0 and `there`; or answered (false). */
static bool check(struct fs_req *q, const struct save_request *r, const struct fs_at *at,
		  struct stat *st, bool *there)
{
	static const uint8_t none[SFTP_ETAG];
	uint8_t etag[SFTP_ETAG] = {0};
	int e = fs_at_stat(at, st);

	*there = e == 0;
	if (e && e != ENOENT) {
		fs_fail(q, e, "cannot save %s", r->path);
		return false;
	}
	if (*there && S_ISDIR(st->st_mode)) {
		fs_fail(q, EISDIR, "cannot save %s", r->path);
		return false;
	}
	if (*there && !S_ISREG(st->st_mode)) {
		fs_refuse(q, TL_E_INVAL, "cannot save %s: it is no regular file", r->path);
		return false;
	}
	if (*there)
		fs_etag_of(etag, st);
	if (r->flags & SFTP_SAVE_COMPARE && memcmp(etag, r->etag, SFTP_ETAG) != 0) {
		fs_refuse(q, TL_E_CONFLICT, "cannot save %s: %s", r->path,
			  !*there                                 ? "it was removed meanwhile"
			  : memcmp(r->etag, none, SFTP_ETAG) == 0 ? "it was made meanwhile"
								  : "it changed meanwhile");
		return false;
	}
	if (!*there && !(r->flags & SFTP_SAVE_CREATE)) {
		fs_fail(q, ENOENT, "cannot save %s", r->path);
		return false;
	}
	if (*there && !(r->flags & SFTP_SAVE_OVERWRITE)) {
		fs_fail(q, EEXIST, "cannot save %s", r->path);
		return false;
	}
	/* root may do everything; what a file forbids to everybody else stands for him, too, but
	 * is no reason for a rename to get around a missing right */
	if (*there && faccessat(at->dirfd, at->name, W_OK, 0) != 0) {
		fs_fail(q, errno, "cannot save %s", r->path);
		return false;
	}
	return true;
}

/* The first request of a save; NULL after having answered. */
static struct fs_save *save_begin(struct fs_req *q, const struct save_request *r, size_t count)
{
	struct fs_save *s;
	struct stat st;
	bool there;
	int e;

	if (count >= SAVES_MAX) {
		fs_refuse(q, TL_E_LIMIT, "cannot save %s: too many saves at the same time",
			  r->path);
		return NULL;
	}
	s = calloc(1, sizeof(*s));
	if (!s) {
		fs_fail(q, ENOMEM, "cannot save %s", r->path);
		return NULL;
	}
	s->spool.fd = -1;
	s->spool.dirfd = -1;
	str_copy(s->path, sizeof(s->path), r->path);
	s->total = r->total;
	s->next = q->fs->saves;
	q->fs->saves = s;
	e = fs_at_final(q->fs, r->path, &s->at);
	if (e) {
		fs_fail(q, e, "cannot save %s", r->path);
	} else if (check(q, r, &s->at, &st, &there)) {
		if (r->flags & SFTP_SAVE_KEEP)
			e = fs_spool_part(&s->spool, s->at.dirfd, s->at.name, there ? 0600 : 0666,
					  r->off);
		s->have = r->off;
		/* without a place for the part there is still the ordinary way */
		if (s->spool.fd < 0 && r->off == 0 && e != EAGAIN)
			e = fs_spool_open(&s->spool, s->at.dirfd, s->at.name, there ? 0600 : 0666,
					  q->fs->root >= 0);
		if (!e && !there && !s->spool.beside)
			e = s->spool.why; /* nowhere to put a new file */
		if (!e)
			return s;
		if (e == EAGAIN && r->flags & SFTP_SAVE_KEEP)
			fs_refuse(q, TL_E_AGAIN, "cannot save %s: another transfer writes it",
				  r->path);
		else if (e == ESTALE)
			fs_refuse(q, TL_E_CANCELED, "cannot save %s: an earlier piece failed",
				  r->path);
		else
			fs_fail(q, e, "cannot save %s", r->path);
	}
	save_drop(q->fs, s);
	return NULL;
}

/* Everything has arrived: puts it in place. 0, errno, or -1 after having answered. */
static int save_commit(struct fs_req *q, const struct save_request *r, struct fs_save *s,
		       struct stat *ret)
{
	struct stat st;
	bool there;
	int e = 0;

	/* the folder may have changed while a large file was on its way */
	if (!check(q, r, &s->at, &st, &there))
		return -1;
	if (!there && r->mode && fchmod(s->spool.fd, r->mode & 07777) != 0)
		return errno;
	if (r->flags & SFTP_SAVE_FSYNC && fsync(s->spool.fd) != 0)
		return errno;
	e = fs_place(s, there ? &st : NULL, r->flags & SFTP_SAVE_FSYNC);
	if (e == EEXIST && !there && r->flags & SFTP_SAVE_COMPARE) {
		fs_refuse(q, TL_E_CONFLICT, "cannot save %s: it was made meanwhile", r->path);
		return -1;
	}
	return e ? e : fs_at_stat(&s->at, ret);
}

/* shared: of a save that goes on, the descriptor that others write to; else -1. */
static void reply_saved(struct fs_req *q, bool done, const struct stat *st, int shared)
{
	struct buf *out = q->fs->out;
	uint8_t etag[SFTP_ETAG] = {0};
	struct sftp_mark m;
	int rc;

	if (done)
		fs_etag_of(etag, st);
	else if (shared >= 0)
		set_u64(etag, (uint64_t)shared);
	if (!fs_room(q->fs, SFTP_PACKET_EXTRA))
		return;
	m = sftp_begin(out, SFTP_EXTENDED_REPLY, q->id);
	rc = buf_put_u8(out, done);
	rc = sftp_end(out, m, rc ? rc : buf_put(out, etag, sizeof(etag)));
	if (rc)
		q->fs->broken = rc;
}

/* A shared save: nothing comes here but the beginning and, once all of it is there, the end. */
static bool save_shared(struct fs_req *q, const struct save_request *r, struct fs_save *s)
{
	struct stat st;

	if (r->total != s->total || r->data.n || (r->off && r->off != r->total) ||
	    (s->have && s->have != r->off)) {
		fs_refuse(q, TL_E_INVAL, "cannot save %s: its pieces do not follow each other",
			  r->path);
		return false;
	}
	if (r->off && (fstat(s->spool.fd, &st) != 0 || (uint64_t)st.st_size != s->total)) {
		fs_refuse(q, TL_E_INVAL, "cannot save %s: not all of it has arrived", r->path);
		return false;
	}
	s->have = r->off;
	return true;
}

/* Takes the request's data; false: it ended with an answer. */
static bool save_feed(struct fs_req *q, const struct save_request *r, struct fs_save *s)
{
	bool hole = r->flags & SFTP_SAVE_HOLE;
	uint64_t n = hole ? r->data.n == 8 ? get_u64(r->data.p) : 0 : r->data.n;
	int e = 0;

	if (r->flags & SFTP_SAVE_SHARE)
		return save_shared(q, r, s);
	if (r->total != s->total || r->off != s->have || n > s->total - s->have ||
	    (n == 0 && s->have < s->total)) {
		fs_refuse(q, TL_E_INVAL, "cannot save %s: its pieces do not follow each other",
			  r->path);
		return false;
	}
	if (!hole)
		e = fs_write_all(s->spool.fd, r->data.p, r->data.n);
	else if (ftruncate(s->spool.fd, (off_t)(s->have + n)) != 0 ||
		 lseek(s->spool.fd, 0, SEEK_END) < 0)
		e = errno;
	if (e) {
		fs_fail(q, e, "cannot save %s", r->path);
		return false;
	}
	s->have += n;
	return true;
}

static void save(struct fs_req *q, const struct save_request *r)
{
	struct stat st = {0};
	struct fs_save *s;
	size_t count;
	int e;

	s = save_find(q->fs, r->path, &count);
	if (s && r->off == 0) {
		save_drop(q->fs, s); /* the client began again */
		s = NULL;
	} else if (!s && r->off != 0 && !(r->flags & SFTP_SAVE_KEEP)) {
		fs_refuse(q, TL_E_CANCELED, "cannot save %s: an earlier piece failed", r->path);
		return;
	}
	if (!s)
		s = save_begin(q, r, count);
	if (!s)
		return;
	if (!save_feed(q, r, s)) {
		save_drop(q->fs, s);
		return;
	}
	if (s->have < s->total) {
		reply_saved(q, false, NULL, r->flags & SFTP_SAVE_SHARE ? s->spool.fd : -1);
		return;
	}
	e = save_commit(q, r, s, &st);
	if (e == 0)
		s->spool.keep = false;
	save_drop(q->fs, s);
	if (e > 0)
		fs_fail(q, e, "cannot save %s", r->path);
	else if (e == 0)
		reply_saved(q, true, &st, -1);
}

void fs_ext_save(struct fs_req *q)
{
	struct save_request *r = calloc(1, sizeof(*r));
	struct tl_bytes etag;

	if (!r) {
		fs_fail(q, ENOMEM, "cannot save the file");
		return;
	}
	sftp_get_cstr(&q->in, r->path, sizeof(r->path));
	r->flags = sftp_get_u32(&q->in);
	r->mode = sftp_get_u32(&q->in);
	etag = sftp_get_raw(&q->in, SFTP_ETAG);
	r->total = sftp_get_u64(&q->in);
	r->off = sftp_get_u64(&q->in);
	r->data = sftp_get_string(&q->in);
	if (q->in.bad) {
		fs_bad(q);
	} else {
		memcpy(r->etag, etag.p, SFTP_ETAG);
		save(q, r);
	}
	free(r);
}
