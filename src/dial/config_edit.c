/* config_edit.c - see config_edit.h. */
#include "dial/config_edit.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/limits.h"
#include "dial/config_text.h"
#include "loop/fsx.h"
#include "loop/io.h"
#include "loop/loop.h"

#define INDENT     "    "
#define READ_TRIES 5

int config_name_check(const char *name, struct tl_err *err)
{
	bool bad = !*name || *name == '-' || strlen(name) >= TL_LIMIT_HOST_NAME;

	for (const char *c = name; *c && !bad; c++)
		bad = (unsigned char)*c <= ' ' || *c == 0x7f || strchr("\"'\\#*?!,=", *c);
	return bad ? err_set(
			 err, TL_E_INVAL,
			 "“%.100s” cannot be the name of a host: it may hold no spaces, quotes, "
			 "wildcards or commas, and not begin with a dash",
			 name)
		   : 0;
}

int config_block(struct buf *out, const char *name, const struct ssh_command *c, struct tl_err *err)
{
	int rc = buf_printf(out, "Host %s\n", name);

	for (size_t i = 0; i < c->keys.n && rc == 0; i++)
		rc = buf_printf(out, INDENT "%s %s\n", c->keys.v[i], c->values.v[i]);
	return rc ? err_set(err, rc, "cannot write the host: %s", err_row(rc)->what) : 0;
}

/* ---- putting in ---- */

static bool is_crlf(struct tl_bytes text)
{
	const uint8_t *lf = text.n ? memchr(text.p, '\n', text.n) : NULL;

	return lf && lf > text.p && lf[-1] == '\r';
}

static int put_lines(struct buf *out, struct tl_bytes lines, bool crlf)
{
	int rc = 0;

	for (size_t i = 0; i < lines.n && rc == 0; i++) {
		if (lines.p[i] == '\n' && crlf)
			rc = buf_put_u8(out, '\r');
		rc = rc ? rc : buf_put_u8(out, lines.p[i]);
	}
	return rc;
}

/* The start of the line that ends just before at. */
static size_t line_before(struct tl_bytes text, size_t at)
{
	size_t start = at - 1;

	while (start > 0 && text.p[start - 1] != '\n')
		start--;
	return start;
}

static bool is_comment(struct tl_bytes text, size_t start)
{
	while (start < text.n && (text.p[start] == ' ' || text.p[start] == '\t'))
		start++;
	return start < text.n && text.p[start] == '#';
}

/* The first section that would have its word before ours; the comment directly above it is its. */
static size_t place_for(struct tl_bytes text, const char *name)
{
	struct config_section s;
	size_t at = 0;

	while (config_next_section(text, &at, &s)) {
		size_t start = s.start;
		if (!s.match &&
		    !config_host_fits(bytes_of(text.p + s.start, s.head_end - s.start), name))
			continue;
		while (start > 0 && is_comment(text, line_before(text, start)))
			start = line_before(text, start);
		return start;
	}
	return text.n;
}

int config_insert(struct tl_bytes text, const char *name, struct tl_bytes block, struct buf *out,
		  int *ret_line)
{
	size_t at = place_for(text, name);
	bool crlf = is_crlf(text), end = at == text.n;
	int rc = buf_put(out, text.p, at);

	if (rc == 0 && at > 0 && text.p[at - 1] != '\n')
		rc = put_lines(out, bytes_str("\n"), crlf);
	if (rc == 0 && at > 0 && end)
		rc = put_lines(out, bytes_str("\n"), crlf);
	*ret_line = 1;
	for (size_t i = 0; rc == 0 && i < out->len; i++)
		*ret_line += buf_data(out).p[i] == '\n';
	rc = rc ? rc : put_lines(out, block, crlf);
	if (rc == 0 && !end)
		rc = put_lines(out, bytes_str("\n"), crlf);
	return rc ? rc : buf_put(out, text.p + at, text.n - at);
}

/* ---- taking out ---- */

static bool is_blank(struct tl_bytes text, size_t start, size_t *ret_next)
{
	size_t i = start;

	while (i < text.n && strchr(" \t\r\f", text.p[i]))
		i++;
	*ret_next = i < text.n && text.p[i] == '\n' ? i + 1 : i;
	return i < text.n ? text.p[i] == '\n' : i > start;
}

/* One empty line goes with the block: the one that parted it from what follows, or at the end of
 * the file from what was before. */
static void widen(struct tl_bytes text, size_t *start, size_t *end)
{
	size_t next, before;

	if (*end < text.n && is_blank(text, *end, &next)) {
		*end = next;
	} else if (*end == text.n && *start > 0) {
		before = line_before(text, *start);
		if (is_blank(text, before, &next))
			*start = before;
	}
}

/* The Host line without one of its words. */
static int put_other_names(struct buf *out, struct tl_bytes line, const char *name)
{
	char *text = str_ndup(line.p, line.n), *word = malloc(TL_LIMIT_PATH);
	const char *at = text, *from;
	int rc = text && word ? 0 : TL_E_NOMEM;

	if (rc == 0 && config_word(&at, word, true))
		rc = buf_put(out, text, (size_t)(at - text));
	while (rc == 0 && (from = at, config_word(&at, word, false)))
		if (strcmp(word, name) != 0)
			rc = buf_put(out, from, (size_t)(at - from));
	/* a comment and the line end */
	rc = rc ? rc : buf_put_str(out, from);
	free(text);
	free(word);
	return rc;
}

