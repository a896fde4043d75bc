/* tunnel.c - tl_tunnel_*, tl_dial. A tunnel owns its listener, a thread that accepts, and threads
 * for what a connection may have to wait for (tunnel_conn.c). It holds one stream of the session
 * for as long as it lives: its end is the end of the session, and of a reverse tunnel it is the
 * listener itself. */
#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "api/tunnel_priv.h"
#include "base/str.h"
#include "loop/io.h"
#include "wire/json.h"

#define PAUSE_MS 200 /* before the next try to accept, without descriptors or memory */

void tunnel_log(struct tl_tunnel *t, int level, const char *fmt, ...)
{
	char line[TL_ERR_TEXT + 100];
	va_list ap;

	if (!t->log)
		return;
	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	t->log(t->ctx, level, line);
}

void tunnel_over(struct tl_tunnel *t, const struct tl_err *why)
{
	static const uint64_t one = 1;

	pthread_mutex_lock(&t->lock);
	if (!t->over) {
		t->over = true;
		t->why = *why;
		(void)!write(t->over_fd, &one, sizeof(one));
	}
	pthread_mutex_unlock(&t->lock);
}

/* ---- the stream that lives as long as the tunnel ---- */

static char *forward_json(const struct tl_tunnel *t)
{
	yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *o = yyjson_mut_obj(doc);
	char *text;

	yyjson_mut_doc_set_root(doc, o);
	yyjson_mut_obj_add_str(doc, o, "open", "tcpip-forward");
	if (t->listen.path[0]) {
		yyjson_mut_obj_add_str(doc, o, "path", t->listen.path);
	} else {
		yyjson_mut_obj_add_str(doc, o, "address", t->listen.host);
		/* after a lost link the same port again */
		yyjson_mut_obj_add_int(doc, o, "port", t->port ? t->port : t->listen.port);
	}
	text = yyjson_mut_write(doc, 0, NULL);
	yyjson_mut_doc_free(doc);
	return text;
}

static int lifeline_open(struct tl_tunnel *t, struct tl_error *err)
{
	char *open = t->reverse ? forward_json(t) : str_dup("{\"open\":\"rpc\"}"), *ok = NULL;
	yyjson_doc *doc;
	int rc;

	if (!open)
		return api_failf(err, TL_E_INVAL,
				 "cannot listen on the host: the path is not UTF-8 text");
	rc = session_open_answered(t->session, open, t->stop, 0, &t->lifeline, &ok, err);
	free(open);
	if (rc == 0 && t->reverse) {
		doc = json_parse(bytes_str(ok ? ok : "{}"), NULL);
		t->port = (int)json_int(yyjson_doc_get_root(doc), "port", 0);
		yyjson_doc_free(doc);
	}
	free(ok);
	return rc;
}

/* The stream has ended: with the session, or alone, as when towlined found its host anew. */
static bool lifeline_renew(struct tl_tunnel *t)
{
	struct tl_error e = {0};
	struct tl_err why = {0};
	int rc;

	close(t->lifeline);
	t->lifeline = -1;
	rc = session_lost(t->session, &e);
	rc = rc ? rc : lifeline_open(t, &e);
	if (rc == 0)
		return true;
	if (rc != TL_E_CANCELED) {
		tunnel_log(t, 0, "%s", e.message);
		err_set(&why, rc, "%s", e.message);
		tunnel_over(t, &why);
	}
	return false;
}

/* ---- accepting ---- */

static void listeners_close(struct tl_tunnel *t)
{
	for (int i = 0; i < t->n_listeners; i++)
		close(t->listeners[i]);
	t->n_listeners = 0;
	if (t->unlink_path)
		unlink(t->listen.path);
	t->unlink_path = false;
}

/* false: not now; try again later */
static bool accept_one(struct tl_tunnel *t, int listener)
{
	struct sockaddr_storage sa;
	socklen_t n = sizeof(sa);
	char host[64] = "", port[16] = "", peer[82];
	int fd = accept4(listener, (struct sockaddr *)&sa, &n, SOCK_CLOEXEC);

	if (fd < 0)
		return errno == EAGAIN || errno == EINTR || errno == ECONNABORTED;
	tunnel_no_delay(fd);
	if (sa.ss_family != AF_UNIX)
		getnameinfo((struct sockaddr *)&sa, n, host, sizeof(host), port, sizeof(port),
			    NI_NUMERICHOST | NI_NUMERICSERV);
	snprintf(peer, sizeof(peer), "%s%s%s", host[0] ? host : "a local program",
		 host[0] ? " port " : "", port);
	if (tunnel_conn_start(t, fd, peer, "") == TL_E_NOMEM)
		return false;
	if (t->once)
		listeners_close(t);
	return true;
}

