/* ports_tree.c - the processes below this user's terminals and sessions (see ports_state.h). Only
 * they are looked at: the rest of /proc is never read, but on kernels that do not tell a process's
 * children. A hold takes in what its programs leave behind (it is a subreaper), so a daemon started
 * in a terminal stays in the tree as long as that terminal is there. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/str.h"
#include "host/agent_holds.h"
#include "host/ports_state.h"

#define CHILDREN_MAX 4096
/* A hold without a program is a new one, or one that ended and waits for its reader. */
#define FRESH_MS 30000

/* ---- one process ---- */

size_t tree_read(pid_t pid, const char *name, char *out, size_t n)
{
	char path[64];
	size_t got = 0;
	int fd;

	snprintf(path, sizeof(path), "/proc/%ld/%s", (long)pid, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	while (fd >= 0 && got + 1 < n) {
		ssize_t k = read(fd, out + got, n - 1 - got);
		if (k < 0 && errno == EINTR)
			continue;
		if (k <= 0)
			break;
		got += (size_t)k;
	}
	if (fd >= 0)
		close(fd);
	out[got] = 0;
	return got;
}

int tree_stat(pid_t pid, struct proc_stat *ret)
{
	char text[1024];
	size_t n = tree_read(pid, "stat", text, sizeof(text));

	return proc_stat_parse(bytes_of(text, n), ret);
}

bool tree_clock(pid_t pid, uint64_t *ret_ns)
{
	/* what clock_getcpuclockid gives, without its extra question */
	clockid_t id = (clockid_t)((~(unsigned)pid << 3) | 2);
	struct timespec t;

	if (clock_gettime(id, &t) != 0)
		return false;
	*ret_ns = (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
	return true;
}

bool tree_sockets(pid_t pid, void (*fn)(void *ctx, uint64_t inode), void *ctx)
{
	char path[64], link[64];
	const struct dirent *e;
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%ld/fd", (long)pid);
	d = opendir(path);
	if (!d)
		return errno != EACCES && errno != EPERM;
	while ((e = readdir(d))) {
		ssize_t n = readlinkat(dirfd(d), e->d_name, link, sizeof(link) - 1);
		uint64_t inode;
		if (n <= 0)
			continue;
		link[n] = 0;
		inode = proc_fd_inode(link);
		if (inode)
			fn(ctx, inode);
	}
	closedir(d);
	return true;
}

/* ---- children ---- */

/* Children of one thread, added to out. false: this kernel does not tell. */
static bool children_of_thread(pid_t pid, const char *tid, pid_t *out, size_t max, size_t *n)
{
	char name[64], text[16384];
	struct tl_bytes t;
	pid_t child;

	snprintf(name, sizeof(name), "task/%.20s/children", tid);
	t = bytes_of(text, tree_read(pid, name, text, sizeof(text)));
	/* a blank follows every number; one that was cut off is another process's */
	while (t.n && t.p[t.n - 1] != ' ')
		t.n--;
	if (t.n == 0) {
		char path[96];
		snprintf(path, sizeof(path), "/proc/%ld/%.60s", (long)pid, name);
		return access(path, F_OK) == 0 || kill(pid, 0) != 0;
	}
	while (*n < max && (child = proc_next_pid(&t)))
		out[(*n)++] = child;
	return true;
}

/* The slow way: everybody who says so. */
static size_t children_by_parent(pid_t pid, pid_t *out, size_t max)
{
	DIR *d = opendir("/proc");
	const struct dirent *e;
	size_t n = 0;

	while (d && n < max && (e = readdir(d))) {
		struct proc_stat st;
		long long p;
		if (str_to_int(e->d_name, 1, INT32_MAX, &p) && tree_stat((pid_t)p, &st) == 0 &&
		    st.ppid == pid)
			out[n++] = st.pid;
	}
	if (d)
		closedir(d);
	return n;
}

size_t tree_children(struct ports *o, pid_t pid, uint32_t threads, pid_t *out, size_t max)
{
	char name[32];
	size_t n = 0;

	if (o->children_unknown)
		return children_by_parent(pid, out, max);
	snprintf(name, sizeof(name), "%ld", (long)pid);
	if (threads <= 1) {
		o->children_unknown = !children_of_thread(pid, name, out, max, &n);
	} else {
		char path[64];
		const struct dirent *e;
		DIR *d;
		snprintf(path, sizeof(path), "/proc/%ld/task", (long)pid);
		d = opendir(path);
		while (d && (e = readdir(d)) && n < max)
			if (e->d_name[0] != '.' &&
			    !children_of_thread(pid, e->d_name, out, max, &n))
				break;
		if (d)
			closedir(d);
	}
	return o->children_unknown ? children_by_parent(pid, out, max) : n;
}

/* ---- terminals and sessions ---- */

/* Which process listens on the hold's socket. 0: not known; then *again says whether it may be in
 * a moment: a socket has its name before anybody listens on it. */
static pid_t hold_pid(struct ports *o, const char *id, bool kernel, bool *again)
{
	struct ucred who = {0};
	socklen_t n = sizeof(who);
	int fd = kernel ? kernel_connect(o->forced_run_dir, id, NULL)
			: hold_connect(o->forced_run_dir, id, NULL);

	*again |= fd == TL_E_NOTERM || fd == TL_E_NOKERNEL;
	if (fd < 0)
		return 0;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &n) != 0)
		who.pid = 0;
	close(fd);
	return who.pid > 1 ? who.pid : 0;
}

