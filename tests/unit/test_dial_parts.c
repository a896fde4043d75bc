/* test_dial_parts.c - the pure parts of dial: markers in noise, kinds of questions, argv, the
 * configured hosts, cksum, pauses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/limits.h"
#include "dial/args.h"
#include "dial/binary.h"
#include "dial/prompt.h"
#include "dial/ssh_ciphers.h"
#include "dial/start_parse.h"
#include "dial/start_script.h"
#include "loop/fsx.h"
#include "dial/text.h"

/* ---- markers ---- */

#define HELLO "motd of \0 the host\n\0towline-here n1 Linux x86_64\n"
#define REST  "\0towline wrong\n\0towline n1\nLINK"

/* The same words come whatever the cuts are. */
static void markers_in_noise(void **state)
{
	const char bytes[] = HELLO REST;
	size_t n = sizeof(bytes) - 1;

	(void)state;
	for (size_t step = 1; step <= n; step++) {
		struct start_parse s;
		enum start_word got[4];
		size_t words = 0;

		start_parse_init(&s, "n1");
		for (size_t at = 0; at < n && (!words || got[words - 1] != START_UP); at += step) {
			enum start_word w;
			size_t take = n - at < step ? n - at : step;
			assert_int_equal(start_feed(&s, bytes + at, take), 0);
			while ((words == 0 || got[words - 1] != START_UP) &&
			       (w = start_next(&s)) != START_MORE) {
				assert_true(words < 4);
				got[words++] = w;
				if (w == START_HERE)
					assert_string_equal(s.text, "Linux x86_64");
			}
		}
		assert_int_equal(words, 2);
		assert_int_equal(got[0], START_HERE);
		assert_int_equal(got[1], START_UP);
		/* what was fed behind the marker is the link's */
		assert_true(start_rest(&s).n <= 4);
		assert_memory_equal(start_rest(&s).p, "LINK", start_rest(&s).n);
		assert_memory_equal(buf_data(&s.noise).p, "motd of ", 8);
		start_parse_fini(&s);
	}
}

static void too_much_noise(void **state)
{
	struct start_parse s;
	char part[START_FEED];
	enum start_word w = START_MORE;
	size_t fed = 0;

	(void)state;
	memset(part, 0, sizeof(part)); /* every byte could begin a marker */
	start_parse_init(&s, "n1");
	while (w == START_MORE && fed < 10 * TL_LIMIT_NOISE) {
		assert_int_equal(start_feed(&s, part, sizeof(part)), 0);
		fed += sizeof(part);
		w = start_next(&s);
	}
	assert_int_equal(w, START_NOISY);
	start_parse_fini(&s);
}

static void endless_marker_line(void **state)
{
	struct start_parse s;
	char part[START_FEED];
	enum start_word w;

	(void)state;
	memset(part, 'x', sizeof(part));
	memcpy(part, "\0towline n1", 11);
	start_parse_init(&s, "n1");
	for (int i = 0; i < 3; i++) {
		assert_int_equal(start_feed(&s, part, sizeof(part)), 0);
		w = start_next(&s);
		assert_int_equal(w, START_MORE);
	}
	start_parse_fini(&s);
}

/* ---- questions ---- */

