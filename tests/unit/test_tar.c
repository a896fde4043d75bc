/* test_tar.c - the tar format: what we write is read again, by ourselves and by tar; what is no
 * archive is refused; any cut of the stream into pieces gives the same words. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/str.h"
#include "wire/tar.h"

/* The words of an archive as one line of text, fed in pieces of `step` bytes. */
static char *words(struct tl_bytes all, size_t step)
{
	struct tar_reader *r = malloc(sizeof(*r));
	struct buf out;
	char *text;

	assert_non_null(r);
	tar_reader_init(r);
	buf_init(&out, 1 << 20);
	while (all.n) {
		struct tl_bytes in = bytes_of(all.p, all.n < step ? all.n : step), data;
		struct tar_entry e;
		enum tar_word w;
		all = bytes_of(all.p + in.n, all.n - in.n);
		while ((w = tar_next(r, &in, &e, &data)) != TAR_MORE && w != TAR_OVER) {
			if (w == TAR_BAD) {
				buf_put_str(&out, "BAD");
				goto out;
			}
			if (w == TAR_ENTRY)
				buf_printf(&out, "[%c %s>%s %o %llu %lld]", e.type, e.name,
					   e.target, e.mode, (unsigned long long)e.size,
					   (long long)e.mtime_s);
			else if (w == TAR_DATA)
				buf_put(&out, data.p, data.n);
			else
				buf_put_str(&out, ";");
		}
		if (w == TAR_OVER)
			buf_put_str(&out, ".");
		if (w == TAR_OVER)
			break;
	}
out:
	text = str_dup(buf_cstr(&out));
	buf_fini(&out);
	free(r);
	return text;
}

static void put(struct buf *b, enum tar_type type, const char *name, const char *target,
		const char *content)
{
	static const uint8_t zeros[TAR_BLOCK];
	struct tar_entry e = {.type = type,
			      .name = name,
			      .target = target,
			      .mode = 0640,
			      .size = strlen(content),
			      .mtime_s = 1500000000};

	assert_int_equal(tar_put(b, &e), 0);
	assert_int_equal(buf_put_str(b, content), 0);
	assert_int_equal(buf_put(b, zeros, tar_padding(strlen(content))), 0);
}

static void there_and_back(void **state)
{
	char name[301], target[151];
	char *whole, *cut, *expect;
	struct buf b;

	(void)state;
	memset(name, 'n', 300);
	name[300] = 0;
	memset(target, 't', 150);
	target[150] = 0;
	buf_init(&b, 1 << 16);
	put(&b, TAR_FOLDER, "f", "", "");
	put(&b, TAR_FILE, "f/\xff one", "", "content");
	put(&b, TAR_LINK, name, target, "");
	put(&b, TAR_FILE, name, "", "");
	assert_int_equal(tar_put_end(&b), 0);
	expect = str_fmt(
	    "[5 f> 640 0 1500000000];[0 f/\xff one> 640 7 1500000000]content;[2 %s>%s 640 0 "
	    "1500000000];[0 %s> 640 0 1500000000];.",
	    name, target, name);
	whole = words(buf_data(&b), b.len);
	assert_string_equal(whole, expect);
	for (size_t step = 1; step < 1200; step += 167) {
		cut = words(buf_data(&b), step);
		assert_string_equal(cut, expect);
		free(cut);
	}
	free(whole);
	free(expect);
	buf_fini(&b);
}

static void sizes_beyond_octal(void **state)
{
	struct tar_entry e = {
	    .type = TAR_FILE, .name = "x", .target = "", .size = UINT64_C(1) << 40};
	struct tar_reader r;
	struct tl_bytes in, data;
	struct buf b;

	(void)state;
	buf_init(&b, 4096);
	assert_int_equal(tar_put(&b, &e), 0);
	in = buf_data(&b);
	tar_reader_init(&r);
	assert_int_equal(tar_next(&r, &in, &e, &data), TAR_ENTRY);
	assert_true(e.size == UINT64_C(1) << 40);
	buf_fini(&b);
}

/* GNU tar in its own and in the pax format, with a hard link. */
static void of_real_tar(void **state)
{
	static const char *const formats[] = {"gnu", "pax", "ustar"};
	char dir[] = "/tmp/tl-tar-XXXXXX";

	(void)state;
	assert_non_null(mkdtemp(dir));
	for (size_t i = 0; i < 3; i++) {
		char *script =
		    str_fmt("cd %s&&rm -rf t&&d=t/$(printf 'd%%060d/e%%060d' 1 1)&&mkdir -p $d&&"
			    "printf abc >t/a&&ln t/a t/b&&ln -s a t/c&&printf x >$d/y&&"
			    "touch -d @1400000000.5 t/a&&chmod 604 t/a&&"
			    "tar --format=%s --sort=name -cf x.tar -C t .",
			    dir, formats[i]);
		char *path = str_fmt("%s/x.tar", dir), *got;
		pid_t pid = fork();
		int status = -1;
		uint8_t *all = malloc(1 << 20);
		size_t n;
		FILE *f;
		if (pid == 0) {
			execl("/bin/sh", "sh", "-c", script, (char *)NULL);
			_exit(127);
		}
		waitpid(pid, &status, 0);
		assert_int_equal(status, 0);
		f = fopen(path, "rb");
		assert_non_null(f);
		n = fread(all, 1, 1 << 20, f);
		fclose(f);
		got = words(bytes_of(all, n), 1000);
		assert_non_null(strstr(
		    got, "[0 ./a> 604 3 1400000000]abc;[1 ./b>./a 604 0 1400000000];[2 ./c>a "));
		assert_non_null(strstr(got, "1/y>"));
		assert_null(strstr(got, "BAD"));
		free(got);
		free(all);
		free(path);
		free(script);
	}
	if (fork() == 0) {
		execl("/bin/rm", "rm", "-rf", dir, (char *)NULL);
		_exit(127);
	}
	wait(NULL);
}

static void no_archive(void **state)
{
	uint8_t junk[TAR_BLOCK * 2];
	char *got;

	(void)state;
	memset(junk, 'x', sizeof(junk));
	got = words(bytes_of(junk, sizeof(junk)), 100);
	assert_string_equal(got, "BAD");
	free(got);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(there_and_back),
	    cmocka_unit_test(sizes_beyond_octal),
	    cmocka_unit_test(of_real_tar),
	    cmocka_unit_test(no_archive),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
