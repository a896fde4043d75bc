/* cmd_copy.h - what upload and download share: options, the bar, how problems are told. */
#ifndef TL_CMD_CMD_COPY_H
#define TL_CMD_CMD_COPY_H

#include "cmd/cmd_session.h"

/* tl_upload or tl_download. */
typedef int cmd_copy_fn(struct tl_session *s, const char *const *files, const char *to,
			const struct tl_copy *c, struct tl_error *err);
/* The whole command: argv as in cmd.h. */
int cmd_copy(int argc, char **argv, const struct cmd_globals *g, cmd_copy_fn *fn);

#endif
