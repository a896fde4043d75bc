/* test_conn_relay.c - real sockets on one side of a real session, a scripted host on the other. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/str.h"
#include "dial/conn_relay.h"
#include "loop/sock.h"

#define OPEN      "{\"open\":\"direct-tcpip\",\"host\":\"127.0.0.1\",\"port\":1}"
#define TURNS_MAX 200000

/* One stream as the host sees it. */
struct far_stream {
	struct session_stream *st;
	char line[200];
	size_t n_line;
	bool opened, eof, closed, deaf;
	int error;
	size_t got;
	char bytes[64]; /* the first of them */
};

struct far {
	struct io io;
	struct session *session;
	struct far_stream streams[400];
	size_t n;
	bool accept; /* answers by itself, and echoes */
};

struct bed {
	struct loop loop;
	struct pump pump;
	struct session *session;
	struct conn_relays set;
	struct conn_counters counters;
	struct far far;
	int answered, refused, ended, ended_code;
	const char *last_word;
};

/* ---- the host ---- */

static void far_kick(struct far *f);

static void far_take(struct far *f, struct far_stream *s)
{
	struct tl_bytes b;

	while (!s->deaf && (b = session_peek(s->st)).n > 0) {
		size_t i = 0;
		while (!s->opened && i < b.n) {
			char c = (char)b.p[i++];
			s->opened = c == '\n';
			if (!s->opened && s->n_line < sizeof(s->line) - 1)
				s->line[s->n_line++] = c;
			if (s->opened && f->accept)
				session_write(s->st, bytes_str("{\"ok\":{}}\n"));
		}
		for (size_t k = i; k < b.n && s->got + k - i < sizeof(s->bytes) - 1; k++)
			s->bytes[s->got + k - i] = (char)b.p[k];
		s->got += b.n - i;
		if (f->accept)
			session_write(s->st, bytes_of(b.p + i, b.n - i));
		session_consume(s->st, b.n);
	}
	if (session_eof(s->st) && !s->eof) {
		s->eof = true;
		if (f->accept)
			session_finish(s->st);
	}
}

static void far_event(struct far *f, struct session_event *ev)
{
	struct far_stream *s = ev->user;

	if (ev->type == SESSION_EV_OPENED) {
		assert_true(f->n < 400);
		s = &f->streams[f->n++];
		s->st = ev->stream;
		session_stream_set_user(ev->stream, s);
	} else if (ev->type == SESSION_EV_READABLE) {
		far_take(f, s);
	} else if (ev->type == SESSION_EV_CLOSED) {
		s->closed = true;
		s->error = ev->error;
		s->st = NULL;
	}
}

static void far_kick(struct far *f)
{
	struct session_event ev;
	bool moved = true;

	while (moved) {
		struct tl_bytes b = session_pull(f->session, clock_mono_ms());
		moved = false;
		if (b.n) {
			long n = io_write(&f->io, b.p, b.n);
			if (n > 0)
				session_pulled(f->session, (size_t)n, clock_mono_ms());
			if (n >= 0 && (size_t)n < b.n)
				io_want_write(&f->io, true);
			moved = n == (long)b.n;
		}
		while (session_next_event(f->session, &ev)) {
			far_event(f, &ev);
			moved = true;
		}
	}
}

static void far_readable(void *ctx)
{
	struct far *f = ctx;
	uint8_t in[65536], id[16];
	uint32_t epoch;
	long n = io_read(&f->io, in, sizeof(in));

	if (n <= 0) {
		io_want_read(&f->io, false);
		return;
	}
	if (!f->session) {
		/* a HELLO is one small write: it comes in one piece */
		assert_int_equal(session_peek_hello(bytes_of(in, (size_t)n), id, &epoch), 0);
		f->session = session_new(false, id);
		session_transport_up(f->session, epoch, clock_mono_ms());
	}
	session_feed(f->session, bytes_of(in, (size_t)n), clock_mono_ms());
	far_kick(f);
}

static void far_writable(void *ctx)
{
	far_kick(ctx);
}

/* ---- our side ---- */

static void on_event(void *ctx, struct session_event *ev)
{
	struct bed *t = ctx;

	if (ev->type == SESSION_EV_READABLE || ev->type == SESSION_EV_WRITABLE ||
	    ev->type == SESSION_EV_CLOSED)
		pump_user_event(ev);
	conn_relays_serve(&t->set);
}

static void on_lost(void *ctx)
{
	(void)ctx;
}

static void on_answered(void *ctx, struct conn_relay *r, const struct tl_err *err)
{
	struct bed *t = ctx;

	*(err ? &t->refused : &t->answered) += 1;
	if (t->last_word)
		conn_relay_say(r, bytes_str(t->last_word));
}

