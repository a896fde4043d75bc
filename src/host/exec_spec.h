/* exec_spec.h - what an exec stream asks for, read from its opening object. Owns its strings. */
#ifndef TL_HOST_EXEC_SPEC_H
#define TL_HOST_EXEC_SPEC_H

#include "base/str.h"
#include "wire/json.h"

struct exec_spec {
	struct strv argv; /* program and arguments; for a script the shell, the script is added when
			     it is there */
	char *cwd;        /* absolute */
	bool script, pty;
	unsigned cols, rows;
};

/* Reads the opening object and changes this process's environment as it asks. 0 or TL_E_* with a
 * sentence. */
int exec_spec_parse(struct exec_spec *s, yyjson_val *open, struct tl_err *err);
/* Completes a script: as an argument of the shell, or, where it is too long for one, as a file
 * without a name that the shell reads. */
int exec_spec_script(struct exec_spec *s, struct tl_bytes script, struct tl_err *err);
void exec_spec_fini(struct exec_spec *s);

#endif
