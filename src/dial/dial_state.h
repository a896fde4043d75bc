/* dial_state.h - the inside of one attempt, shared by dial.c (life), dial_launch.c (the child) and
 * dial_upload.c (bytes to the host). Everything is owned by struct dial; it is freed from the loop
 * when the last handle is closed and the child is gone. */
#ifndef TL_DIAL_DIAL_STATE_H
#define TL_DIAL_DIAL_STATE_H

#include "base/buf.h"
#include "base/str.h"
#include "dial/binary.h"
#include "dial/dial.h"
#include "dial/prompt.h"
#include "dial/ssh_ciphers.h"
#include "dial/start_parse.h"
#include "loop/child.h"
#include "loop/io.h"

#define DIAL_STDERR 8192
#define DIAL_CHUNK  65536
#define SCRIPT_MAX  16384 /* start-up line */

enum dial_phase {
	DIAL_CONNECTING, /* until our line runs on the host */
	DIAL_PROBING,    /* our line runs */
	DIAL_INSTALLING, /* the server travels */
	DIAL_STARTING,   /* it has been sent completely */
	DIAL_UP,
	DIAL_OVER /* on_failed or on_down was called */
};

struct dial {
	struct loop *loop;
	struct dial_callbacks cb;
	char *host, *bin_dir;
	bool local, reconnect, private_server, keep_login, login_only, errand;
	struct buf report; /* of an errand */
	enum dial_phase phase;
	struct ssh_ciphers_query *asking; /* before the child */
	char subject[SSH_CIPHERS_SUBJECT],
	    *note;              /* where its answer is kept; "" and NULL: nowhere */
	bool preferred;         /* without having asked: to be said */
	struct strv argv, envp; /* of the child, while we ask */
	struct child child;
	pid_t group; /* 0: none */
	bool exited;
	int exit_kind, exit_value;
	struct io out, errs;
	struct prompts prompts;
	bool hostkey_asked;
	/* deadline: left_ms when the clock stands, since_ms when it runs; after dial_close: the
	 * kill */
	struct loop_timer clock;
	uint64_t total_ms, left_ms, since_ms;
	bool clock_on;
	struct loop_timer last; /* first turn of the loop, and the last handle to close */
	struct start_parse start;
	struct buf line;    /* the start-up line, until the host asks for it */
	struct buf pending; /* to the host, not taken by the kernel yet */
	char machine[64];   /* what the host is, as it said */
	struct binary bin;
	bool uploading;
	bool offered; /* the program went without being asked for */
	uint64_t sent;
	struct tl_err refused; /* we said stop: told when the host has cleaned up and left */
	struct buf err_text;   /* the last DIAL_STDERR bytes of ssh's standard error */
	struct buf err_line;
	bool closed;
	int refs;
};

/* For the log: the order of ciphers is ours. */
void dial_said_prefer(struct dial *d);
/* Tells the attempt's failure once and ends the child. */
void dial_fail(struct dial *d, const struct tl_err *err);
void dial_progress(struct dial *d, const char *step, int64_t done, int64_t total, const char *fmt,
		   ...) __attribute__((format(printf, 5, 6)));
/* The deadline begins again, more_ms later than usual: bytes moved. */
void dial_clock_restart(struct dial *d, uint64_t more_ms);

/* Makes the command and starts the child. 0 or an error; d is closed by the caller then. */
int dial_launch(struct dial *d, const struct dial_target *t, const struct dial_env *env,
		struct tl_err *err);
/* Callbacks of the child and its descriptors. */
void dial_out_readable(void *ctx);
void dial_out_writable(void *ctx);
void dial_err_readable(void *ctx);
void dial_exited(void *ctx, int kind, int value);
/* Sends the start-up line, once. */
void dial_send_line(struct dial *d);
/* The same, and where the host is known well enough the program behind it, unasked. */
void dial_offer(struct dial *d);

/* Writes what is pending and, while uploading, the program behind it. */
void dial_pump(struct dial *d);
/* Answers the host's facts (start_script.c part_ask): begins the upload, lets the host use what it
 * has, or fails. */
void dial_needed(struct dial *d, const char *facts);

#endif
