/* watch_state.h - inside of the watcher. Private to host/watch*.c.
 *
 * One inotify instance serves every watch of the process (instances are scarce). The kernel gives
 * one descriptor (wd) per folder however often it is asked for, so a wd leads to a chain of nodes,
 * one for each watch that has the folder. A watch is in one of three modes; `root` is set in mode
 * INOTIFY, `sentinel` in mode GONE, `snapshot` in mode POLLING.
 * Nodes are freed at the end of a round of events only: until then `dead` ones are passed over. */
#ifndef TL_HOST_WATCH_STATE_H
#define TL_HOST_WATCH_STATE_H

#include <sys/types.h>

#include "base/limits.h"
#include "base/list.h"
#include "host/watch.h"
#include "host/watch_changes.h"
#include "host/watch_glob.h"
#include "wire/jsonrpc.h"

#define WATCH_COUNT_MAX 4096 /* watches of one stream */
#define WATCH_PATH_MAX  (TL_LIMIT_PATH + 256)

enum watch_mode { WATCH_INOTIFY, WATCH_POLLING, WATCH_GONE };

struct watch;
struct snapshot;

/* A watched folder. */
struct node {
	struct node *wd_next;  /* chain of the same bucket of wds */
	struct node *key_next; /* chain of the same bucket of (parent, name) */
	struct node *parent, *child, *sib_next, *sib_prev;
	struct watch *watch;
	int wd;    /* -1: none */
	bool dead; /* waits in the graveyard, linked by child */
	bool sentinel;
	char name[]; /* "" for roots and sentinels */
};

struct watch {
	struct list node;
	int64_t id;
	const struct watch_files *files; /* NULL: of this machine */
	char *path;       /* absolute, as the client wrote it, without trailing slash */
	char *folder;     /* what the root node stands for: path, or the folder of a file */
	const char *only; /* file name inside folder, or NULL: points into path */
	bool recursive;
	struct glob_set excludes;
	enum watch_mode mode;
	bool polling; /* looked at regularly; else inotify tells, also of what is gone */
	struct node *root, *sentinel;
	dev_t dev; /* identity of folder */
	ino_t ino;
	size_t folders;
	struct snapshot *snapshot;
	uint64_t poll_at_ms;
	struct changes changes; /* being collected */
	struct changes sending; /* being reported */
	size_t sent;            /* index into sending */
	bool check_wanted;      /* the root or what leads to it changed: see watch_check */
	bool fallback_wanted;   /* the kernel's watches are used up */
	bool state_wanted;      /* tell mode, folders and reason */
	char reason[256];
};

struct watcher {
	int inotify; /* -1: none, see inotify_reason */
	char inotify_reason[128];
	struct node **by_wd, **by_key;
	size_t buckets; /* of both; power of two */
	size_t nodes;
	struct node *graveyard;
	struct list watches;
	size_t watch_count;
	struct buf in, out;
	const struct watch_files *files;
	bool ended; /* nothing more to read, or nobody who reads */
};

/* ---- watch_tree.c: nodes, and which folder has one ---- */
/* Watches the folder of w and what is below. 0; TL_E_NOENT: it is not there; TL_E_LIMIT: inotify
 * cannot (w->reason says why). report: what is found is reported as added. */
int tree_arm(struct watcher *o, struct watch *w, bool report);
/* Forgets every node of w. */
void tree_disarm(struct watcher *o, struct watch *w);
/* A folder appeared: watches it and what is below, and reports what is there. */
int tree_add(struct watcher *o, struct node *parent, const char *name, bool report);
void tree_drop(struct watcher *o, struct node *n);
struct node *tree_find(const struct watcher *o, const struct node *parent, const char *name);
struct node *tree_by_wd(const struct watcher *o, int wd);
/* The kernel gave wd up by itself. */
void tree_forget_wd(struct watcher *o, struct node *n);
/* Absolute path of n, with name appended where it is not NULL; false: too long. */
bool tree_path(const struct node *n, const char *name, char *out, size_t size);
/* Watches the nearest folder that exists above w->folder. */
void tree_sentinel(struct watcher *o, struct watch *w);
void tree_bury(struct watcher *o);
/* Is this path (absolute, inside w) excluded? */
bool watch_excludes(const struct watch *w, const char *path);

/* ---- watch_events.c ---- */
/* Takes everything the kernel has to tell. */
void events_read(struct watcher *o);
/* Carries out what events asked for: lost and found roots, the fall-back to polling. */
void events_settle(struct watcher *o);

/* ---- watch_poll.c ---- */
/* Takes a look; differences to the last one are collected. The first look reports nothing. */
void poll_look(struct watch *w);
void poll_free(struct watch *w);
/* Reason why this file system must be polled, or NULL. */
const char *poll_needed(const char *path);

/* ---- watch_rpc.c ---- */
/* Obeys the messages in o->in. */
void rpc_obey(struct watcher *o);
/* Turns collected changes and states into messages, while o->out takes more. */
void rpc_report(struct watcher *o);
/* Anything left to report? */
bool rpc_pending(const struct watcher *o);

/* ---- watch.c ---- */
/* Finds out what w->path is now and watches it in the right way; sets mode. found: a change of
 * state is told, and what is there is reported as added. */
void watch_check(struct watcher *o, struct watch *w, bool found);
/* Gives inotify up for w; w->reason says why. */
void watch_poll_instead(struct watcher *o, struct watch *w);
void watch_free(struct watcher *o, struct watch *w);

#endif
