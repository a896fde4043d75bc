/* local_listen.h - listeners on addresses and unix sockets of this machine, for programs of the
 * same user. "localhost" is 127.0.0.1 and ::1 under one port number, because browsers try both.
 * Owns its descriptors, and the file of a unix socket. Loop thread. */
#ifndef TL_LOOP_LOCAL_LISTEN_H
#define TL_LOOP_LOCAL_LISTEN_H

#include "loop/loop.h"

/* both loopbacks, or both wildcards */
#define LOCAL_LISTEN_FDS 2

struct local_listen;

struct local_listen_door {
	uv_poll_t poll;
	int fd;
	struct local_listen *owner;
};

struct local_listen {
	struct loop *loop;
	struct local_listen_door door[LOCAL_LISTEN_FDS];
	int n, closing;
	int spare;  /* given up for a moment when no descriptor is left for a caller */
	int port;   /* 0: a unix socket */
	char *path; /* removed by local_listen_close */
	bool paused;
	void (*on_accept)(void *ctx, int fd); /* fd is the callee's, non-blocking */
	void (*on_closed)(void *ctx);
	void *ctx;
};

/* Listens on a port; 0: any free one (ret->port tells). address: "localhost", "allInterfaces" or
 * "*" (every address of both families), or an address of this machine. Errors: TL_E_LOCALPORT
 * (taken, in either family), TL_E_LOCALPRIV (reserved for the administrator), TL_E_LOCALADDR.
 * Only after success it must be closed. */
int local_listen_tcp(struct loop *l, struct local_listen *ret, const char *address, int port,
		     void (*on_accept)(void *, int), void *ctx, struct tl_err *err);
/* Listens on a unix socket of mode 0600 whose callers are this user or root. A file that nobody
 * listens on any more is replaced; TL_E_EXIST where something else has the name. */
int local_listen_unix(struct loop *l, struct local_listen *ret, const char *path,
		      void (*on_accept)(void *, int), void *ctx, struct tl_err *err);
/* While paused callers wait in the kernel's queue. */
void local_listen_pause(struct local_listen *ls, bool paused);
/* on_closed (may be NULL): the memory may go; ctx is the one of above. */
void local_listen_close(struct local_listen *ls, void (*on_closed)(void *ctx));
/* Ends an accepted connection so that its program sees a reset, and not an empty answer. */
void local_listen_refuse(int fd);
/* The address means loopback only. */
bool local_listen_is_loopback(const char *address);

#endif
