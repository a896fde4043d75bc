/* sftp_plain_tree.c - patterns and whole trees of an SFTP server that is not ours: folder by
 * folder, as records that our own server would send. Nothing that it says leads elsewhere: names
 * are single components, depth is bounded, and a followed link that leads back is refused. */
#include <fnmatch.h>
#include <sha2.h>
#include <stdlib.h>
#include <string.h>

#include "api/sftp_plain.h"
#include "api/sftp_priv.h"
#include "base/limits.h"
#include "base/str.h"

#define DEPTH_MAX   200
#define ENTRIES_MAX 1000000

/* ------------------------------------------------ a folder */

struct entry {
	char *name;
	struct sftp_attrs a;
};

struct entries {
	struct entry *v;
	size_t n, cap;
};

static void entries_fini(struct entries *e)
{
	for (size_t i = 0; i < e->n; i++)
		free(e->v[i].name);
	free(e->v);
}

static int entry_add(struct entries *e, const char *name, const struct sftp_attrs *a)
{
	if (e->n == ENTRIES_MAX)
		return TL_E_LIMIT;
	if (e->n == e->cap) {
		size_t cap = e->cap ? 2 * e->cap : 64;
		struct entry *v = realloc(e->v, cap * sizeof(*v));
		if (!v)
			return TL_E_NOMEM;
		e->v = v;
		e->cap = cap;
	}
	e->v[e->n].name = str_dup(name);
	e->v[e->n].a = *a;
	return e->v[e->n].name ? (e->n++, 0) : TL_E_NOMEM;
}

static int take_names(struct sftp_pending *p, struct sftp_reader *r, bool more, struct tl_err *err)
{
	char name[SFTP_NAME_BYTES];
	struct sftp_attrs a;
	uint32_t n = sftp_get_u32(r);
	int rc = 0;

	(void)more;
	for (; n && !rc; n--) {
		/* a name with a slash is none of this folder */
		bool ok = sftp_entry_name(r, name);
		sftp_get_string(r);
		sftp_get_attrs(r, &a);
		if (r->bad || !ok)
			return err_set(err, TL_E_PROTO, "the host's answer makes no sense");
		if (strcmp(name, ".") != 0 && strcmp(name, "..") != 0)
			rc = entry_add(p->out, name, &a);
	}
	return rc ? err_set(err, rc, "cannot list a folder: %s", err_row(rc)->what) : 0;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct entry *)a)->name, ((const struct entry *)b)->name);
}

static int read_folder(struct sftp_client *c, const char *path, struct entries *ret,
		       struct tl_err *err)
{
	struct plain_handle h;
	bool end = false;
	int rc = plain_handle_open(c, path, 0, 0, &h, err);

	if (rc)
		return rc;
	while (!rc && !end) {
		struct sftp_call call = sftp_call_begin(c, SFTP_READDIR, NULL, SFTP_NAME);
		sftp_call_bytes(&call, bytes_of(h.p, h.n));
		if (call.p) {
			call.p->take = take_names;
			call.p->out = ret;
			call.p->at_end = &end;
		}
		rc = sftp_call_wait(&call, err);
	}
	if (!sftp_client_is_broken(c))
		plain_handle_close(c, &h, NULL);
	if (ret->n)
		qsort(ret->v, ret->n, sizeof(*ret->v), by_name);
	return rc;
}

static char *join(const char *folder, const char *name)
{
	if (!*folder || strcmp(folder, ".") == 0)
		return str_dup(name);
	return str_fmt("%s%s%s", folder, str_ends(folder, "/") ? "" : "/", name);
}

/* ------------------------------------------------ patterns */

struct globbing {
	struct sftp_client *c;
	sftp_client_name *fn;
	void *ctx;
	size_t found;
};

static bool is_pattern(const char *s)
{
	return strpbrk(s, "*?[") != NULL;
}

/* below: what is known already; rest: components still to be found. */
static int glob_at(struct globbing *g, const char *below, const char *rest, int depth,
		   struct tl_err *err)
{
	size_t n = strcspn(rest, "/"), more = n + strspn(rest + n, "/");
	char *part = str_ndup(rest, n), *path = NULL;
	struct entries all = {0};
	struct sftp_attrs a;
	int rc = 0;

