/* hold.h - `towline-host hold`: the process that owns one terminal (docs/protocol.md 5).
 * It outlives the agent that started it; viewers come and go on its socket. */
#ifndef TL_HOST_HOLD_H
#define TL_HOST_HOLD_H

#include <stdbool.h>
#include <stddef.h>

/* The face. Reads its specification (one JSON object up to end of file, see hold_spec.h) from
 * descriptor 0, answers one line of JSON on descriptor 1 ({"ok":TermInfo} or {"error":…}), then
 * lets go of both and runs until the terminal is over. argv is for `ps` only. Exit status 0, or
 * the one of the error. */
int hold_main(int argc, char **argv);

/* Path of the socket of terminal `id`; false when it does not fit or id is not a plain name. */
bool hold_socket_path(char *out, size_t n, const char *run_dir, const char *id);

#endif
