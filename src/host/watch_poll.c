/* watch_poll.c - watching by looking again and again, where inotify cannot (see watch_state.h).
 * A snapshot is the list of what was there, folders before what is in them; each look makes a new
 * one and compares it with the last. Bounded by SNAPSHOT_MAX entries. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "base/err.h"
#include "host/watch_state.h"

#define SNAPSHOT_MAX (2 * TL_LIMIT_WATCHES)
#define NONE         UINT32_MAX

struct entry {
	uint32_t parent; /* index */
	uint32_t next;   /* of the same bucket */
	uint32_t text;   /* name */
	uint32_t twin;   /* index in the other snapshot, NONE */
	int64_t mtime_ns;
	uint64_t size, ino;
	bool folder, entered;
};

struct snapshot {
	struct entry *v;
	size_t n, cap;
	uint32_t *bucket;
	size_t buckets;
	char *text;
	size_t text_n, text_cap;
	bool full;
};

/* ---- file systems that tell nobody of changes made elsewhere ---- */

static const struct {
	unsigned long magic;
	const char *name;
} polled[] = {
    {0x6969, "NFS"},          {0xff534d42, "CIFS"},     {0xfe534d42, "SMB"},
    {0x517b, "SMB"},          {0x65735546, "FUSE"},     {0x0bd00bd0, "Lustre"},
    {0x47504653, "GPFS"},     {0x00c36400, "Ceph"},     {0x01021997, "9p"},
    {0x5346414f, "AFS"},      {0x6b414653, "AFS"},      {0x01161970, "GFS2"},
    {0x7461636f, "OCFS2"},    {0x19830326, "BeeGFS"},   {0xaad7aaea, "PanFS"},
    {0x73757245, "Coda"},     {0x564c, "NCP"},          {0x786f4256, "a VirtualBox folder"},
    {0x6a656a63, "virtiofs"}, {0x20030528, "OrangeFS"},
};

const char *poll_needed(const char *path)
{
	struct statfs fs;
	if (statfs(path, &fs) != 0)
		return NULL;
	for (size_t i = 0; i < sizeof(polled) / sizeof(polled[0]); i++)
		if (((unsigned long)fs.f_type & 0xffffffffUL) == polled[i].magic)
			return polled[i].name;
	return NULL;
}

/* ---- snapshots ---- */

static void snapshot_free(struct snapshot *s)
{
	if (!s)
		return;
	free(s->v);
	free(s->bucket);
	free(s->text);
	free(s);
}

void poll_free(struct watch *w)
{
	snapshot_free(w->snapshot);
	w->snapshot = NULL;
}

static size_t entry_bucket(const struct snapshot *s, uint32_t parent, const char *name)
{
	uint32_t h = parent * 2654435761u;
	for (; *name; name++)
		h = (h ^ (uint8_t)*name) * 16777619u;
	return h & (s->buckets - 1);
}

static uint32_t snapshot_find(const struct snapshot *s, uint32_t parent, const char *name)
{
	uint32_t i = s->buckets ? s->bucket[entry_bucket(s, parent, name)] : NONE;
	while (i != NONE && (s->v[i].parent != parent || strcmp(s->text + s->v[i].text, name)))
		i = s->v[i].next;
	return i;
}

static bool snapshot_room(struct snapshot *s, size_t text)
{
	if (s->n >= SNAPSHOT_MAX)
		return false;
	if (s->n == s->cap) {
		size_t cap = s->cap ? s->cap * 2 : 64;
		struct entry *v = realloc(s->v, cap * sizeof(*v));
		if (!v)
			return false;
		s->v = v;
		s->cap = cap;
	}
	if (s->text_cap - s->text_n < text) {
		size_t cap = s->text_cap ? s->text_cap * 2 : 4096;
		char *t = cap >= s->text_n + text ? realloc(s->text, cap) : NULL;
		if (!t)
			return false;
		s->text = t;
		s->text_cap = cap;
	}
	return true;
}

