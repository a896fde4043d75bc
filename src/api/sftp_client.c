/* sftp_client.c - see sftp_client.h: the wire, and the queue of requests under way. Owns the
 * descriptor, both buffers and the queue. Invariant: answers come in the order of requests, so only
 * the oldest is ever looked at. */
#include "api/sftp_client.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "api/sftp_plain.h"
#include "api/sftp_priv.h"
#include "base/limits.h"
#include "base/str.h"
#include "loop/io.h"

#define IN_MAX  (4 * TL_LIMIT_SFTP_PACKET)
#define OUT_MAX (4 * TL_LIMIT_SFTP_PACKET)
/* so much may wait before a new request waits itself */
#define OUT_PUSH   TL_LIMIT_SFTP_PACKET
#define READ_PIECE TL_LIMIT_SFTP_PACKET

struct sftp_client {
	int fd, cancel_fd;
	struct buf in, out;
	struct sftp_pending *first, **last;
	size_t pending;
	uint32_t next_id;
	int broken;
	bool greeted;
	struct sftp_plain *plain; /* NULL: the server is ours */
	bool wants_plain;         /* and if it were, it counts as any other */
	uint64_t trip_us;         /* the least of a request that was waited for alone */
};

/* ------------------------------------------------ the queue */

/* The oldest request ends. */
static void finish(struct sftp_client *c, int rc, const struct tl_err *err)
{
	struct sftp_pending *p = c->first;

	c->first = p->next;
	if (!c->first)
		c->last = &c->first;
	c->pending--;
	if (p->done)
		p->done(p->done_ctx, rc, err);
	free(p);
}

/* From here on the client is of no use; whoever waits hears of it, because he owns what he began.
 */
static int break_off(struct sftp_client *c, int code, struct tl_err *err, const char *why)
{
	struct tl_err mine = {0};

	if (!c->broken)
		c->broken = code;
	err_set(&mine, c->broken, "cannot go on with the host's files: %s", why);
	while (c->first)
		finish(c, mine.code, &mine);
	if (err)
		*err = mine;
	return mine.code;
}

/* ------------------------------------------------ bytes */

/* Writes what the kernel takes. */
static int push(struct sftp_client *c, struct tl_err *err)
{
	while (c->out.len) {
		struct tl_bytes b = buf_data(&c->out);
		ssize_t n = send(c->fd, b.p, b.n, MSG_NOSIGNAL);
		if (n < 0 && errno == ENOTSOCK)
			n = write(c->fd, b.p, b.n);
		if (n >= 0)
			buf_consume(&c->out, (size_t)n);
		else if (errno == EAGAIN)
			return 0;
		else if (errno != EINTR)
			return break_off(c, TL_E_CLOSED, err, "the connection was closed");
	}
	return 0;
}

/* Reads what is there: 1 perhaps more, 0 nothing more now, negative broken. */
static int pull(struct sftp_client *c, struct tl_err *err)
{
	size_t room = buf_room(&c->in), want = room < READ_PIECE ? room : READ_PIECE;
	uint8_t *p = buf_reserve(&c->in, want);
	ssize_t n;

	if (!p)
		return break_off(c, TL_E_NOMEM, err, "out of memory");
	do
		n = read(c->fd, p, want);
	while (n < 0 && errno == EINTR);
	if (n < 0 && errno == EAGAIN)
		return 0;
	if (n <= 0)
		return break_off(c, TL_E_CLOSED, err, "the connection was closed");
	buf_commit(&c->in, (size_t)n);
	/* asking once more after a short read would mostly find nothing */
	return (size_t)n == want;
}

static int wait_any(struct sftp_client *c, struct tl_err *err)
{
	struct pollfd p[2] = {{.fd = c->fd, .events = POLLIN},
			      {.fd = c->cancel_fd, .events = POLLIN}};

	if (c->out.len)
		p[0].events |= POLLOUT;
	if (poll(p, 2, -1) < 0 && errno != EINTR)
		return break_off(c, TL_E_IO, err, "waiting failed");
	if (p[1].revents)
		return break_off(c, TL_E_CANCELED, err, "interrupted");
	return 0;
}

