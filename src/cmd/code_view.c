/* code_view.c - see code_view.h. Printing is blocking: who does not read slows only this view, the
 * session's log waits. Ctrl-C interrupts the code, a second one leaves. */
#include "cmd/code_view.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <termios.h>
#include <unistd.h>

#include "base/str.h"
#include "cmd/code_print.h"
#include "loop/io.h"
#include "loop/loop.h"

#define RETRY_MS  1000
#define WRITE_MS  600000
#define KEPT_MAX  67108864 /* bytes of output kept for JSON */
#define LINE_MAX_ 65536    /* an answer to input() */

static volatile sig_atomic_t signal_seen, signal_count;

static void on_signal(int signo)
{
	signal_seen = signo;
	signal_count++;
}

void code_view_init(struct code_view *v, const struct cmd_globals *g)
{
	uint8_t id[16];
	struct sigaction sa = {.sa_handler = on_signal};
	*v = (struct code_view){.fd = -1, .json = g->json};
	cmd_ui_init(&v->ui, g);
	random_bytes(id, sizeof(id));
	str_hex(id, sizeof(id), v->session);
	random_bytes(id, sizeof(id));
	str_hex(id, sizeof(id), v->msg_id);
	buf_init(&v->in, 4 * KERNEL_FRAME_MAX);
	buf_init(&v->record, KERNEL_RECORD_MAX + KERNEL_PAYLOAD);
	buf_init(&v->out, KEPT_MAX);
	buf_init(&v->errors, KEPT_MAX);
	v->doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_doc_set_root(v->doc, yyjson_mut_obj(v->doc));
	v->results = yyjson_mut_arr(v->doc);
	sigemptyset(&sa.sa_mask);
	/* no SA_RESTART: a signal ends whatever waits */
	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
	sigaction(SIGHUP, &sa, NULL);
	signal(SIGPIPE, SIG_IGN);
}

void code_view_fini(struct code_view *v)
{
	yyjson_doc_free(v->answer);
	if (v->fd >= 0)
		close(v->fd);
	if (v->client)
		api_client_close(v->client);
	buf_fini(&v->in);
	buf_fini(&v->record);
	buf_fini(&v->out);
	buf_fini(&v->errors);
	yyjson_mut_doc_free(v->doc);
	free(v->host);
	free(v->id);
}

/* ---- to the session ---- */

static void view_lost(struct code_view *v)
{
	if (v->fd >= 0)
		close(v->fd);
	v->fd = -1;
}

static void view_write(struct code_view *v, struct buf *frames, int rc)
{
	struct tl_bytes b = buf_data(frames);
	if (rc || fd_write_all(v->fd, b.p, b.n, WRITE_MS) != 0)
		view_lost(v);
	buf_fini(frames);
}

/* One message as a record in SEND frames. */
static void view_send(struct code_view *v, uint8_t channel, const char *id, const char *type,
		      const char *parent, const char *content)
{
	struct buf header, record, frames;
	size_t max = strlen(content) + strlen(parent) + 65536;
	buf_init(&header, 4096);
	buf_init(&record, max);
	buf_init(&frames, max + max / 256);
	const char *user = getenv("USER");
	int rc = jupyter_put_header(&header, id, v->session, type, user ? user : "user",
				    clock_wall_ms());
	struct tl_bytes parts[] = {buf_data(&header), bytes_str(parent), bytes_str("{}"),
				   bytes_str(content)};
	rc = rc ? rc : kernel_record_put(&record, KERNEL_RECORD_MESSAGE, channel, 0, parts, 4);
	struct tl_bytes b = buf_data(&record);
	while (b.n && !rc) {
		size_t n = b.n < KERNEL_PAYLOAD ? b.n : KERNEL_PAYLOAD;
		rc = kernel_put(&frames, KERNEL_FRAME_SEND, b.p, n);
		b = bytes_of(b.p + n, b.n - n);
	}
	buf_fini(&header);
	buf_fini(&record);
	view_write(v, &frames, rc);
}

static void view_execute(struct code_view *v)
{
	yyjson_mut_doc *d = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *o = yyjson_mut_obj(d);
	yyjson_mut_doc_set_root(d, o);
	json_add_path(d, o, "code", v->code);
	yyjson_mut_obj_add_bool(d, o, "silent", false);
	yyjson_mut_obj_add_bool(d, o, "store_history", true);
	yyjson_mut_obj_add_obj(d, o, "user_expressions");
	yyjson_mut_obj_add_bool(d, o, "allow_stdin", true);
	yyjson_mut_obj_add_bool(d, o, "stop_on_error", true);
	char *text = yyjson_mut_write(d, 0, NULL);
	yyjson_mut_doc_free(d);
	if (text)
		view_send(v, JUPYTER_SHELL, v->msg_id, "execute_request", "{}", text);
	free(text);
	v->sent = true;
}