/* Adds an entry; NONE when there is no room. */
static uint32_t snapshot_add(struct snapshot *s, uint32_t parent, const char *name,
			     const struct stat *st)
{
	size_t len = strlen(name) + 1;
	if (!snapshot_room(s, len)) {
		s->full = true;
		return NONE;
	}
	memcpy(s->text + s->text_n, name, len);
	s->v[s->n] = (struct entry){.parent = parent,
				    .next = NONE,
				    .text = (uint32_t)s->text_n,
				    .twin = NONE,
				    .mtime_ns = (int64_t)st->st_mtim.tv_sec * 1000000000 +
						st->st_mtim.tv_nsec,
				    .size = (uint64_t)st->st_size,
				    .ino = st->st_ino,
				    .folder = S_ISDIR(st->st_mode)};
	s->text_n += len;
	return (uint32_t)s->n++;
}

/* Makes the table that finds entries again; only needed once the snapshot is the old one. */
static bool snapshot_index(struct snapshot *s)
{
	size_t buckets = 64;
	while (buckets < s->n)
		buckets *= 2;
	s->bucket = malloc(buckets * sizeof(*s->bucket));
	if (!s->bucket)
		return false;
	s->buckets = buckets;
	memset(s->bucket, 0xff, buckets * sizeof(*s->bucket));
	for (uint32_t i = 1; i < s->n; i++) {
		uint32_t *head =
		    &s->bucket[entry_bucket(s, s->v[i].parent, s->text + s->v[i].text)];
		s->v[i].next = *head;
		*head = i;
	}
	return true;
}

static bool entry_path(const struct watch *w, const struct snapshot *s, uint32_t i, char *out,
		       size_t size)
{
	uint32_t up[TL_LIMIT_PATH / 2];
	size_t depth = 0, at = 0;
	for (; i; i = s->v[i].parent) {
		if (depth == sizeof(up) / sizeof(up[0]))
			return false;
		up[depth++] = i;
	}
	if (strcmp(w->path, "/") || !depth)
		at = (size_t)snprintf(out, size, "%s", w->path);
	while (at < size && depth--)
		at += (size_t)snprintf(out + at, size - at, "/%s", s->text + s->v[up[depth]].text);
	return at < size;
}

/* ---- looking ---- */

/* ---- files of somewhere else ---- */

struct through {
	const struct watch *w;
	struct snapshot *s;
	uint32_t folder;
	char *path; /* of the folder; room for WATCH_PATH_MAX */
	size_t len;
};

static void found_there(void *arg, const char *name, const struct stat *st)
{
	struct through *t = arg;
	int n = snprintf(t->path + t->len, WATCH_PATH_MAX - t->len, "%s%s", t->len > 1 ? "/" : "",
			 name);
	if (n > 0 && (size_t)n < WATCH_PATH_MAX - t->len && !watch_excludes(t->w, t->path) &&
	    !t->s->full)
		snapshot_add(t->s, t->folder, name, st);
	t->path[t->len] = 0;
	t->s->full |= t->s->n >= t->w->files->max;
}

static void look_through(const struct watch *w, struct snapshot *s, uint32_t folder, char *path)
{
	struct through t = {w, s, folder, path, strlen(path)};
	s->v[folder].entered = w->files->list(w->files->ctx, path, found_there, &t) == 0;
}

static int stat_of(const struct watch *w, struct stat *st)
{
	return w->files ? w->files->stat(w->files->ctx, w->path, st) : stat(w->path, st);
}

/* Adds what one folder has. */
static void look_into(const struct watch *w, struct snapshot *s, uint32_t folder)
{
	char path[WATCH_PATH_MAX];
	const struct dirent *e;
	struct stat st;
	if (!entry_path(w, s, folder, path, sizeof(path)))
		return;
	size_t len = strlen(path);
	if (w->files) {
		look_through(w, s, folder, path);
		return;
	}
	DIR *d = opendir(path);
	s->v[folder].entered = d != NULL;
	while (d && (e = readdir(d)) != NULL) {
		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
			continue;
		int n =
		    snprintf(path + len, sizeof(path) - len, "%s%s", len > 1 ? "/" : "", e->d_name);
		if (n < 0 || (size_t)n >= sizeof(path) - len || watch_excludes(w, path))
			continue;
		if (lstat(path, &st) == 0 && snapshot_add(s, folder, e->d_name, &st) == NONE)
			break;
	}
	if (d)
		closedir(d);
}

