/* resolve.h - `towline-host resolve PATH`: what path/resolve answers, by a process that may block.
 */
#ifndef TL_HOST_RESOLVE_H
#define TL_HOST_RESOLVE_H

/* Prints {"ok":{…}} or {"error":NAME,"message":TEXT}. Exit status 0 when it printed. */
int resolve_main(int argc, char **argv);

#endif
