/* hub_forward_methods.c - the methods forward/add, remove, list and update. A listener on the host
 * answers later: who asked for it waits in the forward. */
#include "hub/hub_forward.h"

#include <stdlib.h>

struct forward_waiter {
	struct list node;
	struct hub_client *client;
	char *id;   /* raw JSON of the request id */
	bool fresh; /* nobody else has this forward: it goes when it fails */
};

static void reply_info(struct hub_client *c, const char *id, const struct hub_forward *f)
{
	yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);

	yyjson_mut_doc_set_root(doc, forward_info_json(f, doc));
	client_reply(c, id, doc);
}

static struct hub_forward *need_forward(struct call *k)
{
	const char *id = json_str(k->params, "id", "");
	struct hub_forward *f = forward_find(k->h, id);
	struct tl_err e;

	if (!f) {
		err_set(&e, TL_E_NOFORWARD, "there is no forward “%.80s”", id);
		client_reply_err(k->c, k->id, &e);
	}
	return f;
}

/* ---- waiting for the host ---- */

static void waiter_free(struct forward_waiter *w)
{
	list_del(&w->node);
	free(w->id);
	free(w);
}

bool forward_answer(struct hub_forward *f)
{
	bool gone = false;

	LIST_FOREACH_SAFE (it, &f->waiters) {
		struct forward_waiter *w = list_entry(it, struct forward_waiter, node);
		if (f->failed.code)
			client_reply_err(w->client, w->id, &f->failed);
		else
			reply_info(w->client, w->id, f);
		gone = gone || (f->failed.code && w->fresh);
		waiter_free(w);
	}
	if (gone)
		forward_remove(f);
	return gone;
}

void forward_client_gone(struct hub_client *c)
{
	LIST_FOREACH (it, &c->hub->forwards->all) {
		struct hub_forward *f = list_entry(it, struct hub_forward, node);
		LIST_FOREACH_SAFE (it2, &f->waiters) {
			struct forward_waiter *w = list_entry(it2, struct forward_waiter, node);
			if (w->client == c)
				waiter_free(w);
		}
	}
}

static bool wait_for_host(struct call *k, struct hub_forward *f, bool fresh)
{
	struct forward_waiter *w = calloc(1, sizeof(*w));

	if (!w)
		return false;
	w->client = k->c;
	w->id = str_dup(k->id);
	w->fresh = fresh;
	list_add_tail(&f->waiters, &w->node);
	return true;
}

/* ---- the methods ---- */

void m_forward_add(struct call *k)
{
	struct forward_spec spec;
	struct hub_forward *f;
	struct hub_host *hh;
	struct tl_err e = {0};
	bool fresh;
	size_t before = 0, after = 0;

	if (forward_spec_parse(k->params, &spec, &e) != 0 ||
	    /* says what is wrong with the name; no connection comes of it */
	    host_get(k->h, spec.host, NULL, &hh, &e) != 0) {
		forward_spec_fini(&spec);
		client_reply_err(k->c, k->id, &e);
		return;
	}
	LIST_FOREACH (it, &k->h->forwards->all)
		before++;
	if (forward_add(k->h, &spec, NULL, &f, &e) != 0) {
		client_reply_err(k->c, k->id, &e);
		return;
	}
	LIST_FOREACH (it2, &k->h->forwards->all)
		after++;
	fresh = after > before;
	if (f->remote && !forward_remote_answered(f) && wait_for_host(k, f, fresh))
		return;
	if (f->failed.code)
		client_reply_err(k->c, k->id, &f->failed);
	else
		reply_info(k->c, k->id, f);
}

void m_forward_remove(struct call *k)
{
	struct hub_forward *f = need_forward(k);

	if (!f)
		return;
	forward_remove(f);
	client_reply(k->c, k->id, NULL);
}

void m_forward_list(struct call *k)
{
	const char *host = json_str(k->params, "host", "");
	yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *o = yyjson_mut_obj(doc), *a;

	yyjson_mut_doc_set_root(doc, o);
	a = yyjson_mut_obj_add_arr(doc, o, "forwards");
	LIST_FOREACH (it, &k->h->forwards->all) {
		struct hub_forward *f = list_entry(it, struct hub_forward, node);
		if (!host[0] || strcmp(f->spec.host, host) == 0)
			yyjson_mut_arr_append(a, forward_info_json(f, doc));
	}
	client_reply(k->c, k->id, doc);
}

/* A member that is there replaces the text; an empty one removes it. */
static void replace(char **text, yyjson_val *v, const char *key)
{
	const char *fresh = json_str(v, key, NULL);

	if (!fresh)
		return;
	free(*text);
	*text = fresh[0] ? str_dup(fresh) : NULL;
}

static int move_port(struct hub_forward *f, int port, bool require, struct tl_err *err)
{
	bool was = f->spec.require_port;
	int rc;

	if (f->spec.kind == FORWARD_REMOTE)
		return err_set(err, TL_E_UNSUPPORTED,
			       "cannot change the local port: the forward listens on the host");
	if (port == f->port && port > 0)
		return 0;
	f->spec.require_port = require;
	rc = forward_listen(f, port, err);
	f->spec.require_port = was;
	if (rc)
		return rc;
	f->spec.local_port = port;
	memset(&f->failed, 0, sizeof(f->failed));
	return 0;
}

void m_forward_update(struct call *k)
{
	struct hub_forward *f = need_forward(k);
	yyjson_val *p = k->params;
	int64_t port = json_int(p, "localPort", -1);
	struct forward_spec checked;
	struct tl_err e;
	int rc = 0;

	if (!f)
		return;
	/* the same rules as for a new one */
	if (forward_spec_check_update(p, &checked, &e) != 0) {
		client_reply_err(k->c, k->id, &e);
		return;
	}
	forward_spec_fini(&checked);
	if (port >= 0)
		rc = move_port(f, (int)port, json_bool(p, "requireLocalPort", false), &e);
	if (rc) {
		client_reply_err(k->c, k->id, &e);
		return;
	}
	replace(&f->spec.label, p, "label");
	replace(&f->spec.protocol, p, "protocol");
	forward_changed(k->h, f->spec.host);
	forward_store(k->h);
	reply_info(k->c, k->id, f);
}
