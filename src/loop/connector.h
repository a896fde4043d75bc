/* connector.h - connects from this machine to a port or a unix socket without blocking the loop:
 * the name is resolved by libuv's threads, then each address is tried in turn. Loop thread. */
#ifndef TL_LOOP_CONNECTOR_H
#define TL_LOOP_CONNECTOR_H

#include <sys/socket.h>

#include "loop/loop.h"

struct connector;

struct connector_spec {
	const char *host; /* name or address; NULL: path counts */
	int port;
	const char *path;
	uint64_t timeout_ms; /* for everything */
	/* May refuse an address, false. NULL: all are good. */
	bool (*allowed)(void *ctx, const struct sockaddr *sa);
	/* Once, never from within connector_start: a connected non-blocking descriptor, which is
	 * the callee's, or -1 and err (TL_E_RESOLVE, TL_E_REFUSED, TL_E_UNREACH, TL_E_TIMEOUT;
	 * TL_E_ACCES: every address was refused by `allowed`). */
	void (*on_done)(void *ctx, int fd, const struct tl_err *err);
	void *ctx;
};

/* Strings are copied. 0 or TL_E_NOMEM, TL_E_LIMIT (no callback comes then). */
int connector_start(struct loop *l, const struct connector_spec *spec, struct connector **ret,
		    struct tl_err *err);
/* No callback any more. */
void connector_cancel(struct connector *c);

#endif