static void kinds_of_questions(void **state)
{
	static const struct {
		const char *text, *hint;
		enum dial_prompt_kind kind;
	} cases[] = {
	    {"The authenticity of host '[127.0.0.1]:22' can't be established.\nED25519 key "
	     "fingerprint is SHA256:x.\nAre you sure you want to continue connecting "
	     "(yes/no/[fingerprint])? ",
	     "-", DIAL_PROMPT_HOSTKEY},
	    {"Please type 'yes', 'no' or the fingerprint: ", "-", DIAL_PROMPT_HOSTKEY},
	    {"Enter passphrase for key '/home/me/.ssh/id': ", "-", DIAL_PROMPT_PASSPHRASE},
	    {"me@h's password: ", "-", DIAL_PROMPT_PASSWORD},
	    {"(me@h) Password: ", "-", DIAL_PROMPT_PASSWORD},
	    {"(me@h) Verification code: ", "-", DIAL_PROMPT_QUESTION},
	    {"Enter PIN for 'token': ", "-", DIAL_PROMPT_PIN},
	    {"Confirm user presence for key ED25519-SK SHA256:x", "none", DIAL_PROMPT_TOUCH},
	    {"anything", "none", DIAL_PROMPT_TOUCH},
	    {"Allow use of key x?", "confirm", DIAL_PROMPT_QUESTION},
	    {"", "-", DIAL_PROMPT_QUESTION},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_int_equal(prompt_kind(cases[i].text, cases[i].hint), cases[i].kind);
}

static void clean_text(void **state)
{
	static const struct {
		const char *in;
		bool lines;
		const char *out;
	} cases[] = {
	    {"\033]0;title\007a\tb\n", false, " ]0;title a b "},
	    {"a\nb\r", true, "a\nb "},
	    {"gr\303\274n", false, "gr\303\274n"},
	    {"gr\374n\303", false, "gr?n?"},
	    {"\302\2332J\302\240x", false, "  2J\302\240x"},
	    {"", false, ""},
	};
	char text[64];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		str_copy(text, sizeof(text), cases[i].in);
		assert_string_equal(text_clean(text, cases[i].lines), cases[i].out);
	}
}

/* ---- argv ---- */

static void hosts_for_ssh(void **state)
{
	static const struct {
		const char *host, *name, *port;
	} cases[] = {
	    {"demo", "demo", NULL},
	    {"me@demo", "me@demo", NULL},
	    {"me@demo:2222", "me@demo", "2222"},
	    {"a@b@demo:22", "a@b@demo", "22"},
	    {"[::1]:2222", "::1", "2222"},
	    {"me@[fe80::1%eth0]", "me@fe80::1%eth0", NULL},
	    {"::1", "::1", NULL},
	    {"ssh://me@demo:22", "ssh://me@demo:22", NULL},
	    {"demo:0", "demo:0", NULL},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct dial_target t;
		struct strv v = {0};
		const char *port = NULL;
		assert_int_equal(dial_target_parse(cases[i].host, &t, NULL), 0);
		assert_int_equal(args_argv(&v, &t, "ssh", "command", NULL), 0);
		for (size_t k = 0; k < v.n; k++)
			if (strcmp(v.v[k], "-p") == 0)
				port = v.v[k + 1];
		assert_string_equal(v.v[v.n - 3], "--");
		assert_string_equal(v.v[v.n - 2], cases[i].name);
		assert_string_equal(v.v[v.n - 1], "command");
		if (cases[i].port)
			assert_string_equal(port, cases[i].port);
		else
			assert_null(port);
		strv_fini(&v);
	}
}

static void hosts_refused(void **state)
{
	static const char *const cases[] = {"", "-oProxyCommand=x", "me@-x", "me@", "a b", "a\nb"};
	char longer[TL_LIMIT_HOST_NAME + 10];
	struct dial_target t;
	struct tl_err err = {0};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(dial_target_parse(cases[i], &t, &err), TL_E_INVAL);
		assert_non_null(strstr(err.text, "cannot connect"));
	}
	memset(longer, 'a', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = 0;
	assert_int_equal(dial_target_parse(longer, &t, &err), TL_E_INVAL);
	assert_int_equal(dial_target_parse("local:", &t, &err), 0);
	assert_int_equal(t.kind, DIAL_LOCAL);
}

