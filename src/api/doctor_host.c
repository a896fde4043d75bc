/* doctor_host.c - what the login shell does with a command, what the machine is, whether its
 * folders can take the server, and what sshd allows. The script leaves nothing behind. */
#include "api/doctor_priv.h"

#include <stdio.h>
#include <stdlib.h>

#include "api/plain.h"
#include "base/limits.h"
#include "dial/start_script.h"
#include "dial/text.h"

#define SHELL_MS 60000
#define SLOW_MS  4000
#define CHECK_MS 15000
#define NEED_KB  2048
#define FACT_MAX 300

/* A line for each fact, behind a marker that no start-up file prints. */
static const char facts_head[] =
    "say(){ printf '%s %s\\n' \"$1\" \"$(printf %s \"$2\"|tr '\\n\\r' '  ')\";};"
    "say machine \"$(uname -sm 2>/dev/null)\";say kernel \"$(uname -r 2>/dev/null)\";"
    "x=$(getconf GNU_LIBC_VERSION 2>/dev/null)||x=;[ -n \"$x\" ]||for y in /lib/ld-musl-*;do "
    "[ ! -e \"$y\" ]||x=musl;done;say libc \"${x:-unknown}\";"
    "say shell \"$SHELL\";say agent \"$SSH_AUTH_SOCK\";"
    "has(){ command -v \"$1\" >/dev/null 2>&1;};"
    "has gzip&&say gzip 1;has sha256sum&&say sha256 1;"
    "umask 077;d=";
static const char facts_tail[] =
    "say dir \"$d\";b=$d;while [ ! -d \"$b\" ]&&[ -n \"$b\" ];do b=${b%/*};done;b=${b:-/};"
    "r=$(LC_ALL=C df -Pk \"$b\" 2>/dev/null|{ read -r x;read -r x x x r x;echo \"$r\";});"
    "say free \"$r\";"
    "check(){ t=$2/.towline-$$;e=$({ LC_ALL=C;export LC_ALL;printf '#!/bin/sh\\n' >\"$t\";} 2>&1)||"
    "{ say \"$1\" \"write $e\";return;};"
    "e=$(LC_ALL=C dd if=/dev/zero of=\"$t\" bs=65536 count=16 2>&1)||"
    "{ rm -f \"$t\";say \"$1\" \"space $e\";return;};"
    "printf '#!/bin/sh\\n' >\"$t\";chmod 700 \"$t\";\"$t\" >/dev/null 2>&1;x=$?;rm -f \"$t\";"
    "[ $x = 0 ]&&say \"$1\" ok||say \"$1\" \"exec $2\";};"
    "[ -n \"$HOME\" ]||say home none;check home \"$b\";"
    "for x in \"$XDG_RUNTIME_DIR\" /dev/shm /var/tmp /tmp;do [ -d \"$x\" ]&&check other "
    "\"$x\";done;"
    "say done 1\n";

static int make_script(const struct doctor *d, const char *nonce, struct buf *out)
{
	const char *path = d->o->install_path ? d->o->install_path : "~/.towline-server";
	bool home = str_starts(path, "~/");
	int rc = buf_printf(out, "printf '\\000%s\\n';", nonce);

	rc = rc ? rc : buf_put_str(out, facts_head);
	rc = rc ? rc : buf_put_str(out, home ? "$HOME/" : "");
	rc = rc ? rc : master_quote(out, home ? path + 2 : path);
	rc = rc ? rc : buf_put_u8(out, ';');
	return rc ? rc : buf_put_str(out, facts_tail);
}

/* The value of the first line `name …`, or of the next one after *at. */
static bool fact(const char *text, const char *name, char out[FACT_MAX])
{
	size_t n = strlen(name);

	for (const char *at = text; at && *at; at = (at = strchr(at, '\n')) ? at + 1 : NULL) {
		if (strncmp(at, name, n) != 0 || at[n] != ' ')
			continue;
		at += n + 1;
		snprintf(out, FACT_MAX, "%.*s", (int)strcspn(at, "\n"), at);
		return true;
	}
	out[0] = 0;
	return false;
}

/* What stands before the marker, in one line for a person. */
static void first_words(const char *noise, char out[FACT_MAX])
{
	noise += strspn(noise, " \t\r\n");
	snprintf(out, FACT_MAX, "%.*s", (int)strcspn(noise, "\r\n"), noise);
	text_clean(out, false);
}

