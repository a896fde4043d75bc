/* agent_stream.c - streams of a link: collects the opening line, finds the service, answers.
 * A refused stream gets its error line and FIN; what the client still sends is thrown away up to a
 * bound, then the stream is reset. */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "host/agent.h"
#include "wire/jsonrpc.h"

#define DISCARD_MAX TL_LIMIT_MUX_WINDOW

static int open_RPC(struct agent_stream *s, const struct service *svc, yyjson_val *r,
		    struct tl_err *err)
{
	return agent_rpc_open(s, svc, r, err);
}

/* The answer names the child: lanes find the program, and what it has open, by it. */
static int open_SFTP(struct agent_stream *s, const struct service *svc, yyjson_val *r,
		     struct tl_err *err)
{
	int rc = relay_open_child(s, svc, r, err);

	if (rc == 0)
		s->tell_pid = relay_child_pid(s);
	return rc;
}

static int open_WATCH(struct agent_stream *s, const struct service *svc, yyjson_val *r,
		      struct tl_err *err)
{
	return relay_open_child(s, svc, r, err);
}

static int open_TERM(struct agent_stream *s, const struct service *svc, yyjson_val *r,
		     struct tl_err *err)
{
	return relay_open_term(s, svc, r, err);
}

static int open_KERNEL(struct agent_stream *s, const struct service *svc, yyjson_val *r,
		       struct tl_err *err)
{
	return relay_open_kernel(s, svc, r, err);
}

/* These faces get the opening line and answer it themselves. */
static int open_EXEC(struct agent_stream *s, const struct service *svc, yyjson_val *r,
		     struct tl_err *err)
{
	return relay_open_answering(s, svc, r, err);
}

static int open_DIRECT_TCPIP(struct agent_stream *s, const struct service *svc, yyjson_val *r,
			     struct tl_err *err)
{
	return connect_open(s, svc, r, err);
}

static int open_DIRECT_STREAMLOCAL(struct agent_stream *s, const struct service *svc, yyjson_val *r,
				   struct tl_err *err)
{
	return connect_open(s, svc, r, err);
}

static int open_TCPIP_FORWARD(struct agent_stream *s, const struct service *svc, yyjson_val *r,
			      struct tl_err *err)
{
	return relay_open_answering(s, svc, r, err);
}

static int open_FORWARDED_TCPIP(struct agent_stream *s, const struct service *svc, yyjson_val *r,
				struct tl_err *err)
{
	return connect_open(s, svc, r, err);
}

static int open_PORTS(struct agent_stream *s, const struct service *svc, yyjson_val *r,
		      struct tl_err *err)
{
	return relay_open_child(s, svc, r, err);
}

static const struct service services[] = {
#define TL_STREAM(sym, name, cls, nature, summary) {name, SESSION_##cls, open_##sym},
#include "proto/streams.def"
#undef TL_STREAM
};

static const struct service *service_find(const char *name)
{
	for (size_t i = 0; i < sizeof(services) / sizeof(services[0]); i++)
		if (strcmp(services[i].name, name) == 0)
			return &services[i];
	return NULL;
}

static enum session_class class_of(const char *name, enum session_class dflt)
{
	static const char *const names[] = {"control", "key", "normal", "bulk"};

	for (size_t i = 0; name && i < sizeof(names) / sizeof(names[0]); i++)
		if (strcmp(names[i], name) == 0)
			return (enum session_class)i;
	return dflt;
}

struct agent_stream *stream_new(struct agent_link *lk, struct session_stream *st)
{
	struct agent_stream *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->link = lk;
	s->st = st;
	buf_init(&s->line, TL_LIMIT_OPEN_LINE);
	list_add_tail(&lk->streams, &s->node);
	session_stream_set_user(st, s);
	/* the line may have come together with the opening */
	stream_readable(s);
	return s;
}

/* ---- after a refusal ---- */

static void refused_readable(struct agent_stream *s)
{
	struct tl_bytes b;

	while ((b = session_peek(s->st)).n > 0) {
		s->discarded += b.n;
		session_consume(s->st, b.n);
		if (s->discarded > DISCARD_MAX) {
			session_reset(s->st);
			return;
		}
	}
}

static const struct stream_ops refused_ops = {.readable = refused_readable};

static bool answer(struct agent_stream *s, const struct tl_err *err)
{
	yyjson_mut_doc *doc = !err && s->tell_pid ? yyjson_mut_doc_new(NULL) : NULL;
	yyjson_mut_val *o = doc ? yyjson_mut_obj(doc) : NULL;
	struct buf b;
	bool ok;

	if (o && yyjson_mut_obj_add_int(doc, o, "pid", s->tell_pid))
		yyjson_mut_doc_set_root(doc, o);
	buf_init(&b, TL_LIMIT_OPEN_LINE);
	ok = open_put_answer(&b, o ? doc : NULL, err) == 0 &&
	     session_write(s->st, buf_data(&b)) == (long)b.len;
	yyjson_mut_doc_free(doc);
	buf_fini(&b);
	return ok;
}

