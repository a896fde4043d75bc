/* tunnel_end.c - the two ends of a tunnel: what a person writes, sockets that listen and connect
 * here, the request that connects there. */
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "api/tunnel_priv.h"
#include "base/str.h"
#include "loop/io.h"
#include "loop/sock.h"
#include "wire/json.h"

#define CONNECT_MS 30000
#define BACKLOG    128

/* ---- text ---- */

static int bad(struct tl_err *err, const char *intent, const char *text, const char *why)
{
	return err_set(err, TL_E_INVAL, "%s “%.200s”: %s", intent, text, why);
}

static bool parse_path(const char *text, struct tunnel_end *ret)
{
	return (text[0] == '/' || (text[0] == '~' && text[1] == '/')) &&
	       str_copy(ret->path, sizeof(ret->path), text);
}

static int parse_host_port(const char *text, const char *intent, int least, struct tunnel_end *ret,
			   struct tl_err *err)
{
	const char *colon = strrchr(text, ':'), *host = text;
	size_t n = colon ? (size_t)(colon - text) : 0;
	long long port;

	if (!colon)
		return bad(err, intent, text, "it is neither HOST:PORT nor the path of a socket");
	if (!str_to_int(colon + 1, least, 65535, &port))
		return bad(err, intent, text, "its port is not a number up to 65535");
	if (text[0] == '[') {
		if (n < 3 || text[n - 1] != ']')
			return bad(err, intent, text, "the address does not end with “]”");
		host++;
		n -= 2;
	} else if (memchr(text, ':', n)) {
		return bad(err, intent, text, "an IPv6 address is written [ADDRESS]:PORT");
	}
	if (n == 0)
		return bad(err, intent, text, "the host is missing");
	if (n >= sizeof(ret->host))
		return bad(err, intent, text, "the host is too long");
	memcpy(ret->host, host, n);
	ret->host[n] = 0;
	ret->port = (int)port;
	return 0;
}

int tunnel_target_parse(const char *text, const char *intent, struct tunnel_end *ret,
			struct tl_err *err)
{
	memset(ret, 0, sizeof(*ret));
	return parse_path(text, ret) ? 0 : parse_host_port(text, intent, 1, ret, err);
}

int tunnel_listen_parse(const char *text, const char *intent, struct tunnel_end *ret,
			struct tl_err *err)
{
	long long port;

	memset(ret, 0, sizeof(*ret));
	if (parse_path(text, ret))
		return 0;
	if (strchr(text, ':'))
		return parse_host_port(text, intent, 0, ret, err);
	if (!str_to_int(text, 0, 65535, &port))
		return bad(err, intent, text,
			   "it is neither a port (0 to 65535), ADDRESS:PORT nor the path of a "
			   "socket");
	str_copy(ret->host, sizeof(ret->host), "127.0.0.1");
	ret->port = (int)port;
	return 0;
}

void tunnel_end_text(const struct tunnel_end *e, char *out, size_t n)
{
	if (e->path[0])
		str_copy(out, n, e->path);
	else
		snprintf(out, n, strchr(e->host, ':') ? "[%s]:%d" : "%s:%d", e->host, e->port);
}

char *tunnel_open_json(const struct tunnel_end *e)
{
	yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *o = yyjson_mut_obj(doc);
	char *text;

	yyjson_mut_doc_set_root(doc, o);
	if (e->path[0]) {
		yyjson_mut_obj_add_str(doc, o, "open", "direct-streamlocal");
		yyjson_mut_obj_add_str(doc, o, "path", e->path);
	} else {
		yyjson_mut_obj_add_str(doc, o, "open", "direct-tcpip");
		yyjson_mut_obj_add_str(doc, o, "host", e->host);
		yyjson_mut_obj_add_int(doc, o, "port", e->port);
	}
	/* NULL: no memory, or not UTF-8 */
	text = yyjson_mut_write(doc, 0, NULL);
	yyjson_mut_doc_free(doc);
	return text;
}

/* ---- sockets here ---- */

void tunnel_no_delay(int fd)
{
	int one = 1;

	/* a unix socket has no such switch, and needs none */
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
}

static int unix_address(const char *path, struct sockaddr_un *sa, struct tl_err *err)
{
	char full[TUNNEL_PATH_MAX];
	const char *home = getenv("HOME");

	snprintf(full, sizeof(full), "%s%s", path[0] == '~' && home ? home : "",
		 path[0] == '~' && home ? path + 1 : path);
	memset(sa, 0, sizeof(*sa));
	sa->sun_family = AF_UNIX;
	return str_copy(sa->sun_path, sizeof(sa->sun_path), full)
		   ? 0
		   : err_set(err, TL_E_INVAL,
			     "the path of a socket has at most %zu bytes, and “%.120s” more",
			     sizeof(sa->sun_path) - 1, full);
}

static int listen_path(const char *path, struct tl_err *err)
{
	struct sockaddr_un sa;
	int fd, e;

	if (unix_address(path, &sa, err))
		return TL_E_INVAL;
	unix_remove_stale(&sa);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return err_sys(err, errno, "cannot listen on %s", path);
	/* the socket is ours alone: the mode is the socket's before anybody can see it */
	if (fchmod(fd, 0600) == 0 && bind(fd, (struct sockaddr *)&sa, sizeof(sa)) == 0 &&
	    listen(fd, BACKLOG) == 0)
		return fd;
	e = errno;
	close(fd);
	if (e == EADDRINUSE)
		return err_set(err, TL_E_EXIST, "cannot listen on %s: the file exists already",
			       path);
	return err_sys(err, e, "cannot listen on %s", path);
}

