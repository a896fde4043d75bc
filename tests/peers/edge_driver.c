/* edge_driver.c - the edge room alone, for its tests: edge_driver UI_DIR SOCKET TOKEN
 * Prints {"port":…,"framePort":…} and runs until its standard input ends. Answers test/echo,
 * test/status and test/release; stream/open {"open":MODE} makes the connection
 *   echo   give back what comes, end when the client ends
 *   flood  send "bytes" bytes, then end (byte i is i % 251)
 *   hold   take nothing until test/release, then swallow; "bytes" in the answer of test/status
 *   fail   break with the error "gap" after the first byte */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "base/str.h"
#include "edge/edge.h"
#include "loop/fsx.h"
#include "loop/io.h"

enum mode { MODE_ECHO, MODE_FLOOD, MODE_HOLD, MODE_FAIL };

struct peer {
	struct list node;
	struct edge_client *c;
	enum mode mode;
	uint64_t left, sent;
	bool eof, stream;
};

struct driver {
	struct loop loop;
	struct edge *edge;
	struct list peers;
	struct io in;
	uint64_t held;
	size_t gone;
	bool released;
};

static void answer(struct peer *p, yyjson_val *id, yyjson_mut_doc *result)
{
	struct buf b;

	buf_init(&b, 8 * 1024 * 1024);
	if (jsonrpc_put_result(&b, id, result) == 0)
		edge_client_send(p->c, buf_data(&b));
	buf_fini(&b);
}

static void flood(struct peer *p)
{
	uint8_t piece[10000];

	while (p->left > 0) {
		size_t want = p->left < sizeof(piece) ? (size_t)p->left : sizeof(piece), n;
		for (size_t i = 0; i < want; i++)
			piece[i] = (uint8_t)((p->sent + i) % 251);
		n = edge_stream_write(p->c, bytes_of(piece, want));
		p->sent += n;
		p->left -= n;
		if (n < want)
			return;
	}
	edge_stream_finish(p->c);
}

static void open_stream(struct driver *d, struct peer *p, const struct jsonrpc_msg *m)
{
	yyjson_val *open = json_get(m->params, "open");
	const char *mode = json_str(open, "open", "");
	struct tl_err e;
	struct buf b;

	(void)d;
	if (strcmp(mode, "no") == 0) {
		buf_init(&b, 4096);
		err_set(&e, TL_E_NOTERM, "no such thing");
		if (jsonrpc_put_error(&b, m->id, &e) == 0)
			edge_client_send(p->c, buf_data(&b));
		buf_fini(&b);
		return;
	}
	p->mode = mode[0] == 'e'   ? MODE_ECHO
		  : mode[0] == 'h' ? MODE_HOLD
		  : mode[1] == 'a' ? MODE_FAIL
				   : MODE_FLOOD;
	p->left = (uint64_t)json_int(open, "bytes", 0);
	p->stream = true;
	answer(p, m->id, NULL);
	edge_client_become_stream(p->c);
	if (p->mode == MODE_FLOOD)
		flood(p);
}

static void status(struct driver *d, struct peer *p, yyjson_val *id)
{
	yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *o = yyjson_mut_obj(doc);
	int64_t n = 0;

	LIST_FOREACH (it, &d->peers)
		n++;
	yyjson_mut_doc_set_root(doc, o);
	yyjson_mut_obj_add_int(doc, o, "clients", n);
	yyjson_mut_obj_add_uint(doc, o, "gone", d->gone);
	yyjson_mut_obj_add_uint(doc, o, "bytes", d->held);
	yyjson_mut_obj_add_uint(doc, o, "windows", edge_window_count(d->edge));
	yyjson_mut_obj_add_int(doc, o, "rss", self_rss_bytes());
	answer(p, id, doc);
	yyjson_mut_doc_free(doc);
}