static void on_ended(void *ctx, struct conn_relay *r, const struct tl_err *why)
{
	struct bed *t = ctx;

	(void)r;
	t->ended++;
	t->ended_code = why->code;
}

static struct bed *bed_new(void)
{
	struct bed *t = calloc(1, sizeof(*t));

	assert_non_null(t);
	assert_int_equal(loop_init(&t->loop), 0);
	pump_init(&t->pump, &t->loop, on_event, on_lost, t);
	conn_relays_init(&t->set, &t->pump);
	return t;
}

static void bed_up(struct bed *t)
{
	uint8_t id[16] = {1};
	struct tl_err err = {0};
	int sv[2];

	assert_int_equal(socket_pair(sv), 0);
	assert_int_equal(
	    io_open(&t->loop, &t->far.io, sv[1], sv[1], far_readable, far_writable, &t->far), 0);
	t->session = session_new(true, id);
	assert_int_equal(pump_bind(&t->pump, t->session, sv[0], sv[0], bytes_of("", 0), &err), 0);
}

static void bed_free(struct bed *t)
{
	struct tl_err e;

	err_set(&e, TL_E_LOST, "over");
	conn_relays_end(&t->set, &e);
	assert_int_equal(t->set.count, 0);
	assert_int_equal(t->counters.open, 0);
	pump_close(&t->pump, NULL);
	session_free(t->session);
	io_close(&t->far.io, NULL);
	session_free(t->far.session);
	loop_fini(&t->loop);
	free(t);
}

#define until(t, cond)                                                                             \
	do {                                                                                       \
		int turns = 0;                                                                     \
		while (!(cond)) {                                                                  \
			assert_true(turns++ < TURNS_MAX);                                          \
			uv_run(&(t)->loop.uv, UV_RUN_ONCE);                                        \
		}                                                                                  \
	} while (0)

/* Every event there is now, without waiting for more. */
static void settle(struct bed *t)
{
	for (int i = 0; i < 50; i++)
		uv_run(&t->loop.uv, UV_RUN_NOWAIT);
}

/* A TCP connection: the program's end, and ours. */
static void tcp_pair(int ret[2])
{
	struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t n = sizeof(sa);
	int ls = socket(AF_INET, SOCK_STREAM, 0);

	assert_int_equal(bind(ls, (struct sockaddr *)&sa, n), 0);
	assert_int_equal(listen(ls, 1), 0);
	assert_int_equal(getsockname(ls, (struct sockaddr *)&sa, &n), 0);
	ret[0] = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(connect(ret[0], (struct sockaddr *)&sa, n), 0);
	ret[1] = accept(ls, NULL, NULL);
	assert_true(ret[1] >= 0);
	fcntl(ret[0], F_SETFL, O_NONBLOCK);
	close(ls);
}

static void start(struct bed *t, int fd, const char *first)
{
	struct conn_relay_spec spec = {.fd = fd,
				       .open_json = OPEN,
				       .first = bytes_str(first),
				       .counters = &t->counters,
				       .on_answered = on_answered,
				       .on_ended = on_ended,
				       .ctx = t};
	struct tl_err err = {0};

	assert_int_equal(conn_relay_start(&t->set, &spec, NULL, &err), 0);
}

static int begin(struct bed *t, const char *first)
{
	int fd[2];

	tcp_pair(fd);
	start(t, fd[1], first);
	return fd[0];
}

static void reset(int fd)
{
	struct linger hard = {.l_onoff = 1};

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
	close(fd);
}

/* What the program reads now: > 0, 0 end, -errno. */
static int program_reads(int fd, char *buf, size_t n)
{
	ssize_t k = recv(fd, buf, n - 1, MSG_DONTWAIT);

	if (k < 0)
		return -errno;
	buf[k] = 0;
	return (int)k;
}

/* ---- cases ---- */

static void test_bytes_and_half_closes(void **state)
{
	struct bed *t = bed_new();
	char buf[64] = "";
	int fd;

	(void)state;
	bed_up(t);
	t->far.accept = true;
	fd = begin(t, "");
	assert_int_equal(send(fd, "hello", 5, 0), 5);
	shutdown(fd, SHUT_WR);
	until(t, program_reads(fd, buf, sizeof(buf)) == 5);
	assert_string_equal(buf, "hello");
	assert_string_equal(t->far.streams[0].line, OPEN);
	until(t, t->ended == 1);
	assert_int_equal(program_reads(fd, buf, sizeof(buf)), 0);
	assert_int_equal(t->ended_code, 0);
	assert_int_equal(t->answered, 1);
	assert_int_equal(t->counters.bytes_in, 5);
	assert_int_equal(t->counters.bytes_out, 5);
	assert_int_equal(t->counters.open, 0);
	close(fd);
	bed_free(t);
}

