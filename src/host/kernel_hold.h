/* kernel_hold.h - `towline-host kernel-hold`: the process that owns one kernel (docs/protocol.md
 * 11, docs/kernels.md). It outlives the agent that started it; viewers come and go on its socket.
 */
#ifndef TL_HOST_KERNEL_HOLD_H
#define TL_HOST_KERNEL_HOLD_H

#include <stdbool.h>
#include <stddef.h>

/* The face. Reads its specification (one JSON object up to end of file: id, runDir, params of
 * kernel/create) from descriptor 0, answers one line of JSON on descriptor 1 ({"ok":KernelInfo} or
 * {"error":…}) when the kernel answers, has failed, or takes longer than KERNEL_ANSWER_MS; then
 * lets go of both and runs until the session is over. */
int kernel_hold_main(int argc, char **argv);

/* Path of the socket of session `id`; false when it does not fit or id is not a plain name. */
bool kernel_socket_path(char *out, size_t n, const char *run_dir, const char *id);

#endif
