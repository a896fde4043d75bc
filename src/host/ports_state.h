/* ports_state.h - inside of `towline-host ports`. Private to host/ports*.c.
 *
 * Three tables, each made anew in a look and compared with the one before: holds (of terminals and
 * of sessions), the
 * processes below them, and the listening sockets of the host. A look begins with the question
 * whether any of those processes has used the processor since the last one: a process that has not
 * cannot have called listen(), nor started one that did. Only then is the rest looked at.
 * While there is nothing but shells that wait for their terminal, there is no timer: inotify tells
 * when a terminal moves or is made. */
#ifndef TL_HOST_PORTS_STATE_H
#define TL_HOST_PORTS_STATE_H

#include "base/limits.h"
#include "host/ports_parse.h"
#include "wire/jsonrpc.h"

#define HOLD_ID 40

/* A terminal or session: what owns processes. */
struct ports_root {
	char id[HOLD_ID];
	bool kernel; /* a session */
};

struct ports_hold {
	struct ports_root name;
	pid_t pid; /* of its hold process; 0: not reached yet */
	uint64_t start;
	uint64_t seen_ms;
};

/* A process below a hold. */
struct ports_proc {
	pid_t pid;
	uint64_t start;
	uint64_t cpu_ns;
	struct ports_root from; /* of a stray: where it came from */
	char comm[PROC_COMM];
	int tty;
	uint32_t threads;
	bool root;    /* a hold itself */
	bool idler;   /* see proc_is_idler */
	bool towline; /* one of our programs: what it listens on is left out */
	bool stray;   /* outside of the tree by now, but a listener of the list is its */
};

enum entry_kind {
	ENTRY_YOUNG, /* not found below a hold yet */
	ENTRY_OTHER, /* somebody else's */
	ENTRY_OWNED,
	ENTRY_HIDDEN, /* ours */
};

/* A listener of the list. */
struct ports_entry {
	struct ports_socket s;
	enum entry_kind kind;
	int looks; /* still to come while young */
	/* owner, or (only with --once) the process of a listener outside of the tree */
	pid_t pid;
	uint64_t start;
	char comm[PROC_COMM];
	struct ports_root from;
	bool kept; /* its owner was found in this look */
};

/* A terminal device that is watched. */
struct ports_tty {
	int number, wd; /* wd -1: not armed */
	bool used;      /* in this look */
};

#define PORTS_TTYS  1024
#define PORTS_HOLDS (TL_LIMIT_TERMS + TL_LIMIT_KERNELS)

struct ports {
	const char *forced_run_dir;
	bool once, no_netlink, children_unknown;
	/* ports_kernel.c */
	int netlink; /* -1: mode proc */
	uint32_t seq;
	bool split; /* the last answer came in parts, see kernel_listeners */
	char reason[160];
	/* ports_wake.c */
	int inotify;      /* -1: none; then there is always a timer */
	int dir_wd[2];    /* of the run folders */
	bool deaf;        /* a terminal could not be watched */
	bool dirs_deaf;   /* nor a run folder: terminals are looked for in every look */
	bool holds_new;   /* and one was found */
	bool holds_moved; /* terminals came or went */
	bool moved;       /* a terminal did something */
	struct ports_tty *ttys;
	size_t tty_count;
	/* ports_tree.c */
	struct ports_hold holds[PORTS_HOLDS];
	size_t hold_count;
	struct ports_proc *procs;
	size_t proc_count, proc_cap;
	/* ports_look.c */
	struct ports_entry *entries; /* sorted by inode */
	size_t entry_count;
	bool looked, young, dirty, others_dirty;
	bool state_wanted;
	uint64_t others_at_ms;   /* not before are changes of others told */
	uint64_t others_look_ms; /* listeners of others are looked at by then */
	uint64_t rest_ms;        /* at least so long after the last look */
	/* ports_rpc.c */
	struct buf in, out;
	bool ended;
};

/* ---- ports_kernel.c: all listeners of this host ---- */
void kernel_open(struct ports *o);
/* Adds to out and sorts it by inode. 0, TL_E_NOMEM, or an error of /proc. Goes over to /proc for
 * good where netlink fails; o->reason then says why. An answer in several parts (o->split) is no
 * snapshot: what comes or goes between two of them may hide another listener. */
int kernel_listeners(struct ports *o, struct ports_sockets *out);
void kernel_close(struct ports *o);

/* ---- ports_tree.c: terminals, sessions and their processes ---- */
/* Looks which terminals and sessions there are. true when that changed. */
bool tree_find_holds(struct ports *o, uint64_t now_ms);
/* Has nothing below the terminals run since the last look? */
bool tree_quiet(struct ports *o);
/* Finds every process below them anew; parents come before their children. The strays of
 * the list stay. 0 or TL_E_NOMEM. */
int tree_walk(struct ports *o);
/* Only shells that wait, so nothing can begin to listen before a terminal moves. */
bool tree_idle(const struct ports *o, uint64_t now_ms);
/* Processor time of a process and its threads so far; false: it is gone, or cannot be asked. */
bool tree_clock(pid_t pid, uint64_t *ret_ns);
int tree_stat(pid_t pid, struct proc_stat *ret);
/* The processes that a process has started, into out: their number, at most max. */
size_t tree_children(struct ports *o, pid_t pid, uint32_t threads, pid_t *out, size_t max);
/* Up to n - 1 bytes of /proc/PID/NAME, and a NUL. Their number. */
size_t tree_read(pid_t pid, const char *name, char *out, size_t n);
/* Calls fn for every socket that a process has open. false: it may not be looked at. */
bool tree_sockets(pid_t pid, void (*fn)(void *ctx, uint64_t inode), void *ctx);

/* ---- ports_look.c: from the tables to the list ---- */
/* One look. Sets o->dirty where the list changed. A host that does not tell has no listeners, and
 * o->reason says so. 0 or TL_E_NOMEM. */
int look(struct ports *o, uint64_t now_ms);
/* Names process pid at the listeners that it has and that nobody owns. */
void look_name(struct ports *o, pid_t pid);

/* ---- ports_wake.c: what wakes us ---- */
void wake_open(struct ports *o);
/* Reads what inotify has to tell: sets o->moved and o->holds_moved. */
void wake_read(struct ports *o);
/* Watches the terminals of the tree's processes until they move next. */
void wake_arm(struct ports *o);
void ports_wake_close(struct ports *o);

/* ---- ports_rpc.c ---- */
/* Messages in o->in: requests get an error, there are none yet. */
void ports_obey(struct ports *o);
/* What changed, into o->out. */
void ports_report(struct ports *o, uint64_t now_ms);
/* {"ports":[…],"mode":…}; NULL: no memory. */
yyjson_mut_doc *ports_document(struct ports *o, bool with_mode);

#endif