static void view_call(struct code_view *v, const char *json)
{
	struct buf frames;
	buf_init(&frames, KERNEL_FRAME_MAX);
	int rc = kernel_put(&frames, KERNEL_FRAME_CALL, json, strlen(json));
	view_write(v, &frames, rc);
}

/* ---- a question of the code ---- */

/* One line of standard input without its end; EOF is what ipykernel takes for it. */
static void read_answer(char *line, size_t max, bool hidden)
{
	struct termios was, quiet;
	bool off = hidden && tcgetattr(0, &was) == 0;
	size_t n = 0;
	char c = 0;
	if (off) {
		quiet = was;
		quiet.c_lflag &= ~(tcflag_t)ECHO;
		tcsetattr(0, TCSAFLUSH, &quiet);
	}
	while (n + 1 < max && read(0, &c, 1) == 1 && c != '\n')
		line[n++] = c;
	if (n == 0 && c != '\n')
		line[n++] = 4;
	line[n] = 0;
	if (off) {
		tcsetattr(0, TCSAFLUSH, &was);
		fd_write_all(2, "\n", 1, WRITE_MS);
	}
}

static void view_asked(struct code_view *v, struct tl_bytes header, yyjson_val *content)
{
	const char *prompt = json_str(content, "prompt", "");
	char *line = malloc(LINE_MAX_), id[CODE_ID];
	char *parent = str_ndup(header.p, header.n);
	uint8_t random[16];
	yyjson_mut_doc *d = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *o = yyjson_mut_obj(d);
	fd_write_all(2, prompt, strlen(prompt), WRITE_MS);
	if (line)
		read_answer(line, LINE_MAX_, json_bool(content, "password", false));
	random_bytes(random, sizeof(random));
	str_hex(random, sizeof(random), id);
	yyjson_mut_doc_set_root(d, o);
	json_add_path(d, o, "value", line ? line : "");
	yyjson_mut_obj_add_str(d, o, "status", "ok");
	char *text = yyjson_mut_write(d, 0, NULL);
	if (text && parent && v->fd >= 0)
		view_send(v, JUPYTER_STDIN, id, "input_reply", parent, text);
	free(text);
	free(parent);
	free(line);
	yyjson_mut_doc_free(d);
}

/* ---- from the session ---- */

/* Messages of other clients' requests, and answers to questions of ours. */
static void view_other(struct code_view *v, const struct kernel_record *r,
		       const struct jupyter_head *head, const struct jupyter_head *parent)
{
	bool answer =
	    v->ask_id[0] && r->channel == JUPYTER_SHELL && strcmp(parent->id, v->ask_id) == 0;
	yyjson_doc *d;
	if (!answer && (!v->others || r->channel != JUPYTER_IOPUB || !parent->session[0] ||
			strcmp(parent->session, v->session) == 0))
		return;
	d = json_parse(kernel_record_part(r, JUPYTER_CONTENT), NULL);
	if (answer) {
		yyjson_doc_free(v->answer);
		v->answer = d;
		v->ask_id[0] = 0;
		return;
	}
	v->others(v, head->type, yyjson_doc_get_root(d));
	yyjson_doc_free(d);
}

static void view_message(struct code_view *v, const struct kernel_record *r)
{
	struct jupyter_head head, parent;
	if (r->count < JUPYTER_PARTS ||
	    jupyter_head_parse(kernel_record_part(r, JUPYTER_HEADER), &head) != 0 ||
	    jupyter_head_parse(kernel_record_part(r, JUPYTER_PARENT), &parent) != 0)
		return;
	if (strcmp(parent.id, v->msg_id) != 0) {
		view_other(v, r, &head, &parent);
		return;
	}
	yyjson_doc *d = json_parse(kernel_record_part(r, JUPYTER_CONTENT), NULL);
	yyjson_val *content = yyjson_doc_get_root(d);
	if (strcmp(head.type, "execute_reply") == 0) {
		v->replied = true;
		str_copy(v->status, sizeof(v->status), json_str(content, "status", "?"));
		v->failed |= strcmp(v->status, "ok") != 0;
		code_print_reply(v, content);
		/* what an earlier error has cancelled has no messages of its own but this */
		v->idle |= strcmp(v->status, "aborted") == 0;
	} else if (strcmp(head.type, "status") == 0) {
		v->idle |= strcmp(json_str(content, "execution_state", ""), "idle") == 0;
	} else if (strcmp(head.type, "input_request") == 0) {
		view_asked(v, kernel_record_part(r, JUPYTER_HEADER), content);
	} else {
		code_print(v, head.type, content);
	}
	yyjson_doc_free(d);
}

