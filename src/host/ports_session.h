/* ports_session.h - which sockets a session's kernel has for itself: the channels to its hold where
 * unix sockets could not be had, and what its machinery listens on (ipykernel takes a port for its
 * output). Whatever it has when it first answers is of that kind; what comes later somebody serves.
 * The hold writes that down in the session's folder, `towline-host ports` reads it. */
#ifndef TL_HOST_PORTS_SESSION_H
#define TL_HOST_PORTS_SESSION_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* The kernel has answered for the first time: pid and its children are looked at. dir is the
 * session's folder (run folder/kernel-ID). What cannot be written is logged. */
void session_sockets_note(const char *dir, pid_t pid);
/* The kernel ended, or another one begins. */
void session_sockets_forget(const char *dir);

enum session_socket {
	SESSION_SOCKET_UNKNOWN, /* the kernel has not answered yet */
	SESSION_SOCKET_OWN,
	SESSION_SOCKET_SERVES,
};

/* Of what kind is the socket `inode` of a kernel of session `id`? */
enum session_socket session_socket_kind(const char *forced_run_dir, const char *id, uint64_t inode);

#endif
