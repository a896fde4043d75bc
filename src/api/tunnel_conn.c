/* tunnel_conn.c - one connection of a tunnel. Where the session can carry it, it does; what may
 * take long before, a SOCKS request or a connection made here, and copying where the session cannot
 * carry, is done by a thread. So no connection ever waits for another one. The tunnel waits for the
 * end of all of them. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api/tunnel_priv.h"
#include "base/str.h"
#include "wire/json.h"
#include "wire/socks5.h"

#define STACK_BYTES (512 * 1024)

struct conn {
	struct tl_tunnel *t;
	int fd;
	char peer[80];
	char id[64];
	struct tunnel_end target;
	struct tunnel_rest rest;
	struct tl_err failed; /* here: what is left to do is to tell the program there */
};

/* ---- the end ---- */

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

static void conn_over(struct conn *c, const struct tl_err *why)
{
	struct tl_tunnel *t = c->t;

	if (c->failed.code)
		why = &c->failed;
	if (why->code && why->code != TL_E_CANCELED)
		tunnel_log(t, 1, "%s: %s", c->peer, why->text);
	else if (!why->code)
		tunnel_log(t, 3, "%s: ended", c->peer);
	if (c->fd >= 0)
		close(c->fd);
	free(c);
	if (t->once)
		tunnel_over(t, why);
	leave(t);
}

/* ---- carried by the session ---- */

static struct tl_tunnel *tunnel_of(struct session_carrier *carrier)
{
	return (struct tl_tunnel *)((char *)carrier - offsetof(struct tl_tunnel, carrier));
}

static void told_connected(const struct conn *c)
{
	char where[TUNNEL_PATH_MAX];

	if (c->failed.code)
		return;
	tunnel_end_text(&c->target, where, sizeof(where));
	tunnel_log(c->t, 2, "%s: connected to %s", c->peer, where);
}

size_t tunnel_conn_answered(struct session_carrier *carrier, void *ctx, const struct tl_err *err,
			    uint8_t word[CARRY_WORD])
{
	struct tl_tunnel *t = tunnel_of(carrier);

	if (!err)
		told_connected(ctx);
	if (!t->socks)
		return 0;
	socks5_put_reply(word, err ? err->code : 0);
	return SOCKS5_REPLY_SIZE;
}

void tunnel_conn_ended(struct session_carrier *carrier, void *ctx, const struct tl_err *why)
{
	if (ctx)
		conn_over(ctx, why);
	else
		leave(tunnel_of(carrier));
}

/* The request for the host's end, malloc'ed. NULL: not UTF-8. */
static char *open_json(const struct conn *c)
{
	yyjson_mut_doc *doc;
	yyjson_mut_val *o;
	char *text;

	if (!c->id[0])
		return tunnel_open_json(&c->target);
	/* the connection that waits on the host under a name */
	doc = yyjson_mut_doc_new(NULL);
	o = yyjson_mut_obj(doc);
	yyjson_mut_doc_set_root(doc, o);
	yyjson_mut_obj_add_str(doc, o, "open", "forwarded-tcpip");
	yyjson_mut_obj_add_str(doc, o, "id", c->id);
	text = yyjson_mut_write(doc, 0, NULL);
	yyjson_mut_doc_free(doc);
	return text;
}

/* Gives the connection to the session; c is no longer ours then. */
static int carry(struct conn *c, struct tl_err *err)
{
	struct tl_tunnel *t = c->t;
	char *text = open_json(c);
	int rc, fd = c->fd;

	if (!text)
		return err_set(err, TL_E_INVAL, "cannot connect: the target is not UTF-8 text");
	c->fd = -1;
	/* with the lock: after the tunnel's last word to the session nothing may be added */
	pthread_mutex_lock(&t->lock);
	if (t->halting)
		rc = err_set(err, TL_E_CANCELED, "canceled");
	else
		rc = session_carry(t->session, &t->carrier, c, fd, text,
				   bytes_of(c->rest.bytes, c->rest.n), err);
	if (rc)
		c->fd = fd;
	pthread_mutex_unlock(&t->lock);
	free(text);
	return rc;
}

/* ---- a thread ---- */

static int open_stream(struct conn *c, int *ret_fd, struct tl_err *err)
{
	struct tl_error e = {0};
	char *text = open_json(c);
	int rc;

	if (!text)
		return err_set(err, TL_E_INVAL, "cannot connect: the target is not UTF-8 text");
	rc = session_open_answered(c->t->session, text, c->t->stop, 0, ret_fd, NULL, &e);
	free(text);
	return rc ? err_set(err, rc, "%s", e.message) : 0;
}

/* The session cannot carry it: copies until both directions have ended. */
static int copy(struct conn *c, struct tl_err *err)
{
	struct tl_tunnel *t = c->t;
	int far = -1, rc = open_stream(c, &far, err);

	if (t->socks)
		tunnel_socks_answer(c->fd, rc);
	if (rc)
		return rc;
	told_connected(c);
	tunnel_copy(c->fd, far, far, c->rest.bytes, c->rest.n, t->stop);
	c->fd = -1;
	return 0;
}

/* The program on the host must hear that nobody is here. 1: the session tells it. */
static int turn_away(struct conn *c, const struct tl_err *why)
{
	struct tl_err own;
	int far = -1;

	c->failed = *why;
	if (session_can_carry(c->t->session))
		return carry(c, &own) == 0 ? 1 : why->code;
	if (open_stream(c, &far, &own) == 0)
		close(far);
	return why->code;
}

/* 0: over; 1: the session carries it. */
static int serve(struct conn *c, struct tl_err *err)
{
	struct tl_tunnel *t = c->t;
	int rc = 0;

	if (t->socks)
		rc = tunnel_socks_ask(c->fd, t->stop, &c->target, &c->rest, err);
	if (t->reverse) {
		c->fd = tunnel_connect(&c->target, t->stop, err);
		if (c->fd < 0)
			return turn_away(c, err);
	}
	if (rc)
		return rc;
	if (!session_can_carry(t->session))
		return copy(c, err);
	rc = carry(c, err);
	return rc ? rc : 1;
}

static void *conn_main(void *arg)
{
	struct conn *c = arg;
	struct tl_err err = {0};

	if (serve(c, &err) != 1)
		conn_over(c, &err);
	return NULL;
}

static int thread_start(struct conn *c)
{
	pthread_attr_t attr;
	sigset_t all, old;
	pthread_t thread;
	int rc = TL_E_NOMEM;

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
	return rc;
}

int tunnel_conn_start(struct tl_tunnel *t, int fd, const char *peer, const char *id)
{
	struct conn *c = calloc(1, sizeof(*c));
	bool direct = !t->socks && !t->reverse && session_can_carry(t->session);
	struct tl_err err = {0};

	if (!c) {
		if (fd >= 0)
			close(fd);
		return TL_E_NOMEM;
	}
	c->t = t;
	c->fd = fd;
	c->target = t->target;
	str_copy(c->peer, sizeof(c->peer), peer);
	str_copy(c->id, sizeof(c->id), id);
	pthread_mutex_lock(&t->lock);
	t->connections++;
	pthread_mutex_unlock(&t->lock);
	if (direct ? carry(c, &err) == 0 : thread_start(c) == 0)
		return 0;
	if (!err.code)
		err_set(&err, TL_E_NOMEM, "cannot carry the connection: out of memory");
	conn_over(c, &err);
	return err.code;
}
