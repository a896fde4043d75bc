/* cmd_log.c - towline log: the daemon's log, read from its file, so that it can be read when the
 * daemon is the problem. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/str.h"
#include "cmd/cmd_util.h"

#define LINES     200
#define LINES_MAX 100000
#define TAIL      (4 << 20) /* how far back lines of one host are looked for */
#define LINE      8192      /* longer ones are shown in pieces */

const char *const cmd_log_usage =
    "usage: towline log [-n LINES] [-f] [HOST]\n"
    "\n"
    "Prints the end of the daemon's log: connections, ssh's messages, what went wrong. With\n"
    "HOST only what concerns it.\n"
    "\n"
    "  -n LINES   how many lines (200)\n"
    "  -f         go on printing new lines, until Ctrl-C\n"
    "\n"
    "examples:\n"
    "  towline log build-server\n"
    "  towline log -f -n 20\n"
    "\n"
    "exit status: 0; 20 there is no log.\n";

struct log_file {
	char path[TL_LIMIT_PATH];
	char *scope; /* "[HOST]", or NULL for every line */
	int fd;
	ino_t inode;
	char part[LINE]; /* a line whose end has not been written yet */
	size_t part_len;
};

static int open_log(struct log_file *f, struct tl_err *err)
{
	char dir[TL_LIMIT_PATH];
	struct stat st;

	if (!api_state_dir(dir, sizeof(dir)) ||
	    snprintf(f->path, sizeof(f->path), "%s/towlined.log", dir) >= (int)sizeof(f->path))
		return err_set(err, TL_E_LIMIT, "cannot read the log: its path is too long");
	f->fd = open(f->path, O_RDONLY | O_CLOEXEC);
	if (f->fd < 0)
		return err_sys(err, errno, "cannot read the log %s", f->path);
	f->inode = fstat(f->fd, &st) == 0 ? st.st_ino : 0;
	return 0;
}

static bool wanted(const struct log_file *f, const char *line, size_t n)
{
	return !f->scope || memmem(line, n, f->scope, strlen(f->scope));
}

/* Prints the last `lines` lines that are wanted; leaves the descriptor at the end. */
static int print_tail(struct log_file *f, long lines, struct tl_err *err)
{
	off_t size = lseek(f->fd, 0, SEEK_END);
	size_t n = size > TAIL ? TAIL : (size_t)(size > 0 ? size : 0), have = 0;
	char *text = malloc(n + 1), *at, *stop;
	ssize_t got;

	if (!text)
		return err_set(err, TL_E_NOMEM, "cannot read the log: out of memory");
	got = pread(f->fd, text, n, size - (off_t)n);
	stop = text + (got > 0 ? got : 0);
	/* backwards, line by line, until there are enough */
	for (at = stop; at > text && have < (size_t)lines;) {
		char *lf = memrchr(text, '\n', (size_t)(at - text - 1));
		char *begin = at - 1 > text && lf ? lf + 1 : text;
		if (wanted(f, begin, (size_t)(at - begin)))
			have++;
		at = begin;
	}
	while (at < stop) {
		char *lf = memchr(at, '\n', (size_t)(stop - at));
		size_t len = lf ? (size_t)(lf - at) + 1 : (size_t)(stop - at);
		if (wanted(f, at, len))
			fwrite(at, 1, len, stdout);
		at += len;
	}
	free(text);
	return 0;
}

/* Prints what was written since, whole lines only. */
static void print_new(struct log_file *f)
{
	ssize_t n;

	while ((n = read(f->fd, f->part + f->part_len, sizeof(f->part) - f->part_len)) > 0) {
		char *at = f->part, *end = f->part + f->part_len + n, *lf;
		while ((lf = memchr(at, '\n', (size_t)(end - at)))) {
			if (wanted(f, at, (size_t)(lf - at)))
				fwrite(at, 1, (size_t)(lf - at) + 1, stdout);
			at = lf + 1;
		}
		if (at == f->part && end == f->part + sizeof(f->part)) {
			if (wanted(f, at, sizeof(f->part)))
				fwrite(at, 1, sizeof(f->part), stdout);
			at = end;
		}
		f->part_len = (size_t)(end - at);
		memmove(f->part, at, f->part_len);
	}
}

/* The daemon moves a grown log aside and begins a new one. */
static void follow_rotation(struct log_file *f)
{
	struct stat st;
	int fd;

	if (stat(f->path, &st) != 0 || st.st_ino == f->inode)
		return;
	fd = open(f->path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	close(f->fd);
	f->fd = fd;
	f->inode = st.st_ino;
	f->part_len = 0;
	print_new(f);
}

static int follow(struct log_file *f, struct tl_err *err)
{
	char events[4096];
	char *slash = strrchr(f->path, '/');
	int fd = inotify_init1(IN_CLOEXEC), rc;

	if (fd < 0)
		return err_sys(err, errno, "cannot watch the log");
	*slash = 0;
	rc = inotify_add_watch(fd, f->path, IN_MODIFY | IN_CREATE | IN_MOVED_TO);
	*slash = '/';
	if (rc < 0) {
		rc = err_sys(err, errno, "cannot watch the log");
		close(fd);
		return rc;
	}
	do {
		print_new(f);
		follow_rotation(f);
		if (fflush(stdout) != 0)
			break;
	} while (read(fd, events, sizeof(events)) > 0 || errno == EINTR);
	close(fd);
	return 0;
}

int cmd_log(int argc, char **argv, const struct cmd_globals *g)
{
	bool bad = false, go_on = cmd_flag(&argc, argv, "-f", "--follow");
	const char *n = cmd_value(g, &argc, argv, "-n", "--lines", &bad);
	struct log_file f = {.fd = -1};
	struct tl_err err = {0};
	long long lines = LINES;
	int rc = bad ? CMD_EXIT_USAGE : cmd_words(g, &argc, argv, 0, 1, "HOST");

	if (rc)
		return rc;
	if (n && !str_to_int(n, 0, LINES_MAX, &lines))
		return cmd_usage_error(g, "log", "“%s” is not a number of lines (0 to %d)", n,
				       LINES_MAX);
	if (argc > 1)
		f.scope = str_fmt("[%s]", argv[1]);
	rc = open_log(&f, &err);
	if (rc == 0)
		rc = print_tail(&f, (long)lines, &err);
	if (rc == 0 && go_on)
		rc = follow(&f, &err);
	if (f.fd >= 0)
		close(f.fd);
	free(f.scope);
	return rc ? cmd_fail(g, &err) : cmd_done(g);
}
