/* tunnel_copy.c - two lanes between two sockets. A lane holds one bounded piece: when its reader is
 * slow nothing more is read for it, and the other lane goes on. Ends are passed on one direction at
 * a time, a reset as a reset. */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "api/tunnel_priv.h"
#include "loop/io.h"

struct lane {
	int from, to;
	size_t at, n;
	bool eof, ended; /* no more to read; the end was passed on */
	uint8_t piece[TL_LIMIT_TUNNEL_PIECE];
};

struct copy {
	struct lane up, down; /* a to b, b to a */
	int stream;
};

static bool would_block(void)
{
	return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
}

/* A session ends a stream in both directions at once only when it broke: in order, it would have
 * waited for our end. */
static bool stream_broke(const struct lane *in, const struct lane *out)
{
	struct pollfd pf = {.fd = in->from};

	return in->eof && !out->ended && poll(&pf, 1, 0) > 0 && (pf.revents & (POLLHUP | POLLERR));
}

/* Moves what can be moved; false: a side broke. */
static bool lane_step(struct copy *c, struct lane *l)
{
	ssize_t k;

	if (l->n == 0 && !l->eof) {
		k = recv(l->from, l->piece, sizeof(l->piece), 0);
		if (k < 0)
			return would_block();
		l->eof = k == 0;
		l->at = 0;
		l->n = (size_t)k;
	}
	if (l->n > 0) {
		k = send(l->to, l->piece + l->at, l->n, MSG_NOSIGNAL);
		if (k < 0)
			return would_block();
		l->at += (size_t)k;
		l->n -= (size_t)k;
	}
	if (l->eof && l->from == c->stream && stream_broke(l, l == &c->up ? &c->down : &c->up))
		return false;
	if (l->eof && l->n == 0 && !l->ended) {
		shutdown(l->to, SHUT_WR);
		l->ended = true;
	}
	return true;
}

/* false: a side broke, or nobody wants it any more */
static bool copy_turn(struct copy *c, struct tl_cancel *cancel)
{
	struct pollfd pf[3] = {{.fd = c->up.from}, {.fd = c->up.to}, {.fd = cancel_fd(cancel)}};
	struct lane *in = c->stream == c->up.from ? &c->up : &c->down;
	struct lane *out = in == &c->up ? &c->down : &c->up;

	pf[0].events =
	    (short)((c->up.n == 0 && !c->up.eof ? POLLIN : 0) | (c->down.n > 0 ? POLLOUT : 0));
	pf[1].events =
	    (short)((c->down.n == 0 && !c->down.eof ? POLLIN : 0) | (c->up.n > 0 ? POLLOUT : 0));
	pf[2].events = POLLIN;
	/* an end that is known would wake us for ever; the stream's total end may be news */
	for (int i = 0; i < 2; i++)
		if (!pf[i].events && (pf[i].fd != c->stream || !in->eof || out->ended))
			pf[i].fd = -1;
	if (poll(pf, 3, -1) < 0)
		return errno == EINTR;
	return !pf[2].revents && lane_step(c, &c->down) && lane_step(c, &c->up);
}

void tunnel_copy(int a, int b, int stream, const void *first, size_t first_n,
		 struct tl_cancel *cancel)
{
	struct linger hard = {.l_onoff = 1};
	struct copy *c = calloc(1, sizeof(*c));
	bool whole = c != NULL;

	if (c) {
		c->stream = stream;
		c->up.from = c->down.to = a;
		c->up.to = c->down.from = b;
		if (first_n) {
			memcpy(c->up.piece, first, first_n);
			c->up.n = first_n;
		}
		fd_set_nonblock(a, true);
		fd_set_nonblock(b, true);
		while (whole && (!c->up.ended || !c->down.ended))
			whole = copy_turn(c, cancel);
	}
	/* the peers must not take what broke for what is complete */
	if (!whole) {
		(void)setsockopt(a, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
		(void)setsockopt(b, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
	}
	close(a);
	close(b);
	free(c);
}
