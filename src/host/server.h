/* server.h - the installation on this host, looked at and ended from outside: which versions there
 * are, what runs, the end of the log, and how all of it goes. Works without the agent and for
 * processes of every version, because it goes by what the kernel says they execute. */
#ifndef TL_HOST_SERVER_H
#define TL_HOST_SERVER_H

/* `towline-host server status|kill|uninstall|prune|log [--mark NONCE] [--lines N]`. */
int server_main(int argc, char **argv);

#endif
