/* watch.h - `towline-host watch`: reports changes of files and folders (methods of side WATCH).
 * One process per watch stream; it may block, and with it only its own stream. */
#ifndef TL_HOST_WATCH_H
#define TL_HOST_WATCH_H

/* The face: JSON-RPC with Content-Length framing on descriptors 0 and 1, until descriptor 0 ends.
 * Exit status 0, or the one of the error. */
int watch_main(void);

#endif
