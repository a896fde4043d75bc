/* exec_open.h - what a command is opened with (docs/protocol.md 9). */
#ifndef TL_API_EXEC_OPEN_H
#define TL_API_EXEC_OPEN_H

#include "api/session.h"
#include "base/buf.h"
#include "base/str.h"

/* The opening object, malloc'ed. script: holds what must follow in SCRIPT frames (empty: nothing).
 * 0 or an error in err. */
int exec_opening(const struct tl_exec *x, char **ret_open, struct buf *script,
		 struct tl_error *err);

#endif
