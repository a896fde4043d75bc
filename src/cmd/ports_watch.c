/* ports_watch.c - see ports_watch.h. Every list that comes is compared with the one before. */
#include "cmd/ports_watch.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/str.h"
#include "cmd/cmd_forwards.h"

/* ---- lines ---- */

static void say_json(const char *event, const char *key, yyjson_val *v)
{
	yyjson_mut_doc *doc = cmd_params("event", event, NULL);
	char *text;

	yyjson_mut_obj_add_val(doc, yyjson_mut_doc_get_root(doc), key, yyjson_val_mut_copy(doc, v));
	text = yyjson_mut_write(doc, 0, NULL);
	puts(text ? text : "{}");
	free(text);
	yyjson_mut_doc_free(doc);
}

static void say_port(const struct cmd_globals *g, bool came, yyjson_val *p)
{
	if (g->json) {
		say_json(came ? "added" : "removed", "port", p);
		return;
	}
	printf("%c %lld ", came ? '+' : '-', (long long)json_int(p, "port", 0));
	forwards_cell(json_str(p, "address", "?"), 0);
	putchar(' ');
	forwards_cell(json_str(p, "process", ""), 0);
	putchar('\n');
}

static void say_forward(const struct cmd_globals *g, bool came, yyjson_val *f)
{
	char local[300], target[300];

	if (g->json) {
		say_json(came ? "forwarded" : "unforwarded", "forward", f);
		return;
	}
	forwards_local(f, local, sizeof(local));
	forwards_target(f, target, sizeof(target));
	printf("%s forward %s -> %s%s%s\n", came ? "+" : "-",
	       strcmp(json_str(f, "kind", ""), "remote") == 0 ? target : local,
	       strcmp(json_str(f, "kind", ""), "remote") == 0 ? local : target,
	       came && strcmp(json_str(f, "state", ""), "listening") != 0 ? " " : "",
	       came && strcmp(json_str(f, "state", ""), "listening") != 0 ? json_str(f, "state", "")
									  : "");
}

/* ---- lists ---- */

static bool same_port(yyjson_val *a, yyjson_val *b)
{
	return json_int(a, "port", 0) == json_int(b, "port", 0) &&
	       json_int(a, "pid", 0) == json_int(b, "pid", 0) &&
	       strcmp(json_str(a, "address", ""), json_str(b, "address", "")) == 0;
}

static bool same_forward(yyjson_val *a, yyjson_val *b)
{
	return strcmp(json_str(a, "id", ""), json_str(b, "id", "")) == 0 &&
	       strcmp(json_str(a, "state", ""), json_str(b, "state", "")) == 0 &&
	       json_int(a, "localPort", 0) == json_int(b, "localPort", 0);
}

static bool contains(yyjson_val *list, yyjson_val *v, bool (*same)(yyjson_val *, yyjson_val *))
{
	yyjson_val *x;
	size_t i, n;

	yyjson_arr_foreach(list, i, n, x)
	{
		if (same(x, v))
			return true;
	}
	return false;
}

/* Says the differences and keeps the new list. */
static void compare(const struct cmd_globals *g, yyjson_doc **kept, yyjson_val *params,
		    const char *key, bool (*same)(yyjson_val *, yyjson_val *),
		    void (*say)(const struct cmd_globals *, bool, yyjson_val *))
{
	char *text = yyjson_val_write(params, 0, NULL);
	yyjson_doc *fresh = text ? yyjson_read(text, strlen(text), 0) : NULL;
	yyjson_val *now = json_get(yyjson_doc_get_root(fresh), key),
		   *before = json_get(yyjson_doc_get_root(*kept), key), *v;
	size_t i, n;

	free(text);
	if (!fresh)
		return;
	yyjson_arr_foreach(before, i, n, v)
	{
		if (!contains(now, v, same))
			say(g, false, v);
	}
	yyjson_arr_foreach(now, i, n, v)
	{
		if (!contains(before, v, same))
			say(g, true, v);
	}
	fflush(stdout);
	yyjson_doc_free(*kept);
	*kept = fresh;
}

static void on_note(void *ctx, const struct jsonrpc_msg *m)
{
	struct ports_watch *w = ctx;

	/* before the first list is shown nothing has changed */
	if (w->host && strcmp(m->method, "forward/changed") == 0 &&
	    strcmp(json_str(m->params, "host", ""), w->host) == 0)
		compare(w->g, &w->forwards, m->params, "forwards", same_forward, say_forward);
}

