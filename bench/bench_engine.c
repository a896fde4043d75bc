/* bench_engine.c - what the engines cost without any transport: bytes from one session to another
 * in one process, and the cost of a keystroke. Prints MB/s and messages a second; the machine
 * decides what is good, the comparison with the figures in docs/ does. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/session.h"

#define TOTAL (1ull << 30)

struct way {
	struct session *s[2];
	uint64_t now, got;
	struct session_stream *peer[8];
	unsigned n;
};

static double seconds(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void carry(struct way *w, int from, bool spans)
{
	struct session *to = w->s[!from];
	for (;;) {
		struct tl_bytes v[SESSION_SPANS];
		size_t n = 1, sum = 0;
		if (spans)
			n = session_pullv(w->s[from], v, w->now);
		else
			v[0] = session_pull(w->s[from], w->now);
		for (size_t i = 0; i < n; i++) {
			session_feed(to, v[i], w->now);
			sum += v[i].n;
		}
		if (!sum)
			return;
		session_pulled(w->s[from], sum, w->now);
	}
}

static void read_all(struct way *w)
{
	struct session_event ev;
	while (session_next_event(w->s[1], &ev)) {
		if (ev.type == SESSION_EV_OPENED)
			w->peer[w->n++] = ev.stream;
		for (struct tl_bytes in;
		     ev.type == SESSION_EV_READABLE && (in = session_peek(ev.stream)).n;) {
			w->got += in.n;
			session_consume(ev.stream, in.n);
		}
	}
	while (session_next_event(w->s[0], &ev)) {
	}
}

static void start(struct way *w)
{
	static const uint8_t id[16] = "bench";
	memset(w, 0, sizeof(*w));
	w->now = 1;
	for (int i = 0; i < 2; i++) {
		w->s[i] = session_new(i == 0, id);
		session_transport_up(w->s[i], 1, w->now);
	}
	carry(w, 0, true);
	carry(w, 1, true);
}

static void stop(struct way *w)
{
	session_free(w->s[0]);
	session_free(w->s[1]);
}

static void bulk(const char *name, unsigned streams, size_t block_bytes, bool spans)
{
	struct way w;
	struct session_stream *st[8];
	uint8_t *block = calloc(1, block_bytes);
	start(&w);
	for (unsigned i = 0; i < streams; i++)
		st[i] = session_open(w.s[0], SESSION_BULK);
	double t = seconds();
	while (w.got < TOTAL) {
		for (unsigned i = 0; i < streams; i++)
			while (session_write(st[i], bytes_of(block, block_bytes)) ==
			       (long)block_bytes) {
			}
		carry(&w, 0, spans);
		read_all(&w);
		carry(&w, 1, spans);
		w.now++;
		session_tick(w.s[0], w.now);
		session_tick(w.s[1], w.now);
	}
	t = seconds() - t;
	printf("%-44s %8.0f MB/s\n", name, (double)w.got / t / 1e6);
	free(block);
	stop(&w);
}

/* One byte there, one byte back, each in a frame of its own. */
static void keystrokes(void)
{
	enum { ROUNDS = 300000 };
	struct way w;
	struct session_event ev;
	start(&w);
	struct session_stream *st = session_open(w.s[0], SESSION_KEY);
	carry(&w, 0, true);
	read_all(&w);
	double t = seconds();
	for (int i = 0; i < ROUNDS; i++) {
		session_write(st, bytes_of("x", 1));
		carry(&w, 0, false);
		read_all(&w);
		session_write(w.peer[0], bytes_of("x", 1));
		carry(&w, 1, false);
		while (session_next_event(w.s[0], &ev)) {
		}
		session_consume(st, session_peek(st).n);
		w.now += i % 64 == 0;
	}
	t = seconds() - t;
	printf("%-44s %8.2f us\n", "key there and back, engines only", t / ROUNDS * 1e6);
	stop(&w);
}

int main(void)
{
	bulk("1 stream, 64 KiB writes, spans", 1, 65536, true);
	bulk("1 stream, 64 KiB writes, one piece", 1, 65536, false);
	bulk("8 streams, 16 KiB writes, spans", 8, 16384, true);
	bulk("1 stream, 512-byte writes, spans", 1, 512, true);
	keystrokes();
	return 0;
}
