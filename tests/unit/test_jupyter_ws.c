/* test_jupyter_ws.c - the three framings of Jupyter messages on WebSockets: bytes as Jupyter
 * Server's own code packs them, messages both ways, and what must be refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/limits.h"
#include "wire/jupyter_ws.h"

#define HEADER "{\"msg_id\":\"1\",\"msg_type\":\"x\",\"session\":\"s\"}"
#define JSON   "{\"channel\":\"control\",\"header\":" HEADER ",\"content\":{\"a\":1}}"

static const struct tl_bytes none;

static struct tl_bytes part(const char *s)
{
	return bytes_str(s);
}

static int parse(struct tl_bytes in, bool binary, bool v1, struct jupyter_ws_msg *m)
{
	struct tl_err err = {0};
	int rc = jupyter_ws_parse(in, binary, v1, m, &err);
	if (rc)
		assert_true(err.text[0] != 0);
	return rc;
}

static void refuse(struct tl_bytes in, bool binary, bool v1)
{
	struct jupyter_ws_msg m;
	assert_int_equal(parse(in, binary, v1, &m), TL_E_PROTO);
	assert_null(m.parts);
}

/* jupyter_server.services.kernels.connection.base.serialize_msg_to_ws_v1 for
 * ["{}", "{}", "{}", "{\"a\":1}", b"\x01\x02"] on iopub. */
static const char v1_bytes[] = "\x07\0\0\0\0\0\0\0"
			       "\x40\0\0\0\0\0\0\0"
			       "\x45\0\0\0\0\0\0\0"
			       "\x47\0\0\0\0\0\0\0"
			       "\x49\0\0\0\0\0\0\0"
			       "\x4b\0\0\0\0\0\0\0"
			       "\x52\0\0\0\0\0\0\0"
			       "\x54\0\0\0\0\0\0\0"
			       "iopub{}{}{}{\"a\":1}\x01\x02";

static void test_v1_bytes_are_those_of_jupyter_server(void **state)
{
	struct tl_bytes parts[] = {part("{}"), part("{}"), part("{}"), part("{\"a\":1}"),
				   part("\x01\x02")};
	struct buf b;
	bool text = true;

	(void)state;
	buf_init(&b, 4096);
	assert_int_equal(jupyter_ws_put(&b, true, JUPYTER_IOPUB, parts, 5, &text), 0);
	assert_false(text);
	assert_int_equal(b.len, sizeof(v1_bytes) - 1);
	assert_memory_equal(buf_data(&b).p, v1_bytes, b.len);
	buf_fini(&b);
}

static void put_get(bool v1, size_t buffers)
{
	struct tl_bytes parts[] = {part(HEADER),      part("{}"),           part("{\"m\":null}"),
				   part("{\"a\":1}"), part("\x01\x02\xff"), none,
				   part("z")};
	size_t n = JUPYTER_PARTS + buffers;
	struct jupyter_ws_msg m;
	struct buf b;
	bool text;

	buf_init(&b, 4096);
	assert_int_equal(jupyter_ws_put(&b, v1, JUPYTER_SHELL, parts, n, &text), 0);
	assert_int_equal(text, !v1 && buffers == 0);
	assert_int_equal(parse(buf_data(&b), !text, v1, &m), 0);
	assert_int_equal(m.channel, JUPYTER_SHELL);
	assert_int_equal(m.count, n);
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(m.parts[i].n, parts[i].n);
		if (parts[i].n)
			assert_memory_equal(m.parts[i].p, parts[i].p, parts[i].n);
	}
	jupyter_ws_fini(&m);
	/* no beginning of it is a message */
	for (size_t cut = 0; cut < b.len; cut++)
		if (v1 || text)
			refuse(bytes_of(buf_data(&b).p, cut), !text, v1);
	buf_fini(&b);
}

static void test_messages_go_both_ways_in_every_framing(void **state)
{
	(void)state;
	for (size_t buffers = 0; buffers <= 3; buffers++) {
		put_get(true, buffers);
		put_get(false, buffers);
	}
}

static void test_text_has_id_and_type_beside_the_header(void **state)
{
	struct tl_bytes parts[] = {part(HEADER), part("{}"), part("{}"), part("{}")};
	struct buf b;
	bool text;
	yyjson_doc *d;
	yyjson_val *o;

	(void)state;
	buf_init(&b, 4096);
	assert_int_equal(jupyter_ws_put(&b, false, JUPYTER_STDIN, parts, 4, &text), 0);
	d = json_parse(buf_data(&b), NULL);
	o = yyjson_doc_get_root(d);
	assert_string_equal(json_str(o, "channel", ""), "stdin");
	assert_string_equal(json_str(o, "msg_id", ""), "1");
	assert_string_equal(json_str(o, "msg_type", ""), "x");
	assert_int_equal(yyjson_arr_size(json_get(o, "buffers")), 0);
	yyjson_doc_free(d);
	buf_fini(&b);
}

