/* child.h - child processes: with pipes, with a pty, or detached for ever. Owns nothing but the
 * struct. */
#ifndef TL_LOOP_CHILD_H
#define TL_LOOP_CHILD_H

#include <sys/types.h>

#include "base/list.h"
#include "loop/loop.h"

/* What to run. argv and envp are NULL-terminated and borrowed; envp NULL: our environment; cwd
 * NULL: ours. */
struct child_spec {
	const char *file; /* searched on PATH when without slash; NULL: argv[0] */
	char *const *argv;
	char *const *envp;
	const char *cwd;
	int fd[3];        /* descriptors to become 0, 1, 2; -1: /dev/null */
	bool new_session; /* setsid: own session and process group, no controlling terminal */
	bool new_group;   /* own process group in our session */
	int ctty;         /* >= 0: pty slave that becomes controlling terminal and 0, 1, 2 (implies
			     new_session) */
	int end_signal;   /* what it gets when we end, whatever ends us; 0: nothing */
	bool default_signals; /* always: signal mask and handlers are reset; kept for documentation
			       */
};

struct child {
	struct loop *loop;
	pid_t pid; /* 0 when none */
	struct list node;
	void (*on_exit)(void *ctx, int kind,
			int value); /* kind 0: exit status value; 1: ended by signal value */
	void *ctx;
};

/* Forks and executes. Exec failures of the child are reported here (NOENT, ACCES, …), not as a
 * later exit. All other descriptors are closed in the child. SIGCHLD is handled once per process,
 * or not at all in a guest loop; on_exit comes from the loop. */
int child_spawn(struct loop *l, struct child *c, const struct child_spec *spec,
		void (*on_exit)(void *, int, int), void *ctx, struct tl_err *err);
/* Signal to the process, or (group) to its process group. */
int child_kill(struct child *c, int signo, bool group);
/* Frees what watched the children of a guest loop; only for loop_fini. */
void child_watches_fini(struct loop *l);
/* From now on the orphans among our descendants become our children, whoever their parents were
 * (PR_SET_CHILD_SUBREAPER), and the loop reaps them. On kernels without it nothing changes. */
void child_adopt_orphans(struct loop *l);
/* No on_exit any more; the process goes on and is still reaped. */
void child_forget(struct child *c);

/* The same without a loop, for a thread that may block: the caller waits for *ret_pid itself. */
int child_start(const struct child_spec *spec, pid_t *ret_pid, struct tl_err *err);
/* Double fork + setsid: a process that outlives us and is nobody's child here. Extra descriptor
 * keep_fd (or -1) becomes 3 in it. */
int spawn_detached(const struct child_spec *spec, int keep_fd, struct tl_err *err);

/* A pty pair, close-on-exec, sized. */
int pty_open(int *ret_master, int *ret_slave, unsigned cols, unsigned rows, struct tl_err *err);
/* No line discipline: what is typed goes to the program as it is, without an echo. */
int pty_raw(int slave);
int pty_resize(int master, unsigned cols, unsigned rows);
/* Foreground process group of the terminal, or negative. */
pid_t pty_foreground(int master);

/* Absolute path of the running program. */
int self_path(char *out, size_t n);

#endif