static int tell_shell(struct doctor *d, int rc, int status, const struct buf *out, const char *said)
{
	char words[FACT_MAX];

	(void)out;
	first_words(said, words);
	if (rc == TL_E_TIMEOUT)
		return doctor_tell(
		    d, "shell", DOCTOR_BAD, TL_E_NOSHELL,
		    "A start-up file of the login shell waits for something or never "
		    "ends: look at ~/.profile, ~/.bashrc and the like on the host.",
		    "the login shell does not run a command within %d s%s%s", SHELL_MS / 1000,
		    *words ? "; it said: " : "", words);
	return doctor_tell(
	    d, "shell", DOCTOR_BAD, TL_E_NOSHELL,
	    "The account may be without a shell (nologin), for SFTP only "
	    "(ForceCommand), or a start-up file ends it or starts another program (exec).",
	    "the login works, but no command runs: status %d%s%s", status,
	    *words ? "; it said: " : " and not a word", words);
}

/* One folder: what check said. 0 where it can hold the server. */
static int problem_of(const char *said)
{
	if (strcmp(said, "ok") == 0)
		return 0;
	if (str_starts(said, "exec"))
		return TL_E_NOEXEC;
	if (strstr(said, "o space") || strstr(said, "uota"))
		return TL_E_NOSPACE;
	if (strstr(said, "ead-only"))
		return TL_E_ROFS;
	return TL_E_ACCES;
}

static int tell_home(struct doctor *d, const char *facts)
{
	static const char *const what[] = {"cannot be written", "is full", "is mounted noexec"};
	char said[FACT_MAX], dir[FACT_MAX], number[FACT_MAX], other[FACT_MAX];
	bool else_where = false;
	long long free_kb = -1;
	int code;

	fact(facts, "dir", dir);
	if (fact(facts, "free", number) && !str_to_int(number, 0, INT64_MAX, &free_kb))
		free_kb = -1;
	fact(facts, "home", said);
	code = problem_of(said);
	if (!code && free_kb >= 0 && free_kb < NEED_KB)
		code = TL_E_NOSPACE;
	for (const char *at = facts; (at = strstr(at, "\nother ")); at++) {
		snprintf(other, sizeof(other), "%.*s", (int)strcspn(at + 7, "\n"), at + 7);
		else_where = else_where || strcmp(other, "ok") == 0;
	}
	if (!code)
		return doctor_tell(d, "home", DOCTOR_OK, 0, NULL, "%s; %lld MB free", dir,
				   free_kb / 1024);
	if (else_where && !d->o->install_path)
		return doctor_tell(d, "home", DOCTOR_NOTE, 0,
				   "Free space there, or set remote.SSH.serverInstallPath for this "
				   "host: the other places do not always outlive a restart of it.",
				   "%s %s (%s, %lld kB free): the server goes elsewhere", dir,
				   what[code == TL_E_NOEXEC    ? 2
					: code == TL_E_NOSPACE ? 1
							       : 0],
				   strcmp(said, "ok") == 0 ? "too little space" : said, free_kb);
	return doctor_tell(
	    d, "home", DOCTOR_BAD, code,
	    else_where
		? "Set remote.SSH.serverInstallPath for this host to a folder where programs "
		  "may be written and run, for instance below /var/tmp."
		: NULL,
	    "%s %s (%s, %lld kB free)%s", dir,
	    what[code == TL_E_NOEXEC    ? 2
		 : code == TL_E_NOSPACE ? 1
					: 0],
	    strcmp(said, "ok") == 0 ? "too little space" : said, free_kb,
	    else_where ? "; other folders there would do" : "; nor can any other folder there");
}

static int tell_platform(struct doctor *d, const char *facts)
{
	char machine[FACT_MAX], kernel[FACT_MAX], libc[FACT_MAX];
	bool known;

	fact(facts, "machine", machine);
	fact(facts, "kernel", kernel);
	fact(facts, "libc", libc);
	known = start_arch_of(machine) || str_starts(machine, "Linux armv7") ||
		str_starts(machine, "Linux armv8") || strcmp(machine, "Linux amd64") == 0 ||
		strcmp(machine, "Linux arm64") == 0;
	if (known)
		return doctor_tell(d, "platform", DOCTOR_OK, 0, NULL, "%s %s, %s", machine, kernel,
				   libc);
	return doctor_tell(d, "platform", DOCTOR_BAD, TL_E_NOARCH, NULL, "%s %s, %s", machine,
			   kernel, libc);
}

