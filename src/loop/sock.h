/* sock.h - unix and loopback sockets. Descriptors returned are the caller's. */
#ifndef TL_LOOP_SOCK_H
#define TL_LOOP_SOCK_H

#include <sys/types.h>
#include <sys/un.h>

#include "loop/loop.h"

struct listener {
	uv_poll_t poll;
	int fd, spare; /* spare: given up for a moment when no descriptor is left for a caller */
	bool open;
	void (*on_accept)(void *ctx, int fd); /* fd is the callee's */
	void *ctx;
};

/* Listens on a unix socket of mode 0600; a stale file that nobody answers on is replaced, a live
 * one gives TL_E_EXIST. */
int listen_unix(struct loop *l, struct listener *ls, const char *path,
		void (*on_accept)(void *, int), void *ctx, struct tl_err *err);
void listener_close(struct listener *ls);
/* Removes a socket of ours that nobody listens on any more: it was left by a program that was
 * killed. */
void unix_remove_stale(const struct sockaddr_un *sa);
/* Blocking connect to a unix socket; it waits only for a listener whose queue is full, and not for
 * ever: TL_E_AGAIN. fd or TL_E_NOENT, TL_E_REFUSED, TL_E_IO. */
int connect_unix(const char *path, struct tl_err *err);
/* uid of the peer of a unix socket; 0 or TL_E_IO. */
int peer_uid(int fd, uid_t *ret_uid);
/* Passes n descriptors (at most 4) with one byte; blocking. */
int send_fds(int sock, const int *fds, int n);
/* Receives exactly n descriptors (close-on-exec); blocking. 0, TL_E_CLOSED, TL_E_PROTO. */
int recv_fds(int sock, int *ret_fds, int n);
/* Names what 127.0.0.1 means here: this boot of this machine and the network namespace. Empty where
 * the kernel does not tell. n: 64 is enough. */
void network_name(char *out, size_t n);
/* A connected pair, close-on-exec. */
int socket_pair(int ret_fds[2]);
/* Folder for sockets: made with its parents, mode 0700; one that is another user's, a link or open
 * to others gives TL_E_ACCES. */
int private_dir(const char *path, struct tl_err *err);

#endif
