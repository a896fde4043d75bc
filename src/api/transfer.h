/* transfer.h - files and whole trees between this machine and a host, over one sftp_client.
 * A file appears under its name only when all of it is there, on both sides. Links inside a tree
 * stay links. In a tree a failure ends only the entry it is about. */
#ifndef TL_API_TRANSFER_H
#define TL_API_TRANSFER_H

#include "api/sftp_client.h"

struct transfer {
	struct sftp_client *c;
	bool recursive, times; /* folders, too; keep modification times */
	/* after every piece; name is the file's; total 0: not known. May be NULL. */
	void (*progress)(void *ctx, const struct transfer *t, const char *name, uint64_t done,
			 uint64_t total);
	/* every entry that failed; the sentence names it. May be NULL. */
	void (*failed)(void *ctx, const struct tl_err *err);
	void *ctx;
	/* so far */
	uint64_t files, folders, bytes;
	size_t failures;
	int first_rc; /* of the first failure */
};

/* remote, a file or (recursive) a folder, becomes `name` in the local folder dirfd (borrowed; or
 * AT_FDCWD). A folder that is there is filled; a file is replaced. 0, or the first failure (failed
 * was called for each), or what broke the client (err). */
int transfer_get(struct transfer *t, const char *remote, int dirfd, const char *name,
		 struct tl_err *err);
/* The local `name` in dirfd becomes `remote`. */
int transfer_put(struct transfer *t, int dirfd, const char *name, const char *remote,
		 struct tl_err *err);

/* Between the two files of this module. */
int transfer_fail(struct transfer *t, const struct tl_err *err);
void transfer_tick(struct transfer *t, const char *name, uint64_t n, uint64_t done, uint64_t total);
/* "folder/name", malloc'ed. */
char *transfer_join(const char *folder, const char *name);
#define TRANSFER_DEPTH 256
void transfer_temp_name(char *out, size_t n, const char *name);

#endif
