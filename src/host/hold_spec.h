/* hold_spec.h - from the parameters of term/create to what is executed: program, arguments,
 * environment, folder. Owns its strings. */
#ifndef TL_HOST_HOLD_SPEC_H
#define TL_HOST_HOLD_SPEC_H

#include "base/str.h"
#include "wire/json.h"

/* What hold_main is told, as JSON:
 * {"id":"k3f9","runDir":"/…/run/host","version":"0.1.0","browser":"/…/towline-browser",
 * "params":{ parameters of term/create }} */
struct hold_plan {
	char *id, *run_dir, *version;
	char *name, *tag;
	char *cwd;    /* exists */
	char *shell;  /* program, absolute or looked up on PATH */
	char *notice; /* first line for the log, or NULL */
	struct strv argv, env;
	unsigned cols, rows;
	bool raw; /* see hold_spawn_spec */
};

/* Fills plan from the text of a specification. 0, or TL_E_INVAL, TL_E_PROTO, TL_E_NOMEM with a
 * sentence; on failure plan is empty. */
int hold_plan_parse(struct hold_plan *plan, struct tl_bytes text, struct tl_err *err);
void hold_plan_fini(struct hold_plan *plan);

#endif
