/* text.c - see text.h. */
#include "dial/text.h"

#include "base/bytes.h"
#include "base/str.h"

char *text_clean(char *s, bool lines)
{
	bool utf8 = utf8_valid(bytes_str(s));

	for (unsigned char *c = (unsigned char *)s; *c; c++) {
		if ((*c < ' ' && !(lines && *c == '\n')) || *c == 0x7f)
			*c = ' ';
		else if (*c >= 0x80 && !utf8)
			*c = '?';
		/* U+0080 to U+009F: control characters of eight-bit terminals */
		else if (*c == 0xc2 && c[1] >= 0x80 && c[1] < 0xa0)
			*c = c[1] = ' ';
	}
	return s;
}
