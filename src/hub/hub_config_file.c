/* hub_config_file.c - the files of the ssh configuration as texts, for an editor: read, and written
 * back when nobody else changed them meanwhile. Only the files that belong to the configuration:
 * the one in force, what it includes, and /etc/ssh/ssh_config. */
#include "hub/hub_priv.h"

#include <stdlib.h>
#include <sys/stat.h>

#include "dial/config_edit.h"
#include "dial/config_scan.h"
#include "loop/fsx.h"

#define SYSTEM_CONFIG "/etc/ssh/ssh_config"

static int no_host(void *ctx, const char *name, const char *file, int line)
{
	(void)ctx, (void)name, (void)file, (void)line;
	return 0;
}

/* One file of the configuration is the one that is looked for: ends the scan. */
static int is_file(void *ctx, const char *file)
{
	return strcmp(ctx, file) == 0 ? TL_E_EXIST : 0;
}

/* The file that is meant, malloc'ed; NULL where it is none of the configuration's. */
static char *file_wanted(struct call *k, struct tl_err *err)
{
	const char *named = json_str(k->params, "file", NULL);
	char *set = settings_config_file(k->h), path[TL_LIMIT_PATH], *out = NULL;
	struct tl_err ignored = {0};

	if (config_path(set, path, sizeof(path), err) == 0) {
		if (!named || strcmp(named, path) == 0)
			out = str_dup(path);
		else if (strcmp(named, SYSTEM_CONFIG) == 0 ||
			 config_scan_hosts(path, no_host, is_file, (void *)named, &ignored) ==
			     TL_E_EXIST)
			out = str_dup(named);
		else
			err_set(err, TL_E_INVAL, "%.200s is not a file of the ssh configuration",
				named);
	}
	free(set);
	return out;
}

void m_config_read(struct call *k)
{
	yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *o = yyjson_mut_obj(doc);
	struct tl_err e = {0};
	char *file = file_wanted(k, &e);
	struct stat st = {0};
	struct buf text;
	int rc = file ? 0 : e.code;

	yyjson_mut_doc_set_root(doc, o);
	buf_init(&text, CONFIG_FILE_MAX);
	/* the first host, or the first save, makes the file */
	if (rc == 0 && stat(file, &st) == 0)
		rc = fs_read(file, &text, &e);
	if (rc == 0 && (!utf8_valid(buf_data(&text)) || memchr(buf_data(&text).p, 0, text.len)))
		rc = err_set(&e, TL_E_INVAL, "open %s: it is no text in UTF-8", file);
	if (rc == 0) {
		json_add_path(doc, o, "file", file);
		yyjson_mut_obj_add_strncpy(doc, o, "text", (const char *)buf_data(&text).p,
					   text.len);
		yyjson_mut_obj_add_bool(doc, o, "exists", st.st_mode != 0);
		yyjson_mut_obj_add_uint(doc, o, "mtime",
					(uint64_t)st.st_mtim.tv_sec * 1000 +
					    (uint64_t)st.st_mtim.tv_nsec / 1000000);
		client_reply(k->c, k->id, doc);
	} else {
		client_reply_err(k->c, k->id, &e);
		yyjson_mut_doc_free(doc);
	}
	buf_fini(&text);
	free(file);
}

struct rewrite {
	const char *file, *was, *text;
};

static int put_text(void *ctx, struct tl_bytes text, struct buf *out, struct tl_err *err)
{
	const struct rewrite *w = ctx;

	if (text.n != strlen(w->was) || memcmp(text.p, w->was, text.n) != 0)
		return err_set(err, TL_E_CONFLICT, "save %s: it changed since it was read",
			       w->file);
	if (buf_put_str(out, w->text) != 0)
		return err_set(err, TL_E_LIMIT, "save %s: it is too long", w->file);
	return 0;
}

void m_config_write(struct call *k)
{
	struct rewrite w = {.was = json_str(k->params, "was", NULL),
			    .text = json_str(k->params, "text", NULL)};
	struct tl_err e = {0};
	char *file = file_wanted(k, &e);
	int rc = file ? 0 : e.code;

	w.file = file;
	if (rc == 0 && (!w.was || !w.text))
		rc = err_set(&e, TL_E_INVAL,
			     "config/write needs the new text, and the one it is "
			     "made from");
	rc = rc ? rc : config_file_edit(file, put_text, &w, &e);
	if (rc)
		client_reply_err(k->c, k->id, &e);
	else
		client_reply(k->c, k->id, NULL);
	free(file);
}
