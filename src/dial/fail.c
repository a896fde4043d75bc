/* fail.c - see fail.h.
 * Rules stand in order of how sure they are: the line of a jump host's ssh says more than the
 * "connection closed" that follows it. ssh leaves with 255 for everything that is its own fault, so
 * with another status its rules are not asked. */
#include "dial/fail.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"

#define QUOTE 240

typedef int say_fn(const struct fail_facts *f, int code, const char *line, struct tl_err *err);

/* ---- text ---- */

/* The last line that holds part (any line that says something where part is NULL), without control
 * characters and outer spaces; "" where there is none. */
static const char *last_line(const char *text, const char *part, char out[QUOTE])
{
	char line[QUOTE];

	out[0] = 0;
	while (*text) {
		size_t n = strcspn(text, "\n\r"), keep = 0;
		for (size_t i = 0; i < n && keep < sizeof(line) - 1; i++) {
			unsigned char c = (unsigned char)text[i];
			if (keep > 0 || c > ' ')
				line[keep++] = c < ' ' || c == 0x7f ? ' ' : (char)c;
		}
		while (keep > 0 && line[keep - 1] == ' ')
			keep--;
		line[keep] = 0;
		if (keep > 0 && !str_starts(line, "debug") && (!part || strstr(line, part)))
			memcpy(out, line, keep + 1);
		text += n;
		text += *text ? 1 : 0;
	}
	return out;
}

/* `… host NAME port N…`: both words, or false. */
static bool place_of(const char *line, char host[128], char port[16])
{
	const char *h = strstr(line, "host "), *p = strstr(line, " port ");

	return h && p && p > h && sscanf(h, "host %127s", host) == 1 &&
	       sscanf(p, " port %15[0-9]", port) == 1;
}

/* ---- sentences ---- */

static int say_hostkey(const struct fail_facts *f, int code, const char *line, struct tl_err *err)
{
	char where[QUOTE], *at = where;
	bool revoked = strstr(f->ssh_text, "REVOKED HOST KEY") != NULL;
	const char *what = revoked ? "is marked as revoked" : "is not the one known for it";

	(void)line;
	last_line(f->ssh_text, "Offending", where);
	at = strstr(where, " in ");
	if (!at)
		return err_set(err, code, "cannot connect to %s: its host key %s", f->host, what);
	return err_set(err, code, "cannot connect to %s: its host key %s (known key: %s)", f->host,
		       what, at + 4);
}

static int say_hostkey_unknown(const struct fail_facts *f, int code, const char *line,
			       struct tl_err *err)
{
	char why[QUOTE];

	if (f->hostkey_asked)
		return err_set(err, code, "cannot connect to %s: its host key was not confirmed",
			       f->host);
	last_line(f->ssh_text, "host key is known", why);
	return err_set(err, code,
		       "cannot connect to %s: its host key is not known and the ssh "
		       "configuration forbids to ask (%s)",
		       f->host, *why ? why : line);
}

static int say_resolve(const struct fail_facts *f, int code, const char *line, struct tl_err *err)
{
	char name[128];
	const char *at = strstr(line, "hostname ");

	if (!at || sscanf(at, "hostname %127[^ :]", name) != 1)
		str_copy(name, sizeof(name), f->host);
	return err_set(err, code, "cannot connect to %s: no address is known for the name %s (%s)",
		       f->host, name, line);
}

static int say_place(const struct fail_facts *f, int code, const char *line, struct tl_err *err)
{
	const char *what = code == TL_E_REFUSED   ? "refuses connections"
			   : code == TL_E_TIMEOUT ? "does not answer"
						  : "cannot be reached";
	char host[128], port[16];

	if (!place_of(line, host, port))
		return err_set(err, code, "cannot connect to %s: %s (%s)", f->host,
			       err_row(code)->what, line);
	return err_set(err, code, "cannot connect to %s: port %s of %s %s (%s)", f->host, port,
		       host, what, line);
}

static int say_auth(const struct fail_facts *f, int code, const char *line, struct tl_err *err)
{
	char methods[128];
	const char *at = strstr(line, "denied (");

	if (at && sscanf(at, "denied (%127[^)])", methods) == 1)
		return err_set(err, code,
			       "cannot log in to %s: nothing that was tried was accepted; the "
			       "host takes %s (%s)",
			       f->host, methods, line);
	return err_set(err, code, "cannot log in to %s: %s (%s)", f->host, err_row(code)->what,
		       line);
}

/* `FILE line N: …`, ssh's form for everything wrong in a configuration file. */
static bool is_config_line(const char *line)
{
	const char *at = strstr(line, " line ");
	size_t n = at ? strspn(at + 6, "0123456789") : 0;

	return n > 0 && at[6 + n] == ':' && (line[0] == '/' || line[0] == '.');
}

