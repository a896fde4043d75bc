/* agent_rpc.c - the `rpc` service: Content-Length framed JSON-RPC on a stream.
 * Bounds: one message in, CALLS_MAX calls under way, answers up to OUT_MAX; beyond that the stream
 * is not read, so the client's window closes. */
#include "host/agent_rpc.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"

#define CALLS_MAX 32
#define OUT_MAX   (2 * TL_LIMIT_RPC_MESSAGE)
#define OUT_SLOW  TL_LIMIT_STREAM_BUFFER /* answers waiting: no new call is begun above this */
#define IN_MAX    (TL_LIMIT_RPC_MESSAGE + TL_LIMIT_LSP_HEADER)

struct rpc {
	struct agent_stream *s;
	struct buf in, out;
	struct list calls;
	size_t call_count;
	bool reading, ended; /* ended: FIN was sent or is due */
	bool urls;           /* the client shows pages */
};

static void rpc_flush(struct rpc *r)
{
	while (r->out.len > 0) {
		long n = session_write(r->s->st, buf_data(&r->out));
		if (n <= 0)
			return;
		buf_consume(&r->out, (size_t)n);
	}
	buf_shrink(&r->out);
	if (r->ended && r->call_count == 0)
		session_finish(r->s->st);
}

static void rpc_readable(struct agent_stream *s);

/* Frees the call; appends message (may be empty) to the stream. */
static void call_done(struct rpc_call *c, struct buf *message, int rc)
{
	struct rpc *r = c->rpc;

	if (r) {
		list_del(&c->node);
		r->call_count--;
		if (rc == 0 && message->len)
			rc = lsp_put(&r->out, buf_data(message));
		if (rc) {
			/* an answer that cannot be written would leave the client waiting */
			log_line(LOG_WARN, r->s->link->name, "rpc: cannot answer: %s",
				 err_row(rc)->what);
			session_reset(r->s->st);
		} else {
			rpc_flush(r);
			/* messages may wait for a call to end */
			rpc_readable(r->s);
		}
		agent_link_kick(r->s->link);
	}
	buf_fini(message);
	jsonrpc_fini(&c->msg);
	free(c);
}

void rpc_answer_text(struct rpc_call *c, struct tl_bytes result)
{
	struct buf b;
	int rc;

	buf_init(&b, TL_LIMIT_RPC_MESSAGE);
	rc = c->msg.id ? jsonrpc_put_result_text(&b, c->msg.id, result) : 0;
	call_done(c, &b, rc);
}

void rpc_answer(struct rpc_call *c, yyjson_mut_doc *result)
{
	struct buf b;
	int rc;

	buf_init(&b, TL_LIMIT_RPC_MESSAGE);
	rc = c->msg.id ? jsonrpc_put_result(&b, c->msg.id, result) : 0;
	yyjson_mut_doc_free(result);
	call_done(c, &b, rc);
}

void rpc_fail(struct rpc_call *c, const struct tl_err *err)
{
	struct buf b;
	int rc;

	buf_init(&b, TL_LIMIT_RPC_MESSAGE);
	rc = c->msg.id ? jsonrpc_put_error(&b, c->msg.id, err) : 0;
	call_done(c, &b, rc);
}

void rpc_failf(struct rpc_call *c, int code, const char *fmt, ...)
{
	struct tl_err err = {.code = code};
	char text[TL_ERR_TEXT];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	err_set(&err, code, "%s", text);
	rpc_fail(c, &err);
}

/* A message that is no JSON-RPC: answered without id, as the specification wants. */
static void bad_message(struct rpc *r, const struct tl_err *err)
{
	struct buf b;

	buf_init(&b, TL_LIMIT_OPEN_LINE);
	if (jsonrpc_put_error(&b, NULL, err) == 0 && lsp_put(&r->out, buf_data(&b)) == 0)
		rpc_flush(r);
	buf_fini(&b);
}

