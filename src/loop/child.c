/* child.c - child processes. Everything between fork and exec is async-signal-safe.
 * Exec failures travel back through a close-on-exec pipe, so callers learn them at once. */
#include "loop/child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "loop/io.h"

extern char **environ;

/* A child nobody waits for any more; only its zombie matters. */
struct orphan {
	struct list node; /* first: freed as such */
	pid_t pid;
};

static void exit_of(int status, int *ret_kind, int *ret_value)
{
	*ret_kind = WIFSIGNALED(status) ? 1 : 0;
	*ret_value = WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status);
}

/* Status 255 where the program around us has taken it: ssh's own word for "failed". */
#define STATUS_STOLEN (255 << 8)

static void reap_all(struct loop *l)
{
	bool again = true;
	int status;

	LIST_FOREACH_SAFE (it, &l->orphans) {
		struct orphan *o = list_entry(it, struct orphan, node);
		if (waitpid(o->pid, &status, WNOHANG) != 0) {
			list_del(it);
			free(o);
		}
	}
	/* callbacks may change the list: start over after each */
	while (again) {
		again = false;
		LIST_FOREACH (it, &l->children) {
			struct child *c = list_entry(it, struct child, node);
			int kind, value;
			pid_t got = waitpid(c->pid, &status, WNOHANG);
			if (got < 0 && errno == ECHILD && l->guest)
				status = STATUS_STOLEN;
			else if (got != c->pid)
				continue;
			list_del(&c->node);
			c->pid = 0;
			exit_of(status, &kind, &value);
			if (c->on_exit)
				c->on_exit(c->ctx, kind, value);
			again = true;
			break;
		}
	}
}

/* What is not in our lists was adopted. true: one of ours has ended meanwhile, reap_all comes first
 * again. */
static bool reap_adopted(struct loop *l)
{
	siginfo_t info;

	for (;;) {
		memset(&info, 0, sizeof(info));
		if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) != 0 || info.si_pid == 0)
			return false;
		LIST_FOREACH (it, &l->children)
			if (list_entry(it, struct child, node)->pid == info.si_pid)
				return true;
		waitpid(info.si_pid, NULL, WNOHANG);
	}
}

static void reap(uv_signal_t *uv, int signo)
{
	struct loop *l = uv->data;

	(void)signo;
	do
		reap_all(l);
	while (l->adopts && reap_adopted(l));
}

/* ---- guests: a descriptor for each child instead of the signal ---- */

#define WATCH_MS 20 /* between looks, on kernels without such descriptors */

/* Lives until its child has ended, at most as long as the loop. */
struct watch {
	struct list node; /* first: freed as such */
	struct loop *loop;
	int fd; /* -1: timer */
	union {
		uv_poll_t poll;
		uv_timer_t timer;
		uv_handle_t handle;
	} uv;
};

static void watch_free(struct watch *w)
{
	list_del(&w->node);
	if (w->fd >= 0)
		close(w->fd);
	free(w);
}

static void watch_closed(uv_handle_t *h)
{
	watch_free(h->data);
}

static void watch_polled(uv_poll_t *uv, int status, int events)
{
	struct watch *w = uv->data;
	struct loop *l = w->loop;

	(void)status;
	(void)events;
	uv_close(&w->uv.handle, watch_closed);
	reap_all(l);
}

static void watch_timed(uv_timer_t *uv)
{
	struct watch *w = uv->data;
	struct loop *l = w->loop;

	reap_all(l);
	if (list_empty(&l->children) && list_empty(&l->orphans) && !uv_is_closing(&w->uv.handle))
		uv_close(&w->uv.handle, watch_closed);
}

static int watch_start(struct loop *l, pid_t pid)
{
	struct watch *w = calloc(1, sizeof(*w));

	if (!w)
		return TL_E_NOMEM;
	w->loop = l;
	w->fd = -1;
#ifdef SYS_pidfd_open
	w->fd = (int)syscall(SYS_pidfd_open, pid, 0);
#endif
	if (w->fd >= 0 && uv_poll_init(&l->uv, &w->uv.poll, w->fd) != 0) {
		close(w->fd);
		free(w);
		return TL_E_NOMEM;
	}
	if (w->fd < 0)
		uv_timer_init(&l->uv, &w->uv.timer);
	w->uv.handle.data = w;
	list_add_tail(&l->watches, &w->node);
	if (w->fd >= 0)
		uv_poll_start(&w->uv.poll, UV_READABLE, watch_polled);
	else
		uv_timer_start(&w->uv.timer, watch_timed, WATCH_MS, WATCH_MS);
	uv_unref(&w->uv.handle);
	return 0;
}

