/* test_hub.c - hosts, prompts, calls and streams of the daemon, with dial and edge replaced by this
 * file and a real session as the host. The host is driven in memory over a socket pair: no ssh, no
 * clock waiting beyond the loop's own turns. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/session.h"
#include "edge/edge_gate.h"
#include "hub/hub_priv.h"
#include "loop/fsx.h"
#include "loop/sock.h"

/* ---- dial, replaced ---- */

struct dial {
	struct dial_callbacks cb;
	bool closed;
};
struct dial_prompt {
	char answer[64];
	int answered; /* 1 text, 2 canceled */
};

/* The one test world: stubs have no context of their own. */
static struct world {
	struct loop loop;
	struct hub *hub;
	struct dial *dial;
	int dials;
	const struct edge_ops *ops;
	struct edge_ops ops_copy;
	char dir[64];
	bool stopped;
} w;

struct dial *dial_start(struct loop *l, const struct dial_target *t, const struct dial_env *env,
			const struct dial_callbacks *cb, struct tl_err *err)
{
	(void)l, (void)t, (void)env, (void)err;
	w.dial = calloc(1, sizeof(*w.dial));
	w.dial->cb = *cb;
	w.dials++;
	return w.dial;
}

void dial_prompt_answer(struct dial_prompt *p, const char *answer)
{
	p->answered = answer ? 1 : 2;
	if (answer)
		str_copy(p->answer, sizeof(p->answer), answer);
}

void dial_keep(struct dial *d, const struct tl_err *why)
{
	(void)d, (void)why;
}

bool dial_is_about_server(int code)
{
	return code == TL_E_NOEXEC;
}

void dial_close(struct dial *d)
{
	if (w.dial == d)
		w.dial = NULL;
	free(d);
}

int dial_configured_hosts(const char *config_file, struct strv *ret, struct tl_err *err)
{
	(void)config_file, (void)err;
	return strv_add(ret, "alpha");
}

/* ---- edge, replaced ---- */

struct edge {
	int unused;
};
struct edge_client {
	void *user;
	struct buf messages; /* LF-ended */
	struct buf out;      /* stream bytes to the client */
	bool stream, finished, closed, gone;
	int close_error;
	size_t takes; /* stream bytes taken before it says no */
};

static struct edge the_edge;

int edge_start(struct loop *l, const struct edge_config *cfg, const struct edge_ops *ops,
	       struct edge **ret, struct tl_err *err)
{
	(void)l, (void)cfg, (void)err;
	w.ops_copy = *ops;
	w.ops = &w.ops_copy;
	*ret = &the_edge;
	return 0;
}

void edge_close(struct edge *e, void (*on_closed)(void *ctx), void *ctx)
{
	(void)e;
	on_closed(ctx);
}

int edge_port(const struct edge *e)
{
	(void)e;
	return 4711;
}

int edge_frame_port(const struct edge *e)
{
	(void)e;
	return 4712;
}

size_t edge_window_count(const struct edge *e)
{
	(void)e;
	return 0;
}

enum edge_kind edge_client_kind(const struct edge_client *c)
{
	(void)c;
	return EDGE_CONTROL;
}

void edge_client_set_user(struct edge_client *c, void *user)
{
	c->user = user;
}

void *edge_client_user(const struct edge_client *c)
{
	return c->user;
}

void edge_client_send(struct edge_client *c, struct tl_bytes message)
{
	assert_false(c->gone);
	buf_put(&c->messages, message.p, message.n);
	buf_put_u8(&c->messages, '\n');
}

void edge_client_become_stream(struct edge_client *c)
{
	c->stream = true;
}

size_t edge_stream_write(struct edge_client *c, struct tl_bytes b)
{
	size_t n = b.n < c->takes ? b.n : c->takes;

	assert_true(c->stream && !c->gone);
	buf_put(&c->out, b.p, n);
	c->takes -= n;
	return n;
}

void edge_stream_resume(struct edge_client *c)
{
	(void)c;
}

void edge_stream_finish(struct edge_client *c)
{
	c->finished = true;
}

void edge_client_close(struct edge_client *c, int error)
{
	c->closed = true;
	c->close_error = error;
}

/* No gateway is opened here. */

int edge_gate_open(struct edge *e, int port, const char *token, const struct gate_ops *ops,
		   void *ctx, struct edge_gate **ret, struct tl_err *err)
{
	(void)e, (void)port, (void)token, (void)ops, (void)ctx, (void)ret;
	return err_set(err, TL_E_UNSUPPORTED, "no gateway here");
}

