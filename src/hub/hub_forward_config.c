/* hub_forward_config.c - forwards that nobody asks for at the moment: the lines of the ssh
 * configuration, and remote.SSH.defaultForwardedPorts. Looked at when a host gets connected; what
 * is no longer written there goes. */
#include "hub/hub_forward.h"

#include <stdlib.h>

#include "base/log.h"
#include "dial/ssh_forwards.h"

/* Adds one; keeps its id as wanted. Takes spec. */
static void add(struct hub *h, struct forward_spec *spec, struct strv *wanted)
{
	struct hub_forward *f;
	struct tl_err e;
	char *host = str_dup(spec->host);

	if (forward_add(h, spec, NULL, &f, &e) == 0)
		strv_add(wanted, f->id);
	else
		log_line(LOG_WARN, host ? host : "", "%s", e.text);
	free(host);
}

static void drop_unwanted(struct hub *h, const char *host, enum forward_source source,
			  const struct strv *wanted)
{
	LIST_FOREACH_SAFE (it, &h->forwards->all) {
		struct hub_forward *f = list_entry(it, struct hub_forward, node);
		bool keep = f->spec.source != source || strcmp(f->spec.host, host) != 0;
		for (size_t i = 0; i < wanted->n && !keep; i++)
			keep = strcmp(wanted->v[i], f->id) == 0;
		if (!keep)
			forward_remove(f);
	}
}

/* ---- the settings ---- */

static int setting_port(yyjson_val *v, const char *key)
{
	int64_t n = json_int(v, key, 0);

	return n > 0 && n < 65536 ? (int)n : 0;
}

static void add_defaults(struct hub_host *hh)
{
	yyjson_doc *doc = settings_read(hh->hub);
	yyjson_val *list = settings_get(doc, "remote.SSH.defaultForwardedPorts"), *v;
	struct strv wanted = {0};
	size_t i, n;

	yyjson_arr_foreach(list, i, n, v)
	{
		int local = setting_port(v, "localPort"), remote = setting_port(v, "remotePort");
		struct forward_spec s = {.kind = FORWARD_LOCAL,
					 .source = FORWARD_DEFAULT,
					 .local_port = local ? local : remote,
					 .target_port = remote};
		if (!remote) {
			log_line(LOG_WARN, hh->name,
				 "remote.SSH.defaultForwardedPorts: entry %zu has no remotePort",
				 i + 1);
			continue;
		}
		s.host = str_dup(hh->name);
		s.label = str_dup(json_str(v, "name", NULL));
		if (s.host)
			add(hh->hub, &s, &wanted);
		else
			forward_spec_fini(&s);
	}
	drop_unwanted(hh->hub, hh->name, FORWARD_DEFAULT, &wanted);
	strv_fini(&wanted);
	yyjson_doc_free(doc);
}

/* ---- the ssh configuration ---- */

/* The end that listens: an empty or wild address is every address. */
static char *listen_address(const struct ssh_forward_end *e, bool gateway)
{
	if (e->host)
		return str_dup(e->host);
	return gateway ? str_dup("*") : NULL;
}

static void add_one(struct hub_host *hh, const struct ssh_forward *x, bool gateway,
		    struct strv *wanted)
{
	bool remote = x->kind == SSH_FORWARD_REMOTE;
	const struct ssh_forward_end *here = remote ? &x->target : &x->listen,
				     *there = remote ? &x->listen : &x->target;
	struct forward_spec s = {
	    .source = FORWARD_CONFIG,
	    .local_port = here->path ? -1 : here->port,
	    .target_port = there->path || x->kind == SSH_FORWARD_DYNAMIC ? -1 : there->port,
	    .kind = remote                           ? FORWARD_REMOTE
		    : x->kind == SSH_FORWARD_DYNAMIC ? FORWARD_SOCKS
						     : FORWARD_LOCAL};

	if (x->socks) {
		log_line(LOG_WARN, hh->name,
			 "RemoteForward %d of the ssh configuration is left out: a SOCKS server on "
			 "the host is not supported, use `towline forward %s --lend-internet`",
			 x->listen.port, hh->name);
		return;
	}
	s.host = str_dup(hh->name);
	s.local_path = str_dup(here->path);
	s.target_path = str_dup(there->path);
	/* a name in place of an address to listen on: ssh resolves it, "localhost" is what there
	 * is */
	s.local_address = remote ? str_dup(here->host) : listen_address(here, gateway);
	s.target_host = remote ? listen_address(there, false) : str_dup(there->host);
	if (s.host)
		add(hh->hub, &s, wanted);
	else
		forward_spec_fini(&s);
}

static void on_forwards(void *ctx, const struct ssh_forwards *list, const struct tl_err *err)
{
	struct hub_host *hh = ctx;
	struct strv wanted = {0};

	hh->config_query = NULL;
	if (!list) {
		log_line(LOG_WARN, hh->name, "%s", err->text);
		return;
	}
	for (size_t i = 0; i < list->n; i++)
		add_one(hh, &list->v[i], list->gateway_ports, &wanted);
	drop_unwanted(hh->hub, hh->name, FORWARD_CONFIG, &wanted);
	strv_fini(&wanted);
}

void forward_config_begin(struct hub_host *hh)
{
	struct dial_target t = host_target(hh);
	struct tl_err e;

	if (hh->config_done || hh->closing)
		return;
	hh->config_done = true;
	add_defaults(hh);
	if (str_starts(hh->name, "local:"))
		return;
	hh->config_query =
	    ssh_forwards_ask(hh->hub->loop, &t, host_dial_env(hh).ssh_path, on_forwards, hh, &e);
	if (!hh->config_query)
		log_line(LOG_WARN, hh->name, "%s", e.text);
}

void forward_config_cancel(struct hub_host *hh)
{
	if (hh->config_query)
		ssh_forwards_cancel(hh->config_query);
	hh->config_query = NULL;
	hh->config_done = false;
}
