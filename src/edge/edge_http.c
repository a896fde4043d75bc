/* edge_http.c - the window's files over HTTP. Answers GET and HEAD only, below one folder only, and
 * only to requests that call us by our own name. Files are read piece by piece as the socket takes
 * them. A file x may lie there as x.gz; then it is sent packed. */
#include "edge/edge_lws.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/str.h"
#include "edge/mime.h"

#define HEAD_BYTES 32768 /* a ticket may lead to a long path */
#define PIECE      65536
#define ENTRY      "/index.html"
#define IMMUTABLE  "public, max-age=31536000, immutable"

/* What an answer says about itself; NULL members are left out. */
struct answer {
	int status;
	const char *type, *cache, *encoding, *etag, *allow, *location;
	bool vary;
	uint64_t length;
};

struct head {
	struct lws *wsi;
	unsigned char *at, *end;
	bool failed;
};

static void put_header(struct head *h, const char *name, const char *value)
{
	if (value && !h->failed)
		h->failed = lws_add_http_header_by_name(h->wsi, (const unsigned char *)name,
							(const unsigned char *)value,
							(int)strlen(value), &h->at, h->end) != 0;
}

/* The headers every answer carries. */
static void put_security(struct head *h)
{
	struct edge *e = edge_of(h->wsi);
	enum edge_port port = port_of_wsi(h->wsi);

	put_header(h, "content-security-policy:", e->policy[port]);
	put_header(h, "x-content-type-options:", "nosniff");
	put_header(h, "referrer-policy:", "no-referrer");
	put_header(h, "cross-origin-resource-policy:", "same-site");
	/* window and frames load modules and fonts from each other's port */
	put_header(h, "access-control-allow-origin:",
		   e->origin[port == EDGE_PORT_WINDOW ? EDGE_PORT_FRAME : EDGE_PORT_WINDOW]);
}

/* Sends the head. 0 or -1. */
static int send_head(struct lws *wsi, const struct answer *a)
{
	unsigned char space[LWS_PRE + HEAD_BYTES];
	struct head h = {.wsi = wsi, .at = space + LWS_PRE, .end = space + sizeof(space)};

	h.failed = lws_add_http_header_status(wsi, (unsigned)a->status, &h.at, h.end) != 0;
	put_header(&h, "content-type:", a->type);
	put_header(&h, "content-encoding:", a->encoding);
	put_header(&h, "cache-control:", a->cache);
	put_header(&h, "etag:", a->etag);
	put_header(&h, "allow:", a->allow);
	put_header(&h, "location:", a->location);
	put_header(&h, "vary:", a->vary ? "accept-encoding" : NULL);
	put_security(&h);
	if (h.failed || lws_add_http_header_content_length(wsi, a->length, &h.at, h.end) ||
	    lws_finalize_write_http_header(wsi, space + LWS_PRE, &h.at, h.end)) {
		log_warn("an HTTP answer could not be built");
		return -1;
	}
	return 0;
}

static bool is_head(struct lws *wsi)
{
	return lws_hdr_total_length(wsi, WSI_TOKEN_HEAD_URI) > 0;
}

/* The transaction is over; the connection may live on. */
static int done(struct lws *wsi)
{
	return lws_http_transaction_completed(wsi) ? -1 : 0;
}

int http_say(struct lws *wsi, int status, const char *text)
{
	unsigned char body[LWS_PRE + 512];
	size_t n = strlen(text);
	struct answer a = {.status = status,
			   .type = "text/plain; charset=utf-8",
			   .cache = "no-store",
			   .allow = status == 405 ? "GET, HEAD" : NULL,
			   .length = n + 1};

	memcpy(body + LWS_PRE, text, n);
	body[LWS_PRE + n] = '\n';
	if (send_head(wsi, &a) != 0)
		return -1;
	if (!is_head(wsi) && lws_write(wsi, body + LWS_PRE, n + 1, LWS_WRITE_HTTP_FINAL) < 0)
		return -1;
	return 0;
}

static int say_and_end(struct lws *wsi, int status, const char *text)
{
	return http_say(wsi, status, text) != 0 ? -1 : done(wsi);
}

