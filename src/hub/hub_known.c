/* hub_known.c - the hosts a person may mean: those of the ssh configuration, those that are there
 * now, and those that were, with the folders that were opened on them. The past of a host is the
 * member "record" of its entry in hosts.json:
 *   { lastConnectedMs, platform: { os, arch, hostname, user, version }, folders: [{ path, openedMs
 * }] }
 */
#include "hub/hub_priv.h"

#include <stdlib.h>

#include "dial/config_scan.h"

/* ---- the record ---- */

/* A copy of the old entry with a record to be changed. */
static yyjson_mut_val *entry_of(yyjson_mut_doc *doc, yyjson_val *old, yyjson_mut_val **ret_record)
{
	yyjson_mut_val *o =
	    yyjson_is_obj(old) ? yyjson_val_mut_copy(doc, old) : yyjson_mut_obj(doc);

	*ret_record = yyjson_mut_obj_get(o, "record");
	if (!yyjson_mut_is_obj(*ret_record)) {
		yyjson_mut_obj_remove_key(o, "record");
		*ret_record = yyjson_mut_obj_add_obj(doc, o, "record");
	}
	return o;
}

static yyjson_mut_val *edit_connected(void *ctx, yyjson_mut_doc *doc, yyjson_val *old)
{
	static const char *const facts[] = {"os", "arch", "hostname", "user", "version"};
	const struct hub_host *hh = ctx;
	yyjson_doc *info = yyjson_read(hh->info, strlen(hh->info), 0);
	yyjson_mut_val *record, *o = entry_of(doc, old, &record), *p;

	yyjson_mut_obj_remove_key(record, "lastConnectedMs");
	yyjson_mut_obj_remove_key(record, "platform");
	yyjson_mut_obj_add_uint(doc, record, "lastConnectedMs", clock_wall_ms());
	p = yyjson_mut_obj_add_obj(doc, record, "platform");
	for (size_t i = 0; i < sizeof(facts) / sizeof(facts[0]); i++)
		yyjson_mut_obj_add_strcpy(doc, p, facts[i],
					  json_str(yyjson_doc_get_root(info), facts[i], ""));
	yyjson_doc_free(info);
	return o;
}

void known_connected(struct hub_host *hh)
{
	if (hh->info)
		store_edit_host(hh->hub, hh->name, edit_connected, hh);
}

struct folder_edit {
	const char *path;
	bool remove;
};

static yyjson_mut_val *edit_folder(void *ctx, yyjson_mut_doc *doc, yyjson_val *old)
{
	const struct folder_edit *f = ctx;
	yyjson_mut_val *record, *o = entry_of(doc, old, &record), *list, *one;
	yyjson_val *was = json_get(json_get(old, "record"), "folders"), *v;
	size_t i, n;

	yyjson_mut_obj_remove_key(record, "folders");
	list = yyjson_mut_obj_add_arr(doc, record, "folders");
	if (!f->remove) {
		one = yyjson_mut_arr_add_obj(doc, list);
		yyjson_mut_obj_add_strcpy(doc, one, "path", f->path);
		yyjson_mut_obj_add_uint(doc, one, "openedMs", clock_wall_ms());
	}
	yyjson_arr_foreach(was, i, n, v)
	{
		if (yyjson_mut_arr_size(list) < TL_LIMIT_HOST_FOLDERS &&
		    strcmp(json_str(v, "path", f->path), f->path) != 0)
			yyjson_mut_arr_append(list, yyjson_val_mut_copy(doc, v));
	}
	return o;
}

void known_folder(struct hub *h, const char *host, const char *path)
{
	struct folder_edit f = {.path = path};

	store_edit_host(h, host, edit_folder, &f);
}

bool known_forget(struct hub *h, const char *host)
{
	yyjson_doc *doc = store_hosts(h);
	bool there = json_get(yyjson_doc_get_root(doc), host) != NULL;

	yyjson_doc_free(doc);
	if (there)
		store_edit_host(h, host, NULL, NULL);
	return there;
}

/* ---- methods ---- */

static int name_of(struct call *k, const char **ret)
{
	struct tl_err e;

	*ret = json_str(k->params, "host", "");
	if (**ret && strlen(*ret) < TL_LIMIT_HOST_NAME)
		return 0;
	err_set(&e, TL_E_INVAL, "“%.80s” is not a host name", *ret);
	client_reply_err(k->c, k->id, &e);
	return TL_E_INVAL;
}

void m_host_folder(struct call *k)
{
	struct folder_edit f = {.path = json_str(k->params, "path", ""),
				.remove = json_bool(k->params, "remove", false)};
	const char *host;
	struct tl_err e;

	if (name_of(k, &host) != 0)
		return;
	if (f.path[0] != '/' || strlen(f.path) >= TL_LIMIT_PATH) {
		err_set(&e, TL_E_INVAL, "“%.200s” is not the absolute path of a folder", f.path);
		client_reply_err(k->c, k->id, &e);
		return;
	}
	store_edit_host(k->h, host, edit_folder, &f);
	client_reply(k->c, k->id, NULL);
}

