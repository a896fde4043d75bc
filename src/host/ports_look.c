/* ports_look.c - one look for listeners (see ports_state.h): the sockets of the kernel's answer
 * meet the processes below the terminals and sessions.
 *
 * A socket is found once, by its inode, and keeps its owner until it is closed. One that no process
 * below a terminal has open is looked for again in the next looks, since a process may move between
 * two places of the tree while it is read; then it is somebody else's. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/str.h"
#include "host/ports_session.h"
#include "host/ports_state.h"

#define YOUNG_LOOKS 3

/* ---- whose sockets ---- */

struct search {
	struct ports *o;
	const struct ports_proc *p; /* of which the sockets are being told */
	enum entry_kind kind;       /* what a socket of p becomes */
};

static struct ports_entry *entry_find(struct ports *o, uint64_t inode)
{
	size_t lo = 0, hi = o->entry_count;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		if (o->entries[mid].s.inode < inode)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < o->entry_count && o->entries[lo].s.inode == inode ? &o->entries[lo] : NULL;
}

static void entry_give(struct ports_entry *e, const struct ports_proc *p, enum entry_kind kind)
{
	e->kind = kind;
	e->kept = true;
	e->pid = p->pid;
	e->start = p->start;
	memcpy(e->comm, p->comm, sizeof(e->comm));
	e->from = p->from;
}

static void on_socket(void *ctx, uint64_t inode)
{
	struct search *f = ctx;
	struct ports_entry *e = entry_find(f->o, inode);
	enum entry_kind kind = f->kind;

	/* the first that has it is nearest to the terminal: the server, not its workers */
	if (!e || e->kept || (f->kind == ENTRY_OTHER && e->kind != ENTRY_OTHER) ||
	    (e->kind == ENTRY_HIDDEN && f->kind != ENTRY_HIDDEN))
		return;
	if (kind == ENTRY_OWNED && f->p->from.kernel) {
		enum session_socket of =
		    session_socket_kind(f->o->forced_run_dir, f->p->from.id, inode);
		/* looked at again until the kernel has answered */
		if (of == SESSION_SOCKET_UNKNOWN) {
			e->kind = ENTRY_YOUNG;
			e->looks = YOUNG_LOOKS;
			return;
		}
		if (of == SESSION_SOCKET_OWN)
			kind = ENTRY_HIDDEN;
	}
	if (e->kind != kind || e->pid != f->p->pid)
		f->o->dirty = true;
	entry_give(e, f->p, kind);
}

/* Listeners of our agent for its clients (streams tcpip-forward) are no news to them. */
static void hide_ours(struct ports *o)
{
	pid_t children[1024];
	struct proc_stat agent;
	size_t n = tree_stat(getppid(), &agent) == 0
		       ? tree_children(o, agent.pid, agent.threads, children, 1024)
		       : 0;

	for (size_t i = 0; i < n; i++) {
		char text[256];
		struct ports_proc p = {.pid = children[i]};
		struct search f = {o, &p, ENTRY_HIDDEN};
		size_t got = tree_read(children[i], "cmdline", text, sizeof(text));
		if (proc_is_towline(bytes_of(text, got), "tcpip-forward"))
			tree_sockets(children[i], on_socket, &f);
	}
}

/* Looks for the owners of what has none, or lost it. */
static void find_owners(struct ports *o)
{
	hide_ours(o);
	for (size_t i = 0; i < o->proc_count; i++) {
		const struct ports_proc *p = &o->procs[i];
		struct search f = {o, p, p->towline ? ENTRY_HIDDEN : ENTRY_OWNED};
		if (!p->root)
			tree_sockets(p->pid, on_socket, &f);
	}
}

/* ---- the list ---- */

/* Is the socket's owner still the process it was? Takes over the name it has now. */
static bool owner_stays(struct ports *o, struct ports_entry *e)
{
	for (size_t i = 0; i < o->proc_count; i++) {
		const struct ports_proc *p = &o->procs[i];
		if (p->pid != e->pid || p->start != e->start)
			continue;
		if (memcmp(p->comm, e->comm, sizeof(e->comm)) != 0) {
			memcpy(e->comm, p->comm, sizeof(e->comm));
			o->dirty = true;
		}
		return true;
	}
	return false;
}

