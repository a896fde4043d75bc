/* shell_keys.h - what the user types in `towline shell`: passed on, except escapes that begin with
 * a tilde at the start of a line, as in ssh. Pure; owns nothing. */
#ifndef TL_CMD_SHELL_KEYS_H
#define TL_CMD_SHELL_KEYS_H

#include <stdbool.h>

#include "base/bytes.h"

enum shell_key { SHELL_KEY_NONE, SHELL_KEY_DETACH, SHELL_KEY_HELP };

struct shell_keys {
	bool line_begun; /* something was typed since the last Enter */
	bool tilde;      /* a tilde waits for what follows */
};

/* Zero-initialised is ready: at the start of a line. Reads typed bytes up to the first escape or
 * their end: *ret_used of `in` are done with, out (at least in.n + 1 bytes) has the *ret_n bytes to
 * pass on. */
enum shell_key shell_keys_feed(struct shell_keys *k, struct tl_bytes in, size_t *ret_used,
			       uint8_t *out, size_t *ret_n);

#endif
