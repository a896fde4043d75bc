/* standin.h - a server for one host that cannot run ours, on this machine: the same link and the
 * same streams, made of the private master connection that the daemon keeps (docs/connect.md,
 * "Hosts without our program"). A process of its own, started by the daemon with the link on its
 * standard input and output; its folder is private to the host: the master's control socket, the
 * sockets of terminals and of forwards. Terminals are holds here whose program is `ssh -tt`. */
#ifndef TL_STANDIN_STANDIN_H
#define TL_STANDIN_STANDIN_H

/* The faces of towlined that are started by itself; argv[0] is the face. Exit status. */

/* DIR SSH HOST ERROR WHY files|any: ERROR (a name of proto/errors.def) and WHY: what keeps our
 * program from running there; files: it is known to allow files only. */
int standin_main(int argc, char **argv);
/* DIR SSH: the SFTP stream of a window. */
int standin_files_main(int argc, char **argv);
/* DIR SSH: the watch stream. */
int standin_watch_main(int argc, char **argv);

#endif
