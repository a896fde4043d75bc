/* watch.c - the watcher's loop, and what becomes of a watch's root (see watch.h, watch_state.h).
 * Sleeps in poll(2) until something happens; wakes by itself only for polled watches and,
 * WATCH_BATCH_MS after a change, to report. */
#include "host/watch.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/watch_state.h"
#include "loop/io.h"

/* While changes are being collected the kernel's queue is emptied in steps: a program that writes
 * all the time must not wake us all the time. */
#define STEP_MS   5
#define POLL_LOAD 20 /* looking takes at most 1/20 of the time */

/* ---- roots ---- */

/* What stands for w now: the folder itself, or the folder of a file. */
static int watch_place(struct watch *w, bool file)
{
	char *slash = strrchr(w->path, '/');
	free(w->folder);
	w->folder = file ? str_ndup(w->path, slash == w->path ? 1 : (size_t)(slash - w->path))
			 : str_dup(w->path);
	w->only = file ? slash + 1 : NULL;
	return w->folder ? 0 : TL_E_NOMEM;
}

/* Is everything as it was when the watch was armed? */
static bool watch_stands(const struct watch *w)
{
	struct stat st;
	if (!w->root || w->root->wd < 0 || stat(w->folder, &st) != 0)
		return false;
	if (st.st_dev != w->dev || st.st_ino != w->ino)
		return false;
	return !w->only || stat(w->path, &st) != 0 || !S_ISDIR(st.st_mode);
}

void watch_poll_instead(struct watcher *o, struct watch *w)
{
	tree_disarm(o, w);
	w->polling = true;
	w->state_wanted = true;
	w->mode = WATCH_POLLING;
	poll_look(w);
	w->poll_at_ms = clock_mono_ms() + TL_LIMIT_WATCH_POLL_MS;
}

/* One attempt to watch what is there. 0; TL_E_NOENT: nothing is; TL_E_LIMIT: poll. */
static int watch_try(struct watcher *o, struct watch *w, bool report)
{
	struct stat st;
	bool there = stat(w->path, &st) == 0, file = there ? !S_ISDIR(st.st_mode) : w->only != NULL;
	const char *why = there ? poll_needed(w->path) : NULL;
	if (!there && !file)
		return TL_E_NOENT;
	if (watch_place(w, file))
		return TL_E_LIMIT;
	if (why) {
		snprintf(w->reason, sizeof(w->reason),
			 "the file system is %s, which does not tell of changes made elsewhere",
			 why);
		return TL_E_LIMIT;
	}
	if (there && report)
		changes_add(&w->changes, CHANGE_ADDED, w->path);
	int rc = tree_arm(o, w, report);
	if (rc == TL_E_NOENT && there && stat(w->path, &st) == 0) {
		snprintf(w->reason, sizeof(w->reason), "no permission to watch %.200s", w->folder);
		return TL_E_LIMIT;
	}
	return rc;
}

void watch_check(struct watcher *o, struct watch *w, bool found)
{
	struct stat st;
	enum watch_mode was = w->mode;
	int rc = TL_E_NOENT;
	if (w->polling)
		return;
	if (w->files) {
		str_copy(w->reason, sizeof(w->reason), w->files->reason);
		if (watch_place(w, false) == 0)
			watch_poll_instead(o, w);
		w->state_wanted = false;
		return;
	}
	if (watch_stands(w))
		return;
	if (found && w->root && stat(w->path, &st) != 0)
		changes_add(&w->changes, CHANGE_DELETED, w->path);
	tree_disarm(o, w);
	w->reason[0] = 0;
	/* between looking and watching something may appear: then once more */
	for (int i = 0; i < 64; i++) {
		rc = watch_try(o, w, found);
		if (rc != TL_E_NOENT)
			break;
		w->only = NULL;
		tree_sentinel(o, w);
		if (stat(w->path, &st) != 0)
			break;
	}
	if (rc == 0)
		w->mode = WATCH_INOTIFY;
	else if (rc == TL_E_NOENT && w->sentinel && w->sentinel->wd >= 0)
		w->mode = WATCH_GONE;
	else
		watch_poll_instead(o, w);
	w->state_wanted |= found && w->mode != was;
}

