/* lane.c - see lane.h.
 * The path is in hexadecimal digits, so that every login shell leaves it alone. What is sent must
 * be the file that the client was told about, at the beginning and at the end: a lane knows nothing
 * of the other pieces. Blocking; it ends with its channel. */
#include "host/lane.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/limits.h"
#include "base/str.h"
#include "host/svc_fs_priv.h"

#define PIECE (256u << 10)
#define TURN  (8u << 20) /* one sendfile */

/* The client waits for these bytes; standard error may also hold words of the login shell. */
static int told(const char *word, int sys_errno)
{
	fprintf(stderr, "%ctowline-lane %s%s%s\n", 0, word, sys_errno ? ": " : "",
		sys_errno ? strerror(sys_errno) : "");
	return strcmp(word, "ok") == 0 ? 0 : err_row(TL_E_IO)->exit_status;
}

static int hex_digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool hex_path(const char *hex, char out[FS_PATH])
{
	size_t n = strlen(hex) / 2;

	if (n == 0 || n >= FS_PATH || strlen(hex) % 2)
		return false;
	for (size_t i = 0; i < n; i++) {
		int a = hex_digit(hex[2 * i]), b = hex_digit(hex[2 * i + 1]);
		if (a < 0 || b < 0 || a + b == 0)
			return false;
		out[i] = (char)(a * 16 + b);
	}
	out[n] = 0;
	return true;
}

static bool is_still(int fd, int64_t size, int64_t mtime_ns)
{
	struct stat st;

	return fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size == size &&
	       (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec == mtime_ns;
}

/* What sendfile cannot do (old kernels, some file systems). 0, errno, or -1: it became shorter. */
static int send_copied(int fd, off_t off, off_t end, uint8_t *p)
{
	while (off < end) {
		size_t want = end - off < (off_t)PIECE ? (size_t)(end - off) : PIECE;
		ssize_t got = pread(fd, p, want, off);
		int e = got > 0 ? fs_write_all(1, p, (size_t)got) : 0;
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0 || e)
			return got < 0 ? errno : got == 0 ? -1 : e;
		off += got;
	}
	return 0;
}

static int send_range(int fd, off_t off, off_t end, uint8_t *p)
{
	while (off < end) {
		size_t want = end - off < (off_t)TURN ? (size_t)(end - off) : TURN;
		ssize_t got = sendfile(1, fd, &off, want);
		if (got > 0 || (got < 0 && errno == EINTR))
			continue;
		if (got == 0)
			return -1;
		return errno == EINVAL || errno == ENOSYS ? send_copied(fd, off, end, p) : errno;
	}
	return 0;
}

/* 0, errno, or -1: the input ended too early. */
static int take_range(int fd, off_t off, off_t end, uint8_t *p)
{
	while (off < end) {
		size_t want = end - off < (off_t)PIECE ? (size_t)(end - off) : PIECE, n;
		ssize_t got = read(0, p, want), w = 0;
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return got < 0 ? errno : -1;
		for (n = 0; n < (size_t)got; n += (size_t)w) {
			w = pwrite(fd, p + n, (size_t)got - n, off + (off_t)n);
			if (w < 0 && errno == EINTR)
				w = 0;
			else if (w <= 0)
				return w < 0 ? errno : EIO;
		}
		off += got;
	}
	return 0;
}

int lane_main(int argc, char **argv)
{
	bool sending = argc == 7 && strcmp(argv[1], "send") == 0;
	bool taking = argc == 5 && strcmp(argv[1], "take") == 0;
	long long n[4] = {0};
	char path[FS_PATH], home[FS_PATH];
	uint8_t *p;
	int fd, e;

	if (!sending && !taking) {
		fputs("usage: towline-host lane send HEXPATH OFFSET LENGTH SIZE MTIME_NS\n"
		      "       towline-host lane take HEXPATH OFFSET LENGTH\n"
		      "A piece of a large copy (started by the client, towline-host(8)).\n",
		      stderr);
		return err_row(TL_E_INVAL)->exit_status;
	}
	for (int i = 3; i < argc; i++)
		if (!str_to_int(argv[i], 0, INT64_MAX / 2, &n[i - 3]))
			return told("the request makes no sense", 0);
	if (!hex_path(argv[2], path))
		return told("the request makes no sense", 0);
	signal(SIGPIPE, SIG_IGN);
	/* where the file service works, too */
	if (fs_home(NULL, home) == 0 && path[0] != '/' && chdir(home) != 0)
		return told("cannot work in the home folder", errno);
	p = malloc(PIECE);
	if (!p)
		return told("failed", ENOMEM);
	fd = open(path, (sending ? O_RDONLY : O_WRONLY) | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd < 0)
		e = errno;
	else if (sending && !is_still(fd, n[2], n[3]))
		e = ESTALE;
	else
		e = (sending ? send_range : take_range)(fd, (off_t)n[0], (off_t)(n[0] + n[1]), p);
	if (!e && sending && !is_still(fd, n[2], n[3]))
		e = ESTALE;
	/* some network file systems report a full disk only here */
	if (fd >= 0 && close(fd) != 0 && !e && errno != EINTR)
		e = errno;
	free(p);
	return e == 0 ? told("ok", 0) : e < 0 ? told("cut off", 0) : told("failed", e);
}
