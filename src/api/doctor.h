/* doctor.h - walks the way to a host step by step, as a connection goes it, and says at which one
 * it ends and why: name, route, port, banner, host key, login, shell, home, platform, what sshd
 * allows, server, link. Blocking; one login for everything. Loop thread of its own; questions of
 * ssh come through the ui. */
#ifndef TL_API_DOCTOR_H
#define TL_API_DOCTOR_H

#include "api/client.h"

enum doctor_state {
	DOCTOR_OK,
	DOCTOR_NOTE, /* works, but a person should know */
	DOCTOR_BAD,  /* here it ends */
	DOCTOR_LEFT_OUT
};

/* One step: text says what was found, todo what to do (may be ""); borrowed for the call. ms: how
 * long it took. */
struct doctor_step {
	const char *name;
	enum doctor_state state;
	const char *text, *todo;
	uint64_t ms;
};

struct doctor_options {
	const char *host;
	struct api_host_options how;
	const char *ssh_path;     /* NULL: ssh */
	const char *install_path; /* NULL: the usual place */
	const struct api_ui *ui;  /* its prompt and progress */
	void (*on_step)(void *ctx, const struct doctor_step *s);
	void *ctx;
};

/* 0: everything works; else the error of the step that is broken, told to on_step before. */
int doctor_run(const struct doctor_options *o, struct tl_err *err);

#endif
