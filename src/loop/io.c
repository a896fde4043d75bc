/* io.c - duplex byte streams by readiness: no queue of ours, the owner's buffers are the only ones.
 */
#include "loop/io.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

bool fd_read_buf(int fd, struct buf *b, size_t most)
{
	size_t room = buf_room(b) < most ? buf_room(b) : most;
	uint8_t *p = room ? buf_reserve(b, room) : NULL;
	ssize_t n = p ? read(fd, p, room) : 0;

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return true;
	if (n > 0)
		buf_commit(b, (size_t)n);
	return n > 0;
}

bool fd_write_buf(int fd, struct buf *b)
{
	while (b->len) {
		struct tl_bytes left = buf_data(b);
		ssize_t n = write(fd, left.p, left.n);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN;
		buf_consume(b, (size_t)n);
	}
	buf_shrink(b);
	return true;
}

int fd_set_nonblock(int fd, bool on)
{
	int fl = fcntl(fd, F_GETFL);

	if (fl < 0)
		return err_from_errno(errno);
	fl = on ? fl | O_NONBLOCK : fl & ~O_NONBLOCK;
	return fcntl(fd, F_SETFL, fl) < 0 ? err_from_errno(errno) : 0;
}

int fd_set_cloexec(int fd, bool on)
{
	return fcntl(fd, F_SETFD, on ? FD_CLOEXEC : 0) < 0 ? err_from_errno(errno) : 0;
}

static void io_polled(uv_poll_t *p, int status, int events);

/* Tells the kernel what is wanted on both descriptors. */
static void io_update(struct io *io)
{
	int rev, wev;

	if (!io->open)
		return;
	rev = io->want_read && io->rfd >= 0 ? UV_READABLE : 0;
	wev = io->want_write && io->wfd >= 0 ? UV_WRITABLE : 0;
	if (io->same) {
		rev |= wev;
		/* nothing is ever urgent on a socket of ours, so this wakes for a hang-up alone */
		rev |= io->on_hangup ? UV_PRIORITIZED : 0;
	} else if (io->wfd >= 0) {
		if (wev)
			uv_poll_start(&io->wpoll, wev, io_polled);
		else
			uv_poll_stop(&io->wpoll);
	}
	if (rev)
		uv_poll_start(&io->rpoll, rev, io_polled);
	else
		uv_poll_stop(&io->rpoll);
}

static void io_polled(uv_poll_t *p, int status, int events)
{
	struct io *io = p->data;
	bool is_write = p == &io->wpoll && !io->same;

	/* an error state makes the next read or write tell what it is */
	if (status < 0)
		events = is_write ? UV_WRITABLE
				  : (io->want_read ? UV_READABLE : 0) |
					(io->want_write && io->same ? UV_WRITABLE : 0);
	/* a reset of a connection on which nothing else is wanted */
	if (status < 0 && !events && !is_write)
		events = UV_PRIORITIZED;
	if ((events & UV_PRIORITIZED) && io->on_hangup && io->open) {
		void (*fn)(void *) = io->on_hangup;
		io_watch_hangup(io, NULL);
		fn(io->ctx);
	}
	if (io->open && (events & UV_WRITABLE) && io->want_write) {
		io->want_write = false;
		io_update(io);
		if (io->on_writable)
			io->on_writable(io->ctx);
	}
	if (io->open && (events & UV_READABLE) && io->want_read && io->on_readable)
		io->on_readable(io->ctx);
}

int io_open(struct loop *l, struct io *io, int rfd, int wfd, void (*on_readable)(void *),
	    void (*on_writable)(void *), void *ctx)
{
	struct stat st;

	memset(io, 0, sizeof(*io));
	io->rfd = io->wfd = -1;
	if ((fstat(rfd, &st) == 0 && S_ISREG(st.st_mode)) ||
	    (fstat(wfd, &st) == 0 && S_ISREG(st.st_mode)))
		return TL_E_INVAL;
	if (fd_set_nonblock(rfd, true) || fd_set_nonblock(wfd, true) || fd_set_cloexec(rfd, true) ||
	    fd_set_cloexec(wfd, true))
		return TL_E_IO;
	io->loop = l;
	io->same = rfd == wfd;
	if (uv_poll_init(&l->uv, &io->rpoll, rfd) != 0)
		return TL_E_INVAL;
	io->rpoll.data = io;
	if (!io->same) {
		if (uv_poll_init(&l->uv, &io->wpoll, wfd) != 0) {
			uv_close((uv_handle_t *)&io->rpoll, NULL);
			return TL_E_INVAL;
		}
		io->wpoll.data = io;
	}
	io->rfd = rfd;
	io->wfd = wfd;
	io->on_readable = on_readable;
	io->on_writable = on_writable;
	io->ctx = ctx;
	io->want_read = true;
	io->open = true;
	io_update(io);
	return 0;
}

