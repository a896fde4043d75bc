/* copy.h - the inside of tl_upload and tl_download: what both directions share. One struct copy is
 * one call, used by its thread only. A failure of an entry is told (copy_problem) and the rest goes
 * on; only what breaks the stream or the caller's patience ends it. */
#ifndef TL_API_COPY_H
#define TL_API_COPY_H

#include <sha2.h>

#include "api/session.h"
#include "api/sftp_client.h"

#define COPY_DEPTH  256
#define COPY_PART   ".%.200s.towline-part"
#define COPY_DIGEST 32

struct copy {
	struct tl_session *s;
	const char *verb;      /* "upload", "download" */
	struct tl_copy o;      /* members the caller does not know are 0 */
	struct sftp_client *c; /* NULL where the host has no SFTP server */
	bool tar;              /* it is copy_tar.h's then */
	struct tl_progress now;
	char id[9];                    /* of temporary names */
	uint8_t *piece;                /* SFTP_CLIENT_PIECE bytes */
	size_t flight;                 /* bytes sent and not answered */
	long pid;                      /* of the host's end of the stream; 0: it does not tell */
	bool no_lanes, window_limited; /* what large files before this one met (copy_lanes.c) */
	size_t problems;
	struct tl_error first;
};

/* Opens the stream. c is zeroed first; copy_end must follow in any case. */
int copy_begin(struct copy *c, struct tl_session *s, const struct tl_copy *o, const char *verb,
	       struct tl_err *err);
/* rc and why, as the copying ended: the result of the public call. */
int copy_end(struct copy *c, int rc, const struct tl_err *why, struct tl_error *err);
/* An entry that could not be copied; path as the source names it. */
void copy_problem(struct copy *c, const char *path, const struct tl_err *why);
/* n more bytes of a file; TL_E_CANCELED when the caller has enough. */
int copy_tick(struct copy *c, const char *path, uint64_t n, uint64_t done, uint64_t total);
/* Does it end everything? */
bool copy_is_fatal(int rc);
/* A path of the host without ~ (the file service works from home), malloc'ed. */
int copy_home(struct copy *c, const char *path, char **ret, struct tl_err *err);
/* Last component, malloc'ed; "." for what names no entry (., .., /). */
char *copy_base(const char *path);
/* SHA-256 of the first n bytes of a file. 0 or errno. */
int copy_sum(struct copy *c, int fd, uint64_t n, uint8_t out[COPY_DIGEST]);
/* The same into a digest that goes on. */
int copy_sum_into(struct copy *c, int fd, uint64_t n, SHA2_CTX *sum);
/* Folder and name joined, malloc'ed; "." on either side is left out. */
char *copy_join(const char *folder, const char *name);
/* Fills p with up to n bytes; short only at the end. Negative: -errno. */
ssize_t copy_read(int fd, void *p, size_t n);

/* copy_put.c: a local path becomes the remote one. */
int copy_put(struct copy *c, const char *local, const char *remote, struct tl_err *err);
/* copy_get.c: every path of `remote` into the folder dirfd under its own name, or (name not NULL)
 * the only one under this. */
struct strv;
int copy_get(struct copy *c, const struct strv *remote, int dirfd, const char *name,
	     struct tl_err *err);
/* copy_later.c: a large file on its own, by lanes or continuing a part that is here already. below:
 * its place below dirfd. */
struct copy_later {
	struct copy_later *next;
	char *remote, *below;
	uint32_t mode;
	uint64_t mtime_ns, size;
};
int copy_get_later(struct copy *c, int dirfd, const struct copy_later *l, struct tl_err *err);
/* copy_resume.c: the file is there as a whole, or how much of it in a part that may be continued
 * (*ret_off). */
int copy_put_where(struct copy *c, int fd, uint64_t size, int64_t mtime, const char *remote,
		   bool *ret_there, uint64_t *ret_off, struct tl_err *err);
/* Do n bytes of both begin alike? *ret_same; a result only for what breaks the client. */
int copy_same(struct copy *c, int fd, const char *remote, uint64_t n, bool *ret_same,
	      struct tl_err *err);
/* mode and time of a finished file here; then its name. 0 or errno. */
struct copy_place {
	int fd, dirfd;
	const char *temp, *name;
	uint32_t mode;
	uint64_t mtime_ns;
	bool fresh; /* nothing can have the name */
	bool set_mode;
};
int copy_place(struct copy *c, const struct copy_place *p);

#endif
