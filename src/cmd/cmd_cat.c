/* cmd_cat.c - towline cat: files of a host on standard output. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "cmd/cmd_files.h"

const char *const cmd_cat_usage =
    "usage: towline cat HOST:PATH…\n"
    "\n"
    "Writes files of HOST to standard output, one after the other. All of one HOST.\n"
    "\n"
    "examples:\n"
    "  towline cat build-server:/etc/os-release\n"
    "  towline cat build-server:logs/today | grep -i error\n"
    "\n"
    "exit status: 0; 20 no such file; 21 permission denied; 24 it is a folder; see towline(1).\n";

static int to_stdout(void *ctx, struct tl_bytes data, struct tl_err *err)
{
	(void)ctx;
	while (data.n) {
		ssize_t n = write(STDOUT_FILENO, data.p, data.n);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(err, errno, "cannot write to standard output");
		data = bytes_of(data.p + n, data.n - (size_t)n);
	}
	return 0;
}

int cmd_cat(int argc, char **argv, const struct cmd_globals *g)
{
	static const struct files_flag flags[] = {{0}};
	struct cmd_target first = {0}, t;
	struct tl_err err = {0};
	struct files f;
	int rc = files_args(g, &argc, argv, flags, 1, argc, "HOST:PATH");

	if (rc)
		return rc;
	rc = files_target(argv[1], &first, &err);
	if (rc)
		return cmd_fail(g, &err);
	rc = files_open(&f, g, first.host, true, &err);
	for (int i = 1; i < argc && !rc; i++) {
		char *path = NULL;
		rc = files_target(argv[i], &t, &err);
		if (!rc && strcmp(t.host, first.host) != 0)
			rc = err_set(&err, TL_E_INVAL, "“%.200s” is on another host than “%.200s”",
				     argv[i], argv[1]);
		if (!rc)
			rc = files_path(&f, t.path, &path, &err);
		if (!rc)
			rc = sftp_client_read(f.c, path, 0, 0, to_stdout, NULL, &err);
		free(path);
		cmd_target_fini(&t);
		/* the reader had enough, as in `towline cat … | head` */
		if (rc == TL_E_CLOSED && err.sys_errno == EPIPE) {
			files_close(&f);
			cmd_target_fini(&first);
			return 128 + SIGPIPE;
		}
		if (rc == TL_E_NOENT || rc == TL_E_ACCES || rc == TL_E_ISDIR) {
			files_failed(&f, &err);
			rc = 0;
		}
	}
	cmd_target_fini(&first);
	return files_end(&f, rc, &err);
}
