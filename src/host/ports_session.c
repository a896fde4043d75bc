/* ports_session.c - see ports_session.h. The file has one inode a line. */
#include "host/ports_session.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "base/str.h"
#include "host/ports_state.h"
#include "host/rundir.h"
#include "loop/fsx.h"

#define FILE_MAX      65536
#define PROCESSES_MAX 64

static bool file_name(const char *dir, char *out, size_t n)
{
	int len = snprintf(out, n, "%s/sockets", dir);

	return len > 0 && (size_t)len < n;
}

static void put_inode(void *ctx, uint64_t inode)
{
	/* more than fits is left out: a kernel has a dozen */
	(void)buf_printf(ctx, "%llu\n", (unsigned long long)inode);
}

/* The kernel may be below a script or a launcher. */
static void put_sockets(pid_t pid, struct buf *out)
{
	struct ports *o = calloc(1, sizeof(*o));
	pid_t all[PROCESSES_MAX] = {pid};
	size_t n = 1;

	for (size_t i = 0; i < n; i++) {
		struct proc_stat st;
		tree_sockets(all[i], put_inode, out);
		if (o && n < PROCESSES_MAX && tree_stat(all[i], &st) == 0)
			n += tree_children(o, all[i], st.threads, all + n, PROCESSES_MAX - n);
	}
	free(o);
}

void session_sockets_note(const char *dir, pid_t pid)
{
	char path[TL_LIMIT_PATH];
	struct tl_err err = {0};
	struct buf text;
	int rc = file_name(dir, path, sizeof(path)) ? 0 : TL_E_LIMIT;

	buf_init(&text, FILE_MAX);
	put_sockets(pid, &text);
	rc = rc ? rc : fs_write_atomic(path, buf_data(&text).p, text.len, 0600, &err);
	buf_fini(&text);
	if (rc)
		log_warn("the ports of a session's programs cannot be told apart: %s", err.text);
}

void session_sockets_forget(const char *dir)
{
	char path[TL_LIMIT_PATH];

	if (file_name(dir, path, sizeof(path)))
		unlink(path);
}

static bool has_line(const char *text, uint64_t inode)
{
	while (*text) {
		char *end;
		if (strtoull(text, &end, 10) == inode)
			return true;
		if (end == text)
			return false;
		text = end + (*end == '\n');
	}
	return false;
}

enum session_socket session_socket_kind(const char *forced_run_dir, const char *id, uint64_t inode)
{
	enum session_socket kind = SESSION_SOCKET_UNKNOWN;
	struct rundir dirs[RUNDIR_COUNT];
	size_t n = rundir_candidates(forced_run_dir, dirs);

	for (size_t i = 0; i < n && kind == SESSION_SOCKET_UNKNOWN; i++) {
		char dir[TL_LIMIT_PATH], path[TL_LIMIT_PATH];
		struct buf text;
		const char *lines;
		snprintf(dir, sizeof(dir), "%s/kernel-%s", dirs[i].path, id);
		buf_init(&text, FILE_MAX + 1);
		if (rundir_is_ours(dirs[i].path) && file_name(dir, path, sizeof(path)) &&
		    fs_read(path, &text, NULL) == 0 && (lines = buf_cstr(&text)))
			kind = has_line(lines, inode) ? SESSION_SOCKET_OWN : SESSION_SOCKET_SERVES;
		buf_fini(&text);
	}
	return kind;
}
