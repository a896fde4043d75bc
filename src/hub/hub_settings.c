/* hub_settings.c - the user's settings, where the daemon must act without a window. Read when they
 * are needed: the file is small and nobody has to be told of changes. */
#include "hub/hub_forward.h"

#include <fnmatch.h>
#include <stdlib.h>

#include "base/log.h"
#include "dial/config_scan.h"
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

char *settings_config_file(struct hub *h)
{
	yyjson_doc *doc = settings_read(h);
	const char *file = json_str(yyjson_doc_get_root(doc), "remote.SSH.configFile", "");
	char path[TL_LIMIT_PATH];
	char *out =
	    *file && config_path(file, path, sizeof(path), NULL) == 0 ? str_dup(path) : NULL;

	yyjson_doc_free(doc);
	return out;
}

/* A key of the map: a host, or a pattern as in the ssh configuration; also without user@. */
static bool host_matches(const char *pattern, const char *host)
{
	const char *at = strrchr(host, '@');

	return fnmatch(pattern, host, 0) == 0 || (at && fnmatch(pattern, at + 1, 0) == 0);
}

int settings_install_path(struct hub *h, const char *host, char **ret, struct tl_err *err)
{
	yyjson_doc *doc = settings_read(h);
	yyjson_val *map = settings_get(doc, "remote.SSH.serverInstallPath"), *key, *path;
	size_t i, n;
	int rc = 0;

	*ret = NULL;
	if (map && !yyjson_is_obj(map) && !yyjson_is_null(map))
		rc = err_set(err, TL_E_INVAL,
			     "connect to %.200s: remote.SSH.serverInstallPath in your settings is "
			     "not a map such as {\"%.200s\": \"~/.local/towline\"}",
			     host, host);
	/* arrays and strings have no members: the loop then does nothing */
	yyjson_obj_foreach(map, i, n, key, path)
	{
		if (rc || *ret || !host_matches(yyjson_get_str(key), host))
			continue;
		if (!yyjson_is_str(path))
			rc = err_set(err, TL_E_INVAL,
				     "connect to %.200s: remote.SSH.serverInstallPath in your "
				     "settings has no path for \"%.200s\": write one as a text",
				     host, yyjson_get_str(key));
		else if (*yyjson_get_str(path) && !(*ret = str_dup(yyjson_get_str(path))))
			rc = err_set(err, TL_E_NOMEM, "connect to %.200s", host);
		else if (!*ret)
			break; /* empty: the usual place, also where a later pattern says more */
	}
	yyjson_doc_free(doc);
	return rc;
}
