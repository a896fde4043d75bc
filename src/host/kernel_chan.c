/* kernel_chan.c - the five ZeroMQ connections to a kernel. A connection that is refused or breaks
 * is made again while the process lives: a kernel that starts has no sockets yet, one that replaces
 * itself loses them for a moment. Reading never stops. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "host/kernel_state.h"

#define OUT_MAX    (2 * TL_LIMIT_KERNEL_MESSAGE)
#define OUT_BUSY   8388608 /* bytes waiting for a channel: viewers are not read */
#define TURN_BYTES (8 * KERNEL_CHUNK)
#define RETRY_MIN  5
#define RETRY_MAX  200

static void conn_freed(void *ctx)
{
	struct kernel_conn *n = ctx;
	zmtp_fini(&n->zmtp);
	free(n);
}

static void conn_close(struct kernel_conn *n)
{
	struct kernel_chan *c = n->chan;
	if (!c)
		return;
	n->chan = NULL;
	c->conn = NULL;
	io_close(&n->io, conn_freed);
}

/* It broke: what was half written cannot be continued, so the queue begins anew. */
static void conn_lost(struct kernel_conn *n, const char *why)
{
	struct kernel_chan *c = n->chan;
	if (!c)
		return;
	if (why)
		log_warn("session %s: %s: %s", c->k->plan.id, jupyter_channel_name(c->which), why);
	conn_close(n);
	buf_clear(&c->out);
	if (c->which == JUPYTER_HB)
		c->k->pinged_ms = 0;
	timer_start(&c->retry, RETRY_MIN);
}

/* false: the connection is gone. */
static bool conn_write(struct kernel_conn *n, struct buf *queue)
{
	while (queue->len) {
		struct tl_bytes b = buf_data(queue);
		long got = io_write(&n->io, b.p, b.n);
		if (got < 0) {
			conn_lost(n, NULL);
			return false;
		}
		if (got == 0) {
			io_want_write(&n->io, true);
			return true;
		}
		buf_consume(queue, (size_t)got);
	}
	buf_shrink(queue);
	return true;
}

static void conn_flush(struct kernel_conn *n)
{
	struct buf *own = &n->zmtp.out, *queue = &n->chan->out;
	if (!n->greeted) {
		if (!conn_write(n, own) || own->len)
			return;
		n->greeted = true;
	}
	/* the queue ends with a whole message, which is where an answer to a PING may stand */
	if (own->len && buf_put(queue, buf_data(own).p, own->len) == 0)
		buf_clear(own);
	if (n->zmtp.ready)
		conn_write(n, queue);
}

static void conn_ready(struct kernel_conn *n)
{
	struct kernel_chan *c = n->chan;
	c->tries = 0;
	if (c->which == JUPYTER_IOPUB)
		zmtp_put_subscribe(&n->zmtp.out, bytes_of("", 0));
	conn_flush(n);
}

static void conn_message(struct kernel_conn *n)
{
	struct kernel *k = n->chan->k;
	size_t count = zmtp_parts(&n->zmtp);
	struct tl_bytes *parts = calloc(count + 1, sizeof(*parts));
	if (!parts)
		return;
	for (size_t i = 0; i < count; i++)
		parts[i] = zmtp_part(&n->zmtp, i);
	if (n->chan->which == JUPYTER_HB) {
		k->heard_ms = clock_mono_ms();
		k->pinged_ms = 0;
	} else {
		kernel_log_message(k, n->chan->which, parts, count);
	}
	free(parts);
}

static bool conn_feed(struct kernel_conn *n, struct tl_bytes in)
{
	while (in.n && n->chan) {
		size_t used;
		int event = zmtp_feed(&n->zmtp, in, &used);
		in = bytes_of(in.p + used, in.n - used);
		if (event < 0) {
			conn_lost(n, n->zmtp.reason);
			return false;
		}
		if (event == ZMTP_READY)
			conn_ready(n);
		else if (event == ZMTP_MESSAGE)
			conn_message(n);
		else if (event == ZMTP_DROPPED)
			kernel_log_lost(n->chan->k, jupyter_channel_name(n->chan->which), 0,
					"a message was larger than this server takes");
	}
	return n->chan != NULL;
}

static void on_conn_readable(void *ctx)
{
	struct kernel_conn *n = ctx;
	struct kernel *k = n->chan ? n->chan->k : NULL;
	size_t moved = 0;
	while (n->chan && moved < TURN_BYTES) {
		long got = io_read(&n->io, k->chunk, sizeof(k->chunk));
		if (got == TL_E_AGAIN)
			break;
		if (got <= 0) {
			conn_lost(n, NULL);
			break;
		}
		moved += (size_t)got;
		if (!conn_feed(n, bytes_of(k->chunk, (size_t)got)))
			break;
	}
	if (!k)
		return;
	if (n->chan && n->zmtp.out.len)
		conn_flush(n);
	kviewer_pump_all(k);
	kernel_reconsider(k);
}

static void on_conn_writable(void *ctx)
{
	struct kernel_conn *n = ctx;
	struct kernel_chan *c = n->chan;
	if (!c)
		return;
	conn_flush(n);
	if (kernel_chan_takes(c))
		kviewer_obey_all(c->k);
}

