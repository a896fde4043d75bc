/* conn_relay.c - see conn_relay.h. Owns the descriptor and the stream of a connection until one of
 * them breaks or both directions have ended. Holds no bytes: it reads what the stream takes and
 * consumes what the socket took. */
#include "dial/conn_relay.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/str.h"
#include "dial/stream_class.h"
#include "wire/jsonrpc.h"

#define READ_BYTES 65536

_Static_assert(TL_LIMIT_OPEN_LINE + CONN_RELAY_FIRST <= TL_LIMIT_MUX_SEND_QUEUE,
	       "a fresh stream takes the opening line and what follows it");

struct conn_relay {
	struct pump_user user; /* of its stream */
	struct list node;
	struct conn_relays *set;
	struct io io;           /* not open: nothing here, see conn_relay_spec.fd */
	struct loop_timer last; /* then: frees it outside of its own calls */
	struct session_stream *stream;
	struct conn_counters *counters;
	struct conn_counters own; /* without the owner's */
	char *line;               /* opening object and LF, until it is sent */
	enum session_class cls;
	bool answered, said; /* the host has answered; the owner had a last word */
	bool local_eof, host_eof, over;
	bool full; /* the stream took no more: WRITABLE comes */
	size_t first_n;
	void (*on_answered)(void *ctx, struct conn_relay *r, const struct tl_err *err);
	void (*on_ended)(void *ctx, struct conn_relay *r, const struct tl_err *why);
	void *ctx;
	uint8_t first[]; /* first_n bytes */
};

void conn_relays_init(struct conn_relays *set, struct pump *p)
{
	set->pump = p;
	set->count = 0;
	list_init(&set->live);
	list_init(&set->waiting);
}

/* ---- the end ---- */

static void relay_free(void *ctx)
{
	struct conn_relay *r = ctx;

	free(r->line);
	free(r);
}

