/* agent_methods.c - the methods of side HOST (proto/methods.def). None blocks: what may wait runs
 * in a helper process, in a hold, or as a question with a deadline. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/str.h"
#include "base/version.h"
#include "host/agent_helper.h"
#include "host/agent_holds.h"
#include "host/agent_kernels.h"
#include "host/agent_rpc.h"
#include "host/browser.h"
#include "host/facts.h"
#include "host/hold_spawn.h"
#include "loop/child.h"
#include "loop/fsx.h"
#include "wire/hold_frame.h"

#define RESOLVE_MS 15000
#define PORTS_MS   15000
#define SERVER_MS  20000
#define TERM_ID    8

static void method_HOST_INFO(struct rpc_call *c)
{
	struct agent *a = c->agent;
	yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *o = doc ? yyjson_mut_obj(doc) : NULL;
	long rss = self_rss_bytes();

	if (o)
		yyjson_mut_doc_set_root(doc, o);
	if (!o || !yyjson_mut_obj_add_str(doc, o, "version", TL_VERSION) ||
	    !yyjson_mut_obj_add_int(doc, o, "protocol", LINK_PROTO) ||
	    !yyjson_mut_obj_add_int(doc, o, "pid", getpid()) || !facts_add(doc, o) ||
	    !json_add_path(doc, o, "runDir", a->run.path) ||
	    !yyjson_mut_obj_add_uint(doc, o, "startedMs", a->started_ms) ||
	    !yyjson_mut_obj_add_int(doc, o, "rssBytes", rss) ||
	    !yyjson_mut_obj_add_uint(doc, o, "links", a->link_count) ||
	    !yyjson_mut_obj_add_uint(
		doc, o, "terminals",
		a->on_single_over ? 0 : holds_each(a->forced_run_dir, NULL, NULL))) {
		yyjson_mut_doc_free(doc);
		rpc_failf(c, TL_E_NOMEM, "cannot tell facts about the host: out of memory");
		return;
	}
	rpc_answer(c, doc);
}

/* ---- path/resolve ---- */

/* {"ok":…} of a helper becomes the answer: false where it is something else. */
static bool helper_answered(struct rpc_call *c, yyjson_val *root)
{
	yyjson_val *ok = json_get(root, "ok");
	size_t n;
	char *text = ok ? yyjson_val_write(ok, 0, &n) : NULL;

	if (ok && text)
		rpc_answer_text(c, bytes_of(text, n));
	else if (ok)
		rpc_failf(c, TL_E_NOMEM, "cannot do %s: out of memory", c->msg.method);
	free(text);
	return ok != NULL;
}

static void resolved(void *ctx, int rc, struct tl_bytes out)
{
	struct rpc_call *c = ctx;
	struct tl_err err = {0};
	yyjson_doc *doc = rc == 0 ? json_parse(out, NULL) : NULL;
	yyjson_val *root = yyjson_doc_get_root(doc);
	const char *name = json_str(root, "error", NULL);
	const struct tl_error_row *row = name ? err_row_by_name(name, strlen(name)) : NULL;

	if (helper_answered(c, root)) {
		yyjson_doc_free(doc);
		return;
	}
	if (row)
		err_set(&err, row->code, "%.590s", json_str(root, "message", row->what));
	else if (rc == TL_E_TIMEOUT)
		err_set(&err, rc, "cannot look at %.300s: its file system did not answer in %d s",
			json_str(c->msg.params, "path", ""), RESOLVE_MS / 1000);
	else
		err_set(&err, rc ? rc : TL_E_INTERNAL, "cannot look at %.300s: the helper failed",
			json_str(c->msg.params, "path", ""));
	yyjson_doc_free(doc);
	rpc_fail(c, &err);
}

