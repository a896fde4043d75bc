/* ssh_command.h - an ssh command line, as people keep them in notes, as settings of ssh_config(5).
 * Pure. Results are owned by the struct (ssh_command_fini). */
#ifndef TL_DIAL_SSH_COMMAND_H
#define TL_DIAL_SSH_COMMAND_H

#include "base/err.h"
#include "base/str.h"

struct ssh_command {
	char *host;         /* without user and port */
	char *config_file;  /* -F, NULL none */
	struct strv keys;   /* keywords, HostName first */
	struct strv values; /* the value of each, as a file has it */
	struct strv unused; /* what a configuration cannot hold, as it was written */
	struct strv why;    /* the reason for each */
};

/* Words as a shell makes them: quotes and backslashes; what only a running shell could expand
 * ($VAR, `…`, |, ;, …) is refused. 0, TL_E_INVAL, TL_E_LIMIT, TL_E_NOMEM. */
int ssh_command_split(const char *text, struct strv *ret, struct tl_err *err);
/* words: with or without a leading `ssh`. cwd: what relative paths of keys mean (NULL: they are
 * refused). 0, TL_E_INVAL. On failure ret is empty. */
int ssh_command_parse(const struct strv *words, const char *cwd, struct ssh_command *ret,
		      struct tl_err *err);
void ssh_command_fini(struct ssh_command *c);

#endif
