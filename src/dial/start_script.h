/* start_script.h - the one line of POSIX sh that finds, installs and starts the server on a host.
 * Pure: makes text. Borrows what it is given. The dialogue is described in docs/connect.md. */
#ifndef TL_DIAL_START_SCRIPT_H
#define TL_DIAL_START_SCRIPT_H

#include "base/buf.h"
#include "base/err.h"

/* Takes the start-up line from standard input. read and eval, because shells read ahead from a
 * script on a pipe and would swallow what follows it. */
#define START_SHELL "IFS= read -r l; eval \"$l\""

/* What `uname -sm` must say for an architecture we build for. */
struct start_arch {
	const char *name;     /* as in towline-host-NAME */
	const char *machine;  /* what it usually says */
	const char *patterns; /* sh patterns of it */
};

#define START_ARCHES 3
extern const struct start_arch start_arches[START_ARCHES];

struct start_spec {
	const char *nonce;
	const char *install_path; /* NULL: ~/.towline-server; absolute, or with ~/ in front */
	const char *version;
	const char *errand; /* NULL, or a verb of `towline-host server` instead of a start */
	int errand_lines;
	bool private_server; /* `serve` of an installed program or of a copy without a place */
	/* hex SHA-256 per architecture, "" where this installation has no binary */
	const char *digest[START_ARCHES];
};

/* The architecture of a host whose `uname -sm` is the usual one, or NULL. */
const char *start_arch_of(const char *machine);

/* In front of the line of a private server: the client did not wait for START_NEED, the program is
 * on its way behind the line. */
#define START_OFFERED "p=%s;"

/* Appends the command for ssh to out; valid in sh, bash, dash, ash, csh, tcsh and fish. Returns 1
 * when it starts an installed server by itself and asks for the line (START_SEND) only where there
 * is none: an OpenSSH server opens a session without a window for our input, so a line costs a
 * round trip. 0 when it waits for the line at once (an install path that some shell would read
 * otherwise). TL_E_LIMIT, TL_E_NOMEM. */
int start_command(struct buf *out, const struct start_spec *s);

/* Appends the line, LF included, to out. 0, TL_E_INVAL (install path), TL_E_LIMIT, TL_E_NOMEM. */
int start_script(struct buf *out, const struct start_spec *s, struct tl_err *err);

#endif