/* Lines of the listener on the host: {"id":…,"address":…,"port":…}. */
static void announced(struct tl_tunnel *t, struct tl_bytes line)
{
	yyjson_doc *doc = json_parse(line, NULL);
	yyjson_val *root = yyjson_doc_get_root(doc);
	const char *id = json_str(root, "id", "");
	char peer[82];

	snprintf(peer, sizeof(peer), "%.50s port %d", json_str(root, "address", "a program there"),
		 (int)json_int(root, "port", 0));
	if (!id[0] || strlen(id) >= 64)
		tunnel_log(t, 1, "the host announced a connection without a name");
	else
		(void)tunnel_conn_start(t, -1, peer, id); /* it says why not by itself */
	yyjson_doc_free(doc);
}

struct acceptor {
	struct tl_tunnel *t;
	size_t n; /* bytes of lines */
	bool pause, done;
	char lines[TL_LIMIT_OPEN_LINE];
};

/* false: the tunnel is over */
static bool read_lifeline(struct acceptor *a)
{
	struct tl_tunnel *t = a->t;
	ssize_t got = recv(t->lifeline, a->lines + a->n, sizeof(a->lines) - a->n, MSG_DONTWAIT);
	char *lf;

	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return true;
	if (got <= 0 || (size_t)got + a->n == sizeof(a->lines)) {
		a->n = 0;
		return lifeline_renew(t);
	}
	a->n += (size_t)got;
	while (!a->done && (lf = memchr(a->lines, '\n', a->n))) {
		size_t used = (size_t)(lf - a->lines) + 1;
		if (t->reverse)
			announced(t, bytes_of(a->lines, used - 1));
		a->done = t->once;
		a->n -= used;
		memmove(a->lines, a->lines + used, a->n);
	}
	return true;
}

static bool full(struct tl_tunnel *t)
{
	bool yes;

	pthread_mutex_lock(&t->lock);
	yes = t->connections >= TL_LIMIT_TUNNEL_CONNECTIONS;
	pthread_mutex_unlock(&t->lock);
	return yes;
}

/* false: the tunnel is over */
static bool accept_turn(struct acceptor *a)
{
	struct tl_tunnel *t = a->t;
	bool closed = a->pause || full(t);
	uint64_t count;
	struct pollfd pf[3 + TUNNEL_LISTENERS] = {
	    {.fd = cancel_fd(t->stop), .events = POLLIN},
	    {.fd = t->reverse && (closed || a->done) ? -1 : t->lifeline, .events = POLLIN},
	    {.fd = t->room_fd, .events = POLLIN}};

	for (int i = 0; i < t->n_listeners; i++)
		pf[3 + i] = (struct pollfd){.fd = closed ? -1 : t->listeners[i], .events = POLLIN};
	if (poll(pf, 3 + (nfds_t)t->n_listeners, a->pause ? PAUSE_MS : -1) < 0)
		return errno == EINTR;
	a->pause = false;
	if (pf[0].revents)
		return false;
	if (pf[2].revents)
		(void)!read(t->room_fd, &count, sizeof(count));
	if (pf[1].revents && !read_lifeline(a))
		return false;
	/* the first of a `once` tunnel closes the listeners */
	for (int i = t->n_listeners; i-- > 0 && t->n_listeners;)
		if (pf[3 + i].revents && !accept_one(t, t->listeners[i]))
			a->pause = true;
	return true;
}

static void *acceptor_main(void *arg)
{
	struct acceptor a = {.t = arg};

	while (accept_turn(&a))
		;
	listeners_close(a.t);
	return NULL;
}

/* ---- life ---- */

/* Stops the threads; the memory stays. */
static void halt(struct tl_tunnel *t)
{
	tl_cancel(t->stop);
	pthread_join(t->thread, NULL);
	pthread_mutex_lock(&t->lock);
	t->halting = true;
	if (session_can_carry(t->session)) {
		/* its answer counts as one more */
		t->connections++;
		session_carry_end(t->session, &t->carrier);
	}
	while (t->connections)
		pthread_cond_wait(&t->changed, &t->lock);
	pthread_mutex_unlock(&t->lock);
	if (t->lifeline >= 0)
		close(t->lifeline);
	t->lifeline = -1;
}

/* The session goes while the tunnel is still there. */
static void session_ends(struct session_user *u)
{
	struct tl_tunnel *t = (struct tl_tunnel *)((char *)u - offsetof(struct tl_tunnel, user));
	struct tl_err why;

	halt(t);
	t->session = NULL;
	err_set(&why, TL_E_LOST, "the tunnel ended with its session");
	tunnel_over(t, &why);
}

static void tunnel_free(struct tl_tunnel *t)
{
	listeners_close(t);
	if (t->lifeline >= 0)
		close(t->lifeline);
	if (t->room_fd >= 0)
		close(t->room_fd);
	if (t->over_fd >= 0)
		close(t->over_fd);
	tl_cancel_free(t->stop);
	pthread_cond_destroy(&t->changed);
	pthread_mutex_destroy(&t->lock);
	free(t);
}

