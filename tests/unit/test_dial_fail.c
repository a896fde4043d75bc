/* test_dial_fail.c - what ssh says, and what we make of it. The texts are those of OpenSSH. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "dial/fail.h"

static const struct {
	const char *ssh_text;
	int code;
	const char *part; /* of the sentence */
} cases[] = {
    {"ssh: Could not resolve hostname nosuch: Name or service not known\r\n", TL_E_RESOLVE,
     "no address is known for the name nosuch"},
    {"ssh: connect to host 127.0.0.1 port 2222: Connection refused\r\n", TL_E_REFUSED,
     "port 2222 of 127.0.0.1 refuses connections"},
    {"ssh: connect to host 10.0.0.9 port 22: No route to host\n", TL_E_UNREACH,
     "port 22 of 10.0.0.9 cannot be reached"},
    {"ssh: connect to host h port 22: Network is unreachable\n", TL_E_UNREACH,
     "Network is unreach"},
    {"ssh: connect to host h port 22: Connection timed out\n", TL_E_TIMEOUT,
     "port 22 of h does not answer"},
    {"Connection timed out during banner exchange\n", TL_E_TIMEOUT, "banner exchange"},
    {"Permission denied, please try again.\nme@h: Permission denied (publickey,password).\n",
     TL_E_AUTH, "the host takes publickey,password"},
    {"Received disconnect from 127.0.0.1 port 22:2: Too many authentication failures\n"
     "Disconnected from 127.0.0.1 port 22\n",
     TL_E_AUTH, "Too many"},
    {"@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @\n"
     "Offending ED25519 key in /home/me/.ssh/known_hosts:12\n"
     "Host key verification failed.\n",
     TL_E_HOSTKEY, "/home/me/.ssh/known_hosts:12"},
    {"@       WARNING: REVOKED HOST KEY DETECTED!               @\n"
     "The ED25519 host key for h is marked as revoked.\nHost key verification failed.\n",
     TL_E_HOSTKEY, "marked as revoked"},
    {"No ED25519 host key is known for h and you have requested strict checking.\n"
     "Host key verification failed.\n",
     TL_E_HOSTKEY_UNKNOWN, "No ED25519 host key is known"},
    {"/home/me/.ssh/config: line 3: Bad configuration option: hostnam\n"
     "/home/me/.ssh/config: terminating, 1 bad configuration options\n",
     TL_E_SSHCONFIG, "line 3"},
    {"/home/me/.ssh/config line 7: Bad yes/no argument: maybe\n", TL_E_SSHCONFIG, "line 7"},
    {"Bad owner or permissions on /home/me/.ssh/config\n", TL_E_SSHCONFIG, "permissions on"},
    {"Can't open user config file /nope: No such file or directory\n", TL_E_SSHCONFIG, "/nope"},
    {"Unable to negotiate with 1.2.3.4 port 22: no matching host key type found.\n", TL_E_SSH,
     "no matching host key"},
    {"kex_exchange_identification: Connection closed by remote host\n"
     "Connection closed by 127.0.0.1 port 22\n",
     TL_E_SSH, "Connection closed by 127.0.0.1"},
    /* a jump host's failure counts more than the closing that follows */
    {"channel 0: open failed: connect failed: Connection refused\nstdio forwarding failed\n"
     "Connection closed by UNKNOWN port 65535\n",
     TL_E_REFUSED, "Connection refused"},
    {"exec request failed on channel 0\n", TL_E_NOSHELL, "refuses to run a command"},
    /* verbose lines do not decide */
    {"debug1: connect to address ::1 port 22: Connection refused\n"
     "me@h: Permission denied (publickey).\n",
     TL_E_AUTH, "publickey"},
    {"something new that no table knows\n", TL_E_SSH, "something new that no table knows"},
};

static struct fail_facts facts(const char *text)
{
	return (struct fail_facts){
	    .host = "demo", .ssh_text = text, .noise = "", .exit_kind = 0, .exit_value = 255};
}

static void ssh_texts(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct fail_facts f = facts(cases[i].ssh_text);
		struct tl_err err = {0};
		int code = fail_exit(&f, &err);
		if (code != cases[i].code || !strstr(err.text, cases[i].part) ||
		    !strstr(err.text, "demo"))
			fail_msg("case %zu: %d (want %d): %s", i, code, cases[i].code, err.text);
	}
}

