/* svc_fs_glob.c - glob@towline: what a path with ~ and * means on this machine, as its shell would
 * see it. Owns the matches of one request. A name that is there as it was written wins, so files
 * with stars in their names can be named. */
#include <glob.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "host/svc_fs_priv.h"

#define REPLY 65536
#define META  "*?["

/* ~ and ~user; quoted: for glob(). 0 or errno. */
static int expand_home(const char *path, bool quoted, char *out, size_t n)
{
	char user[256], home[FS_PATH];
	size_t at = 0, user_n;
	int e;

	if (path[0] != '~')
		return str_copy(out, n, path) ? 0 : ENAMETOOLONG;
	user_n = strcspn(path + 1, "/");
	if (user_n >= sizeof(user))
		return ENAMETOOLONG;
	memcpy(user, path + 1, user_n);
	user[user_n] = 0;
	e = fs_home(user, home);
	if (e)
		return e;
	for (const char *s = home; *s && at + 2 < n; s++) {
		if (quoted && strchr(META "\\", *s))
			out[at++] = '\\';
		out[at++] = *s;
	}
	return str_copy(out + at, n - at, path + 1 + user_n) ? 0 : ENAMETOOLONG;
}

static int put_names(struct fs_req *q, char **v, size_t n)
{
	struct buf *out = q->fs->out;
	size_t i = 0;
	int rc = 0;

	do {
		size_t bytes = 0, first = i;
		struct sftp_mark m;
		while (i < n && (i == first || bytes < REPLY))
			bytes += strlen(v[i++]) + 4;
		if (!fs_room(q->fs, bytes + SFTP_PACKET_EXTRA))
			return 0;
		m = sftp_begin(out, SFTP_EXTENDED_REPLY, q->id);
		rc = buf_put_u8(out, i < n);
		rc = rc ? rc : buf_put_u32(out, (uint32_t)(i - first));
		for (size_t k = first; k < i && !rc; k++)
			rc = buf_put_string(out, v[k], strlen(v[k]));
		rc = sftp_end(out, m, rc);
	} while (!rc && i < n);
	return rc;
}

static void reply_names(struct fs_req *q, char **v, size_t n)
{
	int rc = put_names(q, v, n);

	if (rc)
		q->fs->broken = rc;
}

void fs_ext_glob(struct fs_req *q)
{
	char path[FS_PATH], plain[FS_PATH], pattern[2 * FS_PATH], *one = plain;
	glob_t found = {0};
	struct fs_at at;
	struct stat st;
	int e;

	if (!sftp_get_cstr(&q->in, path, sizeof(path))) {
		fs_bad(q);
		return;
	}
	e = q->fs->root >= 0 ? 0 : expand_home(path, false, plain, sizeof(plain));
	if (q->fs->root >= 0)
		str_copy(plain, sizeof(plain), path);
	if (!e)
		e = fs_at(q->fs, plain, false, &at);
	if (!e) {
		e = fs_at_stat(&at, &st);
		fs_at_close(&at);
	}
	if (!e) {
		reply_names(q, &one, 1);
		return;
	}
	if (e != ENOENT || q->fs->root >= 0 || !strpbrk(path, META)) {
		fs_fail(q, e, "cannot find %s", path);
		return;
	}
	e = expand_home(path, true, pattern, sizeof(pattern));
	switch (e ? 0 : glob(pattern, 0, NULL, &found)) {
	case 0:
		if (e)
			fs_fail(q, e, "cannot find %s", path);
		else if (found.gl_pathc > TL_LIMIT_COPY_SOURCES)
			fs_refuse(q, TL_E_LIMIT, "%s means more than %d files: name their folder",
				  path, TL_LIMIT_COPY_SOURCES);
		else
			reply_names(q, found.gl_pathv, found.gl_pathc);
		break;
	case GLOB_NOMATCH:
		fs_refuse(q, TL_E_NOENT, "nothing matches %s", path);
		break;
	default:
		fs_fail(q, ENOMEM, "cannot look for %s", path);
	}
	globfree(&found);
}
