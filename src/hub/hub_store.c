/* hub_store.c - what survives the daemon, in its state folder: window token, ports, options of
 * hosts. Secrets of hosts are never stored. */
#include "hub/hub_priv.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "loop/fsx.h"

#define HOSTS_REMEMBERED 500
#define HOSTS_FILE       "hosts.json"

static char *store_path(struct hub *h, const char *file)
{
	return str_fmt("%s/%s", h->cfg.state_dir, file);
}

char *store_read(struct hub *h, const char *file)
{
	char *path = store_path(h, file), *text = NULL;
	struct buf b;

	buf_init(&b, TL_LIMIT_RPC_MESSAGE);
	if (path && fs_read(path, &b, NULL) == 0)
		text = str_ndup(buf_data(&b).p, b.len);
	buf_fini(&b);
	free(path);
	return text;
}

int store_write(struct hub *h, const char *file, struct tl_bytes b, struct tl_err *err)
{
	char *path = store_path(h, file);
	int rc = path ? fs_write_atomic(path, b.p, b.n, 0600, err) : TL_E_NOMEM;

	free(path);
	return rc;
}

/* The token lives longer than the daemon, so that open windows go on after its restart. */
int store_token(struct hub *h, struct tl_err *err)
{
	char *text = store_read(h, "token");
	uint8_t raw[16];
	int rc = 0;

	if (text && strlen(text) == 32 && strspn(text, "0123456789abcdef") == 32) {
		str_copy(h->token, sizeof(h->token), text);
	} else {
		random_bytes(raw, sizeof(raw));
		str_hex(raw, sizeof(raw), h->token);
		rc = store_write(h, "token", bytes_str(h->token), err);
	}
	free(text);
	return rc;
}

void store_ports(struct hub *h, int *ret_port, int *ret_frame_port)
{
	char *text = store_read(h, "ports");
	int p = 0, f = 0;

	if (text && sscanf(text, "%d %d", &p, &f) == 2 && p > 1023 && p < 65536 && f > 1023 &&
	    f < 65536) {
		*ret_port = p;
		*ret_frame_port = f;
	}
	free(text);
}

void store_save_ports(struct hub *h)
{
	char text[32];
	struct tl_err e;
	int n =
	    snprintf(text, sizeof(text), "%d %d\n", edge_port(h->edge), edge_frame_port(h->edge));

	if (store_write(h, "ports", bytes_of(text, (size_t)n), &e) != 0)
		log_warn("%s", e.text);
}

static void add_strv(yyjson_mut_doc *doc, yyjson_mut_val *o, const char *key, const struct strv *v)
{
	yyjson_mut_val *a;

	if (v->n == 0)
		return;
	a = yyjson_mut_obj_add_arr(doc, o, key);
	for (size_t i = 0; i < v->n; i++)
		yyjson_mut_arr_add_strcpy(doc, a, v->v[i]);
}

yyjson_mut_val *options_json(const struct host_options *o, yyjson_mut_doc *doc)
{
	yyjson_mut_val *v = yyjson_mut_obj(doc);

	if (o->config_file)
		yyjson_mut_obj_add_strcpy(doc, v, "configFile", o->config_file);
	add_strv(doc, v, "identities", &o->identities);
	add_strv(doc, v, "options", &o->options);
	if (o->port)
		yyjson_mut_obj_add_int(doc, v, "port", o->port);
	return v;
}

yyjson_doc *store_hosts(struct hub *h)
{
	char *text = store_read(h, HOSTS_FILE);
	yyjson_doc *doc = text ? yyjson_read(text, strlen(text), 0) : NULL;

	free(text);
	return doc;
}

char *store_host_options(struct hub *h, const char *name)
{
	yyjson_doc *doc = store_hosts(h);
	yyjson_val *v = json_get(yyjson_doc_get_root(doc), name);
	yyjson_mut_doc *copy = yyjson_is_obj(v) ? yyjson_mut_doc_new(NULL) : NULL;
	yyjson_mut_val *o = copy ? yyjson_val_mut_copy(copy, v) : NULL;
	char *out;

	yyjson_mut_obj_remove_key(o, "record");
	out = o ? yyjson_mut_val_write(o, 0, NULL) : NULL;
	yyjson_mut_doc_free(copy);
	yyjson_doc_free(doc);
	return out;
}

void store_edit_host(struct hub *h, const char *name, store_edit_fn *edit, void *ctx)
{
	yyjson_doc *old = store_hosts(h);
	yyjson_mut_doc *doc = old ? yyjson_doc_mut_copy(old, NULL) : yyjson_mut_doc_new(NULL);
	yyjson_mut_val *root = yyjson_mut_doc_get_root(doc), *entry;
	struct tl_err e;
	struct buf b;

	if (!yyjson_mut_is_obj(root)) {
		root = yyjson_mut_obj(doc);
		yyjson_mut_doc_set_root(doc, root);
	}
	/* most recent last; the oldest go when there are too many */
	yyjson_mut_obj_remove_key(root, name);
	while (yyjson_mut_obj_size(root) >= HOSTS_REMEMBERED) {
		yyjson_mut_obj_iter it;
		yyjson_mut_obj_iter_init(root, &it);
		yyjson_mut_obj_iter_next(&it);
		yyjson_mut_obj_iter_remove(&it);
	}
	entry = edit ? edit(ctx, doc, json_get(yyjson_doc_get_root(old), name)) : NULL;
	if (entry)
		yyjson_mut_obj_add(root, yyjson_mut_strcpy(doc, name), entry);
	buf_init(&b, TL_LIMIT_RPC_MESSAGE);
	if (json_write(&b, doc) != 0 || store_write(h, HOSTS_FILE, buf_data(&b), &e) != 0)
		log_warn("what is known of %s could not be remembered", name);
	buf_fini(&b);
	yyjson_mut_doc_free(doc);
	yyjson_doc_free(old);
}

/* The options are the new ones, also where there are none; the record of the past stays. */
static yyjson_mut_val *edit_options(void *ctx, yyjson_mut_doc *doc, yyjson_val *old)
{
	const struct hub_host *hh = ctx;
	yyjson_mut_val *o = options_json(&hh->opts, doc);
	yyjson_val *record = json_get(old, "record");

	if (record)
		yyjson_mut_obj_add_val(doc, o, "record", yyjson_val_mut_copy(doc, record));
	return o;
}

void store_save_host(struct hub_host *hh)
{
	store_edit_host(hh->hub, hh->name, edit_options, hh);
}
