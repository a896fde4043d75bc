/* agent_kernels.c - see agent_kernels.h. The agent knows no session: it asks their holds, each over
 * a connection of its own with a deadline, and a helper process for what is installed. */
#include "host/agent_kernels.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/str.h"
#include "host/agent_helper.h"
#include "host/agent_holds.h"
#include "host/hold_spawn.h"
#include "wire/kernel_frame.h"

#define SESSION_ID 8
#define SPECS_MS   (TL_LIMIT_KERNEL_SEARCH_MS + 8000)
#define CREATE_MS  (TL_LIMIT_KERNEL_ANSWER_MS + 20000)
#define INFO_MS    5000
#define STOP_MS    (3 * TL_LIMIT_KERNEL_STOP_MS + 5000)
#define RESTART_MS (STOP_MS + TL_LIMIT_KERNEL_ANSWER_MS)

/* ---- one question to one session ---- */

struct kernel_question {
	struct io io;
	struct loop_timer timer;
	struct buf in, answer;
	int parts;
	void (*done)(void *ctx, int rc, struct tl_bytes answer);
	void *ctx;
};

static void question_gone(void *ctx)
{
	struct kernel_question *q = ctx;

	if (--q->parts > 0)
		return;
	buf_fini(&q->in);
	buf_fini(&q->answer);
	free(q);
}

static void question_end(struct kernel_question *q, int rc)
{
	if (!q->done)
		return;
	q->done(q->ctx, rc, rc ? bytes_of("", 0) : buf_data(&q->answer));
	q->done = NULL;
	io_close(&q->io, question_gone);
	timer_close(&q->timer, question_gone);
}

static void question_deadline(void *ctx)
{
	question_end(ctx, TL_E_TIMEOUT);
}

static void question_parse(struct kernel_question *q)
{
	struct kernel_frame f;
	size_t used;
	int rc;

	while (q->done &&
	       (rc = kernel_frame_next(buf_data(&q->in), KERNEL_FROM_HOLD, &f, &used)) != 0) {
		if (rc > 0 && f.type == KERNEL_FRAME_ANSWER && f.payload.n == 0) {
			question_end(q, 0);
			return;
		}
		if (rc > 0 && f.type == KERNEL_FRAME_ANSWER)
			rc = buf_put(&q->answer, f.payload.p, f.payload.n);
		if (rc < 0) {
			question_end(q, rc);
			return;
		}
		buf_consume(&q->in, used);
	}
}

static void question_readable(void *ctx)
{
	struct kernel_question *q = ctx;

	while (q->done) {
		uint8_t *p = buf_reserve(&q->in, KERNEL_FRAME_MAX);
		long n = p ? io_read(&q->io, p, KERNEL_FRAME_MAX) : TL_E_NOMEM;
		if (n == TL_E_AGAIN)
			return;
		if (n <= 0) {
			question_end(q, n == 0 ? TL_E_CLOSED : (int)n);
			return;
		}
		buf_commit(&q->in, (size_t)n);
		question_parse(q);
	}
}

/* {"method":…,"params":…} as one CALL. */
static int put_call(struct buf *out, const char *method, yyjson_val *params)
{
	struct buf text;
	yyjson_mut_doc *d = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *o = yyjson_mut_obj(d);

	buf_init(&text, KERNEL_PAYLOAD);
	yyjson_mut_doc_set_root(d, o);
	yyjson_mut_obj_add_str(d, o, "method", method);
	if (params)
		yyjson_mut_obj_add_val(d, o, "params", yyjson_val_mut_copy(d, params));
	int rc = json_write(&text, d);
	if (!rc)
		rc = kernel_put(out, KERNEL_FRAME_CALL, buf_data(&text).p, text.len);
	buf_fini(&text);
	yyjson_mut_doc_free(d);
	return rc;
}

/* Asks the session behind fd (taken). done comes once, later, with the JSON text of the answer. 0,
 * or TL_E_* without it. */
static int kernel_ask(struct loop *l, int fd, const char *method, yyjson_val *params,
		      uint64_t deadline_ms, void (*done)(void *ctx, int rc, struct tl_bytes answer),
		      void *ctx)
{
	struct kernel_question *q = calloc(1, sizeof(*q));
	struct buf call;
	int rc;

	if (!q || io_open(l, &q->io, fd, fd, question_readable, NULL, q) != 0) {
		free(q);
		close(fd);
		return TL_E_NOMEM;
	}
	buf_init(&call, KERNEL_FRAME_MAX);
	buf_init(&q->in, 2 * KERNEL_FRAME_MAX);
	buf_init(&q->answer, TL_LIMIT_RPC_MESSAGE);
	q->parts = 2;
	timer_init(l, &q->timer, question_deadline, q);
	rc = put_call(&call, method, params);
	/* into an empty socket; a hold that is gone shows at the next read */
	if (!rc && io_write(&q->io, buf_data(&call).p, call.len) != (long)call.len)
		rc = TL_E_CLOSED;
	buf_fini(&call);
	if (rc) {
		io_close(&q->io, question_gone);
		timer_close(&q->timer, question_gone);
		return rc;
	}
	q->done = done;
	q->ctx = ctx;
	timer_start(&q->timer, deadline_ms);
	return 0;
}