struct finding {
	struct ports *o;
	struct ports_hold found[PORTS_HOLDS];
	size_t n;
	uint64_t now_ms;
	bool kernel, changed, again;
};

static bool same_root(const struct ports_root *a, const struct ports_root *b)
{
	return a->kernel == b->kernel && strcmp(a->id, b->id) == 0;
}

static bool hold_alive(const struct ports_hold *h)
{
	struct proc_stat st;

	return h->pid && tree_stat(h->pid, &st) == 0 && st.start == h->start && st.state != 'Z';
}

static void found_one(void *ctx, const char *id)
{
	struct finding *f = ctx;
	struct ports_root name = {.kernel = f->kernel};
	struct ports_hold *h;
	struct proc_stat st;

	if (f->n >= PORTS_HOLDS || !str_copy(name.id, sizeof(name.id), id))
		return;
	h = &f->found[f->n];
	for (size_t i = 0; i < f->o->hold_count; i++) {
		if (same_root(&f->o->holds[i].name, &name) && hold_alive(&f->o->holds[i])) {
			*h = f->o->holds[i];
			f->n++;
			return;
		}
	}
	*h = (struct ports_hold){
	    .name = name, .pid = hold_pid(f->o, id, f->kernel, &f->again), .seen_ms = f->now_ms};
	if (!h->pid || tree_stat(h->pid, &st) != 0)
		return;
	h->start = st.start;
	f->n++;
	f->changed = true;
}

bool tree_find_holds(struct ports *o, uint64_t now_ms)
{
	struct finding *f = calloc(1, sizeof(*f));
	bool changed;

	if (!f)
		return false;
	f->o = o;
	f->now_ms = now_ms;
	holds_each(o->forced_run_dir, found_one, f);
	f->kernel = true;
	kernels_each(o->forced_run_dir, found_one, f);
	changed = f->changed || f->n != o->hold_count;
	memcpy(o->holds, f->found, f->n * sizeof(f->found[0]));
	o->hold_count = f->n;
	/* nothing tells when it listens: the next look asks once more */
	o->holds_moved |= f->again;
	free(f);
	return changed;
}

/* ---- the tree ---- */

static struct ports_proc *proc_new(struct ports *o)
{
	if (o->proc_count == o->proc_cap) {
		size_t cap = o->proc_cap ? o->proc_cap * 2 : 64;
		struct ports_proc *v = realloc(o->procs, cap * sizeof(*v));
		if (!v)
			return NULL;
		o->procs = v;
		o->proc_cap = cap;
	}
	o->procs[o->proc_count] = (struct ports_proc){.tty = -1};
	return &o->procs[o->proc_count++];
}