static void method_PATH_RESOLVE(struct rpc_call *c)
{
	yyjson_val *v = json_get(c->msg.params, "path");
	const char *path = yyjson_get_str(v);
	struct tl_err err = {0};

	if (!path || strlen(path) != yyjson_get_len(v)) {
		rpc_failf(c, TL_E_INVAL, "cannot look at a path: \"path\" must be a string");
		return;
	}
	if (strlen(path) >= TL_LIMIT_PATH) {
		rpc_failf(c, TL_E_LIMIT, "cannot look at a path of more than %d bytes",
			  TL_LIMIT_PATH - 1);
		return;
	}
	if (helper_run(c->agent, (const char *[]){"resolve", path, NULL}, RESOLVE_MS, resolved, c,
		       &err) != 0)
		rpc_fail(c, &err);
}

/* ---- ports/list ---- */

static void ports_listed(void *ctx, int rc, struct tl_bytes out)
{
	struct rpc_call *c = ctx;
	yyjson_doc *doc = rc == 0 ? json_parse(out, NULL) : NULL;

	if (!helper_answered(c, yyjson_doc_get_root(doc))) {
		if (rc == TL_E_TIMEOUT)
			rpc_failf(c, rc, "cannot list the ports: the host did not answer in %d s",
				  PORTS_MS / 1000);
		else
			rpc_failf(c, rc ? rc : TL_E_INTERNAL,
				  "cannot list the ports: the helper failed");
	}
	yyjson_doc_free(doc);
}

static void method_PORTS_LIST(struct rpc_call *c)
{
	const char *forced = c->agent->forced_run_dir;
	struct tl_err err = {0};

	if (helper_run(
		c->agent,
		(const char *[]){"ports", "--once", forced ? "--run-dir" : NULL, forced, NULL},
		PORTS_MS, ports_listed, c, &err) != 0)
		rpc_fail(c, &err);
}

/* ---- terminals ---- */

static void term_created(void *ctx, struct tl_bytes info, const struct tl_err *err)
{
	struct rpc_call *c = ctx;

	if (err)
		rpc_fail(c, err);
	else
		rpc_answer_text(c, info);
}

static void method_TERM_CREATE(struct rpc_call *c)
{
	struct agent *a = c->agent;
	struct hold_spawn_spec spec = {.run_dir = a->run.path, .params = c->msg.params};
	struct tl_err err = {0};
	char id[TERM_ID + 1], browser[TL_LIMIT_PATH];

	if (holds_each(a->forced_run_dir, NULL, NULL) >= TL_LIMIT_TERMS) {
		rpc_failf(c, TL_E_LIMIT, "cannot start a terminal: %d are running already",
			  TL_LIMIT_TERMS);
		return;
	}
	random_id(id, TERM_ID);
	spec.id = id;
	/* without it programs find no browser, and say so */
	if (browser_link(a->run.path, browser, sizeof(browser)) == 0)
		spec.browser = browser;
	if (!hold_spawn(&a->loop, &spec, term_created, c, &err))
		rpc_fail(c, &err);
}

/* Answers of many holds on their way into one result. */
struct term_list {
	struct rpc_call *call;
	struct buf out;
	size_t pending, listed;
	char *tag; /* NULL: all */
	int rc;
};

static void list_end(struct term_list *l)
{
	if (--l->pending > 0)
		return;
	if (l->rc == 0)
		l->rc = buf_put_str(&l->out, "]}");
	if (l->rc == 0)
		rpc_answer_text(l->call, buf_data(&l->out));
	else
		rpc_failf(l->call, l->rc, "cannot list the terminals: %s", err_row(l->rc)->what);
	buf_fini(&l->out);
	free(l->tag);
	free(l);
}

static void list_answer(void *ctx, int rc, struct tl_bytes info)
{
	struct term_list *l = ctx;
	yyjson_doc *doc = rc == 0 ? json_parse(info, NULL) : NULL;
	yyjson_val *root = yyjson_doc_get_root(doc);

	/* a hold that ended meanwhile or does not answer is left out */
	if (yyjson_is_obj(root) && l->rc == 0 &&
	    (!l->tag || strcmp(json_str(root, "tag", ""), l->tag) == 0)) {
		l->rc = l->listed++ ? buf_put_u8(&l->out, ',') : 0;
		if (l->rc == 0)
			l->rc = buf_put(&l->out, info.p, info.n);
	}
	yyjson_doc_free(doc);
	list_end(l);
}