void m_host_forget(struct call *k)
{
	const char *host;
	struct tl_err e;

	if (name_of(k, &host) != 0)
		return;
	if (known_forget(k->h, host)) {
		client_reply(k->c, k->id, NULL);
		return;
	}
	err_set(&e, TL_E_NOENT, "nothing is remembered of “%.200s”", host);
	client_reply_err(k->c, k->id, &e);
}

/* The list under construction. */
struct listing {
	struct hub *h;
	yyjson_mut_doc *doc;
	yyjson_mut_val *hosts, *files;
	yyjson_val *records; /* by name */
	struct strv told;
};

static bool told(const struct listing *l, const char *name)
{
	for (size_t i = 0; i < l->told.n; i++)
		if (strcmp(l->told.v[i], name) == 0)
			return true;
	return false;
}

static int tell(struct listing *l, const char *name, const char *file, int line)
{
	yyjson_val *record = json_get(json_get(l->records, name), "record"), *v;
	struct hub_host *hh = host_find(l->h, name);
	yyjson_mut_val *o;

	if (told(l, name) || !utf8_valid(bytes_str(name)))
		return 0;
	o = yyjson_mut_arr_add_obj(l->doc, l->hosts);
	yyjson_mut_obj_add_strcpy(l->doc, o, "name", name);
	yyjson_mut_obj_add_bool(l->doc, o, "configured", file != NULL);
	if (file) {
		json_add_path(l->doc, o, "file", file);
		yyjson_mut_obj_add_int(l->doc, o, "line", line);
	}
	yyjson_mut_obj_add_str(l->doc, o, "phase",
			       host_phase_names[hh ? hh->phase : HOST_DISCONNECTED]);
	if (json_int(record, "lastConnectedMs", 0) > 0)
		yyjson_mut_obj_add_int(l->doc, o, "lastConnectedMs",
				       json_int(record, "lastConnectedMs", 0));
	v = json_get(record, "platform");
	if (yyjson_is_obj(v))
		yyjson_mut_obj_add_val(l->doc, o, "platform", yyjson_val_mut_copy(l->doc, v));
	v = json_get(record, "folders");
	if (yyjson_is_arr(v))
		yyjson_mut_obj_add_val(l->doc, o, "folders", yyjson_val_mut_copy(l->doc, v));
	else
		yyjson_mut_obj_add_arr(l->doc, o, "folders");
	return strv_add(&l->told, name);
}

static int on_configured(void *ctx, const char *name, const char *file, int line)
{
	return tell(ctx, name, file, line);
}

static int on_file(void *ctx, const char *file)
{
	struct listing *l = ctx;

	if (utf8_valid(bytes_str(file)))
		yyjson_mut_arr_add_strcpy(l->doc, l->files, file);
	return 0;
}

void m_host_known(struct call *k)
{
	const char *named = json_str(k->params, "configFile", NULL);
	char *file = named ? str_dup(named) : settings_config_file(k->h), path[TL_LIMIT_PATH];
	yyjson_doc *records = store_hosts(k->h);
	struct listing l = {.h = k->h, .records = yyjson_doc_get_root(records)};
	yyjson_val *key, *entry;
	yyjson_mut_val *root;
	struct tl_err e = {0};
	size_t i, n;
	int rc;

	l.doc = yyjson_mut_doc_new(NULL);
	root = yyjson_mut_obj(l.doc);
	yyjson_mut_doc_set_root(l.doc, root);
	l.hosts = yyjson_mut_obj_add_arr(l.doc, root, "hosts");
	l.files = yyjson_mut_obj_add_arr(l.doc, root, "files");
	rc = config_path(file, path, sizeof(path), &e);
	rc = rc ? rc : config_scan_hosts(file, on_configured, on_file, &l, &e);
	/* the first host makes the file */
	rc = rc == TL_E_NOENT ? 0 : rc;
	LIST_FOREACH (it, &k->h->hosts)
		rc = rc ? rc : tell(&l, list_entry(it, struct hub_host, node)->name, NULL, 0);
	yyjson_obj_foreach(l.records, i, n, key, entry)
	{
		(void)entry;
		rc = rc ? rc : tell(&l, yyjson_get_str(key), NULL, 0);
	}
	if (rc) {
		client_reply_err(k->c, k->id, &e);
		yyjson_mut_doc_free(l.doc);
	} else {
		json_add_path(l.doc, root, "configFile", path);
		client_reply(k->c, k->id, l.doc);
	}
	strv_fini(&l.told);
	yyjson_doc_free(records);
	free(file);
}
