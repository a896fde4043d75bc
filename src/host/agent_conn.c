/* agent_conn.c - bridges: the handshake on the agent's socket, then the transport they brought.
 * Each step has one deadline. A connection that misbehaves costs itself only. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/str.h"
#include "base/version.h"
#include "host/agent.h"
#include "host/agent_url.h"
#include "host/browser.h"

/* A client may need a while between the marker and its HELLO: other end of a slow line. */
#define HELLO_MS    (TL_LIMIT_CONNECT_MS / 2)
#define HELLO_BYTES (LINK_HEADER + LINK_HELLO_SIZE)

static void conn_gone(void *ctx)
{
	struct conn *c = ctx;

	if (--c->open_parts > 0)
		return;
	c->agent->conn_count--;
	list_del(&c->node);
	buf_fini(&c->in);
	free(c);
}

static void say(struct conn *c, const char *word, int code, const char *why)
{
	struct buf b;

	buf_init(&b, HANDSHAKE_LINE);
	/* a last word into a socket that nobody filled; whether it arrives changes nothing */
	if (handshake_put_word(&b, word, code, why) == 0 &&
	    io_write(&c->sock, buf_data(&b).p, b.len) < 0)
		log_debug("bridge: gone before \"%s\"", word);
	buf_fini(&b);
}

void conn_close(struct conn *c, int code, const char *why)
{
	bool spliced = c->splice && c->transport;

	if (c->state == CONN_CLOSED)
		return;
	if (c->sock.open && !spliced && !c->answered)
		say(c, c->transport && c->state >= CONN_GO ? "end" : "error", code, why);
	c->state = CONN_CLOSED;
	c->link = NULL;
	if (c->data.open) {
		/* the descriptions are shared with the bridge, and a terminal may be among them */
		fd_set_nonblock(c->data.rfd, false);
		fd_set_nonblock(c->data.wfd, false);
		io_close(&c->data, conn_gone);
	}
	io_close(&c->sock, conn_gone);
	timer_close(&c->deadline, conn_gone);
	/* without its one client a private server has no task */
	if (c->agent->on_single_over)
		agent_stop(c->agent, code, why);
}

static void conn_lost(struct conn *c, const char *why)
{
	struct agent_link *lk = c->link;

	if (lk)
		agent_link_transport_lost(lk, why);
	else
		conn_close(c, TL_E_CLOSED, why);
}

/* Collects up to `want` bytes in c->in; 1 complete (or LF found when line), 0 more to come,
 * negative: closed. */
static int collect(struct conn *c, struct io *io, size_t want, bool line)
{
	while (c->in.len < want) {
		uint8_t *p = buf_reserve(&c->in, want - c->in.len);
		long n = p ? io_read(io, p, want - c->in.len) : TL_E_NOMEM;
		if (n == TL_E_AGAIN)
			return 0;
		if (n <= 0)
			return TL_E_CLOSED;
		buf_commit(&c->in, (size_t)n);
		if (line && memchr(buf_data(&c->in).p, '\n', c->in.len))
			return 1;
	}
	return line ? TL_E_LIMIT : 1;
}

/* A program that wants to show a page: one line, one answer. */
static void on_browser(struct conn *c, struct tl_bytes request)
{
	struct tl_err err = {0};
	int rc = agent_url_open(c->agent, request, &err);

	if (rc == 0) {
		c->answered = true;
		/* a few bytes into an empty socket; who does not read them is gone */
		if (io_write(&c->sock, BROWSER_OPENED, strlen(BROWSER_OPENED)) < 0)
			log_debug("browser: gone before its answer");
	}
	conn_close(c, rc, err.text);
}

static void on_line(struct conn *c)
{
	struct handshake_peer me = {
	    .proto_min = LINK_PROTO, .proto_max = LINK_PROTO, .pid = getpid()};
	struct handshake_peer bridge;
	struct buf out;
	char *text;
	int rc = collect(c, &c->sock, TL_LIMIT_OPEN_LINE, true);

	if (rc == 0)
		return;
	text = rc > 0 ? str_ndup(buf_data(&c->in).p, c->in.len) : NULL;
	/* the LF must be the last byte: a bridge says no more before it was answered */
	if (!text || strcspn(text, "\n") != c->in.len - 1) {
		free(text);
		conn_close(c, rc < 0 ? rc : TL_E_PROTO, "the bridge's first line is not valid");
		return;
	}
	text[c->in.len - 1] = 0;
	if (str_starts(text, BROWSER_WORD)) {
		on_browser(c, bytes_str(text + strlen(BROWSER_WORD)));
		free(text);
		return;
	}
	rc = handshake_get_bridge(text, &bridge);
	free(text);
	buf_clear(&c->in);
	if (rc) {
		conn_close(c, rc, "the bridge's first line is not valid");
		return;
	}
	str_copy(me.version, sizeof(me.version), TL_VERSION);
	c->splice = bridge.splice;
	buf_init(&out, HANDSHAKE_LINE);
	rc = handshake_put_agent(&out, &me);
	if (rc == 0 && io_write(&c->sock, buf_data(&out).p, out.len) != (long)out.len)
		rc = TL_E_CLOSED;
	buf_fini(&out);
	if (rc) {
		conn_close(c, rc, "the bridge went away");
		return;
	}
	if (c->splice)
		c->transport = &c->sock;
	c->state = c->splice ? CONN_GO : CONN_FDS;
	timer_start(&c->deadline, HANDSHAKE_MS);
}

static void on_data_readable(void *ctx);
static void on_data_writable(void *ctx);