long io_read(struct io *io, void *p, size_t n)
{
	if (!io->open || io->rfd < 0)
		return TL_E_CLOSED;
	for (;;) {
		ssize_t got = read(io->rfd, p, n);
		if (got >= 0)
			return got;
		if (errno == EINTR)
			continue;
		if (errno == EAGAIN || errno == EWOULDBLOCK)
			return TL_E_AGAIN;
		/* Linux says EIO when the last program on a pty's other side is gone */
		if (errno == EIO)
			return 0;
		return errno == ECONNRESET ? TL_E_CLOSED : err_from_errno(errno);
	}
}

static long io_written(ssize_t put)
{
	if (put >= 0)
		return put;
	if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)
		return 0;
	return errno == EPIPE || errno == ECONNRESET ? TL_E_CLOSED : err_from_errno(errno);
}

long io_write(struct io *io, const void *p, size_t n)
{
	struct iovec v = {.iov_base = (void *)(uintptr_t)p, .iov_len = n};

	return io_writev(io, &v, 1);
}

long io_writev(struct io *io, const struct iovec *v, int n)
{
	struct msghdr mh;
	ssize_t put;

	if (!io->open || io->wfd < 0)
		return TL_E_CLOSED;
	/* MSG_NOSIGNAL exists for sockets only; programs ignore SIGPIPE for the rest */
	if (!io->plain) {
		memset(&mh, 0, sizeof(mh));
		mh.msg_iov = (struct iovec *)(uintptr_t)v;
		mh.msg_iovlen = (size_t)n;
		put = sendmsg(io->wfd, &mh, MSG_NOSIGNAL);
		if (put >= 0 || errno != ENOTSOCK)
			return io_written(put);
		io->plain = true;
	}
	put = writev(io->wfd, v, n);
	return io_written(put);
}

void io_want_read(struct io *io, bool on)
{
	if (io->want_read != on) {
		io->want_read = on;
		io_update(io);
	}
}

void io_want_write(struct io *io, bool on)
{
	if (io->want_write != on) {
		io->want_write = on;
		io_update(io);
	}
}

void io_watch_hangup(struct io *io, void (*on_hangup)(void *ctx))
{
	io->on_hangup = on_hangup;
	io_update(io);
}

static void io_part_closed(uv_handle_t *h)
{
	struct io *io = h->data;

	if (--io->closing == 0 && !io->open && io->on_closed)
		io->on_closed(io->ctx);
}

void io_finish(struct io *io)
{
	if (!io->open || io->wfd < 0)
		return;
	io_want_write(io, false);
	if (io->same) {
		shutdown(io->wfd, SHUT_WR);
		return;
	}
	/* a socket ends by this, a pipe by its close below */
	shutdown(io->wfd, SHUT_WR);
	io->closing++;
	uv_close((uv_handle_t *)&io->wpoll, io_part_closed);
	close(io->wfd);
	io->wfd = -1;
}

void io_close(struct io *io, void (*on_closed)(void *ctx))
{
	if (!io->open)
		return;
	io->open = false;
	io->on_closed = on_closed;
	io->closing++;
	uv_close((uv_handle_t *)&io->rpoll, io_part_closed);
	if (!io->same && io->wfd >= 0) {
		io->closing++;
		uv_close((uv_handle_t *)&io->wpoll, io_part_closed);
		close(io->wfd);
	}
	close(io->rfd);
	io->rfd = io->wfd = -1;
}

int fd_write_all(int fd, const void *p, size_t n, int deadline_ms)
{
	const uint8_t *at = p;
	uint64_t end = clock_mono_ms() + (uint64_t)deadline_ms;

	while (n > 0) {
		/* a peer that has gone is an error, not a signal for the program */
		ssize_t put = send(fd, at, n, MSG_NOSIGNAL);
		if (put < 0 && errno == ENOTSOCK)
			put = write(fd, at, n);
		if (put >= 0) {
			at += put;
			n -= (size_t)put;
			continue;
		}
		if (errno == EINTR)
			continue;
		if (errno == EAGAIN) {
			struct pollfd pf = {.fd = fd, .events = POLLOUT};
			uint64_t now = clock_mono_ms();
			if (now >= end)
				return TL_E_TIMEOUT;
			poll(&pf, 1, (int)(end - now));
			continue;
		}
		return errno == EPIPE ? TL_E_CLOSED : err_from_errno(errno);
	}
	return 0;
}

int fd_read_all(int fd, void *p, size_t n)
{
	uint8_t *at = p;

	while (n > 0) {
		ssize_t got = read(fd, at, n);
		if (got == 0)
			return TL_E_CLOSED;
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return err_from_errno(errno);
		at += got;
		n -= (size_t)got;
	}
	return 0;
}
