/* test_base_text.c - base/err.h, base/str.h, base/log.h, base/list.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/list.h"
#include "base/log.h"
#include "base/str.h"

static void test_error_table(void **state)
{
	(void)state;
	assert_string_equal(err_row(TL_E_NOENT)->name, "not_found");
	assert_string_equal(err_row(-9999)->name, "internal");
	assert_string_equal(err_row(0)->name, "internal");
	assert_int_equal(err_row_by_name("not_found", 9)->code, TL_E_NOENT);
	assert_null(err_row_by_name("not_foun", 8));
	assert_null(err_row_by_name("", 0));
	assert_int_equal(err_from_errno(ENOENT), TL_E_NOENT);
	assert_int_equal(err_from_errno(ENOSPC), TL_E_NOSPACE);
	assert_int_equal(err_from_errno(EDEADLK), TL_E_IO);
}

static void test_error_text(void **state)
{
	struct tl_err e = {0};
	char text[900], small[20];
	(void)state;
	assert_int_equal(err_set(NULL, TL_E_IO, "x"), TL_E_IO);
	assert_int_equal(err_sys(NULL, EACCES, "x"), TL_E_ACCES);
	assert_int_equal(err_set(&e, TL_E_NOENT, "cannot read %s", "a.txt"), TL_E_NOENT);
	assert_string_equal(err_message(&e, text, sizeof(text)),
			    "cannot read a.txt. Check the path; names are case-sensitive.");
	assert_int_equal(err_sys(&e, ENOSPC, "cannot write %s", "b"), TL_E_NOSPACE);
	assert_string_equal(e.text, "cannot write b: No space left on device");
	assert_int_equal(e.sys_errno, ENOSPC);
	e = (struct tl_err){.code = TL_E_CLOSED};
	assert_string_equal(err_message(&e, text, sizeof(text)),
			    "the connection was closed. Connect again.");
	assert_int_equal(strlen(err_message(&e, small, sizeof(small))), sizeof(small) - 1);
	/* longer than fits: cut, terminated */
	char big[2000];
	memset(big, 'y', sizeof(big) - 1);
	big[sizeof(big) - 1] = 0;
	err_sys(&e, EIO, "%s", big);
	assert_int_equal(strlen(e.text), TL_ERR_TEXT - 1);
}

static void test_strings(void **state)
{
	char out[8];
	long long n = 0;
	(void)state;
	char *s = str_fmt("%s-%d", "a", 7);
	assert_string_equal(s, "a-7");
	free(s);
	assert_null(str_dup(NULL));
	s = str_ndup("abcdef", 3);
	assert_string_equal(s, "abc");
	free(s);
	assert_true(str_starts("towline-host", "towline"));
	assert_false(str_starts("tow", "towline"));
	assert_true(str_ends("a.gz", ".gz"));
	assert_false(str_ends("gz", ".gz"));
	assert_true(str_copy(out, sizeof(out), "1234567"));
	assert_false(str_copy(out, sizeof(out), "12345678"));
	assert_string_equal(out, "1234567");
	str_hex((const uint8_t *)"\x00\xaf\x10", 3, out);
	assert_string_equal(out, "00af10");
	assert_true(str_to_int("-12", -20, 20, &n));
	assert_int_equal(n, -12);
	static const char *const bad[] = {"",   " 1",  "+1", "1 ",  "0x1",
					  "21", "--1", "-",  "1e3", "99999999999999999999"};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(str_to_int(bad[i], -20, 20, &n));
	assert_true(str_equal_secret("token", "token"));
	assert_false(str_equal_secret("token", "tokem"));
	assert_false(str_equal_secret("token", "toke"));
	assert_false(str_equal_secret("tokentoken", "token"));
	assert_false(str_equal_secret("token", ""));
	assert_false(str_equal_secret("", "token"));
	assert_true(str_equal_secret("", ""));
}

static void test_utf8(void **state)
{
	static const struct {
		const char *text;
		bool valid;
	} t[] = {
	    {"", true},
	    {"plain", true},
	    {"\xc3\xa9", true},
	    {"\xe2\x82\xac", true},
	    {"\xf0\x9f\x98\x80", true},
	    {"\xf4\x8f\xbf\xbf", true},
	    {"\xc0\xaf", false},         /* overlong */
	    {"\xe0\x80\xaf", false},     /* overlong */
	    {"\xf0\x80\x80\x80", false}, /* overlong */
	    {"\xed\xa0\x80", false},     /* surrogate */
	    {"\xf4\x90\x80\x80", false}, /* beyond 10ffff */
	    {"\xf8\x88\x80\x80\x80", false},
	    {"\x80", false},
	    {"\xc3", false},
	    {"\xe2\x82", false},
	    {"a\xff", false},
	};
	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++)
		assert_int_equal(utf8_valid(bytes_str(t[i].text)), t[i].valid);
	assert_true(utf8_valid(bytes_of("a\0b", 3)));
}

static void test_vector(void **state)
{
	struct strv v = {0};
	(void)state;
	for (int i = 0; i < 100; i++) {
		assert_int_equal(strv_addf(&v, "%d", i), 0);
		assert_null(v.v[v.n]);
	}
	assert_int_equal(strv_add(&v, "end"), 0);
	assert_string_equal(v.v[99], "99");
	assert_string_equal(v.v[100], "end");
	strv_fini(&v);
	assert_null(v.v);
}

struct lines {
	int n;
	char last[3000];
};

static void keep_line(void *ctx, enum log_level level, const char *scope, const char *line)
{
	struct lines *l = ctx;
	l->n++;
	snprintf(l->last, sizeof(l->last), "%d|%s|%s", level, scope, line);
}

static void test_log(void **state)
{
	struct lines l = {0};
	char big[5000];
	(void)state;
	log_init(LOG_INFO, keep_line, &l);
	log_debug("not shown");
	assert_int_equal(l.n, 0);
	log_line(LOG_WARN, "hpc", "said %s", "a\nb\x1b[2J");
	assert_string_equal(l.last, "1|hpc|said a?b?[2J");
	memset(big, 'z', sizeof(big) - 1);
	big[sizeof(big) - 1] = 0;
	log_info("%s", big);
	assert_int_equal(l.n, 2);
	log_init(LOG_INFO, NULL, NULL);
}

struct item {
	int n;
	struct list node;
};

static void test_list(void **state)
{
	struct list head;
	struct item item[4];
	int seen = 0;
	(void)state;
	list_init(&head);
	assert_true(list_empty(&head));
	for (int i = 0; i < 4; i++) {
		item[i].n = i;
		list_add_tail(&head, &item[i].node);
	}
	list_del(&item[1].node);
	list_del(&item[1].node);
	list_add_head(&head, &item[1].node);
	LIST_FOREACH_SAFE (it, &head) {
		struct item *x = list_entry(it, struct item, node);
		seen = seen * 10 + x->n;
		list_del(it);
	}
	assert_int_equal(seen, 1023);
	assert_true(list_empty(&head));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_error_table), cmocka_unit_test(test_error_text),
	    cmocka_unit_test(test_strings),     cmocka_unit_test(test_utf8),
	    cmocka_unit_test(test_vector),      cmocka_unit_test(test_log),
	    cmocka_unit_test(test_list),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