static void on_fds(struct conn *c)
{
	int fds[2], rc = recv_fds(c->sock.rfd, fds, 2);

	if (rc == TL_E_AGAIN)
		return;
	if (rc == TL_E_PROTO) {
		/* the byte came, the descriptors did not: some sandboxes drop them */
		conn_close(c, TL_E_UNSUPPORTED, "no descriptors arrived");
		return;
	}
	if (rc) {
		conn_close(c, rc, "the bridge went away");
		return;
	}
	rc = io_open(&c->agent->loop, &c->data, fds[0], fds[1], on_data_readable, on_data_writable,
		     c);
	if (rc) {
		close(fds[0]);
		close(fds[1]);
		/* files and /dev/null cannot be waited for; copying through the bridge can */
		conn_close(c, TL_E_UNSUPPORTED, "these descriptors cannot be waited for");
		return;
	}
	c->open_parts++;
	io_want_read(&c->data, false);
	c->transport = &c->data;
	c->state = CONN_GO;
	if (io_write(&c->sock, HANDSHAKE_READY, strlen(HANDSHAKE_READY)) !=
	    (long)strlen(HANDSHAKE_READY)) {
		conn_close(c, TL_E_CLOSED, "the bridge went away");
		return;
	}
	/* printing the marker may have to wait for a slow client */
	timer_start(&c->deadline, TL_LIMIT_CONNECT_MS);
}

static void on_go(struct conn *c)
{
	int rc = collect(c, &c->sock, strlen(HANDSHAKE_GO), false);

	if (rc == 0)
		return;
	if (rc < 0 || memcmp(buf_data(&c->in).p, HANDSHAKE_GO, strlen(HANDSHAKE_GO)) != 0) {
		conn_close(c, rc < 0 ? rc : TL_E_PROTO, "the bridge did not say go");
		return;
	}
	buf_clear(&c->in);
	c->state = CONN_HELLO;
	io_want_read(c->transport, true);
	timer_start(&c->deadline, HELLO_MS);
}

static void on_hello(struct conn *c)
{
	uint8_t id[LINK_ID_SIZE];
	uint32_t epoch;
	int rc = collect(c, c->transport, HELLO_BYTES, false);

	if (rc < 0) {
		conn_close(c, 0, "the client left before HELLO");
		return;
	}
	/* asked with what there is: garbage is refused before 56 bytes of it came */
	rc = session_peek_hello(buf_data(&c->in), id, &epoch);
	if (rc == TL_E_AGAIN && c->in.len < HELLO_BYTES)
		return;
	if (rc) {
		log_warn("bridge: the client's first frame is not a HELLO");
		conn_close(c, TL_E_PROTO, "the client's first frame is not a HELLO");
		return;
	}
	timer_stop(&c->deadline);
	agent_link_adopt(c->agent, c, id, epoch);
}

static void on_transport(struct conn *c)
{
	if (c->state == CONN_HELLO)
		on_hello(c);
	else if (c->state == CONN_LIVE)
		agent_link_readable(c->link);
}

static void on_data_readable(void *ctx)
{
	on_transport(ctx);
}

static void on_data_writable(void *ctx)
{
	struct conn *c = ctx;

	c->full = false;
	if (c->link)
		agent_link_kick(c->link);
}

static void on_sock_readable(void *ctx)
{
	struct conn *c = ctx;
	char byte;
	long n;

	switch (c->state) {
	case CONN_LINE:
		on_line(c);
		return;
	case CONN_FDS:
		on_fds(c);
		return;
	case CONN_GO:
		on_go(c);
		return;
	case CONN_CLOSED:
		return;
	default:
		break;
	}
	if (c->splice) {
		on_transport(c);
		return;
	}
	n = io_read(&c->sock, &byte, 1);
	if (n != TL_E_AGAIN)
		conn_lost(c, n > 0 ? "the bridge said more than it may" : "the bridge ended");
}

static void on_deadline(void *ctx)
{
	struct conn *c = ctx;

	conn_close(c, TL_E_TIMEOUT,
		   c->state == CONN_HELLO ? "the client sent no HELLO in time"
					  : "the bridge did not answer in time");
}

void conn_accept(void *ctx, int fd)
{
	struct agent *a = ctx;
	struct conn *c;
	uid_t uid;

	if (peer_uid(fd, &uid) != 0 || uid != geteuid()) {
		log_warn("refused a connection of another user");
		close(fd);
		return;
	}
	if (a->conn_count >= AGENT_CONNECTIONS || !(c = calloc(1, sizeof(*c)))) {
		log_warn("refused a connection: %zu are open", a->conn_count);
		close(fd);
		return;
	}
	if (io_open(&a->loop, &c->sock, fd, fd, on_sock_readable, on_data_writable, c) != 0) {
		close(fd);
		free(c);
		return;
	}
	c->agent = a;
	c->open_parts = 2;
	buf_init(&c->in, TL_LIMIT_OPEN_LINE);
	timer_init(&a->loop, &c->deadline, on_deadline, c);
	timer_start(&c->deadline, HANDSHAKE_MS);
	list_add_tail(&a->conns, &c->node);
	a->conn_count++;
}

int conn_serve(struct agent *a, int rfd, int wfd)
{
	struct conn *c = calloc(1, sizeof(*c));
	int rc = c ? io_open(&a->loop, &c->data, rfd, wfd, on_data_readable, on_data_writable, c)
		   : TL_E_NOMEM;

	if (rc) {
		free(c);
		return rc;
	}
	c->agent = a;
	c->open_parts = 2;
	c->transport = &c->data;
	c->state = CONN_HELLO;
	buf_init(&c->in, HANDSHAKE_LINE);
	timer_init(&a->loop, &c->deadline, on_deadline, c);
	timer_start(&c->deadline, HELLO_MS);
	list_add_tail(&a->conns, &c->node);
	a->conn_count++;
	return 0;
}