static void test_bytes_go_before_the_answer(void **state)
{
	struct bed *t = bed_new();
	struct far_stream *s = &t->far.streams[0];
	char buf[64];
	int fd;

	(void)state;
	bed_up(t);
	fd = begin(t, "from the start, ");
	assert_int_equal(send(fd, "at once", 7, 0), 7);
	until(t, s->got == 23);
	assert_string_equal(s->bytes, "from the start, at once");
	assert_int_equal(t->answered, 0);
	/* the answer in two pieces, and bytes behind it */
	session_write(s->st, bytes_str("{\"ok\":"));
	far_kick(&t->far);
	settle(t);
	assert_int_equal(t->answered, 0);
	session_write(s->st, bytes_str("{}}\nwelcome"));
	far_kick(&t->far);
	until(t, program_reads(fd, buf, sizeof(buf)) == 7);
	assert_string_equal(buf, "welcome");
	assert_int_equal(t->answered, 1);
	close(fd);
	bed_free(t);
}

static void refuse(struct bed *t)
{
	until(t, t->far.streams[0].opened);
	session_write(t->far.streams[0].st,
		      bytes_str("{\"error\":{\"code\":-32000,\"message\":\"no\",\"data\":{\"name\":"
				"\"connection_refused\"}}}\n"));
	session_finish(t->far.streams[0].st);
	far_kick(&t->far);
	until(t, t->ended == 1);
	assert_int_equal(t->refused, 1);
}

static void test_refused_is_a_reset_or_a_last_word(void **state)
{
	(void)state;
	for (int word = 0; word < 2; word++) {
		struct bed *t = bed_new();
		char buf[64];
		int fd;
		bed_up(t);
		t->last_word = word ? "no way" : NULL;
		fd = begin(t, "");
		refuse(t);
		assert_int_equal(program_reads(fd, buf, sizeof(buf)), word ? 6 : -ECONNRESET);
		if (word)
			assert_string_equal(buf, "no way");
		assert_int_equal(program_reads(fd, buf, sizeof(buf)), 0);
		close(fd);
		bed_free(t);
	}
}

static void test_reset_of_the_host(void **state)
{
	struct bed *t = bed_new();
	char buf[64];
	int fd;

	(void)state;
	bed_up(t);
	t->far.accept = true;
	fd = begin(t, "");
	until(t, t->answered == 1);
	session_reset(t->far.streams[0].st);
	far_kick(&t->far);
	until(t, t->ended == 1);
	assert_int_not_equal(t->ended_code, 0);
	assert_int_equal(program_reads(fd, buf, sizeof(buf)), -ECONNRESET);
	close(fd);
	bed_free(t);
}

static void test_reset_of_the_program(void **state)
{
	struct bed *t = bed_new();

	(void)state;
	bed_up(t);
	t->far.accept = true;
	for (int half = 0; half < 2; half++) {
		struct far_stream *s = &t->far.streams[half];
		int fd = begin(t, "");
		until(t, t->answered == half + 1);
		if (half) {
			/* it said its end before; the host goes on */
			t->far.accept = false;
			shutdown(fd, SHUT_WR);
			until(t, s->eof);
		}
		reset(fd);
		until(t, s->closed);
		assert_int_not_equal(s->error, 0);
		assert_int_equal(t->ended, half + 1);
		assert_int_not_equal(t->ended_code, 0);
	}
	bed_free(t);
}

static void test_nothing_piles_up(void **state)
{
	struct bed *t = bed_new();
	struct far_stream *s = &t->far.streams[0];
	static uint8_t piece[65536];
	size_t sent = 0, most = 0;
	int fd, quiet = 0;

	(void)state;
	bed_up(t);
	fd = begin(t, "");
	until(t, s->opened);
	session_write(s->st, bytes_str("{\"ok\":{}}\n"));
	far_kick(&t->far);
	/* a host that does not read */
	s->deaf = true;
	while (quiet < 100) {
		ssize_t n = send(fd, piece, sizeof(piece), MSG_DONTWAIT);
		quiet = n > 0 ? 0 : quiet + 1;
		settle(t);
	}
	assert_true(t->counters.bytes_out <= TL_LIMIT_MUX_WINDOW + TL_LIMIT_MUX_SEND_QUEUE);
	/* a program that does not read */
	for (quiet = 0; quiet < 100;) {
		long n = session_write(s->st, bytes_of(piece, sizeof(piece)));
		assert_true(n >= 0);
		sent += (size_t)n;
		quiet = n > 0 ? 0 : quiet + 1;
		far_kick(&t->far);
		settle(t);
	}
	most = (size_t)t->counters.bytes_in + TL_LIMIT_MUX_WINDOW_MAX + TL_LIMIT_MUX_SEND_QUEUE;
	assert_true(sent <= most);
	/* and it all comes when it does */
	for (size_t got = 0; got < sent;) {
		ssize_t n = recv(fd, piece, sizeof(piece), MSG_DONTWAIT);
		if (n > 0)
			got += (size_t)n;
		uv_run(&t->loop.uv, UV_RUN_NOWAIT);
	}
	assert_int_equal(t->counters.bytes_in, sent);
	reset(fd);
	bed_free(t);
}

