/* tool.h - runs one of OpenSSH's small programs to its end, from any thread of any program. */
#ifndef TL_API_TOOL_H
#define TL_API_TOOL_H

#include "base/buf.h"
#include "base/err.h"

/* argv NULL-terminated, argv[0] searched on PATH; input (at most a pipe's worth, 64 KiB) becomes
 * its standard input; its standard output goes to out (what does not fit is dropped), its error
 * output nowhere. 0 and *ret_status (255: ended by a signal), TL_E_TIMEOUT (it is killed), or
 * TL_E_NOENT and the like. */
int tool_run(char *const *argv, struct tl_bytes input, struct buf *out, int timeout_ms,
	     int *ret_status, struct tl_err *err);

#endif
