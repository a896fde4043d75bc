/* code_view.h - one execution in a session, followed to its end over a stream that may be lost and
 * found again. One thread, one poll(2). */
#ifndef TL_CMD_CODE_VIEW_H
#define TL_CMD_CODE_VIEW_H

#include "cmd/cmd_util.h"
#include "wire/jupyter_msg.h"
#include "wire/kernel_frame.h"

#define CODE_ID 33 /* hexadecimal digits and NUL */

struct code_view {
	struct cmd_ui ui;
	struct api_client *client;
	char *host;             /* canonical */
	const char *typed_host; /* as the user wrote it */
	char *id;               /* of the session */
	const char *code;
	bool json;
	int fd; /* -1: the stream is lost */
	struct buf in, record;
	uint64_t cursor_off;
	bool cursor_known, sent, busy_seen;
	bool replied, idle; /* both: it is over */
	bool dead, over, left;
	char session[CODE_ID], msg_id[CODE_ID];
	unsigned interrupts;
	bool failed;             /* the code ended with an error */
	char status[32];         /* of the reply */
	struct buf out, errors;  /* with json: what it printed */
	yyjson_mut_doc *doc;     /* with json: the result */
	yyjson_mut_val *results; /* data of what it showed */
	/* of a console */
	bool console;
	char ask_id[CODE_ID];  /* the question that waits for its answer, "" none */
	yyjson_doc *answer;    /* content of it */
	bool exit_asked, keep; /* exit() was called; the kernel is to go on */
	int64_t count;         /* of the last execution */
	bool numbered;         /* results are shown with their number */
	const char *images;    /* folder for pictures, or NULL */
	unsigned n_images;
	/* what other clients of the session do, while this one waits; may be NULL */
	void (*others)(struct code_view *v, const char *type, yyjson_val *content);
	void *others_ctx;
};

void code_view_init(struct code_view *v, const struct cmd_globals *g);
void code_view_fini(struct code_view *v);
/* Runs v->code in session v->id and prints what comes, or with json keeps it. 0 (see failed, dead,
 * left), or TL_E_* with a sentence. */
int code_view_run(struct code_view *v, struct tl_err *err);
/* The steps of it, for several executions. Attaches at the log's end. */
int code_view_attach(struct code_view *v, struct tl_err *err);
/* Runs code; as code_view_run. */
int code_view_execute(struct code_view *v, const char *code, struct tl_err *err);
/* Follows the execution msg_id of another client to its end. */
int code_view_follow(struct code_view *v, const char *msg_id, struct tl_err *err);
/* Answers a question for input that was asked before it came: its header as JSON, its content. */
void code_view_answer(struct code_view *v, const char *header, yyjson_val *content);
/* Asks on shell and waits: the content of the reply (free with yyjson_doc_free), NULL: none came in
 * time. content: JSON. */
yyjson_doc *code_view_ask(struct code_view *v, const char *type, const char *content,
			  int timeout_ms);
/* Works on what v->fd has to read; connects again where it was lost. */
int code_view_read(struct code_view *v, struct tl_err *err);
/* Tells that nobody comes back by himself, and closes. */
void code_view_leave(struct code_view *v);
/* Signals since the last call: 0, or the last one. */
int code_view_signal(void);
/* What was kept, as one line of JSON. */
void code_view_print_json(struct code_view *v);

#endif