void watch_free(struct watcher *o, struct watch *w)
{
	tree_disarm(o, w);
	poll_free(w);
	if (!list_empty(&w->node))
		o->watch_count--;
	list_del(&w->node);
	changes_clear(&w->changes);
	changes_clear(&w->sending);
	glob_fini(&w->excludes);
	free(w->folder);
	free(w->path);
	tree_bury(o);
	free(w);
}

/* ---- the loop ---- */

/* Looks at what is due; returns when the next look is. */
static uint64_t watcher_poll(struct watcher *o)
{
	uint64_t next = UINT64_MAX;
	LIST_FOREACH (it, &o->watches) {
		struct watch *w = list_entry(it, struct watch, node);
		uint64_t start = clock_mono_ms();
		if (!w->polling)
			continue;
		if (w->poll_at_ms <= start) {
			poll_look(w);
			uint64_t end = clock_mono_ms(), took = (end - start) * POLL_LOAD;
			w->poll_at_ms =
			    end + (took > TL_LIMIT_WATCH_POLL_MS ? took : TL_LIMIT_WATCH_POLL_MS);
		}
		if (w->poll_at_ms < next)
			next = w->poll_at_ms;
	}
	return next;
}

static int ms_until(uint64_t when, uint64_t now)
{
	if (when == UINT64_MAX)
		return -1;
	return when <= now ? 0 : when - now > 60000 ? 60000 : (int)(when - now);
}

static void watcher_run(struct watcher *o)
{
	uint64_t report_at = UINT64_MAX, next_poll = UINT64_MAX;
	while (!o->ended) {
		uint64_t now = clock_mono_ms();
		/* the kernel's queue is emptied in every round, but does not start one meanwhile */
		bool collecting = report_at != UINT64_MAX;
		uint64_t wake = collecting ? now + STEP_MS : UINT64_MAX;
		struct pollfd p[3] = {{.fd = o->out.len ? -1 : 0, .events = POLLIN},
				      {.fd = o->out.len ? 1 : -1, .events = POLLOUT},
				      {.fd = collecting ? -1 : o->inotify, .events = POLLIN}};
		if (!o->out.len && report_at < wake)
			wake = report_at;
		if (poll(p, 3, ms_until(wake < next_poll ? wake : next_poll, now)) < 0 &&
		    errno != EINTR)
			return;
		if (p[0].revents)
			if (!fd_read_buf(0, &o->in, 65536))
				o->ended = true;
		rpc_obey(o);
		if (o->inotify >= 0)
			events_read(o);
		events_settle(o);
		next_poll = watcher_poll(o);
		now = clock_mono_ms();
		if (!rpc_pending(o))
			report_at = UINT64_MAX;
		else if (report_at == UINT64_MAX)
			report_at = now + TL_LIMIT_WATCH_BATCH_MS;
		if (report_at <= now && !o->out.len) {
			rpc_report(o);
			report_at = UINT64_MAX;
		}
		if (!fd_write_buf(1, &o->out))
			o->ended = true;
	}
}

int watch_main(void)
{
	return watch_main_of(NULL);
}

int watch_main_of(const struct watch_files *files)
{
	struct watcher o = {.files = files,
			    .inotify = files ? -1 : inotify_init1(IN_NONBLOCK | IN_CLOEXEC)};
	if (o.inotify < 0 && !files)
		snprintf(o.inotify_reason, sizeof(o.inotify_reason),
			 "inotify is not available: %s%s", strerror(errno),
			 errno == EMFILE ? " (fs.inotify.max_user_instances)" : "");
	signal(SIGPIPE, SIG_IGN);
	list_init(&o.watches);
	buf_init(&o.in, TL_LIMIT_RPC_MESSAGE + TL_LIMIT_LSP_HEADER);
	buf_init(&o.out, 2 * TL_LIMIT_RPC_MESSAGE);
	fd_set_nonblock(1, true);
	watcher_run(&o);
	while (!list_empty(&o.watches))
		watch_free(&o, list_entry(o.watches.next, struct watch, node));
	buf_fini(&o.in);
	buf_fini(&o.out);
	free(o.by_wd);
	free(o.by_key);
	if (o.inotify >= 0)
		close(o.inotify);
	return 0;
}