static void test_json_of_clients(void **state)
{
	struct jupyter_ws_msg m;

	(void)state;
	assert_int_equal(parse(part(JSON), false, false, &m), 0);
	assert_int_equal(m.channel, JUPYTER_CONTROL);
	assert_memory_equal(m.parts[JUPYTER_CONTENT].p, "{\"a\":1}", 7);
	assert_memory_equal(m.parts[JUPYTER_PARENT].p, "{}", 2);
	jupyter_ws_fini(&m);
	/* a client of v1 may send text as well; without a channel it is shell */
	assert_int_equal(parse(part("{\"header\":" HEADER "}"), false, true, &m), 0);
	assert_int_equal(m.channel, JUPYTER_SHELL);
	jupyter_ws_fini(&m);
	refuse(part("[]"), false, false);
	refuse(part("{}"), false, false);
	refuse(part("{\"header\":{\"msg_type\":\"x\"}}"), false, false);
	refuse(part("{\"header\":[]}"), false, false);
	refuse(part("{\"channel\":\"iopub\",\"header\":" HEADER "}"), false, false);
	refuse(part("{\"channel\":\"hb\",\"header\":" HEADER "}"), false, false);
	refuse(part("{\"buffers\":[1],\"header\":" HEADER "}"), false, false);
}

/* A good message with one 64-bit word replaced. */
static void refuse_word(const char *bytes, size_t n, size_t word, uint64_t value)
{
	uint8_t copy[256];

	memcpy(copy, bytes, n);
	for (int i = 0; i < 8; i++)
		copy[8 * word + (size_t)i] = (uint8_t)(value >> (8 * i));
	refuse(bytes_of(copy, n), true, true);
}

static void test_offsets_that_do_not_agree(void **state)
{
	struct tl_bytes parts[] = {part(HEADER), part("{}"), part("{}"), part("{}")};
	static const uint64_t odd[] = {0,
				       1,
				       5,
				       7,
				       8,
				       1000,
				       UINT32_MAX,
				       (uint64_t)1 << 32,
				       UINT64_MAX,
				       INT64_MAX,
				       UINT64_MAX / 8,
				       63};
	struct buf b;
	bool text;

	(void)state;
	buf_init(&b, 4096);
	assert_int_equal(jupyter_ws_put(&b, true, JUPYTER_SHELL, parts, 4, &text), 0);
	for (size_t word = 0; word < 7; word++)
		for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++)
			refuse_word((const char *)buf_data(&b).p, b.len, word, odd[i]);
	buf_fini(&b);
	/* iopub is the kernel's alone */
	refuse(bytes_of(v1_bytes, sizeof(v1_bytes) - 1), true, true);
	refuse(part("\0\0\0"), true, false);
	refuse(bytes_of("\0\0\0\0", 4), true, false);
	refuse(bytes_of("\0\0\0\1\0\0\0\7{}", 10), true, false);
	refuse(bytes_of("\0\0\0\2\0\0\0\x0c\0\0\0\x0b{}", 14), true, false);
	refuse(bytes_of("\xff\xff\xff\xff\0\0\0\x08{}", 10), true, false);
}

static void test_parts_that_are_no_text_stay_away_from_text(void **state)
{
	struct tl_bytes parts[] = {part(HEADER), part("{}"), part("{}"), part("{\"a\":\"\xff\"}")};
	struct buf b;
	bool text;

	(void)state;
	buf_init(&b, 4096);
	assert_int_equal(jupyter_ws_put(&b, false, JUPYTER_IOPUB, parts, 4, &text), TL_E_PROTO);
	assert_int_equal(b.len, 0);
	assert_int_equal(jupyter_ws_put(&b, true, JUPYTER_IOPUB, parts, 4, &text), 0);
	assert_int_equal(jupyter_ws_put(&b, true, JUPYTER_IOPUB, parts, 3, &text), TL_E_PROTO);
	buf_fini(&b);
	buf_init(&b, 20);
	assert_int_equal(jupyter_ws_put(&b, true, JUPYTER_IOPUB, parts, 4, &text), TL_E_LIMIT);
	assert_int_equal(b.len, 0);
	buf_fini(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_v1_bytes_are_those_of_jupyter_server),
	    cmocka_unit_test(test_messages_go_both_ways_in_every_framing),
	    cmocka_unit_test(test_text_has_id_and_type_beside_the_header),
	    cmocka_unit_test(test_json_of_clients),
	    cmocka_unit_test(test_offsets_that_do_not_agree),
	    cmocka_unit_test(test_parts_that_are_no_text_stay_away_from_text),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
