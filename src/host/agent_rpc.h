/* agent_rpc.h - a JSON-RPC call in progress, as its method sees it.
 * A call is answered exactly once, now or later; answering frees it. The stream may be gone by
 * then: the answer is dropped. */
#ifndef TL_HOST_AGENT_RPC_H
#define TL_HOST_AGENT_RPC_H

#include "host/agent.h"
#include "wire/jsonrpc.h"

struct rpc;

struct rpc_call {
	struct agent *agent;
	struct rpc *rpc; /* NULL: nobody waits any more */
	struct list node;
	struct jsonrpc_msg msg;
};

/* result may be NULL ({}); it is freed. */
void rpc_answer(struct rpc_call *c, yyjson_mut_doc *result);
/* result as JSON text, borrowed. */
void rpc_answer_text(struct rpc_call *c, struct tl_bytes result);
void rpc_fail(struct rpc_call *c, const struct tl_err *err);
/* rpc_fail with a code and a sentence. */
void rpc_failf(struct rpc_call *c, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Sends a notification on the rpc stream of lk that asked for them ("urls": true in its opening).
 * params is borrowed. false: there is none, or it takes nothing now. */
bool rpc_notify(struct agent_link *lk, const char *method, yyjson_mut_doc *params);

/* agent_methods.c: runs the method; takes c. */
void method_call(struct rpc_call *c);

#endif
