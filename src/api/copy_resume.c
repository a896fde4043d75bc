/* copy_resume.c - uploads with resume: what is there already is compared by its digest and not sent
 * again. Owns nothing between calls. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/copy.h"
#include "base/limits.h"
#include "base/str.h"

int copy_same(struct copy *c, int fd, const char *remote, uint64_t n, bool *ret_same,
	      struct tl_err *err)
{
	uint8_t ours[COPY_DIGEST], theirs[COPY_DIGEST];
	uint64_t size = 0;
	int rc = sftp_client_digest(c->c, remote, 0, n, theirs, &size, err);

	*ret_same = false;
	if (rc)
		return copy_is_fatal(rc) ? rc : 0;
	if (size == n && copy_sum(c, fd, n, ours) == 0)
		*ret_same = memcmp(ours, theirs, sizeof(ours)) == 0;
	return 0;
}

/* ------------------------------------------------ upload */

static char *part_of(const char *remote)
{
	const char *slash = strrchr(remote, '/');
	char part[256];

	snprintf(part, sizeof(part), COPY_PART, slash ? slash + 1 : remote);
	return str_fmt("%.*s%s", slash ? (int)(slash - remote + 1) : 0, remote, part);
}

int copy_put_where(struct copy *c, int fd, uint64_t size, int64_t mtime, const char *remote,
		   bool *ret_there, uint64_t *ret_off, struct tl_err *err)
{
	struct sftp_stat st;
	bool same = false;
	char *part;
	int rc = sftp_client_stat(c->c, remote, &st, err);

	*ret_there = false;
	*ret_off = 0;
	if (copy_is_fatal(rc))
		return rc;
	if (!rc && st.size == size && st.type == SFTP_ENTRY_FILE) {
		if (c->o.preserve && !c->o.verify && (int64_t)(st.mtime_ms / 1000) == mtime)
			same = true;
		else
			rc = copy_same(c, fd, remote, size, &same, err);
		*ret_there = same;
		if (rc || same)
			return rc;
	}
	part = part_of(remote);
	if (!part)
		return err_set(err, TL_E_NOMEM, "cannot upload %s: out of memory", remote);
	rc = sftp_client_stat(c->c, part, &st, err);
	if (!rc && st.type == SFTP_ENTRY_FILE && st.size > 0 && st.size <= size) {
		rc = copy_same(c, fd, part, st.size, &same, err);
		if (!rc && same)
			*ret_off = st.size;
	}
	free(part);
	return copy_is_fatal(rc) ? rc : 0;
}
