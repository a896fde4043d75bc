/* forward_word.c - see forward_word.h. */
#include "cmd/forward_word.h"

#include <string.h>

#include "base/str.h"

/* address, port, host, port */
#define PARTS_MAX 4

struct parts {
	const char *at[PARTS_MAX];
	size_t len[PARTS_MAX];
	int n;
};

static int bad(struct tl_err *err, const char *text, const char *why)
{
	return err_set(err, TL_E_INVAL, "cannot forward “%.200s”: %s", text, why);
}

static bool is_path(const char *p, size_t n)
{
	return n > 1 && (p[0] == '/' || (p[0] == '~' && p[1] == '/'));
}

/* Colons part, but not those between brackets. */
static int split(const char *text, struct parts *p, struct tl_err *err)
{
	const char *at = text;

	p->n = 0;
	for (;;) {
		const char *end = at;
		if (p->n == PARTS_MAX)
			return bad(err, text,
				   "there are too many colons (an IPv6 address is written "
				   "[ADDRESS])");
		if (*at == '[') {
			end = strchr(at, ']');
			if (!end || (end[1] && end[1] != ':'))
				return bad(err, text, "an address does not end with “]”");
		}
		end = strchr(end, ':');
		p->at[p->n] = at;
		p->len[p->n] = end ? (size_t)(end - at) : strlen(at);
		if (p->len[p->n++] == 0)
			return bad(err, text, "a part of it is empty");
		if (!end)
			return 0;
		at = end + 1;
	}
}

static bool number(const struct parts *p, int i, int least, int *ret)
{
	char text[8];
	long long v;

	if (p->len[i] >= sizeof(text))
		return false;
	memcpy(text, p->at[i], p->len[i]);
	text[p->len[i]] = 0;
	if (!str_to_int(text, least, 65535, &v))
		return false;
	*ret = (int)v;
	return true;
}

static bool copy(char *out, size_t max, const char *at, size_t n)
{
	if (n >= 2 && at[0] == '[' && at[n - 1] == ']') {
		at++;
		n -= 2;
	}
	if (n == 0 || n >= max)
		return false;
	memcpy(out, at, n);
	out[n] = 0;
	return true;
}

/* The parts before the target: nothing, port, path, or address and port. */
static int take_listen(const char *text, const struct parts *p, int n, struct forward_word_end *e,
		       struct tl_err *err)
{
	if (n == 0)
		return 0;
	if (n == 1 && is_path(p->at[0], p->len[0]))
		return copy(e->path, sizeof(e->path), p->at[0], p->len[0])
			   ? 0
			   : bad(err, text, "the path is too long");
	if (n > 2 || !number(p, n - 1, 0, &e->port))
		return bad(err, text, "where it shall listen is not a port (0 to 65535)");
	if (n == 2 && !copy(e->host, sizeof(e->host), p->at[0], p->len[0]))
		return bad(err, text, "the address is too long");
	return 0;
}

int forward_word_parse(const char *text, struct forward_word *ret, struct tl_err *err)
{
	struct parts p;
	int rc = split(text, &p, err), last, none;

	memset(ret, 0, sizeof(*ret));
	ret->listen.port = ret->target.port = -1;
	if (rc)
		return rc;
	last = p.n - 1;
	if (is_path(p.at[last], p.len[last]))
		return copy(ret->target.path, sizeof(ret->target.path), p.at[last], p.len[last])
			   ? take_listen(text, &p, last, &ret->listen, err)
			   : bad(err, text, "the path is too long");
	if (!number(&p, last, 1, &ret->target.port))
		return bad(err, text,
			   "it ends neither with a port (1 to 65535) nor with the path of a "
			   "socket");
	/* LOCAL:PORT: no host is called by a number, or by a path */
	if (p.n == 1 || (p.n == 2 && (number(&p, 0, 0, &none) || is_path(p.at[0], p.len[0]))))
		return take_listen(text, &p, last, &ret->listen, err);
	if (!copy(ret->target.host, sizeof(ret->target.host), p.at[last - 1], p.len[last - 1]))
		return bad(err, text, "the name of the host is too long");
	return take_listen(text, &p, last - 1, &ret->listen, err);
}

void forward_word_json(const struct forward_word *w, bool reverse, yyjson_mut_doc *doc,
		       yyjson_mut_val *o)
{
	static const char *const keys[2][3] = {{"localAddress", "localPort", "localPath"},
					       {"targetHost", "targetPort", "targetPath"}};
	const struct forward_word_end *end[2] = {reverse ? &w->target : &w->listen,
						 reverse ? &w->listen : &w->target};

	for (int i = 0; i < 2; i++) {
		if (end[i]->host[0])
			yyjson_mut_obj_add_strcpy(doc, o, keys[i][0], end[i]->host);
		if (end[i]->port >= 0)
			yyjson_mut_obj_add_int(doc, o, keys[i][1], end[i]->port);
		if (end[i]->path[0])
			yyjson_mut_obj_add_strcpy(doc, o, keys[i][2], end[i]->path);
	}
	/* the same number there, as the other way round */
	if (reverse && w->listen.port < 0 && !w->listen.path[0])
		yyjson_mut_obj_add_int(doc, o, "targetPort",
				       w->target.port > 0 ? w->target.port : 0);
	/* who writes a port down means it */
	if (!reverse && w->listen.port > 0)
		yyjson_mut_obj_add_bool(doc, o, "requireLocalPort", true);
}
