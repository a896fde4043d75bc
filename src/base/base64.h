/* base64.h - RFC 4648 section 4, with padding. */
#ifndef TL_BASE_BASE64_H
#define TL_BASE_BASE64_H

#include "base/buf.h"

/* The text of b, malloc'ed; NULL: out of memory. */
char *base64_text(struct tl_bytes b);
/* Appends what text stands for; white space is skipped. 0, TL_E_PROTO (out may have a part of it),
 * TL_E_LIMIT, TL_E_NOMEM. */
int base64_put(struct buf *out, const char *text);

#endif
