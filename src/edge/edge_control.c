/* edge_control.c - the control socket: a unix socket of this user, JSON-RPC with Content-Length
 * framing, then perhaps raw bytes with half-close. Owns its connections. In stream mode nothing
 * rests here on the way out: what the kernel does not take stays with the caller. */
#include "edge/edge_priv.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "base/str.h"
#include "loop/io.h"

/* reads of one connection before the others get their turn */
#define READS_PER_TURN 8

struct control_client {
	struct edge_client c;
	struct io io;
	struct buf out;  /* framed messages the kernel did not take yet */
	bool finished;   /* our half is closed */
	bool processing; /* bytes of `in` are being looked at */
};

static struct control_client *of(struct edge_client *c)
{
	return list_entry(c, struct control_client, c);
}

static void closed(void *ctx)
{
	struct control_client *k = ctx;
	struct edge *e = k->c.edge;

	client_gone(&k->c);
	buf_fini(&k->out);
	free(k);
	e->controls--;
}

static void control_close(struct edge_client *c, int ws_code)
{
	(void)ws_code;
	if (c->closing)
		return;
	c->closing = true;
	io_close(&of(c)->io, closed);
}

/* Our half is done once everything is out. */
static void check_finish(struct control_client *k)
{
	if (!k->c.finishing || k->finished || k->out.len > 0)
		return;
	k->finished = true;
	io_finish(&k->io);
	if (k->c.eof_told)
		control_close(&k->c, 0);
}

static void flush(struct control_client *k)
{
	while (k->out.len > 0) {
		long n = io_write(&k->io, buf_data(&k->out).p, k->out.len);
		if (n < 0) {
			control_close(&k->c, 0);
			return;
		}
		if (n == 0) {
			io_want_write(&k->io, true);
			return;
		}
		buf_consume(&k->out, (size_t)n);
	}
	buf_shrink(&k->out);
	check_finish(k);
}

static void control_send(struct edge_client *c, struct tl_bytes message)
{
	struct control_client *k = of(c);

	if (lsp_put(&k->out, message) != 0) {
		log_warn("a program on the control socket takes no answers and is dropped");
		control_close(c, 0);
		return;
	}
	flush(k);
}

static size_t control_write(struct edge_client *c, struct tl_bytes b)
{
	struct control_client *k = of(c);
	long n;

	if (k->out.len > 0)
		return 0;
	n = io_write(&k->io, b.p, b.n);
	if (n < 0) {
		control_close(c, 0);
		return b.n;
	}
	if ((size_t)n < b.n)
		io_want_write(&k->io, true);
	return (size_t)n;
}

static void control_want_read(struct edge_client *c, bool on)
{
	if (!c->closing)
		io_want_read(&of(c)->io, on && !c->eof);
}

static void control_finish(struct edge_client *c)
{
	check_finish(of(c));
}

static void take_messages(struct control_client *k);

static void control_mode_changed(struct edge_client *c)
{
	struct control_client *k = of(c);

	/* bytes behind the request belong to the stream */
	if (!k->processing)
		take_messages(k);
}

static const struct edge_face control_face = {
    .send = control_send,
    .write = control_write,
    .want_read = control_want_read,
    .finish = control_finish,
    .close = control_close,
    .mode_changed = control_mode_changed,
};

/* Everything complete in `in`: messages, and after a change of mode stream bytes. */
static void take_messages(struct control_client *k)
{
	struct edge_client *c = &k->c;
	struct tl_bytes msg;
	size_t used;
	int rc = 0;

	k->processing = true;
	while (!c->closing && !c->stream) {
		rc = lsp_next(buf_data(&c->in), &msg, &used);
		if (rc <= 0)
			break;
		client_message(c, msg);
		buf_consume(&c->in, used);
	}
	k->processing = false;
	if (c->closing)
		return;
	if (rc < 0 && !c->stream) {
		log_warn("a program on the control socket sent nonsense: %s", err_row(rc)->what);
		control_close(c, 0);
		return;
	}
	if (c->stream)
		edge_stream_resume(c);
	else
		buf_shrink(&c->in);
}

/* 0: go on; else stop for now. */
static int read_once(struct control_client *k)
{
	struct edge_client *c = &k->c;
	struct edge *e = c->edge;
	uint8_t *at = e->scratch;
	size_t room = sizeof(e->scratch);
	long n;

	if (!c->stream) {
		room = 65536 < buf_room(&c->in) ? 65536 : buf_room(&c->in);
		at = buf_reserve(&c->in, room);
		if (!at || room == 0) {
			control_close(c, 0);
			return -1;
		}
	}
	n = io_read(&k->io, at, room);
	if (n == TL_E_AGAIN)
		return -1;
	if (n < 0 || (n == 0 && !c->stream)) {
		control_close(c, 0);
		return -1;
	}
	if (n == 0) {
		io_want_read(&k->io, false);
		client_stream_eof(c);
		if (k->finished && !c->closing)
			control_close(c, 0);
		return -1;
	}
	if (c->stream) {
		client_stream_in(c, bytes_of(at, (size_t)n));
	} else {
		buf_commit(&c->in, (size_t)n);
		take_messages(k);
	}
	return (size_t)n < room ? -1 : 0;
}

static void readable(void *ctx)
{
	struct control_client *k = ctx;

	for (int i = 0; i < READS_PER_TURN; i++)
		if (k->c.closing || !k->io.want_read || read_once(k) != 0)
			return;
}

static void writable(void *ctx)
{
	struct control_client *k = ctx;

	flush(k);
	if (k->out.len == 0)
		client_writable(&k->c);
}

static void accepted(void *ctx, int fd)
{
	struct edge *e = ctx;
	struct control_client *k;
	uid_t uid = (uid_t)-1;

	if (peer_uid(fd, &uid) != 0 || uid != geteuid()) {
		log_warn("a program of user %ld was turned away at the control socket", (long)uid);
		close(fd);
		return;
	}
	k = e->controls < TL_LIMIT_CONTROL_CONNECTIONS ? calloc(1, sizeof(*k)) : NULL;
	if (!k || io_open(e->loop, &k->io, fd, fd, readable, writable, k) != 0) {
		log_warn("too many connections to the control socket: one is turned away");
		free(k);
		close(fd);
		return;
	}
	e->controls++;
	buf_init(&k->out, TL_LIMIT_RPC_MESSAGE + TL_LIMIT_LSP_HEADER);
	client_init(&k->c, e, EDGE_CONTROL, &control_face);
	k->c.ready = true;
}

int control_start(struct edge *e, const char *path, struct tl_err *err)
{
	e->control_path = str_dup(path);
	if (!e->control_path)
		return err_set(err, TL_E_NOMEM, "cannot listen: out of memory");
	return listen_unix(e->loop, &e->control, path, accepted, e, err);
}

void control_stop(struct edge *e)
{
	/* while we still listen it is ours; a later one may be another daemon's */
	if (e->control.open)
		unlink(e->control_path);
	listener_close(&e->control);
	LIST_FOREACH_SAFE (it, &e->clients) {
		struct edge_client *c = list_entry(it, struct edge_client, node);
		if (c->kind == EDGE_CONTROL)
			control_close(c, 0);
	}
}
