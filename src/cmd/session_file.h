/* session_file.h - a connection file on this machine for a session of a host: its sockets are
 * carried here by forwards of the daemon, so that plain Jupyter clients can use the kernel. */
#ifndef TL_CMD_SESSION_FILE_H
#define TL_CMD_SESSION_FILE_H

#include "cmd/cmd_util.h"

/* Makes it, prints its path, waits for a signal or the session's end, takes it away. tcp: ports
 * instead of unix sockets. 0 or TL_E_* with a sentence. */
int session_file_serve(struct api_client *c, const char *host, const char *id, bool tcp,
		       const struct cmd_globals *g, struct tl_err *err);

#endif