/* hard: the local program must not take what broke for what is complete. */
static void relay_over(struct conn_relay *r, bool hard, const struct tl_err *why)
{
	static const struct linger now = {.l_onoff = 1};
	static const struct tl_err good = {0};
	struct tl_err copy = why ? *why : good;

	if (r->over)
		return;
	r->over = true;
	list_del(&r->node);
	r->set->count--;
	r->counters->open--;
	if (r->stream) {
		session_stream_set_user(r->stream, NULL);
		session_reset(r->stream);
		r->stream = NULL;
	}
	if (r->io.open && hard)
		(void)setsockopt(r->io.rfd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	if (r->on_ended)
		r->on_ended(r->ctx, r, &copy);
	if (r->io.open)
		io_close(&r->io, relay_free);
	else
		timer_close(&r->last, relay_free);
}

static void relay_broken(struct conn_relay *r, int code, const char *what)
{
	struct tl_err e;

	err_set(&e, code, "the connection was reset %s", what);
	relay_over(r, true, &e);
}

/* ---- from the host ---- */

static void to_local(struct conn_relay *r)
{
	struct tl_bytes b;

	while (r->stream && (b = session_peek(r->stream)).n > 0) {
		long n = io_write(&r->io, b.p, b.n);
		if (n < 0) {
			relay_broken(r, TL_E_CLOSED, "by the program here");
			return;
		}
		r->counters->bytes_in += (size_t)n;
		session_consume(r->stream, (size_t)n);
		if ((size_t)n < b.n) {
			io_want_write(&r->io, true);
			return;
		}
	}
	if (r->stream && session_eof(r->stream) && !r->host_eof) {
		r->host_eof = true;
		io_finish(&r->io);
	}
}

static void refused(struct conn_relay *r, const struct tl_err *why)
{
	struct tl_err copy = *why;

	r->answered = true;
	if (r->on_answered)
		r->on_answered(r->ctx, r, &copy);
	relay_over(r, !r->said, &copy);
}

static void accepted(struct conn_relay *r)
{
	struct tl_err e;

	r->answered = true;
	if (r->on_answered)
		r->on_answered(r->ctx, r, NULL);
	if (!r->over && !r->io.open) {
		err_set(&e, TL_E_REFUSED, "nobody takes the connection here");
		relay_over(r, true, &e);
	}
}

/* The host's first line. */
static void take_answer(struct conn_relay *r)
{
	struct jsonrpc_msg m = {0};
	struct tl_err e = {0};
	struct tl_bytes line;
	yyjson_doc *doc;
	size_t used;
	int rc = open_next_line(session_peek(r->stream), &line, &used);

	if (rc == 0 && !session_eof(r->stream))
		return;
	doc = rc == 1 ? json_parse(line, &e) : NULL;
	if (json_get(yyjson_doc_get_root(doc), "ok")) {
		session_consume(r->stream, used);
		accepted(r);
	} else {
		m.error = json_get(yyjson_doc_get_root(doc), "error");
		if (m.error)
			jsonrpc_error_of(&m, &e);
		else
			err_set(&e, TL_E_PROTO, "the host gave no valid answer to a connection");
		refused(r, &e);
	}
	yyjson_doc_free(doc);
}

void conn_relay_say(struct conn_relay *r, struct tl_bytes b)
{
	/* nothing was written before: an empty socket takes a few bytes, and a program that has
	 * gone is noticed by what comes next */
	if (r->io.open && io_write(&r->io, b.p, b.n) == (long)b.n)
		r->said = true;
}

/* ---- from here ---- */

static void from_local(struct conn_relay *r)
{
	uint8_t in[READ_BYTES];

	/* a stream's queue bounds the turn: others have theirs when it is full */
	r->full = false;
	while (r->stream && !r->local_eof) {
		size_t room = session_writable(r->stream);
		long n;
		if (room == 0) {
			/* nothing is taken; asking is what makes WRITABLE come */
			(void)session_write(r->stream, bytes_of(in, 1));
			r->full = true;
			return;
		}
		if (room > sizeof(in))
			room = sizeof(in);
		n = io_read(&r->io, in, room);
		if (n == TL_E_AGAIN)
			break;
		if (n < 0) {
			relay_broken(r, TL_E_CLOSED, "by the program here");
			return;
		}
		if (n == 0) {
			r->local_eof = true;
			io_want_read(&r->io, false);
			session_finish(r->stream);
			return;
		}
		if (session_write(r->stream, bytes_of(in, (size_t)n)) != n) {
			relay_broken(r, TL_E_NOMEM, "for want of memory");
			return;
		}
		r->counters->bytes_out += (size_t)n;
		if ((size_t)n < room)
			break;
	}
	if (r->stream && !r->local_eof)
		io_want_read(&r->io, true);
}

/* ---- the loop's and the session's calls ---- */

static void on_readable(void *ctx)
{
	struct conn_relay *r = ctx;
	struct pump *p = r->set->pump;

	from_local(r);
	pump_kick(p);
	/* still so after the link took what it takes: only now, since the switch costs more than
	 * the bytes of a short stop */
	if (r->full && !r->over)
		io_want_read(&r->io, false);
}

static void on_writable(void *ctx)
{
	struct conn_relay *r = ctx;
	struct pump *p = r->set->pump;

	if (r->answered && r->stream)
		to_local(r);
	pump_kick(p);
}

/* Both directions are gone here: reset, or closed by a program that said its end before. */
static void on_hangup(void *ctx)
{
	struct conn_relay *r = ctx;
	struct pump *p = r->set->pump;
	int e = 0;
	socklen_t n = sizeof(e);

	if (getsockopt(r->io.rfd, SOL_SOCKET, SO_ERROR, &e, &n) == 0 && e) {
		relay_broken(r, TL_E_CLOSED, "by the program here");
		pump_kick(p);
	} else if (!r->stream) {
		relay_broken(r, TL_E_CLOSED, "by the program here before it was carried");
	}
}

static void relay_event(struct pump_user *u, const struct session_event *ev)
{
	struct conn_relay *r = (struct conn_relay *)(void *)u;
	struct conn_relays *set = r->set;
	struct tl_err e;

	switch (ev->type) {
	case SESSION_EV_READABLE:
		if (!r->answered)
			take_answer(r);
		if (!r->over && r->answered)
			to_local(r);
		break;
	case SESSION_EV_WRITABLE:
		from_local(r);
		break;
	case SESSION_EV_CLOSED:
		r->stream = NULL;
		if (ev->error == 0 && r->answered) {
			relay_over(r, false, NULL);
			break;
		}
		err_set(&e, ev->error ? ev->error : TL_E_CLOSED,
			"the connection was reset by the host");
		if (r->answered)
			relay_over(r, true, &e);
		else
			refused(r, &e);
		break;
	default:
		break;
	}
	conn_relays_serve(set);
}

/* ---- life ---- */

static bool attach(struct conn_relay *r)
{
	struct session *s = r->set->pump->session;

	r->stream = s ? session_open(s, r->cls) : NULL;
	if (!r->stream)
		return false;
	list_del(&r->node);
	list_add_tail(&r->set->live, &r->node);
	session_stream_set_user(r->stream, &r->user);
	if (session_write(r->stream, bytes_str(r->line)) != (long)strlen(r->line) ||
	    session_write(r->stream, bytes_of(r->first, r->first_n)) != (long)r->first_n) {
		relay_broken(r, TL_E_NOMEM, "for want of memory");
		return true;
	}
	r->counters->bytes_out += r->first_n;
	free(r->line);
	r->line = NULL;
	if (r->io.open)
		io_want_read(&r->io, true);
	return true;
}

void conn_relays_serve(struct conn_relays *set)
{
	while (!list_empty(&set->waiting))
		if (!attach(list_entry(set->waiting.next, struct conn_relay, node)))
			return;
}

static int relay_prepare(struct conn_relay *r, const struct conn_relay_spec *spec,
			 struct tl_err *err)
{
	yyjson_doc *doc = json_parse(bytes_str(spec->open_json), err);

	if (!doc)
		return err ? err->code : TL_E_INVAL;
	r->cls = stream_class(yyjson_doc_get_root(doc));
	yyjson_doc_free(doc);
	r->line = str_fmt("%s\n", spec->open_json);
	if (!r->line)
		return err_set(err, TL_E_NOMEM, "cannot carry a connection: out of memory");
	return strlen(r->line) <= TL_LIMIT_OPEN_LINE
		   ? 0
		   : err_set(err, TL_E_LIMIT,
			     "cannot carry a connection: the request is longer than %d bytes",
			     TL_LIMIT_OPEN_LINE);
}

static struct conn_relay *relay_new(struct conn_relays *set, const struct conn_relay_spec *spec,
				    struct tl_err *err)
{
	struct conn_relay *r;

	if (spec->first.n > CONN_RELAY_FIRST) {
		err_set(err, TL_E_LIMIT, "cannot carry a connection: it said too much before");
		return NULL;
	}
	r = calloc(1, sizeof(*r) + spec->first.n);
	if (!r) {
		err_set(err, TL_E_NOMEM, "cannot carry a connection: out of memory");
		return NULL;
	}
	if (relay_prepare(r, spec, err) != 0) {
		relay_free(r);
		return NULL;
	}
	r->user.event = relay_event;
	r->set = set;
	r->counters = spec->counters ? spec->counters : &r->own;
	r->on_answered = spec->on_answered;
	r->on_ended = spec->on_ended;
	r->ctx = spec->ctx;
	r->first_n = spec->first.n;
	if (spec->first.n)
		memcpy(r->first, spec->first.p, spec->first.n);
	return r;
}

/* Takes the descriptor. */
static int relay_take_fd(struct conn_relay *r, int fd, struct tl_err *err)
{
	int one = 1;

	if (io_open(r->set->pump->loop, &r->io, fd, fd, on_readable, on_writable, r) != 0)
		return err_set(err, TL_E_NOMEM, "cannot carry a connection: out of memory");
	/* small writes are answers somebody waits for; a unix socket has no such switch */
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	io_want_read(&r->io, false);
	io_watch_hangup(&r->io, on_hangup);
	return 0;
}

int conn_relay_start(struct conn_relays *set, const struct conn_relay_spec *spec,
		     struct conn_relay **ret, struct tl_err *err)
{
	struct tl_err e = {0};
	struct conn_relay *r = relay_new(set, spec, &e);

	if (r && spec->fd >= 0 && relay_take_fd(r, spec->fd, &e) != 0) {
		relay_free(r);
		r = NULL;
	}
	if (!r) {
		if (spec->fd >= 0)
			close(spec->fd);
		if (err)
			*err = e;
		return e.code;
	}
	if (spec->fd < 0)
		timer_init(set->pump->loop, &r->last, relay_free, r);
	list_add_tail(&set->waiting, &r->node);
	set->count++;
	r->counters->open++;
	if (ret)
		*ret = r;
	conn_relays_serve(set);
	pump_kick(set->pump);
	return 0;
}

void conn_relay_end(struct conn_relay *r, const struct tl_err *why)
{
	struct pump *p = r->set->pump;

	relay_over(r, true, why);
	pump_kick(p);
}

void conn_relays_lost(struct conn_relays *set, const struct tl_err *why)
{
	LIST_FOREACH_SAFE (it, &set->live)
		relay_over(list_entry(it, struct conn_relay, node), true, why);
}

void conn_relays_end(struct conn_relays *set, const struct tl_err *why)
{
	conn_relays_lost(set, why);
	LIST_FOREACH_SAFE (it, &set->waiting)
		relay_over(list_entry(it, struct conn_relay, node), true, why);
}
