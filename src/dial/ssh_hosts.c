/* ssh_hosts.c - names for the host picker: what stands after Host in the ssh configuration and the
 * files it includes; and whether a keyword stands anywhere in it. Only names; everything else is
 * left to ssh itself. Blocking, small files. */
#include "dial/dial.h"

#include <ctype.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/buf.h"
#include "base/limits.h"
#include "base/str.h"
#include "loop/fsx.h"

#define FILE_MAX_BYTES 1048576
#define NAMES_MAX      4096
#define DEPTH_MAX      16 /* as ssh */

struct reading {
	struct strv *names; /* NULL: keyword is looked for */
	const char *keyword;
	bool found;
	char home[TL_LIMIT_PATH];
	int depth;
};

/* The next word of a line: quotes as ssh knows them, `=` after the keyword counts as a space. False
 * at the end or at a comment. */
static bool next_word(const char **at, char out[TL_LIMIT_PATH], bool keyword)
{
	const char *p = *at;
	size_t n = 0;
	bool quoted = false, any = false;

	while (isspace((unsigned char)*p) || (*p == '=' && !keyword))
		p++;
	if (*p == 0 || *p == '#')
		return false;
	for (; *p; p++) {
		if (*p == '"') {
			quoted = !quoted;
			any = true;
			continue;
		}
		if (!quoted && (isspace((unsigned char)*p) || (keyword && *p == '=')))
			break;
		if (n < TL_LIMIT_PATH - 1)
			out[n++] = *p;
	}
	out[n] = 0;
	*at = p;
	return n > 0 || any;
}

static int add_name(struct strv *names, const char *name)
{
	if (!*name || strpbrk(name, "*?!") || *name == '-')
		return 0;
	for (size_t i = 0; i < names->n; i++)
		if (strcmp(names->v[i], name) == 0)
			return 0;
	if (names->n >= NAMES_MAX)
		return 0;
	return strv_add(names, name);
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

	if (!word || !next_word(&line, word, true))
		goto out;
	host = r->names && strcasecmp(word, "Host") == 0;
	r->found = r->found || (r->keyword && strcasecmp(word, r->keyword) == 0);
	include = strcasecmp(word, "Include") == 0;
	while (!rc && (host || include) && next_word(&line, word, false))
		rc = host ? add_name(r->names, word) : read_included(r, word);
out:
	free(word);
	return rc;
}

/* A file that cannot be read is an error only where the user named it: ssh skips the others, too.
 */
static int read_config(struct reading *r, const char *path, bool must, struct tl_err *err)
{
	struct buf b;
	struct tl_bytes d;
	int rc;

	buf_init(&b, FILE_MAX_BYTES);
	rc = fs_read(path, &b, err);
	if (rc)
		rc = must || rc == TL_E_NOMEM ? rc : 0;
	r->depth++;
	d = buf_data(&b);
	while (d.n > 0 && !rc) {
		const uint8_t *lf = memchr(d.p, '\n', d.n);
		size_t n = lf ? (size_t)(lf - d.p) : d.n;
		char *line = str_ndup(d.p, n);
		rc = line ? read_line(r, line) : TL_E_NOMEM;
		free(line);
		d.p += lf ? n + 1 : n;
		d.n -= lf ? n + 1 : n;
	}
	r->depth--;
	buf_fini(&b);
	return rc;
}

int dial_configured_hosts(const char *config_file, struct strv *ret, struct tl_err *err)
{
	struct reading *r = calloc(1, sizeof(*r));
	char path[TL_LIMIT_PATH + 16];
	int rc = TL_E_NOMEM;

	if (!r)
		goto out;
	r->names = ret;
	rc = home_dir(r->home, sizeof(r->home));
	if (rc && !config_file)
		goto out;
	snprintf(path, sizeof(path), "%s/.ssh/config", r->home);
	rc = read_config(r, config_file ? config_file : path, config_file != NULL, err);
out:
	if (rc && err && !err->code)
		err_set(err, rc, "cannot list the hosts of the ssh configuration: %s",
			err_row(rc)->what);
	free(r);
	return rc;
}

bool dial_config_has(const char *config_file, const char *keyword)
{
	struct reading *r = calloc(1, sizeof(*r));
	char path[TL_LIMIT_PATH + 16];
	bool found = true;

	if (r && home_dir(r->home, sizeof(r->home)) == 0) {
		r->keyword = keyword;
		snprintf(path, sizeof(path), "%s/.ssh/config", r->home);
		found = read_config(r, config_file ? config_file : path, false, NULL) != 0;
		if (!config_file && !found)
			found = read_config(r, "/etc/ssh/ssh_config", false, NULL) != 0;
		found = found || r->found;
	}
	free(r);
	return found;
}
