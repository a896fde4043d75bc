/* exec.h - the face that runs one command for one stream. */
#ifndef TL_HOST_EXEC_H
#define TL_HOST_EXEC_H

/* Reads the opening line on standard input, answers it, then speaks exec frames (docs/protocol.md
 * 9) until the command is over. Exit status 0. */
int exec_main(int argc, char **argv);

#endif
