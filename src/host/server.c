/* server.c - see server.h.
 * A process is ours when it is this user's and executes a file below bin of the server's folder (or
 * of one that was there), and is neither this one nor an ancestor of it. Blocking: it is a child of
 * the agent, or what ssh runs. */
#include "host/server.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/str.h"
#include "base/version.h"
#include "host/rundir.h"
#include "loop/child.h"
#include "loop/fsx.h"
#include "loop/io.h"
#include "loop/loop.h"
#include "wire/json.h"

#define PROCESSES_MAX 1024
#define VERSIONS_MAX  256
#define DEPTH_MAX     32
#define END_MS        4000
#define POLL_MS       20
#define LINES         200
#define MARK_BYTES    7000 /* a marker line has a bound: start_parse.h */
#define PRUNE_DAYS    30

struct process {
	long pid;
	char face[32], version[80]; /* version: name of its folder below bin */
};

struct server {
	char dir[TL_LIMIT_PATH - 64];
	struct process v[PROCESSES_MAX];
	size_t n;
};

/* ---- processes ---- */

static long parent_of(long pid)
{
	char path[64], text[512], *end;
	int fd;
	ssize_t got;

	snprintf(path, sizeof(path), "/proc/%ld/stat", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	got = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	if (fd >= 0)
		close(fd);
	if (got <= 0)
		return 0;
	text[got] = 0;
	end = strrchr(text, ')');
	return end && strlen(end) > 4 ? strtol(end + 4, NULL, 10) : 0;
}

/* We, the shell that ssh runs, and the agent's own ancestors are not to be ended by ourselves. The
 * agent is an ancestor of its helper, but it must go. */
static bool is_above(long pid)
{
	long at = getpid();

	for (int i = 0; i < 4 && at > 1; i++, at = parent_of(at))
		if (at == pid)
			return true;
	return false;
}

/* What process pid executes below bin, as VERSION; false where it is none of ours. */
static bool version_of(const struct server *s, long pid, char out[80])
{
	char link[64], exe[PATH_MAX], real[PATH_MAX];
	char *at;
	size_t n;
	ssize_t got;
	struct stat st;

	snprintf(link, sizeof(link), "/proc/%ld", pid);
	if (stat(link, &st) != 0 || st.st_uid != geteuid())
		return false;
	snprintf(link, sizeof(link), "/proc/%ld/exe", pid);
	got = readlink(link, exe, sizeof(exe) - 1);
	if (got <= 0)
		return false;
	exe[got] = 0;
	/* homes are often links; the kernel tells where they lead */
	if (!realpath(s->dir, real))
		str_copy(real, sizeof(real), s->dir);
	n = strlen(real);
	at = strncmp(exe, real, n) == 0 && strncmp(exe + n, "/bin/", 5) == 0 ? exe + n + 5 : NULL;
	/* where the home could not hold it */
	snprintf(link, sizeof(link), "/.towline-server-%ld/bin/", (long)geteuid());
	if (!at && (at = strstr(exe, link)))
		at += strlen(link);
	if (!at || !strstr(at, "/towline-host"))
		return false;
	at[strcspn(at, "/")] = 0;
	return str_copy(out, 80, at);
}

static void face_of(long pid, char out[32])
{
	char path[64], text[256];
	int fd;
	ssize_t got;
	size_t first;

	snprintf(path, sizeof(path), "/proc/%ld/cmdline", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	got = fd < 0 ? 0 : read(fd, text, sizeof(text) - 1);
	if (fd >= 0)
		close(fd);
	text[got > 0 ? got : 0] = 0;
	first = strlen(text);
	str_copy(out, 32, got > (ssize_t)first + 1 ? text + first + 1 : "");
}

static void find_processes(struct server *s)
{
	DIR *d = opendir("/proc");
	struct dirent *e;

	s->n = 0;
	while (d && (e = readdir(d)) && s->n < PROCESSES_MAX) {
		struct process *p = &s->v[s->n];
		p->pid = strtol(e->d_name, NULL, 10);
		if (p->pid <= 1 || !version_of(s, p->pid, p->version) || p->pid == getpid())
			continue;
		face_of(p->pid, p->face);
		if (strcmp(p->face, "server") != 0)
			s->n++;
	}
	if (d)
		closedir(d);
}

static void signal_all(const struct server *s, int signo)
{
	for (size_t i = 0; i < s->n; i++)
		if (!is_above(s->v[i].pid) || strcmp(s->v[i].face, "agent") == 0)
			kill((pid_t)s->v[i].pid, signo);
}

/* Asks every process to end, then makes it. Returns how many there were. */
static size_t end_all(struct server *s)
{
	uint64_t stop = clock_mono_ms() + END_MS;
	size_t count;

	find_processes(s);
	count = s->n;
	signal_all(s, SIGTERM);
	while (s->n > 0 && clock_mono_ms() < stop) {
		struct timespec pause = {.tv_nsec = POLL_MS * 1000000L};
		nanosleep(&pause, NULL);
		find_processes(s);
	}
	signal_all(s, SIGKILL);
	return count;
}

/* ---- files ---- */

/* Bytes of everything below at/name; with remove it goes. No link is followed. */
static uint64_t tree(int at, const char *name, bool remove, int depth)
{
	struct stat st;
	uint64_t sum;
	DIR *d = NULL;
	struct dirent *e;
	int fd;

	if (fstatat(at, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
		return 0;
	sum = (uint64_t)st.st_blocks * 512;
	if (!S_ISDIR(st.st_mode)) {
		if (remove)
			unlinkat(at, name, 0);
		return sum;
	}
	fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd >= 0 && depth < DEPTH_MAX)
		d = fdopendir(fd);
	if (!d && fd >= 0)
		close(fd);
	while (d && (e = readdir(d)))
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
			sum += tree(fd, e->d_name, remove, depth + 1);
	if (d)
		closedir(d);
	if (remove)
		unlinkat(at, name, AT_REMOVEDIR);
	return sum;
}

static bool in_use(const struct server *s, const char *version)
{
	for (size_t i = 0; i < s->n; i++)
		if (strcmp(s->v[i].version, version) == 0)
			return true;
	return false;
}

/* The folder that takes the program where the home cannot, one after the other; false at the end.
 */
static bool elsewhere(size_t i, char *out, size_t n)
{
	const char *const places[] = {getenv("XDG_RUNTIME_DIR"), "/dev/shm", "/var/tmp", "/tmp"};

	if (i >= sizeof(places) / sizeof(places[0]))
		return false;
	snprintf(out, n, "%s/.towline-server-%ld", places[i] ? places[i] : "/nowhere",
		 (long)geteuid());
	return true;
}

/* Every version below dir/bin. */
static void each_version_of(struct server *s, const char *dir,
			    void (*fn)(struct server *s, int bin, const char *name,
				       const struct stat *st, void *ctx),
			    void *ctx)
{
	char path[TL_LIMIT_PATH];
	struct dirent *e;
	struct stat st;
	DIR *d;
	int n = 0;

	snprintf(path, sizeof(path), "%s/bin", dir);
	d = opendir(path);
	while (d && (e = readdir(d)) && n < VERSIONS_MAX) {
		if (e->d_name[0] == '.' ||
		    fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0 ||
		    !S_ISDIR(st.st_mode))
			continue;
		n++;
		fn(s, dirfd(d), e->d_name, &st, ctx);
	}
	if (d)
		closedir(d);
}

static void each_version(struct server *s,
			 void (*fn)(struct server *s, int bin, const char *name,
				    const struct stat *st, void *ctx),
			 void *ctx)
{
	char dir[TL_LIMIT_PATH - 64];

	each_version_of(s, s->dir, fn, ctx);
	for (size_t i = 0; elsewhere(i, dir, sizeof(dir)); i++)
		if (rundir_is_ours(dir))
			each_version_of(s, dir, fn, ctx);
}

/* A version that nothing runs here and that nobody has started for long: other machines may share
 * the home and run it, so its age counts, not only what is seen from here. */
static void prune_one(struct server *s, int bin, const char *name, const struct stat *st, void *ctx)
{
	size_t *count = ctx;

	if (in_use(s, name) || st->st_mtime > time(NULL) - PRUNE_DAYS * 86400L)
		return;
	tree(bin, name, true, 0);
	++*count;
}

/* ---- answers ---- */

struct answer {
	yyjson_mut_doc *doc;
	yyjson_mut_val *o, *list;
};

static void tell_version(struct server *s, int bin, const char *name, const struct stat *st,
			 void *ctx)
{
	struct answer *a = ctx;
	yyjson_mut_val *o = yyjson_mut_arr_add_obj(a->doc, a->list);

	json_add_path(a->doc, o, "name", name);
	yyjson_mut_obj_add_uint(a->doc, o, "bytes", tree(bin, name, false, 0));
	yyjson_mut_obj_add_sint(a->doc, o, "usedMs", (int64_t)st->st_mtime * 1000);
	yyjson_mut_obj_add_bool(a->doc, o, "running", in_use(s, name));
}

static int do_status(struct server *s, struct answer *a, int lines)
{
	yyjson_mut_val *list, *o;
	struct stat st;

	(void)lines;
	find_processes(s);
	json_add_path(a->doc, a->o, "dir", s->dir);
	yyjson_mut_obj_add_bool(a->doc, a->o, "installed", stat(s->dir, &st) == 0);
	a->list = yyjson_mut_obj_add_arr(a->doc, a->o, "versions");
	each_version(s, tell_version, a);
	list = yyjson_mut_obj_add_arr(a->doc, a->o, "processes");
	for (size_t i = 0; i < s->n; i++) {
		o = yyjson_mut_arr_add_obj(a->doc, list);
		yyjson_mut_obj_add_int(a->doc, o, "pid", s->v[i].pid);
		json_add_path(a->doc, o, "face", s->v[i].face);
		json_add_path(a->doc, o, "version", s->v[i].version);
	}
	return 0;
}

static int do_kill(struct server *s, struct answer *a, int lines)
{
	(void)lines;
	yyjson_mut_obj_add_uint(a->doc, a->o, "ended", end_all(s));
	return 0;
}

static int do_prune(struct server *s, struct answer *a, int lines)
{
	size_t count = 0;
	char exe[PATH_MAX];
	char *slash;

	(void)lines;
	/* ours is in use: that counts on every machine that shares the folder */
	if (self_path(exe, sizeof(exe)) == 0 && (slash = strrchr(exe, '/'))) {
		*slash = 0;
		utimensat(AT_FDCWD, exe, NULL, 0);
	}
	find_processes(s);
	each_version(s, prune_one, &count);
	yyjson_mut_obj_add_uint(a->doc, a->o, "removed", count);
	return 0;
}

/* What is ours goes; a folder that holds something else stays, with that. */
static int do_uninstall(struct server *s, struct answer *a, int lines)
{
	static const char *const ours[] = {"bin", "data", "run", "agent.log", "agent.log.1"};
	char run[64], dir[TL_LIMIT_PATH];
	uint64_t bytes = 0;
	int fd;

	yyjson_mut_obj_add_uint(a->doc, a->o, "ended", end_all(s));
	fd = open(s->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (size_t i = 0; fd >= 0 && i < sizeof(ours) / sizeof(ours[0]); i++)
		bytes += tree(fd, ours[i], true, 0);
	if (fd >= 0)
		close(fd);
	snprintf(run, sizeof(run), "/tmp/towline-server-%ld", (long)geteuid());
	if (rundir_is_ours(run))
		bytes += tree(AT_FDCWD, run, true, 0);
	for (size_t i = 0; elsewhere(i, dir, sizeof(dir)); i++)
		if (rundir_is_ours(dir))
			bytes += tree(AT_FDCWD, dir, true, 0);
	json_add_path(a->doc, a->o, "removed", s->dir);
	yyjson_mut_obj_add_uint(a->doc, a->o, "bytes", bytes);
	yyjson_mut_obj_add_bool(a->doc, a->o, "complete", rmdir(s->dir) == 0 || errno == ENOENT);
	(void)lines;
	return 0;
}

/* The last lines of the log, at most max bytes. */
static int do_log(struct server *s, struct answer *a, int lines)
{
	char path[2][TL_LIMIT_PATH];
	struct buf b;
	const char *text = NULL, *at;
	int found = 0;

	snprintf(path[0], sizeof(path[0]), "%s/agent.log", s->dir);
	snprintf(path[1], sizeof(path[1]), "/tmp/towline-server-%ld/agent.log", (long)geteuid());
	buf_init(&b, 4 * 1024 * 1024);
	while (found < 2 && (fs_read(path[found], &b, NULL) != 0 || b.len == 0))
		found++;
	text = found < 2 ? buf_cstr(&b) : NULL;
	at = text ? text + strlen(text) : NULL;
	for (int have = 0; at && at > text && have <= lines; at--)
		have += at[-1] == '\n' && at[0];
	while (at && at > text && at[-1] != '\n')
		at++;
	json_add_path(a->doc, a->o, "file", path[found < 2 ? found : 0]);
	json_add_path(a->doc, a->o, "text", at ? at : "");
	buf_fini(&b);
	return 0;
}

static const struct {
	const char *name;
	int (*fn)(struct server *s, struct answer *a, int lines);
} verbs[] = {{"status", do_status},
	     {"kill", do_kill},
	     {"uninstall", do_uninstall},
	     {"prune", do_prune},
	     {"log", do_log}};

/* For the agent as one document, for a client that waits for markers in pieces that fit into one
 * each. */
static int print(const struct answer *a, const char *mark)
{
	struct buf b;
	int rc;

	buf_init(&b, TL_LIMIT_RPC_MESSAGE);
	rc = json_write(&b, a->doc);
	if (rc == 0 && !mark) {
		rc = fd_write_all(1, "{\"ok\":", 6, END_MS) ||
		     fd_write_all(1, buf_data(&b).p, b.len, END_MS) ||
		     fd_write_all(1, "}\n", 2, END_MS);
	} else {
		for (size_t at = 0; rc == 0 && at < b.len; at += MARK_BYTES) {
			size_t n = b.len - at < MARK_BYTES ? b.len - at : MARK_BYTES;
			char head[128];
			int len =
			    1 + snprintf(head + 1, sizeof(head) - 1, "towline-note %.64s ", mark);
			head[0] = 0;
			rc = fd_write_all(1, head, (size_t)len, END_MS) ||
			     fd_write_all(1, buf_data(&b).p + at, n, END_MS) ||
			     fd_write_all(1, "\n", 1, END_MS);
		}
	}
	buf_fini(&b);
	return rc;
}

static const char usage[] =
    "usage: towline-host server status|kill|uninstall|prune|log [--mark NONCE] [--lines N]\n"
    "Prints as JSON which versions are installed and what runs; ends what runs, terminals and\n"
    "sessions included; removes everything; removes versions unused for a month; the log's end.\n";

int server_main(int argc, char **argv)
{
	static struct server s; /* large, and this process does nothing else */
	struct answer a = {0};
	const char *mark = NULL;
	long long lines = LINES;
	int rc = -1;

	for (int i = 2; i + 1 < argc; i += 2) {
		if (strcmp(argv[i], "--mark") == 0)
			mark = argv[i + 1];
		else if (strcmp(argv[i], "--lines") != 0 ||
			 !str_to_int(argv[i + 1], 1, 100000, &lines))
			argc = 0;
	}
	a.doc = yyjson_mut_doc_new(NULL);
	a.o = yyjson_mut_obj(a.doc);
	yyjson_mut_doc_set_root(a.doc, a.o);
	yyjson_mut_obj_add_str(a.doc, a.o, "by", TL_VERSION);
	if (argc > 1 && server_dir(s.dir, sizeof(s.dir)) == 0)
		for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
			if (strcmp(verbs[i].name, argv[1]) == 0)
				rc = verbs[i].fn(&s, &a, (int)lines);
	if (rc == 0)
		rc = print(&a, mark);
	else
		fputs(usage, stderr);
	yyjson_mut_doc_free(a.doc);
	return rc == 0 ? 0 : err_row(TL_E_INVAL)->exit_status;
}