void ports_watch_init(struct ports_watch *w, const struct cmd_globals *g)
{
	memset(w, 0, sizeof(*w));
	w->g = g;
	cmd_ui_init(&w->ui, g);
	w->ui.api.notify = on_note; /* with the ui as ctx, which is w's first member */
}

void ports_watch_fini(struct ports_watch *w)
{
	free(w->host);
	yyjson_doc_free(w->ports);
	yyjson_doc_free(w->forwards);
}

/* ---- the stream ---- */

static volatile sig_atomic_t stopped;

static void on_signal(int signo)
{
	stopped = signo;
}

/* Bytes of the stream; false at its end. */
static bool take_stream(struct ports_watch *w, int fd, struct buf *in, struct tl_err *err)
{
	uint8_t bytes[16384];
	struct tl_bytes text;
	struct jsonrpc_msg m;
	ssize_t n = read(fd, bytes, sizeof(bytes));
	size_t used;
	int rc;

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return true;
	if (n <= 0 || buf_put(in, bytes, (size_t)n) != 0) {
		err_set(err, TL_E_LOST, "%s does not tell its ports any more", w->host);
		return false;
	}
	while ((rc = lsp_next(buf_data(in), &text, &used)) == 1) {
		if (jsonrpc_parse(text, &m, NULL) == 0) {
			if (m.kind == JSONRPC_NOTIFICATION &&
			    strcmp(m.method, "ports/changed") == 0)
				compare(w->g, &w->ports, m.params, "ports", same_port, say_port);
			jsonrpc_fini(&m);
		}
		buf_consume(in, used);
	}
	if (rc < 0)
		err_set(err, TL_E_PROTO, "%s sent something that is not JSON-RPC", w->host);
	return rc == 0;
}

static int follow(struct ports_watch *w, struct api_client *c, int fd, struct tl_err *err)
{
	struct pollfd pf[2] = {{.fd = fd, .events = POLLIN},
			       {.fd = api_client_fd(c), .events = POLLIN}};
	sigset_t none;
	struct buf in;
	int rc = 0;

	sigemptyset(&none);
	buf_init(&in, TL_LIMIT_RPC_MESSAGE + TL_LIMIT_LSP_HEADER);
	while (!stopped && rc == 0) {
		do {
			rc = api_client_wait(c, 0, err);
		} while (rc == 0);
		rc = rc == TL_E_TIMEOUT ? 0 : rc;
		/* the signals come here only, and so are not missed */
		if (rc || stopped || ppoll(pf, 2, NULL, &none) < 0)
			continue;
		if (pf[0].revents && !take_stream(w, fd, &in, err))
			rc = err->code;
	}
	buf_fini(&in);
	return stopped ? 0 : rc;
}

static void catch (void)
{
	struct sigaction sa = {.sa_handler = on_signal};
	sigset_t ours;

	sigemptyset(&sa.sa_mask);
	sigemptyset(&ours);
	sigaddset(&ours, SIGINT);
	sigaddset(&ours, SIGTERM);
	sigaddset(&ours, SIGHUP);
	sigprocmask(SIG_BLOCK, &ours, NULL);
	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
	sigaction(SIGHUP, &sa, NULL);
}

int ports_watch_run(struct ports_watch *w, struct api_client *c, const char *host)
{
	struct jsonrpc_msg m = {0};
	struct tl_err err = {0};
	int fd = -1, rc = api_stream_open(host, "{\"open\":\"ports\"}", &fd, &err);

	catch ();
	w->host = str_dup(host);
	if (rc == 0)
		rc = api_client_call(c, "forward/list", cmd_params("host", host, NULL), &m, &err);
	if (rc == 0) {
		compare(w->g, &w->forwards, m.result, "forwards", same_forward, say_forward);
		rc = follow(w, c, fd, &err);
	}
	jsonrpc_fini(&m);
	if (fd >= 0)
		close(fd);
	return rc                                        ? cmd_fail(w->g, &err)
	       : stopped == SIGTERM || stopped == SIGHUP ? 128 + (int)stopped
							 : cmd_done(w->g);
}
