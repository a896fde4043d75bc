/* hub_settings.c - the user's settings, where the daemon must act without a window. Read when they
 * are needed: the file is small and nobody has to be told of changes. */
#include "hub/hub_forward.h"

#include <limits.h>
#include <stdlib.h>

#include "base/log.h"
#include "dial/install_path.h"
#include "dial/config_scan.h"
#include "loop/fsx.h"

#define CONNECT_MAX_S  3600
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

char *settings_ssh_path(struct hub *h)
{
	yyjson_doc *doc = settings_read(h);
	const char *ssh = json_str(yyjson_doc_get_root(doc), "remote.SSH.path", "");
	char path[TL_LIMIT_PATH];
	char *out = str_dup(
	    *ssh && config_path(ssh, path, sizeof(path), NULL) == 0 ? path : h->cfg.ssh_path);

	yyjson_doc_free(doc);
	return out;
}

int settings_reconnections(struct hub *h)
{
	yyjson_doc *doc = settings_read(h);
	int64_t n =
	    json_int(yyjson_doc_get_root(doc), "remote.SSH.maxReconnectionAttempts", INT_MAX);

	yyjson_doc_free(doc);
	return n >= 0 && n < INT_MAX ? (int)n : INT_MAX;
}

void settings_reach(struct hub_host *hh)
{
	yyjson_doc *doc = settings_read(hh->hub);
	yyjson_val *root = yyjson_doc_get_root(doc);
	const char *ssh = json_str(root, "remote.SSH.path", "");
	int64_t seconds = json_int(root, "remote.SSH.connectTimeout", 0);
	char path[TL_LIMIT_PATH];

	free(hh->set_config);
	free(hh->set_ssh);
	hh->set_config = settings_config_file(hh->hub);
	hh->set_ssh = NULL;
	if (*ssh && config_path(ssh, path, sizeof(path), NULL) == 0)
		hh->set_ssh = str_dup(path);
	if (seconds < 0 || seconds > CONNECT_MAX_S) {
		log_line(LOG_WARN, hh->name,
			 "remote.SSH.connectTimeout in your settings is not between 1 and %d "
			 "seconds: left out",
			 CONNECT_MAX_S);
		seconds = 0;
	}
	hh->set_connect_ms = (int)seconds * 1000;
	hh->no_agent = !json_bool(root, "remote.SSH.enableAgentForwarding", true);
	yyjson_doc_free(doc);
}

int settings_install_path(struct hub *h, const char *host, char **ret, struct tl_err *err)
{
	yyjson_doc *doc = settings_read(h);
	int rc = dial_install_path(yyjson_doc_get_root(doc), host, ret, err);

	yyjson_doc_free(doc);
	return rc;
}
