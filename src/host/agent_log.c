/* agent_log.c - see agent_log.h.
 * Standard error is the file itself, so that a failed assertion or a child's last words land there
 * too. Homes are shared by machines: every line names host and process. */
#include "host/agent_log.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/log.h"
#include "base/str.h"
#include "loop/fsx.h"
#include "loop/io.h"

/* The sink outlives every owner there is: one per process, like the log itself. */
struct agent_log {
	char path[TL_LIMIT_PATH], host[65];
	size_t bytes;
	int fd;
};

static int open_at(struct agent_log *l, const char *path)
{
	char dir[TL_LIMIT_PATH], *slash;
	struct stat st;

	if (!str_copy(l->path, sizeof(l->path), path))
		return -1;
	str_copy(dir, sizeof(dir), path);
	slash = strrchr(dir, '/');
	if (slash && slash != dir) {
		*slash = 0;
		if (fs_mkdirs(dir, 0700, NULL) != 0)
			return -1;
	}
	l->fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (l->fd < 0)
		return -1;
	l->bytes = fstat(l->fd, &st) == 0 ? (size_t)st.st_size : 0;
	dup2(l->fd, 2);
	return 0;
}

static void rotate(struct agent_log *l)
{
	char old[TL_LIMIT_PATH + 2], path[TL_LIMIT_PATH];

	str_copy(path, sizeof(path), l->path);
	snprintf(old, sizeof(old), "%s.1", path);
	close(l->fd);
	if (rename(path, old) != 0 || open_at(l, path) != 0)
		l->fd = -1;
}

static void sink(void *ctx, enum log_level level, const char *scope, const char *line)
{
	static const char *const names[] = {"error", "warning", "info", "debug"};
	struct agent_log *l = ctx;
	char text[2300], when[32];
	time_t now = time(NULL);
	struct tm tm;
	int n;

	if (l->fd < 0)
		return;
	if (l->bytes > AGENT_LOG_BYTES)
		rotate(l);
	strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &tm));
	n = snprintf(text, sizeof(text), "%s %s[%ld] %s: %s%s%s\n", when, l->host, (long)getpid(),
		     names[level], scope, *scope ? ": " : "", line);
	if (n > 0 && fd_write_all(l->fd, text, (size_t)n, 1000) == 0)
		l->bytes += (size_t)n;
}

void agent_log_open(const char *path, const char *fallback)
{
	static struct agent_log log = {.fd = -1};

	if (gethostname(log.host, sizeof(log.host)) != 0)
		str_copy(log.host, sizeof(log.host), "?");
	log.host[sizeof(log.host) - 1] = 0;
	if ((!path || open_at(&log, path) != 0) && open_at(&log, fallback) != 0)
		log.fd = -1;
	log_init(LOG_INFO, sink, &log);
}
