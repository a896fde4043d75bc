/* sftp_plain.h - the requests of sftp_client.h where the server is not ours but any that speaks
 * SFTP version 3. Only for sftp_*.c. Those with `done` call it before they return. */
#ifndef TL_API_SFTP_PLAIN_H
#define TL_API_SFTP_PLAIN_H

#include "api/sftp_client.h"

struct sftp_plain; /* one per client */

struct plain_handle {
	uint8_t p[256];
	size_t n;
};

struct sftp_plain *sftp_plain_new(void);
void sftp_plain_free(struct sftp_plain *s);
/* An extension that the server offers. */
void sftp_plain_extension(struct sftp_plain *s, struct tl_bytes name);
bool sftp_plain_can_expand(const struct sftp_plain *s);
/* The temporary file that a broken client left there, or NULL; borrowed. */
const char *sftp_plain_leftover(const struct sftp_plain *s);
int sftp_plain_unsupported(const char *what, struct tl_err *err);

int sftp_plain_stat(struct sftp_client *c, const char *path, struct sftp_stat *ret,
		    struct tl_err *err);
int sftp_plain_mkdirs(struct sftp_client *c, const char *path, sftp_client_done *done, void *ctx,
		      struct tl_err *err);
int sftp_plain_rename(struct sftp_client *c, const char *from, const char *to,
		      sftp_client_done *done, void *ctx, struct tl_err *err);
int sftp_plain_piece(struct sftp_client *c, const struct sftp_save *save, uint64_t off,
		     struct tl_bytes data, sftp_client_done *done, void *ctx, struct tl_err *err);
int sftp_plain_read(struct sftp_client *c, const char *path, uint64_t off, uint64_t length,
		    sftp_client_data *data, void *ctx, struct tl_err *err);
int sftp_plain_begin_read(struct sftp_client *c, const char *path, uint64_t off, uint64_t length,
			  sftp_client_head *head, sftp_client_data *data, sftp_client_done *done,
			  void *ctx, struct tl_err *err);
int sftp_plain_digest(struct sftp_client *c, const char *path, uint64_t off, uint64_t length,
		      uint8_t sum[32], uint64_t *size, sftp_client_done *done, void *ctx,
		      struct tl_err *err);
/* sftp_plain_tree.c */
int sftp_plain_glob(struct sftp_client *c, const char *pattern, sftp_client_name *fn, void *ctx,
		    struct tl_err *err);
int sftp_plain_tree(struct sftp_client *c, const char *path, uint32_t flags, sftp_client_record *fn,
		    sftp_client_done *done, void *ctx, struct tl_err *err);

/* between the two: flags 0: a folder's entries */
int plain_handle_open(struct sftp_client *c, const char *path, uint32_t flags, uint32_t mode,
		      struct plain_handle *ret, struct tl_err *err);
int plain_handle_close(struct sftp_client *c, const struct plain_handle *h, struct tl_err *err);
int plain_attrs(struct sftp_client *c, const char *path, bool follow, struct sftp_attrs *ret,
		struct tl_err *err);
static inline bool plain_is_folder(const struct sftp_attrs *a)
{
	return (a->mode & 0170000) == 0040000;
}
/* a server that tells no type has files and folders only */
static inline bool plain_is_file(const struct sftp_attrs *a)
{
	return (a->mode & 0170000) == 0100000 || (a->mode & 0170000) == 0;
}
static inline bool plain_is_link(const struct sftp_attrs *a)
{
	return (a->mode & 0170000) == 0120000;
}

#endif
