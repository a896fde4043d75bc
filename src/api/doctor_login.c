/* doctor_login.c - one login with ssh's own words, which say what was tried and what became of it.
 * The login stays, as a master connection, until the end of the walk. */
#include "api/doctor_priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Text between two words of a line, into out; false where they are not there. */
static bool between(const char *line, const char *from, const char *to, char *out, size_t n)
{
	const char *at = strstr(line, from), *end;

	if (!at)
		return false;
	at += strlen(from);
	end = to ? strstr(at, to) : NULL;
	snprintf(out, n, "%.*s", (int)(end ? (size_t)(end - at) : strlen(at)), at);
	return true;
}

static void tried(struct doctor *d, const char *fmt, const char *what)
{
	if (d->tried.n < DOCTOR_METHODS)
		strv_addf(&d->tried, fmt, what);
}

/* The methods that a line ended without success: what is under way was refused. */
static void refused(struct doctor *d)
{
	char *last = d->tried.n ? d->tried.v[d->tried.n - 1] : NULL;

	if (!last || strstr(last, ": refused") || strstr(last, ": not ") ||
	    strstr(last, ": accepted"))
		return;
	d->tried.v[d->tried.n - 1] = str_fmt("%s: refused", last);
	free(last);
}

static void take_line(struct doctor *d, const char *line)
{
	char text[200];

	if (between(line, "remote software version ", NULL, d->software, sizeof(d->software)))
		d->server_seen = true;
	/* behind a jump host the last one is the host's */
	else if (between(line, "Server host key: ", NULL, d->key, sizeof(d->key)))
		d->hostkey_ok = false;
	else if (strstr(line, "matches the ") || strstr(line, "Authentications that can continue"))
		d->hostkey_ok = true;
	if (strstr(line, "administratively prohibited"))
		d->prohibited = true;
	if (between(line, "debug1: Offering public key: ", " SHA256", text, sizeof(text)) ||
	    between(line, "debug1: Trying private key: ", NULL, text, sizeof(text))) {
		refused(d);
		tried(d, "key %s", text);
	} else if (strstr(line, "Server accepts key")) {
		char *last = d->tried.n ? d->tried.v[d->tried.n - 1] : NULL;
		if (last) {
			d->tried.v[d->tried.n - 1] = str_fmt("%s: accepted", last);
			free(last);
		}
	} else if (between(line, "Next authentication method: ", NULL, text, sizeof(text))) {
		refused(d);
		if (strcmp(text, "publickey") != 0)
			tried(d, "%s", text);
	} else if (strstr(line, "Permission denied, please try again") ||
		   strstr(line, "Authentications that can continue")) {
		refused(d);
	} else if (between(line, "sign_and_send_pubkey: ", NULL, text, sizeof(text)) ||
		   between(line, "Load key ", NULL, text, sizeof(text))) {
		tried(d, "%s: not usable", text);
	}
}

static void on_log(void *ctx, const char *line)
{
	take_line(ctx, line);
}

static void on_login(void *ctx, const struct tl_err *why)
{
	struct doctor *d = ctx;

	(void)why;
	d->logged_in = true;
	loop_stop(&d->loop);
}

static void on_ended(void *ctx, const struct tl_err *err)
{
	struct doctor *d = ctx;

	d->err = *err;
	loop_stop(&d->loop);
}

static void listened(void *ctx)
{
	loop_stop(ctx);
}

/* What can be read comes before a timer of the next turn. */
void doctor_listen(struct doctor *d)
{
	if (!d->turn.open)
		timer_init(&d->loop, &d->turn, listened, &d->loop);
	timer_start(&d->turn, 1);
	loop_run(&d->loop);
}

/* "key a: refused; password: refused" */
static const char *list_tried(const struct doctor *d, char *out, size_t n)
{
	size_t at = 0;

	out[0] = 0;
	for (size_t i = 0; i < d->tried.n && at + 2 < n; i++) {
		snprintf(out + at, n - at, "%s%s", i ? "; " : "", d->tried.v[i]);
		at = strlen(out);
	}
	return out;
}

