/* test_shell_keys.c - escapes typed in `towline shell`: the same whatever way typing is cut. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "cmd/shell_keys.h"

/* Types text in pieces of `cut`; what is passed on, with D and H where an escape was seen. */
static void type(const char *text, size_t cut, char *out)
{
	struct shell_keys k = {0};
	size_t n = strlen(text);
	uint8_t part[64];
	for (size_t at = 0; at < n; at += cut) {
		struct tl_bytes in = bytes_of(text + at, n - at < cut ? n - at : cut);
		while (in.n) {
			size_t used, got;
			enum shell_key key = shell_keys_feed(&k, in, &used, part, &got);
			assert_true(used > 0 && used <= in.n && got <= in.n + 1);
			memcpy(out, part, got);
			out += got;
			if (key != SHELL_KEY_NONE)
				*out++ = key == SHELL_KEY_DETACH ? 'D' : 'H';
			in = bytes_of(in.p + used, in.n - used);
		}
	}
	*out = 0;
}

static void test_escapes(void **state)
{
	static const struct {
		const char *in, *out;
	} rows[] = {
	    {"ls\r", "ls\r"},     {"~.", "D"},      {"~d", "D"},      {"~?ls\r", "Hls\r"},
	    {"~~", "~"},          {"~~.", "~."},    {"a~.", "a~."},   {"a\r~.", "a\rD"},
	    {"a\n~d", "a\nD"},    {"~x", "~x"},     {"~x~.", "~x~."}, {"~/bin\r~.", "~/bin\rD"},
	    {"~\r~.", "~\rD"},    {"~\r.", "~\r."}, {"~?~?", "HH"},   {"\r\r~~\r~.", "\r\r~\rD"},
	    {"cd ~\r", "cd ~\r"},
	};
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		for (size_t cut = 1; cut <= 4; cut++) {
			char out[64];
			type(rows[i].in, cut, out);
			assert_string_equal(out, rows[i].out);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_escapes)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