static int say_config(const struct fail_facts *f, int code, const char *line, struct tl_err *err)
{
	char better[QUOTE];

	/* the summary at the end says less than the line that it sums up */
	if (strstr(line, "terminating") && is_config_line(last_line(f->ssh_text, " line ", better)))
		line = better;
	return err_set(err, code, "cannot connect to %s: ssh does not accept its configuration: %s",
		       f->host, line);
}

static int say_noshell(const struct fail_facts *f, int code, const char *line, struct tl_err *err)
{
	return err_set(err, code, "cannot start on %s: the host refuses to run a command (%s)",
		       f->host, line);
}

static int say_plain(const struct fail_facts *f, int code, const char *line, struct tl_err *err)
{
	return err_set(err, code, "cannot connect to %s: %s", f->host, line);
}

static const struct {
	const char *part;
	int code;
	say_fn *say;
} rules[] = {
    {"HOST IDENTIFICATION HAS CHANGED", TL_E_HOSTKEY, say_hostkey},
    {"REVOKED HOST KEY", TL_E_HOSTKEY, say_hostkey},
    /* our own installation is broken: every question of ssh failed */
    {"ssh_askpass: exec(", TL_E_SSH, say_plain},
    {"Host key verification failed", TL_E_HOSTKEY_UNKNOWN, say_hostkey_unknown},
    {"Bad configuration option", TL_E_SSHCONFIG, say_config},
    {"bad configuration options", TL_E_SSHCONFIG, say_config},
    {"Bad owner or permissions on", TL_E_SSHCONFIG, say_config},
    {"Can't open user config file", TL_E_SSHCONFIG, say_config},
    {"command-line line 0:", TL_E_SSHCONFIG, say_config},
    {"usage: ssh", TL_E_SSHCONFIG, say_config},
    {"Could not resolve hostname", TL_E_RESOLVE, say_resolve},
    {"Connection refused", TL_E_REFUSED, say_place},
    {"No route to host", TL_E_UNREACH, say_place},
    {"Network is unreachable", TL_E_UNREACH, say_place},
    {"Host is down", TL_E_UNREACH, say_place},
    {"Connection timed out", TL_E_TIMEOUT, say_place},
    {"timed out", TL_E_TIMEOUT, say_place},
    {"Timeout, server", TL_E_TIMEOUT, say_place},
    {"Permission denied (", TL_E_AUTH, say_auth},
    {"Too many authentication failures", TL_E_AUTH, say_auth},
    {"No more authentication methods", TL_E_AUTH, say_auth},
    {"exec request failed", TL_E_NOSHELL, say_noshell},
    {"shell request failed", TL_E_NOSHELL, say_noshell},
    {"Unable to negotiate", TL_E_SSH, say_plain},
    {"Connection closed by", TL_E_SSH, say_plain},
    {"Connection reset by", TL_E_SSH, say_plain},
    {"closed by remote host", TL_E_SSH, say_plain},
};

/* ---- the ends ---- */

static void quote_noise(const struct fail_facts *f, char out[QUOTE + 40])
{
	char line[QUOTE];

	last_line(f->noise, NULL, line);
	if (!*line)
		last_line(f->ssh_text, NULL, line);
	if (*line)
		snprintf(out, QUOTE + 40, "; it said: %s", line);
	else
		snprintf(out, QUOTE + 40, " and said nothing");
}

/* The status of a bridge that gave up is a number of proto/errors.def. */
static int code_of_status(int status)
{
	static const int codes[] = {TL_E_NOARCH, TL_E_INSTALL, TL_E_DIGEST,  TL_E_NOEXEC,
				    TL_E_AGENT,  TL_E_VERSION, TL_E_NOSPACE, TL_E_ROFS,
				    TL_E_ACCES,  TL_E_PROTO,   TL_E_NOMEM};

	for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++)
		if (err_row(codes[i])->exit_status == status)
			return codes[i];
	return status == 126 ? TL_E_NOEXEC : TL_E_AGENT;
}

static int fail_started(const struct fail_facts *f, struct tl_err *err)
{
	char said[QUOTE + 40];

	quote_noise(f, said);
	if (f->exit_kind)
		return err_set(err, TL_E_AGENT,
			       "cannot start the server on %s: it was ended by signal %d%s",
			       f->host, f->exit_value, said);
	return err_set(err, code_of_status(f->exit_value),
		       "cannot start the server on %s: it ended with status %d%s", f->host,
		       f->exit_value, said);
}

