/* session_daemon.c - a session over towlined's connection: each stream is a connection of the
 * control socket of its own, so nothing is shared but the host's name. */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api/client.h"
#include "api/session_priv.h"
#include "loop/loop.h"

#define ASK_MS 10000 /* for the daemon to answer what it knows by itself */

static const struct {
	const char *name;
	enum tl_prompt_kind kind;
} kinds[] = {
    {"hostkey", TL_PROMPT_HOSTKEY},   {"passphrase", TL_PROMPT_PASSPHRASE},
    {"password", TL_PROMPT_PASSWORD}, {"question", TL_PROMPT_QUESTION},
    {"pin", TL_PROMPT_PIN},           {"touch", TL_PROMPT_TOUCH},
};

static int ask(void *ctx, const char *host, const char *kind, const char *text, bool echo,
	       int attempt, char **ret_answer)
{
	enum tl_prompt_kind k = TL_PROMPT_QUESTION;

	(void)host;
	(void)echo;
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (strcmp(kinds[i].name, kind) == 0)
			k = kinds[i].kind;
	return session_prompt(ctx, k, text, attempt, ret_answer);
}

static void progress(void *ctx, const char *host, const char *step, const char *text, int64_t done,
		     int64_t total)
{
	(void)host;
	if (total <= 0 || done == total)
		session_log(ctx, 2, "%s: %s", step, text);
}

/* The token of tl_connect. */
static int stop_fd(void *ctx)
{
	struct tl_session *s = ctx;

	return cancel_fd(s->opt.cancel);
}

static int stopped(void *ctx, struct tl_err *err)
{
	struct tl_session *s = ctx;

	return err_set(err, TL_E_CANCELED, "the connection to %s was canceled", s->host);
}

static int client(struct tl_session *s, bool start, struct api_client **ret, struct tl_err *err)
{
	struct api_ui ui = {
	    .prompt = ask, .progress = progress, .watch_fd = stop_fd, .watched = stopped, .ctx = s};
	int rc = api_client_open(ret, start, &ui, err);

	if (rc == 0)
		api_client_limit(*ret, ASK_MS);
	return rc;
}

/* The phase of a host in host/list, "" where the daemon does not know it. Result in m. */
static const char *phase_of(struct api_client *c, const char *host, struct jsonrpc_msg *m,
			    yyjson_val **ret_state, struct tl_err *err)
{
	yyjson_val *v;
	size_t i, n;

	*ret_state = NULL;
	if (api_client_call(c, "host/list", NULL, m, err))
		return NULL;
	yyjson_arr_foreach(json_get(m->result, "hosts"), i, n, v)
	{
		if (strcmp(json_str(v, "host", ""), host) == 0) {
			*ret_state = v;
			return json_str(v, "phase", "");
		}
	}
	return "";
}

static int is_ready(struct api_client *c, const char *host, struct tl_err *err)
{
	struct jsonrpc_msg m = {0};
	yyjson_val *state;
	const char *phase = phase_of(c, host, &m, &state, err);
	int rc = phase ? 0 : err->code;

	if (phase && strcmp(phase, "connected") != 0)
		rc = err_set(err, TL_E_NOHOST, "the local daemon is not connected to %s", host);
	jsonrpc_fini(&m);
	return rc;
}

static int daemon_open(struct tl_session *s, const char *open_json, struct tl_cancel *cancel,
		       uint64_t deadline_ms, int *ret_fd, char **ret_ok, struct tl_err *err)
{
	int fd, rc = api_stream_begin(s->daemon_host, open_json, &fd, err);

	while (rc == 0) {
		struct pollfd pf[2] = {{.fd = fd, .events = POLLIN},
				       {.fd = cancel_fd(cancel), .events = POLLIN}};
		uint64_t now = clock_mono_ms();
		int wait = !deadline_ms ? -1 : deadline_ms > now ? (int)(deadline_ms - now) : 0;
		int n = poll(pf, 2, wait);
		if (n < 0 && errno == EINTR)
			continue;
		if (pf[1].revents)
			rc =
			    err_set(err, TL_E_CANCELED, "canceled before %s had answered", s->host);
		else if (n == 0)
			rc = err_set(err, TL_E_TIMEOUT, "%s did not answer in time", s->host);
		break;
	}
	if (rc == 0)
		rc = api_stream_answer(fd, ret_ok, err);
	else if (rc != TL_E_CANCELED && rc != TL_E_TIMEOUT)
		return rc;
	if (rc == 0)
		*ret_fd = fd;
	else
		close(fd);
	return rc;
}

static int daemon_lost(struct tl_session *s, struct tl_err *err)
{
	struct tl_err own = {0};
	struct api_client *c;
	struct jsonrpc_msg m = {0};
	yyjson_val *state;
	const char *phase;
	int rc;

	if (!err)
		err = &own;
	rc = client(s, false, &c, err);
	if (rc)
		return rc;
	phase = phase_of(c, s->daemon_host, &m, &state, err);
	rc = phase ? 0 : err->code;
	if (phase && strcmp(phase, "connected") != 0 && strcmp(phase, "reconnecting") != 0)
		rc = err_set(
		    err, TL_E_NOHOST, "%s",
		    json_str(json_get(state, "error"), "message", "the local daemon has ended it"));
	jsonrpc_fini(&m);
	api_client_close(c);
	return rc;
}

static void daemon_close(struct tl_session *s)
{
	(void)s; /* the connection is the daemon's */
}

static const char *daemon_plain_why(struct tl_session *s)
{
	return s->daemon_plain_why;
}

static const struct session_back back = {
    .via = "daemon", .open = daemon_open, .lost = daemon_lost, .close = daemon_close};
/* towlined serves the host without a server of ours */
static const struct session_back plain = {.via = "daemon",
					  .open = daemon_open,
					  .lost = daemon_lost,
					  .close = daemon_close,
					  .plain_why = daemon_plain_why};

static const char *why_of(struct api_client *c, const char *host, char *out, size_t n)
{
	struct jsonrpc_msg m = {0};
	struct tl_err err = {0};
	yyjson_val *state = NULL;

	out[0] = 0;
	if (phase_of(c, host, &m, &state, &err)) {
		yyjson_val *info = json_get(json_get(state, "info"), "plain");
		str_copy(out, n, json_str(info, "why", info ? "no server of ours" : ""));
	}
	jsonrpc_fini(&m);
	return out;
}

int session_daemon_connect(struct tl_session *s, bool only_ready, struct tl_err *err)
{
	const char *const keys[] = {s->opt.key_file, NULL};
	struct api_host_options o = {.config_file = s->opt.config_file,
				     .identities = s->opt.key_file ? keys : NULL,
				     .port = s->opt.port,
				     .options = (const char *const *)s->opt.ssh_options.v};
	struct api_client *c;
	int rc;

	if (s->opt.ssh_program)
		return err_set(err, TL_E_INVAL,
			       "cannot connect to %s through towlined with another ssh program: it "
			       "uses its own setting",
			       s->host);
	rc = client(s, !only_ready, &c, err);
	if (rc)
		return rc;
	if (only_ready && (rc = api_client_same_version(c, err)) == 0)
		rc = is_ready(c, s->host, err);
	if (!only_ready)
		api_client_limit(c, s->opt.timeout_ms);
	if (rc == 0)
		rc = api_client_connect_host(c, s->host, &o, &s->daemon_host, err);
	if (rc == 0)
		s->back =
		    *why_of(c, s->daemon_host, s->daemon_plain_why, sizeof(s->daemon_plain_why))
			? &plain
			: &back;
	api_client_close(c);
	return rc;
}
