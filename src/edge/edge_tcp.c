/* edge_tcp.c - the two loopback ports, each on 127.0.0.1 and, where there is one, ::1. Listens by
 * itself rather than through the library: a taken port must be told apart from other failures, and
 * the number of browser connections has a limit. Owns the listening sockets. */
#include "edge/edge_priv.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"

#define TRIES   20 /* a free IPv4 port may be taken on ::1 */
#define ACCEPTS 16 /* connections taken per turn */
#define BACKLOG 128

/* A listening socket on one address. fd, or negative errno. */
static int listen_on(int family, int port)
{
	struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
	int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1, rc;

	if (fd < 0)
		return -errno;
	v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	v6.sin6_addr = in6addr_loopback;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
	rc = family == AF_INET ? bind(fd, (struct sockaddr *)&v4, sizeof(v4))
			       : bind(fd, (struct sockaddr *)&v6, sizeof(v6));
	if (rc == 0)
		rc = listen(fd, BACKLOG);
	if (rc != 0) {
		rc = -errno;
		close(fd);
		return rc;
	}
	return fd;
}

static int port_of(int fd)
{
	struct sockaddr_in sa;
	socklen_t n = sizeof(sa);

	return getsockname(fd, (struct sockaddr *)&sa, &n) == 0 ? ntohs(sa.sin_port) : 0;
}

/* One port on both addresses. 0 or negative errno. */
static int bind_pair(struct tcp_listener *t, int port)
{
	int rc = 0;

	for (int i = 0; i < TRIES; i++) {
		t->fd[0] = listen_on(AF_INET, port);
		if (t->fd[0] < 0) {
			rc = t->fd[0];
			t->fd[0] = -1;
			return rc;
		}
		t->port = port_of(t->fd[0]);
		t->fd[1] = listen_on(AF_INET6, t->port);
		/* a machine without IPv6 has nobody who could listen there either */
		if (t->fd[1] >= 0 || t->fd[1] != -EADDRINUSE)
			return 0;
		rc = t->fd[1];
		close(t->fd[0]);
		t->fd[0] = t->fd[1] = -1;
		if (port)
			return rc;
	}
	return rc;
}

int tcp_bind(struct edge *e, int port, int frame_port, struct tl_err *err)
{
	int want[EDGE_PORTS] = {port, frame_port}, rc;

	for (int i = 0; i < EDGE_PORTS; i++)
		e->tcp[i] = (struct tcp_listener){.fd = {-1, -1}, .edge = e};
	for (int i = 0; i < EDGE_PORTS; i++) {
		rc = bind_pair(&e->tcp[i], want[i]);
		if (rc == -EADDRINUSE)
			return err_set(
			    err, TL_E_PORT,
			    "cannot listen on port %d of this machine: another program uses it",
			    want[i]);
		if (rc == -EACCES)
			return err_set(
			    err, TL_E_PORT,
			    "cannot listen on port %d of this machine: ports below 1024 are "
			    "the administrator's",
			    want[i]);
		if (rc)
			return err_sys(err, -rc, "cannot listen on the loopback address");
	}
	return 0;
}

void tcp_unbind(struct edge *e)
{
	for (int i = 0; i < EDGE_PORTS; i++)
		for (int k = 0; k < 2; k++) {
			if (e->tcp[i].edge && e->tcp[i].fd[k] >= 0)
				close(e->tcp[i].fd[k]);
			e->tcp[i].fd[k] = -1;
		}
}

static void acceptable(uv_poll_t *p, int status, int events)
{
	struct tcp_listener *t = p->data;
	int listening = t->fd[p == &t->poll[1]];

	(void)events;
	if (status < 0)
		return;
	for (int i = 0; i < ACCEPTS && !t->edge->closing; i++) {
		int fd = accept4(listening, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd < 0)
			return;
		lws_take(t->edge, fd);
	}
}

int tcp_watch(struct edge *e, struct tl_err *err)
{
	for (int i = 0; i < EDGE_PORTS; i++)
		for (int k = 0; k < 2; k++) {
			struct tcp_listener *t = &e->tcp[i];
			if (t->fd[k] < 0)
				continue;
			if (uv_poll_init(&e->loop->uv, &t->poll[k], t->fd[k]) != 0)
				return err_set(err, TL_E_NOMEM, "cannot watch port %d", t->port);
			e->tcp_open++;
			t->poll[k].data = t;
			uv_poll_start(&t->poll[k], UV_READABLE, acceptable);
		}
	return 0;
}

static void poll_closed(uv_handle_t *h)
{
	struct tcp_listener *t = h->data;

	t->edge->tcp_open--;
}

void tcp_stop(struct edge *e)
{
	for (int i = 0; i < EDGE_PORTS; i++)
		for (int k = 0; k < 2; k++)
			if (e->tcp[i].poll[k].data)
				uv_close((uv_handle_t *)&e->tcp[i].poll[k], poll_closed);
	tcp_unbind(e);
}
