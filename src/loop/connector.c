/* connector.c - see connector.h. Owns the descriptor under way and the resolved addresses. Freed
 * when its handles are closed and the resolver has answered. */
#include "loop/connector.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/str.h"

struct connector {
	struct connector_spec spec;
	struct loop *loop;
	uv_getaddrinfo_t resolve;
	uv_poll_t poll;
	struct loop_timer timer;
	struct addrinfo *list, *next; /* all, and the one to try next */
	struct sockaddr_un su;
	char where[300];
	int fd, failed; /* the last attempt's errno */
	int refused;    /* addresses that `allowed` did not like */
	bool resolving, polling, poll_open, over, timer_closed;
};

static void maybe_free(struct connector *c)
{
	if (!c->over || c->resolving || c->poll_open || !c->timer_closed)
		return;
	if (c->list)
		uv_freeaddrinfo(c->list);
	free(c);
}

static void timer_gone(void *ctx)
{
	struct connector *c = ctx;

	c->timer_closed = true;
	maybe_free(c);
}

static void finish(struct connector *c)
{
	c->over = true;
	if (c->resolving)
		uv_cancel((uv_req_t *)&c->resolve);
	timer_close(&c->timer, timer_gone);
}

/* The one answer. fd -1: e says why. */
static void done(struct connector *c, int fd, const struct tl_err *e)
{
	void (*on_done)(void *, int, const struct tl_err *) = c->spec.on_done;
	void *ctx = c->spec.ctx;

	finish(c);
	on_done(ctx, fd, e);
}

static void fail(struct connector *c, int code, const char *why)
{
	struct tl_err e;

	err_set(&e, code, "cannot connect to %s from this machine: %s", c->where, why);
	done(c, -1, &e);
}

static void try_next(struct connector *c);

/* Gives up the handle of an attempt; the descriptor is given away or closed after. */
static void poll_gone(uv_handle_t *h)
{
	struct connector *c = h->data;

	c->poll_open = false;
	if (c->over)
		maybe_free(c);
	else
		try_next(c);
}

static void poll_end(struct connector *c)
{
	c->polling = false;
	uv_poll_stop(&c->poll);
	uv_close((uv_handle_t *)&c->poll, poll_gone);
}

static void attempt_ready(uv_poll_t *poll, int status, int events)
{
	struct connector *c = poll->data;
	int e = 0, fd = c->fd, one = 1;
	socklen_t n = sizeof(e);

	(void)status, (void)events;
	if (!c->polling)
		return;
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &e, &n) != 0)
		e = errno;
	c->fd = -1;
	poll_end(c);
	if (e) {
		c->failed = e;
		close(fd);
		return; /* poll_gone goes on */
	}
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	done(c, fd, NULL);
}

/* Starts one attempt; false when it failed at once. */
static bool attempt(struct connector *c, int family, const struct sockaddr *sa, socklen_t n)
{
	int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0) {
		c->failed = errno;
		return false;
	}
	if ((connect(fd, sa, n) != 0 && errno != EINPROGRESS) ||
	    uv_poll_init(&c->loop->uv, &c->poll, fd) != 0) {
		c->failed = errno ? errno : ENOMEM;
		close(fd);
		return false;
	}
	c->poll.data = c;
	c->poll_open = c->polling = true;
	c->fd = fd;
	uv_poll_start(&c->poll, UV_WRITABLE, attempt_ready);
	return true;
}

static void try_next(struct connector *c)
{
	while (c->next) {
		struct addrinfo *ai = c->next;
		c->next = ai->ai_next;
		if (c->spec.allowed && !c->spec.allowed(c->spec.ctx, ai->ai_addr)) {
			c->refused++;
			continue;
		}
		if (attempt(c, ai->ai_family, ai->ai_addr, ai->ai_addrlen))
			return;
	}
	if (!c->failed && c->refused)
		fail(c, TL_E_ACCES, "its address is not allowed");
	else
		fail(c, err_from_connect(c->failed ? c->failed : EHOSTUNREACH),
		     strerror(c->failed ? c->failed : EHOSTUNREACH));
}

static void resolved(uv_getaddrinfo_t *req, int status, struct addrinfo *list)
{
	struct connector *c = req->data;

	c->resolving = false;
	c->list = list;
	if (c->over) {
		maybe_free(c);
		return;
	}
	if (status != 0) {
		fail(c, TL_E_RESOLVE, "this machine does not know the name");
		return;
	}
	c->next = list;
	try_next(c);
}

/* The first turn of a unix socket, and the end of one's patience. */
static void timer_fired(void *ctx)
{
	struct connector *c = ctx;

	if (c->spec.path && c->fd < 0 && !c->failed) {
		timer_start(&c->timer, c->spec.timeout_ms);
		if (!attempt(c, AF_UNIX, (struct sockaddr *)&c->su, sizeof(c->su)))
			fail(c, c->failed == ENOENT ? TL_E_NOENT : err_from_connect(c->failed),
			     strerror(c->failed));
		return;
	}
	connector_cancel(c); /* what is under way ends; the callback is ours to make */
	{
		struct tl_err e;
		err_set(&e, TL_E_TIMEOUT, "cannot connect to %s from this machine: no answer",
			c->where);
		c->spec.on_done(c->spec.ctx, -1, &e);
	}
}

static int begin(struct connector *c, const struct connector_spec *spec, struct tl_err *err)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
	char service[8];

	if (spec->path) {
		c->su.sun_family = AF_UNIX;
		snprintf(c->where, sizeof(c->where), "%.280s", spec->path);
		if (!str_copy(c->su.sun_path, sizeof(c->su.sun_path), spec->path))
			return err_set(err, TL_E_LIMIT,
				       "cannot connect to %.60s…: the path of a socket has at most "
				       "%zu bytes",
				       spec->path, sizeof(c->su.sun_path) - 1);
		return 0;
	}
	snprintf(c->where, sizeof(c->where), "%.250s port %d", spec->host, spec->port);
	snprintf(service, sizeof(service), "%d", spec->port);
	c->resolve.data = c;
	if (uv_getaddrinfo(&c->loop->uv, &c->resolve, resolved, spec->host, service, &hints) != 0)
		return err_set(err, TL_E_RESOLVE, "cannot connect to %s: it is no name", c->where);
	c->resolving = true;
	return 0;
}

int connector_start(struct loop *l, const struct connector_spec *spec, struct connector **ret,
		    struct tl_err *err)
{
	struct connector *c = calloc(1, sizeof(*c));
	int rc;

	if (!c)
		return err_set(err, TL_E_NOMEM, "cannot connect: out of memory");
	c->loop = l;
	c->fd = -1;
	c->spec = *spec;
	rc = begin(c, spec, err);
	if (rc) {
		free(c);
		return rc;
	}
	/* only ours are used from now on: whether there is a path */
	c->spec.host = NULL;
	c->spec.path = spec->path ? c->su.sun_path : NULL;
	timer_init(l, &c->timer, timer_fired, c);
	timer_start(&c->timer, spec->path ? 0 : spec->timeout_ms);
	*ret = c;
	return 0;
}

void connector_cancel(struct connector *c)
{
	if (c->over)
		return;
	finish(c);
	if (c->polling) {
		int fd = c->fd;
		c->fd = -1;
		poll_end(c);
		close(fd);
	}
}
