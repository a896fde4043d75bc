/* svc_fs_main.c - the file service as a program: bytes in, bytes out, blocking. Owns the two
 * buffers. Reads as much as there is, answers all of it, writes once. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/limits.h"
#include "host/svc_fs.h"
#include "host/svc_fs_priv.h"

#define READ_MIN    32768
#define DESCRIPTORS 4096
#define READ_MAX    (TL_LIMIT_SFTP_PACKET + SFTP_LENGTH)

/* The descriptors may be non-blocking: they came from a loop. */
static void wait_fd(int fd, short events)
{
	struct pollfd p = {.fd = fd, .events = events};
	poll(&p, 1, -1);
}

static int flush_fd(void *ctx, struct buf *out)
{
	int fd = *(const int *)ctx;

	while (out->len) {
		struct tl_bytes b = buf_data(out);
		ssize_t n = write(fd, b.p, b.n);
		if (n >= 0)
			buf_consume(out, (size_t)n);
		else if (errno == EAGAIN)
			wait_fd(fd, POLLOUT);
		else if (errno != EINTR)
			return TL_E_CLOSED;
	}
	return 0;
}

/* > 0 bytes; 0 end; negative failure. want grows with what comes, up to a whole packet. */
static ssize_t fill(int fd, struct buf *in, size_t *want)
{
	uint8_t *p = buf_reserve(in, *want < buf_room(in) ? *want : buf_room(in));
	ssize_t n;

	if (!p)
		return -1;
	for (;;) {
		size_t room = *want < buf_room(in) ? *want : buf_room(in);
		n = read(fd, p, room);
		if (n < 0 && errno == EAGAIN)
			wait_fd(fd, POLLIN);
		else if (n >= 0 || errno != EINTR)
			break;
	}
	if (n > 0)
		buf_commit(in, (size_t)n);
	if (n == (ssize_t)*want && *want < READ_MAX)
		*want = *want * 2 < READ_MAX ? *want * 2 : READ_MAX;
	return n;
}

/* Answers every whole packet that is there. */
static int answer(struct svc_fs *fs, struct buf *in, struct buf *out, int *wfd)
{
	struct tl_bytes packet;
	size_t used;
	int rc;

	while ((rc = sftp_next(buf_data(in), &packet, &used)) == 1) {
		rc = svc_fs_packet(fs, packet, out, flush_fd, wfd);
		if (rc)
			return rc;
		fs_push(fs);
		buf_consume(in, used);
	}
	return rc ? rc : flush_fd(wfd, out);
}

static void raise_descriptors(void)
{
	struct rlimit r;

	/* copying a deep tree holds two for every level */
	if (getrlimit(RLIMIT_NOFILE, &r) == 0 && r.rlim_cur < DESCRIPTORS) {
		r.rlim_cur = r.rlim_max > DESCRIPTORS ? DESCRIPTORS : r.rlim_max;
		setrlimit(RLIMIT_NOFILE, &r);
	}
}

int svc_fs_main(int rfd, int wfd, const char *root)
{
	struct buf in, out;
	struct svc_fs *fs = NULL;
	struct tl_err err = {0};
	char home[FS_PATH];
	size_t want = READ_MIN;
	int rc = svc_fs_new(&fs, root, false, &err);

	if (rc) {
		fprintf(stderr, "towline-host: %s\n", err.text);
		return err_row(rc)->exit_status;
	}
	signal(SIGPIPE, SIG_IGN);
	raise_descriptors();
	/* an unreachable home is no reason to refuse absolute paths */
	if (!root && fs_home(NULL, home) == 0 && chdir(home) != 0)
		fprintf(stderr, "towline-host: cannot work in %s: %s\n", home, strerror(errno));
	buf_init(&in, 2 * READ_MAX);
	buf_init(&out, SVC_FS_OUT_MAX);
	while (fill(rfd, &in, &want) > 0) {
		rc = answer(fs, &in, &out, &wfd);
		if (rc)
			break;
	}
	if (rc && rc != TL_E_CLOSED)
		fprintf(stderr, "towline-host: the file service ends: %s\n", err_row(rc)->what);
	svc_fs_free(fs);
	buf_fini(&in);
	buf_fini(&out);
	return rc && rc != TL_E_CLOSED ? err_row(rc)->exit_status : 0;
}