static struct tl_tunnel *tunnel_new(struct tl_session *s, const struct tl_tunnel_options *o)
{
	struct tl_tunnel *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	t->session = s;
	t->user.ended = session_ends;
	t->carrier.answered = tunnel_conn_answered;
	t->carrier.ended = tunnel_conn_ended;
	t->reverse = o->reverse != 0;
	t->once = o->once != 0;
	t->socks = !o->target;
	t->log = o->log;
	t->ctx = o->ctx;
	t->lifeline = -1;
	t->stop = tl_cancel_new();
	t->room_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	t->over_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	pthread_mutex_init(&t->lock, NULL);
	pthread_cond_init(&t->changed, NULL);
	if (t->stop && t->room_fd >= 0 && t->over_fd >= 0)
		return t;
	tunnel_free(t);
	return NULL;
}

static int tunnel_parse(struct tl_tunnel *t, const struct tl_tunnel_options *o, struct tl_err *err)
{
	int rc = tunnel_listen_parse(o->listen, "cannot listen on", &t->listen, err);

	if (rc == 0 && o->target)
		rc = tunnel_target_parse(o->target, "cannot make a tunnel to", &t->target, err);
	return rc;
}

static int tunnel_begin(struct tl_tunnel *t, struct tl_error *err)
{
	struct tl_err e = {0};
	sigset_t all, old;
	int rc;

	if (!t->reverse && tunnel_listen(&t->listen, t->listeners, &t->n_listeners, &t->port, &e))
		return api_fail(err, &e);
	t->unlink_path = !t->reverse && t->listen.path[0];
	rc = lifeline_open(t, err);
	if (rc)
		return rc;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	rc = pthread_create(&t->thread, NULL, acceptor_main, t);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return rc ? api_fails(err, rc, "cannot start a thread for the tunnel") : 0;
}

int tl_tunnel_open(struct tl_session *s, const struct tl_tunnel_options *o, struct tl_tunnel **ret,
		   struct tl_error *err)
{
	struct tl_err e = {0};
	struct tl_tunnel *t;
	int rc;

	if (!s || !o || !ret || !o->listen)
		return api_failf(err, TL_E_INVAL,
				 "cannot make a tunnel: session, place to listen on or result is "
				 "missing");
	*ret = NULL;
	if (!API_HAS(o, struct tl_tunnel_options, ctx))
		return api_failf(err, TL_E_INVAL,
				 "cannot make a tunnel: the options were not made with "
				 "TL_TUNNEL_OPTIONS_INIT");
	t = tunnel_new(s, o);
	if (!t)
		return api_failf(err, TL_E_NOMEM, "cannot make a tunnel: out of memory");
	rc = tunnel_parse(t, o, &e);
	rc = rc ? api_fail(err, &e) : tunnel_begin(t, err);
	if (rc) {
		tunnel_free(t);
		return rc;
	}
	session_user_add(s, &t->user);
	*ret = t;
	api_ok(err);
	return 0;
}

int tl_tunnel_port(const struct tl_tunnel *t)
{
	return t ? t->port : 0;
}

int tl_tunnel_wait(struct tl_tunnel *t, struct tl_cancel *cancel, struct tl_error *err)
{
	struct tl_err why;

	if (!t)
		return api_failf(err, TL_E_INVAL, "cannot wait for a tunnel: there is none");
	for (;;) {
		struct pollfd pf[2] = {{.fd = t->over_fd, .events = POLLIN},
				       {.fd = cancel_fd(cancel), .events = POLLIN}};
		if (poll(pf, 2, -1) < 0)
			continue;
		if (pf[0].revents)
			break;
		if (pf[1].revents)
			return api_failf(err, TL_E_CANCELED, "canceled");
	}
	pthread_mutex_lock(&t->lock);
	why = t->why;
	pthread_mutex_unlock(&t->lock);
	if (why.code)
		return api_fail(err, &why);
	api_ok(err);
	return 0;
}

void tl_tunnel_close(struct tl_tunnel *t)
{
	if (!t)
		return;
	if (t->session) {
		session_user_remove(t->session, &t->user);
		halt(t);
	}
	tunnel_free(t);
}

int tl_dial(struct tl_session *s, const char *target, int *ret_fd, struct tl_error *err)
{
	struct tunnel_end end;
	struct tl_err e = {0};
	char *open;
	int rc;

	if (!s || !target || !ret_fd)
		return api_failf(err, TL_E_INVAL,
				 "cannot connect: session, target or result is missing");
	if (tunnel_target_parse(target, "cannot connect to", &end, &e))
		return api_fail(err, &e);
	open = tunnel_open_json(&end);
	if (!open)
		return api_failf(err, TL_E_INVAL, "cannot connect: the target is not UTF-8 text");
	rc = session_open_stream(s, open, ret_fd, err);
	free(open);
	return rc;
}
