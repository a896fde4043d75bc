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
};

void code_view_init(struct code_view *v, const struct cmd_globals *g);
void code_view_fini(struct code_view *v);
/* Runs v->code in session v->id and prints what comes, or with json keeps it. 0 (see failed, dead,
 * left), or TL_E_* with a sentence. */
int code_view_run(struct code_view *v, struct tl_err *err);
/* What was kept, as one line of JSON. */
void code_view_print_json(struct code_view *v);

#endif
