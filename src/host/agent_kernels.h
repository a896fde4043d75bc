/* agent_kernels.h - the methods about sessions (kernel/…), and what they share with others. */
#ifndef TL_HOST_AGENT_KERNELS_H
#define TL_HOST_AGENT_KERNELS_H

#include "host/agent_rpc.h"

void method_KERNEL_SPECS(struct rpc_call *c);
void method_KERNEL_FILE(struct rpc_call *c);
void method_KERNEL_CONNECTION(struct rpc_call *c);
void method_KERNEL_LIST(struct rpc_call *c);
void method_KERNEL_CREATE(struct rpc_call *c);
void method_KERNEL_INFO(struct rpc_call *c);
void method_KERNEL_INTERRUPT(struct rpc_call *c);
void method_KERNEL_RESTART(struct rpc_call *c);
void method_KERNEL_SHUTDOWN(struct rpc_call *c);
void method_KERNEL_CONFIGURE(struct rpc_call *c);

/* Ends a session; done comes once, later. 0, or TL_E_* and it does not come. */
int kernel_end(struct agent *a, const char *id,
	       void (*done)(void *ctx, int rc, struct tl_bytes answer), void *ctx);

#endif
