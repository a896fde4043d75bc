/* forward_listen.c - a listener on the host whose connections are fetched by the client, one stream
 * each.
 *
 * The listening child keeps accepted connections for a moment and gives them away over a socket of
 * its own: the child of a forwarded-tcpip stream connects there, names the connection and receives
 * its descriptor. That socket is an abstract one, so a private server leaves no file and no folder
 * behind; both sides look at the other's user. */
#include "host/forward.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/str.h"
#include "host/forward_answer.h"
#include "loop/fsx.h"
#include "loop/io.h"
#include "loop/loop.h"
#include "loop/sock.h"

#define WAITING_MAX 64
#define FETCH_MS    30000

struct waiting {
	int fd;
	unsigned long id;
	uint64_t until_ms;
};

struct forwarder {
	int listener, door;       /* for strangers; for our own forwarded-tcpip children */
	int successor;            /* who connects here takes the place over */
	char path[TL_LIMIT_PATH]; /* the listener's, removed at the end */
	char door_name[32];       /* fwd-ID */
	struct waiting waiting[WAITING_MAX];
	size_t n;
	unsigned long next_id;
};

static int listen_tcp(const char *address, int port, int *ret_port, struct tl_err *err)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
				 .ai_flags = AI_PASSIVE | AI_NUMERICHOST},
			*ai = NULL;
	struct sockaddr_storage sa;
	socklen_t n = sizeof(sa);
	char service[8];
	int fd, one = 1;

	if (strcmp(address, "localhost") == 0)
		address = "127.0.0.1";
	snprintf(service, sizeof(service), "%d", port);
	if (getaddrinfo(strcmp(address, "*") ? address : NULL, service, &hints, &ai) != 0)
		return err_set(err, TL_E_INVAL, "cannot listen on %s: not an address of the host",
			       address);
	fd = socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd >= 0)
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (fd < 0 || bind(fd, ai->ai_addr, ai->ai_addrlen) != 0 || listen(fd, 128) != 0) {
		int e = errno;
		freeaddrinfo(ai);
		if (fd >= 0)
			close(fd);
		err_sys(err, e, "cannot listen on %s port %d of the host", address, port);
		return e == EADDRINUSE ? (err ? err->code = TL_E_PORT : TL_E_PORT)
				       : err_from_errno(e);
	}
	freeaddrinfo(ai);
	getsockname(fd, (struct sockaddr *)&sa, &n);
	*ret_port = ntohs(((struct sockaddr_in *)&sa)->sin_port);
	return fd;
}

/* A unix socket of the host, ours alone. One that nobody listens on any more was left by a program
 * that was killed; anything else in its place stays. full: the path without ~, to be removed at the
 * end. */
static int listen_path(const char *path, char *full, size_t full_n, struct tl_err *err)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	char home[TL_LIMIT_PATH] = "";
	bool below_home = str_starts(path, "~/");
	struct stat st;
	int fd, e;

	if (below_home && home_dir(home, sizeof(home)) != 0)
		return err_set(err, TL_E_NOENT, "cannot listen on %.200s of the host: no home",
			       path);
	if (!below_home && path[0] != '/')
		return err_set(err, TL_E_INVAL,
			       "cannot listen on %.200s of the host: no absolute path", path);
	e = snprintf(full, full_n, "%s%s", home, below_home ? path + 1 : path);
	if (e < 0 || (size_t)e >= full_n || !str_copy(sa.sun_path, sizeof(sa.sun_path), full))
		return err_set(
		    err, TL_E_INVAL,
		    "cannot listen on %.120s of the host: the path of a socket has at most "
		    "%zu bytes",
		    path, sizeof(sa.sun_path) - 1);
	if (lstat(full, &st) == 0 && S_ISSOCK(st.st_mode) && st.st_uid == geteuid()) {
		fd = connect_unix(full, NULL);
		if (fd == TL_E_REFUSED)
			unlink(full);
		else if (fd >= 0)
			close(fd);
	}
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	/* the mode is the socket's before anybody can see it */
	if (fd >= 0 && fchmod(fd, 0600) == 0 && bind(fd, (struct sockaddr *)&sa, sizeof(sa)) == 0) {
		if (listen(fd, 128) == 0)
			return fd;
		e = errno;
		unlink(full);
	} else {
		e = errno;
	}
	if (fd >= 0)
		close(fd);
	*full = 0;
	if (e == EADDRINUSE)
		return err_set(err, TL_E_EXIST,
			       "cannot listen on %s of the host: the file exists already", path);
	return err_sys(err, e, "cannot listen on %s of the host", path);
}