/* ---- connecting ---- */

static int connect_tcp(int port)
{
	struct sockaddr_in sa = {.sin_family = AF_INET,
				 .sin_port = htons((uint16_t)port),
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	/* the loopback answers at once */
	if (fd >= 0 && connect(fd, (struct sockaddr *)&sa, sizeof(sa)) != 0) {
		close(fd);
		return -1;
	}
	if (fd >= 0)
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	return fd;
}

static int chan_dial(struct kernel_chan *c)
{
	char path[TL_LIMIT_PATH];
	if (c->k->plan.tcp)
		return connect_tcp(c->k->port[c->which]);
	kernel_connection_path(c->k, c->which, path, sizeof(path));
	return connect_unix(path, NULL);
}

static bool chan_connect(struct kernel_chan *c)
{
	static const enum zmtp_socket types[JUPYTER_CHANNELS] = {ZMTP_DEALER, ZMTP_DEALER, ZMTP_SUB,
								 ZMTP_DEALER, ZMTP_REQ};
	/* the kernel asks for input on the stdin socket of whoever has the shell socket's name */
	bool named = c->which == JUPYTER_SHELL || c->which == JUPYTER_STDIN;
	struct tl_bytes name = named ? bytes_str(c->k->session) : bytes_of("", 0);
	int fd = chan_dial(c);
	struct kernel_conn *n = fd >= 0 ? calloc(1, sizeof(*n)) : NULL;
	if (n && zmtp_init(&n->zmtp, types[c->which], name, TL_LIMIT_KERNEL_MESSAGE,
			   TL_LIMIT_KERNEL_PARTS) != 0) {
		free(n);
		n = NULL;
	}
	if (n && io_open(&c->k->loop, &n->io, fd, fd, on_conn_readable, on_conn_writable, n) != 0) {
		zmtp_fini(&n->zmtp);
		free(n);
		n = NULL;
	}
	if (!n) {
		if (fd >= 0)
			close(fd);
		return false;
	}
	n->chan = c;
	c->conn = n;
	conn_flush(n);
	return true;
}

static void on_retry(void *ctx)
{
	struct kernel_chan *c = ctx;
	unsigned delay = RETRY_MIN * (c->tries + 1);
	if (c->conn || c->k->child.pid <= 0 || chan_connect(c))
		return;
	c->tries++;
	timer_start(&c->retry, delay < RETRY_MAX ? delay : RETRY_MAX);
}

void kernel_chan_init(struct kernel *k)
{
	for (int i = 0; i < JUPYTER_CHANNELS; i++) {
		struct kernel_chan *c = &k->chan[i];
		c->k = k;
		c->which = (enum jupyter_channel)i;
		buf_init(&c->out, OUT_MAX);
		timer_init(&k->loop, &c->retry, on_retry, c);
	}
}

void kernel_chan_open(struct kernel *k)
{
	for (int i = 0; i < JUPYTER_CHANNELS; i++) {
		k->chan[i].tries = 0;
		timer_start(&k->chan[i].retry, RETRY_MIN);
	}
}

void kernel_chan_close(struct kernel *k)
{
	for (int i = 0; i < JUPYTER_CHANNELS; i++) {
		struct kernel_chan *c = &k->chan[i];
		timer_stop(&c->retry);
		if (c->conn)
			conn_close(c->conn);
		buf_fini(&c->out);
	}
	k->pinged_ms = 0;
}

/* ---- sending ---- */

bool kernel_chan_takes(const struct kernel_chan *c)
{
	return c->conn && c->conn->zmtp.ready && c->out.len < OUT_BUSY;
}

int kernel_chan_send(struct kernel_chan *c, const struct tl_bytes *parts, size_t n)
{
	int rc = jupyter_put(&c->out, bytes_str(c->k->key), parts, n);
	if (!rc && c->conn)
		conn_flush(c->conn);
	return rc;
}

int kernel_chan_ask(struct kernel_chan *c, const char *type, const char *content)
{
	struct buf header;
	char id[33];
	random_id(id, sizeof(id) - 1);
	buf_init(&header, 4096);
	int rc = jupyter_put_header(&header, id, c->k->session, type, c->k->plan.username,
				    clock_wall_ms());
	struct tl_bytes parts[] = {buf_data(&header), bytes_str("{}"), bytes_str("{}"),
				   bytes_str(content)};
	rc = rc ? rc : kernel_chan_send(c, parts, 4);
	buf_fini(&header);
	return rc;
}

void kernel_chan_ping(struct kernel *k)
{
	struct kernel_chan *c = &k->chan[JUPYTER_HB];
	/* REQ's frames: an empty one, then the request */
	const struct tl_bytes parts[] = {bytes_of("", 0), bytes_str("ping")};
	if (!c->conn || !c->conn->zmtp.ready || k->pinged_ms || zmtp_put(&c->out, parts, 2) != 0)
		return;
	k->pinged_ms = clock_mono_ms();
	conn_flush(c->conn);
}
