/* fsx.c - blocking file helpers for start-up paths. */
#include "loop/fsx.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/str.h"
#include "loop/io.h"
#include "loop/loop.h"

int fs_mkdirs(const char *path, mode_t mode, struct tl_err *err)
{
	char part[TL_LIMIT_PATH];

	if (!str_copy(part, sizeof(part), path))
		return err_set(err, TL_E_LIMIT, "the path %.60s… is too long", path);
	for (char *s = part + 1;; s++) {
		char was = *s;
		if (was != '/' && was != 0)
			continue;
		*s = 0;
		if (mkdir(part, mode) != 0 && errno != EEXIST) {
			struct stat st;
			int e = errno;
			/* a read-only parent says EROFS or EACCES although the folder is there */
			if (stat(part, &st) != 0 || !S_ISDIR(st.st_mode))
				return err_sys(err, e, "cannot make the folder %s", part);
		}
		if (was == 0)
			return 0;
		*s = '/';
	}
}

int fs_read(const char *path, struct buf *out, struct tl_err *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), rc = 0;

	if (fd < 0)
		return err_sys(err, errno, "cannot open %s", path);
	for (;;) {
		size_t want = buf_room(out) < 16384 ? buf_room(out) : 16384;
		uint8_t *p = want ? buf_reserve(out, want) : NULL;
		uint8_t extra;
		ssize_t got = p ? read(fd, p, want) : read(fd, &extra, 1);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			rc = err_sys(err, errno, "cannot read %s", path);
		if (got > 0 && !p)
			rc =
			    err_set(err, TL_E_LIMIT, "%s is larger than %zu bytes", path, out->max);
		if (got <= 0 || !p)
			break;
		buf_commit(out, (size_t)got);
	}
	close(fd);
	return rc;
}

int fs_write_atomic(const char *path, const void *p, size_t n, mode_t mode, struct tl_err *err)
{
	char tmp[TL_LIMIT_PATH], id[9];
	int fd, rc = 0;

	random_id(id, 8);
	if ((size_t)snprintf(tmp, sizeof(tmp), "%s.%s.tmp", path, id) >= sizeof(tmp))
		return err_set(err, TL_E_LIMIT, "the path %.60s… is too long", path);
	fd = open(tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
	if (fd < 0)
		return err_sys(err, errno, "cannot write %s", path);
	rc = fd_write_all(fd, p, n, 10000);
	if (rc)
		err_set(err, rc, "cannot write %s: %s", path, err_row(rc)->what);
	else if (fsync(fd) != 0)
		rc = err_sys(err, errno, "cannot write %s", path);
	/* some network file systems report a full disk only here */
	if (close(fd) != 0 && rc == 0)
		rc = err_sys(err, errno, "cannot write %s", path);
	if (rc == 0 && rename(tmp, path) != 0)
		rc = err_sys(err, errno, "cannot replace %s", path);
	if (rc == 0)
		return 0;
	unlink(tmp);
	return rc;
}

int fs_lock(const char *path, bool wait, struct tl_err *err)
{
	struct flock fl;
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	if (fd < 0)
		return err_sys(err, errno, "cannot open the lock file %s", path);
	/* record locks, because flock(2) is not shared between machines on old NFS */
	memset(&fl, 0, sizeof(fl));
	fl.l_type = F_WRLCK;
	fl.l_whence = SEEK_SET;
	while (fcntl(fd, wait ? F_SETLKW : F_SETLK, &fl) != 0) {
		int e = errno;
		if (e == EINTR)
			continue;
		close(fd);
		if (e == EAGAIN || e == EACCES)
			return TL_E_AGAIN;
		return err_sys(err, e, "cannot lock %s", path);
	}
	return fd;
}

int home_dir(char *out, size_t n)
{
	const char *h = getenv("HOME");
	struct passwd *pw;

	if (!h || h[0] != '/') {
		pw = getpwuid(getuid());
		h = pw ? pw->pw_dir : NULL;
	}
	if (!h || h[0] != '/')
		return TL_E_NOENT;
	return str_copy(out, n, h) ? 0 : TL_E_LIMIT;
}

long self_rss_bytes(void)
{
	char text[128];
	int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
	ssize_t got;
	long size, rss;

	if (fd < 0)
		return 0;
	got = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (got <= 0)
		return 0;
	text[got] = 0;
	if (sscanf(text, "%ld %ld", &size, &rss) != 2)
		return 0;
	return rss * sysconf(_SC_PAGESIZE);
}
