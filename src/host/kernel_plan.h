/* kernel_plan.h - from the parameters of kernel/create to what is executed. Owns its strings. */
#ifndef TL_HOST_KERNEL_PLAN_H
#define TL_HOST_KERNEL_PLAN_H

#include "host/kernel_policy.h"
#include "host/kernelspec.h"

struct kernel_plan {
	char *id, *run_dir;
	char *dir;             /* of the connection file and sockets: run_dir/kernel-ID */
	char *connection_file; /* in dir */
	char *uuid;            /* for Jupyter's clients */
	char *name, *tag, *notebook;
	char *cwd;    /* exists */
	char *notice; /* what was done otherwise than asked, or NULL */
	char *username;
	struct kernelspec spec;
	struct strv argv, env;
	enum kernel_timeout timeout;
	bool tcp;
};

/* Fills plan from the text of a specification. 0, or TL_E_INVAL, TL_E_PROTO, TL_E_NOSPEC,
 * TL_E_KERNEL (it cannot start: the reason and what to type), TL_E_NOMEM. On failure plan is
 * empty. */
int kernel_plan_parse(struct kernel_plan *plan, struct tl_bytes text, struct tl_err *err);
void kernel_plan_fini(struct kernel_plan *plan);

#endif
