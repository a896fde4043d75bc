/* hub_proxy.c - one connection of a lent proxy: reads a request, looks whether it may, connects
 * from here, and carries bytes. One request a connection; both sides are told so. Holds at most one
 * piece for each direction: what is not taken stops the reading. */
#include "hub/hub_proxy.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "hub/http_reader.h"
#include "hub/hub_forward.h"
#include "loop/connector.h"
#include "loop/io.h"

#define PIECE      32768
#define HELD_MAX   (4 * PIECE + 131072) /* a piece, and a head rewritten */
#define CONNECT_MS 30000
/* for a request to be complete; an answer may take as long as it likes */
#define REQUEST_MS 60000

struct proxy;

/* One direction. */
struct way {
	struct proxy *p;
	struct io *from, *to;
	struct buf held;
	struct http_reader *reader; /* NULL: bytes go on as they come */
	bool eof, finished;
};

struct proxy {
	struct hub *hub;
	char host[TL_LIMIT_HOST_NAME], secret[33];
	struct io client, server;
	struct way up, down;
	struct http_place to;
	struct connector *connector;
	struct loop_timer patience;
	yyjson_doc *settings;        /* while it connects */
	struct list node;            /* hub's proxies */
	bool over, tunnel, answered; /* answered: the last words are on their way to the client */
	int closing;
};

/* ---- the end ---- */

static void part_closed(void *ctx)
{
	struct proxy *p = ctx;

	if (--p->closing > 0)
		return;
	http_reader_free(p->up.reader);
	http_reader_free(p->down.reader);
	buf_fini(&p->up.held);
	buf_fini(&p->down.held);
	yyjson_doc_free(p->settings);
	free(p);
}

static void proxy_end(struct proxy *p)
{
	if (p->over)
		return;
	p->over = true;
	list_del(&p->node);
	if (p->connector)
		connector_cancel(p->connector);
	p->closing = 2 + (p->server.open ? 1 : 0);
	io_close(&p->client, part_closed);
	if (p->server.open)
		io_close(&p->server, part_closed);
	timer_close(&p->patience, part_closed);
}

/* ---- bytes ---- */

/* Everything held is out? Asks to be called again where it is not. */
static bool way_flush(struct way *w)
{
	while (w->held.len > 0) {
		long n = io_write(w->to, buf_data(&w->held).p, w->held.len);
		if (n < 0) {
			proxy_end(w->p);
			return false;
		}
		buf_consume(&w->held, (size_t)n);
		if (w->held.len > 0 && n == 0) {
			io_want_write(w->to, true);
			return false;
		}
	}
	buf_shrink(&w->held);
	return true;
}

static void way_finish(struct way *w)
{
	if (w->finished)
		return;
	w->finished = true;
	io_finish(w->to);
}

/* One piece of a message. False: it is not HTTP. */
static bool filter(struct way *w, struct tl_bytes in)
{
	bool response = w == &w->p->down;
	struct tl_err e;

	while (in.n > 0 && http_reader_state(w->reader) != HTTP_COMPLETE) {
		bool head = http_reader_state(w->reader) == HTTP_IN_HEAD;
		long n = http_reader_feed(w->reader, in, &e);
		if (n < 0)
			return false;
		if (!head && buf_put(&w->held, in.p, (size_t)n) != 0)
			return false;
		if (head && response && http_reader_state(w->reader) != HTTP_IN_HEAD &&
		    http_put_response(w->reader, &w->held) != 0)
			return false;
		in = bytes_of(in.p + n, in.n - (size_t)n);
		if (response && http_reader_state(w->reader) == HTTP_COMPLETE &&
		    http_status(w->reader) < 200 && http_status(w->reader) != 101)
			http_reader_next(w->reader);
	}
	return true;
}

/* The message has ended, or the connection did. */
static bool way_is_done(struct way *w)
{
	return w->eof || (w->reader && http_reader_state(w->reader) == HTTP_COMPLETE);
}

