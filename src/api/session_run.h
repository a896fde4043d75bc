/* session_run.h - helpers of a session of our own: its private folder, the host's answer to an
 * opened stream, what ssh's lines tell. */
#ifndef TL_API_SESSION_RUN_H
#define TL_API_SESSION_RUN_H

#include "api/session_priv.h"

/* A private folder for the sockets of one connection attempt; those of programs that have ended
 * are removed. 0 or an error; "" stays in out then. */
int run_dir_make(char *out, size_t n, struct tl_err *err);
/* Empties out. */
void run_dir_remove(char *dir);

/* Waits for the answer line on a fresh stream and takes it, and nothing more. */
int stream_answer(struct tl_session *s, int fd, struct tl_cancel *cancel, uint64_t deadline_ms,
		  char **ret_ok, struct tl_err *err);

/* ssh's chatter that is no warning. */
bool facts_is_chatter(const char *line);

#endif
