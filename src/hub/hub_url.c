/* hub_url.c - a program on a host wants to show a page: handed to one window of the host, the one
 * used last. Whether it opens is for the window's rule and the user to say; nothing is opened
 * here. */
#include "hub/hub_priv.h"

#include <stdlib.h>

#include "base/log.h"

#define URL_MAX 8192

/* http and https only, printable, bounded: everything else is no page. */
static bool is_page(const char *url)
{
	if (!str_starts(url, "http://") && !str_starts(url, "https://"))
		return false;
	for (const char *p = url; *p; p++)
		if ((unsigned char)*p <= ' ' || *p == 0x7f)
			return false;
	return strlen(url) < URL_MAX;
}

static struct hub_client *window_used_last(struct hub_host *hh)
{
	struct hub_client *best = NULL;

	LIST_FOREACH (it, &hh->hub->clients) {
		struct hub_client *c = list_entry(it, struct hub_client, node);
		if (c->relay || edge_client_kind(c->edge) != EDGE_WINDOW ||
		    !client_subscribed(c, hh->name))
			continue;
		if (!best || c->used > best->used)
			best = c;
	}
	return best;
}

void url_open(struct hub_host *hh, yyjson_val *params)
{
	const char *url = json_str(params, "url", "");
	struct hub_client *c = window_used_last(hh);
	yyjson_mut_doc *doc;
	yyjson_mut_val *o;
	struct buf b;

	if (!is_page(url) || !c) {
		log_line(LOG_INFO, hh->name, "a page was not shown: %s",
			 c ? "its address is not http or https" : "no window is open");
		return;
	}
	doc = yyjson_mut_doc_new(NULL);
	o = yyjson_mut_obj(doc);
	yyjson_mut_doc_set_root(doc, o);
	yyjson_mut_obj_add_strcpy(doc, o, "host", hh->name);
	yyjson_mut_obj_add_strcpy(doc, o, "url", url);
	buf_init(&b, TL_LIMIT_RPC_MESSAGE);
	if (json_write(&b, doc) == 0)
		client_notify(c, "url/open", buf_data(&b));
	buf_fini(&b);
	yyjson_mut_doc_free(doc);
}
