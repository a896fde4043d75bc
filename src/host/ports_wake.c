/* ports_wake.c - what wakes the look for listeners (see ports_state.h), all of it from one inotify
 * instance: the run folders, where terminals and sessions appear and go, and the terminals'
 * devices. A program that reads from or writes to its terminal shows as an event there. Devices are
 * watched for one event only and armed again by the next look, so a busy terminal costs no more
 * than a quiet one.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "base/str.h"
#include "host/ports_state.h"
#include "host/rundir.h"

void wake_open(struct ports *o)
{
	struct rundir dirs[RUNDIR_COUNT];
	size_t n = rundir_candidates(o->forced_run_dir, dirs);

	o->inotify = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	o->deaf = o->dirs_deaf = o->inotify < 0;
	for (size_t i = 0; i < n && o->inotify >= 0; i++)
		if (rundir_is_ours(dirs[i].path) &&
		    inotify_add_watch(o->inotify, dirs[i].path,
				      IN_CREATE | IN_DELETE | IN_MOVE | IN_ONLYDIR) < 0)
			o->dirs_deaf = true;
	if (o->dirs_deaf && !o->reason[0]) {
		snprintf(o->reason, sizeof(o->reason),
			 "inotify is not available: looked every %d ms", TL_LIMIT_PORTS_LOOK_MS);
		o->state_wanted = true;
	}
	o->moved = o->holds_moved = true;
}

void ports_wake_close(struct ports *o)
{
	if (o->inotify >= 0)
		close(o->inotify);
	o->inotify = -1;
	free(o->ttys);
	o->ttys = NULL;
	o->tty_count = 0;
}

static void wake_event(struct ports *o, const struct inotify_event *e)
{
	if (e->mask & IN_Q_OVERFLOW) {
		o->moved = o->holds_moved = true;
		return;
	}
	for (size_t i = 0; i < o->tty_count; i++) {
		if (o->ttys[i].wd == e->wd) {
			o->ttys[i].wd = -1;
			o->moved = true;
			return;
		}
	}
	if (e->len && (str_starts(e->name, "hold-") || str_starts(e->name, "kernel-")))
		o->moved = o->holds_moved = true;
}

void wake_read(struct ports *o)
{
	char room[4096] __attribute__((aligned(__alignof__(struct inotify_event))));

	while (o->inotify >= 0) {
		ssize_t n = read(o->inotify, room, sizeof(room));
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return;
		for (ssize_t at = 0; at < n;) {
			const struct inotify_event *e = (const void *)(room + at);
			wake_event(o, e);
			at += (ssize_t)(sizeof(*e) + e->len);
		}
	}
}

static struct ports_tty *tty_find(struct ports *o, int number)
{
	for (size_t i = 0; i < o->tty_count; i++)
		if (o->ttys[i].number == number)
			return &o->ttys[i];
	return NULL;
}

static struct ports_tty *tty_add(struct ports *o, int number)
{
	struct ports_tty *more;

	if (o->tty_count >= PORTS_TTYS)
		return NULL;
	/* grows by one: terminals are few and rare */
	more = realloc(o->ttys, (o->tty_count + 1) * sizeof(*more));
	if (!more)
		return NULL;
	o->ttys = more;
	more[o->tty_count] = (struct ports_tty){.number = number, .wd = -1};
	return &more[o->tty_count++];
}

static void tty_arm(struct ports *o, struct ports_tty *t)
{
	char path[32];

	if (t->wd >= 0)
		return;
	snprintf(path, sizeof(path), "/dev/pts/%d", t->number);
	t->wd = inotify_add_watch(o->inotify, path, IN_ACCESS | IN_MODIFY | IN_ONESHOT);
	if (t->wd < 0)
		o->deaf = true;
}

void wake_arm(struct ports *o)
{
	size_t to = 0;

	if (o->inotify < 0)
		return;
	o->deaf = false;
	for (size_t i = 0; i < o->tty_count; i++)
		o->ttys[i].used = false;
	for (size_t i = 0; i < o->proc_count; i++) {
		const struct ports_proc *p = &o->procs[i];
		struct ports_tty *t;
		if (p->root || p->tty < 0)
			continue;
		t = tty_find(o, p->tty);
		if (!t)
			t = tty_add(o, p->tty);
		if (!t) {
			o->deaf = true;
		} else if (!t->used) {
			t->used = true;
			tty_arm(o, t);
		}
	}
	for (size_t i = 0; i < o->tty_count; i++) {
		if (o->ttys[i].used)
			o->ttys[to++] = o->ttys[i];
		else if (o->ttys[i].wd >= 0)
			inotify_rm_watch(o->inotify, o->ttys[i].wd);
	}
	o->tty_count = to;
}
