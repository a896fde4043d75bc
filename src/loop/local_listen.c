/* local_listen.c - see local_listen.h. */
#include "loop/local_listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/str.h"
#include "loop/sock.h"

#define BACKLOG 256
/* attempts to find one number that is free in both families */
#define ANY_TRIES 32

/* An address of one family, with its port. */
struct place {
	struct sockaddr_storage sa;
	socklen_t n;
};

/* ---- addresses ---- */

static bool place_v4(struct place *p, const char *text)
{
	struct sockaddr_in *in = (void *)&p->sa;

	memset(p, 0, sizeof(*p));
	in->sin_family = AF_INET;
	p->n = sizeof(*in);
	return inet_pton(AF_INET, text, &in->sin_addr) == 1;
}

static bool place_v6(struct place *p, const char *text)
{
	struct sockaddr_in6 *in = (void *)&p->sa;

	memset(p, 0, sizeof(*p));
	in->sin6_family = AF_INET6;
	p->n = sizeof(*in);
	return inet_pton(AF_INET6, text, &in->sin6_addr) == 1;
}

/* Number of places; 0: not an address. */
static int places(const char *address, struct place out[LOCAL_LISTEN_FDS])
{
	if (strcmp(address, "localhost") == 0)
		return place_v4(&out[0], "127.0.0.1") && place_v6(&out[1], "::1") ? 2 : 0;
	if (strcmp(address, "*") == 0 || strcmp(address, "allInterfaces") == 0)
		return place_v4(&out[0], "0.0.0.0") && place_v6(&out[1], "::") ? 2 : 0;
	return place_v4(&out[0], address) || place_v6(&out[0], address) ? 1 : 0;
}

static void place_set_port(struct place *p, int port)
{
	/* both families have it at the same place */
	((struct sockaddr_in *)(void *)&p->sa)->sin_port = htons((uint16_t)port);
}

static int bound_port(int fd)
{
	struct place p = {.n = sizeof(p.sa)};

	if (getsockname(fd, (struct sockaddr *)&p.sa, &p.n) != 0)
		return 0;
	return ntohs(((struct sockaddr_in *)(void *)&p.sa)->sin_port);
}

bool local_listen_is_loopback(const char *address)
{
	struct place p;

	if (strcmp(address, "localhost") == 0)
		return true;
	if (place_v4(&p, address))
		return str_starts(address, "127.");
	return place_v6(&p, address) &&
	       IN6_IS_ADDR_LOOPBACK(&((struct sockaddr_in6 *)(void *)&p.sa)->sin6_addr);
}

/* ---- sockets ---- */

