/* test_base64.c - RFC 4648's own examples, both ways, and what is no base64. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/base64.h"
#include "base/err.h"

static const struct {
	const char *plain, *text;
} rfc[] = {{"", ""},
	   {"f", "Zg=="},
	   {"fo", "Zm8="},
	   {"foo", "Zm9v"},
	   {"foob", "Zm9vYg=="},
	   {"fooba", "Zm9vYmE="},
	   {"foobar", "Zm9vYmFy"}};

static void test_examples_of_the_standard(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rfc) / sizeof(rfc[0]); i++) {
		struct buf b;
		char *text = base64_text(bytes_str(rfc[i].plain));
		buf_init(&b, 64);
		assert_string_equal(text, rfc[i].text);
		assert_int_equal(base64_put(&b, text), 0);
		assert_int_equal(b.len, strlen(rfc[i].plain));
		assert_memory_equal(buf_data(&b).p, rfc[i].plain, b.len);
		buf_fini(&b);
		free(text);
	}
}

static void test_white_space_is_skipped_and_nonsense_refused(void **state)
{
	static const char *const bad[] = {"Z", "Zg=", "Zm9v=", "Zg==Zg==", "Zm9-", "====", "Zm9vY"};
	struct buf b;

	(void)state;
	buf_init(&b, 64);
	assert_int_equal(base64_put(&b, "Zm\n9 v"), 0);
	assert_int_equal(b.len, 3);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(base64_put(&b, bad[i]), TL_E_PROTO);
	buf_fini(&b);
	buf_init(&b, 2);
	assert_int_equal(base64_put(&b, "Zm9v"), TL_E_LIMIT);
	buf_fini(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_examples_of_the_standard),
	    cmocka_unit_test(test_white_space_is_skipped_and_nonsense_refused),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
