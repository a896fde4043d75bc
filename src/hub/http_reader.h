/* http_reader.h - one HTTP/1 message as a proxy sees it: the head in parts, the body as raw bytes
 * up to its end. Parsing is http_parser's (Debian's libhttp-parser); nothing lenient is switched
 * on. Memory in, memory out. */
#ifndef TL_HUB_HTTP_READER_H
#define TL_HUB_HTTP_READER_H

#include "base/buf.h"
#include "base/err.h"

struct http_reader;

enum http_state {
	HTTP_IN_HEAD, /* more of the head is needed */
	HTTP_IN_BODY, /* the head is complete; fed bytes are the body, framing included */
	HTTP_COMPLETE /* the message has ended */
};

/* response: a status line begins it, not a request line. NULL: out of memory. */
struct http_reader *http_reader_new(bool response);
void http_reader_free(struct http_reader *r);
/* A response to HEAD has no body whatever its head says. Before the first byte. */
void http_reader_no_body(struct http_reader *r);
/* Takes bytes up to the end of the head, of the input, or of the message; never more than one of
 * the three, so look at the state after each call. Returns the bytes taken, or TL_E_PROTO (err
 * names what is wrong), TL_E_LIMIT. */
long http_reader_feed(struct http_reader *r, struct tl_bytes in, struct tl_err *err);
/* The peer has ended its side: some responses end that way. TL_E_CLOSED: this one did not. */
int http_reader_eof(struct http_reader *r);
enum http_state http_reader_state(const struct http_reader *r);
/* After an informational response (100): reads the next one. */
void http_reader_next(struct http_reader *r);

/* Once the head is complete. */
bool http_is_connect(const struct http_reader *r);
bool http_is_head(const struct http_reader *r);
int http_status(const struct http_reader *r);
/* The target as it stands in the request line. */
const char *http_target(const struct http_reader *r);
/* Value of a header, names compared without case; NULL: it is not there. Borrowed. */
const char *http_header(const struct http_reader *r, const char *name);

#define HTTP_HOST_MAX 256
/* Where a request of a proxy's client goes. */
struct http_place {
	char host[HTTP_HOST_MAX]; /* without brackets */
	int port;
	const char *path; /* of an absolute form: from the slash on, "" for none; borrowed */
};
/* host:port of CONNECT, or an absolute http address. TL_E_INVAL: neither. */
int http_place(const struct http_reader *r, struct http_place *ret, struct tl_err *err);

/* Appends the head for the next hop: hop-by-hop headers are left out, `Connection: close` is said.
 * Request: origin form, Host from the address (RFC 9112 section 3.2.2). 0 or TL_E_LIMIT,
 * TL_E_NOMEM. */
int http_put_request(const struct http_reader *r, const struct http_place *to, struct buf *out);
int http_put_response(const struct http_reader *r, struct buf *out);

#endif
