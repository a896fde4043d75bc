/* hub_server.c - what is installed and runs on a host, and the end of it. Over the connection where
 * there is one (agent/server, agent/stop), else by an errand: one login that starts nothing. One
 * errand a host at a time; it belongs to the client that wanted it, which answers ssh's questions.
 */
#include "hub/hub_priv.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"

struct hub_errand {
	struct hub_host *host;
	struct hub_client *client;
	char *id;
	const char *verb;
	struct dial *dial;
};

/* An answer of the agent on its way. */
struct asked {
	struct hub_client *client;
	struct hub *hub;
	char id[64], host[TL_LIMIT_HOST_NAME];
	const char *verb;
};

static bool ends_server(const char *verb)
{
	return strcmp(verb, "kill") == 0 || strcmp(verb, "uninstall") == 0;
}

/* ---- answers ---- */

/* What the host said, as the method's result. found may be NULL: nothing is there. */
static void answer(struct hub_client *c, const char *id, const char *host, bool connected,
		   const char *verb, yyjson_val *found)
{
	yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *o = found ? yyjson_val_mut_copy(doc, found) : yyjson_mut_obj(doc);

	yyjson_mut_doc_set_root(doc, o);
	yyjson_mut_obj_add_strcpy(doc, o, "host", host);
	yyjson_mut_obj_add_bool(doc, o, "connected", connected);
	if (!found && strcmp(verb, "status") == 0) {
		yyjson_mut_obj_add_str(doc, o, "dir", "");
		yyjson_mut_obj_add_bool(doc, o, "installed", false);
		yyjson_mut_obj_add_arr(doc, o, "versions");
		yyjson_mut_obj_add_arr(doc, o, "processes");
	} else if (!found && strcmp(verb, "log") == 0) {
		yyjson_mut_obj_add_str(doc, o, "file", "");
		yyjson_mut_obj_add_str(doc, o, "text", "");
	} else if (!found) {
		yyjson_mut_obj_add_int(doc, o, "ended", 0);
		yyjson_mut_obj_add_str(doc, o, "removed", "");
		yyjson_mut_obj_add_bool(doc, o, "complete", true);
	}
	client_reply(c, id, doc);
}

/* ---- errands ---- */

static void errand_free(struct hub_errand *r)
{
	prompt_free_all(r->host);
	if (r->dial)
		dial_close(r->dial);
	r->host->errand = NULL;
	free(r->id);
	free(r);
}

void errand_cancel(struct hub_host *hh, const struct tl_err *why)
{
	struct hub_errand *r = hh->errand;

	if (!r)
		return;
	if (r->client)
		client_reply_err(r->client, r->id, why);
	errand_free(r);
}

struct hub_client *errand_client(const struct hub_host *hh)
{
	return hh->errand->client;
}

void errand_client_gone(struct hub_client *c)
{
	LIST_FOREACH (it, &c->hub->hosts) {
		struct hub_errand *r = list_entry(it, struct hub_host, node)->errand;
		if (r && r->client == c)
			errand_free(r);
	}
}

static void on_report(void *ctx, bool installed, struct tl_bytes text)
{
	struct hub_errand *r = ctx;
	yyjson_doc *doc = installed ? json_parse(text, NULL) : NULL;
	struct tl_err e;

	if (installed && !doc) {
		err_set(&e, TL_E_PROTO, "the server on %s said nothing that makes sense",
			r->host->name);
		errand_cancel(r->host, &e);
		return;
	}
	log_line(LOG_INFO, r->host->name, "server %s: done", r->verb);
	answer(r->client, r->id, r->host->name, false, r->verb, yyjson_doc_get_root(doc));
	yyjson_doc_free(doc);
	errand_free(r);
}

static void on_failed(void *ctx, const struct tl_err *err)
{
	struct hub_errand *r = ctx;
	struct tl_err e = *err;

	errand_cancel(r->host, &e);
}

static void on_log(void *ctx, const char *line)
{
	struct hub_errand *r = ctx;

	log_line(LOG_INFO, r->host->name, "ssh: %s", line);
}

static void on_prompt(void *ctx, struct dial_prompt *p, enum dial_prompt_kind kind,
		      const char *text, bool echo, int attempt)
{
	prompt_ask(((struct hub_errand *)ctx)->host, p, kind, text, echo, attempt);
}

static void on_prompt_gone(void *ctx, struct dial_prompt *p)
{
	prompt_gone(((struct hub_errand *)ctx)->host, p);
}

