/* files.h - the SFTP stream of a host without our program: plain SFTP version 3 towards the host's
 * server, our extensions (docs/protocol.md 4) towards the window. For src/standin/files*.c only.
 *
 * Three kinds of threads: the first one takes the client's packets in order, one takes the
 * server's, and each request that is more than one of the server's has one of its own (a task).
 * What the server understands as it is goes through with another id and waits for nobody. Owns the
 * channel. Bounds: FILES_WAITS requests at the server, FILES_TASKS of ours, each with a packet of
 * its client and FILES_AHEAD pieces of content. */
#ifndef TL_STANDIN_FILES_H
#define TL_STANDIN_FILES_H

#include <pthread.h>
#include <string.h>

#include "base/err.h"
#include "base/limits.h"
#include "wire/sftp.h"

#define FILES_WAITS  1024
#define FILES_TASKS  16
#define FILES_AHEAD  32
#define FILES_PIECE  32768 /* what every server takes and gives at once */
#define FILES_PATH   TL_LIMIT_PATH
#define FILES_HANDLE 256

enum files_extension { FILES_RENAME = 1, FILES_FSYNC = 2, FILES_EXPAND = 4, FILES_COPY = 8 };

struct files;
struct files_save; /* files_save.c */

/* A request at the server. */
struct files_wait {
	enum { WAIT_FREE, WAIT_PASS, WAIT_TASK, WAIT_ANSWERED, WAIT_NOBODY } state;
	uint32_t client_id; /* of WAIT_PASS */
	uint8_t *p;         /* the answer of WAIT_ANSWERED, without its id */
	size_t n;
};

/* A request of the client that has a thread. */
struct files_task {
	struct files *f;
	uint32_t id;
	uint8_t *packet; /* the rest of it */
	struct sftp_reader in;
	struct files_save *save; /* of save@towline */
	void (*run)(struct files_task *t);
};

struct files {
	int server, client_out;
	unsigned extensions;
	pthread_mutex_t lock; /* all below but the two write locks */
	pthread_cond_t changed;
	struct files_wait wait[FILES_WAITS];
	size_t tasks;
	bool lost, ending; /* the server, the client has gone */
	struct files_save *saves;
	pthread_mutex_t to_server, to_client; /* one packet at a time */
};

/* ---- files_ask.c: requests to the server; every function may wait */

/* One request: files_ask, files_put_*, files_post, then files_answer or files_forget. */
struct files_req {
	struct files *f;
	uint32_t id;
	struct buf out;
	struct sftp_mark m;
	int rc;
};
/* The answer; p is owned: files_answer_free. */
struct files_reply {
	uint8_t type;
	uint8_t *p;
	struct sftp_reader in;
};
struct files_handle {
	uint8_t p[FILES_HANDLE];
	size_t n;
};

void files_ask(struct files *f, struct files_req *q, uint8_t type, const char *extension);
void files_put_str(struct files_req *q, const char *s);
void files_put_bytes(struct files_req *q, const void *p, size_t n);
void files_put_u32(struct files_req *q, uint32_t v);
void files_put_u64(struct files_req *q, uint64_t v);
void files_put_attrs(struct files_req *q, const struct sftp_attrs *a);
void files_post(struct files_req *q);
/* Waits. 0 and the answer of type want (STATUS: success), or what went wrong. SFTP_EOF is
 * TL_E_CLOSED with the text "end". */
int files_answer(struct files_req *q, uint8_t want, struct files_reply *ret, struct tl_err *err);
void files_reply_free(struct files_reply *r);
/* Nobody waits for the answer. */
void files_forget(struct files_req *q);
/* For a request that wants success only. */
int files_done(struct files_req *q, struct tl_err *err);
/* The wait of a request that came from the client and goes through as it is. */
int files_pass(struct files *f, uint8_t type, uint32_t client_id, struct tl_bytes rest);

int files_attrs(struct files *f, const char *path, bool follow, struct sftp_attrs *ret,
		struct tl_err *err);
int files_real(struct files *f, const char *path, char out[FILES_PATH], struct tl_err *err);
/* flags 0: a folder's entries */
int files_open(struct files *f, const char *path, uint32_t flags, uint32_t mode,
	       struct files_handle *ret, struct tl_err *err);
/* wait: only then a failure is told. */
int files_close(struct files *f, const struct files_handle *h, bool wait, struct tl_err *err);
int files_path_op(struct files *f, uint8_t type, const char *path, struct tl_err *err);
/* Replaces `to`, in one step where the server can. */
int files_rename_over(struct files *f, const char *from, const char *to, struct tl_err *err);
/* Entries of a folder but . and ..; fn != 0 ends it. */
int files_each(struct files *f, const char *path,
	       int (*fn)(void *ctx, const char *name, const struct sftp_attrs *a), void *ctx,
	       struct tl_err *err);
/* Content from off on, to its end or length bytes (0: all). */
int files_content(struct files *f, const struct files_handle *h, uint64_t off, uint64_t length,
		  int (*fn)(void *ctx, struct tl_bytes b), void *ctx, struct tl_err *err);

static inline bool bytes_eq_str(struct tl_bytes b, const char *s)
{
	return b.n == strlen(s) && memcmp(b.p, s, b.n) == 0;
}
static inline bool files_is(const struct sftp_attrs *a, uint32_t type)
{
	return (a->mode & 0170000) == type;
}
#define FILES_FOLDER 0040000u
#define FILES_FILE   0100000u
#define FILES_LINK   0120000u

/* ---- to the client, from any thread */

void files_reply_status(struct files *f, uint32_t id, int rc, const char *text);
/* A packet built by sftp_begin/sftp_end; emptied. */
void files_reply_packet(struct files *f, struct buf *out);
void files_fail(struct files_task *t, const struct tl_err *err);
void files_etag(uint8_t out[SFTP_ETAG], const struct sftp_attrs *a);

/* ---- the requests of the client (files_look.c, files_change.c, files_save.c) */

void files_run_list(struct files_task *t);
void files_run_stat(struct files_task *t);
void files_run_read(struct files_task *t);
void files_run_expand(struct files_task *t);
void files_run_mkdir(struct files_task *t);
void files_run_rmdir(struct files_task *t);
void files_run_rename(struct files_task *t);
void files_run_posix_rename(struct files_task *t);
void files_run_mkdirs(struct files_task *t);
void files_run_remove_tree(struct files_task *t);
void files_run_copy_tree(struct files_task *t);
/* On the first thread, before the task: pieces of one file keep their order. */
void files_save_arrived(struct files_task *t);
void files_run_save(struct files_task *t);
/* The client has gone: what is not whole is removed. */
void files_saves_end(struct files *f);

#endif
