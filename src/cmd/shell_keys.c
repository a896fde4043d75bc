/* shell_keys.c - see shell_keys.h. */
#include "cmd/shell_keys.h"

static enum shell_key escape_of(uint8_t c)
{
	static const struct {
		uint8_t c;
		enum shell_key key;
	} escapes[] = {{'.', SHELL_KEY_DETACH}, {'d', SHELL_KEY_DETACH}, {'?', SHELL_KEY_HELP}};
	for (size_t i = 0; i < sizeof(escapes) / sizeof(escapes[0]); i++)
		if (escapes[i].c == c)
			return escapes[i].key;
	return SHELL_KEY_NONE;
}

enum shell_key shell_keys_feed(struct shell_keys *k, struct tl_bytes in, size_t *ret_used,
			       uint8_t *out, size_t *ret_n)
{
	size_t n = 0, i = 0;
	enum shell_key key = SHELL_KEY_NONE;
	while (i < in.n && key == SHELL_KEY_NONE) {
		uint8_t c = in.p[i++];
		if (k->tilde) {
			k->tilde = false;
			key = escape_of(c);
			if (key != SHELL_KEY_NONE)
				break;
			/* a second tilde is the literal one, anything else follows it */
			out[n++] = '~';
			k->line_begun = true;
			if (c == '~')
				continue;
		} else if (c == '~' && !k->line_begun) {
			k->tilde = true;
			continue;
		}
		out[n++] = c;
		k->line_begun = c != '\r' && c != '\n';
	}
	*ret_used = i;
	*ret_n = n;
	return key;
}
