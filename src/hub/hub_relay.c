/* hub_relay.c - stream/open: bytes between one client connection and one stream of a host, or the
 * daemon's own configuration folder. Holds no bytes: what the one side does not take stays with the
 * other (yamux window, socket buffer), so back-pressure goes end to end. A relay lives until both
 * its client and its stream are gone. */
#include "hub/hub_priv.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "dial/stream_class.h"
#include "loop/child.h"
#include "loop/sock.h"
#include <sys/socket.h>

/* The child that serves the configuration folder over SFTP; heap, freed when descriptor and process
 * are gone. */
struct relay_local {
	struct io io;
	struct child child;
	struct hub_relay *relay; /* NULL: nobody reads any more */
};

static void relay_free(struct hub_relay *r)
{
	list_del(&r->node);
	if (r->client)
		r->client->relay = NULL;
	free(r->id);
	free(r);
}

static void relay_event(struct pump_user *u, const struct session_event *ev);

static struct hub_relay *relay_new(struct hub_client *c, const char *id)
{
	struct hub_relay *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	list_init(&r->node);
	r->user.event = relay_event;
	r->id = str_dup(id);
	r->client = c;
	c->relay = r;
	return r;
}

void relay_open(struct hub_client *c, struct hub_host *hh, const char *id, yyjson_val *open)
{
	struct hub_relay *r;
	struct tl_err e;
	char *line;
	size_t n;

	if (!hh->session) {
		err_set(&e, TL_E_NOHOST, "not connected to %s", hh->name);
		client_reply_err(c, id, &e);
		return;
	}
	line = yyjson_val_write(open, 0, &n);
	r = line && n + 1 < TL_LIMIT_OPEN_LINE ? relay_new(c, id) : NULL;
	if (r)
		r->stream = session_open(hh->session, stream_class(open));
	if (!r || !r->stream) {
		if (r)
			relay_free(r);
		free(line);
		err_set(&e, TL_E_LIMIT, "cannot open another stream to %s", hh->name);
		client_reply_err(c, id, &e);
		return;
	}
	r->host = hh;
	list_add_tail(&hh->relays, &r->node);
	session_stream_set_user(r->stream, &r->user);
	/* a fresh stream has a whole window: the line fits */
	line[n] = '\n';
	session_write(r->stream, bytes_of(line, n + 1));
	free(line);
	pump_kick(&hh->pump);
}

/* The stream side is over for good. */
static void stream_over(struct hub_relay *r, int error)
{
	struct hub_client *c = r->client;
	struct tl_err e;

	r->stream = NULL;
	if (r->state == RELAY_OPENING && c) {
		err_set(&e, error ? error : TL_E_CLOSED, "the stream could not be opened: %s",
			err_row(error ? error : TL_E_CLOSED)->what);
		client_reply_err(c, r->id, &e);
		relay_free(r);
		return;
	}
	r->state = RELAY_DEAD;
	if (!c) {
		relay_free(r);
		return;
	}
	if (error)
		edge_client_close(c->edge, error);
	else if (!r->host_eof)
		edge_stream_finish(c->edge);
	r->host_eof = true;
}

static void to_client(struct hub_relay *r)
{
	struct tl_bytes b;

	while (r->client && (b = session_peek(r->stream)).n > 0) {
		size_t n = edge_stream_write(r->client->edge, b);
		if (n == 0)
			return;
		session_consume(r->stream, n);
		if (n < b.n)
			return;
	}
	if (r->client && session_eof(r->stream) && !r->host_eof) {
		r->host_eof = true;
		edge_stream_finish(r->client->edge);
	}
}

/* The first line of the host: ok starts the stream, error ends it. */
static void take_answer(struct hub_relay *r)
{
	struct tl_bytes line;
	size_t used;
	int rc = open_next_line(session_peek(r->stream), &line, &used);
	yyjson_doc *doc;
	yyjson_val *ok;
	struct tl_err e = {0};

	if (rc == 0 && !session_eof(r->stream))
		return;
	doc = rc == 1 ? json_parse(line, &e) : NULL;
	ok = json_get(yyjson_doc_get_root(doc), "ok");
	if (ok) {
		char *text = yyjson_val_write(ok, 0, NULL);
		client_reply_text(r->client, r->id, bytes_str(text ? text : "{}"));
		free(text);
		session_consume(r->stream, used);
		r->state = RELAY_RUNNING;
		edge_client_become_stream(r->client->edge);
		to_client(r); /* what came with the answer */
	} else {
		struct jsonrpc_msg m = {.error = json_get(yyjson_doc_get_root(doc), "error")};
		struct session_stream *st = r->stream;
		if (m.error)
			jsonrpc_error_of(&m, &e);
		else
			err_set(&e, TL_E_PROTO, "%s gave no valid answer to stream/open",
				r->host->name);
		client_reply_err(r->client, r->id, &e);
		session_stream_set_user(st, NULL);
		session_reset(st);
		relay_free(r);
	}
	yyjson_doc_free(doc);
}

static void relay_event(struct pump_user *u, const struct session_event *ev)
{
	struct hub_relay *r = (struct hub_relay *)(void *)u;

	if (ev->type == SESSION_EV_CLOSED) {
		stream_over(r, ev->error);
		return;
	}
	if (!r->client)
		return;
	if (ev->type == SESSION_EV_READABLE && r->state == RELAY_OPENING) {
		take_answer(r); /* r may be gone */
		return;
	}
	if (ev->type == SESSION_EV_READABLE)
		to_client(r);
	else if (ev->type == SESSION_EV_WRITABLE)
		edge_stream_resume(r->client->edge);
}

