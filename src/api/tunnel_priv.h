/* tunnel_priv.h - the parts of tunnels and how they know each other. Only for tunnel*.c of this
 * room. */
#ifndef TL_API_TUNNEL_PRIV_H
#define TL_API_TUNNEL_PRIV_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "api/session.h"
#include "base/limits.h"

#define TUNNEL_HOST_MAX 256
#define TUNNEL_PATH_MAX TL_LIMIT_PATH

/* One end as a person writes it: host and port, or the path of a unix socket. */
struct tunnel_end {
	char host[TUNNEL_HOST_MAX];
	int port;
	char path[TUNNEL_PATH_MAX]; /* "" : host and port count */
};

/* "host:port", "[v6]:port", "/path", "~/path". TL_E_INVAL with a sentence that begins with
 * intent. */
int tunnel_target_parse(const char *text, const char *intent, struct tunnel_end *ret,
			struct tl_err *err);
/* The same, and "port" alone: loopback. Port 0 is any. "*" as host: every address. */
int tunnel_listen_parse(const char *text, const char *intent, struct tunnel_end *ret,
			struct tl_err *err);
/* "host:port" or the path. */
void tunnel_end_text(const struct tunnel_end *e, char *out, size_t n);
/* Two ends listening here: "localhost" is ::1 as well as 127.0.0.1. */
#define TUNNEL_LISTENERS 2
/* Non-blocking listeners; *ret_port: the port, 0 for a path. TL_E_PORT where it is taken. */
int tunnel_listen(const struct tunnel_end *e, int ret_fds[TUNNEL_LISTENERS], int *ret_n,
		  int *ret_port, struct tl_err *err);
/* Connects from here; ends early when cancel is set. Descriptor or TL_E_*. */
int tunnel_connect(const struct tunnel_end *e, struct tl_cancel *cancel, struct tl_err *err);
/* An opening object that connects on the host, malloc'ed. */
char *tunnel_open_json(const struct tunnel_end *e);
/* Small writes are answers that somebody waits for. */
void tunnel_no_delay(int fd);

/* Copies between two sockets until both directions have ended, one broke, or cancel is set. stream:
 * the one that carries a stream of the session (its total end before ours is a reset). first: bytes
 * of a that were read already. A reset is passed on. Both are closed. */
void tunnel_copy(int a, int b, int stream, const void *first, size_t first_n,
		 struct tl_cancel *cancel);

/* Serves SOCKS 5 on fd up to the request. Bytes that came behind it are left in rest. */
struct tunnel_rest {
	uint8_t bytes[1024];
	size_t n;
};
int tunnel_socks_ask(int fd, struct tl_cancel *cancel, struct tunnel_end *ret,
		     struct tunnel_rest *rest, struct tl_err *err);
/* Tells the client how its request ended (0 or TL_E_*). */
void tunnel_socks_answer(int fd, int code);

struct tl_tunnel {
	struct tl_session *session;
	struct session_user user; /* the session tells us when it goes */
	struct session_carrier carrier;
	struct tunnel_end listen, target;
	bool socks, reverse, once, unlink_path;
	tl_log_fn *log;
	void *ctx;
	int port;

	int listeners[TUNNEL_LISTENERS], n_listeners; /* here; of a reverse tunnel none */
	int lifeline; /* a stream whose end is the session's; of a reverse tunnel the listener's */
	struct tl_cancel *stop; /* ends every thread of the tunnel */
	int room_fd;            /* eventfd: a connection has ended */
	int over_fd;            /* eventfd: `why` is final */
	pthread_t thread;

	pthread_mutex_t lock; /* everything below */
	pthread_cond_t changed;
	size_t connections;
	bool over, halting; /* halting: no connection may be given to the session any more */
	struct tl_err why;  /* code 0: a `once` tunnel that did its work */
};

/* One connection. fd: who connected, -1 for one of a listener on the host, then id is its name
 * there. Takes fd. Says by itself what went wrong. 0 or TL_E_*. */
int tunnel_conn_start(struct tl_tunnel *t, int fd, const char *peer, const char *id);
/* Of the tunnel's carrier. */
size_t tunnel_conn_answered(struct session_carrier *carrier, void *ctx, const struct tl_err *err,
			    uint8_t word[CARRY_WORD]);
void tunnel_conn_ended(struct session_carrier *carrier, void *ctx, const struct tl_err *why);
/* The tunnel's work is done or cannot go on. */
void tunnel_over(struct tl_tunnel *t, const struct tl_err *why);
void tunnel_log(struct tl_tunnel *t, int level, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#endif
