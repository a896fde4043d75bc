/* http_reader.c - see http_reader.h. */
#include "hub/http_reader.h"

#include <http_parser.h>
#include <stdlib.h>
#include <strings.h>

#include "base/str.h"

#define HEAD_MAX   65536
#define TARGET_MAX 16384

struct http_reader {
	struct http_parser parser;
	struct buf target, reason;
	struct buf fields; /* NAME NUL VALUE NUL … */
	bool response, no_body, in_value, head, complete;
	int over; /* TL_E_*: a part was too large */
};

/* ---- http_parser's callbacks ---- */

static struct http_reader *of(struct http_parser *p)
{
	return p->data;
}

static int take(struct http_reader *r, struct buf *b, const char *at, size_t n)
{
	if (!r->over && (memchr(at, 0, n) || buf_put(b, at, n) != 0))
		r->over = TL_E_LIMIT;
	return r->over ? -1 : 0;
}

static int on_url(struct http_parser *p, const char *at, size_t n)
{
	return take(of(p), &of(p)->target, at, n);
}

static int on_status(struct http_parser *p, const char *at, size_t n)
{
	return take(of(p), &of(p)->reason, at, n);
}

/* Headers of a trailer come when the head is complete: they stay in the raw body. */
static int on_field(struct http_parser *p, const char *at, size_t n)
{
	struct http_reader *r = of(p);

	if (r->head)
		return 0;
	if (r->in_value && buf_put_u8(&r->fields, 0) != 0)
		r->over = TL_E_LIMIT;
	r->in_value = false;
	/* Debian builds http_parser without its strict mode, which is what looks at this */
	if (memchr(at, ' ', n))
		r->over = TL_E_PROTO;
	return take(r, &r->fields, at, n);
}

static int on_value(struct http_parser *p, const char *at, size_t n)
{
	struct http_reader *r = of(p);

	if (r->head)
		return 0;
	if (!r->in_value && buf_put_u8(&r->fields, 0) != 0)
		r->over = TL_E_LIMIT;
	r->in_value = true;
	return take(r, &r->fields, at, n);
}

static int on_head(struct http_parser *p)
{
	struct http_reader *r = of(p);

	/* twice NUL for a value that was empty and never came */
	if (r->fields.len && buf_put(&r->fields, "\0", r->in_value ? 1 : 2) != 0)
		r->over = TL_E_LIMIT;
	if (buf_put_u8(&r->target, 0) != 0 || buf_put_u8(&r->reason, 0) != 0)
		r->over = TL_E_LIMIT;
	r->head = true;
	http_parser_pause(p, 1);
	if (r->over)
		return -1;
	return r->no_body ? 1 : 0;
}

static int on_complete(struct http_parser *p)
{
	of(p)->complete = true;
	http_parser_pause(p, 1);
	return 0;
}

static const http_parser_settings settings = {.on_url = on_url,
					      .on_status = on_status,
					      .on_header_field = on_field,
					      .on_header_value = on_value,
					      .on_headers_complete = on_head,
					      .on_message_complete = on_complete};

/* ---- feeding ---- */

struct http_reader *http_reader_new(bool response)
{
	struct http_reader *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	r->response = response;
	buf_init(&r->target, TARGET_MAX);
	buf_init(&r->reason, TARGET_MAX);
	buf_init(&r->fields, HEAD_MAX);
	http_parser_init(&r->parser, response ? HTTP_RESPONSE : HTTP_REQUEST);
	r->parser.data = r;
	return r;
}

void http_reader_free(struct http_reader *r)
{
	if (!r)
		return;
	buf_fini(&r->target);
	buf_fini(&r->reason);
	buf_fini(&r->fields);
	free(r);
}

void http_reader_no_body(struct http_reader *r)
{
	r->no_body = true;
}

enum http_state http_reader_state(const struct http_reader *r)
{
	return r->complete ? HTTP_COMPLETE : r->head ? HTTP_IN_BODY : HTTP_IN_HEAD;
}