static bool about_hostkey(int code)
{
	return code == TL_E_HOSTKEY || code == TL_E_HOSTKEY_UNKNOWN;
}

static int tell_failure(struct doctor *d)
{
	struct tl_err why = d->err;
	char list[DOCTOR_TEXT / 2];

	if (why.code == TL_E_RESOLVE)
		return doctor_tell(d, "name", DOCTOR_BAD, why.code, NULL, "%s", why.text);
	if (why.code == TL_E_REFUSED)
		return doctor_tell(d, "port", DOCTOR_BAD, why.code, NULL, "%s", why.text);
	if (why.code == TL_E_UNREACH || (why.code == TL_E_TIMEOUT && !d->server_seen))
		return doctor_tell(d, "route", DOCTOR_BAD, why.code, NULL, "%s", why.text);
	if (why.code == TL_E_SSH && !d->server_seen)
		return doctor_tell(d, "banner", DOCTOR_BAD, why.code, NULL, "%s", why.text);
	if (about_hostkey(why.code))
		return doctor_tell(d, "host key", DOCTOR_BAD, why.code, NULL, "%s%s%s", why.text,
				   d->key[0] ? "; now it shows " : "", d->key);
	if (!d->key[0] && !d->hostkey_ok && why.code != TL_E_CANCELED)
		return doctor_tell(
		    d, "algorithms", DOCTOR_BAD, why.code,
		    "See Ciphers, KexAlgorithms and HostKeyAlgorithms in ssh_config(5), or "
		    "update the older side.",
		    "%s", why.text);
	if (!d->hostkey_ok)
		return doctor_tell(d, "host key", DOCTOR_BAD, why.code, NULL, "%s", why.text);
	doctor_tell(d, "host key", DOCTOR_OK, 0, NULL, "%s", d->key);
	list_tried(d, list, sizeof(list));
	return doctor_tell(d, "login", DOCTOR_BAD, why.code, NULL, "%.280s%s%s", why.text,
			   *list ? ". Tried: " : "", list);
}

int doctor_login(struct doctor *d)
{
	struct dial_target t = doctor_target(d);
	struct dial_env env = doctor_env(d);
	struct dial_callbacks cb = {.on_prompt = doctor_prompt,
				    .on_login = on_login,
				    .on_failed = on_ended,
				    .on_down = on_ended,
				    .on_log = on_log,
				    .ctx = d};
	struct strv options = {0};
	char list[DOCTOR_TEXT / 2];
	int rc = 0;

	for (const char *const *v = t.options; v && *v && rc == 0; v++)
		rc = strncasecmp(*v, "LogLevel", 8) == 0 ? 0 : strv_add(&options, *v);
	rc = rc ? rc : strv_add(&options, "LogLevel=DEBUG1");
	t.options = (const char *const *)options.v;
	t.control_path = d->ctl;
	t.login_only = true;
	if (rc == 0)
		d->dial = dial_start(&d->loop, &t, &env, &cb, &d->err);
	strv_fini(&options);
	if (rc || !d->dial)
		return doctor_tell(d, "login", DOCTOR_BAD, rc ? rc : d->err.code, NULL, "%s",
				   rc ? "out of memory" : d->err.text);
	loop_run(&d->loop);
	if (!d->logged_in)
		return tell_failure(d);
	d->login_ms = clock_mono_ms() - d->began_ms;
	if (d->jump[0] || d->proxy[0])
		doctor_tell(d, "banner", DOCTOR_OK, 0, NULL, "%s", d->software);
	doctor_tell(d, "host key", DOCTOR_OK, 0, NULL, "%s", d->key[0] ? d->key : "known");
	return doctor_tell(d, "login", DOCTOR_OK, 0, NULL, "as %s%s%s", d->user,
			   d->tried.n ? "; " : "", list_tried(d, list, sizeof(list)));
}
