/* svc_fs_ssh.c - OpenSSH's extensions (its PROTOCOL, section "sftp"), and setting attributes.
 * Owns nothing. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/statvfs.h>

#include "base/str.h"
#include "host/svc_fs_priv.h"

#define IDS_MAX        1024
#define COPY_BUFFER    65536
#define ST_FLAG_RDONLY 1
#define ST_FLAG_NOSUID 2

/* ------------------------------------------------ attributes */

static void times_of(const struct sftp_attrs *a, struct timespec out[2])
{
	out[0] = (struct timespec){.tv_sec = (time_t)a->atime};
	out[1] = (struct timespec){.tv_sec = (time_t)a->mtime};
}

int fs_fsetstat(int fd, const struct sftp_attrs *a)
{
	struct timespec t[2];
	int e = 0;

	/* all are tried; the last failure is told, as OpenSSH does */
	if (a->flags & SFTP_ATTR_SIZE && ftruncate(fd, (off_t)a->size) != 0)
		e = errno;
	if (a->flags & SFTP_ATTR_MODE && fchmod(fd, a->mode & 07777) != 0)
		e = errno;
	times_of(a, t);
	if (a->flags & SFTP_ATTR_TIMES && futimens(fd, t) != 0)
		e = errno;
	if (a->flags & SFTP_ATTR_UIDGID && fchown(fd, a->uid, a->gid) != 0)
		e = errno;
	return e;
}

/* Confined: through a descriptor of what is there, so that no link that appears meanwhile counts */
static int setstat_confined(const struct fs_at *at, const struct sftp_attrs *a)
{
	int fd = fs_at_open(at, a->flags & SFTP_ATTR_SIZE ? O_WRONLY : O_RDONLY, 0), e;

	if (fd < 0)
		return errno;
	e = fs_fsetstat(fd, a);
	close(fd);
	return e;
}

int fs_setstat(const struct fs_at *at, const struct sftp_attrs *a, bool confined)
{
	struct timespec t[2];
	int e = 0;

	if (confined)
		return setstat_confined(at, a);
	if (a->flags & SFTP_ATTR_SIZE && truncate(at->name, (off_t)a->size) != 0)
		e = errno;
	if (a->flags & SFTP_ATTR_MODE && fchmodat(at->dirfd, at->name, a->mode & 07777, 0) != 0)
		e = errno;
	times_of(a, t);
	if (a->flags & SFTP_ATTR_TIMES && utimensat(at->dirfd, at->name, t, 0) != 0)
		e = errno;
	if (a->flags & SFTP_ATTR_UIDGID && fchownat(at->dirfd, at->name, a->uid, a->gid, 0) != 0)
		e = errno;
	return e;
}

static int lsetstat(const struct fs_at *at, const struct sftp_attrs *a)
{
	struct timespec t[2];
	int e = 0;

	if (a->flags & SFTP_ATTR_SIZE)
		return EINVAL;
	if (a->flags & SFTP_ATTR_MODE &&
	    fchmodat(at->dirfd, at->name, a->mode & 07777, AT_SYMLINK_NOFOLLOW) != 0)
		e = errno;
	times_of(a, t);
	if (a->flags & SFTP_ATTR_TIMES &&
	    utimensat(at->dirfd, at->name, t, AT_SYMLINK_NOFOLLOW) != 0)
		e = errno;
	if (a->flags & SFTP_ATTR_UIDGID &&
	    fchownat(at->dirfd, at->name, a->uid, a->gid, AT_SYMLINK_NOFOLLOW) != 0)
		e = errno;
	return e;
}

void fs_ext_lsetstat(struct fs_req *q)
{
	char path[FS_PATH];
	struct sftp_attrs a;
	struct fs_at at;
	int e;

	sftp_get_cstr(&q->in, path, sizeof(path));
	sftp_get_attrs(&q->in, &a);
	if (q->in.bad) {
		fs_bad(q);
		return;
	}
	e = fs_at(q->fs, path, false, &at);
	if (!e)
		e = lsetstat(&at, &a);
	fs_at_close(&at);
	fs_fail(q, e, "cannot change the attributes of %s", path);
}

/* ------------------------------------------------ file systems */

