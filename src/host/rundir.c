/* rundir.c - see rundir.h.
 * Invariant: a folder is only used after lstat said that it is ours and closed to others; names of
 * machines are part of the path because homes are shared over NFS and sockets are not. */
#include "host/rundir.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/str.h"
#include "loop/fsx.h"
#include "loop/sock.h"

/* Written once a socket worked in the folder, so that later calls need not try again. */
#define RUNDIR_PROVEN "sockets-work"

int server_dir(char *out, size_t n)
{
	const char *set = getenv("TOWLINE_SERVER_DIR");
	char home[TL_LIMIT_PATH];
	int rc;

	if (set && set[0] == '/')
		return str_copy(out, n, set) ? 0 : TL_E_LIMIT;
	rc = home_dir(home, sizeof(home));
	if (rc)
		return rc;
	rc = snprintf(out, n, "%s/.towline-server", home);
	return rc > 0 && (size_t)rc < n ? 0 : TL_E_LIMIT;
}

/* Host names go into a path: nothing but letters, digits, dot and dash survives. */
static void host_part(char *out, size_t n)
{
	if (gethostname(out, n) != 0)
		str_copy(out, n, "localhost");
	out[n - 1] = 0;
	for (char *c = out; *c; c++)
		if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_",
			    *c))
			*c = '_';
	if (!out[0] || out[0] == '.')
		str_copy(out, n, "localhost");
}

size_t rundir_candidates(const char *forced, struct rundir ret[RUNDIR_COUNT])
{
	char base[TL_LIMIT_PATH], name[65], path[TL_LIMIT_PATH + 80];
	size_t n = 0;

	if (forced)
		return str_copy(ret[0].path, sizeof(ret[0].path), forced) ? 1 : 0;
	host_part(name, sizeof(name));
	if (server_dir(base, sizeof(base)) == 0) {
		snprintf(path, sizeof(path), "%s/run/%s", base, name);
		if (str_copy(ret[n].path, sizeof(ret[n].path), path))
			n++;
	}
	snprintf(ret[n].path, sizeof(ret[n].path), "/tmp/towline-server-%ld", (long)geteuid());
	return n + 1;
}

bool rundir_is_ours(const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0 && S_ISDIR(st.st_mode) && st.st_uid == geteuid() &&
	       (st.st_mode & 077) == 0;
}

/* Binds and removes a socket: the only honest answer on network and FUSE file systems. */
static int socket_works(const char *dir, struct tl_err *err)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	char path[RUNDIR_SOCKET_MAX + 1];
	int fd, rc = 0;

	snprintf(path, sizeof(path), "%s/try-%ld.sock", dir, (long)getpid());
	memcpy(sa.sun_path, path, strlen(path) + 1);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return err_sys(err, errno, "cannot make a socket");
	unlink(path);
	if (bind(fd, (struct sockaddr *)&sa, sizeof(sa)) != 0 || listen(fd, 1) != 0) {
		rc = err_sys(err, errno, "cannot put a socket into %s", dir);
	} else {
		int to = connect_unix(path, err);
		if (to >= 0)
			close(to);
		rc = to < 0 ? to : 0;
	}
	unlink(path);
	close(fd);
	return rc;
}

static int rundir_try(const char *dir, struct tl_err *err)
{
	char proof[RUNDIR_SOCKET_MAX + 1];
	struct stat st;
	int rc, lock;

	rc = private_dir(dir, err);
	if (rc)
		return rc;
	snprintf(proof, sizeof(proof), "%s/" RUNDIR_PROVEN, dir);
	if (lstat(proof, &st) == 0 && access(dir, W_OK) == 0)
		return 0;
	rc = socket_works(dir, err);
	if (rc)
		return rc;
	/* the proof is a lock file at once: locks are needed as well, and some NFS has none */
	lock = fs_lock(proof, false, err);
	if (lock >= 0)
		close(lock);
	else if (lock != TL_E_AGAIN)
		unlink(proof);
	return lock >= 0 || lock == TL_E_AGAIN ? 0 : lock;
}

int rundir_choose(const char *forced, struct rundir *ret, struct tl_err *err)
{
	struct rundir c[RUNDIR_COUNT];
	size_t n = rundir_candidates(forced, c);
	struct tl_err first = {0}, last = {0};
	int rc = TL_E_LIMIT;

	if (n == 0)
		return err_set(err, TL_E_LIMIT,
			       "cannot use the run folder %.60s…: its path is longer than %d bytes",
			       forced, RUNDIR_PATH_MAX);
	for (size_t i = 0; i < n; i++) {
		rc = rundir_try(c[i].path, i == 0 ? &first : &last);
		if (rc == 0) {
			*ret = c[i];
			return 0;
		}
	}
	if (n > 1)
		return err_set(err, rc, "no folder for sockets on the host: %.250s; %.250s",
			       first.text, last.text);
	return err_set(err, rc, "no folder for sockets on the host: %s", first.text);
}

/* ---- the forwarded key agent ---- */

void rundir_keep_key_agent(const char *forced, const char *socket)
{
	const char *agent = getenv("SSH_AUTH_SOCK");
	char path[RUNDIR_SOCKET_MAX + 1], tmp[RUNDIR_SOCKET_MAX + 32];
	struct rundir c[RUNDIR_COUNT];
	size_t n = rundir_candidates(forced, c);
	struct stat st;

	if (!agent || agent[0] != '/' || stat(agent, &st) != 0 || !S_ISSOCK(st.st_mode))
		return;
	for (size_t i = 0; i < n; i++) {
		snprintf(path, sizeof(path), "%s/%s", c[i].path, socket);
		if (!rundir_is_ours(c[i].path) || lstat(path, &st) != 0)
			continue;
		snprintf(path, sizeof(path), "%s/" RUNDIR_KEY_AGENT, c[i].path);
		/* started from a terminal of ours: it leads here already */
		if (strcmp(path, agent) == 0)
			return;
		snprintf(tmp, sizeof(tmp), "%s.%ld", path, (long)getpid());
		if (symlink(agent, tmp) == 0 && rename(tmp, path) != 0)
			unlink(tmp);
		return;
	}
}

bool rundir_key_agent(const char *forced, char out[RUNDIR_SOCKET_MAX + 1])
{
	struct rundir c[RUNDIR_COUNT];
	size_t n = rundir_candidates(forced, c);

	for (size_t i = 0; i < n; i++) {
		snprintf(out, RUNDIR_SOCKET_MAX + 1, "%s/" RUNDIR_KEY_AGENT, c[i].path);
		if (rundir_is_ours(c[i].path) && access(out, W_OK) == 0)
			return true;
	}
	return false;
}
