/* cmd_ls.c - towline ls: what is in a folder of a host. Owns the entries until they are printed. */
#include <stdlib.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>
#include <wchar.h>

#include "base/str.h"
#include "cmd/cmd_files.h"

const char *const cmd_ls_usage =
    "usage: towline ls [-l] [-a] [-1] [--json] HOST[:PATH]\n"
    "\n"
    "Shows what is in a folder of HOST (without PATH: the home folder), or one file.\n"
    "\n"
    "  -l, --long   mode, owner, group, size and time, too\n"
    "  -a, --all    names that begin with a dot, too\n"
    "  -1           one name in a line (as without a terminal)\n"
    "  --json       "
    "{\"host\",\"path\",\"entries\":[{\"name\",\"type\",\"size\",\"mtime\",\"mode\"}]}; mtime in "
    "ms\n"
    "\n"
    "examples:\n"
    "  towline ls build-server\n"
    "  towline ls -la build-server:/var/log\n"
    "\n"
    "exit status: 0; 20 no such folder; 21 permission denied; see towline(1).\n";

struct item {
	char *name;
	uint8_t type;
	uint64_t size, mtime_ms;
	uint32_t mode, uid, gid;
};

struct items {
	struct item *v;
	size_t n, cap;
	bool all;
};

struct options {
	bool lng, all, one;
};

static int collect(void *ctx, const struct sftp_entry_info *e, struct tl_err *err)
{
	struct items *l = ctx;

	if (e->name[0] == '.' && !l->all)
		return 0;
	if (l->n == l->cap) {
		size_t cap = l->cap ? l->cap * 2 : 64;
		struct item *v = realloc(l->v, cap * sizeof(*v));
		if (!v)
			return err_set(err, TL_E_NOMEM, "the folder has too many entries");
		l->v = v;
		l->cap = cap;
	}
	l->v[l->n] =
	    (struct item){str_dup(e->name), e->type, e->size, e->mtime_ms, e->mode, e->uid, e->gid};
	if (!l->v[l->n].name)
		return err_set(err, TL_E_NOMEM, "the folder has too many entries");
	l->n++;
	return 0;
}

static void items_fini(struct items *l)
{
	for (size_t i = 0; i < l->n; i++)
		free(l->v[i].name);
	free(l->v);
}

static int by_name(const void *a, const void *b)
{
	const struct item *x = a, *y = b;

	return strcoll(x->name, y->name);
}

/* ------------------------------------------------ names in columns */

/* Control characters of a file name must not reach the terminal. */
static void put_name(const char *name, bool tty)
{
	for (; *name; name++)
		putchar(tty && (unsigned char)*name < 32 ? '?' : *name);
}

static size_t width_of(const char *name)
{
	wchar_t wide[256];
	size_t n = mbstowcs(wide, name, sizeof(wide) / sizeof(wide[0]));
	int w = n == (size_t)-1 ? -1 : wcswidth(wide, n);

	return w < 0 ? strlen(name) : (size_t)w;
}

static void print_columns(const struct items *l, size_t width)
{
	size_t widest = 1, cols, rows;

	for (size_t i = 0; i < l->n; i++)
		if (width_of(l->v[i].name) > widest)
			widest = width_of(l->v[i].name);
	widest += 2;
	cols = width > widest ? width / widest : 1;
	rows = (l->n + cols - 1) / cols;
	for (size_t r = 0; r < rows; r++) {
		for (size_t i = r; i < l->n; i += rows) {
			put_name(l->v[i].name, true);
			if (i + rows < l->n)
				printf("%*s", (int)(widest - width_of(l->v[i].name)), "");
		}
		putchar('\n');
	}
}

static void print_names(const struct items *l, bool one)
{
	struct winsize ws;
	bool tty = isatty(STDOUT_FILENO);

	if (tty && !one && ioctl(STDOUT_FILENO, TIOCGWINSZ, &ws) == 0 && ws.ws_col) {
		print_columns(l, ws.ws_col);
		return;
	}
	for (size_t i = 0; i < l->n; i++) {
		put_name(l->v[i].name, tty);
		putchar('\n');
	}
}

/* ------------------------------------------------ long */

