/* bridge.h - `towline-host bridge NONCE`: joins this process's stdin and stdout to the agent. */
#ifndef TL_HOST_BRIDGE_H
#define TL_HOST_BRIDGE_H

/* Exit status: 0 the transport ended, else an exit number of proto/errors.def (64 the agent did not
 * start or died). */
int bridge_main(int argc, char **argv);

#endif