static int listen_address(const struct addrinfo *ai, int port, struct tl_err *err)
{
	struct sockaddr_storage sa;
	int fd = socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), one = 1, e;

	memcpy(&sa, ai->ai_addr, ai->ai_addrlen);
	/* both families have the port at the same place */
	((struct sockaddr_in *)(void *)&sa)->sin_port = htons((uint16_t)port);
	if (fd >= 0) {
		(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
		if (ai->ai_family == AF_INET6)
			(void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
		if (bind(fd, (struct sockaddr *)&sa, ai->ai_addrlen) == 0 &&
		    listen(fd, BACKLOG) == 0)
			return fd;
	}
	e = errno;
	if (fd >= 0)
		close(fd);
	err_sys(err, e, "cannot listen on port %d of this machine", port);
	return err->code = e == EADDRINUSE ? TL_E_PORT : err->code;
}

static int bound_port(int fd)
{
	struct sockaddr_storage sa;
	socklen_t n = sizeof(sa);

	if (getsockname(fd, (struct sockaddr *)&sa, &n) != 0)
		return 0;
	return ntohs(((struct sockaddr_in *)(void *)&sa)->sin_port);
}

int tunnel_listen(const struct tunnel_end *e, int ret_fds[TUNNEL_LISTENERS], int *ret_n,
		  int *ret_port, struct tl_err *err)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE}, *list = NULL;
	struct tl_err own = {0};
	int rc;

	err = err ? err : &own;
	*ret_n = *ret_port = 0;
	if (e->path[0]) {
		rc = listen_path(e->path, err);
		if (rc < 0)
			return rc;
		ret_fds[(*ret_n)++] = rc;
		return 0;
	}
	rc = getaddrinfo(strcmp(e->host, "*") == 0 ? NULL : e->host, NULL, &hints, &list);
	if (rc)
		return err_set(err, TL_E_INVAL,
			       "cannot listen on %s: it is no address of this machine (%s)",
			       e->host, gai_strerror(rc));
	/* the second address is a service: a machine may not have its family */
	rc = TL_E_INVAL;
	for (struct addrinfo *ai = list; ai && *ret_n < TUNNEL_LISTENERS; ai = ai->ai_next) {
		int fd = listen_address(ai, *ret_n ? *ret_port : e->port, err);
		if (fd < 0) {
			rc = fd;
			if (rc == TL_E_PORT)
				break;
			continue;
		}
		ret_fds[(*ret_n)++] = fd;
		*ret_port = bound_port(fd);
	}
	freeaddrinfo(list);
	return *ret_n ? 0 : rc;
}

static int wait_connected(int fd, struct tl_cancel *cancel)
{
	struct pollfd pf[2] = {{.fd = fd, .events = POLLOUT},
			       {.fd = cancel_fd(cancel), .events = POLLIN}};
	uint64_t until = clock_mono_ms() + CONNECT_MS, now;
	int e = 0;
	socklen_t n = sizeof(e);

	while ((now = clock_mono_ms()) < until) {
		if (poll(pf, 2, (int)(until - now)) < 0 && errno != EINTR)
			return errno;
		if (pf[1].revents)
			return ECANCELED;
		if (pf[0].revents)
			return getsockopt(fd, SOL_SOCKET, SO_ERROR, &e, &n) == 0 ? e : errno;
	}
	return ETIMEDOUT;
}

static int connect_one(int family, const void *sa, socklen_t n, struct tl_cancel *cancel, int *ret)
{
	int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), e;

	if (fd < 0)
		return errno;
	e = connect(fd, sa, n) == 0 ? 0 : errno;
	if (e == EINPROGRESS)
		e = wait_connected(fd, cancel);
	if (e)
		close(fd);
	else
		*ret = fd;
	return e;
}

int tunnel_connect(const struct tunnel_end *e, struct tl_cancel *cancel, struct tl_err *err)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list = NULL;
	struct sockaddr_un su;
	char where[TUNNEL_PATH_MAX], service[8];
	int fd = -1, failed = EHOSTUNREACH, rc;

	tunnel_end_text(e, where, sizeof(where));
	if (e->path[0]) {
		rc = unix_address(e->path, &su, err);
		if (rc)
			return rc;
		failed = connect_one(AF_UNIX, &su, sizeof(su), cancel, &fd);
	} else {
		snprintf(service, sizeof(service), "%d", e->port);
		rc = getaddrinfo(e->host, service, &hints, &list);
		if (rc)
			return err_set(err, TL_E_RESOLVE, "cannot connect to %.300s from here: %s",
				       where, gai_strerror(rc));
		for (struct addrinfo *ai = list; ai && fd < 0 && failed != ECANCELED;
		     ai = ai->ai_next)
			failed =
			    connect_one(ai->ai_family, ai->ai_addr, ai->ai_addrlen, cancel, &fd);
		freeaddrinfo(list);
	}
	if (fd < 0) {
		err_sys(err, failed, "cannot connect to %.300s from here", where);
		return err->code = err_from_connect(failed);
	}
	tunnel_no_delay(fd);
	return fd;
}
