/* hub_forward_socks.c - a program asks a SOCKS 5 forward where it wants to go: greeting and request
 * are read here, then its connection is carried like any other, and the answer follows the host's.
 */
#include "hub/hub_forward.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "loop/io.h"
#include "wire/socks5.h"

struct asking;

/* What the loop still holds after the connection went its way. */
struct asking_io {
	struct io io;
	struct loop_timer patience;
	struct asking *asking; /* NULL: nobody listens any more */
	int closing;
};

struct asking {
	struct forward_conn conn; /* first */
	struct asking_io *io;
	bool greeted;
	size_t n;
	uint8_t bytes[SOCKS5_GREETING_MAX + SOCKS5_REQUEST_MAX + 512];
};

static void io_part_closed(void *ctx)
{
	struct asking_io *a = ctx;

	if (--a->closing == 0)
		free(a);
}

static void io_drop(struct asking *a)
{
	struct asking_io *io = a->io;

	a->io = NULL;
	io->asking = NULL;
	io->closing = 2;
	io_close(&io->io, io_part_closed);
	timer_close(&io->patience, io_part_closed);
}

static void asking_abort(struct forward_conn *c)
{
	io_drop((struct asking *)(void *)c);
	forward_conn_free(c);
}

static void give_up(struct asking *a, const char *why)
{
	log_line(LOG_INFO, a->conn.forward->spec.host, "forward %s: %s", a->conn.forward->id, why);
	asking_abort(&a->conn);
}

static void socks_answered(struct forward_conn *c, struct conn_relay *r, const struct tl_err *err)
{
	uint8_t reply[SOCKS5_REPLY_SIZE];

	(void)c;
	socks5_put_reply(reply, err ? err->code : 0);
	conn_relay_say(r, bytes_of(reply, sizeof(reply)));
}

static void drop_front(struct asking *a, size_t used)
{
	a->n -= used;
	memmove(a->bytes, a->bytes + used, a->n);
}

/* 1: done, go on; 0: more bytes are needed; -1: a is gone. */
static int greet(struct asking *a)
{
	uint8_t choice[SOCKS5_CHOICE_SIZE];
	struct tl_err e = {0};
	size_t used = 0;
	int rc = socks5_greeting(bytes_of(a->bytes, a->n), &used, &e);

	if (rc == 0)
		return 0;
	if (rc == 1 || rc == TL_E_UNSUPPORTED) {
		/* nothing was written before: an empty socket takes two bytes */
		socks5_put_choice(choice, rc == 1);
		if (io_write(&a->io->io, choice, sizeof(choice)) != (long)sizeof(choice))
			rc = err_set(&e, TL_E_CLOSED, "a program left during SOCKS");
	}
	if (rc != 1) {
		give_up(a, e.text);
		return -1;
	}
	drop_front(a, used);
	a->greeted = true;
	return 1;
}

/* The descriptor leaves the io, which closes what it has: the connection goes on with a copy. */
static void carry(struct asking *a, const struct socks5_target *to)
{
	int fd = fcntl(a->io->io.rfd, F_DUPFD_CLOEXEC, 0);
	char *open = forward_open_json(to->host, to->port, NULL);
	uint8_t rest[sizeof(a->bytes)];
	size_t n = a->n;

	if (fd < 0) {
		free(open);
		give_up(a, "no descriptor is left for a connection");
		return;
	}
	memcpy(rest, a->bytes, n);
	io_drop(a);
	a->conn.answered = socks_answered;
	forward_conn_carry(&a->conn, fd, open, bytes_of(rest, n));
	free(open);
}

static void request(struct asking *a)
{
	struct socks5_target to = {0};
	uint8_t reply[SOCKS5_REPLY_SIZE];
	struct tl_err e = {0};
	size_t used = 0;
	int rc = socks5_request(bytes_of(a->bytes, a->n), &to, &used, &e);

	if (rc == 0)
		return;
	if (rc < 0) {
		socks5_put_reply(reply, rc);
		(void)io_write(&a->io->io, reply, sizeof(reply));
		give_up(a, e.text);
		return;
	}
	drop_front(a, used);
	carry(a, &to);
}

static void on_readable(void *ctx)
{
	struct asking_io *io = ctx;
	struct asking *a = io->asking;
	long n;

	if (!a)
		return;
	n = io_read(&io->io, a->bytes + a->n, sizeof(a->bytes) - a->n);
	if (n == TL_E_AGAIN)
		return;
	if (n <= 0) {
		give_up(a, "a program left before its SOCKS request");
		return;
	}
	a->n += (size_t)n;
	if (!a->greeted && greet(a) <= 0)
		return;
	request(a);
}

static void too_late(void *ctx)
{
	struct asking_io *io = ctx;

	if (io->asking)
		give_up(io->asking, "a program connected and made no SOCKS request");
}

void forward_socks(struct hub_forward *f, int fd)
{
	struct asking_io *io = calloc(1, sizeof(*io));
	struct forward_conn *c = io ? forward_conn_new(f, sizeof(struct asking)) : NULL;
	struct asking *a = (struct asking *)(void *)c;

	if (!c || io_open(f->hub->loop, &io->io, fd, fd, on_readable, NULL, io) != 0) {
		if (c)
			forward_conn_free(c);
		free(io);
		local_listen_refuse(fd);
		return;
	}
	timer_init(f->hub->loop, &io->patience, too_late, io);
	timer_start(&io->patience, TL_LIMIT_SOCKS_MS);
	io->asking = a;
	a->io = io;
	c->abort = asking_abort;
}
