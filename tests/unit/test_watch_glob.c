/* test_watch_glob.c - exclude patterns in VS Code's form, and the coalescing of changes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/err.h"
#include "host/watch_changes.h"
#include "host/watch_glob.h"

static bool one(const char *pattern, const char *path)
{
	struct glob_set set = {0};
	assert_int_equal(glob_add(&set, "/root/dir", pattern), 0);
	bool hit = glob_match(&set, path);
	glob_fini(&set);
	return hit;
}

static void test_patterns(void **state)
{
	static const struct {
		const char *pattern, *path;
		bool hit;
	} rows[] = {
	    {"**/node_modules/**", "node_modules", true},
	    {"**/node_modules/**", "node_modules/a", true},
	    {"**/node_modules/**", "x/y/node_modules", true},
	    {"**/node_modules/**", "x/node_modules/y/z.js", true},
	    {"**/node_modules/**", "my_node_modules/a", false},
	    {"**/node_modules/**", "node_modules2", false},
	    {"**/node_modules/*/**", "node_modules", false},
	    {"**/node_modules/*/**", "node_modules/a", true},
	    {"**/node_modules/*/**", "x/node_modules/a/b/c", true},
	    {"**/.git/objects/**", ".git/objects", true},
	    {"**/.git/objects/**", ".git/objects/ab/cdef", true},
	    {"**/.git/objects/**", ".git/index", false},
	    {"**/.git/objects/**", "sub/.git/objects/ab", true},
	    {"**/*.o", "a.o", true},
	    {"**/*.o", "x/y/a.o", true},
	    {"**/*.o", "x/y/a.oo", false},
	    {"*.o", "a.o", true},
	    {"*.o", "x/a.o", false},
	    {"build", "build", true},
	    {"build", "build/x", false},
	    {"build", "a/build", false},
	    {"build/**", "build/x/y", true},
	    {"build/**", "build", true},
	    {"./build/**", "build/x", true},
	    {"**", "anything/at/all", true},
	    {"**/**", "x", true},
	    {"a/**/b", "a/b", true},
	    {"a/**/b", "a/x/b", true},
	    {"a/**/b", "a/x/y/b", true},
	    {"a/**/b", "a/x/y/b/c", false},
	    {"a/**/b/**/c", "a/b/b/x/c", true},
	    {"a/**/b/**/c", "a/x/b/c/d", false},
	    {"?.c", "a.c", true},
	    {"?.c", "ab.c", false},
	    {"?.c", "\xc3\xa9.c", true},
	    {"?", "/", false},
	    {"[a-c].c", "b.c", true},
	    {"[a-c].c", "d.c", false},
	    {"[!a-c].c", "d.c", true},
	    {"[!a-c].c", "a.c", false},
	    {"[]].c", "].c", true},
	    {"[ab", "[ab", true},
	    {"*.{o,so}", "x.so", true},
	    {"*.{o,so}", "x.a", false},
	    {"{**/a/**,**/b/**}", "x/b/c", true},
	    {"{a,b{c,d}}/x", "bd/x", true},
	    {"{a,b{c,d}}/x", "b/x", false},
	    {"a{,b}", "a", true},
	    {"a{,b}", "ab", true},
	    {"*a*b*c*", "xxaxxbxxcxx", true},
	    {"*a*b*c*", "xxaxxcxxbxx", false},
	    {"a*", "a/b", false},
	    {"/root/dir/out/**", "out/x", true},
	    {"/root/dir2/out/**", "out/x", false},
	    {"/elsewhere/**", "out/x", false},
	    {"**/tmp-[0-9][0-9]", "x/tmp-42", true},
	};
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (one(rows[i].pattern, rows[i].path) != rows[i].hit)
			fail_msg("%s with %s", rows[i].pattern, rows[i].path);
}

static void test_bad_patterns(void **state)
{
	struct glob_set set = {0};
	char *longer = calloc(1, GLOB_TEXT_MAX + 2);
	(void)state;
	memset(longer, 'x', GLOB_TEXT_MAX + 1);
	assert_int_equal(glob_add(&set, "/r", "{a,b"), TL_E_INVAL);
	assert_int_equal(glob_add(&set, "/r", longer), TL_E_LIMIT);
	free(longer);
	/* 3^7 combinations: refused as a whole */
	assert_int_equal(glob_add(&set, "/r", "{a,b,c}{a,b,c}{a,b,c}{a,b,c}{a,b,c}{a,b,c}{a,b,c}"),
			 TL_E_LIMIT);
	assert_int_equal(set.patterns.n, 0);
	assert_int_equal(glob_add(&set, "/r", ""), 0);
	assert_false(glob_match(&set, "x"));
	glob_fini(&set);
}