/* Ctrl-C must count even while the connection never lets us wait. */
static int check_cancel(struct sftp_client *c, struct tl_err *err)
{
	struct pollfd p = {.fd = c->cancel_fd, .events = POLLIN};

	if (c->cancel_fd >= 0 && poll(&p, 1, 0) == 1)
		return break_off(c, TL_E_CANCELED, err, "interrupted");
	return 0;
}

/* ------------------------------------------------ answers */

/* The host's words: "WORD: text" of our own server, or only a number. */
static int status_error(uint32_t code, struct tl_bytes message, struct tl_err *err)
{
	static const int codes[] = {[SFTP_EOF] = TL_E_IO,
				    [SFTP_NO_SUCH_FILE] = TL_E_NOENT,
				    [SFTP_PERMISSION_DENIED] = TL_E_ACCES,
				    [SFTP_FAILURE] = TL_E_IO,
				    [SFTP_BAD_MESSAGE] = TL_E_INVAL,
				    [SFTP_NO_CONNECTION] = TL_E_CLOSED,
				    [SFTP_CONNECTION_LOST] = TL_E_CLOSED,
				    [SFTP_OP_UNSUPPORTED] = TL_E_UNSUPPORTED};
	const uint8_t *colon = memchr(message.p, ':', message.n);
	const struct tl_error_row *row = NULL;
	size_t skip = 0;

	if (colon)
		row = err_row_by_name((const char *)message.p, (size_t)(colon - message.p));
	if (row) {
		skip = (size_t)(colon - message.p) + 1;
		if (skip < message.n && message.p[skip] == ' ')
			skip++;
		return err_set(err, row->code, "%.*s", (int)(message.n - skip),
			       (const char *)message.p + skip);
	}
	return err_set(err, code < sizeof(codes) / sizeof(codes[0]) ? codes[code] : TL_E_IO, "%.*s",
		       (int)message.n, (const char *)message.p);
}

/* The payload of a wanted reply. */
static int take_wanted(struct sftp_client *c, struct sftp_reader *r)
{
	struct sftp_pending *p = c->first;
	bool more = p->streamed && sftp_get_u8(r) != 0;

	if (!p->rc && p->take)
		p->rc = p->take(p, r, more, &p->err);
	p->first = false;
	if (r->bad)
		return TL_E_PROTO;
	if (p->rc == TL_E_CANCELED || p->rc == TL_E_PROTO)
		return p->rc;
	if (!more)
		finish(c, p->rc, &p->err);
	return 0;
}

static int take_status(struct sftp_client *c, struct sftp_reader *r)
{
	struct sftp_pending *p = c->first;
	uint32_t code = sftp_get_u32(r);
	struct tl_err err = {0};
	int rc = 0;

	if (code != SFTP_OK)
		rc = status_error(code, sftp_get_string(r), &err);
	else if (p->want != SFTP_STATUS)
		return TL_E_PROTO;
	if (code == SFTP_EOF && p->at_end) {
		*p->at_end = true;
		rc = 0;
	}
	/* READDIR: its end */
	if (code == SFTP_EOF && p->entry && p->out) {
		*(bool *)p->out = true;
		rc = 0;
	}
	if (p->rc)
		finish(c, p->rc, &p->err);
	else
		finish(c, rc, &err);
	return 0;
}

static int take_version(struct sftp_client *c, struct sftp_reader *r)
{
	bool ours = false;

	sftp_get_u32(r);
	while (r->n && !r->bad) {
		struct tl_bytes name = sftp_get_string(r);
		sftp_get_string(r);
		sftp_plain_extension(c->plain, name);
		/* the last of ours: a stand-in has only what windows need */
		if (name.n == strlen(SFTP_EXT_TREE) && !memcmp(name.p, SFTP_EXT_TREE, name.n))
			ours = true;
	}
	c->greeted = true;
	if (ours && !c->wants_plain) {
		sftp_plain_free(c->plain);
		c->plain = NULL;
	}
	return r->bad ? TL_E_PROTO : 0;
}

