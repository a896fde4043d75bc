/* session.h - struct tl_session inside of libtowline: one way to a host, two back ends (towlined's
 * connection, or an ssh of our own in a thread), and one thing both can do: open a stream. What the
 * functions of the public header share is declared here. Everything may be called from any thread.
 */
#ifndef TL_API_SESSION_H
#define TL_API_SESSION_H

#include <stdbool.h>
#include <stdint.h>
#include <towline.h>

#include "base/bytes.h"
#include "base/err.h"
#include "base/list.h"

/* Opens a stream. open_json: the opening object of docs/protocol.md 3 and 9 on one line without LF,
 * for instance {"open":"sftp"}. Waits for the host's answer, and for a free stream where all are in
 * use. *ret_fd: a blocking, close-on-exec descriptor (of a socket) that carries only the stream's
 * bytes; shutdown(SHUT_WR) is FIN, close ends the stream. A stream that broke reads as end of
 * stream or ECONNRESET: session_lost tells whether the connection is gone. Writing: use send with
 * MSG_NOSIGNAL. */
int session_open_stream(struct tl_session *s, const char *open_json, int *ret_fd,
			struct tl_error *err);
/* The same; cancel (may be NULL) ends the wait with TL_E_CANCELED, deadline_ms (clock_mono_ms time,
 * 0: none) with TL_E_TIMEOUT; ret_ok (may be NULL): the `ok` object of the answer as JSON text,
 * malloc'ed. */
int session_open_answered(struct tl_session *s, const char *open_json, struct tl_cancel *cancel,
			  uint64_t deadline_ms, int *ret_fd, char **ret_ok, struct tl_error *err);
/* Carries a local connection on a stream of its own, without a thread. The carrier is the one for
 * whom: of a tunnel. Its functions are called on the session's thread and must not wait. */
#define CARRY_WORD 32
struct session_carrier {
	struct list node; /* the session's */
	/* The host has answered (err NULL: connected). Returns the size of a word for the local
	 * program ahead of everything else, written into ret_word. */
	size_t (*answered)(struct session_carrier *c, void *ctx, const struct tl_err *err,
			   uint8_t ret_word[CARRY_WORD]);
	/* The last call for a connection. why->code 0: both directions ended. ctx NULL: what
	 * session_carry_end asked for is done, nothing comes any more. */
	void (*ended)(struct session_carrier *c, void *ctx, const struct tl_err *why);
};
/* Can this session do that? Otherwise: session_open_stream, and copy. */
bool session_can_carry(const struct tl_session *s);
/* fd: taken; -1: the connection that open_json fetches is reset. first: bytes read from fd before,
 * at most 4096. On failure fd stays the caller's, and ended is not called. */
int session_carry(struct tl_session *s, struct session_carrier *c, void *ctx, int fd,
		  const char *open_json, struct tl_bytes first, struct tl_err *err);
/* Ends every connection of the carrier, each with its ended, on the session's thread; once. */
void session_carry_end(struct tl_session *s, struct session_carrier *c);
/* Calls a method of the agent (side HOST of proto/methods.def) over a stream of its own. params:
 * JSON object text; *ret_result: JSON text, malloc'ed. */
int session_call(struct tl_session *s, const char *method, const char *params, char **ret_result,
		 struct tl_error *err);
/* One of the session's places for a command (EXEC_AT_ONCE); waits where all are taken. */
int session_slot_take(struct tl_session *s, struct tl_cancel *cancel, uint64_t deadline_ms,
		      struct tl_error *err);
void session_slot_give(struct tl_session *s);
/* argv of a program whose standard streams are those of `command` on the host, over a channel of
 * its own of the session's login. command: plain to every login shell, NULL: only ask.
 * TL_E_UNSUPPORTED: this session has no such channels. */
struct strv;
int session_lane(struct tl_session *s, const char *command, struct strv *argv, struct tl_err *err);
/* argv of a program whose standard streams are those of `sh` on the host with these lines, for a
 * session without our program there. TL_E_NOSHELL, TL_E_LIMIT. */
int session_sh(struct tl_session *s, struct tl_bytes lines, struct strv *argv, struct tl_err *err);
/* The connection is gone: fills err with TL_E_LOST and the reason and returns it; 0 while it lives.
 */
int session_lost(struct tl_session *s, struct tl_error *err);
/* Is it served by plain ssh, without our program? NULL: no; else why. */
const char *session_plain_why(struct tl_session *s);
/* A line for the caller's log, where its verbosity is high enough. */
void session_log(struct tl_session *s, int level, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* The host as the caller wrote it, for messages. */
const char *session_host(const struct tl_session *s);

/* Something that uses a session and must end before it: ended is called, once and without a lock,
 * at the beginning of tl_disconnect, and has to leave no thread that touches the session. The
 * struct is the user's. */
struct session_user {
	struct list node;
	void (*ended)(struct session_user *u);
};
void session_user_add(struct tl_session *s, struct session_user *u);
void session_user_remove(struct tl_session *s, struct session_user *u);

/* Becomes readable when the token is set; -1 for NULL. */
int cancel_fd(const struct tl_cancel *c);
bool cancel_is_set(const struct tl_cancel *c);

/* Our errors as the public struct: copies code, text and the table's name and next step into err
 * (may be NULL); returns the code. */
int api_fail(struct tl_error *err, const struct tl_err *e);
int api_failf(struct tl_error *err, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* The same with ": strerror" and the code of an errno. */
int api_fails(struct tl_error *err, int sys_errno, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Success: clears err. */
void api_ok(struct tl_error *err);

/* True when a struct of the caller that begins with its size has the member. */
#define API_HAS(ptr, type, member)                                                                 \
	((ptr)->size >= offsetof(type, member) + sizeof(((type *)0)->member))

#endif
