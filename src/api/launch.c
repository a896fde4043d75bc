/* launch.c - starts towlined when a program needs it. Two programs at once start one: a lock in the
 * runtime folder decides, and the second finds the first one's daemon. The new daemon tells through
 * a pipe whether it listens, so nobody polls and its reason is not lost. */
#include "api/launch.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "api/client.h"
#include "api/place.h"
#include "base/limits.h"
#include "base/str.h"
#include "loop/child.h"
#include "loop/fsx.h"
#include "loop/loop.h"
#include "loop/sock.h"

#define LAUNCH_MS 30000 /* a cold, busy machine needs some seconds at most */
#define LOG_END   2048  /* of the log, for the reason */
#define DAEMON    "towlined"

struct place {
	char control[TL_LIMIT_PATH], dir[TL_LIMIT_PATH], state[TL_LIMIT_PATH];
	char log[TL_LIMIT_PATH];
};

static int find_place(struct place *p, struct tl_err *err)
{
	if (!api_control_path(p->control, sizeof(p->control)))
		return err_set(err, TL_E_LIMIT,
			       "cannot reach the local daemon: the path of its socket below "
			       "XDG_RUNTIME_DIR is longer than a socket's path may be");
	if (!api_state_dir(p->state, sizeof(p->state)))
		return err_set(err, TL_E_NOENT,
			       "cannot start the local daemon: neither HOME nor XDG_STATE_HOME is "
			       "an absolute path of usable length");
	str_copy(p->dir, sizeof(p->dir), p->control);
	*strrchr(p->dir, '/') = 0;
	if (snprintf(p->log, sizeof(p->log), "%s/towlined.log", p->state) >= (int)sizeof(p->log))
		return err_set(err, TL_E_LIMIT, "the path of the daemon's log is too long");
	return 0;
}

/* fd, TL_E_NODAEMON when nobody listens, or another error. */
static int try_connect(const struct place *p, struct tl_err *err)
{
	struct tl_err why = {0};
	int fd = connect_unix(p->control, &why);

	if (fd == TL_E_NOENT || fd == TL_E_REFUSED)
		return err_set(err, TL_E_NODAEMON, "the local daemon does not run");
	if (fd < 0)
		return err_set(err, fd, "cannot reach the local daemon: %s", why.text);
	return fd;
}

/* The last line of the log, for a daemon that ended without a word. */
static void last_line(const struct place *p, char *out, size_t n)
{
	char text[LOG_END + 1];
	int fd = open(p->log, O_RDONLY | O_CLOEXEC);
	off_t end = fd >= 0 ? lseek(fd, 0, SEEK_END) : 0;
	ssize_t got = 0;
	char *lf;

	out[0] = 0;
	if (fd < 0)
		return;
	got = pread(fd, text, LOG_END, end > LOG_END ? end - LOG_END : 0);
	close(fd);
	if (got <= 0)
		return;
	text[got] = 0;
	if (text[got - 1] == '\n')
		text[got - 1] = 0;
	lf = strrchr(text, '\n');
	str_copy(out, n, lf ? lf + 1 : text);
}

/* Beside our own executable, else in the library's installation, else by PATH. */
static void daemon_file(char *out, size_t n)
{
	struct place_files files;
	char *slash;

	if (self_path(out, n) == 0 && (slash = strrchr(out, '/')) &&
	    (size_t)(slash - out) + sizeof(DAEMON) + 1 < n) {
		memcpy(slash + 1, DAEMON, sizeof(DAEMON));
		if (access(out, X_OK) == 0)
			return;
	}
	if (place_find(&files, NULL) == 0 && files.daemon[0] && str_copy(out, n, files.daemon))
		return;
	str_copy(out, n, DAEMON);
}

static int spawn_daemon(const struct place *p, int ready_fd, struct tl_err *err)
{
	char file[TL_LIMIT_PATH], option[] = "--ready-fd", number[] = "3";
	char *argv[] = {file, option, number, NULL};
	struct child_spec spec = {.file = file, .argv = argv, .cwd = "/", .fd = {-1, -1, -1}};
	struct tl_err why = {0};
	int rc;

	daemon_file(file, sizeof(file));
	spec.ctty = -1;
	spec.new_session = true;
	spec.fd[2] = open(p->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	rc = spawn_detached(&spec, ready_fd, &why);
	if (spec.fd[2] >= 0)
		close(spec.fd[2]);
	if (rc)
		return err_set(err, TL_E_NODAEMON, "cannot start the local daemon: %s", why.text);
	return 0;
}

/* One line from the daemon: 1 it listens, 0 it ended without a word, or its error. */
static int read_ready(int fd, const struct place *p, struct tl_err *err)
{
	uint8_t line[TL_LIMIT_OPEN_LINE];
	size_t len = 0;
	uint64_t end = clock_mono_ms() + LAUNCH_MS;
	struct jsonrpc_msg m = {0};
	yyjson_doc *doc;
	int rc;

	while (len < sizeof(line) && !memchr(line, '\n', len)) {
		struct pollfd pf = {.fd = fd, .events = POLLIN};
		uint64_t now = clock_mono_ms();
		ssize_t n;
		if (now >= end)
			return err_set(
			    err, TL_E_NODAEMON,
			    "the local daemon was started but does not answer; its log is %s",
			    p->log);
		if (poll(&pf, 1, (int)(end - now)) <= 0)
			continue;
		n = read(fd, line + len, sizeof(line) - len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return 0;
		len += (size_t)n;
	}
	doc = json_parse(bytes_of(line, len), NULL);
	m.error = json_get(yyjson_doc_get_root(doc), "error");
	rc = m.error ? jsonrpc_error_of(&m, err) : doc ? 1 : 0;
	yyjson_doc_free(doc);
	return rc;
}

static int start_daemon(const struct place *p, struct tl_err *err)
{
	char line[400];
	int pipefd[2], rc;

	if (pipe2(pipefd, O_CLOEXEC) != 0)
		return err_sys(err, errno, "cannot start the local daemon");
	rc = spawn_daemon(p, pipefd[1], err);
	close(pipefd[1]);
	if (rc == 0) {
		rc = read_ready(pipefd[0], p, err);
		if (rc == 0) {
			last_line(p, line, sizeof(line));
			rc = err_set(err, TL_E_NODAEMON,
				     "the local daemon ended as soon as it was started: %s",
				     line[0] ? line : "it left no word in its log");
		}
	}
	close(pipefd[0]);
	return rc;
}

int launch_connect(bool start, struct tl_err *err)
{
	struct place p;
	char lock_path[TL_LIMIT_PATH + 16];
	int fd, lock, rc = find_place(&p, err);

	if (rc)
		return rc;
	fd = try_connect(&p, err);
	if (fd != TL_E_NODAEMON || !start)
		return fd;
	if ((rc = private_dir(p.dir, err)) || (rc = private_dir(p.state, err)))
		return rc;
	snprintf(lock_path, sizeof(lock_path), "%s/start.lock", p.dir);
	lock = fs_lock(lock_path, true, err);
	if (lock < 0)
		return lock;
	fd = try_connect(&p, err);
	if (fd == TL_E_NODAEMON) {
		rc = start_daemon(&p, err);
		fd = rc < 0 && rc != TL_E_EXIST ? rc : try_connect(&p, err);
	}
	close(lock);
	return fd;
}
