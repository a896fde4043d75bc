/* copy_tar.h - copies to and from a host with neither our program nor an SFTP server: tar through
 * plain ssh, one stream each way. Only for copy*.c. What such a host cannot do is said: no
 * resuming; a failure of the whole stream (a full disk there) leaves nothing of it. */
#ifndef TL_API_COPY_TAR_H
#define TL_API_COPY_TAR_H

#include <sys/types.h>

#include "api/copy.h"
#include "base/buf.h"
#include "wire/tar.h"

/* A few lines of sh on the host, and their streams here. */
struct tar_run {
	struct copy *c;
	pid_t pid;
	int in, out, errs; /* -1: closed */
	char mark[40];     /* what they print first: start-up files print before it */
	size_t mark_n;
	bool marked;
	struct buf noise; /* until then */
	struct buf said;  /* standard error, its beginning */
	int status;       /* after tar_run_end */
};

/* copy_tar_run.c. Starts the lines; with_input: they read. tar_run_end and tar_run_fini must follow
 * in any case. */
int tar_run_begin(struct tar_run *r, struct copy *c, const struct buf *lines, bool with_input,
		  struct tl_err *err);
/* Writes all of b; what comes from there meanwhile goes to `out` (its beginning, where it is full).
 * TL_E_CANCELED; TL_E_CLOSED when nobody reads any more. */
int tar_run_write(struct tar_run *r, struct tl_bytes b, struct buf *out, struct tl_err *err);
/* Up to n bytes of output into p; 0: its end. */
ssize_t tar_run_read(struct tar_run *r, void *p, size_t n, struct tl_err *err);
/* No more input; everything that is still said is read into out (may be NULL); waits for the end.
 * rc: as the use of it ended; other than 0: what runs there is ended. The result says what went
 * wrong, in this order: rc, the connection, what the lines reported by a status above 1. */
int tar_run_end(struct tar_run *r, int rc, struct buf *out, struct tl_err *err);
/* What was said is gone then. */
void tar_run_fini(struct tar_run *r);
/* Runs lines to their end. */
int tar_run_all(struct copy *c, const struct buf *lines, struct buf *out, struct tl_err *err);
/* Appends a path of the host, quoted for sh: relative ones are below home, and ~ is expanded.
 * wild: so are wildcards. */
int tar_put_path(struct buf *lines, const char *path, bool wild);

/* copy_tar_put.c: as upload_all of copy.c */
int copy_tar_put(struct copy *c, const char *const *files, size_t n, const char *to,
		 struct tl_err *err);

/* copy_tar_get.c: as sftp_client_glob and sftp_client_begin_tree; done is called before it returns.
 * dirfd, name: where the top comes to be (other names of a file are copied from the first). */
int copy_tar_glob(struct copy *c, const char *pattern, sftp_client_name *fn, void *ctx,
		  struct tl_err *err);
int copy_tar_tree(struct copy *c, const char *path, int dirfd, const char *name,
		  sftp_client_record *fn, sftp_client_done *done, void *ctx, struct tl_err *err);

#endif
