/* agent_start.c - see agent_start.h.
 * The lock makes one of many bridges the starter; the others wait for it and then find the socket.
 * A lock whose holder died is free at once (fcntl). */
#include "host/agent_start.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/str.h"
#include "base/version.h"
#include "host/rundir.h"
#include "loop/child.h"
#include "loop/fsx.h"
#include "loop/io.h"
#include "loop/sock.h"
#include "wire/link_frame.h"

int handshake_read_line(int fd, char *out, size_t n)
{
	uint64_t end = clock_mono_ms() + HANDSHAKE_MS;
	size_t have = 0;

	/* byte by byte: what follows the LF is not ours */
	while (have + 1 < n) {
		struct pollfd pf = {.fd = fd, .events = POLLIN};
		uint64_t now = clock_mono_ms();
		ssize_t got;
		if (now >= end)
			return TL_E_TIMEOUT;
		if (poll(&pf, 1, (int)(end - now)) <= 0)
			continue;
		got = read(fd, out + have, 1);
		if (got < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (got <= 0)
			return TL_E_CLOSED;
		if (out[have] == '\n') {
			out[have] = 0;
			return 0;
		}
		have++;
	}
	return TL_E_LIMIT;
}

/* First lines with the agent behind fd; takes fd on failure. */
static int greet(int fd, bool splice, struct handshake_peer *ret_agent, struct tl_err *err)
{
	struct handshake_peer me = {
	    .proto_min = LINK_PROTO, .proto_max = LINK_PROTO, .splice = splice};
	char line[HANDSHAKE_LINE];
	struct buf out;
	uid_t uid;
	int rc;

	str_copy(me.version, sizeof(me.version), TL_VERSION);
	buf_init(&out, HANDSHAKE_LINE);
	rc = peer_uid(fd, &uid);
	if (rc == 0 && uid != geteuid())
		rc = err_set(err, TL_E_ACCES, "cannot use the agent: it runs as user %ld",
			     (long)uid);
	if (rc == 0)
		rc = handshake_put_bridge(&out, &me);
	if (rc == 0)
		rc = fd_write_all(fd, buf_data(&out).p, out.len, HANDSHAKE_MS);
	buf_fini(&out);
	if (rc == 0)
		rc = handshake_read_line(fd, line, sizeof(line));
	if (rc == 0 && handshake_get_agent(line, ret_agent) != 0) {
		struct tl_err said;
		rc = TL_E_PROTO;
		if (handshake_get_word(line, "error", &said) == 0 && said.code)
			rc = err_set(err, said.code, "%.500s", said.text);
	}
	if (rc == 0 && !handshake_overlap(&me, ret_agent))
		rc = err_set(err, TL_E_VERSION,
			     "cannot use the running agent %s (pid %ld): it speaks link protocol "
			     "%d to %d, this build %d",
			     ret_agent->version, ret_agent->pid, ret_agent->proto_min,
			     ret_agent->proto_max, LINK_PROTO);
	if (rc == 0)
		return fd;
	close(fd);
	if (err && !err->code)
		err_set(err, rc == TL_E_TIMEOUT || rc == TL_E_LIMIT ? TL_E_AGENT : rc,
			"cannot talk to the running agent: %s", err_row(rc)->what);
	return err && rc != TL_E_CLOSED ? err->code : rc;
}

/* An agent in any candidate folder. fd, TL_E_NOENT where nobody listens, or what went wrong. */
static int find(const struct agent_where *w, bool splice, struct handshake_peer *ret_agent,
		struct tl_err *err)
{
	struct rundir c[RUNDIR_COUNT];
	size_t n = rundir_candidates(w->run_dir, c);

	for (size_t i = 0; i < n; i++) {
		char path[RUNDIR_SOCKET_MAX + 1];
		int fd;
		/* a folder that others may write could hold anybody's socket */
		if (!rundir_is_ours(c[i].path))
			continue;
		snprintf(path, sizeof(path), "%s/" AGENT_SOCKET, c[i].path, LINK_PROTO);
		fd = connect_unix(path, NULL);
		if (fd >= 0)
			return greet(fd, splice, ret_agent, err);
		if (fd == TL_E_AGAIN)
			return err_set(err, TL_E_AGENT,
				       "cannot talk to the running agent: it does not answer");
	}
	return TL_E_NOENT;
}

/* Reads the new agent's verdict from the pipe: 0, or its error. */
static int await_ready(int fd, struct tl_err *err)
{
	char line[HANDSHAKE_LINE];
	struct tl_err said;
	int rc = handshake_read_line(fd, line, sizeof(line));

	if (rc == TL_E_TIMEOUT)
		return err_set(err, TL_E_AGENT,
			       "cannot start the agent: it was not ready after %d s",
			       HANDSHAKE_MS / 1000);
	if (rc)
		return err_set(err, TL_E_AGENT,
			       "cannot start the agent: it ended before it was ready");
	if (strcmp(line, "ready") == 0)
		return 0;
	if (handshake_get_word(line, "error", &said) == 0 && said.code)
		return err_set(err, TL_E_AGENT, "cannot start the agent: %.500s", said.text);
	return err_set(err, TL_E_AGENT, "cannot start the agent: it said \"%.100s\"", line);
}

static int start(const struct agent_where *w, struct tl_err *err)
{
	struct child_spec spec = {.file = "/proc/self/exe", .fd = {-1, -1, -1}, .ctty = -1};
	struct strv argv = {0};
	char self[4096];
	int pipe_fd[2], rc;

	if (pipe2(pipe_fd, O_CLOEXEC) != 0)
		return err_sys(err, errno, "cannot start the agent: no pipe");
	rc = strv_add(&argv, "towline-host") || strv_add(&argv, "agent") ||
	     strv_add(&argv, "--ready-fd") || strv_add(&argv, "3");
	/* a folder that was not forced is chosen again, in the same way: the agent must know that
	 * there are others to look into */
	if (!rc && w->run_dir)
		rc = strv_add(&argv, "--run-dir") || strv_add(&argv, w->run_dir);
	if (!rc && w->idle_ms)
		rc = strv_add(&argv, "--idle-ms") || strv_add(&argv, w->idle_ms);
	if (rc) {
		rc = err_set(err, TL_E_NOMEM, "cannot start the agent: out of memory");
		goto out;
	}
	/* chroots without /proc: the path we were called by has to do */
	if (access(spec.file, X_OK) != 0 && self_path(self, sizeof(self)) == 0)
		spec.file = self;
	spec.argv = argv.v;
	spec.new_session = true;
	spec.cwd = "/";
	rc = spawn_detached(&spec, pipe_fd[1], err);
	close(pipe_fd[1]);
	pipe_fd[1] = -1;
	if (rc == 0)
		rc = await_ready(pipe_fd[0], err);
out:
	close(pipe_fd[0]);
	if (pipe_fd[1] >= 0)
		close(pipe_fd[1]);
	strv_fini(&argv);
	return rc;
}

static int find_or_start(const struct agent_where *w, bool splice, struct handshake_peer *ret_agent,
			 struct tl_err *err)
{
	char path[RUNDIR_SOCKET_MAX + 1];
	struct rundir run;
	int rc, lock, fd = find(w, splice, ret_agent, err);

	if (fd != TL_E_NOENT)
		return fd;
	rc = rundir_choose(w->run_dir, &run, err);
	if (rc)
		return rc;
	snprintf(path, sizeof(path), "%s/" AGENT_LOCK, run.path, LINK_PROTO);
	lock = fs_lock(path, true, err);
	if (lock < 0)
		return lock;
	fd = find(w, splice, ret_agent, err);
	if (fd == TL_E_NOENT) {
		rc = start(w, err);
		fd = rc ? rc : find(w, splice, ret_agent, err);
		if (fd == TL_E_NOENT)
			err_set(err, fd = TL_E_AGENT,
				"cannot reach the agent: it started but does not answer in %s",
				run.path);
	}
	close(lock);
	return fd;
}

int agent_reach(const struct agent_where *w, bool splice, struct handshake_peer *ret_agent,
		struct tl_err *err)
{
	int fd = TL_E_CLOSED;

	/* one that is just ending (idle, upgrade) hangs up on us; the next one will not */
	for (int i = 0; i < 3 && fd == TL_E_CLOSED; i++) {
		*err = (struct tl_err){0};
		fd = find_or_start(w, splice, ret_agent, err);
	}
	if (fd == TL_E_CLOSED)
		err->code = fd = TL_E_AGENT;
	return fd;
}