static void on_message(void *ctx, struct edge_client *c, const struct jsonrpc_msg *m)
{
	struct driver *d = ctx;
	struct peer *p = edge_client_user(c);

	if (!p) {
		p = calloc(1, sizeof(*p));
		p->c = c;
		list_add_tail(&d->peers, &p->node);
		edge_client_set_user(c, p);
	}
	if (m->kind != JSONRPC_REQUEST)
		return;
	if (strcmp(m->method, "test/echo") == 0) {
		yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
		yyjson_mut_doc_set_root(doc, yyjson_val_mut_copy(doc, m->params));
		answer(p, m->id, doc);
		yyjson_mut_doc_free(doc);
	} else if (strcmp(m->method, "test/status") == 0) {
		status(d, p, m->id);
	} else if (strcmp(m->method, "test/release") == 0) {
		d->released = true;
		LIST_FOREACH_SAFE (it, &d->peers)
			edge_stream_resume(list_entry(it, struct peer, node)->c);
		answer(p, m->id, NULL);
	} else if (strcmp(m->method, "test/close") == 0) {
		edge_client_close(c, TL_E_GAP);
	} else {
		open_stream(d, p, m);
	}
}

static void on_gone(void *ctx, struct edge_client *c)
{
	struct driver *d = ctx;
	struct peer *p = edge_client_user(c);

	d->gone++;
	if (p) {
		list_del(&p->node);
		free(p);
	}
}

static size_t on_data(void *ctx, struct edge_client *c, struct tl_bytes in)
{
	struct driver *d = ctx;
	struct peer *p = edge_client_user(c);

	switch (p->mode) {
	case MODE_ECHO:
		return edge_stream_write(c, in);
	case MODE_HOLD:
		if (d->released)
			d->held += in.n;
		return d->released ? in.n : 0;
	case MODE_FAIL:
		edge_client_close(c, TL_E_GAP);
		return in.n;
	default:
		return in.n;
	}
}

static void on_eof(void *ctx, struct edge_client *c)
{
	struct peer *p = edge_client_user(c);

	(void)ctx;
	if (p->mode != MODE_FLOOD)
		edge_stream_finish(c);
}

static void on_writable(void *ctx, struct edge_client *c)
{
	struct peer *p = edge_client_user(c);

	(void)ctx;
	if (p->mode == MODE_FLOOD)
		flood(p);
	else
		edge_stream_resume(c);
}

static void closed(void *ctx)
{
	struct driver *d = ctx;

	d->edge = NULL;
	loop_stop(&d->loop);
}

static void stdin_readable(void *ctx)
{
	struct driver *d = ctx;
	char byte[16];

	if (io_read(&d->in, byte, sizeof(byte)) == 0) {
		io_close(&d->in, NULL);
		edge_close(d->edge, closed, d);
	}
}

int main(int argc, char **argv)
{
	struct driver d = {0};
	struct edge_ops ops = {on_message, on_gone, on_data, on_eof, on_writable, &d};
	struct edge_config cfg = {.version = "1.2.3"};
	struct tl_err e = {0};
	long long port;

	if (argc != 4)
		return 2;
	signal(SIGPIPE, SIG_IGN);
	cfg.ui_dir = argv[1];
	cfg.control_path = argv[2];
	cfg.token = argv[3];
	if (getenv("PORT") && str_to_int(getenv("PORT"), 0, 65535, &port))
		cfg.port = (int)port;
	log_init(LOG_WARN, NULL, NULL);
	list_init(&d.peers);
	loop_init(&d.loop);
	if (edge_start(&d.loop, &cfg, &ops, &d.edge, &e) != 0) {
		printf("{\"error\":\"%s\",\"text\":\"%s\"}\n", err_row(e.code)->name, e.text);
		fflush(stdout);
		loop_fini(&d.loop);
		return 1;
	}
	printf("{\"port\":%d,\"framePort\":%d}\n", edge_port(d.edge), edge_frame_port(d.edge));
	fflush(stdout);
	if (io_open(&d.loop, &d.in, 0, 0, stdin_readable, NULL, &d) != 0)
		return 1;
	loop_run(&d.loop);
	loop_fini(&d.loop);
	printf("{\"gone\":%zu,\"left\":%d}\n", d.gone, !list_empty(&d.peers));
	return 0;
}
