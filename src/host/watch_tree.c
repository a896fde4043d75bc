/* watch_tree.c - the folders that inotify watches (see watch_state.h). Owns all nodes. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/inotify.h>
#include <sys/stat.h>

#include "base/err.h"
#include "host/watch_state.h"

#define MASK                                                                                       \
	(IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_MODIFY | IN_ATTRIB |             \
	 IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR | IN_EXCL_UNLINK)
#define FIRST_BUCKETS 64

/* ---- two hash tables over the same nodes ---- */

static size_t wd_bucket(const struct watcher *o, int wd)
{
	return (uint32_t)wd * 2654435761u >> 7 & (o->buckets - 1);
}

static size_t key_bucket(const struct watcher *o, const struct node *parent, const char *name)
{
	uint32_t h = (uint32_t)((uintptr_t)parent >> 4) * 2654435761u;
	for (; *name; name++)
		h = (h ^ (uint8_t)*name) * 16777619u;
	return h & (o->buckets - 1);
}

static void link_wd(struct watcher *o, struct node *n)
{
	struct node **head = &o->by_wd[wd_bucket(o, n->wd)];
	n->wd_next = *head;
	*head = n;
}

static void link_key(struct watcher *o, struct node *n)
{
	struct node **head = &o->by_key[key_bucket(o, n->parent, n->name)];
	n->key_next = *head;
	*head = n;
}

static void unlink_key(struct watcher *o, struct node *n)
{
	struct node **at = &o->by_key[key_bucket(o, n->parent, n->name)];
	while (*at && *at != n)
		at = &(*at)->key_next;
	if (*at)
		*at = n->key_next;
}

static bool tree_grow(struct watcher *o)
{
	size_t old = o->buckets, buckets = old ? old * 2 : FIRST_BUCKETS;
	if (o->nodes < old)
		return true;
	struct node **wds = calloc(buckets, sizeof(*wds)), **keys = calloc(buckets, sizeof(*keys));
	if (!wds || !keys) {
		free(wds);
		free(keys);
		return old > 0; /* longer chains, no worse */
	}
	struct node **old_wds = o->by_wd, **old_keys = o->by_key;
	o->by_wd = wds;
	o->by_key = keys;
	o->buckets = buckets;
	for (size_t i = 0; i < old; i++) {
		for (struct node *n = old_wds[i], *next; n; n = next) {
			next = n->wd_next;
			link_wd(o, n);
		}
		for (struct node *n = old_keys[i], *next; n; n = next) {
			next = n->key_next;
			link_key(o, n);
		}
	}
	free(old_wds);
	free(old_keys);
	return true;
}

struct node *tree_by_wd(const struct watcher *o, int wd)
{
	struct node *n = o->buckets ? o->by_wd[wd_bucket(o, wd)] : NULL;
	while (n && n->wd != wd)
		n = n->wd_next;
	return n;
}

struct node *tree_find(const struct watcher *o, const struct node *parent, const char *name)
{
	struct node *n = o->buckets ? o->by_key[key_bucket(o, parent, name)] : NULL;
	while (n && (n->parent != parent || strcmp(n->name, name)))
		n = n->key_next;
	return n;
}

void tree_forget_wd(struct watcher *o, struct node *n)
{
	if (n->wd < 0)
		return;
	struct node **at = &o->by_wd[wd_bucket(o, n->wd)];
	while (*at && *at != n)
		at = &(*at)->wd_next;
	if (*at)
		*at = n->wd_next;
	n->wd = -1;
}

/* ---- nodes ---- */

static struct node *node_new(struct watcher *o, struct watch *w, struct node *parent,
			     const char *name)
{
	size_t len = strlen(name);
	if (!tree_grow(o))
		return NULL;
	struct node *n = calloc(1, sizeof(*n) + len + 1);
	if (!n)
		return NULL;
	memcpy(n->name, name, len);
	n->watch = w;
	n->parent = parent;
	n->wd = -1;
	if (parent) {
		n->sib_next = parent->child;
		if (parent->child)
			parent->child->sib_prev = n;
		parent->child = n;
		link_key(o, n);
		w->folders++;
	}
	o->nodes++;
	return n;
}