/* The answer is the oldest request's; servers that are not ours may answer in any order. */
static bool is_next(struct sftp_client *c, uint32_t id)
{
	struct sftp_pending **at = &c->first, *p;

	while (c->plain && *at && (*at)->id != id)
		at = &(*at)->next;
	p = *at;
	if (!p || p->id != id)
		return false;
	if (p == c->first)
		return true;
	*at = p->next;
	if (!p->next)
		c->last = at;
	p->next = c->first;
	c->first = p;
	return true;
}

static int take(struct sftp_client *c, struct tl_bytes packet)
{
	struct sftp_reader r = sftp_reader_of(packet);
	uint8_t type = sftp_get_u8(&r);

	if (!c->greeted)
		return type == SFTP_VERSION_REPLY ? take_version(c, &r) : TL_E_PROTO;
	if (!is_next(c, sftp_get_u32(&r)))
		return TL_E_PROTO;
	if (type == SFTP_STATUS)
		return take_status(c, &r);
	return type == c->first->want ? take_wanted(c, &r) : TL_E_PROTO;
}

/* Every whole packet that is there. */
static int take_all(struct sftp_client *c, struct tl_err *err)
{
	struct tl_bytes packet;
	size_t used;
	int rc = 0;

	while ((rc = sftp_next(buf_data(&c->in), &packet, &used)) == 1) {
		rc = take(c, packet);
		if (rc == TL_E_CANCELED)
			return break_off(c, rc, err, "interrupted");
		if (rc)
			break;
		buf_consume(&c->in, used);
	}
	return rc < 0 ? break_off(c, TL_E_PROTO, err, "the host's answer makes no sense") : 0;
}

int sftp_client_drain(struct sftp_client *c, size_t left, struct tl_err *err)
{
	int rc, some = 1;

	if (c->broken)
		return err_set(err, c->broken, "cannot go on with the host's files: %s",
			       err_row(c->broken)->what);
	for (;;) {
		rc = take_all(c, err);
		if (!rc)
			rc = push(c, err);
		if (rc || (c->greeted && c->pending <= left && c->out.len < OUT_PUSH))
			return rc;
		if (!some)
			rc = wait_any(c, err);
		else
			rc = check_cancel(c, err);
		if (!rc)
			rc = some = pull(c, err);
		if (rc < 0)
			return rc;
	}
}

/* ------------------------------------------------ requests */

struct sftp_call sftp_call_begin(struct sftp_client *c, uint8_t type, const char *extension,
				 uint8_t want)
{
	struct sftp_call call = {.c = c, .out = &c->out};

	call.p = calloc(1, sizeof(*call.p));
	if (!call.p) {
		call.rc = TL_E_NOMEM;
		return call;
	}
	call.p->id = ++c->next_id;
	call.p->want = want;
	call.p->first = true;
	call.m = sftp_begin(call.out, type, call.p->id);
	call.rc = call.m.rc;
	if (extension)
		sftp_call_str(&call, extension);
	return call;
}

void sftp_call_str(struct sftp_call *call, const char *s)
{
	sftp_call_bytes(call, bytes_str(s));
}

void sftp_call_u32(struct sftp_call *call, uint32_t v)
{
	if (!call->rc)
		call->rc = buf_put_u32(call->out, v);
}

void sftp_call_u64(struct sftp_call *call, uint64_t v)
{
	if (!call->rc)
		call->rc = buf_put_u64(call->out, v);
}

void sftp_call_bytes(struct sftp_call *call, struct tl_bytes b)
{
	if (!call->rc)
		call->rc = buf_put_string(call->out, b.p, b.n);
}

void sftp_call_raw(struct sftp_call *call, struct tl_bytes b)
{
	if (!call->rc)
		call->rc = buf_put(call->out, b.p, b.n);
}