void edge_gate_close(struct edge_gate *g)
{
	(void)g;
	fail();
}

int edge_gate_port(const struct edge_gate *g)
{
	(void)g;
	return 0;
}

int edge_gate_allow_origin(struct edge_gate *g, const char *origin)
{
	(void)g, (void)origin;
	return TL_E_UNSUPPORTED;
}

void gate_set_user(struct gate_conn *c, void *user)
{
	(void)c, (void)user;
}

void *gate_user(const struct gate_conn *c)
{
	(void)c;
	return NULL;
}

void gate_answer(struct gate_conn *c, int status, const char *type, struct tl_bytes body,
		 const char *location)
{
	(void)c, (void)status, (void)type, (void)body, (void)location;
}

bool gate_send(struct gate_conn *c, struct tl_bytes message, bool text, uint64_t mark)
{
	(void)c, (void)message, (void)text, (void)mark;
	return false;
}

uint64_t gate_sent(const struct gate_conn *c)
{
	(void)c;
	return 0;
}

void gate_pause(struct gate_conn *c, bool paused)
{
	(void)c, (void)paused;
}

void gate_close(struct gate_conn *c, int code)
{
	(void)c, (void)code;
}

/* ---- a host in memory ---- */

struct far {
	int fd;
	struct session *s;
	struct session_stream *rpc, *other;
	struct buf in;
	bool rpc_open;
	int calls;
};

static void far_init(struct far *f)
{
	memset(f, 0, sizeof(*f));
	f->fd = -1;
	buf_init(&f->in, 1 << 20);
}

static void far_send(struct far *f)
{
	struct tl_bytes b;

	while ((b = session_pull(f->s, clock_mono_ms())).n > 0) {
		assert_int_equal(send(f->fd, b.p, b.n, MSG_NOSIGNAL), (ssize_t)b.n);
		session_pulled(f->s, b.n, clock_mono_ms());
	}
}

/* Answers host/info, fails everything else with not_found. */
static void far_rpc(struct far *f)
{
	struct tl_bytes b, msg;
	struct buf out, body;
	size_t used;

	while ((b = session_peek(f->rpc)).n > 0) {
		buf_put(&f->in, b.p, b.n);
		session_consume(f->rpc, b.n);
	}
	if (!f->rpc_open && open_next_line(buf_data(&f->in), &msg, &used) == 1) {
		buf_consume(&f->in, used);
		session_write(f->rpc, bytes_str("{\"ok\":{}}\n"));
		f->rpc_open = true;
	}
	while (f->rpc_open && lsp_next(buf_data(&f->in), &msg, &used) == 1) {
		struct jsonrpc_msg m;
		struct tl_err e;
		assert_int_equal(jsonrpc_parse(msg, &m, &e), 0);
		buf_init(&out, 65536);
		buf_init(&body, 65536);
		if (strcmp(m.method, "host/info") == 0) {
			jsonrpc_put_result_text(&body, m.id, bytes_str("{\"home\":\"/home/x\"}"));
		} else {
			err_set(&e, TL_E_NOENT, "nothing like that here");
			jsonrpc_put_error(&body, m.id, &e);
		}
		lsp_put(&out, buf_data(&body));
		session_write(f->rpc, buf_data(&out));
		buf_fini(&out);
		buf_fini(&body);
		jsonrpc_fini(&m);
		buf_consume(&f->in, used);
		f->calls++;
	}
}

static void far_events(struct far *f)
{
	struct session_event ev;

	while (session_next_event(f->s, &ev)) {
		if (ev.type == SESSION_EV_OPENED && !f->rpc)
			f->rpc = ev.stream;
		else if (ev.type == SESSION_EV_OPENED)
			f->other = ev.stream;
		else if (ev.type == SESSION_EV_CLOSED && ev.stream == f->other)
			f->other = NULL;
		if (f->rpc && ev.stream == f->rpc && ev.type == SESSION_EV_READABLE)
			far_rpc(f);
	}
}

