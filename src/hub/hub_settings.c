/* hub_settings.c - the user's settings, where the daemon must act without a window. Read when they
 * are needed: the file is small and nobody has to be told of changes. */
#include "hub/hub_forward.h"

#include <stdlib.h>

#include "base/log.h"
#include "loop/fsx.h"

#define SETTINGS_BYTES (1024 * 1024)

yyjson_doc *settings_read(struct hub *h)
{
	char *path = str_fmt("%s/User/settings.json", h->cfg.config_dir);
	yyjson_doc *doc = NULL;
	struct tl_err e = {0};
	struct buf b;

	buf_init(&b, SETTINGS_BYTES);
	if (path && fs_read(path, &b, &e) == 0 && b.len > 0) {
		doc = json_parse_relaxed(buf_data(&b), &e);
		if (!doc)
			log_warn("the settings in %s cannot be used: %s", path, e.text);
	}
	buf_fini(&b);
	free(path);
	return doc;
}

yyjson_val *settings_get(yyjson_doc *doc, const char *name)
{
	return json_get(yyjson_doc_get_root(doc), name);
}
