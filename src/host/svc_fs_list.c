/* svc_fs_list.c - list@towline and stat@towline: what an explorer needs, in one round trip.
 * Owns nothing beyond a request. */
#include <dirent.h>
#include <stdio.h>

#include "host/svc_fs_priv.h"

#define LIST_PIECE  262144
#define ENTRY_FIXED 25 /* length word, type, size, mtime, mode */
/* one reply; small enough that the first names show at once */
#define LIST_REPLY 65536

static uint64_t ms_of(struct timespec t)
{
	return t.tv_sec < 0 ? 0 : (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

void fs_etag_of(uint8_t out[SFTP_ETAG], const struct stat *st)
{
	sftp_etag(out, (uint64_t)st->st_mtim.tv_sec * 1000000000u + (uint64_t)st->st_mtim.tv_nsec,
		  (uint64_t)st->st_size, (uint64_t)st->st_ino);
}

/* ------------------------------------------------ list@towline */

struct listing {
	struct fs_req *q;
	struct fs_dirents *dir;
	const char *path;
	int fd;
	bool confined;
	uint32_t flags;
	struct sftp_mark m; /* the reply being made */
	uint32_t count;
};

/* The d_type of an entry as our type byte; 0: only a look tells. */
static uint8_t plain_type(uint8_t d_type)
{
	switch (d_type) {
	case DT_REG:
		return SFTP_ENTRY_FILE;
	case DT_DIR:
		return SFTP_ENTRY_FOLDER;
	case DT_CHR:
	case DT_BLK:
	case DT_FIFO:
	case DT_SOCK:
		return SFTP_ENTRY_OTHER;
	default:
		return 0;
	}
}

/* Confined, the link is walked by us: what is outside counts as broken. */
static bool target_of(struct listing *l, const char *name, struct stat *ret)
{
	char path[FS_PATH];
	struct fs_at at;
	int e;

	if (!l->confined)
		return fstatat(l->fd, name, ret, 0) == 0;
	if ((size_t)snprintf(path, sizeof(path), "%s/%s", l->path, name) >= sizeof(path))
		return false;
	e = fs_at(l->q->fs, path, true, &at);
	if (!e)
		e = fs_at_stat(&at, ret);
	fs_at_close(&at);
	return e == 0;
}

/* Type and attributes; false: it is gone. */
static bool look(struct listing *l, const struct fs_dirent *e, uint8_t *ret_type, struct stat *ret)
{
	struct stat target;
	bool there;

	memset(ret, 0, sizeof(*ret));
	*ret_type = plain_type(e->type);
	if (*ret_type && l->flags & SFTP_LIST_NAMES)
		return true;
	/* somebody may list a folder that he may not enter: then names are better than nothing */
	if (fstatat(l->fd, e->name, ret, AT_SYMLINK_NOFOLLOW) != 0) {
		if (errno == ENOENT)
			return false;
		*ret_type = *ret_type ? *ret_type : SFTP_ENTRY_OTHER;
		return true;
	}
	if (!S_ISLNK(ret->st_mode)) {
		*ret_type = fs_entry_type(ret, NULL);
		return true;
	}
	there = target_of(l, e->name, &target);
	*ret_type = fs_entry_type(ret, there ? &target : NULL);
	if (there && l->flags & SFTP_LIST_FOLLOW)
		*ret = target;
	return true;
}

static int begin(struct listing *l)
{
	struct buf *out = l->q->fs->out;
	int rc;

	l->count = 0;
	if (!fs_room(l->q->fs, LIST_REPLY + FS_PATH + SFTP_PACKET_EXTRA))
		return TL_E_CLOSED;
	l->m = sftp_begin(out, SFTP_EXTENDED_REPLY, l->q->id);
	rc = buf_put_u8(out, 1);
	return rc ? rc : buf_put_u32(out, 0);
}

static int end(struct listing *l, bool more)
{
	struct buf *out = l->q->fs->out;
	uint8_t *p = out->p + out->off + l->m.at + 9;

	p[0] = more;
	set_u32(p + 1, l->count);
	return sftp_end(out, l->m, 0);
}

static int put_entry(struct listing *l, const char *name, uint8_t type, const struct stat *st)
{
	size_t n = strlen(name);
	uint8_t *p = buf_reserve(l->q->fs->out, n + ENTRY_FIXED);

	if (!p)
		return TL_E_LIMIT;
	set_u32(p, (uint32_t)n);
	memcpy(p + 4, name, n);
	p += 4 + n;
	p[0] = type;
	set_u64(p + 1, (uint64_t)st->st_size);
	set_u64(p + 9, ms_of(st->st_mtim));
	set_u32(p + 17, st->st_mode);
	buf_commit(l->q->fs->out, n + ENTRY_FIXED);
	l->count++;
	return 0;
}

/* Everything; 0, positive errno (a STATUS ends it), negative TL_E_*. */
static int list_all(struct listing *l)
{
	struct fs_dirent e;
	struct stat st;
	uint8_t type;
	int rc = begin(l), got;

	while (!rc && (got = fs_dirents_next(l->dir, &e)) != 0) {
		if (got < 0) {
			sftp_end(l->q->fs->out, l->m, TL_E_IO);
			return -got;
		}
		if (fs_is_dot(e.name) || !look(l, &e, &type, &st))
			continue;
		rc = put_entry(l, e.name, type, &st);
		if (!rc && l->q->fs->out->len - l->m.at >= LIST_REPLY) {
			rc = end(l, true);
			fs_push(l->q->fs);
			rc = rc ? rc : begin(l);
		}
	}
	return rc ? rc : end(l, false);
}

void fs_ext_list(struct fs_req *q)
{
	struct listing l = {.q = q, .fd = -1, .confined = q->fs->root >= 0};
	char path[FS_PATH];
	struct fs_at at;
	int e;

	sftp_get_cstr(&q->in, path, sizeof(path));
	l.flags = sftp_get_u32(&q->in);
	if (q->in.bad) {
		fs_bad(q);
		return;
	}
	l.path = path;
	e = fs_at(q->fs, path, true, &at);
	if (!e) {
		l.fd = fs_at_open(&at, O_RDONLY | O_DIRECTORY, 0);
		e = l.fd < 0 ? errno : 0;
	}
	fs_at_close(&at);
	if (!e)
		e = fs_dirents_new(&l.dir, l.fd, LIST_PIECE);
	if (!e)
		e = list_all(&l);
	fs_dirents_free(l.dir);
	if (l.fd >= 0)
		close(l.fd);
	if (e > 0)
		fs_fail(q, e, "cannot list %s", path);
	else if (e < 0 && !q->fs->broken)
		q->fs->broken = e;
}

/* ------------------------------------------------ stat@towline */

static uint8_t access_of(const struct fs_at *at)
{
	static const struct {
		int mode;
		uint8_t bit;
	} ask[] = {{R_OK, SFTP_CAN_READ}, {W_OK, SFTP_CAN_WRITE}, {X_OK, SFTP_CAN_EXECUTE}};
	uint8_t bits = 0;

	for (size_t i = 0; i < sizeof(ask) / sizeof(ask[0]); i++)
		if (faccessat(at->dirfd, at->name, ask[i].mode, 0) == 0)
			bits |= ask[i].bit;
	return bits;
}

/* type, attributes and rights of a path; 0 or errno */
static int look_path(struct fs_req *q, const char *path, struct stat *st, uint8_t *type,
		     uint8_t *access)
{
	struct stat target;
	struct fs_at at;
	bool there;
	int e = fs_at(q->fs, path, false, &at);

	if (!e)
		e = fs_at_stat(&at, st);
	*access = !e && !S_ISLNK(st->st_mode) ? access_of(&at) : 0;
	fs_at_close(&at);
	if (e)
		return e;
	*type = fs_entry_type(st, NULL);
	if (!S_ISLNK(st->st_mode))
		return 0;
	there = fs_at(q->fs, path, true, &at) == 0 && fs_at_stat(&at, &target) == 0;
	if (there) {
		*type = fs_entry_type(st, &target);
		*st = target;
		*access = access_of(&at);
	}
	fs_at_close(&at);
	return 0;
}

void fs_ext_stat(struct fs_req *q)
{
	struct buf *out = q->fs->out;
	uint8_t etag[SFTP_ETAG] = {0}, type = 0, access = 0;
	char path[FS_PATH];
	struct sftp_mark m;
	struct stat st;
	int e, rc;

	if (!sftp_get_cstr(&q->in, path, sizeof(path))) {
		fs_bad(q);
		return;
	}
	e = look_path(q, path, &st, &type, &access);
	if (e) {
		fs_fail(q, e, "cannot look at %s", path);
		return;
	}
	/* behind a broken link there is no file to compare with */
	if (type != SFTP_ENTRY_LINK_BROKEN)
		fs_etag_of(etag, &st);
	if (!fs_room(q->fs, SFTP_PACKET_EXTRA))
		return;
	m = sftp_begin(out, SFTP_EXTENDED_REPLY, q->id);
	rc = buf_put_u8(out, type);
	rc = rc ? rc : buf_put_u64(out, (uint64_t)st.st_size);
	rc = rc ? rc : buf_put_u64(out, ms_of(st.st_mtim));
	rc = rc ? rc : buf_put_u64(out, ms_of(st.st_ctim));
	rc = rc ? rc : buf_put_u32(out, st.st_mode);
	rc = rc ? rc : buf_put_u8(out, access);
	rc = rc ? rc : buf_put(out, etag, sizeof(etag));
	rc = sftp_end(out, m, rc);
	if (rc)
		q->fs->broken = rc;
}