/* Turns of both sides until nothing moves any more. */
static void settle(struct far *f)
{
	static uint8_t in[1 << 20];

	for (int quiet = 0; quiet < 3;) {
		ssize_t got = -1;
		uv_run(&w.loop.uv, UV_RUN_NOWAIT);
		if (f && f->fd >= 0) {
			got = recv(f->fd, in, sizeof(in), MSG_DONTWAIT);
			if (got > 0 && !f->s) {
				uint8_t id[16];
				uint32_t epoch;
				assert_int_equal(
				    session_peek_hello(bytes_of(in, (size_t)got), id, &epoch), 0);
				f->s = session_new(false, id);
				session_transport_up(f->s, epoch, clock_mono_ms());
			} else if (got > 0 && !session_is_up(f->s) &&
				   session_down_since_ms(f->s) != UINT64_MAX) {
				uint8_t id[16];
				uint32_t epoch;
				assert_int_equal(
				    session_peek_hello(bytes_of(in, (size_t)got), id, &epoch), 0);
				session_transport_up(f->s, epoch, clock_mono_ms());
			}
			if (got > 0)
				session_feed(f->s, bytes_of(in, (size_t)got), clock_mono_ms());
			if (f->s) {
				far_events(f);
				far_send(f);
			}
		}
		quiet = got > 0 ? 0 : quiet + 1;
	}
}

/* The dial under way succeeds: a transport to the host. */
static void far_attach(struct far *f)
{
	int sv[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
	f->fd = sv[1];
	assert_non_null(w.dial);
	w.dial->cb.on_up(w.dial->cb.ctx, sv[0], sv[0], bytes_of(NULL, 0));
	settle(f);
}

/* ssh dies: the descriptor ends and dial says why. */
static void far_cut(struct far *f)
{
	struct tl_err e;

	close(f->fd);
	f->fd = -1;
	session_transport_down(f->s, clock_mono_ms());
	err_set(&e, TL_E_CLOSED, "ssh was killed");
	w.dial->cb.on_down(w.dial->cb.ctx, &e);
	settle(f);
}

static void far_fini(struct far *f)
{
	if (f->fd >= 0)
		close(f->fd);
	session_free(f->s);
	buf_fini(&f->in);
}

/* ---- clients ---- */

static struct edge_client *client_new(void)
{
	struct edge_client *c = calloc(1, sizeof(*c));

	buf_init(&c->messages, 1 << 20);
	buf_init(&c->out, 1 << 20);
	c->takes = 1 << 20;
	return c;
}

static void client_free(struct edge_client *c)
{
	c->gone = true;
	w.ops->on_gone(w.ops->ctx, c);
	buf_fini(&c->messages);
	buf_fini(&c->out);
	free(c);
}

static void say(struct edge_client *c, const char *text)
{
	struct jsonrpc_msg m;
	struct tl_err e;

	assert_int_equal(jsonrpc_parse(bytes_str(text), &m, &e), 0);
	w.ops->on_message(w.ops->ctx, c, &m);
	jsonrpc_fini(&m);
}

static bool heard(struct edge_client *c, const char *text)
{
	const char *all = buf_cstr(&c->messages);

	return all && strstr(all, text);
}

static void forget(struct edge_client *c)
{
	buf_clear(&c->messages);
}

/* ---- the world ---- */

static void on_stop(void *ctx)
{
	(void)ctx;
	w.stopped = true;
}

static int setup(void **state)
{
	static struct hub_config cfg;
	struct tl_err e;

	(void)state;
	memset(&w, 0, sizeof(w));
	str_copy(w.dir, sizeof(w.dir), "/tmp/tl-hub-XXXXXX");
	if (!mkdtemp(w.dir) || loop_init(&w.loop) != 0)
		return -1;
	cfg = (struct hub_config){.version = "1",
				  .config_dir = w.dir,
				  .state_dir = w.dir,
				  .runtime_dir = w.dir,
				  .control_path = "",
				  .log_path = "/dev/null",
				  .ui_dir = w.dir,
				  .host_bin_dir = w.dir,
				  .askpass_path = "",
				  .self_path = "",
				  .ssh_path = "ssh"};
	return hub_new(&w.loop, &cfg, on_stop, NULL, &w.hub, &e);
}

static void closed(void *ctx)
{
	(void)ctx;
}

static int teardown(void **state)
{
	char path[128];
	static const char *const files[] = {"token", "ports", "hosts.json", "forwards-key"};

	(void)state;
	hub_close(w.hub, closed, NULL);
	for (int i = 0; i < 5; i++)
		uv_run(&w.loop.uv, UV_RUN_NOWAIT);
	loop_fini(&w.loop);
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", w.dir, files[i]);
		unlink(path);
	}
	return rmdir(w.dir);
}

static const char connect_demo[] =
    "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"host/connect\",\"params\":{\"host\":\"demo\"}}";

