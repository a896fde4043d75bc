/* tunnel_socks.c - asks a SOCKS 5 client where it wants to go. The client has a bounded time and
 * may send its first bytes before it has the answer. */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "api/tunnel_priv.h"
#include "base/str.h"
#include "loop/io.h"
#include "wire/socks5.h"

#define ANSWER_MS 10000

_Static_assert(sizeof(((struct tunnel_rest *)0)->bytes) >= SOCKS5_REQUEST_MAX + SOCKS5_GREETING_MAX,
	       "greeting and request fit");

/* More bytes behind those that are there. */
static int read_more(int fd, struct tl_cancel *cancel, uint64_t until, struct tunnel_rest *in,
		     struct tl_err *err)
{
	struct pollfd pf[2] = {{.fd = fd, .events = POLLIN},
			       {.fd = cancel_fd(cancel), .events = POLLIN}};
	uint64_t now;
	ssize_t n;

	while ((now = clock_mono_ms()) < until) {
		if (poll(pf, 2, (int)(until - now)) < 0 && errno != EINTR)
			return err_sys(err, errno, "cannot wait for a SOCKS request");
		if (pf[1].revents)
			return err_set(err, TL_E_CANCELED, "canceled before a SOCKS request");
		if (!pf[0].revents)
			continue;
		n = recv(fd, in->bytes + in->n, sizeof(in->bytes) - in->n, 0);
		if (n < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (n <= 0)
			return err_set(err, TL_E_CLOSED,
				       "a program ended its connection before a SOCKS request");
		in->n += (size_t)n;
		return 0;
	}
	return err_set(err, TL_E_TIMEOUT, "a program connected and made no SOCKS request");
}

static void drop(struct tunnel_rest *in, size_t used)
{
	in->n -= used;
	memmove(in->bytes, in->bytes + used, in->n);
}

static int greet(int fd, struct tl_cancel *cancel, uint64_t until, struct tunnel_rest *in,
		 struct tl_err *err)
{
	uint8_t choice[SOCKS5_CHOICE_SIZE];
	size_t used = 0;
	int rc;

	while ((rc = socks5_greeting(bytes_of(in->bytes, in->n), &used, err)) == 0) {
		rc = read_more(fd, cancel, until, in, err);
		if (rc)
			return rc;
	}
	if (rc < 0 && rc != TL_E_UNSUPPORTED)
		return rc;
	socks5_put_choice(choice, rc == 1);
	if (fd_write_all(fd, choice, sizeof(choice), ANSWER_MS) != 0)
		return err_set(err, TL_E_CLOSED, "a program ended its connection in SOCKS");
	drop(in, used);
	return rc < 0 ? rc : 0;
}

int tunnel_socks_ask(int fd, struct tl_cancel *cancel, struct tunnel_end *ret,
		     struct tunnel_rest *rest, struct tl_err *err)
{
	uint64_t until = clock_mono_ms() + TL_LIMIT_SOCKS_MS;
	struct socks5_target to = {0};
	size_t used = 0;
	int rc;

	rest->n = 0;
	rc = greet(fd, cancel, until, rest, err);
	if (rc)
		return rc;
	while ((rc = socks5_request(bytes_of(rest->bytes, rest->n), &to, &used, err)) == 0) {
		rc = read_more(fd, cancel, until, rest, err);
		if (rc)
			return rc;
	}
	if (rc < 0) {
		tunnel_socks_answer(fd, rc);
		return rc;
	}
	drop(rest, used);
	memset(ret, 0, sizeof(*ret));
	str_copy(ret->host, sizeof(ret->host), to.host);
	ret->port = to.port;
	return 0;
}

void tunnel_socks_answer(int fd, int code)
{
	uint8_t reply[SOCKS5_REPLY_SIZE];

	socks5_put_reply(reply, code);
	/* a client that has gone is noticed by what comes next */
	(void)fd_write_all(fd, reply, sizeof(reply), ANSWER_MS);
}