int fail_exit(const struct fail_facts *f, struct tl_err *err)
{
	bool by_ssh = !f->local && (f->exit_kind || f->exit_value == 255);
	char line[QUOTE], said[QUOTE + 40];

	for (size_t i = 0; by_ssh && i < sizeof(rules) / sizeof(rules[0]); i++)
		if (*last_line(f->ssh_text, rules[i].part, line))
			return rules[i].say(f, rules[i].code, line, err);
	last_line(f->ssh_text, NULL, line);
	if (by_ssh && is_config_line(line))
		return say_config(f, TL_E_SSHCONFIG, line, err);
	/* killed while the program travelled: the host had no part in it */
	if (f->here && by_ssh && f->exit_kind)
		return err_set(err, TL_E_SSH,
			       "the connection to %s broke while the server was started: ssh was "
			       "ended by signal %d",
			       f->host, f->exit_value);
	if (f->here && by_ssh)
		return err_set(err, TL_E_SSH,
			       "the connection to %s broke while the server was started%s%s",
			       f->host, *line ? ": " : "", line);
	if (f->here)
		return fail_started(f, err);
	if (f->exit_kind)
		return err_set(err, TL_E_SSH, "cannot connect to %s: ssh was ended by signal %d",
			       f->host, f->exit_value);
	quote_noise(f, said);
	/* 255 with a word of ssh is ssh's own failure, 255 in silence the remote command's */
	if (by_ssh && *line && !*f->noise)
		return say_plain(f, TL_E_SSH, line, err);
	if (by_ssh && !*line && !*f->noise)
		return err_set(err, TL_E_SSH, "cannot connect to %s: ssh ended without a word",
			       f->host);
	return err_set(err, TL_E_NOSHELL,
		       "cannot start on %s: the login worked, but its shell ended with status %d "
		       "without running our command%s",
		       f->host, f->exit_value, said);
}

int fail_timeout(const struct fail_facts *f, uint64_t ms, struct tl_err *err)
{
	char said[QUOTE + 40];
	unsigned long s = (unsigned long)((ms + 999) / 1000);

	quote_noise(f, said);
	if (f->here)
		return err_set(err, TL_E_TIMEOUT,
			       "cannot start the server on %s: it was not up within %lu s%s",
			       f->host, s, said);
	if (*f->noise)
		return err_set(
		    err, TL_E_NOSHELL,
		    "cannot start on %s: its login shell did not run our command within %lu s; "
		    "a start-up file may wait for input%s",
		    f->host, s, said);
	return err_set(err, TL_E_TIMEOUT, "cannot connect to %s: no connection within %lu s%s",
		       f->host, s, said);
}

/* before and after the host's name; the reason follows */
static const struct {
	const char *name;
	int code;
	const char *before, *after;
} reports[] = {
    {"NOARCH", TL_E_NOARCH, "cannot run the server on ", ": its platform is "},
    {"NOBIN", TL_E_NOARCH, "cannot install the server on ", ": this installation has none for "},
    {"NOSPACE", TL_E_NOSPACE, "cannot install the server on ", ": "},
    {"ROFS", TL_E_ROFS, "cannot install the server on ", ": "},
    {"ACCES", TL_E_ACCES, "cannot install the server on ", ": "},
    {"NOEXEC", TL_E_NOEXEC, "cannot run the server on ", ": "},
    {"DIGEST", TL_E_DIGEST, "cannot install the server on ", ": it arrived damaged: "},
    {"AGENT", TL_E_AGENT, "cannot run the server on ", ": "},
    {"INSTALL", TL_E_INSTALL, "cannot install the server on ", ": "},
};

int fail_reported(const struct fail_facts *f, const char *text, struct tl_err *err)
{
	size_t n = strcspn(text, " "), last = sizeof(reports) / sizeof(reports[0]) - 1, i = 0;
	char why[QUOTE];

	while (i < last && (strlen(reports[i].name) != n || memcmp(reports[i].name, text, n) != 0))
		i++;
	last_line(text + n, NULL, why);
	return err_set(err, reports[i].code, "%s%s%s%s", reports[i].before, f->host,
		       reports[i].after, *why ? why : "no reason given");
}

int fail_down(const struct fail_facts *f, struct tl_err *err)
{
	char line[QUOTE];

	last_line(f->ssh_text, NULL, line);
	if (f->exit_kind == 0 && f->exit_value != 255 && f->exit_value != 0)
		return err_set(err, code_of_status(f->exit_value),
			       "the connection to %s ended: the server left with status %d%s%s",
			       f->host, f->exit_value, *line ? ": " : "", line);
	if (f->exit_kind)
		return err_set(err, TL_E_CLOSED,
			       "the connection to %s ended: %s was ended by signal %d", f->host,
			       f->local ? "the server" : "ssh", f->exit_value);
	return err_set(err, TL_E_CLOSED, "the connection to %s ended%s%s", f->host,
		       *line ? ": " : "", line);
}

bool fail_is_hostkey(const char *line)
{
	return strstr(line, "HOST IDENTIFICATION HAS CHANGED") || strstr(line, "REVOKED HOST KEY");
}