void stream_refuse(struct agent_stream *s, const struct tl_err *err)
{
	log_line(LOG_INFO, s->link->name, "stream refused: %s", err->text);
	s->ops = &refused_ops;
	buf_fini(&s->line);
	if (!answer(s, err)) {
		session_reset(s->st);
		return;
	}
	session_finish(s->st);
	refused_readable(s);
}

bool stream_accept(struct agent_stream *s)
{
	if (!answer(s, NULL))
		return false;
	s->ops->readable(s);
	return true;
}

bool stream_accept_with(struct agent_stream *s, const char *ok)
{
	struct buf b;
	bool done;

	buf_init(&b, TL_LIMIT_OPEN_LINE);
	done = buf_printf(&b, "{\"ok\":%s}\n", ok) == 0 &&
	       session_write(s->st, buf_data(&b)) == (long)b.len;
	buf_fini(&b);
	if (done)
		s->ops->readable(s);
	return done;
}

/* ---- the opening line ---- */

static int serve(struct agent_stream *s, struct tl_bytes line, struct tl_err *err)
{
	yyjson_doc *doc = json_parse(line, err);
	yyjson_val *root = yyjson_doc_get_root(doc);
	const char *name = json_str(root, "open", NULL);
	const struct service *svc = name ? service_find(name) : NULL;
	int rc;

	if (!doc)
		rc = err_set(err, TL_E_PROTO, "cannot open a stream: its first line is not JSON");
	else if (!name)
		rc = err_set(err, TL_E_PROTO, "cannot open a stream: \"open\" is missing");
	else if (!svc)
		rc = err_set(err, TL_E_UNSUPPORTED,
			     "cannot open a stream: this server has no service \"%.40s\"", name);
	else {
		const struct agent_stand_in *other = s->link->agent->stand_in;
		session_stream_set_class(s->st, class_of(json_str(root, "class", NULL), svc->cls));
		rc = other ? other->open(s, name, root, err) : AGENT_USUAL;
		if (rc == AGENT_USUAL)
			rc = svc->open(s, svc, root, err);
	}
	yyjson_doc_free(doc);
	return rc;
}

/* Takes the line's bytes from the session. 1 complete, 0 more to come, TL_E_LIMIT, TL_E_NOMEM. */
static int take_line(struct agent_stream *s)
{
	struct tl_bytes b;

	while ((b = session_peek(s->st)).n > 0) {
		const uint8_t *lf = memchr(b.p, '\n', b.n);
		size_t n = lf ? (size_t)(lf - b.p) : b.n;
		int rc =
		    n < TL_LIMIT_OPEN_LINE - s->line.len ? buf_put(&s->line, b.p, n) : TL_E_LIMIT;
		if (rc)
			return rc;
		session_consume(s->st, lf ? n + 1 : n);
		if (lf)
			return 1;
	}
	return 0;
}

static void opening_readable(struct agent_stream *s)
{
	struct tl_err err = {0};
	int rc = take_line(s);

	if (rc == 0) {
		if (!session_eof(s->st))
			return;
		rc = err_set(&err, TL_E_PROTO, "cannot open a stream: its first line is cut off");
	} else if (rc == TL_E_LIMIT) {
		err_set(&err, rc, "cannot open a stream: its first line is longer than %d bytes",
			TL_LIMIT_OPEN_LINE);
	} else if (rc == 1) {
		rc = serve(s, buf_data(&s->line), &err);
	}
	if (rc < 0 && !err.code)
		err_set(&err, rc, "cannot open a stream: %s", err_row(rc)->what);
	if (rc < 0) {
		stream_refuse(s, &err);
		return;
	}
	buf_fini(&s->line);
	if (rc == 0 && !answer(s, NULL))
		session_reset(s->st);
	else
		s->ops->readable(s);
}

void stream_readable(struct agent_stream *s)
{
	if (!s->ops)
		opening_readable(s);
	else if (s->ops->readable)
		s->ops->readable(s);
}

void stream_writable(struct agent_stream *s)
{
	if (s->ops && s->ops->writable)
		s->ops->writable(s);
}

void stream_closed(struct agent_stream *s)
{
	if (s->ops && s->ops->closed)
		s->ops->closed(s);
	session_stream_set_user(s->st, NULL);
	list_del(&s->node);
	buf_fini(&s->line);
	free(s);
}