static void user_options(void **state)
{
	const char *const keys[] = {"/k1", "/k2", NULL}, *const options[] = {"User=x", NULL};
	struct dial_target t = {.host = "demo:1",
				.config_file = "/c",
				.identities = keys,
				.options = options,
				.port = 77};
	struct strv v = {0};
	char all[512] = "";

	(void)state;
	assert_int_equal(args_argv(&v, &t, "/usr/bin/ssh", "command", NULL), 0);
	for (size_t i = 0; i < v.n - 1; i++) {
		strncat(all, v.v[i], sizeof(all) - strlen(all) - 1);
		strncat(all, " ", sizeof(all) - strlen(all) - 1);
	}
	assert_string_equal(all, "/usr/bin/ssh -T -e none -o RemoteCommand=none -o RequestTTY=no "
				 "-o PermitLocalCommand=no -o ClearAllForwardings=yes "
				 "-o ControlMaster=no -F /c -i /k1 -i /k2 "
				 "-o User=x -o LogLevel=INFO -p 77 -- demo ");
	strv_fini(&v);
	/* a master connection of its own, and nothing but the login */
	t = (struct dial_target){.host = "demo", .control_path = "/run/ctl", .login_only = true};
	all[0] = 0;
	assert_int_equal(args_argv(&v, &t, "ssh", "command", NULL), 0);
	for (size_t i = 10; i < v.n; i++) {
		strncat(all, v.v[i], sizeof(all) - strlen(all) - 1);
		strncat(all, " ", sizeof(all) - strlen(all) - 1);
	}
	assert_string_equal(all,
			    "-o ClearAllForwardings=yes -o ControlMaster=yes -o "
			    "ControlPersist=no -oControlPath=/run/ctl -N -o LogLevel=DEBUG1 -- "
			    "demo ");
	strv_fini(&v);
	t.port = 70000;
	assert_int_equal(args_argv(&v, &t, "ssh", "command", NULL), TL_E_INVAL);
	strv_fini(&v);
}

static void environment(void **state)
{
	struct strv v = {0};
	int seen = 0;

	(void)state;
	setenv("SSH_ASKPASS", "/other", 1);
	setenv("LC_ALL", "de_DE.UTF-8", 1);
	assert_int_equal(args_envp(&v, "/bin/askpass", "/run/s", NULL), 0);
	for (size_t i = 0; i < v.n; i++) {
		assert_string_not_equal(v.v[i], "SSH_ASKPASS=/other");
		seen += strcmp(v.v[i], "SSH_ASKPASS=/bin/askpass") == 0;
		seen += strcmp(v.v[i], "SSH_ASKPASS_REQUIRE=force") == 0;
		seen += strcmp(v.v[i], ASKPASS_SOCKET_ENV "=/run/s") == 0;
		/* it may travel to the host by SendEnv */
		seen += strcmp(v.v[i], "LC_ALL=de_DE.UTF-8") == 0;
	}
	assert_int_equal(seen, 4);
	strv_fini(&v);
	unsetenv("SSH_ASKPASS");
	unsetenv("LC_ALL");
}

/* ---- the start-up line ---- */

static void one_line(void **state)
{
	static const char *const paths[] = {NULL, "~/x y", "/opt/it's", "$HOME/z"};
	static const char *const bad[] = {"relative", "a/b", "/a\nb", ""};
	struct start_spec s = {.nonce = "n1", .version = "0.1.0", .digest = {"a", "b", ""}};
	struct buf b;

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		struct tl_bytes d;
		const char *command;
		int asks;
		buf_init(&b, 16384);
		s.install_path = paths[i];
		assert_int_equal(start_script(&b, &s, NULL), 0);
		d = buf_data(&b);
		assert_ptr_equal(memchr(d.p, '\n', d.n), d.p + d.n - 1);
		/* one word in quotes that every login shell reads alike */
		buf_clear(&b);
		asks = start_command(&b, &s);
		assert_int_equal(asks, i != 1 && i != 2);
		command = buf_cstr(&b);
		assert_memory_equal(command, "exec sh -c '", 12);
		assert_ptr_equal(strchr(command + 12, '\''), command + strlen(command) - 1);
		assert_null(strchr(command, '!'));
		assert_null(strchr(command, '\n'));
		assert_null(strstr(command, "\\\\"));
		assert_true(strlen(command) < 1024);
		buf_fini(&b);
	}
	for (size_t i = 0; i < 4; i++) {
		buf_init(&b, 16384);
		s.install_path = bad[i];
		assert_int_equal(start_script(&b, &s, NULL), TL_E_INVAL);
		buf_fini(&b);
	}
}

