/* hub_forward_here.c - forwards of a host that is this machine (`towline connect localhost`, a
 * container with the machine's network): there the target's number is one of our own, and a forward
 * that listens on it would connect to itself, without end. Whether it does follows from the table
 * of forwards alone; forwards may lead to each other. */
#include "hub/hub_forward.h"

#include "loop/sock.h"

bool forward_host_is_here(yyjson_val *info)
{
	char own[64];

	network_name(own, sizeof(own));
	return own[0] && strcmp(json_str(info, "network", ""), own) == 0;
}

static bool is_any(const char *address)
{
	return strcmp(address, "*") == 0 || strcmp(address, "allInterfaces") == 0 ||
	       strcmp(address, "0.0.0.0") == 0 || strcmp(address, "::") == 0;
}

/* Does a listener on `address` take connections to `host`? */
static bool takes(const char *address, const char *host)
{
	bool near = local_listen_is_loopback(host);

	if (strcmp(address, host) == 0 || (is_any(address) && (near || is_any(host))))
		return true;
	/* localhost is both loopbacks, and a connection to any address goes there, too */
	if (strcmp(address, "localhost") == 0)
		return strcmp(host, "127.0.0.1") == 0 || strcmp(host, "::1") == 0 || is_any(host);
	return strcmp(host, "localhost") == 0 &&
	       (strcmp(address, "127.0.0.1") == 0 || strcmp(address, "::1") == 0);
}

/* Do its connections begin on this machine, to a port? */
static bool begins_here(const struct hub_forward *f)
{
	const struct hub_host *hh = host_find(f->hub, f->spec.host);

	return hh && hh->here && f->spec.kind == FORWARD_LOCAL && !f->spec.target_path;
}

static bool leads_to(const struct forward_spec *s, const char *address, int port)
{
	return s->target_port == port &&
	       takes(address, s->target_host ? s->target_host : "localhost");
}

/* The forward that answers where f leads to, NULL: something else does. */
static struct hub_forward *next_of(const struct hub_forward *f)
{
	if (!begins_here(f))
		return NULL;
	LIST_FOREACH (it, &f->hub->forwards->all) {
		struct hub_forward *g = list_entry(it, struct hub_forward, node);
		const char *address = forward_listen_address(g);
		if (address && leads_to(&f->spec, address, g->port))
			return g;
	}
	return NULL;
}

bool forward_is_circle(const struct hub_forward *f)
{
	const struct hub_forward *g = next_of(f);

	for (int i = 0; g && g != f && i < TL_LIMIT_FORWARDS; i++)
		g = next_of(g);
	return g != NULL;
}

bool forward_would_circle(const struct hub_forward *f, const char *address, int port)
{
	return begins_here(f) && leads_to(&f->spec, address, port);
}