static void rpc_message(struct rpc *r, struct tl_bytes text)
{
	struct rpc_call *c = calloc(1, sizeof(*c));
	struct tl_err err = {0};

	if (!c) {
		session_reset(r->s->st);
		return;
	}
	if (jsonrpc_parse(text, &c->msg, &err) != 0 || c->msg.kind == JSONRPC_RESPONSE) {
		if (!err.code)
			err_set(&err, TL_E_PROTO, "the agent asked nothing, this answer is lost");
		jsonrpc_fini(&c->msg);
		free(c);
		bad_message(r, &err);
		return;
	}
	c->agent = r->s->link->agent;
	c->rpc = r;
	list_add_tail(&r->calls, &c->node);
	r->call_count++;
	method_call(c);
}

/* Session bytes into r->in. */
static void rpc_take(struct rpc *r)
{
	struct tl_bytes b;

	while (buf_room(&r->in) > 0 && (b = session_peek(r->s->st)).n > 0) {
		size_t n = b.n < buf_room(&r->in) ? b.n : buf_room(&r->in);
		if (buf_put(&r->in, b.p, n) != 0) {
			session_reset(r->s->st);
			return;
		}
		session_consume(r->s->st, n);
	}
}

static void rpc_readable(struct agent_stream *s)
{
	struct rpc *r = s->state;
	struct tl_bytes message;
	size_t used;
	int rc = 0;

	/* answers given at once come back here through call_done */
	if (r->reading)
		return;
	r->reading = true;
	while (!r->ended && r->call_count < CALLS_MAX && r->out.len < OUT_SLOW) {
		rpc_take(r);
		rc = lsp_next(buf_data(&r->in), &message, &used);
		if (rc != 1)
			break;
		rpc_message(r, message);
		buf_consume(&r->in, used);
	}
	r->reading = false;
	buf_shrink(&r->in);
	if (rc < 0) {
		struct tl_err err = {0};
		err_set(&err, rc, "cannot read a message: %s",
			rc == TL_E_LIMIT ? "it is too large" : "its Content-Length header is bad");
		bad_message(r, &err);
		log_line(LOG_WARN, s->link->name, "rpc: %s", err.text);
		r->ended = true;
		session_reset(s->st);
	} else if (session_eof(s->st) && rc == 0 && !r->ended && r->call_count < CALLS_MAX) {
		r->ended = true;
		rpc_flush(r);
	}
}

static void rpc_writable(struct agent_stream *s)
{
	rpc_flush(s->state);
	rpc_readable(s);
}

static void rpc_closed(struct agent_stream *s)
{
	struct rpc *r = s->state;

	LIST_FOREACH_SAFE (it, &r->calls) {
		list_del(it);
		list_entry(it, struct rpc_call, node)->rpc = NULL;
	}
	buf_fini(&r->in);
	buf_fini(&r->out);
	free(r);
}

static const struct stream_ops rpc_ops = {
    .readable = rpc_readable, .writable = rpc_writable, .closed = rpc_closed};

bool rpc_notify(struct agent_link *lk, const char *method, yyjson_mut_doc *params)
{
	LIST_FOREACH (it, &lk->streams) {
		struct agent_stream *s = list_entry(it, struct agent_stream, node);
		struct rpc *r = s->ops == &rpc_ops ? s->state : NULL;
		struct buf b;
		int rc;
		/* a client that does not read its answers gets no news */
		if (!r || !r->urls || r->ended || r->out.len >= OUT_SLOW)
			continue;
		buf_init(&b, TL_LIMIT_RPC_MESSAGE);
		rc = jsonrpc_put_notification(&b, method, params);
		if (rc == 0)
			rc = lsp_put(&r->out, buf_data(&b));
		buf_fini(&b);
		if (rc)
			return false;
		rpc_flush(r);
		agent_link_kick(lk);
		return true;
	}
	return false;
}

int agent_rpc_open(struct agent_stream *s, const struct service *svc, yyjson_val *request,
		   struct tl_err *err)
{
	struct rpc *r = calloc(1, sizeof(*r));

	(void)svc;
	if (!r)
		return err_set(err, TL_E_NOMEM, "cannot open rpc: out of memory");
	r->s = s;
	r->urls = json_bool(request, "urls", false);
	buf_init(&r->in, IN_MAX);
	buf_init(&r->out, OUT_MAX);
	list_init(&r->calls);
	s->state = r;
	s->ops = &rpc_ops;
	return 0;
}
