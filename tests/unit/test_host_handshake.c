/* test_host_handshake.c - the lines between bridge and agent. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "host/handshake.h"

static const char *line_of(struct buf *b)
{
	char *s = (char *)(uintptr_t)buf_cstr(b);
	size_t n = strlen(s);

	assert_int_equal(s[n - 1], '\n');
	s[n - 1] = 0;
	assert_null(strchr(s, '\n'));
	return s;
}

static void test_bridge_line(void **state)
{
	struct handshake_peer in = {
	    .proto_min = 1, .proto_max = 3, .splice = true, .version = "0.1.0"};
	struct handshake_peer out;
	struct buf b;

	(void)state;
	buf_init(&b, HANDSHAKE_LINE);
	assert_int_equal(handshake_put_bridge(&b, &in), 0);
	assert_int_equal(handshake_get_bridge(line_of(&b), &out), 0);
	assert_int_equal(out.proto_min, 1);
	assert_int_equal(out.proto_max, 3);
	assert_true(out.splice);
	assert_string_equal(out.version, "0.1.0");
	buf_fini(&b);
}

static void test_agent_line(void **state)
{
	struct handshake_peer in = {.proto_min = 2, .proto_max = 2, .pid = 4711, .version = "9.9"};
	struct handshake_peer out;
	struct buf b;

	(void)state;
	buf_init(&b, HANDSHAKE_LINE);
	assert_int_equal(handshake_put_agent(&b, &in), 0);
	assert_int_equal(handshake_get_agent(line_of(&b), &out), 0);
	assert_int_equal(out.proto_min, 2);
	assert_int_equal(out.pid, 4711);
	assert_string_equal(out.version, "9.9");
	buf_fini(&b);
}

static void test_words(void **state)
{
	struct tl_err err;
	struct buf b;

	(void)state;
	buf_init(&b, HANDSHAKE_LINE);
	assert_int_equal(handshake_put_word(&b, "error", TL_E_NOSPACE, "a\nb\tc"), 0);
	assert_int_equal(handshake_get_word(line_of(&b), "error", &err), 0);
	assert_int_equal(err.code, TL_E_NOSPACE);
	assert_string_equal(err.text, "a b c");
	buf_clear(&b);
	assert_int_equal(handshake_put_word(&b, "end", 0, "done"), 0);
	assert_int_equal(handshake_get_word(line_of(&b), "error", &err), TL_E_PROTO);
	assert_int_equal(handshake_get_word(buf_cstr(&b), "end", &err), 0);
	assert_int_equal(err.code, 0);
	buf_fini(&b);
}

static void test_long_text_is_cut(void **state)
{
	char text[4000];
	struct tl_err err;
	struct buf b;

	(void)state;
	memset(text, 'x', sizeof(text));
	text[sizeof(text) - 1] = 0;
	buf_init(&b, HANDSHAKE_LINE);
	assert_int_equal(handshake_put_word(&b, "error", TL_E_IO, text), 0);
	assert_true(b.len < HANDSHAKE_LINE);
	assert_int_equal(handshake_get_word(line_of(&b), "error", &err), 0);
	assert_int_equal(err.code, TL_E_IO);
	buf_fini(&b);
}

static void test_bad_lines(void **state)
{
	static const char *const bridge[] = {
	    "",
	    " ",
	    "towline-bridge",
	    "towline-bridge ",
	    "towline-bridge 1",
	    "towline-bridge 1 1",
	    "towline-bridge 1 1 pass",
	    "towline-bridge 1 1 pass ",
	    "towline-bridge 0 1 pass x",
	    "towline-bridge 2 1 pass x",
	    "towline-bridge 1 65536 pass x",
	    "towline-bridge +1 1 pass x",
	    "towline-bridge 1 1  pass x",
	    "towline-bridge 1 1 Pass x",
	    "towline-agent 1 1 pass x",
	    "towline-bridge 99999999999999999999999 1 pass x",
	    "towline-bridge 1 1 pass "
	    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
	};
	static const char *const agent[] = {"",
					    "towline-agent",
					    "towline-agent 1 1 x",
					    "towline-agent 1 1 x 0",
					    "towline-agent 1 1 x -4",
					    "towline-agent 1 1 x pid",
					    "error 64 no"};
	struct handshake_peer out;

	(void)state;
	for (size_t i = 0; i < sizeof(bridge) / sizeof(bridge[0]); i++)
		assert_int_equal(handshake_get_bridge(bridge[i], &out), TL_E_PROTO);
	for (size_t i = 0; i < sizeof(agent) / sizeof(agent[0]); i++)
		assert_int_equal(handshake_get_agent(agent[i], &out), TL_E_PROTO);
}

static void test_ranges(void **state)
{
	static const struct {
		int a0, a1, b0, b1;
		bool overlap;
	} rows[] = {{1, 1, 1, 1, true},  {1, 2, 2, 3, true},  {1, 5, 2, 3, true},
		    {1, 1, 2, 2, false}, {3, 4, 1, 2, false}, {2, 2, 1, 3, true}};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct handshake_peer a = {.proto_min = rows[i].a0, .proto_max = rows[i].a1};
		struct handshake_peer b = {.proto_min = rows[i].b0, .proto_max = rows[i].b1};
		assert_int_equal(handshake_overlap(&a, &b), rows[i].overlap);
		assert_int_equal(handshake_overlap(&b, &a), rows[i].overlap);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_bridge_line), cmocka_unit_test(test_agent_line),
	    cmocka_unit_test(test_words),       cmocka_unit_test(test_long_text_is_cut),
	    cmocka_unit_test(test_bad_lines),   cmocka_unit_test(test_ranges),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