#define ID_NAMES 32

/* Names already asked for. */
struct id_name {
	bool known, group;
	uint32_t id;
	char name[40];
};

static const char *id_name(struct files *f, struct id_name *cache, bool group, uint32_t id)
{
	struct id_name *c = &cache[(id * 2 + group) % ID_NAMES];
	struct tl_err err;

	if (c->known && c->group == group && c->id == id)
		return c->name;
	*c = (struct id_name){.known = true, .group = group, .id = id};
	if (sftp_client_id_name(f->c, group, id, c->name, sizeof(c->name), &err) != 0 ||
	    !c->name[0])
		snprintf(c->name, sizeof(c->name), "%u", (unsigned)id);
	return c->name;
}

static void mode_text(uint32_t m, char out[11])
{
	static const struct {
		uint32_t type;
		char c;
	} types[] = {{0100000, '-'}, {0040000, 'd'}, {0120000, 'l'}, {0020000, 'c'},
		     {0060000, 'b'}, {0010000, 'p'}, {0140000, 's'}};
	static const struct {
		uint32_t bit;
		int at;
		char with, without;
	} special[] = {{04000, 3, 's', 'S'}, {02000, 6, 's', 'S'}, {01000, 9, 't', 'T'}};

	out[0] = '?';
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if ((m & 0170000) == types[i].type)
			out[0] = types[i].c;
	for (int i = 0; i < 9; i++)
		out[i + 1] = m & (0400u >> i) ? "rwxrwxrwx"[i] : '-';
	for (size_t i = 0; i < 3; i++)
		if (m & special[i].bit)
			out[special[i].at] =
			    out[special[i].at] == 'x' ? special[i].with : special[i].without;
	out[10] = 0;
}

static void date_text(uint64_t mtime_ms, char out[32])
{
	time_t t = (time_t)(mtime_ms / 1000), now = time(NULL);
	bool recent = t <= now && now - t < 365 * 24 * 3600 / 2;
	struct tm tm;

	out[0] = 0;
	if (localtime_r(&t, &tm))
		strftime(out, 32, recent ? "%b %e %H:%M" : "%b %e  %Y", &tm);
}

static void print_long(struct files *f, const char *folder, const struct items *l)
{
	struct id_name cache[ID_NAMES] = {0};
	int wide[3] = {1, 1, 1}, w;
	char mode[11], date[32], target[4097], number[24];
	bool tty = isatty(STDOUT_FILENO);
	struct tl_err err;

	for (size_t i = 0; i < l->n; i++) {
		w = (int)strlen(id_name(f, cache, false, l->v[i].uid));
		wide[0] = w > wide[0] ? w : wide[0];
		w = (int)strlen(id_name(f, cache, true, l->v[i].gid));
		wide[1] = w > wide[1] ? w : wide[1];
		w = snprintf(number, sizeof(number), "%llu", (unsigned long long)l->v[i].size);
		wide[2] = w > wide[2] ? w : wide[2];
	}
	for (size_t i = 0; i < l->n; i++) {
		const struct item *e = &l->v[i];
		mode_text(e->mode, mode);
		date_text(e->mtime_ms, date);
		printf("%s %-*s ", mode, wide[0], id_name(f, cache, false, e->uid));
		printf("%-*s %*llu %-12s ", wide[1], id_name(f, cache, true, e->gid), wide[2],
		       (unsigned long long)e->size, date);
		put_name(e->name, tty);
		char *path = mode[0] == 'l' ? transfer_join(folder, e->name) : NULL;
		if (path && sftp_client_readlink(f->c, e->name[0] == '/' ? e->name : path, target,
						 sizeof(target), &err) == 0) {
			fputs(" -> ", stdout);
			put_name(target, tty);
		}
		free(path);
		putchar('\n');
	}
}

/* ------------------------------------------------ JSON */

