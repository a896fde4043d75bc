/* session_carry.c - local connections carried by a session of our own: the session's loop takes
 * the socket itself, so that between program and stream there is no thread and no copy more. Other
 * threads put requests into the session; everything else here is the loop's. */
#include <stdlib.h>
#include <unistd.h>

#include "api/session_own.h"

/* One connection. Until the loop has taken it: in session_own.carries. */
struct own_carry {
	struct list node;
	struct session_carrier *carrier;
	struct conn_relay *relay;
	void *ctx;
	int fd;
	char *open_json;
	size_t first_n;
	uint8_t first[];
};

/* ---- the loop's thread ---- */

static void on_answered(void *ctx, struct conn_relay *r, const struct tl_err *err)
{
	struct own_carry *c = ctx;
	uint8_t word[CARRY_WORD];
	size_t n = c->carrier->answered(c->carrier, c->ctx, err, word);

	if (n)
		conn_relay_say(r, bytes_of(word, n));
}

static void carry_over(struct own_carry *c, const struct tl_err *why)
{
	struct session_carrier *carrier = c->carrier;
	void *ctx = c->ctx;

	list_del(&c->node);
	free(c->open_json);
	free(c);
	carrier->ended(carrier, ctx, why);
}

static void on_ended(void *ctx, struct conn_relay *r, const struct tl_err *why)
{
	(void)r;
	carry_over(ctx, why);
}

static void carry_begin(struct session_own *o, struct own_carry *c)
{
	struct conn_relay_spec spec = {.fd = c->fd,
				       .open_json = c->open_json,
				       .first = bytes_of(c->first, c->first_n),
				       .on_answered = on_answered,
				       .on_ended = on_ended,
				       .ctx = c};
	struct tl_err err = {0};

	if (!o->core) {
		if (c->fd >= 0)
			close(c->fd);
		err_set(&err, TL_E_LOST, "the connection to %s was lost", o->session->host);
		carry_over(c, &err);
		return;
	}
	list_add_tail(&o->carried, &c->node);
	if (conn_relay_start(&o->conns, &spec, &c->relay, &err) != 0)
		carry_over(c, &err);
}

/* Ends what one carrier has, and says when there is no more: then it may be freed. */
static void carrier_over(struct session_own *o, struct session_carrier *carrier)
{
	struct tl_err why;
	bool more = true;

	err_set(&why, TL_E_CANCELED, "canceled");
	while (more) {
		more = false;
		LIST_FOREACH (it, &o->carried) {
			struct own_carry *c = list_entry(it, struct own_carry, node);
			if (c->carrier != carrier)
				continue;
			conn_relay_end(c->relay, &why);
			more = true;
			break;
		}
	}
	carrier->ended(carrier, NULL, &why);
}

static struct list *take_first(struct session_own *o, struct list *head)
{
	struct list *it = NULL;

	pthread_mutex_lock(&o->lock);
	if (!list_empty(head)) {
		it = head->next;
		list_del(it);
	}
	pthread_mutex_unlock(&o->lock);
	return it;
}

void carry_wake(struct session_own *o)
{
	struct list *it;

	while ((it = take_first(o, &o->carries)))
		carry_begin(o, list_entry(it, struct own_carry, node));
	while ((it = take_first(o, &o->carry_ends)))
		carrier_over(o, list_entry(it, struct session_carrier, node));
	conn_relays_serve(&o->conns);
}

void carry_init(struct session_own *o)
{
	conn_relays_init(&o->conns, &o->pump);
	list_init(&o->carried);
	list_init(&o->carries);
	list_init(&o->carry_ends);
}

void carry_lost(struct session_own *o)
{
	struct tl_err why;

	err_set(&why, TL_E_LOST, "the connection to %s was lost", o->session->host);
	conn_relays_end(&o->conns, &why);
}

/* ---- other threads ---- */

int own_carry(struct tl_session *s, struct session_carrier *carrier, void *ctx, int fd,
	      const char *open_json, struct tl_bytes first, struct tl_err *err)
{
	struct session_own *o = s->own;
	struct own_carry *c = calloc(1, sizeof(*c) + first.n);
	int rc = 0;

	if (c)
		c->open_json = str_dup(open_json);
	if (!c || !c->open_json) {
		free(c);
		return err_set(err, TL_E_NOMEM, "cannot carry a connection: out of memory");
	}
	c->carrier = carrier;
	c->ctx = ctx;
	c->fd = fd;
	c->first_n = first.n;
	if (first.n)
		memcpy(c->first, first.p, first.n);
	pthread_mutex_lock(&o->lock);
	if (o->state == OWN_UP && !o->quit) {
		list_add_tail(&o->carries, &c->node);
		wake_send(&o->wake);
	} else {
		rc = err_set(err, TL_E_LOST, "the connection to %s was lost%s%s", s->host,
			     o->why.text[0] ? ": " : "", o->why.text);
	}
	pthread_mutex_unlock(&o->lock);
	if (rc) {
		free(c->open_json);
		free(c);
	}
	return rc;
}

void own_carry_end(struct tl_session *s, struct session_carrier *carrier)
{
	struct session_own *o = s->own;

	pthread_mutex_lock(&o->lock);
	list_add_tail(&o->carry_ends, &carrier->node);
	wake_send(&o->wake);
	pthread_mutex_unlock(&o->lock);
}