static long broken(struct http_reader *r, struct tl_err *err)
{
	if (r->over)
		return err_set(err, r->over,
			       r->over == TL_E_PROTO ? "not HTTP: a space in the name of a header"
						     : "the head of an HTTP message is too large");
	return err_set(err, TL_E_PROTO, "not HTTP: %s",
		       http_errno_description(HTTP_PARSER_ERRNO(&r->parser)));
}

static bool is_paused(struct http_reader *r)
{
	if (HTTP_PARSER_ERRNO(&r->parser) != HPE_PAUSED)
		return false;
	http_parser_pause(&r->parser, 0);
	return true;
}

long http_reader_feed(struct http_reader *r, struct tl_bytes in, struct tl_err *err)
{
	bool had_head = r->head;
	size_t n;

	if (r->complete || in.n == 0)
		return 0;
	n = http_parser_execute(&r->parser, &settings, (const char *)in.p, in.n);
	if (HTTP_PARSER_ERRNO(&r->parser) != HPE_OK && !is_paused(r))
		return broken(r, err);
	/* the pause at the end of the head stands before its last line feed: taking that one tells
	 * whether there is a body */
	if (r->head && !had_head && !r->complete && n < in.n) {
		n += http_parser_execute(&r->parser, &settings, (const char *)in.p + n, 1);
		if (HTTP_PARSER_ERRNO(&r->parser) != HPE_OK && !is_paused(r))
			return broken(r, err);
	}
	return (long)n;
}

int http_reader_eof(struct http_reader *r)
{
	if (r->complete)
		return 0;
	http_parser_execute(&r->parser, &settings, NULL, 0);
	(void)is_paused(r);
	return r->complete ? 0 : TL_E_CLOSED;
}

void http_reader_next(struct http_reader *r)
{
	buf_clear(&r->target);
	buf_clear(&r->reason);
	buf_clear(&r->fields);
	r->in_value = r->head = r->complete = false;
	http_parser_init(&r->parser, r->response ? HTTP_RESPONSE : HTTP_REQUEST);
}

/* ---- the head ---- */

bool http_is_connect(const struct http_reader *r)
{
	return !r->response && r->parser.method == HTTP_CONNECT;
}

bool http_is_head(const struct http_reader *r)
{
	return !r->response && r->parser.method == HTTP_HEAD;
}

int http_status(const struct http_reader *r)
{
	return r->response ? (int)r->parser.status_code : 0;
}

const char *http_target(const struct http_reader *r)
{
	return (const char *)buf_data(&r->target).p;
}

/* The pair at *at; false at the end. */
static bool next_field(const struct http_reader *r, size_t *at, const char **name,
		       const char **value)
{
	struct tl_bytes b = buf_data(&r->fields);
	const char *p = (const char *)b.p + *at;

	if (*at >= b.n)
		return false;
	*name = p;
	*value = p + strlen(p) + 1;
	*at += strlen(p) + 1 + strlen(*value) + 1;
	return true;
}

const char *http_header(const struct http_reader *r, const char *name)
{
	const char *n, *v;

	for (size_t at = 0; next_field(r, &at, &n, &v);)
		if (strcasecmp(n, name) == 0)
			return v;
	return NULL;
}

int http_place(const struct http_reader *r, struct http_place *ret, struct tl_err *err)
{
	const char *text = http_target(r);
	struct http_parser_url u;
	size_t n;

	memset(ret, 0, sizeof(*ret));
	http_parser_url_init(&u);
	if (http_parser_parse_url(text, strlen(text), http_is_connect(r), &u) != 0 ||
	    !(u.field_set & (1 << UF_HOST)))
		return err_set(err, TL_E_INVAL, "“%.100s” is not an address that a proxy can go to",
			       text);
	n = u.field_data[UF_HOST].len;
	if (n == 0 || n >= sizeof(ret->host))
		return err_set(err, TL_E_INVAL, "the host in the address is too long");
	memcpy(ret->host, text + u.field_data[UF_HOST].off, n);
	ret->port = u.field_set & (1 << UF_PORT) ? u.port : 80;
	if (http_is_connect(r))
		return 0;
	n = u.field_data[UF_SCHEMA].len;
	if (n != 4 || strncasecmp(text + u.field_data[UF_SCHEMA].off, "http", 4) != 0)
		return err_set(err, TL_E_INVAL,
			       "a proxy is asked for http addresses only, and "
			       "with CONNECT for the others");
	/* from the path or the query on, without the fragment that no client should send */
	text = strstr(text, "://") + 3;
	text += strcspn(text, "/?#");
	ret->path = *text == '#' ? "" : text;
	return 0;
}