static void errand_start(struct call *k, struct hub_host *hh, const char *verb)
{
	struct dial_env env;
	struct dial_callbacks cb = {.on_prompt = on_prompt,
				    .on_prompt_gone = on_prompt_gone,
				    .on_report = on_report,
				    .on_failed = on_failed,
				    .on_log = on_log};
	struct hub_errand *r = hh->errand ? NULL : calloc(1, sizeof(*r));
	struct dial_target t;
	struct tl_err e = {0};

	if (!r) {
		err_set(&e, hh->errand ? TL_E_AGAIN : TL_E_NOMEM,
			"cannot look at the server on %s: %s", hh->name,
			hh->errand ? "it is looked at already" : "out of memory");
		client_reply_err(k->c, k->id, &e);
		return;
	}
	*r = (struct hub_errand){.host = hh, .client = k->c, .id = str_dup(k->id), .verb = verb};
	hh->errand = r;
	free(hh->install_path);
	if (settings_install_path(k->h, hh->name, &hh->install_path, &e) == 0) {
		settings_reach(hh);
		env = host_dial_env(hh);
		t = host_target(hh);
		t.errand = verb;
		t.errand_lines = (int)json_int(k->params, "lines", 0);
		cb.ctx = r;
		r->dial = dial_start(k->h->loop, &t, &env, &cb, &e);
	}
	if (!r->dial)
		errand_cancel(hh, &e);
}

/* ---- over the connection ---- */

static void agent_said(void *ctx, const struct jsonrpc_msg *m, const struct tl_err *e)
{
	struct asked *q = ctx;
	struct hub_host *hh = host_find(q->hub, q->host);
	struct tl_err closed;

	if (e && !ends_server(q->verb))
		client_reply_err(q->client, q->id, e);
	else
		answer(q->client, q->id, q->host, true, q->verb, e ? NULL : m->result);
	if (ends_server(q->verb) && hh) {
		log_line(LOG_INFO, hh->name, "server %s: done", q->verb);
		err_set(&closed, TL_E_CLOSED, "the server on %s was ended", hh->name);
		forward_host_closed(q->hub, hh->name);
		host_disconnect(hh, &closed);
	}
	free(q);
}

static void ask_agent(struct call *k, struct hub_host *hh, const char *verb)
{
	struct asked *q = calloc(1, sizeof(*q));
	char params[128];
	struct tl_err e;

	if (!q || !str_copy(q->id, sizeof(q->id), k->id)) {
		free(q);
		err_set(&e, TL_E_NOMEM, "cannot ask the server on %s: out of memory", hh->name);
		client_reply_err(k->c, k->id, &e);
		return;
	}
	q->client = k->c;
	q->hub = k->h;
	q->verb = verb;
	str_copy(q->host, sizeof(q->host), hh->name);
	if (ends_server(verb))
		snprintf(params, sizeof(params), "{\"terminals\":true,\"uninstall\":%s}",
			 strcmp(verb, "uninstall") == 0 ? "true" : "false");
	else
		snprintf(params, sizeof(params), "{\"what\":\"%s\",\"lines\":%lld}", verb,
			 (long long)json_int(k->params, "lines", 200));
	hh->stopping = ends_server(verb);
	rpc_call(hh, k->c, ends_server(verb) ? "agent/stop" : "agent/server", bytes_str(params),
		 agent_said, q);
}

static void look_after(struct call *k, const char *verb)
{
	struct hub_host *hh;
	struct tl_err e = {0};

	if (host_get(k->h, json_str(k->params, "host", ""), json_get(k->params, "options"), &hh,
		     &e) != 0) {
		client_reply_err(k->c, k->id, &e);
		return;
	}
	if (hh->phase == HOST_CONNECTED && hh->rpc) {
		ask_agent(k, hh, verb);
		return;
	}
	/* a connection that is being made, or made again, is not what is wanted now */
	if (ends_server(verb) && hh->phase != HOST_DISCONNECTED && hh->phase != HOST_FAILED) {
		err_set(&e, TL_E_CLOSED, "the server on %s is ended", hh->name);
		forward_host_closed(k->h, hh->name);
		host_disconnect(hh, &e);
	} else if (hh->dial) {
		err_set(&e, TL_E_AGAIN, "%s is being connected: ask again in a moment", hh->name);
		client_reply_err(k->c, k->id, &e);
		return;
	}
	errand_start(k, hh, verb);
}

void m_server_status(struct call *k)
{
	look_after(k, "status");
}

void m_server_kill(struct call *k)
{
	look_after(k, "kill");
}

void m_server_uninstall(struct call *k)
{
	look_after(k, "uninstall");
}

void m_server_log(struct call *k)
{
	look_after(k, "log");
}
