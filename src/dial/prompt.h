/* prompt.h - ssh's questions: towline-askpass connects to a private socket, sends the text and
 * waits for the answer. Owns the socket and the questions that are open.
 *
 * Askpass protocol, one connection per question: the helper sends `HINT LENGTH LF` and LENGTH bytes
 * of text (HINT: SSH_ASKPASS_PROMPT or `-`); we send `A` and the answer, or `C`, and close. A
 * helper that goes away before took its question back. */
#ifndef TL_DIAL_PROMPT_H
#define TL_DIAL_PROMPT_H

#include "dial/dial.h"
#include "loop/sock.h"

#define PROMPT_SEEN 32 /* different questions counted in one attempt */
#define PROMPT_OPEN 8  /* questions open at once (jump hosts) */

struct prompts {
	struct loop *loop;
	struct listener listener;
	char path[108];
	struct list open; /* of struct dial_prompt */
	unsigned count;   /* asked and not answered: the deadline stands still */
	struct {
		uint32_t hash;
		int times;
	} seen[PROMPT_SEEN];
	/* a question is complete: answer by prompt_answer, now or later */
	void (*on_ask)(void *ctx, struct dial_prompt *p, enum dial_prompt_kind kind,
		       const char *text, bool echo, int attempt);
	/* asked before, now pointless */
	void (*on_gone)(void *ctx, struct dial_prompt *p);
	/* answered (NULL: canceled); p lives until this returns */
	void (*on_answer)(void *ctx, struct dial_prompt *p, const char *answer);
	void *ctx;
};

/* Listens in runtime_dir; callbacks and ctx are set by the caller before. */
int prompts_open(struct loop *l, struct prompts *ps, const char *runtime_dir, struct tl_err *err);
/* Takes every question back without a callback; the listener's memory must outlive one loop turn.
 */
void prompts_close(struct prompts *ps);

/* The kind of a question by its text and hint. Pure. */
enum dial_prompt_kind prompt_kind(const char *text, const char *hint);
enum dial_prompt_kind prompt_kind_of(const struct dial_prompt *p);

#endif
