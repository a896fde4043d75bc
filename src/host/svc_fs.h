/* svc_fs.h - the file service: SFTP version 3 with OpenSSH's extensions and ours (docs/protocol.md
 * 4). The engine takes one packet and appends the replies to a buf, so tests and the fuzzer drive
 * it without descriptors; svc_fs_main is the blocking program around it, one process per stream.
 * Owns the open handles and what a save has begun; both end with svc_fs_free. */
#ifndef TL_HOST_SVC_FS_H
#define TL_HOST_SVC_FS_H

#include "base/buf.h"
#include "base/err.h"

struct svc_fs;

/* Replies that grow beyond memory go out while they are made: `flush` must write what it can of
 * `out` and consume it; 0, or a negative TL_E_* when nobody reads any more. NULL: `out` must be
 * large enough for everything. */
typedef int svc_fs_flush(void *ctx, struct buf *out);

/* Biggest use of `out` between two calls of flush, for the one who makes it. */
#define SVC_FS_OUT_MAX (3 * 262144)

/* root: the folder that is "/" for the client, from which nothing leads out; NULL: the whole
 * machine, relative paths begin in the working directory. read_only refuses whatever writes. */
int svc_fs_new(struct svc_fs **ret, const char *root, bool read_only, struct tl_err *err);
void svc_fs_free(struct svc_fs *fs);
/* One packet without its length word. 0; TL_E_PROTO where the stream makes no sense (a request
 * before INIT); what flush returned. Every other failure is a STATUS reply. */
int svc_fs_packet(struct svc_fs *fs, struct tl_bytes packet, struct buf *out, svc_fs_flush *flush,
		  void *ctx);

/* Serves rfd and writes to wfd until the end of input; returns the exit status. Without root it
 * works from the user's home folder. */
int svc_fs_main(int rfd, int wfd, const char *root);

#endif
