/* sftp_client.h - files of a host, for a program that may wait: an SFTP client with our extensions
 * over one descriptor (from api_stream_open, or a socket to `towline-host sftp-server`).
 * Owns the descriptor. Requests may be begun without waiting for their answers, which come in
 * order; sftp_client_drain waits. Both directions move while it waits, so neither side can block
 * the other. After TL_E_CLOSED, TL_E_PROTO or TL_E_CANCELED the client is broken: only free it. */
#ifndef TL_API_SFTP_CLIENT_H
#define TL_API_SFTP_CLIENT_H

#include "base/err.h"
#include "wire/sftp.h"

struct sftp_client;

/* room for any name a host may send */
#define SFTP_NAME_BYTES 4097

struct sftp_stat {
	uint8_t type, access; /* SFTP_ENTRY_*, SFTP_CAN_* */
	uint64_t size, mtime_ms, ctime_ms;
	uint32_t mode;
	uint8_t etag[SFTP_ETAG];
};

/* name is borrowed, not empty, without slash, and neither . nor .. . */
struct sftp_entry_info {
	const char *name;
	uint8_t type;
	uint64_t size, mtime_ms;
	uint32_t mode, uid, gid; /* uid, gid only from sftp_client_list_long */
};

/* How a request ends: rc 0, or what the host said (err is never NULL then). */
typedef void sftp_client_done(void *ctx, int rc, const struct tl_err *err);
/* Content of a file. A result other than 0 ends it as a failure of this request with that code;
 * what is still under way is thrown away. */
typedef int sftp_client_data(void *ctx, struct tl_bytes data, struct tl_err *err);
/* Before the first content. */
typedef int sftp_client_head(void *ctx, const uint8_t etag[SFTP_ETAG], uint64_t size,
			     struct tl_err *err);
/* A record of tree@towline, kind SFTP_TREE_*; everything is borrowed. name: "" for the top itself
 * and for the folder a problem is about, else one component. */
struct sftp_record {
	uint8_t kind;
	const char *name;
	uint32_t mode;
	uint64_t mtime_ns, size; /* size: also of a hole */
	const char *target;      /* of a link */
	struct tl_bytes data;    /* content; of SFTP_TREE_END the digest */
	struct tl_err problem;   /* of SFTP_TREE_END (code 0: none) and SFTP_TREE_PROBLEM */
};
typedef int sftp_client_record(void *ctx, const struct sftp_record *r, struct tl_err *err);
typedef int sftp_client_name(void *ctx, const char *name, struct tl_err *err);
typedef int sftp_client_entry(void *ctx, const struct sftp_entry_info *e, struct tl_err *err);

/* Takes fd. cancel_fd: readable when the user wants to stop (a signalfd), or -1; borrowed, never
 * read. A server without our extensions is served as by sftp_client_open_plain. Errors:
 * TL_E_CLOSED, TL_E_PROTO. */
int sftp_client_open(struct sftp_client **ret, int fd, int cancel_fd, struct tl_err *err);
/* The same with any server of SFTP version 3: slower, without resuming; what else it cannot do ends
 * with TL_E_UNSUPPORTED. */
int sftp_client_open_plain(struct sftp_client **ret, int fd, int cancel_fd, struct tl_err *err);
/* A temporary file that was being written when the caller had enough on the host, malloc'ed; NULL:
 * none. */
char *sftp_client_leftover(const struct sftp_client *c);
void sftp_client_free(struct sftp_client *c);
/* Requests begun and not yet answered. */
size_t sftp_client_pending(const struct sftp_client *c);
/* Waits until at most `left` are pending. Failures of single requests go to their `done`; here
 * only what breaks the client. */
int sftp_client_drain(struct sftp_client *c, size_t left, struct tl_err *err);

/* The least time, in microseconds, that a request took for which the caller waited with nothing
 * else under way: a round trip and a little. 0: there was none. */
uint64_t sftp_client_trip_us(const struct sftp_client *c);

/* ---- begun now, answered later: done is called exactly once, whatever happens (at the latest by
 * sftp_client_free), and must not begin anything; ctx lives until then. A result other than 0 says
 * that the client is broken. */

/* length 0: to the end. head may be NULL. */
int sftp_client_begin_read(struct sftp_client *c, const char *path, uint64_t off, uint64_t length,
			   sftp_client_head *head, sftp_client_data *data, sftp_client_done *done,
			   void *ctx, struct tl_err *err);