static void test_more_than_there_are_streams(void **state)
{
	struct bed *t = bed_new();
	int fd[300];
	char buf[8];

	(void)state;
	/* before there is a session */
	for (int i = 0; i < 300; i++) {
		fd[i] = begin(t, "");
		assert_int_equal(send(fd[i], "x", 1, 0), 1);
	}
	settle(t);
	assert_int_equal(t->set.count, 300);
	t->far.accept = true;
	bed_up(t);
	for (int i = 0; i < 300; i++) {
		until(t, program_reads(fd[i], buf, sizeof(buf)) == 1);
		close(fd[i]);
	}
	until(t, t->ended == 300);
	assert_int_equal(t->answered, 300);
	assert_int_equal(session_stream_count(t->session), 0);
	bed_free(t);
}

static void test_program_that_left_before_its_turn(void **state)
{
	struct bed *t = bed_new();

	(void)state;
	reset(begin(t, ""));
	until(t, t->ended == 1);
	assert_int_equal(t->set.count, 0);
	bed_up(t);
	settle(t);
	assert_int_equal(t->far.n, 0);
	bed_free(t);
}

static void test_unix_socket_of_a_program_that_left(void **state)
{
	struct bed *t = bed_new();
	struct far_stream *s = &t->far.streams[0];
	int fd[2];

	(void)state;
	bed_up(t);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
	start(t, fd[1], "");
	assert_int_equal(send(fd[0], "bye", 3, 0), 3);
	close(fd[0]);
	/* what it wrote arrives all the same */
	until(t, s->eof);
	assert_string_equal(s->bytes, "bye");
	session_write(s->st, bytes_str("{\"ok\":{}}\ntoo late"));
	far_kick(&t->far);
	until(t, s->closed);
	assert_int_equal(t->ended, 1);
	bed_free(t);
}

static void test_nobody_here(void **state)
{
	struct bed *t = bed_new();

	(void)state;
	bed_up(t);
	t->far.accept = true;
	start(t, -1, "");
	until(t, t->far.streams[0].closed);
	assert_int_not_equal(t->far.streams[0].error, 0);
	assert_int_equal(t->ended, 1);
	bed_free(t);
}

static void test_what_cannot_be_carried(void **state)
{
	struct bed *t = bed_new();
	struct conn_relay_spec spec = {.fd = -1, .open_json = "no JSON"};
	struct tl_err err = {0};
	char *big = malloc(TL_LIMIT_OPEN_LINE + 32);

	(void)state;
	assert_int_not_equal(conn_relay_start(&t->set, &spec, NULL, &err), 0);
	snprintf(big, TL_LIMIT_OPEN_LINE + 32, "{\"open\":\"%0*d\"}", TL_LIMIT_OPEN_LINE, 0);
	spec.open_json = big;
	assert_int_equal(conn_relay_start(&t->set, &spec, NULL, &err), TL_E_LIMIT);
	spec.open_json = OPEN;
	spec.first = bytes_of(big, CONN_RELAY_FIRST + 1);
	assert_int_equal(conn_relay_start(&t->set, &spec, NULL, &err), TL_E_LIMIT);
	assert_int_equal(t->set.count, 0);
	free(big);
	bed_up(t);
	bed_free(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_bytes_and_half_closes),
	    cmocka_unit_test(test_bytes_go_before_the_answer),
	    cmocka_unit_test(test_refused_is_a_reset_or_a_last_word),
	    cmocka_unit_test(test_reset_of_the_host),
	    cmocka_unit_test(test_reset_of_the_program),
	    cmocka_unit_test(test_nothing_piles_up),
	    cmocka_unit_test(test_more_than_there_are_streams),
	    cmocka_unit_test(test_program_that_left_before_its_turn),
	    cmocka_unit_test(test_unix_socket_of_a_program_that_left),
	    cmocka_unit_test(test_nobody_here),
	    cmocka_unit_test(test_what_cannot_be_carried),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