int sftp_call_send(struct sftp_call *call, struct tl_err *err)
{
	struct sftp_client *c = call->c;
	struct tl_err mine = {0};
	int rc = TL_E_NOMEM;

	/* nothing more goes out to a host that is gone */
	if (call->p)
		rc = sftp_end(call->out, call->m, c->broken ? c->broken : call->rc);
	if (rc) {
		err_set(&mine, rc, "cannot ask the host: %s", err_row(rc)->what);
		if (call->p && call->p->done)
			call->p->done(call->p->done_ctx, rc, &mine);
		free(call->p);
		if (err)
			*err = mine;
		return rc;
	}
	*c->last = call->p;
	c->last = &call->p->next;
	c->pending++;
	/* answers are taken, too, so that both sides can always go on */
	return c->out.len >= OUT_PUSH ? sftp_client_drain(c, c->pending, err) : 0;
}

static uint64_t now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

struct waited {
	int rc;
	struct tl_err err;
};

static void waited_done(void *ctx, int rc, const struct tl_err *err)
{
	struct waited *w = ctx;

	w->rc = rc;
	w->err = *err;
}

int sftp_call_wait(struct sftp_call *call, struct tl_err *err)
{
	struct waited w = {0};
	struct sftp_client *c = call->c;
	uint64_t began_us = c->pending ? 0 : now_us(), trip_us;
	int rc;

	if (call->p) {
		call->p->done = waited_done;
		call->p->done_ctx = &w;
	}
	rc = sftp_call_send(call, err);
	if (!rc)
		rc = sftp_client_drain(c, 0, err);
	trip_us = began_us ? now_us() - began_us + 1 : 0;
	if (!rc && trip_us && (!c->trip_us || trip_us < c->trip_us))
		c->trip_us = trip_us;
	if (!rc && w.rc && err)
		*err = w.err;
	return rc ? rc : w.rc;
}

/* ------------------------------------------------ life */

static int client_open(struct sftp_client **ret, int fd, int cancel_fd, bool plain,
		       struct tl_err *err)
{
	struct sftp_client *c = calloc(1, sizeof(*c));
	int rc;

	/* until the server has said what it is */
	if (c && !(c->plain = sftp_plain_new())) {
		free(c);
		c = NULL;
	}
	if (!c) {
		close(fd);
		return err_set(err, TL_E_NOMEM, "cannot open the host's files: out of memory");
	}
	c->wants_plain = plain;
	c->fd = fd;
	c->cancel_fd = cancel_fd;
	c->last = &c->first;
	buf_init(&c->in, IN_MAX);
	buf_init(&c->out, OUT_MAX);
	rc = fd_set_nonblock(fd, true);
	if (!rc)
		rc = sftp_put_hello(&c->out, SFTP_INIT, SFTP_VERSION);
	if (rc)
		err_set(err, rc, "cannot open the host's files: %s", err_row(rc)->what);
	else
		rc = sftp_client_drain(c, 0, err);
	if (rc) {
		sftp_client_free(c);
		return rc;
	}
	*ret = c;
	return 0;
}

int sftp_client_open(struct sftp_client **ret, int fd, int cancel_fd, struct tl_err *err)
{
	return client_open(ret, fd, cancel_fd, false, err);
}

int sftp_client_open_plain(struct sftp_client **ret, int fd, int cancel_fd, struct tl_err *err)
{
	return client_open(ret, fd, cancel_fd, true, err);
}

char *sftp_client_leftover(const struct sftp_client *c)
{
	return c ? str_dup(sftp_plain_leftover(c->plain)) : NULL;
}

struct sftp_plain *sftp_client_plain(const struct sftp_client *c)
{
	return c->plain;
}

bool sftp_client_is_broken(const struct sftp_client *c)
{
	return c->broken != 0;
}

void sftp_client_break(struct sftp_client *c, int code)
{
	break_off(c, code, NULL, "it was given up");
}

void sftp_client_free(struct sftp_client *c)
{
	if (!c)
		return;
	break_off(c, TL_E_CANCELED, NULL, "it was given up");
	close(c->fd);
	buf_fini(&c->in);
	buf_fini(&c->out);
	sftp_plain_free(c->plain);
	free(c);
}

uint64_t sftp_client_trip_us(const struct sftp_client *c)
{
	return c->trip_us;
}

size_t sftp_client_pending(const struct sftp_client *c)
{
	return c->pending;
}