static void list_one(void *ctx, const char *id)
{
	struct term_list *l = ctx;
	struct agent *a = l->call->agent;
	int fd = hold_connect(a->forced_run_dir, id, NULL);

	if (fd >= 0 &&
	    hold_ask(&a->loop, fd, HOLD_FRAME_INFO_REQ, HOLD_INFO_MS, list_answer, l) == 0)
		l->pending++;
}

static void method_TERM_LIST(struct rpc_call *c)
{
	struct term_list *l = calloc(1, sizeof(*l));
	const char *tag = json_str(c->msg.params, "tag", NULL);

	if (!l || (tag && !(l->tag = str_dup(tag)))) {
		free(l);
		rpc_failf(c, TL_E_NOMEM, "cannot list the terminals: out of memory");
		return;
	}
	l->call = c;
	l->pending = 1;
	buf_init(&l->out, TL_LIMIT_RPC_MESSAGE - TL_LIMIT_OPEN_LINE);
	l->rc = buf_put_str(&l->out, "{\"terminals\":[");
	holds_each(c->agent->forced_run_dir, list_one, l);
	list_end(l);
}

static void killed(void *ctx, int rc, struct tl_bytes info)
{
	struct rpc_call *c = ctx;

	(void)info;
	if (rc)
		rpc_failf(c, rc, "cannot end terminal %.40s: %s",
			  json_str(c->msg.params, "id", "?"), err_row(rc)->what);
	else
		rpc_answer(c, NULL);
}

static void method_TERM_KILL(struct rpc_call *c)
{
	const char *id = json_str(c->msg.params, "id", NULL);
	struct tl_err err = {0};
	int fd = id ? hold_connect(c->agent->forced_run_dir, id, &err)
		    : err_set(&err, TL_E_INVAL, "cannot end a terminal: \"id\" is missing");

	if (fd < 0)
		rpc_fail(c, &err);
	else if (hold_ask(&c->agent->loop, fd, HOLD_FRAME_DROP, HOLD_KILL_MS, killed, c) != 0)
		rpc_failf(c, TL_E_NOMEM, "cannot end terminal %s: out of memory", id);
}

/* ---- agent/stop ---- */

struct stopping {
	struct rpc_call *call;
	size_t pending;
	bool uninstall;
};

/* A process of its own: it ends us, too. */
static void uninstall(void)
{
	char *argv[] = {(char *)(uintptr_t) "towline-host", (char *)(uintptr_t) "server",
			(char *)(uintptr_t) "uninstall", NULL};
	struct child_spec spec = {.file = "/proc/self/exe",
				  .argv = argv,
				  .fd = {-1, -1, -1},
				  .new_session = true,
				  .ctty = -1};
	struct tl_err err = {0};

	if (spawn_detached(&spec, -1, &err) != 0)
		log_error("cannot uninstall: %s", err.text);
}

static void stop_end(struct stopping *st)
{
	struct agent *a = st->call->agent;

	if (--st->pending > 0)
		return;
	log_info("asked to stop");
	rpc_answer(st->call, NULL);
	if (st->uninstall)
		uninstall();
	free(st);
	/* next turn, so that the answer has left */
	a->stopping = true;
	timer_start(&a->ending, 0);
}

static void stop_dropped(void *ctx, int rc, struct tl_bytes info)
{
	(void)rc;
	(void)info;
	stop_end(ctx);
}

static void stop_one(void *ctx, const char *id)
{
	struct stopping *st = ctx;
	struct agent *a = st->call->agent;
	int fd = hold_connect(a->forced_run_dir, id, NULL);

	if (fd >= 0 && hold_ask(&a->loop, fd, HOLD_FRAME_DROP, HOLD_KILL_MS, stop_dropped, st) == 0)
		st->pending++;
}

