/* askpass.h - the towline-askpass face of the towline binary. */
#ifndef TL_CMD_ASKPASS_H
#define TL_CMD_ASKPASS_H

/* argv[1]: ssh's question. Prints the answer of the daemon; 0, or 1 where there is none. */
int askpass_main(int argc, char **argv);

#endif
