/* hub_prompt.c - questions of ssh find a person: the client that waits for the connection, else a
 * window of that host. Answers pass through memory once and are wiped by dial; they are never
 * logged. */
#include "hub/hub_priv.h"

#include <stdlib.h>

#include "base/log.h"

static const char *const kind_names[] = {"hostkey",  "passphrase", "password",
					 "question", "pin",        "touch"};

static void prompt_free(struct host_prompt *p)
{
	list_del(&p->node);
	free(p->text);
	free(p);
}

/* Who can answer: first those who wait for the connection, then windows and commands that watch the
 * host. */
static struct hub_client *somebody(struct hub_host *hh)
{
	if (hh->errand)
		return errand_client(hh);
	if (!list_empty(&hh->waiters))
		return list_entry(hh->waiters.next, struct host_waiter, node)->client;
	LIST_FOREACH (it, &hh->hub->clients) {
		struct hub_client *c = list_entry(it, struct hub_client, node);
		if (!c->relay && client_subscribed(c, hh->name))
			return c;
	}
	return NULL;
}

static void send_prompt(struct host_prompt *p, struct hub_client *c)
{
	yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *o = yyjson_mut_obj(doc);
	struct buf b;

	yyjson_mut_doc_set_root(doc, o);
	yyjson_mut_obj_add_str(doc, o, "host", p->host->name);
	yyjson_mut_obj_add_str(doc, o, "kind", kind_names[p->kind]);
	yyjson_mut_obj_add_str(doc, o, "text", p->text);
	yyjson_mut_obj_add_bool(doc, o, "echo", p->echo);
	yyjson_mut_obj_add_int(doc, o, "attempt", p->attempt);
	p->asked = c;
	p->rpc_id = c->hub->next_id++;
	buf_init(&b, TL_LIMIT_RPC_MESSAGE);
	if (jsonrpc_put_request(&b, p->rpc_id, "prompt/ask", doc) == 0)
		edge_client_send(c->edge, buf_data(&b));
	buf_fini(&b);
	yyjson_mut_doc_free(doc);
}

void prompt_route(struct hub_host *hh)
{
	LIST_FOREACH_SAFE (it, &hh->prompts) {
		struct host_prompt *p = list_entry(it, struct host_prompt, node);
		struct dial_prompt *dp = p->dial_prompt;
		struct hub_client *c;
		if (p->asked)
			continue;
		c = somebody(hh);
		if (c) {
			send_prompt(p, c);
			continue;
		}
		log_line(LOG_WARN, hh->name,
			 "ssh asks a question, but no window or command is there to answer it");
		prompt_free(p);
		dial_prompt_answer(dp, NULL);
		return; /* the dial may be gone now, and the list with it */
	}
}

void prompt_ask(void *ctx, struct dial_prompt *dp, enum dial_prompt_kind kind, const char *text,
		bool echo, int attempt)
{
	struct hub_host *hh = ctx;
	const char *known = host_plain_answer(hh, kind, text, attempt);
	struct host_prompt *p;

	if (known) {
		dial_prompt_answer(dp, known);
		return;
	}
	p = calloc(1, sizeof(*p));
	if (!p || !(p->text = str_dup(text))) {
		free(p);
		dial_prompt_answer(dp, NULL);
		return;
	}
	p->host = hh;
	p->dial_prompt = dp;
	p->kind = kind;
	p->echo = echo;
	p->attempt = attempt;
	list_add_tail(&hh->prompts, &p->node);
	prompt_route(hh);
}

void prompt_gone(void *ctx, struct dial_prompt *dp)
{
	struct hub_host *hh = ctx;

	LIST_FOREACH_SAFE (it, &hh->prompts) {
		struct host_prompt *p = list_entry(it, struct host_prompt, node);
		if (p->dial_prompt == dp)
			prompt_free(p);
	}
}

static struct host_prompt *prompt_by_id(struct hub_client *c, int64_t id)
{
	LIST_FOREACH (it, &c->hub->hosts) {
		struct hub_host *hh = list_entry(it, struct hub_host, node);
		LIST_FOREACH (jt, &hh->prompts) {
			struct host_prompt *p = list_entry(jt, struct host_prompt, node);
			if (p->asked == c && p->rpc_id == id)
				return p;
		}
	}
	return NULL;
}

bool prompt_response(struct hub_client *c, const struct jsonrpc_msg *m)
{
	struct host_prompt *p = prompt_by_id(c, yyjson_is_int(m->id) ? yyjson_get_sint(m->id) : -1);
	struct dial_prompt *dp;
	enum dial_prompt_kind kind;

	if (!p)
		return false;
	dp = p->dial_prompt;
	kind = p->kind;
	host_plain_answered(p->host, kind, p->text, json_str(m->result, "answer", NULL));
	prompt_free(p);
	/* a touch is answered by the token, not by us */
	if (kind != DIAL_PROMPT_TOUCH || json_bool(m->result, "cancel", false))
		dial_prompt_answer(dp, json_str(m->result, "answer", NULL));
	return true;
}

void prompt_free_all(struct hub_host *hh)
{
	LIST_FOREACH_SAFE (it, &hh->prompts)
		prompt_free(list_entry(it, struct host_prompt, node));
}
