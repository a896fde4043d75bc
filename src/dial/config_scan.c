/* config_scan.c - see config_scan.h. Only names; everything else is left to ssh itself. */
#include "dial/config_scan.h"

#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/buf.h"
#include "base/limits.h"
#include "base/str.h"
#include "dial/config_text.h"
#include "loop/fsx.h"

#define FILE_MAX_BYTES 1048576
#define NAMES_MAX      4096
#define DEPTH_MAX      16 /* as ssh */

struct reading {
	int (*on_host)(void *ctx, const char *name, const char *file, int line);
	int (*on_file)(void *ctx, const char *file);
	void *ctx;
	struct strv names;   /* told already */
	const char *keyword; /* or this one is looked for */
	bool found;
	char home[TL_LIMIT_PATH];
	const char *file;
	int depth, line;
};

static int add_name(struct reading *r, const char *name)
{
	int rc;

	if (!*name || strpbrk(name, "*?!") || *name == '-')
		return 0;
	for (size_t i = 0; i < r->names.n; i++)
		if (strcmp(r->names.v[i], name) == 0)
			return 0;
	if (r->names.n >= NAMES_MAX)
		return 0;
	rc = strv_add(&r->names, name);
	return rc ? rc : r->on_host(r->ctx, name, r->file, r->line);
}

static int read_config(struct reading *r, const char *path, bool must, struct tl_err *err);

static int read_included(struct reading *r, const char *pattern)
{
	char path[2 * TL_LIMIT_PATH];
	glob_t g;
	int rc = 0;

	if (str_starts(pattern, "~/"))
		snprintf(path, sizeof(path), "%s/%s", r->home, pattern + 2);
	else if (*pattern != '/')
		snprintf(path, sizeof(path), "%s/.ssh/%s", r->home, pattern);
	else
		snprintf(path, sizeof(path), "%s", pattern);
	if (r->depth >= DEPTH_MAX || glob(path, 0, NULL, &g) != 0)
		return 0;
	for (size_t i = 0; i < g.gl_pathc && !rc; i++)
		rc = read_config(r, g.gl_pathv[i], false, NULL);
	globfree(&g);
	return rc;
}

static int read_line(struct reading *r, const char *line)
{
	char *word = malloc(TL_LIMIT_PATH);
	bool host, include;
	int rc = word ? 0 : TL_E_NOMEM;

	if (!word || !config_word(&line, word, true))
		goto out;
	host = r->on_host && strcasecmp(word, "Host") == 0;
	r->found = r->found || (r->keyword && strcasecmp(word, r->keyword) == 0);
	include = strcasecmp(word, "Include") == 0;
	while (!rc && (host || include) && config_word(&line, word, false))
		rc = host ? add_name(r, word) : read_included(r, word);
out:
	free(word);
	return rc;
}

/* A file that cannot be read is an error only where the user named it: ssh skips the others, too.
 */
static int read_config(struct reading *r, const char *path, bool must, struct tl_err *err)
{
	struct buf b;
	const char *outer = r->file;
	int outer_line = r->line, rc;
	size_t at = 0;

	buf_init(&b, FILE_MAX_BYTES);
	rc = fs_read(path, &b, err);
	if (rc)
		rc = must || rc == TL_E_NOMEM ? rc : 0;
	else if (r->on_file)
		rc = r->on_file(r->ctx, path);
	r->depth++;
	r->file = path;
	r->line = 0;
	while (at < b.len && !rc) {
		char *line = config_line(buf_data(&b), at, &at);
		r->line++;
		rc = line ? read_line(r, line) : TL_E_NOMEM;
		free(line);
	}
	r->depth--;
	r->file = outer;
	r->line = outer_line;
	buf_fini(&b);
	return rc;
}

int config_path(const char *config_file, char *out, size_t n, struct tl_err *err)
{
	bool home = !config_file || str_starts(config_file, "~/");
	char dir[TL_LIMIT_PATH];
	int rc = home ? home_dir(dir, sizeof(dir)) : 0, len;

	if (rc)
		return err_set(err, rc, "cannot find the ssh configuration: HOME is not set");
	len = home ? snprintf(out, n, "%s/%s", dir, config_file ? config_file + 2 : ".ssh/config")
		   : snprintf(out, n, "%s", config_file);
	return len >= 0 && (size_t)len < n
		   ? 0
		   : err_set(err, TL_E_LIMIT, "the path %.60s… is too long", out);
}

int config_scan_hosts(const char *config_file,
		      int (*on_host)(void *ctx, const char *name, const char *file, int line),
		      int (*on_file)(void *ctx, const char *file), void *ctx, struct tl_err *err)
{
	struct reading *r = calloc(1, sizeof(*r));
	char path[TL_LIMIT_PATH + 16];
	int rc = TL_E_NOMEM;

	if (!r)
		goto out;
	r->on_host = on_host;
	r->on_file = on_file;
	r->ctx = ctx;
	rc = home_dir(r->home, sizeof(r->home));
	if (rc && !config_file)
		goto out;
	rc = config_path(config_file, path, sizeof(path), err);
	rc = rc ? rc : read_config(r, path, config_file != NULL, err);
out:
	if (rc && err && !err->code)
		err_set(err, rc, "cannot list the hosts of the ssh configuration: %s",
			err_row(rc)->what);
	if (r)
		strv_fini(&r->names);
	free(r);
	return rc;
}

bool config_has(const char *config_file, const char *keyword)
{
	struct reading *r = calloc(1, sizeof(*r));
	char path[TL_LIMIT_PATH + 16];
	bool found = true;

	if (r && home_dir(r->home, sizeof(r->home)) == 0 &&
	    config_path(config_file, path, sizeof(path), NULL) == 0) {
		r->keyword = keyword;
		found = read_config(r, path, false, NULL) != 0;
		if (!config_file && !found)
			found = read_config(r, "/etc/ssh/ssh_config", false, NULL) != 0;
		found = found || r->found;
	}
	free(r);
	return found;
}
