/* plain.h - a host without our program, behind the same streams: one private master connection of
 * ssh, and an ssh of its own for each stream that goes through it (`ssh -S`). Only for plain*.c and
 * session_own.c. Owns nothing of the login; streams that are still there are ended by plain_close.
 *
 * Threads: plain_open from any thread; a thread for each command and each reverse listener, counted
 * in busy; plain_close waits for them. */
#ifndef TL_API_PLAIN_H
#define TL_API_PLAIN_H

#include <pthread.h>

#include "api/session.h"
#include "base/limits.h"
#include "base/str.h"
#include "dial/master.h"
#include "wire/json.h"

#define PLAIN_LIFELINES 256    /* streams that only live as long as the session */
#define PLAIN_COMMAND   122880 /* bytes of an encoded command line: below the kernel's 128 KiB */

struct plain {
	char *host, *ssh; /* for messages; the program */
	char *why;        /* what keeps our program from running there */
	bool sftp_only;
	char dir[TL_LIMIT_PATH + 64]; /* private folder; borrowed from the session */
	char ctl[TL_LIMIT_PATH + 96]; /* control socket in it */
	struct tl_cancel *stop;       /* ends every thread */
	pthread_mutex_t lock;         /* everything below */
	pthread_cond_t changed;
	size_t busy;
	unsigned next_id;
	int lifelines[PLAIN_LIFELINES], n_lifelines;
	struct list arrivals; /* struct plain_arrival: connections of reverse listeners */
};

/* dir: a private folder with the control socket `ctl`. why: borrowed. NULL: out of memory. */
struct plain *plain_new(const char *host, const char *ssh, const char *dir, const char *why,
			bool sftp_only);
/* As session_back.open. */
int plain_open(struct plain *p, struct tl_session *s, const char *open_json,
	       struct tl_cancel *cancel, uint64_t deadline_ms, int *ret_fd, char **ret_ok,
	       struct tl_err *err);
/* The connection is gone: streams that live as long as it end. */
void plain_lost(struct plain *p);
/* Ends and waits for everything, and frees p. The master connection must still be there: commands
 * are ended on the host. */
void plain_close(struct plain *p);

/* ---- between plain*.c */

/* argv of an ssh through the master; more: what stands before the host (NULL-terminated), command:
 * behind it, or NULL. Never makes a connection of its own. */
int plain_argv(const struct plain *p, struct strv *ret, const char *const *more,
	       const char *command);
/* Runs a command of ssh itself (-O …) or on the host to its end: what it printed, its status. */
int plain_ask(const struct plain *p, const char *const *more, const char *command, struct buf *out,
	      int timeout_ms, int *ret_status, struct tl_err *err);
/* Is the master connection still there? */
bool plain_alive(const struct plain *p);
/* Counts a thread in and starts it; out again at its end. */
int plain_thread(struct plain *p, void *(*fn)(void *), void *ctx, struct tl_err *err);
void plain_leave(struct plain *p);
/* A stream of nothing that ends with the session. */
int plain_lifeline(struct plain *p, int *ret_fd, struct tl_err *err);

/* plain_text.c: the lines of sh for an opening object; each of ours on its output begins with NUL,
 * `towline-` and has the nonce. Without argv and command (a script) the command is added later. */
int plain_text(struct buf *out, const char *nonce, const char *host, yyjson_val *open,
	       struct tl_err *err);
int plain_text_shell(struct buf *out, struct tl_bytes command);
/* plain_exec.c: an exec stream (docs/protocol.md 9) */
int plain_exec_open(struct plain *p, yyjson_val *open, int *ret_fd, struct tl_err *err);
/* plain_forward.c: connections from there, listeners there. *ret_port: 0 for a path */
int plain_dial(struct plain *p, yyjson_val *open, int *ret_fd, struct tl_err *err);
int plain_listen(struct plain *p, yyjson_val *open, int *ret_fd, int *ret_port, struct tl_err *err);
int plain_fetch(struct plain *p, yyjson_val *open, int *ret_fd, struct tl_err *err);
void plain_arrivals_fini(struct plain *p);

#endif
