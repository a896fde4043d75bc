/* svc_fs_copy.c - small tools of the file service that saving and copying share. Owns nothing. */
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

#include "base/str.h"
#include "host/svc_fs_priv.h"
#include "loop/loop.h"

#define COPY_BUFFER 131072
#define COPY_PIECE  (64u << 20)

int fs_write_all(int fd, const void *p, size_t n)
{
	const uint8_t *from = p;

	while (n) {
		ssize_t w = write(fd, from, n);
		if (w < 0 && errno == EINTR)
			continue;
		if (w <= 0)
			return w < 0 ? errno : EIO;
		from += w;
		n -= (size_t)w;
	}
	return 0;
}

/* The kernel's own copy; true: everything is done (or *ret_e says why not). */
static bool copy_in_kernel(int from, int to, int *ret_e)
{
	*ret_e = 0;
#ifdef FICLONE
	if (ioctl(to, FICLONE, from) == 0)
		return true;
#endif
#ifdef SYS_copy_file_range
	for (bool some = false;; some = true) {
		long n = syscall(SYS_copy_file_range, from, NULL, to, NULL, COPY_PIECE, 0);
		if (n > 0)
			continue;
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && (errno == ENOSPC || errno == EDQUOT || errno == EIO)) {
			*ret_e = errno;
			return true;
		}
		/* old kernels, other file systems, and files of /proc that say they are empty */
		return n == 0 && some;
	}
#else
	return false;
#endif
}

int fs_copy_fd(int from, int to)
{
	uint8_t *p;
	int e = 0;

	if (lseek(from, 0, SEEK_SET) < 0 || lseek(to, 0, SEEK_SET) < 0)
		return errno;
	if (copy_in_kernel(from, to, &e))
		return e;
	/* what the kernel did is where both offsets are */
	p = malloc(COPY_BUFFER);
	if (!p)
		return ENOMEM;
	while (!e) {
		ssize_t n = read(from, p, COPY_BUFFER);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			e = n < 0 ? errno : 0;
			break;
		}
		e = fs_write_all(to, p, (size_t)n);
	}
	free(p);
	return e;
}

void fs_temp_name(char *out, size_t n, const char *name)
{
	char id[9];

	random_id(id, 8);
	snprintf(out, n, ".%.200s.%s.towline", name, id);
}

int fs_rename_new(int from_dir, const char *from, int to_dir, const char *to)
{
	struct stat st;

	/* the kernel looks at `to` first, which would hide what matters more */
	if (fstatat(from_dir, from, &st, AT_SYMLINK_NOFOLLOW) != 0)
		return errno;
#ifdef SYS_renameat2
	if (syscall(SYS_renameat2, from_dir, from, to_dir, to, RENAME_NOREPLACE) == 0)
		return 0;
	if (errno != ENOSYS && errno != EINVAL)
		return errno;
#endif
	/* a second name is made atomically and never replaces; folders cannot have one */
	if (!S_ISDIR(st.st_mode)) {
		if (linkat(from_dir, from, to_dir, to, 0) == 0)
			return unlinkat(from_dir, from, 0) == 0 ? 0 : errno;
		if (errno == EEXIST)
			return EEXIST;
	}
	if (fstatat(to_dir, to, &st, AT_SYMLINK_NOFOLLOW) == 0)
		return EEXIST;
	return renameat(from_dir, from, to_dir, to) == 0 ? 0 : errno;
}