/* A listener that was not there before. Others' can only be found below a terminal by root. */
static struct ports_entry entry_new(const struct ports *o, const struct ports_socket *s)
{
	struct ports_entry e = {.s = *s, .kind = ENTRY_YOUNG, .looks = o->looked ? YOUNG_LOOKS : 1};

	if (s->uid != geteuid() && geteuid() != 0)
		e.kind = ENTRY_OTHER;
	return e;
}

static void entry_gone(struct ports *o, const struct ports_entry *e)
{
	if (e->kind == ENTRY_OWNED)
		o->dirty = true;
	else if (e->kind == ENTRY_OTHER)
		o->others_dirty = true;
}

static bool same_socket(const struct ports_socket *a, const struct ports_socket *b)
{
	return a->port == b->port && a->family == b->family && a->uid == b->uid &&
	       memcmp(a->address, b->address, sizeof(a->address)) == 0;
}

/* Both tables are sorted by inode. A number used again for another socket is another listener. */
static int merge(struct ports *o, const struct ports_sockets *t, bool holds_changed)
{
	struct ports_entry *v = calloc(t->n ? t->n : 1, sizeof(*v));
	size_t old = 0;

	if (!v)
		return TL_E_NOMEM;
	for (size_t i = 0; i < t->n; i++) {
		const struct ports_entry *e;
		while (old < o->entry_count && o->entries[old].s.inode < t->v[i].inode)
			entry_gone(o, &o->entries[old++]);
		e = old < o->entry_count && o->entries[old].s.inode == t->v[i].inode
			? &o->entries[old++]
			: NULL;
		if (e && !same_socket(&e->s, &t->v[i])) {
			entry_gone(o, e);
			e = NULL;
		}
		v[i] = e ? *e : entry_new(o, &t->v[i]);
		v[i].kept = false;
		/* a terminal that is new to us may have had it all the time */
		if (v[i].kind == ENTRY_OTHER && holds_changed &&
		    (v[i].s.uid == geteuid() || geteuid() == 0))
			v[i].looks = YOUNG_LOOKS;
		o->others_dirty |= !e && v[i].kind == ENTRY_OTHER;
	}
	while (old < o->entry_count)
		entry_gone(o, &o->entries[old++]);
	free(o->entries);
	o->entries = v;
	o->entry_count = t->n;
	return 0;
}

/* Does one that was owned miss in the answer? */
static bool owned_missing(const struct ports *o, const struct ports_sockets *t)
{
	size_t k = 0;

	for (size_t i = 0; i < o->entry_count; i++) {
		while (k < t->n && t->v[k].inode < o->entries[i].s.inode)
			k++;
		if (o->entries[i].kind == ENTRY_OWNED &&
		    (k == t->n || t->v[k].inode != o->entries[i].s.inode))
			return true;
	}
	return false;
}

static int listeners(struct ports *o, bool holds_changed)
{
	struct ports_sockets t = {0};
	int rc = kernel_listeners(o, &t);

	/* who misses in two answers is gone */
	if (rc == 0 && o->split && owned_missing(o, &t))
		rc = kernel_listeners(o, &t);
	if (rc && rc != TL_E_NOMEM) {
		snprintf(o->reason, sizeof(o->reason), "this host does not list its ports: %s",
			 err_row(rc)->what);
		o->state_wanted |= !o->looked || o->entry_count > 0;
		t.n = 0;
		rc = 0;
	}
	if (rc == 0)
		rc = merge(o, &t, holds_changed);
	sockets_fini(&t);
	return rc;
}

/* What is to be told of the entries once their owners were looked for. */
static void settle(struct ports *o)
{
	o->young = false;
	for (size_t i = 0; i < o->entry_count; i++) {
		struct ports_entry *e = &o->entries[i];
		if (e->kept)
			continue;
		if (e->kind == ENTRY_OWNED) {
			/* its process ended, and whoever inherited it is not to be seen */
			e->kind = ENTRY_YOUNG;
			e->looks = YOUNG_LOOKS;
			o->dirty = true;
		}
		if (e->kind == ENTRY_YOUNG && --e->looks <= 0) {
			e->kind = ENTRY_OTHER;
			/* told at once in the first look, and looked for some more */
			e->looks = o->looked ? 0 : YOUNG_LOOKS;
			o->others_dirty = true;
		}
		o->young |= e->kind == ENTRY_YOUNG;
	}
}