/* The abstract address of a door. */
static socklen_t door_address(struct sockaddr_un *sa, const char *name)
{
	int n;

	memset(sa, 0, sizeof(*sa));
	sa->sun_family = AF_UNIX;
	n = snprintf(sa->sun_path + 1, sizeof(sa->sun_path) - 1, "towline-%s", name);
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n);
}

/* The private door, under a name nobody can guess. */
static int open_door(struct forwarder *f, struct tl_err *err)
{
	struct sockaddr_un sa;
	char id[17];
	socklen_t n;

	random_id(id, 16);
	snprintf(f->door_name, sizeof(f->door_name), "fwd-%s", id);
	n = door_address(&sa, f->door_name);
	f->door = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (f->door < 0 || bind(f->door, (struct sockaddr *)&sa, n) != 0 ||
	    listen(f->door, 64) != 0)
		return err_sys(err, errno, "cannot make a socket on the host");
	return 0;
}

/* A client that was killed leaves its link behind, which waits for it with its listeners. The next
 * one knows the same key: the old listener ends, so that the port is free again. */
static void succeed(struct forwarder *f, const char *key)
{
	const struct timeval patience = {.tv_sec = 5};
	struct sockaddr_un sa;
	char name[80], byte;
	socklen_t n;
	uid_t uid;
	int old;

	if (!key[0] || strlen(key) > 64)
		return;
	snprintf(name, sizeof(name), "own-%s", key);
	n = door_address(&sa, name);
	old = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (old >= 0 && connect(old, (struct sockaddr *)&sa, n) == 0 && peer_uid(old, &uid) == 0 &&
	    uid == geteuid()) {
		setsockopt(old, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
		(void)!read(old, &byte, 1); /* its end */
	}
	if (old >= 0)
		close(old);
	f->successor = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (f->successor >= 0 &&
	    (bind(f->successor, (struct sockaddr *)&sa, n) != 0 || listen(f->successor, 8) != 0)) {
		close(f->successor);
		f->successor = -1; /* it works without */
	}
}

/* Somebody of this user wants the place? He gets the port first, and then hears of our end: at the
 * exit of a process the order of closing is not defined. */
static bool has_successor(struct forwarder *f)
{
	int fd = accept4(f->successor, NULL, NULL, SOCK_CLOEXEC);
	uid_t uid;

	if (fd < 0)
		return false;
	if (peer_uid(fd, &uid) != 0 || uid != geteuid()) {
		close(fd);
		return false;
	}
	if (*f->path)
		unlink(f->path);
	*f->path = 0; /* the next one's from now on */
	close(f->listener);
	close(f->successor);
	close(fd);
	return true;
}

static void forget(struct forwarder *f, size_t i)
{
	f->waiting[i] = f->waiting[--f->n];
}

static void accept_stranger(struct forwarder *f)
{
	struct sockaddr_storage sa;
	socklen_t n = sizeof(sa);
	char host[64] = "a program there", port[16] = "0", line[256];
	const char *key = f->door_name;
	int fd = accept4(f->listener, (struct sockaddr *)&sa, &n, SOCK_CLOEXEC), len;

	if (fd < 0)
		return;
	if (f->n == WAITING_MAX) {
		close(fd);
		return;
	}
	if (sa.ss_family != AF_UNIX)
		getnameinfo((struct sockaddr *)&sa, n, host, sizeof(host), port, sizeof(port),
			    NI_NUMERICHOST | NI_NUMERICSERV);
	f->waiting[f->n++] =
	    (struct waiting){.fd = fd, .id = ++f->next_id, .until_ms = clock_mono_ms() + FETCH_MS};
	len = snprintf(line, sizeof(line), "{\"id\":\"%s/%lu\",\"address\":\"%s\",\"port\":%s}\n",
		       key, f->next_id, host, port);
	if (fd_write_all(1, line, (size_t)len, FETCH_MS) != 0) {
		close(fd);
		f->n--;
	}
}

/* One of our own fetches: a line with the number, answered by the descriptor. */
static void give_away(struct forwarder *f)
{
	int fd = accept4(f->door, NULL, NULL, SOCK_CLOEXEC);
	struct timeval soon = {.tv_sec = 2};
	uid_t uid;
	char text[24] = "";
	long long id;

	if (fd < 0)
		return;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &soon, sizeof(soon));
	if (peer_uid(fd, &uid) == 0 && uid == geteuid() && read(fd, text, sizeof(text) - 1) > 0 &&
	    str_to_int(text, 1, INT64_MAX, &id)) {
		for (size_t i = 0; i < f->n; i++) {
			if (f->waiting[i].id != (unsigned long)id)
				continue;
			send_fds(fd, &f->waiting[i].fd, 1);
			close(f->waiting[i].fd);
			forget(f, i);
			break;
		}
	}
	close(fd);
}