int kernel_end(struct agent *a, const char *id,
	       void (*done)(void *ctx, int rc, struct tl_bytes answer), void *ctx)
{
	int fd = kernel_connect(a->forced_run_dir, id, NULL);

	return fd < 0 ? fd : kernel_ask(&a->loop, fd, "shutdown", NULL, STOP_MS, done, ctx);
}

/* ---- methods that one session answers ---- */

static void answer_text(struct rpc_call *c, yyjson_val *ok)
{
	size_t n = 0;
	char *text = yyjson_val_write(ok, 0, &n);

	if (text)
		rpc_answer_text(c, bytes_of(text, n));
	else
		rpc_failf(c, TL_E_NOMEM, "cannot answer %s: out of memory", c->msg.method);
	free(text);
}

static void asked(void *ctx, int rc, struct tl_bytes answer)
{
	struct rpc_call *c = ctx;
	yyjson_doc *d = rc ? NULL : json_parse(answer, NULL);
	yyjson_val *root = yyjson_doc_get_root(d), *ok = json_get(root, "ok");
	yyjson_val *e = json_get(root, "error");
	const char *name = json_str(e, "name", "internal");
	const struct tl_error_row *row = err_row_by_name(name, strlen(name));

	if (ok)
		answer_text(c, ok);
	else if (rc)
		rpc_failf(c, rc, "cannot reach session %.40s: %s",
			  json_str(c->msg.params, "id", "?"), err_row(rc)->what);
	else
		rpc_failf(c, row ? row->code : TL_E_INTERNAL, "%s",
			  json_str(e, "message", "a session answered nonsense"));
	yyjson_doc_free(d);
}

static void ask_one(struct rpc_call *c, const char *method, uint64_t deadline_ms)
{
	const char *id = json_str(c->msg.params, "id", NULL);
	struct tl_err err = {0};
	int rc = 0,
	    fd = id ? kernel_connect(c->agent->forced_run_dir, id, &err)
		    : err_set(&err, TL_E_INVAL, "cannot do %s: \"id\" is missing", c->msg.method);

	if (fd < 0)
		rpc_fail(c, &err);
	else
		rc = kernel_ask(&c->agent->loop, fd, method, c->msg.params, deadline_ms, asked, c);
	if (rc)
		rpc_failf(c, rc, "cannot reach session %.40s: %s", id, err_row(rc)->what);
}

void method_KERNEL_INFO(struct rpc_call *c)
{
	ask_one(c, "snapshot", INFO_MS);
}

void method_KERNEL_INTERRUPT(struct rpc_call *c)
{
	ask_one(c, "interrupt", INFO_MS);
}

void method_KERNEL_RESTART(struct rpc_call *c)
{
	ask_one(c, "restart", RESTART_MS);
}

void method_KERNEL_SHUTDOWN(struct rpc_call *c)
{
	ask_one(c, "shutdown", STOP_MS);
}

void method_KERNEL_CONFIGURE(struct rpc_call *c)
{
	ask_one(c, "configure", INFO_MS);
}

void method_KERNEL_CONNECTION(struct rpc_call *c)
{
	ask_one(c, "connection", INFO_MS);
}

/* ---- create ---- */

static void created(void *ctx, struct tl_bytes info, const struct tl_err *err)
{
	struct rpc_call *c = ctx;

	if (err)
		rpc_fail(c, err);
	else
		rpc_answer_text(c, info);
}

void method_KERNEL_CREATE(struct rpc_call *c)
{
	struct agent *a = c->agent;
	char id[SESSION_ID + 1];
	struct tl_err err = {0};
	struct hold_spawn_spec spec = {.face = "kernel-hold",
				       .what = "a kernel",
				       .deadline_ms = CREATE_MS,
				       .run_dir = a->run.path,
				       .id = id,
				       .params = c->msg.params};

	if (kernels_each(a->forced_run_dir, NULL, NULL) >= TL_LIMIT_KERNELS) {
		rpc_failf(c, TL_E_LIMIT, "cannot start a kernel: %d sessions are there already",
			  TL_LIMIT_KERNELS);
		return;
	}
	random_id(id, SESSION_ID);
	if (!hold_spawn(&a->loop, &spec, created, c, &err))
		rpc_fail(c, &err);
}