/* Out of every table; the memory follows in tree_bury. */
static void node_kill(struct watcher *o, struct node *n)
{
	int wd = n->wd;
	tree_forget_wd(o, n);
	if (wd >= 0 && !tree_by_wd(o, wd))
		inotify_rm_watch(o->inotify, wd);
	if (n->parent) {
		unlink_key(o, n);
		n->watch->folders--;
	}
	o->nodes--;
	n->dead = true;
	n->child = o->graveyard;
	o->graveyard = n;
}

void tree_drop(struct watcher *o, struct node *n)
{
	if (n->dead)
		return;
	if (n->sib_prev)
		n->sib_prev->sib_next = n->sib_next;
	else if (n->parent)
		n->parent->child = n->sib_next;
	if (n->sib_next)
		n->sib_next->sib_prev = n->sib_prev;
	/* leaves first, without recursion: the tree may be as deep as a path is long */
	for (struct node *at = n;;) {
		while (at->child)
			at = at->child;
		struct node *up = at == n ? NULL : at->parent;
		if (up)
			up->child = at->sib_next;
		node_kill(o, at);
		if (!up)
			return;
		at = up;
	}
}

void tree_bury(struct watcher *o)
{
	while (o->graveyard) {
		struct node *n = o->graveyard;
		o->graveyard = n->child;
		free(n);
	}
}

bool tree_path(const struct node *n, const char *name, char *out, size_t size)
{
	const struct node *up[TL_LIMIT_PATH / 2];
	size_t depth = 0, at = 0;
	const char *top = n->watch->folder;
	for (; n->parent; n = n->parent) {
		if (depth == sizeof(up) / sizeof(up[0]))
			return false;
		up[depth++] = n;
	}
	if (strcmp(top, "/") || (!depth && !name))
		at = (size_t)snprintf(out, size, "%s", top);
	while (at < size && depth--)
		at += (size_t)snprintf(out + at, size - at, "/%s", up[depth]->name);
	if (at < size && name)
		at += (size_t)snprintf(out + at, size - at, "/%s", name);
	return at < size;
}

bool watch_excludes(const struct watch *w, const char *path)
{
	size_t n = strlen(w->folder);
	if (!w->excludes.patterns.n)
		return false;
	if (strncmp(path, w->folder, n))
		return false;
	path += n;
	while (*path == '/')
		path++;
	return *path && glob_match(&w->excludes, path);
}

/* ---- arming ---- */

static long kernel_limit(const char *name)
{
	char path[96], line[32] = "";
	snprintf(path, sizeof(path), "/proc/sys/fs/inotify/%s", name);
	FILE *f = fopen(path, "re");
	if (f && !fgets(line, sizeof(line), f))
		line[0] = 0;
	if (f)
		fclose(f);
	return strtol(line, NULL, 10);
}

/* Gives n its wd. 0; TL_E_LIMIT with a reason; TL_E_NOENT: cannot be watched, for reasons that are
 * nobody's fault (gone again, not readable). */
static int node_watch(struct watcher *o, struct node *n, const char *path)
{
	struct watch *w = n->watch;
	uint32_t mask = MASK | (n->parent ? IN_DONT_FOLLOW : 0);
	if (o->nodes > TL_LIMIT_WATCHES) {
		snprintf(w->reason, sizeof(w->reason), "more than %d folders to watch",
			 TL_LIMIT_WATCHES);
		return TL_E_LIMIT;
	}
	int wd = inotify_add_watch(o->inotify, path, mask);
	if (wd < 0 && (errno == ENOSPC || errno == ENOMEM)) {
		snprintf(w->reason, sizeof(w->reason),
			 "the user's inotify watches are used up (fs.inotify.max_user_watches = "
			 "%ld)",
			 kernel_limit("max_user_watches"));
		return TL_E_LIMIT;
	}
	if (wd < 0)
		return TL_E_NOENT;
	if (wd == n->wd)
		return 0;
	tree_forget_wd(o, n);
	n->wd = wd;
	link_wd(o, n);
	return 0;
}

