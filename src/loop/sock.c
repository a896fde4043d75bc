/* sock.c - unix sockets, passed descriptors, private folders. */
#include "loop/sock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "loop/fsx.h"
#include "loop/io.h"

#define FDS_MAX 4

static int unix_addr(struct sockaddr_un *sa, const char *path, struct tl_err *err)
{
	memset(sa, 0, sizeof(*sa));
	sa->sun_family = AF_UNIX;
	if (strlen(path) >= sizeof(sa->sun_path))
		return err_set(err, TL_E_LIMIT, "the socket path %s is longer than %zu bytes", path,
			       sizeof(sa->sun_path) - 1);
	memcpy(sa->sun_path, path, strlen(path) + 1);
	return 0;
}

int connect_unix(const char *path, struct tl_err *err)
{
	/* a stopped listener with a full queue must not hold us for ever */
	const struct timeval patience = {.tv_sec = 10}, forever = {0};
	struct sockaddr_un sa;
	int fd, rc;

	rc = unix_addr(&sa, path, err);
	if (rc)
		return rc;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return err_sys(err, errno, "cannot make a socket");
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	do {
		rc = connect(fd, (struct sockaddr *)&sa, sizeof(sa));
	} while (rc != 0 && errno == EINTR);
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &forever, sizeof(forever));
	if (rc != 0) {
		int e = errno;
		close(fd);
		err_sys(err, e, "cannot connect to %s", path);
		rc = e == ECONNREFUSED ? TL_E_REFUSED
		     : e == ENOENT     ? TL_E_NOENT
				       : err_from_errno(e);
		if (err)
			err->code = rc;
		return rc;
	}
	return fd;
}

void unix_remove_stale(const struct sockaddr_un *sa)
{
	struct stat st;
	int fd;

	if (lstat(sa->sun_path, &st) != 0 || !S_ISSOCK(st.st_mode) || st.st_uid != geteuid())
		return;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return;
	if (connect(fd, (const struct sockaddr *)sa, sizeof(*sa)) != 0 && errno == ECONNREFUSED)
		unlink(sa->sun_path);
	close(fd);
}

/* Out of descriptors: the caller is accepted in place of the spare one and sent away. Left in the
 * queue it would wake the loop for ever. */
static bool turn_away(struct listener *ls)
{
	int fd;

	if ((errno != EMFILE && errno != ENFILE) || ls->spare < 0)
		return false;
	close(ls->spare);
	fd = accept4(ls->fd, NULL, NULL, SOCK_CLOEXEC);
	if (fd >= 0)
		close(fd);
	ls->spare = fcntl(ls->fd, F_DUPFD_CLOEXEC, 0);
	return fd >= 0;
}

static void listener_ready(uv_poll_t *p, int status, int events)
{
	struct listener *ls = p->data;

	(void)events;
	if (status < 0)
		return;
	for (int i = 0; i < 16 && ls->open; i++) {
		int fd = accept4(ls->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd < 0 && turn_away(ls))
			continue;
		if (fd < 0)
			return;
		ls->on_accept(ls->ctx, fd);
	}
}

int listen_unix(struct loop *l, struct listener *ls, const char *path,
		void (*on_accept)(void *, int), void *ctx, struct tl_err *err)
{
	struct sockaddr_un sa;
	mode_t old;
	int fd, rc;

	memset(ls, 0, sizeof(*ls));
	ls->fd = ls->spare = -1;
	rc = unix_addr(&sa, path, err);
	if (rc)
		return rc;
	fd = connect_unix(path, NULL);
	if (fd >= 0) {
		close(fd);
		return err_set(err, TL_E_EXIST, "another process listens on %s", path);
	}
	if (fd == TL_E_REFUSED)
		unlink(path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return err_sys(err, errno, "cannot make a socket");
	old = umask(0177);
	rc = bind(fd, (struct sockaddr *)&sa, sizeof(sa));
	umask(old);
	if (rc != 0 || listen(fd, 64) != 0) {
		rc = err_sys(err, errno, "cannot listen on %s", path);
		close(fd);
		return rc;
	}
	if (uv_poll_init(&l->uv, &ls->poll, fd) != 0) {
		close(fd);
		return err_set(err, TL_E_NOMEM, "cannot watch the socket %s", path);
	}
	ls->fd = fd;
	ls->spare = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	ls->open = true;
	ls->on_accept = on_accept;
	ls->ctx = ctx;
	ls->poll.data = ls;
	uv_poll_start(&ls->poll, UV_READABLE, listener_ready);
	return 0;
}

void listener_close(struct listener *ls)
{
	if (!ls->open)
		return;
	ls->open = false;
	uv_close((uv_handle_t *)&ls->poll, NULL);
	close(ls->fd);
	if (ls->spare >= 0)
		close(ls->spare);
	ls->fd = ls->spare = -1;
}

int peer_uid(int fd, uid_t *ret_uid)
{
	struct ucred uc;
	socklen_t n = sizeof(uc);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &uc, &n) != 0)
		return TL_E_IO;
	*ret_uid = uc.uid;
	return 0;
}

