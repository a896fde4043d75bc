/* kernelspec.h - one kernel that can be started: from a kernel.json, or from an interpreter whose
 * command line is known. Looks at files only and runs nothing. Blocks on the file system: for
 * short-lived processes and for a session's start. */
#ifndef TL_HOST_KERNELSPEC_H
#define TL_HOST_KERNELSPEC_H

#include <stdbool.h>

#include "base/err.h"
#include "base/str.h"
#include "wire/json.h"

/* Owns its strings; empty texts rather than NULL after kernelspec_*, but where said. */
struct kernelspec {
	char *id; /* what kernel/create takes: name of a kernelspec, or an absolute path */
	char *display;
	char *language;     /* "python", "R", … */
	char *path;         /* the interpreter */
	char *version;      /* NULL: unknown */
	char *dir;          /* folder of the kernel.json, with its logos; NULL: there is none */
	char *metadata;     /* JSON, or NULL */
	char *reason;       /* why it cannot start, or NULL */
	char *install;      /* what to type on the host to change that, or NULL */
	const char *source; /* static: KernelSpec's source */
	struct strv argv;   /* with {connection_file} in it */
	struct strv env;    /* NAME=value, with $NAME in the values */
	bool by_message;    /* interrupt_mode */
	bool unsure; /* reason is a guess from files: the interpreter itself may know better */
};

void kernelspec_fini(struct kernelspec *k);

/* Folders with kernelspecs in the order of jupyter_core: $JUPYTER_PATH, the user's, those of the
 * active environments, /usr/local/share and /usr/share. 0 or TL_E_NOMEM. */
int kernelspec_dirs(struct strv *ret);
/* Reads DIR/kernel.json. 0, TL_E_NOENT, TL_E_PROTO (err says what is wrong with it). */
int kernelspec_load(const char *dir, const char *id, struct kernelspec *ret, struct tl_err *err);
/* The kernel of an interpreter: python…, R or ark. false: none of them. */
bool kernelspec_of_interpreter(const char *path, const char *source, struct kernelspec *ret);
/* What kernel/create was given: a name, a folder with a kernel.json, or an interpreter. 0,
 * TL_E_NOSPEC, TL_E_PROTO, TL_E_NOMEM. */
int kernelspec_find(const char *kernel, struct kernelspec *ret, struct tl_err *err);

/* ---- kernelspec_files.c: what files tell about an interpreter ---- */

/* The path of a program on PATH, malloc'ed; one with a slash is looked at where it is. NULL: not
 * there. */
char *kernelspec_which(const char *program);
/* Fills version, reason, install and unsure of a Python's kernel. */
void kernelspec_look_python(struct kernelspec *k);
/* The same for R and IRkernel. */
void kernelspec_look_r(struct kernelspec *k);
bool kernelspec_is_python(const char *path);

#endif
