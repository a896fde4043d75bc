/* ssh_forwards.c - see ssh_forwards.h. */
#include "dial/ssh_forwards.h"

#include <stdlib.h>

#include "base/str.h"
#include "dial/ssh_query.h"

/* ---- the text ---- */

static void end_fini(struct ssh_forward_end *e)
{
	free(e->host);
	free(e->path);
	memset(e, 0, sizeof(*e));
}

void ssh_forwards_fini(struct ssh_forwards *f)
{
	for (size_t i = 0; i < f->n; i++) {
		end_fini(&f->v[i].listen);
		end_fini(&f->v[i].target);
	}
	memset(f, 0, sizeof(*f));
}

/* "8080", "[::1]:8080", "[*]:8080", "localhost:8080", "/path". 0, TL_E_INVAL, TL_E_NOMEM. */
static int parse_end(const char *text, struct ssh_forward_end *ret)
{
	const char *colon = strrchr(text, ':'), *host = text;
	size_t n = colon ? (size_t)(colon - text) : 0;
	long long port;

	memset(ret, 0, sizeof(*ret));
	if (text[0] == '/') {
		ret->path = str_dup(text);
		return ret->path ? 0 : TL_E_NOMEM;
	}
	if (!str_to_int(colon ? colon + 1 : text, 0, 65535, &port))
		return TL_E_INVAL;
	ret->port = (int)port;
	if (!colon)
		return 0;
	if (n >= 2 && host[0] == '[' && host[n - 1] == ']') {
		host++;
		n -= 2;
	}
	/* ssh prints an empty listening address for "every address" as [*] or as [] */
	ret->host = n ? str_ndup(host, n) : str_dup("*");
	return ret->host ? 0 : TL_E_NOMEM;
}

static bool same_listen(const struct ssh_forward_end *a, const struct ssh_forward_end *b)
{
	if (a->path || b->path)
		return a->path && b->path && strcmp(a->path, b->path) == 0;
	return a->port == b->port && strcmp(a->host ? a->host : "", b->host ? b->host : "") == 0;
}

/* OpenSSH prints a LocalForward to a socket a second time, as a DynamicForward without a path. */
static void drop_echoes(struct ssh_forwards *f)
{
	for (size_t i = 0; i < f->n;) {
		bool echo = false;
		for (size_t k = 0; k < f->n && f->v[i].kind == SSH_FORWARD_DYNAMIC; k++)
			echo = echo || (f->v[k].kind == SSH_FORWARD_LOCAL && f->v[k].target.path &&
					same_listen(&f->v[k].listen, &f->v[i].listen));
		if (!echo && !(f->v[i].kind == SSH_FORWARD_DYNAMIC && f->v[i].listen.path)) {
			i++;
			continue;
		}
		end_fini(&f->v[i].listen);
		f->v[i] = f->v[--f->n];
		memset(&f->v[f->n], 0, sizeof(f->v[f->n]));
	}
}

static int take_forward(struct ssh_forwards *f, enum ssh_forward_kind kind, char *rest)
{
	struct ssh_forward *x = &f->v[f->n];
	char *space = strchr(rest, ' ');
	int rc;

	if (f->n == SSH_FORWARDS_MAX)
		return 0;
	if (space)
		*space++ = 0;
	if (!space && kind != SSH_FORWARD_DYNAMIC)
		return 0;
	memset(x, 0, sizeof(*x));
	x->kind = kind;
	rc = parse_end(rest, &x->listen);
	if (rc == 0 && kind != SSH_FORWARD_DYNAMIC) {
		x->socks = strcmp(space, "[socks]:0") == 0;
		rc = x->socks ? 0 : parse_end(space, &x->target);
		if (rc == 0 && !x->socks && !x->target.path && (!x->target.host || !x->target.port))
			rc = TL_E_INVAL;
	}
	if (rc) {
		end_fini(&x->listen);
		end_fini(&x->target);
		return rc == TL_E_NOMEM ? rc : 0;
	}
	f->n++;
	return 0;
}

static int take_line(struct ssh_forwards *f, char *line, bool *ret_clear)
{
	static const struct {
		const char *word;
		enum ssh_forward_kind kind;
	} rows[] = {{"localforward ", SSH_FORWARD_LOCAL},
		    {"remoteforward ", SSH_FORWARD_REMOTE},
		    {"dynamicforward ", SSH_FORWARD_DYNAMIC}};

	if (strcmp(line, "clearallforwardings yes") == 0)
		*ret_clear = true;
	if (strcmp(line, "gatewayports yes") == 0)
		f->gateway_ports = true;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (str_starts(line, rows[i].word))
			return take_forward(f, rows[i].kind, line + strlen(rows[i].word));
	return 0;
}

int ssh_forwards_parse(struct tl_bytes text, struct ssh_forwards *ret)
{
	const uint8_t *at = text.p, *end = text.p + text.n;
	bool clear = false;
	int rc = 0;

	memset(ret, 0, sizeof(*ret));
	while (at < end && rc == 0) {
		const uint8_t *eol = memchr(at, '\n', (size_t)(end - at));
		size_t n = (size_t)((eol ? eol : end) - at);
		char *line = str_ndup(at, n);
		rc = line ? take_line(ret, line, &clear) : TL_E_NOMEM;
		free(line);
		at += n + 1;
	}
	drop_echoes(ret);
	if (rc || clear)
		ssh_forwards_fini(ret);
	return rc;
}

/* ---- the question ---- */

struct ssh_forwards_query {
	struct ssh_query *query;
	void (*on_done)(void *ctx, const struct ssh_forwards *f, const struct tl_err *err);
	void *ctx;
};

void ssh_forwards_cancel(struct ssh_forwards_query *q)
{
	ssh_query_cancel(q->query);
	free(q);
}

static void answered(void *ctx, struct tl_bytes config, const struct tl_err *err)
{
	struct ssh_forwards_query q = *(struct ssh_forwards_query *)ctx;
	struct ssh_forwards f = {0};
	struct tl_err e;

	free(ctx);
	if (err || ssh_forwards_parse(config, &f) != 0)
		err_set(&e, err ? err->code : TL_E_NOMEM,
			"cannot read the forwards of the ssh configuration: %.500s",
			err ? err->text : "out of memory");
	else
		e.code = 0;
	q.on_done(q.ctx, e.code ? NULL : &f, e.code ? &e : NULL);
	ssh_forwards_fini(&f);
}

struct ssh_forwards_query *ssh_forwards_ask(struct loop *l, const struct dial_target *t,
					    const char *ssh_path,
					    void (*on_done)(void *ctx, const struct ssh_forwards *f,
							    const struct tl_err *err),
					    void *ctx, struct tl_err *err)
{
	struct ssh_forwards_query *q = calloc(1, sizeof(*q));

	if (!q) {
		err_set(err, TL_E_NOMEM, "cannot read the forwards of %s: out of memory", t->host);
		return NULL;
	}
	q->on_done = on_done;
	q->ctx = ctx;
	q->query = ssh_query_start(l, t, ssh_path, SSH_QUERY_MS, answered, q, err);
	if (!q->query) {
		free(q);
		return NULL;
	}
	return q;
}