int send_fds(int sock, const int *fds, int n)
{
	union {
		struct cmsghdr h;
		char b[CMSG_SPACE(sizeof(int) * FDS_MAX)];
	} ctl;
	char byte = 'F';
	struct iovec v = {.iov_base = &byte, .iov_len = 1};
	struct msghdr mh;
	struct cmsghdr *c;

	tl_assert(n > 0 && n <= FDS_MAX);
	memset(&mh, 0, sizeof(mh));
	memset(&ctl, 0, sizeof(ctl));
	mh.msg_iov = &v;
	mh.msg_iovlen = 1;
	mh.msg_control = ctl.b;
	mh.msg_controllen = CMSG_SPACE(sizeof(int) * (size_t)n);
	c = CMSG_FIRSTHDR(&mh);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int) * (size_t)n);
	memcpy(CMSG_DATA(c), fds, sizeof(int) * (size_t)n);
	for (;;) {
		if (sendmsg(sock, &mh, MSG_NOSIGNAL) == 1)
			return 0;
		if (errno != EINTR)
			return errno == EPIPE ? TL_E_CLOSED : err_from_errno(errno);
	}
}

int recv_fds(int sock, int *ret_fds, int n)
{
	union {
		struct cmsghdr h;
		char b[CMSG_SPACE(sizeof(int) * FDS_MAX)];
	} ctl;
	char byte;
	struct iovec v = {.iov_base = &byte, .iov_len = 1};
	struct msghdr mh;
	struct cmsghdr *c;
	int got[FDS_MAX], count = 0;
	ssize_t r;

	tl_assert(n > 0 && n <= FDS_MAX);
	memset(&mh, 0, sizeof(mh));
	mh.msg_iov = &v;
	mh.msg_iovlen = 1;
	mh.msg_control = ctl.b;
	mh.msg_controllen = sizeof(ctl.b);
	do {
		r = recvmsg(sock, &mh, MSG_CMSG_CLOEXEC);
	} while (r < 0 && errno == EINTR);
	if (r == 0)
		return TL_E_CLOSED;
	if (r < 0)
		return err_from_errno(errno);
	for (c = CMSG_FIRSTHDR(&mh); c; c = CMSG_NXTHDR(&mh, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		size_t k = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < k && count < FDS_MAX; i++)
			memcpy(&got[count++], (char *)CMSG_DATA(c) + i * sizeof(int), sizeof(int));
	}
	if (count != n) {
		for (int i = 0; i < count; i++)
			close(got[i]);
		return TL_E_PROTO;
	}
	memcpy(ret_fds, got, sizeof(int) * (size_t)n);
	return 0;
}

int socket_pair(int ret_fds[2])
{
	return socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ret_fds) == 0
		   ? 0
		   : err_from_errno(errno);
}

int private_dir(const char *path, struct tl_err *err)
{
	struct stat st;
	int rc = fs_mkdirs(path, 0700, err);

	if (rc)
		return rc;
	if (lstat(path, &st) != 0)
		return err_sys(err, errno, "cannot look at %s", path);
	if (!S_ISDIR(st.st_mode) || st.st_uid != geteuid())
		return err_set(err, TL_E_ACCES, "%s is not a folder of this user", path);
	if ((st.st_mode & 077) != 0 && chmod(path, 0700) != 0)
		return err_set(err, TL_E_ACCES, "%s is open to other users", path);
	return 0;
}

void network_name(char *out, size_t n)
{
	char boot[40] = "";
	int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	ssize_t got = fd >= 0 ? read(fd, boot, sizeof(boot) - 1) : -1;
	struct stat st;

	if (fd >= 0)
		close(fd);
	boot[got > 0 ? strcspn(boot, "\n") : 0] = 0;
	out[0] = 0;
	if (boot[0] && stat("/proc/self/ns/net", &st) == 0)
		snprintf(out, n, "%s/%llu", boot, (unsigned long long)st.st_ino);
}