static void stop_session(void *ctx, const char *id)
{
	struct stopping *st = ctx;

	if (kernel_end(st->call->agent, id, stop_dropped, st) == 0)
		st->pending++;
}

static void method_AGENT_STOP(struct rpc_call *c)
{
	struct stopping *st = calloc(1, sizeof(*st));

	if (!st) {
		rpc_failf(c, TL_E_NOMEM, "cannot stop the agent: out of memory");
		return;
	}
	st->call = c;
	st->pending = 1;
	st->uninstall = json_bool(c->msg.params, "uninstall", false);
	if (st->uninstall || json_bool(c->msg.params, "terminals", false)) {
		holds_each(c->agent->forced_run_dir, stop_one, st);
		kernels_each(c->agent->forced_run_dir, stop_session, st);
	}
	stop_end(st);
}

/* ---- agent/server ---- */

static void server_said(void *ctx, int rc, struct tl_bytes out)
{
	struct rpc_call *c = ctx;
	yyjson_doc *doc = rc == 0 ? json_parse(out, NULL) : NULL;

	if (!helper_answered(c, yyjson_doc_get_root(doc)))
		rpc_failf(c, rc ? rc : TL_E_INTERNAL, "cannot look at the installation: %s",
			  rc == TL_E_TIMEOUT ? "its file system does not answer"
					     : "the helper failed");
	yyjson_doc_free(doc);
}

static void method_AGENT_SERVER(struct rpc_call *c)
{
	bool log = strcmp(json_str(c->msg.params, "what", ""), "log") == 0;
	int64_t lines = json_int(c->msg.params, "lines", 200);
	struct tl_err err = {0};
	char number[24];

	snprintf(number, sizeof(number), "%lld", (long long)(lines > 0 ? lines : 1));
	if (helper_run(c->agent,
		       (const char *[]){"server", log ? "log" : "status", "--lines", number, NULL},
		       SERVER_MS, server_said, c, &err) != 0)
		rpc_fail(c, &err);
}

/* ---- the table ---- */

static const struct {
	const char *name;
	void (*fn)(struct rpc_call *c);
} methods[] = {
/* notifications of side HOST go to the client */
#define ROW_HOST_REQUEST(sym, name) {name, method_##sym},
#define ROW_HOST_NOTIFICATION(sym, name)
#define ROW_WATCH_REQUEST(sym, name)
#define ROW_WATCH_NOTIFICATION(sym, name)
#define ROW_PORTS_NOTIFICATION(sym, name)
#define ROW_DAEMON_REQUEST(sym, name)
#define ROW_CLIENT_REQUEST(sym, name)
#define ROW_CLIENT_NOTIFICATION(sym, name)
#define TL_METHOD(sym, name, side, kind, params, result, summary) ROW_##side##_##kind(sym, name)
#include "proto/methods.def"
#undef TL_METHOD
};

/* Terminals outlive their client, a private server does not. */
static bool for_single(const char *method)
{
	return !str_starts(method, "term/") && !str_starts(method, "kernel/") &&
	       strcmp(method, "agent/stop") != 0;
}

void method_call(struct rpc_call *c)
{
	const struct agent_stand_in *other = c->agent->stand_in;

	if (other && other->method(c))
		return;
	for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
		if (strcmp(methods[i].name, c->msg.method) == 0) {
			if (c->agent->on_single_over && !other && !for_single(c->msg.method))
				rpc_failf(c, TL_E_UNSUPPORTED,
					  "cannot do %s: this server runs for one session only and "
					  "keeps no terminals",
					  c->msg.method);
			else
				methods[i].fn(c);
			return;
		}
	}
	rpc_failf(c, TL_E_NOMETHOD, "the agent has no method \"%.60s\"", c->msg.method);
}