/* ---- must the kernel be asked? ---- */

/* With so many listeners it pays to look first whether anybody can have made one. */
#define MANY 128

struct census {
	struct ports *o;
	pid_t pid;
	size_t known, unknown;
};

static void count_socket(void *ctx, uint64_t inode)
{
	struct census *c = ctx;
	const struct ports_entry *e = entry_find(c->o, inode);

	if (!e)
		c->unknown++;
	else if (e->kind == ENTRY_OWNED && e->pid == c->pid)
		c->known++;
}

static bool has_run(const struct ports_proc *p, const struct ports_proc *old, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (old[i].pid == p->pid && old[i].start == p->start)
			return old[i].cpu_ns != p->cpu_ns;
	return true;
}

/* Does a process that has run since `old`, or is new, have a socket that is not in the list, or
 * none any more that is? What a process with the same sockets can do is to shut one down, which
 * shows a little later. */
static bool may_listen(struct ports *o, const struct ports_proc *old, size_t n)
{
	size_t owned = 0, found = 0;

	/* every process is sought in the other table: with more it is cheaper to ask */
	if (o->proc_count > 256)
		return true;
	for (size_t i = 0; i < o->proc_count; i++) {
		struct census c = {.o = o, .pid = o->procs[i].pid};
		if (o->procs[i].root || !has_run(&o->procs[i], old, n))
			continue;
		if (!tree_sockets(c.pid, count_socket, &c) || c.unknown)
			return true;
		found += c.known;
	}
	for (size_t i = 0; i < o->entry_count; i++) {
		const struct ports_entry *e = &o->entries[i];
		if (e->kind != ENTRY_OWNED)
			continue;
		owned++;
		for (size_t k = 0; k < o->proc_count; k++)
			found += o->procs[k].pid == e->pid && !has_run(&o->procs[k], old, n);
	}
	return found != owned;
}

/* Finds the processes, and whether the kernel must be asked for its sockets. */
static int walk(struct ports *o, bool *ret_ask)
{
	size_t n = o->proc_count;
	bool careful = o->looked && !o->young && o->entry_count >= MANY;
	struct ports_proc *old = careful && n ? malloc(n * sizeof(*old)) : NULL;
	int rc;

	if (old)
		memcpy(old, o->procs, n * sizeof(*old));
	rc = tree_walk(o);
	*ret_ask = !careful || (n && !old) || may_listen(o, old, n);
	free(old);
	return rc;
}

int look(struct ports *o, uint64_t now_ms)
{
	bool holds_changed = false, search = false, ask;
	int rc;

	if (o->holds_moved || !o->looked) {
		o->holds_moved = false;
		holds_changed = tree_find_holds(o, now_ms) || o->holds_new;
		o->holds_new = false;
	}
	rc = walk(o, &ask);
	if (rc == 0 && !ask && !holds_changed && now_ms < o->others_look_ms)
		return 0;
	o->others_look_ms = now_ms + TL_LIMIT_PORTS_OTHERS_MS;
	if (rc == 0)
		rc = listeners(o, holds_changed);
	if (rc)
		return rc;
	for (size_t i = 0; i < o->entry_count; i++) {
		struct ports_entry *e = &o->entries[i];
		e->kept = e->kind == ENTRY_HIDDEN || (e->kind == ENTRY_OWNED && owner_stays(o, e));
		search |= !e->kept && (e->kind != ENTRY_OTHER || e->looks > 0);
		if (e->kind == ENTRY_OTHER && e->looks > 0)
			e->looks--;
	}
	if (search)
		find_owners(o);
	settle(o);
	o->dirty |= !o->looked;
	o->looked = true;
	return 0;
}

void look_name(struct ports *o, pid_t pid)
{
	char text[256];
	size_t n = tree_read(pid, "cmdline", text, sizeof(text));
	struct proc_stat st;
	struct ports_proc p = {.pid = pid};
	struct search f = {o, &p,
			   proc_is_towline(bytes_of(text, n), NULL) ? ENTRY_HIDDEN : ENTRY_OTHER};

	if (tree_stat(pid, &st) != 0)
		return;
	p.start = st.start;
	memcpy(p.comm, st.comm, sizeof(p.comm));
	tree_sockets(pid, on_socket, &f);
}
