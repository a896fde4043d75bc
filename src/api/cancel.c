/* cancel.c - the token that ends calls: an eventfd that stays readable once it is set. tl_cancel is
 * one write, so it may be called from any thread and from a signal handler. */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "api/session.h"

struct tl_cancel {
	int fd;
};

struct tl_cancel *tl_cancel_new(void)
{
	struct tl_cancel *c = malloc(sizeof(*c));

	if (!c)
		return NULL;
	c->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (c->fd < 0) {
		free(c);
		return NULL;
	}
	return c;
}

void tl_cancel_free(struct tl_cancel *c)
{
	if (!c)
		return;
	close(c->fd);
	free(c);
}

void tl_cancel(struct tl_cancel *c)
{
	static const uint64_t one = 1;
	int saved = errno;

	if (!c)
		return;
	/* the only way to fail is a counter that is full: then it is set anyway */
	while (write(c->fd, &one, sizeof(one)) < 0 && errno == EINTR)
		;
	errno = saved;
}

void tl_cancel_reset(struct tl_cancel *c)
{
	uint64_t count;

	if (!c)
		return;
	while (read(c->fd, &count, sizeof(count)) < 0 && errno == EINTR)
		;
}

int cancel_fd(const struct tl_cancel *c)
{
	return c ? c->fd : -1;
}

bool cancel_is_set(const struct tl_cancel *c)
{
	struct pollfd pf = {.fd = cancel_fd(c), .events = POLLIN};

	return c && poll(&pf, 1, 0) > 0;
}