/* Is name among the words of a list? */
static bool in_list(const char *list, const char *name)
{
	size_t n = strlen(name);

	while (list && *list) {
		size_t len;
		list += strspn(list, ", \t");
		len = strcspn(list, ", \t");
		if (len == n && strncasecmp(list, name, n) == 0)
			return true;
		list += len;
	}
	return false;
}

/* Headers that are meant for us and not for the next hop (RFC 9110 section 7.6.1). What frames the
 * body stays whatever Connection names: the body goes on as it came. */
static bool is_hop(const struct http_reader *r, const char *name)
{
	static const char *const hop[] = {"Connection",
					  "Proxy-Connection",
					  "Keep-Alive",
					  "Proxy-Authenticate",
					  "Proxy-Authorization",
					  "TE",
					  "Upgrade"};
	static const char *const framing[] = {"Transfer-Encoding", "Content-Length", "Trailer",
					      "Host"};
	const char *n, *v;

	for (size_t i = 0; i < sizeof(framing) / sizeof(framing[0]); i++)
		if (strcasecmp(name, framing[i]) == 0)
			return false;
	for (size_t i = 0; i < sizeof(hop) / sizeof(hop[0]); i++)
		if (strcasecmp(name, hop[i]) == 0)
			return true;
	for (size_t at = 0; next_field(r, &at, &n, &v);)
		if (strcasecmp(n, "Connection") == 0 && in_list(v, name))
			return true;
	return false;
}

static int put_fields(const struct http_reader *r, bool without_host, struct buf *out)
{
	const char *n, *v;
	int rc = 0;

	for (size_t at = 0; rc == 0 && next_field(r, &at, &n, &v);)
		if (!is_hop(r, n) && !(without_host && strcasecmp(n, "Host") == 0))
			rc = buf_printf(out, "%s: %s\r\n", n, v);
	return rc;
}

int http_put_request(const struct http_reader *r, const struct http_place *to, struct buf *out)
{
	bool v6 = strchr(to->host, ':') != NULL;
	int rc = buf_printf(out, "%s %s%s HTTP/%d.%d\r\nHost: %s%s%s",
			    http_method_str((enum http_method)r->parser.method),
			    to->path[0] == '/' ? "" : "/", to->path, r->parser.http_major,
			    r->parser.http_minor, v6 ? "[" : "", to->host, v6 ? "]" : "");

	if (rc == 0 && to->port != 80)
		rc = buf_printf(out, ":%d", to->port);
	rc = rc ? rc : buf_put_str(out, "\r\n");
	rc = rc ? rc : put_fields(r, true, out);
	return rc ? rc : buf_put_str(out, "Connection: close\r\n\r\n");
}

int http_put_response(const struct http_reader *r, struct buf *out)
{
	int rc = buf_printf(out, "HTTP/%d.%d %d %s\r\n", r->parser.http_major, r->parser.http_minor,
			    (int)r->parser.status_code, (const char *)buf_data(&r->reason).p);

	rc = rc ? rc : put_fields(r, false, out);
	/* more of the same exchange comes after an informational one */
	if (rc == 0 && r->parser.status_code >= 200)
		rc = buf_put_str(out, "Connection: close\r\n");
	return rc ? rc : buf_put_str(out, "\r\n");
}
