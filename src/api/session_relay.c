/* session_relay.c - bytes between a stream of the session and the caller's socket. Holds at most
 * one chunk that the stream did not take; everything else stays in the kernel or in the stream, so
 * back-pressure goes end to end. A relay lives until its socket and its timer are closed. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api/session_own.h"
#include "dial/stream_class.h"

void relay_free(struct own_relay *r)
{
	if (!r)
		return;
	if (r->fd >= 0)
		close(r->fd);
	free(r->line);
	free(r->rest);
	free(r);
}

static void relay_event(struct pump_user *u, const struct session_event *ev);

struct own_relay *relay_new(const char *open_json, int fd, struct tl_err *err)
{
	struct own_relay *r = calloc(1, sizeof(*r));
	yyjson_doc *doc = r ? json_parse(bytes_str(open_json), err) : NULL;
	yyjson_val *open = yyjson_doc_get_root(doc);

	if (!r) {
		err_set(err, TL_E_NOMEM, "cannot open a stream: out of memory");
		goto fail;
	}
	r->fd = -1;
	r->user.event = relay_event;
	list_init(&r->node);
	if (!doc)
		goto fail;
	r->cls = stream_class(open);
	r->abrupt = strcmp(json_str(open, "open", ""), "exec") == 0;
	r->line = str_fmt("%s\n", open_json);
	if (!r->line || strlen(r->line) > TL_LIMIT_OPEN_LINE) {
		err_set(err, r->line ? TL_E_LIMIT : TL_E_NOMEM,
			"cannot open a stream: the request is longer than %d bytes",
			TL_LIMIT_OPEN_LINE);
		goto fail;
	}
	r->fd = fd;
	yyjson_doc_free(doc);
	return r;
fail:
	yyjson_doc_free(doc);
	relay_free(r);
	return NULL;
}

static void part_closed(void *ctx)
{
	struct own_relay *r = ctx;

	if (--r->closing == 0)
		relay_free(r);
}

void relay_end(struct own_relay *r)
{
	if (r->dead)
		return;
	r->dead = true;
	list_del(&r->node);
	if (r->stream) {
		session_stream_set_user(r->stream, NULL);
		session_reset(r->stream);
		r->stream = NULL;
	}
	r->closing = 2;
	io_close(&r->io, part_closed);
	timer_close(&r->linger, part_closed);
}

/* ---- to the caller ---- */

static void to_caller(struct own_relay *r)
{
	struct tl_bytes b;

	while (!r->dead && r->stream && (b = session_peek(r->stream)).n > 0) {
		long n = r->hup ? TL_E_CLOSED : io_write(&r->io, b.p, b.n);
		if (n < 0) {
			relay_end(r);
			return;
		}
		session_consume(r->stream, (size_t)n);
		if ((size_t)n < b.n) {
			io_want_write(&r->io, true);
			return;
		}
	}
	if (!r->dead && r->stream && session_eof(r->stream) && !r->host_eof) {
		r->host_eof = true;
		io_finish(&r->io);
	}
}

static void caller_writable(void *ctx)
{
	struct own_relay *r = ctx;
	struct session_own *o = r->own;

	to_caller(r);
	pump_kick(&o->pump);
}

/* ---- from the caller ---- */

static void caller_eof(struct own_relay *r)
{
	r->fd_eof = true;
	io_want_read(&r->io, false);
	session_finish(r->stream);
	if (r->hup && !r->host_eof)
		timer_start(&r->linger, RELAY_LINGER);
}

/* What the stream does not take rests here and stops the reading. */
static bool keep_rest(struct own_relay *r, const uint8_t *p, size_t n)
{
	if (!r->rest)
		r->rest = malloc(RELAY_CHUNK);
	if (!r->rest) {
		relay_end(r);
		return false;
	}
	memcpy(r->rest, p, n);
	r->rest_off = 0;
	r->rest_n = n;
	io_want_read(&r->io, false);
	return true;
}