void child_watches_fini(struct loop *l)
{
	LIST_FOREACH_SAFE (it, &l->watches)
		watch_free(list_entry(it, struct watch, node));
}

void child_adopt_orphans(struct loop *l)
{
	l->adopts = prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0;
}

static int reaper_start(struct loop *l)
{
	if (l->sigchld_on || l->guest)
		return 0;
	if (uv_signal_init(&l->uv, &l->sigchld) != 0)
		return TL_E_NOMEM;
	l->sigchld.data = l;
	uv_signal_start(&l->sigchld, reap, SIGCHLD);
	uv_unref((uv_handle_t *)&l->sigchld);
	l->sigchld_on = true;
	return 0;
}

/* ---- after fork ---- */

static void close_from(int low)
{
#ifdef SYS_close_range
	if (syscall(SYS_close_range, (unsigned)low, ~0U, 0) == 0)
		return;
#endif
	/* old kernels: our own descriptors are close-on-exec, inherited ones are few and small */
	for (int fd = low; fd < 1024; fd++)
		close(fd);
}

static void reset_signals(void)
{
	sigset_t none;
	struct sigaction sa;

	memset(&sa, 0, sizeof(sa));
	sa.sa_handler = SIG_DFL;
	for (int s = 1; s < 32; s++)
		sigaction(s, &sa, NULL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

/* fds[0..n-1] become descriptors 0..n-1; the report pipe becomes n and closes on exec. */
static int place_fds(const int *fds, int n, int *report)
{
	int high[5];

	*report = fcntl(*report, F_DUPFD_CLOEXEC, 16);
	if (*report < 0)
		return -1;
	for (int i = 0; i < n; i++) {
		int fd = fds[i] >= 0 ? fds[i] : open("/dev/null", O_RDWR);
		/* hosts without /dev/null exist: any closed-looking descriptor is better than a
		 * missing one */
		if (fd < 0)
			fd = *report;
		high[i] = fcntl(fd, F_DUPFD_CLOEXEC, 16);
		if (high[i] < 0)
			return -1;
	}
	for (int i = 0; i < n; i++)
		if (dup2(high[i], i) < 0)
			return -1;
	if (dup3(*report, n, O_CLOEXEC) < 0)
		return -1;
	*report = n;
	close_from(n + 1);
	return 0;
}

static void exec_child(const struct child_spec *s, const int *fds, int n, int report)
{
	const char *file = s->file ? s->file : s->argv[0];
	int e;

	reset_signals();
	if (s->new_session || s->ctty >= 0)
		setsid();
	else if (s->new_group)
		setpgid(0, 0);
	if (s->end_signal)
		prctl(PR_SET_PDEATHSIG, s->end_signal);
	if (place_fds(fds, n, &report) != 0)
		goto fail;
	if (s->ctty >= 0 && ioctl(0, TIOCSCTTY, 0) != 0)
		goto fail;
	if (s->cwd && chdir(s->cwd) != 0)
		goto fail;
	if (s->envp)
		environ = (char **)(uintptr_t)s->envp;
	execvp(file, s->argv);
fail:
	e = errno;
	if (write(report, &e, sizeof(e)) != (ssize_t)sizeof(e))
		_exit(126);
	_exit(127);
}

/* Waits for the report pipe to close (exec worked) or to carry an errno. */
static int exec_report(int fd)
{
	int e = 0;
	size_t have = 0;

	while (have < sizeof(e)) {
		ssize_t got = read(fd, (char *)&e + have, sizeof(e) - have);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			break;
		have += (size_t)got;
	}
	return have == sizeof(e) ? e : 0;
}

static void spec_fds(const struct child_spec *s, int fds[3])
{
	for (int i = 0; i < 3; i++)
		fds[i] = s->ctty >= 0 ? s->ctty : s->fd[i];
}

int child_start(const struct child_spec *spec, pid_t *ret_pid, struct tl_err *err)
{
	int report[2], fds[3], e, status;
	pid_t pid;

	*ret_pid = 0;
	spec_fds(spec, fds);
	if (pipe2(report, O_CLOEXEC) != 0)
		return err_sys(err, errno, "cannot make a pipe");
	pid = fork();
	if (pid < 0) {
		e = errno;
		close(report[0]);
		close(report[1]);
		return err_sys(err, e, "cannot start a process");
	}
	if (pid == 0)
		exec_child(spec, fds, 3, report[1]);
	close(report[1]);
	e = exec_report(report[0]);
	close(report[0]);
	if (e) {
		while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
			;
		return err_sys(err, e, "cannot run %s", spec->file ? spec->file : spec->argv[0]);
	}
	*ret_pid = pid;
	return 0;
}

int child_spawn(struct loop *l, struct child *c, const struct child_spec *spec,
		void (*on_exit)(void *, int, int), void *ctx, struct tl_err *err)
{
	int rc, status;
	pid_t pid;

	memset(c, 0, sizeof(*c));
	list_init(&c->node);
	if (reaper_start(l))
		return err_set(err, TL_E_NOMEM, "cannot watch child processes");
	rc = child_start(spec, &pid, err);
	if (rc)
		return rc;
	if (l->guest && watch_start(l, pid) != 0) {
		kill(pid, SIGKILL);
		while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
			;
		return err_set(err, TL_E_NOMEM, "cannot watch child processes");
	}
	c->loop = l;
	c->pid = pid;
	c->on_exit = on_exit;
	c->ctx = ctx;
	list_add_tail(&l->children, &c->node);
	return 0;
}

int child_kill(struct child *c, int signo, bool group)
{
	if (c->pid <= 0)
		return TL_E_CLOSED;
	return kill(group ? -c->pid : c->pid, signo) == 0 ? 0 : err_from_errno(errno);
}

void child_forget(struct child *c)
{
	struct orphan *o;
	int status;

	if (c->pid <= 0)
		return;
	list_del(&c->node);
	o = waitpid(c->pid, &status, WNOHANG) == 0 ? malloc(sizeof(*o)) : NULL;
	if (o) {
		o->pid = c->pid;
		list_add_tail(&c->loop->orphans, &o->node);
	}
	c->pid = 0;
}

int spawn_detached(const struct child_spec *spec, int keep_fd, struct tl_err *err)
{
	int report[2], fds[4], e, status;
	pid_t pid;

	spec_fds(spec, fds);
	fds[3] = keep_fd;
	if (pipe2(report, O_CLOEXEC) != 0)
		return err_sys(err, errno, "cannot make a pipe");
	pid = fork();
	if (pid < 0) {
		e = errno;
		close(report[0]);
		close(report[1]);
		return err_sys(err, e, "cannot start a process");
	}
	if (pid == 0) {
		setsid();
		pid = fork();
		if (pid == 0)
			exec_child(spec, fds, keep_fd >= 0 ? 4 : 3, report[1]);
		if (pid < 0) {
			e = errno;
			if (write(report[1], &e, sizeof(e)) < 0)
				_exit(1);
		}
		_exit(0);
	}
	close(report[1]);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	e = exec_report(report[0]);
	close(report[0]);
	if (e)
		return err_sys(err, e, "cannot run %s", spec->file ? spec->file : spec->argv[0]);
	return 0;
}

int self_path(char *out, size_t n)
{
	static const char gone[] = " (deleted)";
	ssize_t got = readlink("/proc/self/exe", out, n - 1);

	if (got <= 0 || (size_t)got >= n - 1)
		return TL_E_IO;
	out[got] = 0;
	/* replaced while running: the path is still where the new one lies */
	if ((size_t)got > sizeof(gone) && strcmp(out + got - (sizeof(gone) - 1), gone) == 0)
		out[got - (ssize_t)(sizeof(gone) - 1)] = 0;
	return 0;
}
