/* agent_log.h - the agent's log: a file of bounded size with one older one beside it. */
#ifndef TL_HOST_AGENT_LOG_H
#define TL_HOST_AGENT_LOG_H

#include <stddef.h>

#define AGENT_LOG_BYTES 524288 /* per file; two files */

/* Log file and standard error of this process become path (".1" appended: the older one); falls
 * back to fallback where path cannot be written, and to nothing. Lives until the process ends. */
void agent_log_open(const char *path, const char *fallback);

#endif
