/* launch.h - a connection to the daemon, started first where it does not run. */
#ifndef TL_API_LAUNCH_H
#define TL_API_LAUNCH_H

#include "base/err.h"

/* A connected control socket, or TL_E_NODAEMON (does not run and start is false, or did not come
 * up), TL_E_PORT and whatever else the daemon says about its failed start. */
int launch_connect(bool start, struct tl_err *err);

#endif