	if (!part || depth > DEPTH_MAX) {
		free(part);
		return err_set(err, part ? TL_E_LIMIT : TL_E_NOMEM, "cannot expand a pattern");
	}
	if (!is_pattern(part)) {
		path = join(below, part);
		if (!path)
			rc = err_set(err, TL_E_NOMEM, "cannot expand a pattern: out of memory");
		else if (rest[more])
			rc = glob_at(g, path, rest + more, depth + 1, err);
		else if (plain_attrs(g->c, path, false, &a, err) == 0)
			rc = (g->found++, g->fn(g->ctx, path, err));
		else if (sftp_client_is_broken(g->c))
			rc = err->code;
		goto out;
	}
	if (read_folder(g->c, *below ? below : ".", &all, err) != 0)
		rc = sftp_client_is_broken(g->c) ? err->code : 0;
	for (size_t i = 0; i < all.n && !rc; i++) {
		if (fnmatch(part, all.v[i].name, FNM_PERIOD) != 0)
			continue;
		free(path);
		path = join(below, all.v[i].name);
		if (!path)
			rc = err_set(err, TL_E_NOMEM, "cannot expand a pattern: out of memory");
		else if (rest[more])
			rc = glob_at(g, path, rest + more, depth + 1, err);
		else
			rc = (g->found++, g->fn(g->ctx, path, err));
	}
out:
	entries_fini(&all);
	free(path);
	free(part);
	return rc;
}

int sftp_plain_glob(struct sftp_client *c, const char *pattern, sftp_client_name *fn, void *ctx,
		    struct tl_err *err)
{
	struct globbing g = {.c = c, .fn = fn, .ctx = ctx};
	struct tl_err why = {0};
	const char *rest = pattern;
	struct sftp_attrs a;
	int rc;

	if (str_starts(rest, "~/"))
		rest += 2 + strspn(rest + 2, "/");
	else if (strcmp(rest, "~") == 0)
		rest = "";
	else if (*rest == '~' && plain_attrs(c, rest, false, &a, NULL) != 0)
		return sftp_plain_unsupported("another user's ~", err);
	/* as it stands first: names with stars exist */
	if (!*rest || strspn(rest, "/") == strlen(rest))
		return fn(ctx, *rest ? "/" : ".", err);
	rc = glob_at(&g, *rest == '/' ? "/" : "", rest + strspn(rest, "/"), 0, &why);
	if (rc) {
		*err = why;
		return rc;
	}
	if (!g.found && is_pattern(rest) && plain_attrs(c, rest, false, &a, NULL) == 0)
		rc = (g.found++, fn(ctx, rest, err));
	if (!g.found && !rc)
		rc = err_set(
		    err, why.code == TL_E_ACCES ? TL_E_ACCES : TL_E_NOENT, "%s: %s", pattern,
		    why.code == TL_E_ACCES ? "permission denied" : "no such file or folder");
	return rc;
}

/* ------------------------------------------------ trees */

struct walk {
	struct sftp_client *c;
	sftp_client_record *fn;
	void *ctx;
	uint32_t flags;
	SHA2_CTX sum;
};

static int emit(struct walk *w, uint8_t kind, const char *name, const struct sftp_attrs *a,
		struct tl_err *err)
{
	struct sftp_record r = {.kind = kind, .name = name, .target = "", .data = bytes_of("", 0)};

	if (a) {
		r.mode = a->mode & 07777;
		r.mtime_ns = (uint64_t)a->mtime * 1000000000u;
		r.size = a->size;
	}
	return w->fn(w->ctx, &r, err);
}

static int emit_problem(struct walk *w, uint8_t kind, const char *name, int code, const char *text,
			struct tl_err *err)
{
	struct sftp_record r = {.kind = kind, .name = name, .target = "", .data = bytes_of("", 0)};

	err_set(&r.problem, code, "%s", text);
	return w->fn(w->ctx, &r, err);
}

struct content {
	struct walk *w;
	int rc; /* of the receiver: ends everything */
};

static int take_content(void *ctx, struct tl_bytes b, struct tl_err *err)
{
	struct content *t = ctx;
	struct sftp_record r = {.kind = SFTP_TREE_DATA, .name = "", .target = "", .data = b};

	if (t->w->flags & SFTP_TREE_DIGEST)
		SHA256Update(&t->w->sum, b.p, b.n);
	t->rc = t->w->fn(t->w->ctx, &r, err);
	return t->rc;
}

static int walk_file(struct walk *w, const char *path, const char *name, const struct sftp_attrs *a,
		     struct tl_err *err)
{
	struct sftp_record r = {.kind = SFTP_TREE_END, .name = "", .target = ""};
	uint8_t sum[SHA256_DIGEST_LENGTH];
	struct content t = {.w = w};
	struct tl_err why = {0};
	int rc = emit(w, SFTP_TREE_FILE, name, a, err);

	if (rc)
		return rc;
	SHA256Init(&w->sum);
	rc = sftp_plain_read(w->c, path, 0, 0, take_content, &t, &why);
	if (t.rc || (rc && sftp_client_is_broken(w->c))) {
		*err = why;
		return rc;
	}
	SHA256Final(sum, &w->sum);
	if (rc)
		err_set(&r.problem, rc, "%s", why.text);
	r.data = bytes_of(sum, w->flags & SFTP_TREE_DIGEST ? sizeof(sum) : 0);
	return w->fn(w->ctx, &r, err);
}