static void test_connect_answers_all_who_wait_with_one_attempt(void **state)
{
	struct edge_client *a = client_new(), *b = client_new();
	struct far f;

	(void)state;
	far_init(&f);
	say(a, connect_demo);
	say(b, connect_demo);
	assert_int_equal(w.dials, 1);
	far_attach(&f);
	assert_true(heard(a, "\"result\":{\"host\":\"demo\",\"info\":{\"home\":\"/home/x\"}}"));
	assert_true(heard(b, "\"result\":{\"host\":\"demo\""));
	forget(a);
	say(a, connect_demo);
	assert_true(heard(a, "\"result\":{\"host\":\"demo\""));
	assert_int_equal(w.dials, 1);
	client_free(a);
	client_free(b);
	far_fini(&f);
}

static void test_failure_reaches_the_one_who_waits(void **state)
{
	struct edge_client *a = client_new();
	struct tl_err e;

	(void)state;
	say(a, connect_demo);
	err_set(&e, TL_E_REFUSED, "cannot connect to demo: port 22 refuses");
	w.dial->cb.on_failed(w.dial->cb.ctx, &e);
	assert_true(heard(a, "\"name\":\"connection_refused\""));
	assert_true(heard(a, "port 22 refuses"));
	assert_null(w.dial);
	client_free(a);
}

static void test_prompt_goes_to_the_waiter_and_moves_on_when_it_leaves(void **state)
{
	struct edge_client *a = client_new(), *b = client_new();
	struct dial_prompt p = {0};

	(void)state;
	say(a, connect_demo);
	say(b, connect_demo);
	w.dial->cb.on_prompt(w.dial->cb.ctx, &p, DIAL_PROMPT_PASSWORD, "password: ", false, 1);
	assert_true(heard(a, "\"method\":\"prompt/ask\""));
	assert_false(heard(b, "prompt/ask"));
	client_free(a);
	assert_true(heard(b, "\"method\":\"prompt/ask\""));
	assert_int_equal(p.answered, 0);
	say(b, "{\"jsonrpc\":\"2.0\",\"id\":2,\"result\":{\"answer\":\"sesame\"}}");
	assert_int_equal(p.answered, 1);
	assert_string_equal(p.answer, "sesame");
	client_free(b);
}

static void test_prompt_that_nobody_can_answer_is_canceled(void **state)
{
	struct edge_client *a = client_new();
	struct dial_prompt p = {0};

	(void)state;
	say(a, connect_demo);
	w.dial->cb.on_prompt(w.dial->cb.ctx, &p, DIAL_PROMPT_PASSWORD, "password: ", false, 1);
	client_free(a);
	assert_int_equal(p.answered, 2);
}

static void test_calls_travel_to_the_host_and_back(void **state)
{
	struct edge_client *a = client_new();
	struct far f;

	(void)state;
	far_init(&f);
	say(a, connect_demo);
	far_attach(&f);
	say(a, "{\"jsonrpc\":\"2.0\",\"id\":\"x\",\"method\":\"host/"
	       "call\",\"params\":{\"host\":\"demo\",\"method\":\"path/"
	       "resolve\",\"params\":{\"path\":\"~\"}}}");
	settle(&f);
	assert_int_equal(f.calls, 2);
	assert_true(heard(a, "\"id\":\"x\",\"error\""));
	assert_true(heard(a, "\"name\":\"not_found\""));
	client_free(a);
	far_fini(&f);
}

static void test_stream_survives_a_resume_and_breaks_with_the_link(void **state)
{
	struct edge_client *a = client_new(), *s = client_new();
	struct far f;
	struct tl_bytes b;

	(void)state;
	far_init(&f);
	say(a, connect_demo);
	far_attach(&f);
	say(s, "{\"jsonrpc\":\"2.0\",\"id\":5,\"method\":\"stream/"
	       "open\",\"params\":{\"host\":\"demo\",\"open\":{\"open\":\"sftp\"}}}");
	settle(&f);
	assert_non_null(f.other);
	b = session_peek(f.other);
	assert_true(b.n == 16 && memcmp(b.p, "{\"open\":\"sftp\"}\n", 16) == 0);
	session_consume(f.other, b.n);
	session_write(f.other, bytes_str("{\"ok\":{}}\nHELLO"));
	settle(&f);
	assert_true(s->stream && heard(s, "\"id\":5,\"result\":{}"));
	assert_int_equal(s->out.len, 5); /* what came with the answer is not lost */
	/* bytes written while ssh is dead arrive after the resume */
	far_cut(&f);
	assert_true(heard(a, "\"phase\":\"reconnecting\""));
	assert_int_equal(w.ops->on_stream_data(w.ops->ctx, s, bytes_str("late")), 4);
	settle(&f);
	assert_int_equal(w.dials, 2);
	far_attach(&f);
	b = session_peek(f.other);
	assert_true(b.n == 4 && memcmp(b.p, "late", 4) == 0);
	/* the agent forgets us: the stream breaks, the next link is a new one */
	session_bye(f.s, TL_E_NOLINK, "who are you");
	settle(&f);
	assert_true(s->closed && s->close_error == TL_E_NOLINK);
	assert_int_equal(w.dials, 3);
	client_free(s);
	client_free(a);
	far_fini(&f);
}

