/* hold_front.h - how a hold, of a terminal or of a kernel, meets whoever started it: its
 * specification on descriptor 0, one line of answer on descriptor 1, then nothing in common. */
#ifndef TL_HOST_HOLD_FRONT_H
#define TL_HOST_HOLD_FRONT_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/err.h"

/* The specification: everything on descriptor 0 up to its end. intent begins the sentence of an
 * error. 0, TL_E_LIMIT, TL_E_IO. */
int hold_front_read(struct buf *text, const char *intent, struct tl_err *err);
/* {"ok":info} (JSON text), or with err {"error":{"name":…,"message":…}}. false: nobody is there any
 * more. */
bool hold_front_answer(struct tl_bytes info, const struct tl_err *err);
/* Nothing of the starter's is kept: not its folder, not its descriptors. */
void hold_front_let_go(void);

#endif