/* ---- specs ---- */

static void specs_found(void *ctx, int rc, struct tl_bytes out)
{
	struct rpc_call *c = ctx;
	yyjson_doc *d = rc ? NULL : json_parse(out, NULL);

	if (d)
		rpc_answer_text(c, out);
	else
		rpc_failf(c, rc ? rc : TL_E_INTERNAL, "cannot look for kernels: the search %s",
			  rc == TL_E_TIMEOUT ? "did not end in time" : "failed");
	yyjson_doc_free(d);
}

void method_KERNEL_SPECS(struct rpc_call *c)
{
	const char *const words[] = {"kernels", json_str(c->msg.params, "cwd", ""), NULL};
	struct tl_err err = {0};

	if (helper_run(c->agent, words, SPECS_MS, specs_found, c, &err) != 0)
		rpc_fail(c, &err);
}

static void file_read(void *ctx, int rc, struct tl_bytes out)
{
	struct rpc_call *c = ctx;
	yyjson_doc *d = rc ? NULL : json_parse(out, NULL);

	if (d && json_get(yyjson_doc_get_root(d), "data"))
		rpc_answer_text(c, out);
	else
		rpc_failf(c, rc ? rc : TL_E_NOENT, "read a file of a kernelspec: %s",
			  err_row(rc ? rc : TL_E_NOENT)->what);
	yyjson_doc_free(d);
}

void method_KERNEL_FILE(struct rpc_call *c)
{
	const char *const words[] = {"kernels", "--file", json_str(c->msg.params, "kernel", ""),
				     json_str(c->msg.params, "name", ""), NULL};
	struct tl_err err = {0};

	if (helper_run(c->agent, words, INFO_MS, file_read, c, &err) != 0)
		rpc_fail(c, &err);
}

/* ---- list ---- */

/* Answers of many sessions on their way into one result. */
struct kernel_list {
	struct rpc_call *call;
	struct buf out;
	size_t pending, listed;
	char *tag; /* NULL: all */
	int rc;
};

static void list_end(struct kernel_list *l)
{
	if (--l->pending > 0)
		return;
	if (l->rc == 0)
		l->rc = buf_put_str(&l->out, "]}");
	if (l->rc == 0)
		rpc_answer_text(l->call, buf_data(&l->out));
	else
		rpc_failf(l->call, l->rc, "cannot list the sessions: %s", err_row(l->rc)->what);
	buf_fini(&l->out);
	free(l->tag);
	free(l);
}

static void list_answer(void *ctx, int rc, struct tl_bytes answer)
{
	struct kernel_list *l = ctx;
	yyjson_doc *d = rc ? NULL : json_parse(answer, NULL);
	yyjson_val *info = json_get(yyjson_doc_get_root(d), "ok");
	size_t n = 0;
	char *text = NULL;

	/* a hold that ended meanwhile or does not answer is left out */
	if (info && (!l->tag || strcmp(json_str(info, "tag", ""), l->tag) == 0))
		text = yyjson_val_write(info, 0, &n);
	if (text && l->rc == 0) {
		l->rc = l->listed++ ? buf_put_u8(&l->out, ',') : 0;
		l->rc = l->rc ? l->rc : buf_put(&l->out, text, n);
	}
	free(text);
	yyjson_doc_free(d);
	list_end(l);
}

static void list_one(void *ctx, const char *id)
{
	struct kernel_list *l = ctx;
	struct agent *a = l->call->agent;
	int fd = kernel_connect(a->forced_run_dir, id, NULL);

	if (fd >= 0 && kernel_ask(&a->loop, fd, "info", NULL, INFO_MS, list_answer, l) == 0)
		l->pending++;
}

void method_KERNEL_LIST(struct rpc_call *c)
{
	struct kernel_list *l = calloc(1, sizeof(*l));
	const char *tag = json_str(c->msg.params, "tag", NULL);

	if (!l || (tag && !(l->tag = str_dup(tag)))) {
		free(l);
		rpc_failf(c, TL_E_NOMEM, "cannot list the sessions: out of memory");
		return;
	}
	l->call = c;
	l->pending = 1;
	buf_init(&l->out, TL_LIMIT_RPC_MESSAGE - TL_LIMIT_OPEN_LINE);
	l->rc = buf_put_str(&l->out, "{\"kernels\":[");
	kernels_each(c->agent->forced_run_dir, list_one, l);
	list_end(l);
}