static void test_slow_client_slows_the_stream_and_loses_nothing(void **state)
{
	struct edge_client *a = client_new(), *s = client_new();
	struct far f;
	static uint8_t blob[60000];
	size_t sent;

	(void)state;
	far_init(&f);
	for (size_t i = 0; i < sizeof(blob); i++)
		blob[i] = (uint8_t)(i * 7 >> 3);
	say(a, connect_demo);
	far_attach(&f);
	say(s, "{\"jsonrpc\":\"2.0\",\"id\":5,\"method\":\"stream/"
	       "open\",\"params\":{\"host\":\"demo\",\"open\":{\"open\":\"sftp\"}}}");
	settle(&f);
	session_write(f.other, bytes_str("{\"ok\":{}}\n"));
	s->takes = 1000;
	settle(&f);
	sent = (size_t)session_write(f.other, bytes_of(blob, sizeof(blob)));
	assert_int_equal(sent, sizeof(blob));
	session_finish(f.other);
	settle(&f);
	assert_int_equal(s->out.len, 1000);
	while (!s->finished) {
		s->takes = 7777;
		w.ops->on_stream_writable(w.ops->ctx, s);
		settle(&f);
	}
	assert_int_equal(s->out.len, sizeof(blob));
	assert_memory_equal(buf_data(&s->out).p, blob, sizeof(blob));
	client_free(s);
	client_free(a);
	far_fini(&f);
}

static void test_wrong_calls_are_answered(void **state)
{
	struct edge_client *a = client_new();

	(void)state;
	say(a, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"no/such\"}");
	assert_true(heard(a, "\"name\":\"no_method\""));
	forget(a);
	say(a, "{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"host/"
	       "connect\",\"params\":{\"host\":\"-oProxyCommand=x\"}}");
	assert_true(heard(a, "\"name\":\"invalid\""));
	assert_int_equal(w.dials, 0);
	forget(a);
	say(a, "{\"jsonrpc\":\"2.0\",\"id\":3,\"method\":\"host/"
	       "call\",\"params\":{\"host\":\"nobody\",\"method\":\"host/info\"}}");
	assert_true(heard(a, "\"name\":\"not_connected\""));
	client_free(a);
}

static void test_options_are_remembered_and_differing_ones_refused(void **state)
{
	struct edge_client *a = client_new();
	struct far f;
	char *stored;

	(void)state;
	far_init(&f);
	say(a, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"host/"
	       "connect\",\"params\":{\"host\":\"demo\",\"options\":{\"configFile\":\"/"
	       "c\",\"port\":7}}}");
	far_attach(&f);
	stored = store_host_options(w.hub, "demo");
	assert_non_null(stored);
	assert_string_equal(stored, "{\"configFile\":\"/c\",\"port\":7}");
	free(stored);
	forget(a);
	say(a, "{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"host/"
	       "connect\",\"params\":{\"host\":\"demo\",\"options\":{\"port\":8}}}");
	assert_true(heard(a, "\"name\":\"host_options_differ\""));
	forget(a);
	say(a, "{\"jsonrpc\":\"2.0\",\"id\":3,\"method\":\"host/"
	       "close\",\"params\":{\"host\":\"demo\"}}");
	assert_true(heard(a, "\"phase\":\"disconnected\""));
	settle(NULL);
	client_free(a);
	far_fini(&f);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	static const struct CMUnitTest tests[] = {
	    T(test_connect_answers_all_who_wait_with_one_attempt),
	    T(test_failure_reaches_the_one_who_waits),
	    T(test_prompt_goes_to_the_waiter_and_moves_on_when_it_leaves),
	    T(test_prompt_that_nobody_can_answer_is_canceled),
	    T(test_calls_travel_to_the_host_and_back),
	    T(test_stream_survives_a_resume_and_breaks_with_the_link),
	    T(test_slow_client_slows_the_stream_and_loses_nothing),
	    T(test_wrong_calls_are_answered),
	    T(test_options_are_remembered_and_differing_ones_refused),
	};
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