/* false: the stream is full or over */
static bool to_stream(struct own_relay *r, const uint8_t *p, size_t n)
{
	long took = session_write(r->stream, bytes_of(p, n));

	if (took < 0) {
		relay_end(r);
		return false;
	}
	if ((size_t)took < n) {
		keep_rest(r, p + took, n - (size_t)took);
		return false;
	}
	return true;
}

static void from_caller(struct own_relay *r)
{
	struct session_own *o = r->own;

	/* a few reads per turn: the other streams want their share */
	for (int i = 0; i < 4 && !r->dead && !r->fd_eof && r->rest_n == 0; i++) {
		long got = io_read(&r->io, o->chunk, sizeof(o->chunk));
		if (got == TL_E_AGAIN)
			return;
		if (got < 0)
			relay_end(r);
		else if (got == 0)
			caller_eof(r);
		else if (!to_stream(r, o->chunk, (size_t)got))
			return;
	}
}

static void stream_writable(struct own_relay *r)
{
	if (r->rest_n > 0) {
		long took = session_write(r->stream, bytes_of(r->rest + r->rest_off, r->rest_n));
		if (took < 0) {
			relay_end(r);
			return;
		}
		r->rest_off += (size_t)took;
		r->rest_n -= (size_t)took;
		if (r->rest_n > 0)
			return;
	}
	if (!r->fd_eof) {
		io_want_read(&r->io, true);
		from_caller(r);
	}
}

static void caller_readable(void *ctx)
{
	struct own_relay *r = ctx;
	struct session_own *o = r->own;

	from_caller(r);
	pump_kick(&o->pump);
}

/* The caller has closed its end. What it wrote before still goes out. */
static void caller_gone(void *ctx)
{
	struct own_relay *r = ctx;
	struct session_own *o = r->own;

	r->hup = true;
	if (!r->stream || r->abrupt)
		relay_end(r);
	else if (r->fd_eof && !r->host_eof)
		timer_start(&r->linger, RELAY_LINGER);
	pump_kick(&o->pump);
}

static void lingered(void *ctx)
{
	struct own_relay *r = ctx;
	struct session_own *o = r->own;

	relay_end(r);
	pump_kick(&o->pump);
}

/* ---- life ---- */

static bool relay_attach(struct own_relay *r)
{
	struct session_own *o = r->own;

	r->stream = session_open(o->core, r->cls);
	if (!r->stream)
		return false;
	list_del(&r->node);
	list_add_tail(&o->relays, &r->node);
	session_stream_set_user(r->stream, &r->user);
	/* a fresh stream has a whole window: the line fits */
	session_write(r->stream, bytes_str(r->line));
	free(r->line);
	r->line = NULL;
	io_want_read(&r->io, true);
	return true;
}

void relay_begin(struct session_own *o, struct own_relay *r)
{
	r->own = o;
	if (!o->core ||
	    io_open(&o->loop, &r->io, r->fd, r->fd, caller_readable, caller_writable, r) != 0) {
		relay_free(r);
		return;
	}
	r->fd = -1;
	timer_init(&o->loop, &r->linger, lingered, r);
	list_add_tail(&o->waiting, &r->node);
	io_want_read(&r->io, false);
	io_watch_hangup(&r->io, caller_gone);
}

void relay_serve(struct session_own *o)
{
	while (o->core && !list_empty(&o->waiting))
		if (!relay_attach(list_entry(o->waiting.next, struct own_relay, node)))
			return;
}

static void relay_event(struct pump_user *u, const struct session_event *ev)
{
	struct own_relay *r = (struct own_relay *)(void *)u;

	switch (ev->type) {
	case SESSION_EV_READABLE:
		to_caller(r);
		break;
	case SESSION_EV_WRITABLE:
		stream_writable(r);
		break;
	case SESSION_EV_CLOSED:
		r->stream = NULL;
		relay_end(r);
		break;
	default:
		break;
	}
}

void relay_end_all(struct session_own *o)
{
	LIST_FOREACH_SAFE (it, &o->relays)
		relay_end(list_entry(it, struct own_relay, node));
	LIST_FOREACH_SAFE (it2, &o->waiting)
		relay_end(list_entry(it2, struct own_relay, node));
}