static void way_move(struct way *w)
{
	uint8_t in[PIECE];
	bool flushed = way_flush(w);

	/* a few pieces a turn: the others want their share */
	for (int i = 0; i < 4 && flushed && !way_is_done(w); i++) {
		long n;
		n = io_read(w->from, in, sizeof(in));
		if (n == TL_E_AGAIN)
			break;
		if (n < 0) {
			proxy_end(w->p);
			return;
		}
		w->eof = n == 0;
		if (n > 0 && !w->reader && buf_put(&w->held, in, (size_t)n) != 0)
			w->eof = true;
		if (n > 0 && w->reader && !filter(w, bytes_of(in, (size_t)n)))
			w->eof = true; /* not HTTP: what there was goes out, and no more */
		flushed = way_flush(w);
	}
	if (w->p->over)
		return;
	io_want_read(w->from, flushed && !way_is_done(w));
	if (!flushed || !way_is_done(w))
		return;
	/* a request's end is not the end of the exchange; the answer's is */
	if (w->p->tunnel || w == &w->p->down)
		way_finish(w);
	if (w == &w->p->down && (!w->p->tunnel || w->p->up.finished))
		proxy_end(w->p);
	else if (w->p->tunnel && w->p->down.finished)
		proxy_end(w->p);
}

/* ---- answers of our own ---- */

static void say(struct proxy *p, int status, const char *reason, const char *more, const char *text)
{
	p->answered = true;
	buf_printf(&p->down.held,
		   "HTTP/1.1 %d %s\r\n%sContent-Type: text/plain; charset=utf-8\r\n"
		   "Content-Length: %zu\r\nConnection: close\r\n\r\n%s\n",
		   status, reason, more, strlen(text) + 1, text);
	p->down.eof = true;
	if (way_flush(&p->down) && !p->over) {
		way_finish(&p->down);
		proxy_end(p);
	}
}

static void say_error(struct proxy *p, const struct tl_err *e)
{
	char text[TL_ERR_TEXT + 128];

	log_line(LOG_INFO, p->host, "proxy: %s", e->text);
	switch (e->code) {
	case TL_E_ACCES:
		snprintf(text, sizeof(text),
			 "%s: services and private networks of the machine that lends its internet "
			 "are out of reach (setting towline.lendInternet.allow)",
			 e->text);
		say(p, 403, "Forbidden", "", text);
		break;
	case TL_E_TIMEOUT:
		say(p, 504, "Gateway Timeout", "", e->text);
		break;
	case TL_E_PROTO:
	case TL_E_INVAL:
	case TL_E_LIMIT:
		say(p, 400, "Bad Request", "", e->text);
		break;
	default:
		say(p, 502, "Bad Gateway", "", e->text);
		break;
	}
}

/* ---- the request ---- */

static void server_readable(void *ctx)
{
	way_move(&((struct proxy *)ctx)->down);
}

static void server_writable(void *ctx)
{
	way_move(&((struct proxy *)ctx)->up);
}

static int begin_exchange(struct proxy *p)
{
	int rc;

	if (p->tunnel) {
		http_reader_free(p->up.reader);
		p->up.reader = NULL;
		return buf_put_str(&p->down.held, "HTTP/1.1 200 Connection established\r\n\r\n");
	}
	p->down.reader = http_reader_new(true);
	if (!p->down.reader)
		return TL_E_NOMEM;
	if (http_is_head(p->up.reader))
		http_reader_no_body(p->down.reader);
	/* before what came with the head */
	{
		struct buf early = p->up.held;
		buf_init(&p->up.held, HELD_MAX);
		rc = http_put_request(p->up.reader, &p->to, &p->up.held);
		rc = rc ? rc : buf_put(&p->up.held, buf_data(&early).p, early.len);
		buf_fini(&early);
	}
	return rc;
}

static void connected(void *ctx, int fd, const struct tl_err *err)
{
	struct proxy *p = ctx;
	struct tl_err e;

	p->connector = NULL;
	yyjson_doc_free(p->settings);
	p->settings = NULL;
	if (err) {
		e = *err;
		say_error(p, &e);
		return;
	}
	if (io_open(p->hub->loop, &p->server, fd, fd, server_readable, server_writable, p) != 0) {
		close(fd);
		proxy_end(p);
		return;
	}
	p->up.to = p->down.from = &p->server;
	if (begin_exchange(p) != 0) {
		proxy_end(p);
		return;
	}
	way_move(&p->up);
	if (!p->over)
		way_move(&p->down);
}

static bool is_allowed(void *ctx, const struct sockaddr *sa)
{
	struct proxy *p = ctx;

	return proxy_allows(settings_get(p->settings, "towline.lendInternet.allow"), sa);
}