static int walk_link(struct walk *w, const char *path, const char *name, const struct sftp_attrs *a,
		     struct tl_err *err)
{
	struct sftp_record r = {.kind = SFTP_TREE_LINK,
				.name = name,
				.mtime_ns = (uint64_t)a->mtime * 1000000000u,
				.data = bytes_of("", 0)};
	char target[SFTP_NAME_BYTES];
	struct tl_err why = {0};

	if (sftp_client_readlink(w->c, path, target, sizeof(target), &why) != 0)
		return emit_problem(w, SFTP_TREE_PROBLEM, name, why.code, why.text, err);
	r.target = target;
	return w->fn(w->ctx, &r, err);
}

/* Does a followed link lead to the folder it is in, or one above? */
static bool leads_back(struct sftp_client *c, const char *path)
{
	char here[SFTP_NAME_BYTES], there[SFTP_NAME_BYTES];
	char *up = str_dup(path), *slash = up ? strrchr(up, '/') : NULL;
	size_t n;
	bool yes = true;

	if (slash)
		*slash = 0;
	if (up &&
	    sftp_client_realpath(c, slash ? (*up ? up : "/") : ".", here, sizeof(here)) == 0 &&
	    sftp_client_realpath(c, path, there, sizeof(there)) == 0) {
		n = strlen(there);
		yes = strncmp(here, there, n) == 0 && (!here[n] || here[n] == '/' || n == 1);
	}
	free(up);
	return yes;
}

static int walk_entry(struct walk *w, const char *path, const char *name, struct sftp_attrs *a,
		      int depth, struct tl_err *err);

static int walk_folder(struct walk *w, const char *path, const char *name,
		       const struct sftp_attrs *a, int depth, struct tl_err *err)
{
	struct entries all = {0};
	struct tl_err why = {0};
	int rc = emit(w, SFTP_TREE_FOLDER, name, a, err);

	if (rc)
		return rc;
	rc = read_folder(w->c, path, &all, &why);
	if (rc && sftp_client_is_broken(w->c))
		*err = why;
	else if (rc)
		rc = emit_problem(w, SFTP_TREE_PROBLEM, "", why.code, why.text, err);
	for (size_t i = 0; i < all.n && !rc; i++) {
		char *below = join(path, all.v[i].name);
		rc = below ? walk_entry(w, below, all.v[i].name, &all.v[i].a, depth + 1, err)
			   : err_set(err, TL_E_NOMEM, "out of memory");
		free(below);
	}
	entries_fini(&all);
	return rc ? rc : emit(w, SFTP_TREE_UP, "", NULL, err);
}

static int walk_entry(struct walk *w, const char *path, const char *name, struct sftp_attrs *a,
		      int depth, struct tl_err *err)
{
	struct tl_err why = {0};
	bool was_link = plain_is_link(a);

	if (was_link && (w->flags & SFTP_TREE_FOLLOW)) {
		if (plain_attrs(w->c, path, true, a, &why) != 0)
			return sftp_client_is_broken(w->c)
				   ? (*err = why, why.code)
				   : emit_problem(w, SFTP_TREE_PROBLEM, name, why.code, why.text,
						  err);
		if (plain_is_folder(a) && leads_back(w->c, path))
			return emit_problem(w, SFTP_TREE_PROBLEM, name, TL_E_LIMIT,
					    "the link leads back to a folder that is being copied",
					    err);
	}
	if (depth >= DEPTH_MAX)
		return emit_problem(w, SFTP_TREE_PROBLEM, name, TL_E_LIMIT, "it is too deep", err);
	if (plain_is_folder(a))
		return walk_folder(w, path, name, a, depth, err);
	if (plain_is_link(a))
		return walk_link(w, path, name, a, err);
	if (plain_is_file(a))
		return walk_file(w, path, name, a, err);
	return emit_problem(w, SFTP_TREE_PROBLEM, name, TL_E_UNSUPPORTED, "it is no regular file",
			    err);
}

int sftp_plain_tree(struct sftp_client *c, const char *path, uint32_t flags, sftp_client_record *fn,
		    sftp_client_done *done, void *ctx, struct tl_err *err)
{
	struct walk w = {.c = c, .fn = fn, .ctx = ctx, .flags = flags};
	struct tl_err why = {0};
	struct sftp_attrs a;
	/* what is named is meant, not the link that bears the name */
	int rc = plain_attrs(c, path, true, &a, &why);

	if (!rc)
		rc = walk_entry(&w, path, "", &a, 0, &why);
	if (rc == TL_E_CANCELED && !sftp_client_is_broken(c))
		sftp_client_break(c, rc);
	done(ctx, rc, &why);
	if (!sftp_client_is_broken(c))
		return 0;
	*err = why;
	return rc;
}
