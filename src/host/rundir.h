/* rundir.h - where the sockets of this user on this machine live (docs/architecture.md 6).
 * Bridge, agent and holds ask the same questions and get the same answers: the home's folder comes
 * first, the folder in /tmp is for homes where sockets do not work. Both are looked through when
 * something that already runs is sought, so a home that was full yesterday hides nothing today. */
#ifndef TL_HOST_RUNDIR_H
#define TL_HOST_RUNDIR_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

/* sun_path has 108 bytes; the longest name we put below a run folder is "hold-" + 32 + ".sock". */
#define RUNDIR_SOCKET_MAX 107
#define RUNDIR_NAME_MAX   44
#define RUNDIR_PATH_MAX   (RUNDIR_SOCKET_MAX - RUNDIR_NAME_MAX)
#define RUNDIR_COUNT      2

struct rundir {
	char path[RUNDIR_PATH_MAX + 1];
};

/* The candidate folders in order of preference; forced (--run-dir, may be NULL) is the only one
 * where given. Returns how many fit into a socket address. Nothing is touched. */
size_t rundir_candidates(const char *forced, struct rundir ret[RUNDIR_COUNT]);
/* The first candidate that can be made private and holds sockets and locks; err names why the last
 * one was refused. 0, TL_E_ACCES, TL_E_NOSPACE, TL_E_ROFS, TL_E_LIMIT, … */
int rundir_choose(const char *forced, struct rundir *ret, struct tl_err *err);
/* True when path is a folder of this user that nobody else may enter; for looking, not making. */
bool rundir_is_ours(const char *path);
/* A name for the key agent that ssh forwarded to this connection (SSH_AUTH_SOCK), which stays the
 * same when the next connection brings another one: a link in the run folder that holds socket. */
#define RUNDIR_KEY_AGENT "ssh-agent.sock"
void rundir_keep_key_agent(const char *forced, const char *socket);
/* The link, where it leads to a socket now; false where there is none. */
bool rundir_key_agent(const char *forced, char out[RUNDIR_SOCKET_MAX + 1]);
/* ~/.towline-server, or what TOWLINE_SERVER_DIR says. 0, TL_E_NOENT (no home), TL_E_LIMIT. */
int server_dir(char *out, size_t n);

#endif
