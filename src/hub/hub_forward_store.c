/* hub_forward_store.c - forwards outlive the daemon: what a person asked for is written down at
 * every change, with the local port it got, and listens again when the daemon starts. */
#include "hub/hub_forward.h"

#include <stdlib.h>

#include "base/log.h"

#define FILE_NAME "forwards.json"
#define KEY_NAME  "forwards-key"

/* The others come again with their window, their host or their settings. */
bool forward_is_kept(const struct hub_forward *f)
{
	return f->spec.source == FORWARD_USER || f->spec.source == FORWARD_COMMAND;
}

void forward_store(struct hub *h)
{
	yyjson_mut_doc *doc;
	yyjson_mut_val *o, *a;
	struct tl_err e = {0};
	struct buf b;

	if (!h->forwards->storing)
		return;
	doc = yyjson_mut_doc_new(NULL);
	o = yyjson_mut_obj(doc);
	yyjson_mut_doc_set_root(doc, o);
	a = yyjson_mut_obj_add_arr(doc, o, "forwards");
	LIST_FOREACH (it, &h->forwards->all) {
		struct hub_forward *f = list_entry(it, struct hub_forward, node);
		if (forward_is_kept(f))
			yyjson_mut_arr_append(a, forward_spec_json(f, doc));
	}
	buf_init(&b, TL_LIMIT_RPC_MESSAGE);
	if (json_write(&b, doc) != 0 || store_write(h, FILE_NAME, buf_data(&b), &e) != 0)
		log_warn("the forwards could not be remembered: %s", e.text);
	buf_fini(&b);
	yyjson_mut_doc_free(doc);
}

static bool users_are_wanted(struct hub *h)
{
	yyjson_doc *doc = settings_read(h);
	yyjson_val *v = settings_get(doc, "remote.restoreForwardedPorts");
	bool wanted = !yyjson_is_bool(v) || yyjson_get_bool(v);

	yyjson_doc_free(doc);
	return wanted;
}

static void restore(struct hub *h, yyjson_val *v, bool users)
{
	struct forward_spec spec;
	struct hub_forward *f;
	struct tl_err e = {0};

	if (forward_spec_parse(v, &spec, &e) != 0) {
		log_warn("a remembered forward is left out: %s", e.text);
		return;
	}
	if (spec.source == FORWARD_USER && !users) {
		forward_spec_fini(&spec);
		return;
	}
	if (forward_add(h, &spec, json_str(v, "id", NULL), &f, &e) != 0)
		log_warn("a remembered forward is left out: %s", e.text);
	else if (f->spec.proxy && strlen(json_str(v, "secret", "")) == 32)
		/* terminals of the host know it */
		str_copy(f->secret, sizeof(f->secret), json_str(v, "secret", ""));
}

/* A word that hosts know our listeners by. */
static void restore_key(struct hub *h)
{
	char *text = store_read(h, KEY_NAME);
	uint8_t raw[8];

	if (text && strlen(text) == 16 && strspn(text, "0123456789abcdef") == 16) {
		str_copy(h->forwards->key, sizeof(h->forwards->key), text);
	} else {
		random_bytes(raw, sizeof(raw));
		str_hex(raw, sizeof(raw), h->forwards->key);
		(void)store_write(h, KEY_NAME, bytes_str(h->forwards->key), NULL);
	}
	free(text);
}

void forwards_restore(struct hub *h)
{
	char *text = store_read(h, FILE_NAME);
	yyjson_doc *doc = text ? yyjson_read(text, strlen(text), 0) : NULL;
	yyjson_val *v;
	size_t i, n;

	restore_key(h);
	if (doc) {
		bool users = users_are_wanted(h);
		yyjson_arr_foreach(json_get(yyjson_doc_get_root(doc), "forwards"), i, n, v)
		{
			restore(h, v, users);
		}
	}
	h->forwards->storing = true;
	yyjson_doc_free(doc);
	free(text);
}
