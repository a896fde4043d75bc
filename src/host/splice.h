/* splice.h - copies between stdio and the agent's socket, where descriptors cannot be passed. */
#ifndef TL_HOST_SPLICE_H
#define TL_HOST_SPLICE_H

#include "base/err.h"

/* Copies stdin to fd and fd to stdout until fd ends; end of stdin is passed on as half-close.
 * Blocking. 0, or TL_E_IO where a side broke. */
int splice_run(int fd, struct tl_err *err);

#endif