/* Descriptor or -errno. */
static int listen_place(const struct place *p)
{
	int fd = socket(p->sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), one = 1, e;

	if (fd >= 0) {
		(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
		if (p->sa.ss_family == AF_INET6)
			(void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
		if (bind(fd, (const struct sockaddr *)&p->sa, p->n) == 0 &&
		    listen(fd, BACKLOG) == 0)
			return fd;
	}
	e = errno;
	if (fd >= 0)
		close(fd);
	return -e;
}

static int listen_failed(int e, const char *address, int port, struct tl_err *err)
{
	if (e == EADDRINUSE)
		return err_set(err, TL_E_LOCALPORT,
			       "cannot listen on port %d of this machine: another program does",
			       port);
	if (e == EACCES && port && port < 1024)
		return err_set(err, TL_E_LOCALPRIV,
			       "cannot listen on port %d of this machine: ports below 1024 need "
			       "more rights",
			       port);
	if (e == EADDRNOTAVAIL || e == EAFNOSUPPORT)
		return err_set(err, TL_E_LOCALADDR,
			       "cannot listen on %s: it is no address of this machine", address);
	return err_sys(err, e, "cannot listen on port %d of this machine", port);
}

/* All places under one number. 0 or an errno. */
static int listen_all(struct place *p, int n, int port, int fds[LOCAL_LISTEN_FDS], int *ret_n,
		      int *ret_port)
{
	*ret_n = 0;
	for (int i = 0; i < n; i++) {
		int fd;
		place_set_port(&p[i], *ret_n ? *ret_port : port);
		fd = listen_place(&p[i]);
		/* a machine may be without the second family */
		if (fd < 0 && *ret_n && (fd == -EADDRNOTAVAIL || fd == -EAFNOSUPPORT))
			continue;
		if (fd < 0) {
			while (*ret_n > 0)
				close(fds[--*ret_n]);
			return -fd;
		}
		fds[(*ret_n)++] = fd;
		*ret_port = bound_port(fd);
	}
	return 0;
}

/* Out of descriptors: the caller is accepted in place of the spare one and sent away. Left in the
 * queue it would wake the loop for ever. */
static bool turn_away(struct local_listen *ls, int listener)
{
	int fd;

	if ((errno != EMFILE && errno != ENFILE) || ls->spare < 0)
		return false;
	close(ls->spare);
	fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	if (fd >= 0)
		close(fd);
	ls->spare = fcntl(listener, F_DUPFD_CLOEXEC, 0);
	return fd >= 0;
}

/* A unix socket's mode keeps strangers out; this also holds where its folder was given away. */
static bool is_welcome(const struct local_listen *ls, int fd)
{
	uid_t uid;

	return !ls->path || (peer_uid(fd, &uid) == 0 && (uid == geteuid() || uid == 0));
}

static void door_ready(uv_poll_t *poll, int status, int events)
{
	struct local_listen_door *door = poll->data;
	struct local_listen *ls = door->owner;

	(void)events;
	if (status < 0)
		return;
	/* the callee may pause or close us */
	for (int i = 0; i < 16 && door->fd >= 0 && !ls->paused; i++) {
		int fd = accept4(door->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd < 0 && turn_away(ls, door->fd))
			continue;
		if (fd < 0)
			return;
		if (is_welcome(ls, fd))
			ls->on_accept(ls->ctx, fd);
		else
			close(fd);
	}
}

static int watch(struct loop *l, struct local_listen *ls, const int *fds, int n,
		 void (*on_accept)(void *, int), void *ctx, struct tl_err *err)
{
	ls->loop = l;
	ls->on_accept = on_accept;
	ls->ctx = ctx;
	ls->spare = fcntl(fds[0], F_DUPFD_CLOEXEC, 0);
	for (int i = 0; i < n; i++) {
		struct local_listen_door *door = &ls->door[ls->n];
		/* libuv fails here only for want of memory or of a descriptor that can be watched;
		 * the second door is then done without */
		if (uv_poll_init(&l->uv, &door->poll, fds[i]) != 0) {
			close(fds[i]);
			continue;
		}
		door->fd = fds[i];
		door->owner = ls;
		door->poll.data = door;
		uv_poll_start(&door->poll, UV_READABLE, door_ready);
		ls->n++;
	}
	if (ls->n > 0)
		return 0;
	if (ls->spare >= 0)
		close(ls->spare);
	return err_set(err, TL_E_NOMEM, "cannot listen: out of memory");
}

int local_listen_tcp(struct loop *l, struct local_listen *ret, const char *address, int port,
		     void (*on_accept)(void *, int), void *ctx, struct tl_err *err)
{
	struct place p[LOCAL_LISTEN_FDS];
	int fds[LOCAL_LISTEN_FDS], want = places(address, p), n = 0, e;

	memset(ret, 0, sizeof(*ret));
	if (want == 0)
		return err_set(err, TL_E_LOCALADDR, "cannot listen on “%.100s”: it is no address",
			       address);
	if (port < 0 || port > 65535)
		return err_set(err, TL_E_INVAL, "cannot listen: %d is not a port", port);
	/* any port: the second family may have the number that the first one got */
	for (int i = 0;; i++) {
		e = listen_all(p, want, port, fds, &n, &ret->port);
		if (e != EADDRINUSE || port || i == ANY_TRIES)
			break;
	}
	if (e)
		return listen_failed(e, address, port, err);
	return watch(l, ret, fds, n, on_accept, ctx, err);
}

int local_listen_unix(struct loop *l, struct local_listen *ret, const char *path,
		      void (*on_accept)(void *, int), void *ctx, struct tl_err *err)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	int fd, e, rc;

	memset(ret, 0, sizeof(*ret));
	if (!str_copy(sa.sun_path, sizeof(sa.sun_path), path))
		return err_set(err, TL_E_INVAL,
			       "cannot listen on %.60s…: the path of a socket has at most %zu "
			       "bytes",
			       path, sizeof(sa.sun_path) - 1);
	unix_remove_stale(&sa);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	/* the mode is the socket's before anybody can see it */
	if (fd < 0 || fchmod(fd, 0600) != 0 ||
	    bind(fd, (const struct sockaddr *)&sa, sizeof(sa)) != 0 || listen(fd, BACKLOG) != 0) {
		e = errno;
		if (fd >= 0)
			close(fd);
		if (e == EADDRINUSE)
			return err_set(err, TL_E_EXIST,
				       "cannot listen on %s: the file is there already", path);
		return err_sys(err, e, "cannot listen on %s", path);
	}
	ret->path = str_dup(path);
	rc = watch(l, ret, &fd, 1, on_accept, ctx, err);
	if (rc) {
		unlink(path);
		free(ret->path);
	}
	return rc;
}

void local_listen_refuse(int fd)
{
	static const struct linger now = {.l_onoff = 1};

	(void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	close(fd);
}

void local_listen_pause(struct local_listen *ls, bool paused)
{
	if (ls->paused == paused)
		return;
	ls->paused = paused;
	for (int i = 0; i < ls->n; i++) {
		if (ls->door[i].fd < 0)
			continue;
		if (paused)
			uv_poll_stop(&ls->door[i].poll);
		else
			uv_poll_start(&ls->door[i].poll, UV_READABLE, door_ready);
	}
}

static void door_closed(uv_handle_t *h)
{
	struct local_listen_door *door = h->data;
	struct local_listen *ls = door->owner;

	if (--ls->closing == 0 && ls->on_closed)
		ls->on_closed(ls->ctx);
}

void local_listen_close(struct local_listen *ls, void (*on_closed)(void *ctx))
{
	ls->on_closed = on_closed;
	ls->closing = ls->n;
	for (int i = 0; i < ls->n; i++) {
		close(ls->door[i].fd);
		ls->door[i].fd = -1;
		uv_close((uv_handle_t *)&ls->door[i].poll, door_closed);
	}
	if (ls->spare >= 0)
		close(ls->spare);
	ls->spare = -1;
	if (ls->path)
		unlink(ls->path);
	free(ls->path);
	ls->path = NULL;
}