int config_remove(struct tl_bytes text, const char *name, struct buf *out, struct buf *ret_block,
		  bool *ret_shared)
{
	struct config_section s;
	size_t at = 0, words, start, end;
	int rc;

	while (config_next_section(text, &at, &s)) {
		struct tl_bytes head = bytes_of(text.p + s.start, s.head_end - s.start);
		if (s.match || !config_host_names(head, name, &words))
			continue;
		*ret_shared = words > 1;
		start = s.start;
		end = *ret_shared ? s.head_end : s.end;
		rc = buf_put(ret_block, text.p + start, end - start);
		if (!*ret_shared)
			widen(text, &start, &end);
		rc = rc ? rc : buf_put(out, text.p, start);
		if (*ret_shared)
			rc = rc ? rc : put_other_names(out, head, name);
		return rc ? rc : buf_put(out, text.p + end, text.n - end);
	}
	return TL_E_NOENT;
}

/* ---- files ---- */

/* The new text beside the real file, then in its place. */
static int replace(const char *real, const struct stat *old, struct tl_bytes text,
		   struct tl_err *err)
{
	char tmp[PATH_MAX + 16], id[9];
	int fd, rc;

	random_id(id, 8);
	if ((size_t)snprintf(tmp, sizeof(tmp), "%s.%s", real, id) >= sizeof(tmp))
		return err_set(err, TL_E_LIMIT, "the path %.60s… is too long", real);
	fd = open(tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_sys(err, errno, "cannot change %s", real);
	rc = fd_write_all(fd, text.p, text.n, 10000);
	if (rc)
		err_set(err, rc, "cannot change %s: %s", real, err_row(rc)->what);
	if (!rc && old) {
		/* another owner's file, changed by root: it stays its owner's where that works */
		if ((old->st_uid != geteuid() || old->st_gid != getegid()) &&
		    fchown(fd, old->st_uid, old->st_gid) != 0 && old->st_uid != geteuid())
			rc = err_sys(err, errno, "cannot change %s and keep its owner", real);
		if (!rc && fchmod(fd, old->st_mode & 07777) != 0)
			rc = err_sys(err, errno, "cannot change %s and keep its mode", real);
	}
	if (!rc && fsync(fd) != 0)
		rc = err_sys(err, errno, "cannot change %s", real);
	if (close(fd) != 0 && !rc)
		rc = err_sys(err, errno, "cannot change %s", real);
	if (!rc && rename(tmp, real) != 0)
		rc = err_sys(err, errno, "cannot replace %s", real);
	if (rc)
		unlink(tmp);
	return rc;
}

/* Where path leads to, also where nothing is there yet. */
static int real_path(const char *path, char out[PATH_MAX], struct tl_err *err)
{
	char folder[TL_LIMIT_PATH];
	char *slash;

	if (realpath(path, out))
		return 0;
	if (errno != ENOENT)
		return err_sys(err, errno, "cannot open %s", path);
	if (path[0] != '/' || !str_copy(folder, sizeof(folder), path))
		return err_set(err, TL_E_INVAL, "%.200s is not an absolute path", path);
	slash = strrchr(folder, '/');
	*slash = 0;
	if (*folder && fs_mkdirs(folder, 0700, err) != 0)
		return err ? err->code : TL_E_IO;
	/* a link to nothing is not followed further: it would make a file somewhere else */
	return str_copy(out, PATH_MAX, path) ? 0 : TL_E_LIMIT;
}

static bool same_file(const struct stat *a, const struct stat *b)
{
	return a->st_ino == b->st_ino && a->st_dev == b->st_dev && a->st_size == b->st_size &&
	       a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

static int edit_once(const char *real,
		     int (*edit)(void *ctx, struct tl_bytes text, struct buf *out,
				 struct tl_err *err),
		     void *ctx, struct tl_err *err)
{
	struct stat before, now;
	bool there = stat(real, &before) == 0;
	struct buf in, out;
	int rc = 0;

	buf_init(&in, CONFIG_FILE_MAX);
	buf_init(&out, CONFIG_FILE_MAX);
	if (there && !S_ISREG(before.st_mode))
		rc = err_set(err, TL_E_INVAL, "%s is not a file", real);
	else if (there)
		rc = fs_read(real, &in, err);
	rc = rc ? rc : edit(ctx, buf_data(&in), &out, err);
	if (rc == 0 && there != (stat(real, &now) == 0))
		rc = TL_E_AGAIN;
	if (rc == 0 && there && !same_file(&before, &now))
		rc = TL_E_AGAIN;
	rc = rc ? rc : replace(real, there ? &before : NULL, buf_data(&out), err);
	buf_fini(&in);
	buf_fini(&out);
	return rc;
}

int config_file_edit(const char *path,
		     int (*edit)(void *ctx, struct tl_bytes text, struct buf *out,
				 struct tl_err *err),
		     void *ctx, struct tl_err *err)
{
	char real[PATH_MAX];
	int rc = real_path(path, real, err);

	if (rc)
		return rc;
	rc = TL_E_AGAIN;
	for (int i = 0; i < READ_TRIES && rc == TL_E_AGAIN; i++)
		rc = edit_once(real, edit, ctx, err);
	if (rc == TL_E_AGAIN)
		err_set(err, rc, "cannot change %s: somebody else changes it all the time", path);
	return rc;
}
