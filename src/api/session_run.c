/* session_run.c - see session_run.h. */
#include "api/session_run.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/client.h"
#include "base/limits.h"
#include "loop/loop.h"
#include "loop/sock.h"
#include "wire/jsonrpc.h"

#define RUN_PREFIX "lib-"

/* ---- folder ---- */

static void remove_dir(const char *dir)
{
	char path[TL_LIMIT_PATH + 300];
	DIR *d = opendir(dir);
	struct dirent *e;

	while (d && (e = readdir(d)) != NULL) {
		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		snprintf(path, sizeof(path), "%s/%s", dir, e->d_name);
		unlink(path);
	}
	if (d)
		closedir(d);
	rmdir(dir);
}

/* Folders of processes that are no more. */
static void sweep(const char *parent)
{
	char path[TL_LIMIT_PATH + 300];
	DIR *d = opendir(parent);
	struct dirent *e;

	while (d && (e = readdir(d)) != NULL) {
		long pid = str_starts(e->d_name, RUN_PREFIX)
			       ? strtol(e->d_name + sizeof(RUN_PREFIX) - 1, NULL, 10)
			       : 0;
		if (pid <= 0 || kill((pid_t)pid, 0) == 0 || errno != ESRCH)
			continue;
		snprintf(path, sizeof(path), "%s/%s", parent, e->d_name);
		remove_dir(path);
	}
	if (d)
		closedir(d);
}

int run_dir_make(char *out, size_t n, struct tl_err *err)
{
	char parent[TL_LIMIT_PATH], id[7], *slash;
	int rc, len;

	out[0] = 0;
	if (!api_control_path(parent, sizeof(parent)))
		return err_set(err, TL_E_LIMIT,
			       "cannot make sockets for ssh's questions: the path of "
			       "XDG_RUNTIME_DIR is longer than a socket's path may be");
	slash = strrchr(parent, '/');
	*slash = 0;
	rc = private_dir(parent, err);
	if (rc)
		return rc;
	sweep(parent);
	random_id(id, sizeof(id) - 1);
	len = snprintf(out, n, "%s/" RUN_PREFIX "%ld.%s", parent, (long)getpid(), id);
	if (len > 0 && (size_t)len < n && mkdir(out, 0700) == 0)
		return 0;
	rc = err_sys(err, errno, "cannot make the folder %s", out);
	out[0] = 0;
	return rc;
}

void run_dir_remove(char *dir)
{
	if (dir[0])
		remove_dir(dir);
	dir[0] = 0;
}

/* ---- answers ---- */

/* 0 when something can be read. */
static int wait_readable(struct tl_session *s, int fd, struct tl_cancel *cancel,
			 uint64_t deadline_ms, struct tl_err *err)
{
	struct pollfd pf[2] = {{.fd = fd, .events = POLLIN},
			       {.fd = cancel_fd(cancel), .events = POLLIN}};

	for (;;) {
		uint64_t now = clock_mono_ms();
		int n = poll(pf, 2,
			     !deadline_ms        ? -1
			     : deadline_ms > now ? (int)(deadline_ms - now)
						 : 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n == 0)
			return err_set(err, TL_E_TIMEOUT, "%s did not answer in time", s->host);
		if (pf[1].revents)
			return err_set(err, TL_E_CANCELED, "canceled before %s had answered",
				       s->host);
		return 0;
	}
}

/* Takes one line byte-exactly: what follows belongs to the stream. */
static int read_line(struct tl_session *s, int fd, struct tl_cancel *cancel, uint64_t deadline_ms,
		     char *line, size_t max, struct tl_err *err)
{
	size_t have = 0;

	for (;;) {
		ssize_t got;
		char *lf;
		int rc = wait_readable(s, fd, cancel, deadline_ms, err);
		if (rc)
			return rc;
		got = recv(fd, line + have, max - 1 - have, MSG_PEEK | MSG_DONTWAIT);
		if (got < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (got <= 0) {
			struct tl_err why = {0};
			if (s->back && s->back->lost(s, &why))
				return err_set(err, TL_E_LOST, "the connection to %s was lost: %s",
					       s->host, why.text);
			return err_set(err, TL_E_CLOSED, "%s ended the stream instead of answering",
				       s->host);
		}
		lf = memchr(line + have, '\n', (size_t)got);
		if (lf)
			got = lf + 1 - (line + have);
		/* these bytes are there: they come at once */
		if (recv(fd, line + have, (size_t)got, 0) != got)
			return err_set(err, TL_E_IO, "cannot read the answer of %s", s->host);
		have += (size_t)got;
		if (lf) {
			line[have - 1] = 0;
			return 0;
		}
		if (have + 1 >= max)
			return err_set(err, TL_E_PROTO, "%s sent an answer that is too long",
				       s->host);
	}
}

int stream_answer(struct tl_session *s, int fd, struct tl_cancel *cancel, uint64_t deadline_ms,
		  char **ret_ok, struct tl_err *err)
{
	char line[TL_LIMIT_OPEN_LINE + 1];
	struct jsonrpc_msg m = {0};
	yyjson_val *root, *ok;
	yyjson_doc *doc;
	int rc = read_line(s, fd, cancel, deadline_ms, line, sizeof(line), err);

	if (rc)
		return rc;
	doc = json_parse(bytes_str(line), NULL);
	root = yyjson_doc_get_root(doc);
	ok = json_get(root, "ok");
	m.error = json_get(root, "error");
	if (m.error) {
		rc = jsonrpc_error_of(&m, err);
	} else if (!ok) {
		rc = err_set(err, TL_E_PROTO, "%s gave no valid answer to an opened stream",
			     s->host);
	} else if (ret_ok) {
		*ret_ok = yyjson_val_write(ok, 0, NULL);
		if (!*ret_ok)
			rc = err_set(err, TL_E_NOMEM, "cannot open a stream: out of memory");
	}
	yyjson_doc_free(doc);
	return rc;
}
