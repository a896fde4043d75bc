/* test_config_edit.c - ssh command lines as Host blocks, and blocks put into and taken out of a
 * configuration: what is ours changes, every other byte stays. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "dial/config_edit.h"
#include "dial/config_text.h"
#include "loop/fsx.h"

static int parse(const char *text, struct ssh_command *c, struct tl_err *err)
{
	struct strv words = {0};
	int rc = ssh_command_split(text, &words, err);

	memset(c, 0, sizeof(*c));
	rc = rc ? rc : ssh_command_parse(&words, "/work", c, err);
	strv_fini(&words);
	return rc;
}

/* The block of a command, to be freed. */
static char *block_of(const char *name, const char *text)
{
	struct ssh_command c;
	struct tl_err err = {0};
	struct buf b;
	char *out;

	if (parse(text, &c, &err) != 0)
		fail_msg("%s: %s", text, err.text);
	buf_init(&b, 65536);
	assert_int_equal(config_block(&b, name ? name : c.host, &c, &err), 0);
	out = str_ndup(buf_data(&b).p, b.len);
	buf_fini(&b);
	ssh_command_fini(&c);
	return out;
}

static void test_commands(void **state)
{
	static const struct {
		const char *command, *lines; /* without the Host line */
	} rows[] = {
	    {"me@h", "    HostName h\n    User me\n"},
	    {"ssh h", "    HostName h\n"},
	    {"/usr/bin/ssh ssh", "    HostName ssh\n"},
	    {"$ ssh -p2222 me@h", "    HostName h\n    User me\n    Port 2222\n"},
	    {"ssh -l you me@h:2200", "    HostName h\n    User you\n    Port 2200\n"},
	    {"ssh ssh://me@[2001:db8::1]:2200/",
	     "    HostName 2001:db8::1\n    User me\n    Port 2200\n"},
	    {"ssh 2001:db8::1", "    HostName 2001:db8::1\n"},
	    {"ssh -p 22 -p 23 h", "    HostName h\n    Port 22\n    Port 23\n"},
	    {"ssh -i ~/.ssh/a -i b -i '/c d/e' h",
	     "    HostName h\n    IdentityFile ~/.ssh/a\n    IdentityFile /work/b\n"
	     "    IdentityFile \"/c d/e\"\n"},
	    {"ssh -A -XC -4tt -J a@b:22,c h",
	     "    HostName h\n    ForwardAgent yes\n    ForwardX11 yes\n    Compression yes\n"
	     "    AddressFamily inet\n    RequestTTY yes\n    ProxyJump a@b:22,c\n"},
	    {"ssh -K -Y h",
	     "    HostName h\n    GSSAPIDelegateCredentials yes\n    GSSAPIAuthentication yes\n"
	     "    ForwardX11 yes\n    ForwardX11Trusted yes\n"},
	    {"ssh -L 80:a:81 -L x:80:a:81 -L [::1]:80:[::2]:81 -L 80:/s -L x:80:/s -L /l:a:80 "
	     "-L /l:/s -L *:1:a:2 -L :1:a:2 h",
	     "    HostName h\n    LocalForward 80 a:81\n    LocalForward x:80 a:81\n"
	     "    LocalForward [::1]:80 [::2]:81\n    LocalForward 80 /s\n    LocalForward x:80 "
	     "/s\n"
	     "    LocalForward /l a:80\n    LocalForward /l /s\n    LocalForward *:1 a:2\n"
	     "    LocalForward :1 a:2\n"},
	    {"ssh -R 80 -R x:80 -R 80:a:81 -D 1080 -D [::1]:1080 h",
	     "    HostName h\n    RemoteForward 80\n    RemoteForward x:80\n"
	     "    RemoteForward 80 a:81\n    DynamicForward 1080\n    DynamicForward [::1]:1080\n"},
	    {"ssh -o HostName=1.2.3.4 -oUser=x -o 'ProxyCommand nc -X 5 %h %p' alias",
	     "    HostName 1.2.3.4\n    User x\n    ProxyCommand nc -X 5 %h %p\n"},
	    {"ssh -o \"SendEnv = A B\" h -p 23", "    HostName h\n    Port 23\n    SendEnv A B\n"},
	    {"ssh -w 0:1 -S none -M -g -B eth0 -b 10.0.0.1 -c aes128-ctr -m x -I p h",
	     "    HostName h\n    Tunnel point-to-point\n    TunnelDevice 0:1\n    ControlPath "
	     "none\n"
	     "    ControlMaster yes\n    GatewayPorts yes\n    BindInterface eth0\n"
	     "    BindAddress 10.0.0.1\n    Ciphers aes128-ctr\n    MACs x\n    PKCS11Provider "
	     "p\n"},
	    {"ssh \\\n  h", "    HostName h\n"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char *got = block_of("n", rows[i].command);
		char *want = str_fmt("Host n\n%s", rows[i].lines);
		assert_string_equal(got, want);
		free(got);
		free(want);
	}
}

static void test_what_cannot_be_kept_is_named(void **state)
{
	struct ssh_command c;
	struct tl_err err = {0};

	(void)state;
	assert_int_equal(parse("ssh -NfvvE /tmp/log -W a:1 -F other me@h ls -l 'a b'", &c, &err),
			 0);
	assert_int_equal(c.unused.n, 7);
	assert_int_equal(c.why.n, 7);
	assert_string_equal(c.unused.v[0], "-N");
	assert_string_equal(c.unused.v[4], "-E /tmp/log");
	assert_string_equal(c.unused.v[5], "-W a:1");
	assert_string_equal(c.unused.v[6], "ls -l a b");
	assert_string_equal(c.config_file, "other");
	assert_int_equal(c.keys.n, 2);
	ssh_command_fini(&c);
}

static void test_nonsense_is_refused(void **state)
{
	static const char *const rows[] = {
	    "",
	    "ssh",
	    "ssh -p",
	    "ssh -p x h",
	    "ssh -p 0 h",
	    "ssh -Z h",
	    "ssh -L 80 h",
	    "ssh -L a:b:c:d:e h",
	    "ssh -L [::1:80:a:81 h",
	    "ssh h; rm -rf /",
	    "ssh $HOST",
	    "ssh \"$HOST\"",
	    "ssh `id`",
	    "ssh h | cat",
	    "ssh 'h",
	    "ssh @",
	    "ssh me@",
	    "ssh -o h",
	    "ssh -o =x h",
	    "ssh -o Host=x h",
	    "ssh -o Include=/x h",
	    "ssh 'a b'",
	    "ssh 'a\nHost *'",
	    "ssh -o 'User=x\nProxyCommand evil' h",
	    "ssh -i '/a\nProxyCommand evil' h",
	    "ssh -i '/a\"b' h",
	    "ssh 'h*'",
	    "ssh -- -h",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct ssh_command c;
		struct tl_err err = {0};
		if (parse(rows[i], &c, &err) != TL_E_INVAL)
			fail_msg("accepted: %s", rows[i]);
		assert_true(err.text[0]);
	}
}

/* Puts a block in and takes it out again: the rest is as it was. */
static void round_trip(const char *before, const char *name, const char *after)
{
	char *block = block_of(name, "me@h");
	struct buf with, without, taken;
	int line = 0;
	bool shared = true;

	buf_init(&with, 65536);
	buf_init(&without, 65536);
	buf_init(&taken, 65536);
	assert_int_equal(config_insert(bytes_str(before), name, bytes_str(block), &with, &line), 0);
	assert_string_equal(buf_cstr(&with), after);
	/* the line is that of the Host line */
	{
		size_t at = 0;
		char *text = NULL;
		for (int i = 0; i < line; i++) {
			free(text);
			text = config_line(buf_data(&with), at, &at);
		}
		assert_true(str_starts(text, "Host "));
		assert_non_null(strstr(text, name));
		free(text);
	}
	assert_int_equal(config_remove(buf_data(&with), name, &without, &taken, &shared), 0);
	assert_false(shared);
	assert_string_equal(buf_cstr(&without), before);
	assert_int_equal(config_remove(bytes_str(before), name, &taken, &with, &shared),
			 TL_E_NOENT);
	buf_fini(&with);
	buf_fini(&without);
	buf_fini(&taken);
	free(block);
}

#define BLOCK "Host new\n    HostName h\n    User me\n"

static void test_blocks_come_and_go(void **state)
{
	(void)state;
	round_trip("", "new", BLOCK);
	round_trip("User x\n", "new", "User x\n\n" BLOCK);
	round_trip("Host a\n  User b\n", "new", "Host a\n  User b\n\n" BLOCK);
	round_trip("Host a\n  User b\n# the end\n", "new", "Host a\n  User b\n# the end\n\n" BLOCK);
	/* ssh counts the first value: before what takes the name as well, and its comment */
	round_trip("Host *\n  User b\n", "new", BLOCK "\nHost *\n  User b\n");
	round_trip("Host a\n  User b\n\n  # all\n# of them\nHost n* !nix\n  User b\n", "new",
		   "Host a\n  User b\n\n" BLOCK "\n  # all\n# of them\nHost n* !nix\n  User b\n");
	round_trip("host = \"x y\" n?w\n", "new", BLOCK "\nhost = \"x y\" n?w\n");
	round_trip("Match all\n  User b\n", "new", BLOCK "\nMatch all\n  User b\n");
	/* not those that do not take it */
	round_trip("Host * !new\n  User b\n", "new", "Host * !new\n  User b\n\n" BLOCK);
	/* the line ends of the file */
	round_trip("Host a\r\n  User b\r\n", "new",
		   "Host a\r\n  User b\r\n\r\nHost new\r\n    HostName h\r\n    User me\r\n");
}

static void test_a_last_line_without_end(void **state)
{
	struct buf out;
	int line;

	(void)state;
	buf_init(&out, 65536);
	assert_int_equal(
	    config_insert(bytes_str("Host a\n  User b"), "new", bytes_str(BLOCK), &out, &line), 0);
	assert_string_equal(buf_cstr(&out), "Host a\n  User b\n\n" BLOCK);
	assert_int_equal(line, 4);
	buf_fini(&out);
}

static void test_exactly_that_block(void **state)
{
	static const struct {
		const char *before, *after, *taken;
		bool shared;
	} rows[] = {
	    {"Host a\n User x\n\n# of b\nHost b\n User y\n", "# of b\nHost b\n User y\n",
	     "Host a\n User x\n", false},
	    {"Host b\n User y\nHost a\n User x\n # inside\n Port 1\n# of c\nHost c\n",
	     "Host b\n User y\n# of c\nHost c\n", "Host a\n User x\n # inside\n Port 1\n", false},
	    {"Host b a c # three\n User x\n", "Host b c # three\n User x\n", "Host b a c # three\n",
	     true},
	    {"Host ab\n User x\nHost \"a\"\n User y\n", "Host ab\n User x\n",
	     "Host \"a\"\n User y\n", false},
	    {"Host=a\n", "", "Host=a\n", false},
	    {"  HOST\ta\n\tUser x\nMatch host a\n User z\n", "Match host a\n User z\n",
	     "  HOST\ta\n\tUser x\n", false},
	    {"Port 1\nHost a", "Port 1\n", "Host a", false},
	    /* the first only */
	    {"Host a\n User x\nHost a\n Port 1\n", "Host a\n Port 1\n", "Host a\n User x\n", false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct buf out, taken;
		bool shared = !rows[i].shared;
		buf_init(&out, 65536);
		buf_init(&taken, 65536);
		assert_int_equal(
		    config_remove(bytes_str(rows[i].before), "a", &out, &taken, &shared), 0);
		assert_string_equal(buf_cstr(&out), rows[i].after);
		assert_string_equal(buf_cstr(&taken), rows[i].taken);
		assert_int_equal(shared, rows[i].shared);
		buf_fini(&out);
		buf_fini(&taken);
	}
}

static void test_names(void **state)
{
	static const char *const bad[] = {"",   "-a",  "a b", "a*", "a?",
					  "!a", "a\"", "a,b", "a#", "a\n"};
	static const char *const good[] = {"a", "me@h", "2001:db8::1", "h:22", "straße", "a-b_c.d"};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(config_name_check(bad[i], NULL), TL_E_INVAL);
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		assert_int_equal(config_name_check(good[i], NULL), 0);
}

/* ---- files ---- */

static char dir[64];

static int set_up(void **state)
{
	(void)state;
	str_copy(dir, sizeof(dir), "/tmp/tl-config-XXXXXX");
	return mkdtemp(dir) ? 0 : -1;
}

static int tear_down(void **state)
{
	char *command[] = {"rm", "-rf", dir, NULL};
	pid_t pid = fork();

	(void)state;
	if (pid == 0) {
		execvp(command[0], command);
		_exit(1);
	}
	return waitpid(pid, NULL, 0) == pid ? 0 : -1;
}

struct appending {
	const char *text, *meanwhile; /* written to this file while we think */
	int calls;
};

static int append(void *ctx, struct tl_bytes text, struct buf *out, struct tl_err *err)
{
	struct appending *a = ctx;

	a->calls++;
	if (a->meanwhile) {
		assert_int_equal(fs_write_atomic(a->meanwhile, "other\n", 6, 0600, err), 0);
		a->meanwhile = NULL;
	}
	return buf_put(out, text.p, text.n) || buf_put_str(out, a->text);
}

static void expect_file(const char *path, const char *want, mode_t mode)
{
	struct stat st;
	struct buf b;

	buf_init(&b, 4096);
	assert_int_equal(fs_read(path, &b, NULL), 0);
	assert_string_equal(buf_cstr(&b), want);
	buf_fini(&b);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, mode);
}

static void test_files_keep_mode_and_links(void **state)
{
	struct appending a = {.text = "new\n"};
	char file[128], link[128], fresh[128], left[160];
	struct stat st;
	struct tl_err err = {0};

	(void)state;
	snprintf(file, sizeof(file), "%s/real", dir);
	snprintf(link, sizeof(link), "%s/link", dir);
	snprintf(fresh, sizeof(fresh), "%s/.ssh/config", dir);
	assert_int_equal(fs_write_atomic(file, "old\n", 4, 0640, NULL), 0);
	assert_int_equal(chmod(file, 0640), 0);
	assert_int_equal(symlink("real", link), 0);
	assert_int_equal(config_file_edit(link, append, &a, &err), 0);
	expect_file(file, "old\nnew\n", 0640);
	assert_int_equal(lstat(link, &st), 0);
	assert_true(S_ISLNK(st.st_mode));
	/* a file that is not there yet, and its folder */
	assert_int_equal(config_file_edit(fresh, append, &a, &err), 0);
	expect_file(fresh, "new\n", 0600);
	snprintf(left, sizeof(left), "%s/.ssh", dir);
	assert_int_equal(stat(left, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	assert_int_equal(config_file_edit("relative/file", append, &a, &err), TL_E_INVAL);
	assert_int_equal(config_file_edit(dir, append, &a, &err), TL_E_INVAL);
}

static void test_a_file_that_changes_meanwhile(void **state)
{
	char file[128];
	struct appending a = {.text = "new\n", .meanwhile = file};

	(void)state;
	snprintf(file, sizeof(file), "%s/busy", dir);
	assert_int_equal(fs_write_atomic(file, "old\n", 4, 0600, NULL), 0);
	assert_int_equal(config_file_edit(file, append, &a, NULL), 0);
	assert_int_equal(a.calls, 2);
	expect_file(file, "other\nnew\n", 0600);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_commands),
	    cmocka_unit_test(test_what_cannot_be_kept_is_named),
	    cmocka_unit_test(test_nonsense_is_refused),
	    cmocka_unit_test(test_blocks_come_and_go),
	    cmocka_unit_test(test_a_last_line_without_end),
	    cmocka_unit_test(test_exactly_that_block),
	    cmocka_unit_test(test_names),
	    cmocka_unit_test_setup_teardown(test_files_keep_mode_and_links, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_a_file_that_changes_meanwhile, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
