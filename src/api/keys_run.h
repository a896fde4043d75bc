/* keys_run.h - runs ssh-keygen and ssh-add on a terminal of their own, so that what is secret is
 * typed at their prompt and never an argument. */
#ifndef TL_API_KEYS_RUN_H
#define TL_API_KEYS_RUN_H

#include "base/buf.h"
#include "base/err.h"

#define KEYS_ANSWER_MAX 1024

/* Answers a prompt: a terminated text into answer, 0; anything else ends the program. */
typedef int keys_answer_fn(void *ctx, const char *prompt, char *answer, size_t n);

/* argv NULL-terminated, argv[0] searched on PATH. out: what it wrote, prompts and CR left out, at
 * most its limit. 0 and *ret_status, TL_E_CANCELED (not answered), TL_E_TIMEOUT, TL_E_NOSSH (no
 * such program). */
int keys_run(char *const *argv, keys_answer_fn *answer, void *ctx, struct buf *out, int *ret_status,
	     struct tl_err *err);
/* The last line of what a program wrote, for a message; without LF, in place. */
const char *keys_last_line(struct buf *out);

#endif
