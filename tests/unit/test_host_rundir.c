/* test_host_rundir.c - where sockets live: order, limits, refusals. Real folders below /tmp. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "host/rundir.h"

static int setup(void **state)
{
	char *dir = strdup("/tmp/tlr-XXXXXX");

	assert_non_null(mkdtemp(dir));
	setenv("HOME", dir, 1);
	unsetenv("TOWLINE_SERVER_DIR");
	*state = dir;
	return 0;
}

static int teardown(void **state)
{
	char *dir = *state;
	char *argv[] = {(char *)(uintptr_t) "rm", (char *)(uintptr_t) "-rf", dir, NULL};
	pid_t pid = fork();

	if (pid == 0) {
		execvp("rm", argv);
		_exit(1);
	}
	waitpid(pid, NULL, 0);
	free(dir);
	return 0;
}

static void test_order(void **state)
{
	struct rundir c[RUNDIR_COUNT];
	char host[65], want[256];

	gethostname(host, sizeof(host));
	assert_int_equal(rundir_candidates(NULL, c), 2);
	snprintf(want, sizeof(want), "%s/.towline-server/run/%s", (char *)*state, host);
	assert_string_equal(c[0].path, want);
	snprintf(want, sizeof(want), "/tmp/towline-server-%ld", (long)geteuid());
	assert_string_equal(c[1].path, want);
	assert_int_equal(rundir_candidates("/x/y", c), 1);
	assert_string_equal(c[0].path, "/x/y");
}

static void test_too_long(void **state)
{
	struct rundir c[RUNDIR_COUNT], r;
	struct tl_err err = {0};
	char deep[512];

	snprintf(deep, sizeof(deep), "%s/%0100d", (char *)*state, 1);
	setenv("HOME", deep, 1);
	assert_int_equal(rundir_candidates(NULL, c), 1);
	assert_int_equal(strncmp(c[0].path, "/tmp/", 5), 0);
	assert_int_equal(rundir_candidates(deep, c), 0);
	assert_int_equal(rundir_choose(deep, &r, &err), TL_E_LIMIT);
	assert_non_null(strstr(err.text, "longer than"));
}

static void test_choose_is_stable_and_private(void **state)
{
	struct rundir a, b;
	struct stat st;
	struct tl_err err = {0};

	(void)state;
	assert_int_equal(rundir_choose(NULL, &a, &err), 0);
	assert_int_equal(rundir_choose(NULL, &b, &err), 0);
	assert_string_equal(a.path, b.path);
	assert_int_equal(stat(a.path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0700);
	assert_true(rundir_is_ours(a.path));
	chmod(a.path, 0750);
	assert_false(rundir_is_ours(a.path));
	assert_int_equal(rundir_choose(NULL, &b, &err), 0);
	assert_true(rundir_is_ours(a.path));
}

static void test_refuses_links_and_files(void **state)
{
	char path[256];
	struct rundir r;
	struct tl_err err = {0};
	FILE *f;

	snprintf(path, sizeof(path), "%s/ln", (char *)*state);
	assert_int_equal(symlink("/tmp", path), 0);
	assert_int_equal(rundir_choose(path, &r, &err), TL_E_ACCES);
	assert_false(rundir_is_ours(path));
	snprintf(path, sizeof(path), "%s/file", (char *)*state);
	f = fopen(path, "w");
	assert_non_null(f);
	fclose(f);
	assert_true(rundir_choose(path, &r, &err) < 0);
	assert_non_null(strstr(err.text, path));
}

static void test_server_dir(void **state)
{
	char out[128], want[128];

	assert_int_equal(server_dir(out, sizeof(out)), 0);
	snprintf(want, sizeof(want), "%s/.towline-server", (char *)*state);
	assert_string_equal(out, want);
	assert_int_equal(server_dir(out, 8), TL_E_LIMIT);
	setenv("TOWLINE_SERVER_DIR", "/opt/x", 1);
	assert_int_equal(server_dir(out, sizeof(out)), 0);
	assert_string_equal(out, "/opt/x");
	setenv("TOWLINE_SERVER_DIR", "relative", 1);
	assert_int_equal(server_dir(out, sizeof(out)), 0);
	assert_string_equal(out, want);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_order, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_too_long, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_choose_is_stable_and_private, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_refuses_links_and_files, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_server_dir, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