static void print_json(const char *host, const char *path, const struct items *l)
{
	static const char *const types[] = {[SFTP_ENTRY_FILE] = "file",
					    [SFTP_ENTRY_FOLDER] = "folder",
					    [SFTP_ENTRY_LINK_FILE] = "link",
					    [SFTP_ENTRY_LINK_FOLDER] = "link",
					    [SFTP_ENTRY_LINK_BROKEN] = "broken link",
					    [SFTP_ENTRY_OTHER] = "other"};
	yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *o = yyjson_mut_obj(doc), *list, *e;
	char *text;

	yyjson_mut_doc_set_root(doc, o);
	json_add_path(doc, o, "host", host);
	json_add_path(doc, o, "path", path);
	list = yyjson_mut_obj_add_arr(doc, o, "entries");
	for (size_t i = 0; i < l->n; i++) {
		const struct item *it = &l->v[i];
		bool known = it->type >= SFTP_ENTRY_FILE && it->type <= SFTP_ENTRY_OTHER;
		e = yyjson_mut_arr_add_obj(doc, list);
		json_add_path(doc, e, "name", it->name);
		yyjson_mut_obj_add_str(doc, e, "type", types[known ? it->type : SFTP_ENTRY_OTHER]);
		yyjson_mut_obj_add_uint(doc, e, "size", it->size);
		yyjson_mut_obj_add_uint(doc, e, "mtime", it->mtime_ms);
		yyjson_mut_obj_add_uint(doc, e, "mode", it->mode & 07777);
	}
	text = yyjson_mut_write(doc, 0, NULL);
	puts(text ? text : "{}");
	free(text);
	yyjson_mut_doc_free(doc);
}

/* ------------------------------------------------ the command */

/* The one file that the path names. */
static int one_item(struct files *f, const char *path, struct items *l, struct tl_err *err)
{
	struct sftp_attrs a;
	struct sftp_stat st;
	int rc = sftp_client_lstat(f->c, path, &a, err);

	if (!rc)
		rc = sftp_client_stat(f->c, path, &st, err);
	if (rc)
		return rc;
	struct sftp_entry_info e = {path,   st.type, a.size, (uint64_t)a.mtime * 1000,
				    a.mode, a.uid,   a.gid};
	l->all = true;
	return collect(l, &e, err);
}

static int list(struct files *f, const char *path, const struct options *o, struct items *l,
		struct tl_err *err)
{
	struct sftp_attrs a;
	struct tl_err other;
	int rc;

	/* ls -l of a link shows the link */
	if (o->lng && path[0] && !str_ends(path, "/") &&
	    sftp_client_lstat(f->c, path, &a, &other) == 0 && (a.mode & 0170000) == 0120000)
		return one_item(f, path, l, err);
	if (o->lng)
		rc = sftp_client_list_long(f->c, path, collect, l, err);
	else
		rc = sftp_client_list(f->c, path, o->all || f->g->json ? 0 : SFTP_LIST_NAMES,
				      collect, l, err);
	if (rc == TL_E_NOTDIR)
		rc = one_item(f, path, l, err);
	return rc;
}

int cmd_ls(int argc, char **argv, const struct cmd_globals *g)
{
	struct options o = {0};
	const struct files_flag flags[] = {{'l', "long", &o.lng},
					   {'a', "all", &o.all},
					   {'A', NULL, &o.all},
					   {'1', NULL, &o.one},
					   {0}};
	struct items l = {0};
	struct cmd_target t;
	struct tl_err err = {0};
	struct files f;
	char *path = NULL;
	int rc = files_args(g, &argc, argv, flags, 1, 1, "HOST");

	if (rc)
		return rc;
	rc = files_target(argv[1], &t, &err);
	if (rc)
		return cmd_fail(g, &err);
	l.all = o.all;
	o.lng = o.lng && !g->json;
	rc = files_open(&f, g, t.host, false, &err);
	if (!rc)
		rc = files_path(&f, t.path, &path, &err);
	if (!rc)
		rc = list(&f, path, &o, &l, &err);
	if (!rc && l.n)
		qsort(l.v, l.n, sizeof(l.v[0]), by_name);
	if (!rc && g->json)
		print_json(f.host, path, &l);
	else if (!rc && o.lng)
		print_long(&f, path, &l);
	else if (!rc)
		print_names(&l, o.one);
	free(path);
	items_fini(&l);
	cmd_target_fini(&t);
	return files_end(&f, rc, &err);
}
