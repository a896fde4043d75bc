/* ports.h - `towline-host ports`: tells which TCP ports this host listens on, and which of them
 * belong to programs below this user's terminals and sessions (docs/ports.md). One process per
 * `ports` stream.
 */
#ifndef TL_HOST_PORTS_H
#define TL_HOST_PORTS_H

/* The face: JSON-RPC with Content-Length framing on descriptors 0 and 1 (methods of side PORTS),
 * until descriptor 0 ends; with --once one line {"ok":…} on descriptor 1 (ports/list). Exit status
 * 0, or the one of the error. */
int ports_main(int argc, char **argv);

#endif