/* Only plain names below the folder: nothing hidden, nothing upwards, nothing odd. */
static bool path_is_plain(const char *path)
{
	if (path[0] != '/' || path[1] == 0)
		return false;
	for (const char *p = path; *p; p++) {
		if ((unsigned char)*p < 0x20 || *p == '\\' || *p == 0x7f)
			return false;
		if (*p == '/' && (p[1] == '.' || p[1] == '/' || p[1] == 0))
			return false;
	}
	return true;
}

/* Opens a regular file, or -1. */
static int open_file(const struct edge *e, const char *path, const char *ending, struct stat *st)
{
	char full[TL_LIMIT_PATH];
	int fd;

	if (snprintf(full, sizeof(full), "%s%s%s", e->ui_dir, path, ending) >= (int)sizeof(full))
		return -1;
	fd = open(full, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd >= 0 && (fstat(fd, st) != 0 || !S_ISREG(st->st_mode))) {
		close(fd);
		fd = -1;
	}
	return fd;
}

/* No header: any coding is acceptable (RFC 9110, 12.5.3). */
static bool accepts_gzip(struct lws *wsi)
{
	char text[256];
	const char *at;

	if (lws_hdr_total_length(wsi, WSI_TOKEN_HTTP_ACCEPT_ENCODING) == 0)
		return true;
	if (lws_hdr_copy(wsi, text, sizeof(text), WSI_TOKEN_HTTP_ACCEPT_ENCODING) < 0)
		return true;
	at = strstr(text, "gzip");
	if (!at)
		at = strchr(text, '*');
	if (!at)
		return false;
	/* "gzip;q=0" and "gzip;q=0.0" refuse it */
	at += strcspn(at, ";,");
	at += strspn(at, "; \t");
	return !str_starts(at, "q=0") || strspn(at + 3, ".0") != strcspn(at + 3, ", ");
}

static bool has_tag(struct lws *wsi, const char *etag)
{
	char text[256];

	return lws_hdr_copy(wsi, text, sizeof(text), WSI_TOKEN_HTTP_IF_NONE_MATCH) > 0 &&
	       strstr(text, etag);
}

static int missing(struct lws *wsi, const struct edge *e, const char *path)
{
	struct stat st;
	char text[400];
	int fd = open_file(e, ENTRY, "", &st);

	if (fd < 0)
		fd = open_file(e, ENTRY, ".gz", &st);
	if (fd < 0)
		return say_and_end(wsi, 503,
				   "Towline's window is not built. Build it with `make ui` in the "
				   "source folder, or reinstall, then load this page again.");
	close(fd);
	snprintf(text, sizeof(text),
		 "There is no %.200s here. Open a window with `towline open HOST`.", path);
	return say_and_end(wsi, 404, text);
}

/* Sends one piece of the file. 0 go on later, 1 done, -1 broken. */
static int send_piece(struct lws *wsi, struct http_request *r)
{
	unsigned char space[LWS_PRE + PIECE];
	size_t want = r->left < PIECE ? (size_t)r->left : PIECE;
	ssize_t n = read(r->fd, space + LWS_PRE, want);

	/* a file that shrank meanwhile cannot be completed any more */
	if (n <= 0)
		return -1;
	r->left -= (uint64_t)n;
	if (lws_write(wsi, space + LWS_PRE, (size_t)n,
		      r->left ? LWS_WRITE_HTTP : LWS_WRITE_HTTP_FINAL) < 0)
		return -1;
	if (r->left > 0) {
		lws_callback_on_writable(wsi);
		return 0;
	}
	return 1;
}

static void forget(struct http_request *r)
{
	if (r && r->used)
		close(r->fd);
	if (r)
		r->used = false;
}

