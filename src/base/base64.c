/* base64.c - see base64.h. */
#include "base/base64.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

char *base64_text(struct tl_bytes b)
{
	char *text = malloc((b.n + 2) / 3 * 4 + 1), *to = text;

	for (size_t i = 0; text && i < b.n; i += 3) {
		unsigned v = (unsigned)b.p[i] << 16 |
			     (i + 1 < b.n ? (unsigned)b.p[i + 1] << 8 : 0) |
			     (i + 2 < b.n ? b.p[i + 2] : 0);
		*to++ = digits[v >> 18];
		*to++ = digits[v >> 12 & 63];
		*to++ = i + 1 < b.n ? digits[v >> 6 & 63] : '=';
		*to++ = i + 2 < b.n ? digits[v & 63] : '=';
	}
	if (text)
		*to = 0;
	return text;
}

int base64_put(struct buf *out, const char *text)
{
	unsigned v = 0, have = 0, pads = 0;
	int rc = 0;

	for (; *text && !rc; text++) {
		const char *d = strchr(digits, *text);
		if (strchr(" \t\r\n", *text))
			continue;
		if (*text == '=') {
			pads++;
			continue;
		}
		if (!d || pads)
			return TL_E_PROTO;
		v = v << 6 | (unsigned)(d - digits);
		if (++have % 4 == 0) {
			rc = buf_put_u8(out, (uint8_t)(v >> 16));
			rc = rc ? rc : buf_put_u8(out, (uint8_t)(v >> 8));
			rc = rc ? rc : buf_put_u8(out, (uint8_t)v);
			v = 0;
		}
	}
	if (rc || have % 4 == 0)
		return rc ? rc : pads ? TL_E_PROTO : 0;
	if (have % 4 == 1 || (pads && (have + pads) % 4))
		return TL_E_PROTO;
	v <<= have % 4 == 2 ? 12 : 6;
	rc = buf_put_u8(out, (uint8_t)(v >> 16));
	if (!rc && have % 4 == 3)
		rc = buf_put_u8(out, (uint8_t)(v >> 8));
	return rc;
}