void relay_break_all(struct hub_host *hh, int error)
{
	LIST_FOREACH_SAFE (it, &hh->relays) {
		struct hub_relay *r = list_entry(it, struct hub_relay, node);
		list_del(&r->node);
		r->host = NULL;
		stream_over(r, error);
	}
}

/* ---- the daemon's own configuration folder ---- */

static void local_exited(void *ctx, int kind, int value)
{
	(void)ctx;
	if (kind || value)
		log_warn("the file service of the configuration folder ended with %s %d",
			 kind ? "signal" : "status", value);
}

static void local_over(struct hub_relay *r, int error)
{
	struct relay_local *l = r->local;

	r->local = NULL;
	if (l) {
		l->relay = NULL;
		/* it sees the end of its input and ends; nobody waits for that */
		child_forget(&l->child);
		io_close(&l->io, free);
	}
	stream_over(r, error);
}

static void local_readable(void *ctx)
{
	struct relay_local *l = ctx;
	struct hub_relay *r = l->relay;
	uint8_t in[32768];

	/* read only what the client takes at once: nothing rests here */
	for (int i = 0; i < 8 && l->relay; i++) {
		long got = recv(l->io.rfd, in, sizeof(in), MSG_PEEK | MSG_DONTWAIT);
		size_t n;
		if (got < 0)
			return;
		if (got == 0) {
			local_over(r, 0);
			return;
		}
		n = edge_stream_write(r->client->edge, bytes_of(in, (size_t)got));
		if (n > 0 && io_read(&l->io, in, n) < 0)
			return;
		if (n < (size_t)got) {
			io_want_read(&l->io, false);
			return;
		}
	}
}

static void local_writable(void *ctx)
{
	struct relay_local *l = ctx;

	if (l->relay && l->relay->client)
		edge_stream_resume(l->relay->client->edge);
}

static int local_start(struct hub *h, struct relay_local *l, struct tl_err *err)
{
	char *argv[] = {(char *)(uintptr_t)h->cfg.self_path, (char[]){"--userdata-server"},
			(char *)(uintptr_t)h->cfg.config_dir, NULL};
	struct child_spec spec = {.argv = argv, .fd = {-1, -1, 2}, .ctty = -1};
	int sv[2], rc;

	rc = socket_pair(sv);
	if (rc)
		return err_set(err, rc, "cannot make a socket pair");
	spec.fd[0] = spec.fd[1] = sv[1];
	rc = child_spawn(h->loop, &l->child, &spec, local_exited, l, err);
	close(sv[1]);
	if (rc == 0) {
		rc = io_open(h->loop, &l->io, sv[0], sv[0], local_readable, local_writable, l);
		if (rc == 0)
			return 0;
		err_set(err, rc, "cannot watch the file service");
		child_forget(&l->child);
	}
	close(sv[0]);
	return rc;
}

void relay_open_userdata(struct hub_client *c, const char *id)
{
	struct relay_local *l = calloc(1, sizeof(*l));
	struct hub_relay *r = l ? relay_new(c, id) : NULL;
	struct tl_err e = {0};

	if (!r || local_start(c->hub, l, &e) != 0) {
		if (r)
			relay_free(r);
		free(l);
		if (!e.code)
			err_set(&e, TL_E_NOMEM,
				"cannot open the configuration folder: out of memory");
		client_reply_err(c, id, &e);
		return;
	}
	l->relay = r;
	r->local = l;
	r->state = RELAY_RUNNING;
	client_reply_text(c, id, bytes_str("{}"));
	edge_client_become_stream(c->edge);
}

/* ---- what the client does ---- */

size_t relay_client_data(struct hub_client *c, struct tl_bytes in)
{
	struct hub_relay *r = c->relay;
	long n;

	if (!r || r->state == RELAY_DEAD)
		return in.n;
	if (r->local) {
		n = io_write(&r->local->io, in.p, in.n);
		if (n < 0) {
			local_over(r, TL_E_CLOSED);
			return in.n;
		}
		if ((size_t)n < in.n)
			io_want_write(&r->local->io, true);
		return (size_t)n;
	}
	n = session_write(r->stream, in);
	if (n < 0)
		return in.n;
	if (n > 0)
		pump_kick(&r->host->pump);
	return (size_t)n;
}

void relay_client_eof(struct hub_client *c)
{
	struct hub_relay *r = c->relay;

	if (!r || r->client_eof || r->state == RELAY_DEAD)
		return;
	r->client_eof = true;
	if (r->local) {
		io_finish(&r->local->io);
	} else {
		session_finish(r->stream);
		pump_kick(&r->host->pump);
	}
}

void relay_client_writable(struct hub_client *c)
{
	struct hub_relay *r = c->relay;

	if (!r || r->state != RELAY_RUNNING)
		return;
	if (r->local) {
		io_want_read(&r->local->io, true);
		return;
	}
	to_client(r);
	pump_kick(&r->host->pump);
}

void relay_client_gone(struct hub_client *c)
{
	struct hub_relay *r = c->relay;

	if (!r)
		return;
	c->relay = NULL;
	r->client = NULL;
	if (r->local) {
		local_over(r, 0);
		return;
	}
	if (!r->stream) {
		relay_free(r);
		return;
	}
	{
		struct session_stream *st = r->stream;
		struct hub_host *hh = r->host;
		session_stream_set_user(st, NULL);
		/* with both ends told, what is queued still goes out, and the stream ends by itself
		 */
		if (!r->client_eof || !r->host_eof)
			session_reset(st);
		relay_free(r);
		pump_kick(&hh->pump);
	}
}