static void reply_statvfs(struct fs_req *q, const struct statvfs *v)
{
	struct buf *out = q->fs->out;
	uint64_t flag = (v->f_flag & ST_RDONLY ? ST_FLAG_RDONLY : 0) |
			(v->f_flag & ST_NOSUID ? ST_FLAG_NOSUID : 0);
	uint64_t words[] = {v->f_bsize,  v->f_frsize, v->f_blocks, v->f_bfree,
			    v->f_bavail, v->f_files,  v->f_ffree,  v->f_favail,
			    v->f_fsid,   flag,        v->f_namemax};
	struct sftp_mark m;
	int rc = 0;

	if (!fs_room(q->fs, SFTP_PACKET_EXTRA))
		return;
	m = sftp_begin(out, SFTP_EXTENDED_REPLY, q->id);
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]) && !rc; i++)
		rc = buf_put_u64(out, words[i]);
	rc = sftp_end(out, m, rc);
	if (rc)
		q->fs->broken = rc;
}

void fs_ext_statvfs(struct fs_req *q)
{
	char path[FS_PATH];
	struct statvfs v;
	struct fs_at at;
	int e, fd = -1;

	if (!sftp_get_cstr(&q->in, path, sizeof(path))) {
		fs_bad(q);
		return;
	}
	e = fs_at(q->fs, path, true, &at);
	if (!e && at.dirfd == AT_FDCWD) {
		e = statvfs(path, &v) == 0 ? 0 : errno;
	} else if (!e) {
		fd = fs_at_open(&at, O_RDONLY, 0);
		e = fd < 0 || fstatvfs(fd, &v) != 0 ? errno : 0;
	}
	if (fd >= 0)
		close(fd);
	fs_at_close(&at);
	if (e)
		fs_fail(q, e, "cannot ask for the space of %s", path);
	else
		reply_statvfs(q, &v);
}

void fs_ext_fstatvfs(struct fs_req *q)
{
	struct fs_handle *h = fs_handle_arg(q, false, 0);
	struct statvfs v;

	if (!h)
		return;
	if (fstatvfs(h->fd, &v) != 0)
		fs_fail(q, errno, "cannot ask for the space of the file");
	else
		reply_statvfs(q, &v);
}

void fs_ext_fsync(struct fs_req *q)
{
	struct fs_handle *h = fs_handle_arg(q, false, ENOENT);

	if (h)
		fs_fail(q, fsync(h->fd) == 0 ? 0 : errno, "cannot write the file to the disk");
}

void fs_ext_limits(struct fs_req *q)
{
	struct buf *out = q->fs->out;
	uint64_t words[] = {TL_LIMIT_SFTP_PACKET, TL_LIMIT_SFTP_PACKET - SFTP_PACKET_EXTRA,
			    TL_LIMIT_SFTP_PACKET - SFTP_PACKET_EXTRA, TL_LIMIT_SFTP_HANDLES};
	struct sftp_mark m;
	int rc = 0;

	if (!fs_room(q->fs, SFTP_PACKET_EXTRA))
		return;
	m = sftp_begin(out, SFTP_EXTENDED_REPLY, q->id);
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]) && !rc; i++)
		rc = buf_put_u64(out, words[i]);
	rc = sftp_end(out, m, rc);
	if (rc)
		q->fs->broken = rc;
}

/* ------------------------------------------------ copy-data */

/* Copies n bytes (0: to the end). 0, errno, or -1 when the file ended before. */
static int copy_range(int from, uint64_t from_off, int to, uint64_t to_off, uint64_t n)
{
	uint8_t *p = malloc(COPY_BUFFER);
	bool all = n == 0;
	int e = p ? 0 : ENOMEM;

	while (!e && (all || n)) {
		size_t want = all || n > COPY_BUFFER ? COPY_BUFFER : (size_t)n;
		ssize_t got = pread(from, p, want, (off_t)from_off), done = 0;
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0) {
			e = got < 0 ? errno : all ? 0 : -1;
			break;
		}
		while (!e && done < got) {
			ssize_t w = pwrite(to, p + done, (size_t)(got - done), (off_t)to_off);
			if (w < 0 && errno == EINTR)
				continue;
			e = w < 0 ? errno : 0;
			done += w > 0 ? w : 0;
			to_off += w > 0 ? (uint64_t)w : 0;
		}
		from_off += (uint64_t)got;
		n -= all ? 0 : (uint64_t)got;
	}
	free(p);
	return e;
}

