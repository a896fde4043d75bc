/* splice.c - see splice.h. Two directions, each with one bounded piece in hand: a slow reader on
 * one side never stops the other direction. */
#include "host/splice.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/limits.h"
#include "loop/io.h"

struct lane {
	int from, to;
	size_t at, n;
	bool eof, ended;
	uint8_t piece[TL_LIMIT_LINK_FRAME_SEND];
};

static bool would_block(void)
{
	return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
}

/* One step of a lane; false: broken. */
static bool lane_step(struct lane *l, short from_events, short to_events)
{
	ssize_t k;

	if (l->n == 0 && !l->eof && from_events) {
		k = read(l->from, l->piece, sizeof(l->piece));
		if (k < 0 && !would_block())
			return false;
		l->eof = k == 0;
		l->at = 0;
		l->n = k > 0 ? (size_t)k : 0;
		to_events = POLLOUT;
	}
	if (l->n > 0 && to_events) {
		k = write(l->to, l->piece + l->at, l->n);
		if (k < 0 && !would_block())
			return false;
		if (k > 0) {
			l->at += (size_t)k;
			l->n -= (size_t)k;
		}
	}
	return true;
}

int splice_run(int fd, struct tl_err *err)
{
	struct lane in = {.from = 0, .to = fd}, out = {.from = fd, .to = 1};

	if (fd_set_nonblock(fd, true) || fd_set_nonblock(1, true))
		return err_set(err, TL_E_IO, "cannot copy between ssh and the agent");
	while (!out.eof || out.n > 0) {
		/* 0: stdin, 1: stdout, 2: the agent */
		struct pollfd pf[3] = {{.fd = -1}, {.fd = -1}, {.fd = fd}};
		if (in.n == 0 && !in.eof)
			pf[0] = (struct pollfd){.fd = 0, .events = POLLIN};
		if (out.n > 0)
			pf[1] = (struct pollfd){.fd = 1, .events = POLLOUT};
		if (in.n > 0)
			pf[2].events |= POLLOUT;
		if (out.n == 0 && !out.eof)
			pf[2].events |= POLLIN;
		/* an ended agent would say so for ever while stdout is full */
		if (!pf[2].events)
			pf[2].fd = -1;
		if (poll(pf, 3, -1) < 0 && errno != EINTR)
			return err_sys(err, errno, "cannot wait for bytes");
		if (!lane_step(&out, pf[2].revents & (POLLIN | POLLHUP | POLLERR), pf[1].revents))
			return err_set(err, TL_E_IO, "the connection to the client broke");
		if (!lane_step(&in, pf[0].revents, pf[2].revents & (POLLOUT | POLLHUP | POLLERR)))
			return err_set(err, TL_E_IO, "the connection to the agent broke");
		if (in.eof && in.n == 0 && !in.ended) {
			shutdown(fd, SHUT_WR);
			in.ended = true;
		}
	}
	return 0;
}
