/* forward.c - makes one connection for a stream. */
#include "host/forward.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/str.h"
#include "host/forward_answer.h"
#include "loop/fsx.h"
#include "loop/io.h"
#include "loop/sock.h"

#define CONNECT_MS 30000

/* 0 or the errno of the failure. */
static int connect_deadline(int fd, const struct addrinfo *ai)
{
	struct pollfd pf = {.fd = fd, .events = POLLOUT};
	int e = 0;
	socklen_t n = sizeof(e);

	fd_set_nonblock(fd, true);
	if (connect(fd, ai->ai_addr, ai->ai_addrlen) == 0)
		return 0;
	if (errno != EINPROGRESS)
		return errno;
	if (poll(&pf, 1, CONNECT_MS) == 0)
		return ETIMEDOUT;
	return getsockopt(fd, SOL_SOCKET, SO_ERROR, &e, &n) == 0 ? e : errno;
}

/* Every address of the name in turn, as other clients do. */
static int connect_tcp(const char *host, int port, struct tl_err *err)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list = NULL;
	char service[8];
	int rc, fd = -1, e = EHOSTUNREACH;

	snprintf(service, sizeof(service), "%d", port);
	rc = getaddrinfo(host, service, &hints, &list);
	if (rc)
		return err_set(
		    err, TL_E_RESOLVE,
		    "cannot connect to %s port %d: the host does not know this name (%s)", host,
		    port, gai_strerror(rc));
	for (struct addrinfo *ai = list; ai && fd < 0; ai = ai->ai_next) {
		fd = socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (fd < 0) {
			e = errno;
			continue;
		}
		e = connect_deadline(fd, ai);
		if (e) {
			close(fd);
			fd = -1;
		}
	}
	freeaddrinfo(list);
	if (fd < 0) {
		rc = err_from_connect(e);
		return err_set(err, rc, "cannot connect to %s port %d: %s", host, port,
			       strerror(e));
	}
	return fd;
}

static int connect_path(const char *path, struct tl_err *err)
{
	char home[TL_LIMIT_PATH], *full;
	int fd;

	if (path[0] != '~' || path[1] != '/' || home_dir(home, sizeof(home)) != 0)
		return connect_unix(path, err);
	full = str_fmt("%s%s", home, path + 1);
	fd = full ? connect_unix(full, err) : TL_E_NOMEM;
	free(full);
	return fd;
}

int direct_main(int argc, char **argv)
{
	struct tl_err err = {0};
	yyjson_doc *doc = forward_request(&err);
	yyjson_val *root = yyjson_doc_get_root(doc);
	const char *host = json_str(root, "host", ""), *path = json_str(root, "path", "");
	int64_t port = json_int(root, "port", 0);
	int fd;

	(void)argc, (void)argv;
	signal(SIGPIPE, SIG_IGN);
	if (!doc)
		fd = err.code;
	else if (path[0])
		fd = connect_path(path, &err);
	else if (!host[0] || port < 1 || port > 65535)
		fd = err_set(&err, TL_E_INVAL,
			     "cannot open a connection: it needs host and port, or path");
	else
		fd = connect_tcp(host, (int)port, &err);
	yyjson_doc_free(doc);
	forward_hand_over(fd, &err);
	return 0;
}