static void take_request(struct proxy *p)
{
	const char *given = http_header(p->up.reader, "Proxy-Authorization");
	struct connector_spec spec = {
	    .timeout_ms = CONNECT_MS, .allowed = is_allowed, .on_done = connected, .ctx = p};
	char want[128];
	struct tl_err e;

	timer_stop(&p->patience);
	proxy_credentials(p->secret, want, sizeof(want));
	if (!given || !str_equal_secret(given, want)) {
		say(p, 407, "Proxy Authentication Required",
		    "Proxy-Authenticate: Basic realm=\"towline\"\r\n",
		    "use the address that `towline forward HOST --lend-internet` prints, with the "
		    "name and the password in it");
		return;
	}
	if (http_place(p->up.reader, &p->to, &e) != 0) {
		say_error(p, &e);
		return;
	}
	p->tunnel = http_is_connect(p->up.reader);
	p->settings = settings_read(p->hub);
	spec.host = p->to.host;
	spec.port = p->to.port;
	/* nothing more is read until there is somewhere to put it */
	io_want_read(&p->client, false);
	if (connector_start(p->hub->loop, &spec, &p->connector, &e) != 0)
		say_error(p, &e);
}

/* The request's head; what follows it in the same piece is kept. */
static void read_head(struct proxy *p)
{
	uint8_t in[PIECE];
	long got = io_read(&p->client, in, sizeof(in)), n;
	struct tl_bytes rest;
	struct tl_err e;

	if (got == TL_E_AGAIN)
		return;
	if (got <= 0) {
		proxy_end(p);
		return;
	}
	rest = bytes_of(in, (size_t)got);
	n = http_reader_feed(p->up.reader, rest, &e);
	if (n < 0) {
		say_error(p, &e);
		return;
	}
	if (http_reader_state(p->up.reader) == HTTP_IN_HEAD)
		return;
	rest = bytes_of(rest.p + n, rest.n - (size_t)n);
	if (http_is_connect(p->up.reader) ? buf_put(&p->up.held, rest.p, rest.n) != 0
					  : !filter(&p->up, rest)) {
		err_set(&e, TL_E_PROTO, "the body of a request is not HTTP");
		say_error(p, &e);
		return;
	}
	take_request(p);
}

static void client_readable(void *ctx)
{
	struct proxy *p = ctx;

	if (p->answered || p->connector)
		io_want_read(&p->client, false);
	else if (p->up.to)
		way_move(&p->up);
	else
		read_head(p);
}

static void client_writable(void *ctx)
{
	struct proxy *p = ctx;

	if (!p->answered)
		way_move(&p->down);
	else if (way_flush(&p->down) && !p->over)
		proxy_end(p);
}

/* Both directions of the host's connection are gone. */
static void client_gone(void *ctx)
{
	proxy_end(ctx);
}

void proxy_end_all(struct hub *h)
{
	LIST_FOREACH_SAFE (it, &h->forwards->proxies)
		proxy_end(list_entry(it, struct proxy, node));
}

static void too_late(void *ctx)
{
	struct proxy *p = ctx;

	say(p, 408, "Request Timeout", "", "no request came");
}

int proxy_serve(struct hub *h, const char *host, int fd, const char *secret, struct tl_err *err)
{
	struct proxy *p = calloc(1, sizeof(*p));

	if (p)
		p->up.reader = http_reader_new(false);
	if (!p || !p->up.reader ||
	    io_open(h->loop, &p->client, fd, fd, client_readable, client_writable, p) != 0) {
		if (p)
			http_reader_free(p->up.reader);
		free(p);
		close(fd);
		return err_set(err, TL_E_NOMEM, "cannot lend the internet to %s: out of memory",
			       host);
	}
	io_watch_hangup(&p->client, client_gone);
	list_add_tail(&h->forwards->proxies, &p->node);
	p->hub = h;
	str_copy(p->host, sizeof(p->host), host);
	str_copy(p->secret, sizeof(p->secret), secret);
	p->up.p = p->down.p = p;
	p->up.from = p->down.to = &p->client;
	buf_init(&p->up.held, HELD_MAX);
	buf_init(&p->down.held, HELD_MAX);
	timer_init(h->loop, &p->patience, too_late, p);
	timer_start(&p->patience, REQUEST_MS);
	return 0;
}
