/* forward.h - faces that make or accept connections for streams (docs/protocol.md 9). Each runs in
 * a child of its own and may block: names are resolved, unreachable hosts waited for, without
 * anybody else noticing. A connection is handed to the agent, which carries it. */
#ifndef TL_HOST_FORWARD_H
#define TL_HOST_FORWARD_H

/* Reads {"open":"direct-tcpip","host":…,"port":…} or {"open":"direct-streamlocal","path":…} on
 * standard input, connects and hands the descriptor over
 * (SCM_RIGHTS beside one byte), or writes the error line. */
int direct_main(int argc, char **argv);
/* {"open":"tcpip-forward",…}: listens, answers {"port":N}, then one JSON line for each connection,
 * until standard input ends. */
int listen_main(int argc, char **argv);
/* {"open":"forwarded-tcpip","id":"…"}: takes over one connection of a listener and
 * hands it over in the same way. */
int forwarded_main(int argc, char **argv);

#endif