/* A pattern that would make a naive matcher take for ever. */
static void test_no_explosion(void **state)
{
	char path[2000];
	(void)state;
	for (size_t i = 0; i + 1 < sizeof(path); i++)
		path[i] = i % 2 ? '/' : 'a';
	path[sizeof(path) - 2] = 'b';
	path[sizeof(path) - 1] = 0;
	assert_false(one("**/a/**/a/**/a/**/a/**/a/**/a/**/a/**/a/**/c", path));
	memset(path, 'a', sizeof(path) - 1);
	assert_false(one("*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*b", path));
}

static enum change_kind after(const char *steps)
{
	struct changes c = {0};
	const char *path;
	for (; *steps; steps++)
		changes_add(&c,
			    *steps == '+'   ? CHANGE_ADDED
			    : *steps == '-' ? CHANGE_DELETED
					    : CHANGE_UPDATED,
			    "/p");
	enum change_kind kind = changes_at(&c, 0, &path);
	assert_string_equal(path, "/p");
	assert_int_equal(changes_empty(&c), kind == CHANGE_NONE);
	changes_clear(&c);
	return kind;
}

static void test_coalescing(void **state)
{
	(void)state;
	assert_int_equal(after("+"), CHANGE_ADDED);
	assert_int_equal(after("+-"), CHANGE_NONE);
	assert_int_equal(after("+="), CHANGE_ADDED);
	assert_int_equal(after("+==="), CHANGE_ADDED);
	assert_int_equal(after("-+"), CHANGE_UPDATED);
	assert_int_equal(after("=-"), CHANGE_DELETED);
	assert_int_equal(after("=="), CHANGE_UPDATED);
	assert_int_equal(after("+-+"), CHANGE_ADDED);
	assert_int_equal(after("-+-"), CHANGE_DELETED);
	assert_int_equal(after("+=-"), CHANGE_NONE);
	assert_int_equal(after("=-+"), CHANGE_UPDATED);
}

static void test_deleted_children(void **state)
{
	struct changes c = {0};
	const char *path;
	(void)state;
	changes_add(&c, CHANGE_DELETED, "/a/b/c");
	changes_add(&c, CHANGE_DELETED, "/a/b");
	changes_add(&c, CHANGE_DELETED, "/a/bc");
	changes_add(&c, CHANGE_ADDED, "/a/b/new");
	assert_int_equal(changes_at(&c, 0, &path), CHANGE_NONE);
	assert_int_equal(changes_at(&c, 1, &path), CHANGE_DELETED);
	assert_int_equal(changes_at(&c, 2, &path), CHANGE_DELETED);
	assert_int_equal(changes_at(&c, 3, &path), CHANGE_ADDED);
	changes_clear(&c);
}

static void test_many_and_overflow(void **state)
{
	struct changes c = {0};
	char path[64];
	const char *got;
	(void)state;
	for (int round = 0; round < 2; round++)
		for (int i = 0; i < CHANGES_MAX; i++) {
			snprintf(path, sizeof(path), "/folder/%d", i);
			changes_add(&c, CHANGE_UPDATED, path);
		}
	assert_int_equal(c.n, CHANGES_MAX);
	assert_false(c.overflow);
	changes_at(&c, 12345, &got);
	assert_string_equal(got, "/folder/12345");
	changes_add(&c, CHANGE_ADDED, "/one more");
	assert_true(c.overflow);
	assert_int_equal(c.n, 0);
	assert_false(changes_empty(&c));
	changes_add(&c, CHANGE_ADDED, "/later");
	assert_int_equal(c.n, 0);
	changes_clear(&c);
	assert_true(changes_empty(&c));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_patterns),         cmocka_unit_test(test_bad_patterns),
	    cmocka_unit_test(test_no_explosion),     cmocka_unit_test(test_coalescing),
	    cmocka_unit_test(test_deleted_children), cmocka_unit_test(test_many_and_overflow),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