static int serve(struct lws *wsi, struct http_request *r, struct edge *e, const char *path)
{
	char etag[64];
	struct stat st;
	struct answer a = {.status = 200, .type = mime_of(path)};
	int fd = open_file(e, path, ".gz", &st);

	if (fd >= 0) {
		a.vary = true;
		if (accepts_gzip(wsi)) {
			a.encoding = "gzip";
		} else {
			close(fd);
			fd = open_file(e, path, "", &st);
			if (fd < 0)
				return say_and_end(
				    wsi, 406, "This file is kept packed: accept the coding gzip.");
		}
	} else {
		fd = open_file(e, path, "", &st);
	}
	if (fd < 0)
		return missing(wsi, e, path);
	snprintf(etag, sizeof(etag), "\"%llx-%llx%s\"", (unsigned long long)st.st_mtime,
		 (unsigned long long)st.st_size, a.encoding ? "z" : "");
	a.etag = etag;
	a.cache = str_starts(path, "/assets/") ? IMMUTABLE : "no-cache";
	a.length = (uint64_t)st.st_size;
	if (has_tag(wsi, etag)) {
		a.status = 304;
		a.length = 0;
	}
	if (send_head(wsi, &a) != 0) {
		close(fd);
		return -1;
	}
	if (is_head(wsi) || a.length == 0) {
		close(fd);
		return done(wsi);
	}
	forget(r);
	*r = (struct http_request){.used = true, .fd = fd, .left = a.length};
	lws_callback_on_writable(wsi);
	return 0;
}

/* Sends the browser on to where a ticket leads. */
static int use_ticket(struct lws *wsi, struct edge *e, const char *code)
{
	struct answer a = {.status = 302, .cache = "no-store"};
	char *target = is_head(wsi) ? NULL : ticket_take(e, code);
	int rc;

	if (!target)
		return say_and_end(wsi, 410,
				   "This address worked once only. Open a window with "
				   "`towline open HOST`.");
	a.location = target;
	rc = send_head(wsi, &a);
	free(target);
	return rc ? -1 : done(wsi);
}

static int request(struct lws *wsi, struct http_request *r, const char *path)
{
	struct edge *e = edge_of(wsi);
	bool window = port_of_wsi(wsi) == EDGE_PORT_WINDOW;

	if (!host_is_ours(wsi))
		return say_and_end(
		    wsi, 421,
		    "This address belongs to Towline's window on this machine and is "
		    "served under the name localhost only.");
	if (lws_hdr_total_length(wsi, WSI_TOKEN_GET_URI) <= 0 && !is_head(wsi)) {
		/* a body may follow that nobody reads: the connection ends */
		http_say(wsi, 405, "Only GET and HEAD are understood here.");
		return -1;
	}
	if (window && strcmp(path, "/healthz") == 0)
		return say_and_end(wsi, 200, "ok");
	if (window && strcmp(path, "/ws") == 0)
		return say_and_end(wsi, 426,
				   "This is a WebSocket: connect with the protocol towline.");
	if (window && str_starts(path, TICKET_URL))
		return use_ticket(wsi, e, path + sizeof(TICKET_URL) - 1);
	if (strcmp(path, "/") == 0)
		path = ENTRY;
	if (!window && strcmp(path, ENTRY) == 0)
		return say_and_end(wsi, 404, "This port serves parts of a window only.");
	if (!path_is_plain(path))
		return say_and_end(wsi, 404, "There is nothing under this address.");
	return serve(wsi, r, e, path);
}

int http_callback(struct lws *wsi, enum lws_callback_reasons why, void *user, void *in, size_t len)
{
	struct http_request *r = user;
	struct edge *e;
	int rc;

	if (gate_owns(wsi, why))
		return gate_callback(wsi, why, user, in, len);
	switch (why) {
	case LWS_CALLBACK_HTTP:
		return request(wsi, r, in);
	case LWS_CALLBACK_HTTP_CONFIRM_UPGRADE:
		return ws_refuse(wsi, in);
	case LWS_CALLBACK_HTTP_WRITEABLE:
		if (!r || !r->used)
			return 0;
		rc = send_piece(wsi, r);
		if (rc == 0)
			return 0;
		forget(r);
		return rc < 0 ? -1 : done(wsi);
	case LWS_CALLBACK_CLOSED_HTTP:
	case LWS_CALLBACK_HTTP_DROP_PROTOCOL:
		forget(r);
		return 0;
	case LWS_CALLBACK_WSI_DESTROY:
		e = edge_of(wsi);
		if (e && e->tcp_count > 0)
			e->tcp_count--;
		return 0;
	default:
		return 0;
	}
}
