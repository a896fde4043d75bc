/* serve.h - `towline-host serve NONCE`: the agent's link on standard input and output, for one
 * client and one transport, without sockets, folders, log or memory of it. */
#ifndef TL_HOST_SERVE_H
#define TL_HOST_SERVE_H

/* Exit status: 0 the client left, else an exit number of proto/errors.def. */
int serve_main(int argc, char **argv);

#endif
