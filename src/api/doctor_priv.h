/* doctor_priv.h - between doctor*.c. */
#ifndef TL_API_DOCTOR_PRIV_H
#define TL_API_DOCTOR_PRIV_H

#include "api/doctor.h"
#include "api/place.h"
#include "base/buf.h"
#include "base/str.h"
#include "dial/dial.h"

#define DOCTOR_TEXT    TL_ERR_TEXT
#define DOCTOR_METHODS 40

/* What the walk knows. */
struct doctor {
	const struct doctor_options *o;
	struct place_files files;
	char dir[64];  /* private folder */
	char ctl[128]; /* control socket of the login */
	struct loop loop;
	struct dial *dial;
	struct loop_timer turn;
	struct tl_err err; /* why the way ended */
	uint64_t began_ms; /* of the step under way */
	/* of ssh -G */
	char hostname[256], user[128], jump[512], proxy[512];
	int port;
	/* of ssh's own lines */
	char key[160], software[160], banner[160], cipher[80];
	struct strv tried; /* each method or key with what became of it */
	bool server_seen, hostkey_ok, logged_in;
	bool prohibited; /* sshd refused a channel by its rules */
	uint64_t login_ms;
};

void doctor_begin(struct doctor *d);
/* Tells a step. state BAD: code says why; returns it, else 0. todo NULL: that of the code. */
int doctor_tell(struct doctor *d, const char *name, enum doctor_state state, int code,
		const char *todo, const char *fmt, ...) __attribute__((format(printf, 6, 7)));

/* doctor_net.c: configuration, name, route, port, banner. */
int doctor_config(struct doctor *d);
int doctor_net(struct doctor *d);
/* doctor_login.c: host key and login; the login stays for what follows. */
int doctor_login(struct doctor *d);
/* Takes what ssh has written by now. */
void doctor_listen(struct doctor *d);
/* doctor_host.c: shell, home, platform, what sshd allows. */
int doctor_host(struct doctor *d);
/* doctor_server.c: the server's start and the link. */
int doctor_server(struct doctor *d);

/* Runs ssh through the login: words before the host, command (NULL: none); output of both streams
 * with errors, else of standard output alone. 0 and the status, or TL_E_TIMEOUT … */
int doctor_ssh(struct doctor *d, const char *const *more, const char *command, bool errors,
	       struct buf *out, int timeout_ms, int *ret_status);
struct dial_target doctor_target(const struct doctor *d);
struct dial_env doctor_env(const struct doctor *d);
/* Questions of ssh, for callbacks of dial with d as their ctx. */
void doctor_prompt(void *ctx, struct dial_prompt *p, enum dial_prompt_kind kind, const char *text,
		   bool echo, int attempt);

#endif
