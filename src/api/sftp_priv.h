/* sftp_priv.h - between sftp_client.c (the wire and the queue of requests) and sftp_ops.c (the
 * requests). */
#ifndef TL_API_SFTP_PRIV_H
#define TL_API_SFTP_PRIV_H

#include "api/sftp_client.h"

/* One request under way. take gets every reply of the wanted type, at its payload; more: another
 * one follows. Its failure is the request's; later replies are then skipped. */
struct sftp_pending {
	struct sftp_pending *next;
	uint32_t id;
	uint8_t want; /* reply type; SFTP_STATUS where success is all there is */
	bool streamed, first;
	int (*take)(struct sftp_pending *p, struct sftp_reader *r, bool more, struct tl_err *err);
	void *out; /* where a waiting caller wants the result */
	size_t out_n;
	sftp_client_head *head;
	sftp_client_data *data;
	sftp_client_entry *entry;
	sftp_client_record *record;
	sftp_client_name *name;
	sftp_client_done *done;
	void *ctx, *done_ctx;
	bool *at_end; /* set instead of a failure, where the answer is SFTP_EOF */
	int rc;       /* what take said first */
	struct tl_err err;
};

/* A request being written: begin, buf_put_* on its out, then send. p NULL: out of memory. */
struct sftp_call {
	struct sftp_client *c;
	struct sftp_pending *p;
	struct buf *out;
	struct sftp_mark m;
	int rc; /* first failure of writing */
};
struct sftp_call sftp_call_begin(struct sftp_client *c, uint8_t type, const char *extension,
				 uint8_t want);
void sftp_call_str(struct sftp_call *call, const char *s);
void sftp_call_u32(struct sftp_call *call, uint32_t v);
void sftp_call_u64(struct sftp_call *call, uint64_t v);
void sftp_call_bytes(struct sftp_call *call, struct tl_bytes b); /* as a string */
void sftp_call_raw(struct sftp_call *call, struct tl_bytes b);
/* Queues it. done is called once in any case, now or later; a result other than 0 only says that
 * the client is broken. */
int sftp_call_send(struct sftp_call *call, struct tl_err *err);
/* Queues it and waits for all: the request's own failure, or what broke the client. */
int sftp_call_wait(struct sftp_call *call, struct tl_err *err);
/* Queues it with its end: done is called once, whatever happens. */
int sftp_call_begun(struct sftp_call *call, sftp_client_done *done, void *ctx, struct tl_err *err);
/* What serves us where the server is not ours; NULL: it is ours. */
struct sftp_plain *sftp_client_plain(const struct sftp_client *c);
bool sftp_client_is_broken(const struct sftp_client *c);
/* The caller has enough: from here on only sftp_client_free. */
void sftp_client_break(struct sftp_client *c, int code);
int sftp_client_realpath(struct sftp_client *c, const char *path, char *out, size_t n);
/* A name that can be joined to a folder here without leading elsewhere. */
bool sftp_entry_name(struct sftp_reader *r, char name[SFTP_NAME_BYTES]);

#endif