static void view_record(struct code_view *v, const struct kernel_record *r)
{
	yyjson_doc *d = NULL;
	if (r->kind == KERNEL_RECORD_MESSAGE) {
		view_message(v, r);
	} else if (r->kind == KERNEL_RECORD_STATE && r->count == 1 && v->sent) {
		d = json_parse(kernel_record_part(r, 0), NULL);
		const char *state = json_str(yyjson_doc_get_root(d), "state", "");
		v->dead |= strcmp(state, "dead") == 0 || strcmp(state, "restarting") == 0;
	}
	yyjson_doc_free(d);
}

static int view_data(struct code_view *v, struct tl_bytes b)
{
	struct kernel_record r;
	size_t used;
	int rc = buf_put(&v->record, b.p, b.n);
	while (!rc && (rc = kernel_record_next(buf_data(&v->record), &r, &used)) == 1) {
		view_record(v, &r);
		buf_consume(&v->record, used);
		v->cursor_off += used;
		rc = 0;
	}
	buf_shrink(&v->record);
	return rc;
}

static int view_frame(struct code_view *v, const struct kernel_frame *f)
{
	struct kernel_attached a;
	uint64_t off;
	switch (f->type) {
	case KERNEL_FRAME_ATTACHED:
		a = kernel_get_attached(f->payload);
		if (v->cursor_known && a.from_off > v->cursor_off)
			code_print_gap(v, a.from_off - v->cursor_off);
		v->cursor_off = a.from_off;
		v->cursor_known = true;
		buf_clear(&v->record);
		if (!v->sent && v->code)
			view_execute(v);
		return 0;
	case KERNEL_FRAME_DATA:
		return view_data(v, f->payload);
	case KERNEL_FRAME_GAP:
		off = kernel_get_offset(f->payload);
		code_print_gap(v, off - v->cursor_off);
		v->cursor_off = off;
		buf_clear(&v->record);
		return 0;
	case KERNEL_FRAME_EXIT:
		v->over = true;
		return 0;
	default:
		return 0;
	}
}

static bool view_done(const struct code_view *v)
{
	return (v->replied && v->idle) || v->dead || v->over || v->left;
}

static int view_read(struct code_view *v, struct tl_err *err)
{
	struct kernel_frame f;
	size_t used;
	int rc = 0;
	uint8_t *p = buf_reserve(&v->in, KERNEL_FRAME_MAX);
	ssize_t n = p ? read(v->fd, p, KERNEL_FRAME_MAX) : 0;
	if (n < 0 && errno == EINTR)
		return 0;
	if (n > 0)
		buf_commit(&v->in, (size_t)n);
	while ((v->console || !view_done(v)) && v->fd >= 0 &&
	       (rc = kernel_frame_next(buf_data(&v->in), KERNEL_FROM_HOLD, &f, &used)) == 1) {
		rc = view_frame(v, &f);
		buf_consume(&v->in, used);
		if (rc < 0)
			break;
	}
	if (rc < 0)
		return err_set(err, rc, "read the session %s", v->id);
	if (n <= 0 && (v->console || !view_done(v)) && !v->over)
		view_lost(v);
	return 0;
}

/* ---- losing and finding it ---- */

static int view_open(struct code_view *v, struct tl_err *err)
{
	struct kernel_attach a = {.from_off = v->cursor_known ? v->cursor_off : KERNEL_FROM_TAIL};
	char *json = str_fmt("{\"open\":\"kernel\",\"id\":\"%s\"}", v->id);
	struct buf frames;
	int rc = json ? api_stream_open(v->host, json, &v->fd, err)
		      : err_set(err, TL_E_NOMEM, "open a session");
	free(json);
	if (rc) {
		v->fd = -1;
		return rc;
	}
	buf_clear(&v->in);
	buf_init(&frames, 64);
	rc = kernel_put_attach(&frames, &a);
	view_write(v, &frames, rc);
	return 0;
}