static void refused_key(void **state)
{
	struct fail_facts f = facts("Host key verification failed.\n");
	struct tl_err err = {0};

	(void)state;
	f.hostkey_asked = true;
	assert_int_equal(fail_exit(&f, &err), TL_E_HOSTKEY_UNKNOWN);
	assert_non_null(strstr(err.text, "not confirmed"));
}

static void ends_without_ssh(void **state)
{
	struct fail_facts f = facts("");
	struct tl_err err = {0};

	(void)state;
	/* an account that is only for SFTP */
	f.noise = "This service allows sftp connections only.\n";
	f.exit_value = 1;
	assert_int_equal(fail_exit(&f, &err), TL_E_NOSHELL);
	assert_non_null(strstr(err.text, "sftp connections only"));
	/* silence */
	f.noise = "";
	f.exit_value = 0;
	assert_int_equal(fail_exit(&f, &err), TL_E_NOSHELL);
	assert_non_null(strstr(err.text, "said nothing"));
	/* the remote command's standard error is no word of ssh when the status is another one */
	f.ssh_text = "x: Permission denied (publickey)\n";
	f.exit_value = 126;
	assert_int_equal(fail_exit(&f, &err), TL_E_NOSHELL);
	/* our line ran: the server's own status */
	f.ssh_text = "towline-host: no room for a socket\n";
	f.here = true;
	f.exit_value = 64;
	assert_int_equal(fail_exit(&f, &err), TL_E_AGENT);
	assert_non_null(strstr(err.text, "no room for a socket"));
	f.exit_value = 126;
	assert_int_equal(fail_exit(&f, &err), TL_E_NOEXEC);
	f.here = false;
	f.exit_kind = 1;
	f.exit_value = 9;
	f.ssh_text = "";
	assert_int_equal(fail_exit(&f, &err), TL_E_SSH);
	assert_non_null(strstr(err.text, "signal 9"));
}

static void timeouts(void **state)
{
	struct fail_facts f = facts("");
	struct tl_err err = {0};

	(void)state;
	assert_int_equal(fail_timeout(&f, 60000, &err), TL_E_TIMEOUT);
	assert_non_null(strstr(err.text, "60 s"));
	f.noise = "Press enter to continue";
	assert_int_equal(fail_timeout(&f, 60000, &err), TL_E_NOSHELL);
	assert_non_null(strstr(err.text, "Press enter"));
	f.here = true;
	assert_int_equal(fail_timeout(&f, 60000, &err), TL_E_TIMEOUT);
}

static void reports(void **state)
{
	struct fail_facts f = facts("");
	struct tl_err err = {0};

	(void)state;
	assert_int_equal(fail_reported(&f, "NOARCH Linux mips", &err), TL_E_NOARCH);
	assert_string_equal(err.text, "cannot run the server on demo: its platform is Linux mips");
	assert_int_equal(fail_reported(&f, "NOSPACE gzip: stdout: No space left on device", &err),
			 TL_E_NOSPACE);
	assert_int_equal(fail_reported(&f, "ROFS", &err), TL_E_ROFS);
	assert_int_equal(fail_reported(&f, "SOMETHING else", &err), TL_E_INSTALL);
	assert_int_equal(fail_reported(&f, "", &err), TL_E_INSTALL);
}

static void downs(void **state)
{
	struct fail_facts f = facts("client_loop: send disconnect: Broken pipe\n");
	struct tl_err err = {0};

	(void)state;
	assert_int_equal(fail_down(&f, &err), TL_E_CLOSED);
	assert_non_null(strstr(err.text, "Broken pipe"));
	f.exit_value = 0;
	assert_int_equal(fail_down(&f, &err), TL_E_CLOSED);
	f.exit_value = 64;
	assert_int_equal(fail_down(&f, &err), TL_E_AGENT);
}

/* Long and odd text must neither overrun nor hide the host's name. */
static void odd_text(void **state)
{
	char text[8192];
	struct fail_facts f = facts(text);
	struct tl_err err = {0};

	(void)state;
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = 0;
	fail_exit(&f, &err);
	assert_non_null(strstr(err.text, "demo"));
	memset(text, 7, sizeof(text) - 1);
	f.noise = text;
	f.exit_value = 3;
	fail_exit(&f, &err);
	assert_non_null(strstr(err.text, "demo"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(ssh_texts),        cmocka_unit_test(refused_key),
	    cmocka_unit_test(ends_without_ssh), cmocka_unit_test(timeouts),
	    cmocka_unit_test(reports),          cmocka_unit_test(downs),
	    cmocka_unit_test(odd_text),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