static struct snapshot *look(const struct watch *w, const struct stat *st)
{
	struct snapshot *s = calloc(1, sizeof(*s));
	if (!s)
		return NULL;
	snapshot_add(s, 0, "", st);
	for (uint32_t i = 0; i < s->n && !s->full; i++)
		if (s->v[i].folder && (i == 0 || w->recursive))
			look_into(w, s, i);
	if (!s->n || !snapshot_index(s)) {
		snapshot_free(s);
		return NULL;
	}
	return s;
}

static void collect(struct watch *w, const struct snapshot *s, uint32_t i, enum change_kind kind)
{
	char path[WATCH_PATH_MAX];
	if (entry_path(w, s, i, path, sizeof(path)))
		changes_add(&w->changes, kind, path);
}

static void compare(struct watch *w, struct snapshot *old, struct snapshot *now)
{
	/* they still lead to the snapshot before */
	for (uint32_t i = 0; i < old->n; i++)
		old->v[i].twin = NONE;
	for (uint32_t i = 0; i < now->n; i++) {
		struct entry *e = &now->v[i];
		uint32_t up = i ? now->v[e->parent].twin : NONE;
		uint32_t twin = i == 0       ? 0
				: up == NONE ? NONE
					     : snapshot_find(old, up, now->text + e->text);
		if (twin == NONE) {
			/* a full snapshot ends anywhere: what is new may only be newly seen */
			if (!old->full)
				collect(w, now, i, CHANGE_ADDED);
			continue;
		}
		struct entry *was = &old->v[twin];
		e->twin = twin;
		was->twin = i;
		if (was->folder != e->folder || was->ino != e->ino) {
			collect(w, now, i, CHANGE_UPDATED);
		} else if (!e->folder && (was->mtime_ns != e->mtime_ns || was->size != e->size)) {
			collect(w, now, i, CHANGE_UPDATED);
		}
	}
	for (uint32_t i = 1; i < old->n && !now->full; i++) {
		const struct entry *was = &old->v[i];
		uint32_t up = old->v[was->parent].twin;
		/* a folder that could not be read this time says nothing about its files */
		if (was->twin == NONE && (up == NONE || now->v[up].entered))
			collect(w, old, i, CHANGE_DELETED);
	}
}

static size_t folders_of(const struct snapshot *s)
{
	size_t n = 0;
	for (size_t i = 0; i < s->n; i++)
		n += s->v[i].folder;
	return n;
}

void poll_look(struct watch *w)
{
	struct stat st;
	bool there = stat_of(w, &st) == 0;
	struct snapshot *now = there ? look(w, &st) : NULL, *old = w->snapshot;
	if (there && !now)
		return; /* no memory this time */
	if (old && now)
		compare(w, old, now);
	else if (old)
		changes_add(&w->changes, CHANGE_DELETED, w->path);
	else if (now && w->mode == WATCH_GONE)
		for (uint32_t i = 0; i < now->n; i++)
			collect(w, now, i, CHANGE_ADDED);
	enum watch_mode mode = now ? WATCH_POLLING : WATCH_GONE;
	size_t folders = now ? folders_of(now) : 0;
	if (now && now->full && !(old && old->full)) {
		str_copy(w->reason, sizeof(w->reason),
			 "too many files to look at: only a part of them is watched");
		w->state_wanted = true;
	}
	w->state_wanted |= mode != w->mode;
	w->mode = mode;
	w->folders = folders;
	snapshot_free(old);
	w->snapshot = now;
}