/* ---- what sshd allows ---- */

static bool says(const struct buf *out, const char *part)
{
	const char *text = buf_cstr((struct buf *)(uintptr_t)out);

	return text && strstr(text, part);
}

/* Towline needs none of these; other programs do. */
static void tell_allowed(struct doctor *d)
{
	char text[200] = "";
	struct buf out;
	int status;

	buf_init(&out, 16384);
	if (doctor_ssh(d, (const char *const[]){"-W", "127.0.0.1:1", NULL}, NULL, true, &out,
		       CHECK_MS, &status) == 0 &&
	    (doctor_listen(d), d->prohibited))
		str_copy(text, sizeof(text), "no TCP forwarding");
	buf_clear(&out);
	if (doctor_ssh(d, (const char *const[]){"-tt", NULL}, "exit", true, &out, CHECK_MS,
		       &status) == 0 &&
	    says(&out, "PTY allocation request failed"))
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "%sno terminals",
			 *text ? ", " : "");
	buf_clear(&out);
	/* an SFTP server says nothing by itself and ends with its input */
	if (doctor_ssh(d, (const char *const[]){"-s", NULL}, "sftp", true, &out, CHECK_MS,
		       &status) == 0 &&
	    (status || says(&out, "request failed")))
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "%sno SFTP",
			 *text ? ", " : "");
	buf_fini(&out);
	if (*text)
		doctor_tell(d, "sshd", DOCTOR_NOTE, 0,
			    "Nothing to do for Towline, which needs none of it.", "allows %s",
			    text);
	else
		doctor_tell(d, "sshd", DOCTOR_OK, 0, NULL, "allows forwarding, terminals and SFTP");
}

/* ---- the step ---- */

static int tell_facts(struct doctor *d, const char *noise, const char *facts, uint64_t ms)
{
	char words[FACT_MAX];
	int rc;

	first_words(noise, words);
	if (*words)
		doctor_tell(
		    d, "shell", DOCTOR_NOTE, 0,
		    "Towline passes it by, but scp, rsync and sftp do not: let start-up files "
		    "print only in interactive shells.",
		    "runs commands, and prints something first: %s", words);
	else if (ms > SLOW_MS)
		doctor_tell(
		    d, "shell", DOCTOR_NOTE, 0,
		    "Every connection waits for it: see what the start-up files of the login "
		    "shell do.",
		    "runs commands, but takes %llu.%llu s to begin", (unsigned long long)ms / 1000,
		    (unsigned long long)ms % 1000 / 100);
	else
		doctor_tell(d, "shell", DOCTOR_OK, 0, NULL, "runs commands");
	rc = tell_platform(d, facts);
	return rc ? rc : tell_home(d, facts);
}

int doctor_host(struct doctor *d)
{
	char nonce[21], mark[32];
	struct buf script, command, out;
	const char *text = NULL, *line;
	struct tl_bytes b;
	size_t at = 0;
	int status = 0, rc;

	random_id(nonce, sizeof(nonce) - 1);
	snprintf(mark, sizeof(mark), "%s\n", nonce);
	buf_init(&script, 16384);
	buf_init(&command, PLAIN_COMMAND);
	buf_init(&out, 262144);
	rc = make_script(d, nonce, &script);
	rc = rc ? rc : master_command(&command, (const char *)buf_data(&script).p, script.len);
	line = rc ? NULL : buf_cstr(&command);
	rc = line ? doctor_ssh(d, NULL, line, true, &out, SHELL_MS, &status) : TL_E_NOMEM;
	/* the marker begins with a NUL, which ends what a C string sees of the noise */
	b = buf_data(&out);
	text = buf_cstr(&out);
	while (text && at + 1 < b.n &&
	       !(b.p[at] == 0 && strncmp(text + at + 1, mark, strlen(mark)) == 0))
		at++;
	if (rc || !text || at + 1 >= b.n || !strstr(text + at + 1, "\ndone 1"))
		rc = tell_shell(d, rc, status, &out, text ? text : "");
	else
		rc = tell_facts(d, at ? text : "", text + at + 1 + strlen(nonce),
				clock_mono_ms() - d->began_ms);
	buf_fini(&script);
	buf_fini(&command);
	buf_fini(&out);
	if (rc == 0)
		tell_allowed(d);
	return rc;
}