void fs_ext_copy_data(struct fs_req *q)
{
	struct fs_handle *from = fs_handle_arg(q, false, 0), *to;
	uint64_t from_off = sftp_get_u64(&q->in), n = sftp_get_u64(&q->in), to_off;
	struct stat a, b;
	int e;

	if (!from)
		return;
	to = fs_handle_arg(q, false, 0);
	if (!to)
		return;
	to_off = sftp_get_u64(&q->in);
	if (q->in.bad) {
		fs_bad(q);
		return;
	}
	/* a file copied into itself might never end */
	if (fstat(from->fd, &a) == 0 && fstat(to->fd, &b) == 0 && a.st_dev == b.st_dev &&
	    a.st_ino == b.st_ino) {
		fs_refuse(q, TL_E_INVAL, "cannot copy a file into itself");
		return;
	}
	e = copy_range(from->fd, from_off, to->fd, to_off, n);
	if (e < 0)
		fs_eof(q);
	else
		fs_fail(q, e, "cannot copy the data");
}

/* ------------------------------------------------ users */

void fs_ext_expand_path(struct fs_req *q)
{
	char path[FS_PATH], user[FS_PATH], home[FS_PATH], full[2 * FS_PATH], real[FS_PATH];
	size_t n;
	int e = 0;

	if (!sftp_get_cstr(&q->in, path, sizeof(path))) {
		fs_bad(q);
		return;
	}
	str_copy(full, sizeof(full), path);
	if (path[0] == '~' && q->fs->root < 0) {
		n = strcspn(path + 1, "/");
		memcpy(user, path + 1, n);
		user[n] = 0;
		e = fs_home(user, home);
		snprintf(full, sizeof(full), "%s%s", home, path + 1 + n);
	} else if (path[0] == '~') {
		snprintf(full, sizeof(full), "/%s", path + 1 + strcspn(path + 1, "/"));
	}
	if (!e && strlen(full) >= FS_PATH)
		e = ENAMETOOLONG;
	if (!e)
		e = fs_realpath(q->fs, full, real);
	if (e)
		fs_fail(q, e, "cannot resolve %s", path);
	else
		fs_reply_name(q, real);
}

void fs_ext_home_directory(struct fs_req *q)
{
	char user[256], home[FS_PATH];
	int e;

	if (!sftp_get_cstr(&q->in, user, sizeof(user))) {
		fs_bad(q);
		return;
	}
	e = q->fs->root >= 0 ? 0 : fs_home(user, home);
	if (e)
		fs_fail(q, e, "cannot find the home folder of \"%s\"", user);
	else
		fs_reply_name(q, q->fs->root >= 0 ? "/" : home);
}

static int put_ids(struct fs_req *q, struct tl_bytes ids, bool groups)
{
	struct buf *out = q->fs->out;
	size_t at = out->len;
	int rc = buf_put_u32(out, 0);

	for (size_t i = 0; i + 4 <= ids.n && !rc; i += 4) {
		uint32_t id = get_u32(ids.p + i);
		const char *name = groups ? fs_group_name(q->fs, id) : fs_user_name(q->fs, id);
		rc = buf_put_string(out, name, strlen(name));
	}
	if (!rc)
		set_u32(out->p + out->off + at, (uint32_t)(out->len - at - 4));
	return rc;
}

void fs_ext_users_groups(struct fs_req *q)
{
	struct tl_bytes uids = sftp_get_string(&q->in), gids = sftp_get_string(&q->in);
	struct buf *out = q->fs->out;
	struct sftp_mark m;
	int rc;

	if (q->in.bad || uids.n > 4 * IDS_MAX || gids.n > 4 * IDS_MAX) {
		fs_bad(q);
		return;
	}
	if (!fs_room(q->fs, 2 * IDS_MAX * 40 + SFTP_PACKET_EXTRA))
		return;
	m = sftp_begin(out, SFTP_EXTENDED_REPLY, q->id);
	rc = put_ids(q, uids, false);
	if (!rc)
		rc = put_ids(q, gids, true);
	rc = sftp_end(out, m, rc);
	if (rc)
		q->fs->broken = rc;
}