/* ---- cksum, pauses, hosts ---- */

static void cksum_known(void **state)
{
	const char text[] = "123456789";

	(void)state;
	/* `printf 123456789 | cksum`, `cksum </dev/null` */
	assert_int_equal(cksum_end(cksum_step(0, (const uint8_t *)text, 9), 9), 930766865U);
	assert_int_equal(cksum_end(0, 0), 4294967295U);
}

static void pauses(void **state)
{
	struct backoff b = {.seed = 42};
	uint64_t last;

	(void)state;
	assert_int_equal(backoff_next_ms(&b), 0);
	last = backoff_next_ms(&b);
	assert_in_range(last, 750, 1000);
	assert_in_range(backoff_next_ms(&b), 1500, 2000);
	for (int i = 0; i < 100; i++)
		last = backoff_next_ms(&b);
	assert_in_range(last, TL_LIMIT_BACKOFF_MAX_MS - TL_LIMIT_BACKOFF_MAX_MS / 4,
			TL_LIMIT_BACKOFF_MAX_MS);
	backoff_reset(&b);
	assert_int_equal(backoff_next_ms(&b), 0);
}

static void put_file(const char *dir, const char *name, const char *text)
{
	char path[300];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static void configured_hosts(void **state)
{
	char home[] = "/tmp/tl-hosts-XXXXXX", ssh[64], path[128];
	static const char *const made[] = {
	    ".ssh/more/a.conf", ".ssh/more/b.conf", ".ssh/more", ".ssh/config", ".ssh", ""};
	static const char *const want[] = {"one", "two three", "four", "inc1", "inc2", "equals"};
	struct strv v = {0};
	struct tl_err err = {0};

	(void)state;
	assert_non_null(mkdtemp(home));
	snprintf(ssh, sizeof(ssh), "%s/.ssh", home);
	assert_int_equal(mkdir(ssh, 0700), 0);
	snprintf(path, sizeof(path), "%s/more", ssh);
	assert_int_equal(mkdir(path, 0700), 0);
	put_file(ssh, "config",
		 "# Host commented\nHost one \"two three\" *.wild !not one\n  HostName x\n"
		 "\thost four # rest\nInclude more/*.conf ~/.ssh/config nothere\n"
		 "Host=equals\nMatch host z\nHostKeyAlias h\nHost -bad\r\n");
	put_file(ssh, "more/a.conf", "Host inc1\n");
	put_file(ssh, "more/b.conf", "  HOST\tinc2");
	setenv("HOME", home, 1);
	assert_int_equal(dial_configured_hosts(NULL, &v, &err), 0);
	assert_int_equal(v.n, sizeof(want) / sizeof(want[0]));
	for (size_t i = 0; i < v.n; i++)
		assert_string_equal(v.v[i], want[i]);
	strv_fini(&v);
	snprintf(path, sizeof(path), "%s/nothere", home);
	assert_int_equal(dial_configured_hosts(path, &v, &err), TL_E_NOENT);
	assert_non_null(strstr(err.text, path));
	strv_fini(&v);
	for (size_t i = 0; i < sizeof(made) / sizeof(made[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", home, made[i]);
		assert_int_equal(remove(path), 0);
	}
	/* no configuration at all */
	assert_int_equal(dial_configured_hosts(NULL, &v, &err), 0);
	assert_int_equal(v.n, 0);
	strv_fini(&v);
}

static void order_of_ciphers(void **state)
{
	static const char dflt[] =
	    "user x\nciphers chacha20-poly1305@openssh.com,aes128-ctr,aes192-ctr,aes256-ctr,"
	    "aes128-gcm@openssh.com,aes256-gcm@openssh.com\nport 22\n";
	char out[SSH_CIPHERS_MAX] = "";

	(void)state;
	assert_true(ssh_ciphers_prefer(bytes_str(dflt), out));
	assert_true(str_starts(out, "aes128-gcm@openssh.com,"));
	/* the same set, whatever its order */
	assert_non_null(strstr(out, ",chacha20-poly1305@openssh.com,"));
	assert_int_equal(strlen(out), strlen(strstr(dflt, "chacha")) - strlen("\nport 22\n"));
	/* the user's own choice, a part of a line, nothing */
	assert_false(ssh_ciphers_prefer(bytes_str("ciphers aes256-ctr\n"), out));
	assert_false(ssh_ciphers_prefer(bytes_of(dflt, 60), out));
	assert_false(ssh_ciphers_prefer(bytes_str("ciphers \n\nx"), out));
	assert_false(ssh_ciphers_prefer(bytes_str(""), out));
}

/* what ssh was asked once is not asked again, as long as nothing else decides */
static void order_of_ciphers_is_remembered(void **state)
{
	char dir[] = "/tmp/tl-ciphers-XXXXXX", config[64], note[64], ssh[64];
	char subject[SSH_CIPHERS_SUBJECT], other[SSH_CIPHERS_SUBJECT], out[SSH_CIPHERS_MAX];
	const char *const own[] = {"User=x", "ciphers aes256-ctr", NULL};
	struct dial_target t = {.host = "demo", .config_file = config};

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(config, sizeof(config), "%s/config", dir);
	snprintf(note, sizeof(note), "%s/note", dir);
	snprintf(ssh, sizeof(ssh), "%s/ssh", dir);
	assert_int_equal(fs_write_atomic(config, "Host a\n User b\n", 16, 0600, NULL), 0);
	assert_int_equal(fs_write_atomic(ssh, "1", 1, 0700, NULL), 0);
	assert_true(ssh_ciphers_subject(subject, &t, ssh));
	assert_int_equal(ssh_ciphers_known(note, subject, out), -1);
	ssh_ciphers_learn(note, subject, "set");
	assert_int_equal(ssh_ciphers_known(note, subject, out), 1);
	assert_non_null(strstr(out, "aes128-gcm@openssh.com,"));
	ssh_ciphers_learn(note, subject, NULL);
	assert_int_equal(ssh_ciphers_known(note, subject, out), 0);
	/* another program */
	assert_int_equal(fs_write_atomic(ssh, "12", 2, 0700, NULL), 0);
	assert_true(ssh_ciphers_subject(other, &t, ssh));
	assert_int_equal(ssh_ciphers_known(note, other, out), -1);
	/* a set of the user's */
	t.options = own;
	assert_false(ssh_ciphers_subject(other, &t, ssh));
	t.options = NULL;
	assert_int_equal(fs_write_atomic(config, "Match all\n cipherS x\n", 20, 0600, NULL), 0);
	assert_false(ssh_ciphers_subject(other, &t, ssh));
	unlink(config);
	unlink(note);
	unlink(ssh);
	rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(markers_in_noise),
	    cmocka_unit_test(too_much_noise),
	    cmocka_unit_test(endless_marker_line),
	    cmocka_unit_test(kinds_of_questions),
	    cmocka_unit_test(clean_text),
	    cmocka_unit_test(hosts_for_ssh),
	    cmocka_unit_test(hosts_refused),
	    cmocka_unit_test(user_options),
	    cmocka_unit_test(environment),
	    cmocka_unit_test(one_line),
	    cmocka_unit_test(cksum_known),
	    cmocka_unit_test(pauses),
	    cmocka_unit_test(configured_hosts),
	    cmocka_unit_test(order_of_ciphers),
	    cmocka_unit_test(order_of_ciphers_is_remembered),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
