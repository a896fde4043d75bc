/* edge_ticket.c - addresses that work once. A browser is started with its address as an argument,
 * and arguments can be read by every user of the machine: so it gets a ticket, which the window's
 * port exchanges for the address with the token. Owns the targets of unused tickets. */
#include "edge/edge_priv.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/str.h"

#define CODE_LEN   26 /* base 32: 130 bits */
#define TARGET_MAX 30000

static void drop(struct ticket *t)
{
	free(t->target);
	*t = (struct ticket){0};
}

/* The path of one of our own addresses, or NULL. */
static const char *own_path(const struct edge *e, const char *url)
{
	const char *origin = e->origin[EDGE_PORT_WINDOW];
	size_t n = strlen(origin);

	if (!str_starts(url, origin) || url[n] != '/' || strlen(url) > TARGET_MAX)
		return NULL;
	for (const char *p = url; *p; p++)
		if ((unsigned char)*p <= 0x20 || *p == 0x7f)
			return NULL;
	return url + n;
}

void ticket_request(struct edge_client *c, const struct jsonrpc_msg *m)
{
	struct edge *e = c->edge;
	const char *path = own_path(e, json_str(m->params, "url", ""));
	struct ticket *t = &e->tickets[0];
	yyjson_mut_doc *doc;
	yyjson_mut_val *o;
	struct tl_err err;
	char url[128];

	/* the oldest one gives way */
	for (size_t i = 0; i < TICKETS; i++)
		if (e->tickets[i].until_ms < t->until_ms)
			t = &e->tickets[i];
	drop(t);
	t->target = str_dup(path);
	if (!t->target) {
		err_set(&err, TL_E_INVAL, "window/ticket needs the address of a window");
		client_error(c, m->id, &err);
		return;
	}
	random_id(t->code, CODE_LEN);
	t->until_ms = clock_mono_ms() + TICKET_MS;
	snprintf(url, sizeof(url), "%s" TICKET_URL "%s", e->origin[EDGE_PORT_WINDOW], t->code);
	doc = yyjson_mut_doc_new(NULL);
	o = yyjson_mut_obj(doc);
	yyjson_mut_doc_set_root(doc, o);
	yyjson_mut_obj_add_strcpy(doc, o, "url", url);
	client_result(c, m->id, doc);
}

char *ticket_take(struct edge *e, const char *code)
{
	char *target = NULL;

	for (size_t i = 0; i < TICKETS; i++) {
		struct ticket *t = &e->tickets[i];
		if (!t->target || !str_equal_secret(t->code, code))
			continue;
		if (t->until_ms > clock_mono_ms()) {
			target = t->target;
			t->target = NULL;
		}
		drop(t);
	}
	return target;
}

void ticket_fini(struct edge *e)
{
	for (size_t i = 0; i < TICKETS; i++)
		drop(&e->tickets[i]);
}