static void drop_old(struct forwarder *f)
{
	uint64_t now = clock_mono_ms();

	for (size_t i = f->n; i-- > 0;)
		if (f->waiting[i].until_ms <= now) {
			close(f->waiting[i].fd);
			forget(f, i);
		}
}

static void serve(struct forwarder *f)
{
	for (;;) {
		struct pollfd pf[4] = {{.fd = 0, .events = POLLIN},
				       {.fd = f->listener, .events = POLLIN},
				       {.fd = f->door, .events = POLLIN},
				       {.fd = f->successor, .events = POLLIN}};
		char byte;
		if (poll(pf, 4, f->n ? 1000 : -1) < 0 && errno != EINTR)
			return;
		/* the client says nothing on this stream: bytes are ignored, the end ends the
		 * listener */
		if ((pf[0].revents & (POLLIN | POLLHUP | POLLERR)) && read(0, &byte, 1) <= 0)
			return;
		if (pf[1].revents)
			accept_stranger(f);
		if (pf[2].revents)
			give_away(f);
		if (pf[3].revents && has_successor(f))
			return;
		drop_old(f);
	}
}

/* The listener that was asked for. 0 or TL_E_*. */
static int open_listener(struct forwarder *f, yyjson_val *request, int *ret_port,
			 struct tl_err *err)
{
	int64_t want = json_int(request, "port", 0);
	const char *path = json_str(request, "path", "");

	if (want < 0 || want > 65535)
		return err_set(err, TL_E_INVAL, "cannot listen: %lld is not a port",
			       (long long)want);
	succeed(f, json_str(request, "key", ""));
	f->listener =
	    *path ? listen_path(path, f->path, sizeof(f->path), err)
		  : listen_tcp(json_str(request, "address", "127.0.0.1"), (int)want, ret_port, err);
	return f->listener < 0 ? f->listener : 0;
}

int listen_main(int argc, char **argv)
{
	struct forwarder f = {.listener = -1, .door = -1, .successor = -1};
	struct tl_err err = {0};
	yyjson_doc *doc = forward_request(&err);
	yyjson_val *root = yyjson_doc_get_root(doc);
	int port = 0, rc = doc ? 0 : err.code;

	(void)argc, (void)argv;
	signal(SIGPIPE, SIG_IGN);
	if (rc == 0)
		rc = open_door(&f, &err);
	if (rc == 0)
		rc = open_listener(&f, root, &port, &err);
	yyjson_doc_free(doc);
	if (forward_answer_put(port, rc ? &err : NULL) == 0 && rc == 0)
		serve(&f);
	if (*f.path)
		unlink(f.path);
	return 0;
}

/* "fwd-x.sock/7": the door, which must be a plain name, and the number. */
static int fetch(const char *id, struct tl_err *err)
{
	const char *slash = strchr(id, '/');
	struct sockaddr_un sa;
	socklen_t n;
	uid_t uid;
	char name[48];
	int sock, fd = -1, rc;

	if (!slash || !str_starts(id, "fwd-") || slash - id > 40 || strchr(slash + 1, '/'))
		return err_set(err, TL_E_INVAL,
			       "cannot take a connection over: “%.60s” is no connection", id);
	snprintf(name, sizeof(name), "%.*s", (int)(slash - id), id);
	n = door_address(&sa, name);
	sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (sock < 0 || connect(sock, (struct sockaddr *)&sa, n) != 0 ||
	    peer_uid(sock, &uid) != 0 || uid != geteuid()) {
		if (sock >= 0)
			close(sock);
		return err_set(err, TL_E_CLOSED,
			       "cannot take a connection over: its listener has ended");
	}
	rc = fd_write_all(sock, slash + 1, strlen(slash + 1), 2000);
	if (rc == 0)
		rc = recv_fds(sock, &fd, 1);
	close(sock);
	return rc ? err_set(err, TL_E_CLOSED, "cannot take a connection over: it is gone") : fd;
}

int forwarded_main(int argc, char **argv)
{
	struct tl_err err = {0};
	yyjson_doc *doc = forward_request(&err);
	int fd = doc ? fetch(json_str(yyjson_doc_get_root(doc), "id", ""), &err) : err.code;

	(void)argc, (void)argv;
	signal(SIGPIPE, SIG_IGN);
	yyjson_doc_free(doc);
	forward_hand_over(fd, &err);
	return 0;
}