/* Appends a process. 0, TL_E_NOENT: it is gone; TL_E_NOMEM. */
static int proc_add(struct ports *o, pid_t pid, const struct ports_root *from)
{
	char cmdline[256];
	struct tl_bytes args;
	struct ports_proc *p;
	struct proc_stat st;
	uint64_t cpu_ns;
	/* the clock first: what runs between the two shows in the next look */
	bool clock = tree_clock(pid, &cpu_ns);

	if (tree_stat(pid, &st) != 0 || st.state == 'Z')
		return TL_E_NOENT;
	p = proc_new(o);
	if (!p)
		return TL_E_NOMEM;
	args = bytes_of(cmdline, tree_read(pid, "cmdline", cmdline, sizeof(cmdline)));
	p->pid = pid;
	p->start = st.start;
	p->tty = st.tty;
	p->threads = st.threads;
	p->cpu_ns = clock ? cpu_ns : 0;
	/* a command line of more than the room is no shell at its prompt */
	p->idler = args.n + 1 < sizeof(cmdline) && proc_is_idler(st.comm, args);
	p->towline = proc_is_towline(args, NULL);
	memcpy(p->comm, st.comm, sizeof(p->comm));
	p->from = *from;
	return 0;
}

/* Listeners whose process has left the tree: followed until they end. */
static int add_strays(struct ports *o)
{
	for (size_t i = 0; i < o->entry_count; i++) {
		const struct ports_entry *e = &o->entries[i];
		bool known = e->kind != ENTRY_OWNED;
		int rc;
		for (size_t k = 0; k < o->proc_count && !known; k++)
			known = o->procs[k].pid == e->pid;
		if (known)
			continue;
		rc = proc_add(o, e->pid, &e->from);
		if (rc == TL_E_NOMEM)
			return rc;
		if (rc == 0 && o->procs[o->proc_count - 1].start == e->start)
			o->procs[o->proc_count - 1].stray = true;
		else if (rc == 0)
			o->proc_count--;
	}
	return 0;
}

static bool is_hold(const struct ports *o, pid_t pid)
{
	for (size_t i = 0; i < o->hold_count; i++)
		if (o->holds[i].pid == pid)
			return true;
	return false;
}

/* Adds what is below the processes from `first` on. The table is the queue: parents come before
 * their children. */
static int walk_from(struct ports *o, size_t first, pid_t *children)
{
	for (size_t i = first; i < o->proc_count; i++) {
		const struct ports_proc *p = &o->procs[i];
		/* the table may move */
		struct ports_root from = p->from;
		size_t n = tree_children(o, p->pid, p->threads, children, CHILDREN_MAX);
		for (size_t k = 0; k < n && o->proc_count < TL_LIMIT_PORTS_PROCESSES; k++) {
			/* a terminal may have been made from another one */
			if (!is_hold(o, children[k]) &&
			    proc_add(o, children[k], &from) == TL_E_NOMEM)
				return TL_E_NOMEM;
		}
	}
	return 0;
}

int tree_walk(struct ports *o)
{
	pid_t *children = malloc(CHILDREN_MAX * sizeof(*children));
	int rc = children ? 0 : TL_E_NOMEM;
	size_t in_tree;

	o->proc_count = 0;
	for (size_t i = 0; i < o->hold_count && rc != TL_E_NOMEM; i++) {
		rc = proc_add(o, o->holds[i].pid, &o->holds[i].name);
		if (rc == 0)
			o->procs[o->proc_count - 1].root = true;
	}
	if (rc != TL_E_NOMEM)
		rc = walk_from(o, 0, children);
	in_tree = o->proc_count;
	if (rc == 0)
		rc = add_strays(o);
	if (rc == 0)
		rc = walk_from(o, in_tree, children);
	free(children);
	return rc;
}

bool tree_quiet(struct ports *o)
{
	bool quiet = true;

	for (size_t i = 0; i < o->proc_count; i++) {
		struct ports_proc *p = &o->procs[i];
		uint64_t now_ns;
		/* a hold runs whenever its terminal moves, which says nothing about its programs */
		if (p->root)
			continue;
		if (!tree_clock(p->pid, &now_ns) || now_ns != p->cpu_ns)
			quiet = false;
	}
	return quiet;
}

bool tree_idle(const struct ports *o, uint64_t now_ms)
{
	for (size_t i = 0; i < o->proc_count; i++)
		if (!o->procs[i].root && !o->procs[i].idler)
			return false;
	for (size_t i = 0; i < o->hold_count; i++) {
		bool program = false;
		for (size_t k = 0; k < o->proc_count && !program; k++)
			program =
			    !o->procs[k].root && same_root(&o->procs[k].from, &o->holds[i].name);
		if (!program && now_ms - o->holds[i].seen_ms < FRESH_MS)
			return false;
	}
	return true;
}
