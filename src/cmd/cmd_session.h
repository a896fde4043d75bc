/* cmd_session.h - a session of libtowline for a command: the global options, questions on the
 * terminal, Ctrl-C as a cancel token. */
#ifndef TL_CMD_CMD_SESSION_H
#define TL_CMD_CMD_SESSION_H

#include <towline.h>

#include "cmd/cmd_util.h"

/* What a command that uses a session holds. Must stay where it is while the session lives. */
struct cmd_session {
	struct cmd_ui ui;
	struct tl_session *s;
	struct tl_cancel *cancel; /* set by SIGINT, SIGTERM and SIGHUP */
};

/* Connects with the global options, through towlined where it has the host. 0 or TL_E_*. */
int cmd_session_open(struct cmd_session *cs, const struct cmd_globals *g, const char *host,
		     struct tl_error *err);
void cmd_session_close(struct cmd_session *cs);
/* The signal that set the cancel token, 0 for none. */
int cmd_session_signal(void);
/* From now on the signals of the terminal set the token. */
void cmd_session_catch(struct cmd_session *cs);
/* cmd_fail for an error of libtowline; its own next step is kept. */
int cmd_session_fail(const struct cmd_globals *g, const struct tl_error *err);
/* A question of ssh-add and the like on the terminal; for tl_key_add. ctx: struct cmd_ui. */
int cmd_session_prompt(void *ctx, enum tl_prompt_kind kind, const char *text, int attempt,
		       char *answer, size_t n);

#endif
