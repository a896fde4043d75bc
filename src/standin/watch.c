/* watch.c - the watch stream of a host without our program: the watcher of src/host, looking again
 * and again through an SFTP channel of its own. It ends with the channel: the client then begins
 * anew over the next connection, instead of being told that everything was deleted. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/plain.h"
#include "api/sftp_client.h"
#include "api/sftp_priv.h"
#include "api/sftp_plain.h"
#include "host/watch.h"
#include "standin/standin.h"

#define ENTRIES_MAX 20000 /* of one watch: each folder costs some round trips */

static void leave_if_lost(const struct sftp_client *c)
{
	if (sftp_client_is_broken(c))
		_exit(0);
}

static int stat_there(void *ctx, const char *path, struct stat *ret)
{
	struct sftp_attrs a;
	int rc = plain_attrs(ctx, path, true, &a, NULL);

	leave_if_lost(ctx);
	memset(ret, 0, sizeof(*ret));
	ret->st_mode = (mode_t)a.mode;
	ret->st_size = (off_t)a.size;
	ret->st_mtim.tv_sec = (time_t)a.mtime;
	return rc;
}

struct listing {
	watch_found *fn;
	void *arg;
};

static int found(void *ctx, const struct sftp_entry_info *e, struct tl_err *err)
{
	struct listing *l = ctx;
	struct stat st = {.st_mode = (mode_t)e->mode, .st_size = (off_t)e->size};

	(void)err;
	st.st_mtim.tv_sec = (time_t)(e->mtime_ms / 1000);
	l->fn(l->arg, e->name, &st);
	return 0;
}

static int list_there(void *ctx, const char *path, watch_found *fn, void *arg)
{
	struct listing l = {fn, arg};
	int rc = sftp_client_list_long(ctx, path, found, &l, NULL);

	leave_if_lost(ctx);
	return rc;
}

int standin_watch_main(int argc, char **argv)
{
	struct watch_files files = {
	    .stat = stat_there,
	    .list = list_there,
	    .reason = "no server of ours runs on the host: its files are looked at every few "
		      "seconds",
	    .max = ENTRIES_MAX};
	struct sftp_client *c = NULL;
	struct tl_err err = {0};
	struct plain *p;
	int fd = -1, rc;

	signal(SIGPIPE, SIG_IGN);
	p = argc == 3 ? plain_new("host", argv[2], argv[1], "", false) : NULL;
	if (!p)
		return err_row(TL_E_INVAL)->exit_status;
	rc = plain_open(p, NULL, "{\"open\":\"sftp\"}", NULL, 0, &fd, NULL, &err);
	rc = rc ? rc : sftp_client_open_plain(&c, fd, -1, &err);
	if (rc == 0) {
		files.ctx = c;
		rc = watch_main_of(&files);
		sftp_client_free(c);
	} else {
		fprintf(stderr, "towlined: cannot watch files: %s\n", err.text);
	}
	plain_close(p);
	return rc ? err_row(rc)->exit_status : 0;
}