static int view_reopen(struct code_view *v, struct tl_err *err)
{
	char *host = NULL;
	int rc = 0;
	for (;;) {
		*err = (struct tl_err){0};
		if (v->client)
			api_client_close(v->client);
		v->client = NULL;
		rc = cmd_reach(&v->ui, v->typed_host, &v->client, &host, err);
		free(host);
		host = NULL;
		rc = rc ? rc : view_open(v, err);
		if (rc == 0 || !err_row(rc)->retryable)
			return rc;
		if (poll(NULL, 0, RETRY_MS) < 0 && signal_count)
			return err_set(err, TL_E_CANCELED,
				       "the session %s goes on; its output is kept", v->id);
	}
}

/* The first signal interrupts the code, the next one leaves. */
static void view_signals(struct code_view *v)
{
	while (v->interrupts < (unsigned)signal_count) {
		v->interrupts++;
		bool again = v->interrupts > 1 && !v->console;
		if (!again && signal_seen == SIGINT && v->fd >= 0 && v->sent)
			view_call(v, "{\"method\":\"interrupt\"}");
		else
			v->left = true;
	}
}

static int view_turn(struct code_view *v, int timeout_ms, struct tl_err *err)
{
	struct pollfd p = {.fd = v->fd, .events = POLLIN};
	if (v->fd < 0)
		return view_reopen(v, err);
	return poll(&p, 1, timeout_ms) > 0 ? view_read(v, err) : 0;
}

static int view_until_done(struct code_view *v, struct tl_err *err)
{
	int rc = 0;
	while (!rc && !view_done(v)) {
		rc = view_turn(v, -1, err);
		view_signals(v);
	}
	return rc;
}

int code_view_run(struct code_view *v, struct tl_err *err)
{
	int rc = view_open(v, err);
	rc = rc ? rc : view_until_done(v, err);
	code_view_leave(v);
	return rc;
}

/* ---- a console ---- */

static void view_begin(struct code_view *v, const char *code)
{
	uint8_t id[16];
	v->code = code;
	v->sent = v->replied = v->idle = v->failed = v->left = false;
	v->interrupts = (unsigned)signal_count;
	random_bytes(id, sizeof(id));
	str_hex(id, sizeof(id), v->msg_id);
}

int code_view_attach(struct code_view *v, struct tl_err *err)
{
	int rc = view_open(v, err);
	while (!rc && !v->cursor_known && !v->over)
		rc = view_turn(v, -1, err);
	return rc;
}

int code_view_execute(struct code_view *v, const char *code, struct tl_err *err)
{
	int rc;
	view_begin(v, code);
	if (v->fd >= 0)
		view_execute(v);
	rc = view_until_done(v, err);
	v->code = NULL;
	return rc;
}

void code_view_answer(struct code_view *v, const char *header, yyjson_val *content)
{
	view_asked(v, bytes_str(header), content);
}

int code_view_follow(struct code_view *v, const char *msg_id, struct tl_err *err)
{
	view_begin(v, NULL);
	v->sent = true;
	str_copy(v->msg_id, sizeof(v->msg_id), msg_id);
	return view_until_done(v, err);
}

yyjson_doc *code_view_ask(struct code_view *v, const char *type, const char *content,
			  int timeout_ms)
{
	uint64_t end_ms = clock_mono_ms() + (uint64_t)timeout_ms, now;
	struct tl_err err = {0};
	yyjson_doc *got;
	uint8_t id[16];
	random_bytes(id, sizeof(id));
	str_hex(id, sizeof(id), v->ask_id);
	if (v->fd >= 0)
		view_send(v, JUPYTER_SHELL, v->ask_id, type, "{}", content);
	while (v->ask_id[0] && v->fd >= 0 && (now = clock_mono_ms()) < end_ms)
		if (view_turn(v, (int)(end_ms - now), &err) != 0 || v->dead || v->over)
			break;
	v->ask_id[0] = 0;
	got = v->answer;
	v->answer = NULL;
	return got;
}

int code_view_read(struct code_view *v, struct tl_err *err)
{
	return v->fd < 0 ? view_reopen(v, err) : view_read(v, err);
}

void code_view_leave(struct code_view *v)
{
	struct buf frames;
	int rc;
	if (v->fd < 0)
		return;
	buf_init(&frames, 64);
	rc = kernel_put(&frames, KERNEL_FRAME_LEAVE, NULL, 0);
	view_write(v, &frames, rc);
	view_lost(v);
}

int code_view_signal(void)
{
	int signo = signal_seen;
	signal_seen = 0;
	return signo;
}
