/* tunnel_conn.c - one connection of a tunnel: a thread that reaches the other end, which may take
 * long or fail, and then copies. So no connection ever waits for another one. A thread ends with
 * its connection or when the tunnel is stopped; the tunnel waits for all of them. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api/tunnel_priv.h"
#include "base/str.h"
#include "wire/json.h"

#define STACK_BYTES (512 * 1024)

struct conn {
	struct tl_tunnel *t;
	int fd;
	char peer[80];
	char id[64];
	struct tunnel_rest rest;
};

/* ---- the two ends ---- */

static int open_stream(struct conn *c, const char *open_json, int *ret_fd, struct tl_err *err)
{
	struct tl_error e = {0};
	int rc;

	if (!open_json)
		return err_set(err, TL_E_INVAL, "cannot connect: the target is not UTF-8 text");
	rc = session_open_answered(c->t->session, open_json, c->t->stop, 0, ret_fd, NULL, &e);
	return rc ? err_set(err, rc, "%s", e.message) : 0;
}

/* The connection that waits on the host under a name. */
static int fetch(struct conn *c, struct tl_err *err)
{
	yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *o = yyjson_mut_obj(doc);
	char *text;
	int rc;

	yyjson_mut_doc_set_root(doc, o);
	yyjson_mut_obj_add_str(doc, o, "open", "forwarded-tcpip");
	yyjson_mut_obj_add_str(doc, o, "id", c->id);
	text = yyjson_mut_write(doc, 0, NULL);
	yyjson_mut_doc_free(doc);
	rc = open_stream(c, text, &c->fd, err);
	free(text);
	return rc;
}

static int reach(struct conn *c, const struct tunnel_end *target, int *ret_fd, struct tl_err *err)
{
	char *text;
	int rc;

	if (c->t->reverse) {
		*ret_fd = tunnel_connect(target, c->t->stop, err);
		return *ret_fd < 0 ? *ret_fd : 0;
	}
	text = tunnel_open_json(target);
	rc = open_stream(c, text, ret_fd, err);
	free(text);
	return rc;
}

static int serve(struct conn *c, struct tl_err *err)
{
	struct tl_tunnel *t = c->t;
	struct tunnel_end target = t->target;
	char where[TUNNEL_PATH_MAX];
	int far = -1, rc = 0;

	if (c->id[0])
		rc = fetch(c, err);
	if (rc == 0 && t->socks)
		rc = tunnel_socks_ask(c->fd, t->stop, &target, &c->rest, err);
	if (rc)
		return rc;
	tunnel_end_text(&target, where, sizeof(where));
	rc = reach(c, &target, &far, err);
	if (t->socks)
		tunnel_socks_answer(c->fd, rc);
	if (rc)
		return rc;
	tunnel_log(t, 2, "%s: connected to %s", c->peer, where);
	tunnel_copy(c->fd, far, t->reverse ? c->fd : far, c->rest.bytes, c->rest.n, t->stop);
	c->fd = -1;
	return 0;
}

/* ---- the thread ---- */

static void leave(struct tl_tunnel *t)
{
	static const uint64_t one = 1;

	pthread_mutex_lock(&t->lock);
	t->connections--;
	(void)!write(t->room_fd, &one, sizeof(one));
	pthread_cond_broadcast(&t->changed);
	/* from here on the tunnel may be freed */
	pthread_mutex_unlock(&t->lock);
}

static void *conn_main(void *arg)
{
	struct conn *c = arg;
	struct tl_tunnel *t = c->t;
	struct tl_err err = {0};
	int rc = serve(c, &err);

	if (rc && rc != TL_E_CANCELED)
		tunnel_log(t, 1, "%s: %s", c->peer, err.text);
	else if (rc == 0)
		tunnel_log(t, 3, "%s: ended", c->peer);
	if (c->fd >= 0)
		close(c->fd);
	free(c);
	if (t->once)
		tunnel_over(t, &err);
	leave(t);
	return NULL;
}

int tunnel_conn_start(struct tl_tunnel *t, int fd, const char *peer, const char *id)
{
	struct conn *c = calloc(1, sizeof(*c));
	pthread_attr_t attr;
	sigset_t all, old;
	pthread_t thread;
	int rc = TL_E_NOMEM;

	if (!c) {
		if (fd >= 0)
			close(fd);
		return TL_E_NOMEM;
	}
	c->t = t;
	c->fd = fd;
	str_copy(c->peer, sizeof(c->peer), peer);
	str_copy(c->id, sizeof(c->id), id);
	pthread_mutex_lock(&t->lock);
	t->connections++;
	pthread_mutex_unlock(&t->lock);
	/* signals are the program's, not ours */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	if (pthread_attr_init(&attr) == 0) {
		pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
		pthread_attr_setstacksize(&attr, STACK_BYTES);
		rc = pthread_create(&thread, &attr, conn_main, c) == 0 ? 0 : TL_E_NOMEM;
		pthread_attr_destroy(&attr);
	}
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (rc) {
		if (fd >= 0)
			close(fd);
		free(c);
		leave(t);
	}
	return rc;
}
