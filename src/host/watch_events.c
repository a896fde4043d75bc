/* watch_events.c - from what the kernel tells to changes of paths (see watch_state.h).
 *
 * A folder that moves needs no pairing by cookie: it is dropped where it was and scanned where it
 * is, because what lies below it must be reported there anyway. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "base/err.h"
#include "host/watch_state.h"

/* Events of the folder itself, which carry no name. */
static void event_self(struct watcher *o, struct node *n, uint32_t mask)
{
	/* roots and sentinels are looked at by path; folders inside are told by their parents */
	if (!n->parent)
		n->watch->check_wanted = true;
	if (mask & IN_IGNORED)
		tree_forget_wd(o, n);
	if ((mask & IN_UNMOUNT) && n->parent)
		tree_drop(o, n);
}

static enum change_kind kind_of(uint32_t mask)
{
	if (mask & (IN_CREATE | IN_MOVED_TO))
		return CHANGE_ADDED;
	return mask & (IN_DELETE | IN_MOVED_FROM) ? CHANGE_DELETED : CHANGE_UPDATED;
}

static void event_named(struct watcher *o, struct node *n, const struct inotify_event *e)
{
	struct watch *w = n->watch;
	char path[WATCH_PATH_MAX];
	enum change_kind kind = kind_of(e->mask);
	if (n->sentinel) {
		w->check_wanted |= kind == CHANGE_ADDED;
		return;
	}
	if (w->only) {
		if (strcmp(w->only, e->name))
			return;
		changes_add(&w->changes, kind, w->path);
		/* a folder in the place of the file wants to be watched as one */
		w->check_wanted |= kind == CHANGE_ADDED && (e->mask & IN_ISDIR);
		return;
	}
	if (!tree_path(n, e->name, path, sizeof(path)) || watch_excludes(w, path))
		return;
	changes_add(&w->changes, kind, path);
	if (!(e->mask & IN_ISDIR) || !w->recursive || kind == CHANGE_UPDATED)
		return;
	if (kind == CHANGE_ADDED) {
		if (tree_add(o, n, e->name, true) != 0)
			w->fallback_wanted = true;
	} else {
		struct node *gone = tree_find(o, n, e->name);
		if (gone)
			tree_drop(o, gone);
	}
}

/* The queue ran over: what every tree looks like is unknown. */
static void event_overflow(struct watcher *o)
{
	LIST_FOREACH (it, &o->watches) {
		struct watch *w = list_entry(it, struct watch, node);
		if (w->polling)
			continue;
		changes_overflow(&w->changes);
		w->check_wanted = true;
		if (w->root)
			tree_disarm(o, w);
	}
}

static void event_take(struct watcher *o, const struct inotify_event *e)
{
	struct node *next;
	if (e->mask & IN_Q_OVERFLOW) {
		event_overflow(o);
		return;
	}
	for (struct node *n = tree_by_wd(o, e->wd); n; n = next) {
		/* the chain has other wds too, and dead nodes that still lead on */
		next = n->wd_next;
		if (n->dead || n->wd != e->wd)
			continue;
		if (e->len)
			event_named(o, n, e);
		else
			event_self(o, n, e->mask);
	}
}

void events_read(struct watcher *o)
{
	char buf[65536] __attribute__((aligned(__alignof__(struct inotify_event))));
	for (;;) {
		ssize_t n = read(o->inotify, buf, sizeof(buf));
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		for (char *at = buf; at < buf + n;) {
			const struct inotify_event *e = (const struct inotify_event *)(void *)at;
			event_take(o, e);
			at += sizeof(*e) + e->len;
		}
		tree_bury(o);
	}
}

void events_settle(struct watcher *o)
{
	LIST_FOREACH (it, &o->watches) {
		struct watch *w = list_entry(it, struct watch, node);
		if (w->fallback_wanted) {
			/* what happened while the tree was half watched is not known */
			changes_overflow(&w->changes);
			watch_poll_instead(o, w);
		} else if (w->check_wanted) {
			watch_check(o, w, true);
		}
		w->fallback_wanted = w->check_wanted = false;
	}
	tree_bury(o);
}