/* One piece of a file (docs/protocol.md save@towline); etag NULL: 24 zero bytes. */
struct sftp_save {
	const char *path;
	uint32_t flags, mode;
	const uint8_t *etag;
	uint64_t total;
};
#define SFTP_CLIENT_PIECE 131072
int sftp_client_begin_piece(struct sftp_client *c, const struct sftp_save *s, uint64_t off,
			    struct tl_bytes data, sftp_client_done *done, void *ctx,
			    struct tl_err *err);
/* Begins a save whose content others write (SFTP_SAVE_SHARE) and waits: the number of the host's
 * descriptor for it. Its end is a piece without data at offset total. */
int sftp_client_share(struct sftp_client *c, const struct sftp_save *s, uint64_t *ret_fd,
		      struct tl_err *err);
int sftp_client_begin_mkdirs(struct sftp_client *c, const char *path, uint32_t mode,
			     sftp_client_done *done, void *ctx, struct tl_err *err);
int sftp_client_begin_symlink(struct sftp_client *c, const char *target, const char *path,
			      sftp_client_done *done, void *ctx, struct tl_err *err);
/* Replaces what has the new name. */
int sftp_client_begin_rename(struct sftp_client *c, const char *from, const char *to,
			     sftp_client_done *done, void *ctx, struct tl_err *err);
/* Mode and times of a path; times in seconds. */
int sftp_client_begin_setstat(struct sftp_client *c, const char *path, const struct sftp_attrs *a,
			      sftp_client_done *done, void *ctx, struct tl_err *err);

/* Everything below path (flags: SFTP_TREE_*), with the content of files of at most inline_max
 * bytes. fn returning TL_E_CANCELED ends the client. */
int sftp_client_begin_tree(struct sftp_client *c, const char *path, uint32_t flags,
			   uint64_t inline_max, sftp_client_record *fn, sftp_client_done *done,
			   void *ctx, struct tl_err *err);
/* SHA-256 of length bytes from off on (0: to the end) into sum; *size: how many there were. */
int sftp_client_begin_digest(struct sftp_client *c, const char *path, uint64_t off, uint64_t length,
			     uint8_t sum[32], uint64_t *size, sftp_client_done *done, void *ctx,
			     struct tl_err *err);

/* ---- begun and waited for (with everything begun before) */

int sftp_client_stat(struct sftp_client *c, const char *path, struct sftp_stat *ret,
		     struct tl_err *err);
/* flags: SFTP_LIST_*. */
int sftp_client_list(struct sftp_client *c, const char *path, uint32_t flags, sftp_client_entry *fn,
		     void *ctx, struct tl_err *err);
/* The same with owners (classic READDIR); type is that of the entry itself. */
int sftp_client_list_long(struct sftp_client *c, const char *path, sftp_client_entry *fn, void *ctx,
			  struct tl_err *err);
int sftp_client_lstat(struct sftp_client *c, const char *path, struct sftp_attrs *ret,
		      struct tl_err *err);
int sftp_client_read(struct sftp_client *c, const char *path, uint64_t off, uint64_t length,
		     sftp_client_data *data, void *ctx, struct tl_err *err);
int sftp_client_remove(struct sftp_client *c, const char *path, struct tl_err *err);
int sftp_client_rmdir(struct sftp_client *c, const char *path, struct tl_err *err);
int sftp_client_remove_tree(struct sftp_client *c, const char *path, struct tl_err *err);
/* Target of a link, or a path with ~ made absolute, into out. */
int sftp_client_readlink(struct sftp_client *c, const char *path, char *out, size_t n,
			 struct tl_err *err);
int sftp_client_expand(struct sftp_client *c, const char *path, char *out, size_t n,
		       struct tl_err *err);
int sftp_client_digest(struct sftp_client *c, const char *path, uint64_t off, uint64_t length,
		       uint8_t sum[32], uint64_t *size, struct tl_err *err);
/* What a path with ~ and wildcards means there: fn for each. TL_E_NOENT: nothing. */
int sftp_client_glob(struct sftp_client *c, const char *pattern, sftp_client_name *fn, void *ctx,
		     struct tl_err *err);
/* Name of a user (or group) into out; "" where the host knows none. */
int sftp_client_id_name(struct sftp_client *c, bool group, uint32_t id, char *out, size_t n,
			struct tl_err *err);

#endif