static bool entry_is_folder(const struct dirent *e, const char *path)
{
	struct stat st;
	if (e->d_type != DT_UNKNOWN)
		return e->d_type == DT_DIR;
	return lstat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* Lists one folder: reports its entries and makes nodes for its folders. */
static int tree_list(struct watcher *o, struct node *n, bool report)
{
	struct watch *w = n->watch;
	char path[WATCH_PATH_MAX];
	const struct dirent *e;
	int rc = 0;
	if (!tree_path(n, NULL, path, sizeof(path)))
		return 0;
	DIR *d = opendir(path);
	while (d && !rc && (e = readdir(d)) != NULL) {
		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
			continue;
		if (!tree_path(n, e->d_name, path, sizeof(path)) || watch_excludes(w, path))
			continue;
		if (report)
			changes_add(&w->changes, CHANGE_ADDED, path);
		if (!w->recursive || !entry_is_folder(e, path))
			continue;
		struct node *c = tree_find(o, n, e->d_name);
		if (!c && !(c = node_new(o, w, n, e->d_name)))
			rc = TL_E_NOMEM;
		/* watched before it is listed: nothing can slip in between */
		if (!rc && (rc = node_watch(o, c, path)) == TL_E_NOENT) {
			tree_drop(o, c);
			rc = 0;
		}
	}
	if (d)
		closedir(d);
	return rc;
}

/* n (which is watched) and everything below it. Depth first without recursion or a list: the tree
 * itself tells where to go on. */
static int tree_scan(struct watcher *o, struct node *n, bool report)
{
	struct node *at = n;
	for (;;) {
		int rc = tree_list(o, at, report);
		if (rc)
			return rc;
		if (at->child) {
			at = at->child;
			continue;
		}
		while (at != n && !at->sib_next)
			at = at->parent;
		if (at == n)
			return 0;
		at = at->sib_next;
	}
}

int tree_add(struct watcher *o, struct node *parent, const char *name, bool report)
{
	char path[WATCH_PATH_MAX];
	if (!tree_path(parent, name, path, sizeof(path)))
		return 0;
	struct node *n = tree_find(o, parent, name);
	int rc;
	if (n) {
		int was = n->wd;
		rc = node_watch(o, n, path);
		/* a scan was faster than this event: watched, listed and reported already */
		if (!rc && n->wd == was)
			return 0;
		tree_drop(o, n);
	}
	n = node_new(o, parent->watch, parent, name);
	if (!n)
		return TL_E_NOMEM;
	rc = node_watch(o, n, path);
	if (rc == TL_E_NOENT) {
		tree_drop(o, n);
		return 0;
	}
	return rc ? rc : tree_scan(o, n, report);
}

int tree_arm(struct watcher *o, struct watch *w, bool report)
{
	struct stat st;
	tree_disarm(o, w);
	if (o->inotify < 0) {
		str_copy(w->reason, sizeof(w->reason), o->inotify_reason);
		return TL_E_LIMIT;
	}
	w->root = node_new(o, w, NULL, "");
	if (!w->root)
		return TL_E_NOMEM;
	w->folders = 1;
	int rc = node_watch(o, w->root, w->folder);
	if (!rc && stat(w->folder, &st) != 0)
		rc = TL_E_NOENT;
	if (!rc) {
		w->dev = st.st_dev;
		w->ino = st.st_ino;
		if (!w->only && (w->recursive || report))
			rc = tree_scan(o, w->root, report);
	}
	if (rc)
		tree_disarm(o, w);
	return rc;
}

void tree_disarm(struct watcher *o, struct watch *w)
{
	if (w->root)
		tree_drop(o, w->root);
	if (w->sentinel)
		tree_drop(o, w->sentinel);
	w->root = w->sentinel = NULL;
	w->folders = 0;
}

void tree_sentinel(struct watcher *o, struct watch *w)
{
	char path[WATCH_PATH_MAX];
	if (o->inotify < 0)
		return;
	if (!w->sentinel && !(w->sentinel = node_new(o, w, NULL, "")))
		return;
	w->sentinel->sentinel = true;
	str_copy(path, sizeof(path), w->path);
	for (;;) {
		char *slash = strrchr(path, '/');
		if (!slash)
			return;
		slash[slash == path ? 1 : 0] = 0;
		if (node_watch(o, w->sentinel, path) == 0 || !strcmp(path, "/"))
			return;
	}
}
