/* standin_state.h - inside of the stand-in's server. For src/standin/standin*.c only.
 * Everything belongs to the loop's thread but for what a task does in its own, and `done` and
 * `over` under the lock. */
#ifndef TL_STANDIN_STANDIN_STATE_H
#define TL_STANDIN_STANDIN_STATE_H

#include "api/plain.h"
#include "host/agent_rpc.h"
#include "loop/wake.h"

enum standin_look { STANDIN_LOOKING, STANDIN_KNOWN, STANDIN_USELESS };

/* What the host is, as far as it tells. */
struct standin_facts {
	bool commands, files;
	bool windows; /* commands of its own shell: a terminal is all there is */
	char os[64], arch[64], kernel[128], hostname[256], user[256], uid[16];
	char home[TL_LIMIT_PATH], shell[TL_LIMIT_PATH];
};

struct standin {
	struct agent agent;
	struct plain *plain;
	const char *dir, *ssh, *host;
	struct tl_err why; /* what keeps our program from running there */
	enum standin_look look;
	struct tl_err useless; /* what host/info says then */
	struct standin_facts facts;
	struct list waiting; /* struct standin_call: asked before the look was over */
	struct loop_wake wake;
	pthread_mutex_t lock;
	struct list done; /* struct standin_task */
	bool over;        /* no loop any more */
};

/* Something that may wait: work runs in a thread, finish then on the loop's, and frees it. */
struct standin_task {
	struct list node;
	struct standin *s;
	void (*work)(struct standin_task *t);
	void (*finish)(struct standin_task *t);
};
int standin_run(struct standin *s, struct standin_task *t, struct tl_err *err);

/* standin_look.c: finds out what the host allows; answers who waits. */
int standin_look(struct standin *s, struct tl_err *err);
/* Takes a call that needs to know: false, when nothing has to be waited for. */
bool standin_wait(struct standin *s, struct rpc_call *c, void (*go)(struct rpc_call *c));
/* An SFTP client over a channel of its own; the caller's thread may wait. */
struct sftp_client;
int standin_sftp(struct plain *p, struct sftp_client **ret, struct tl_err *err);

/* standin_methods.c, standin_open.c */
bool standin_method(struct rpc_call *c);
int standin_open(struct agent_stream *s, const char *name, yyjson_val *request, struct tl_err *err);

#endif
