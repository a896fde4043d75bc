/* sim_path.c - the cap on bytes in flight over modelled paths: a flood must fill the path, and a
 * key pressed in the middle of it must not wait long behind bytes that nobody can take back.
 * Virtual clock: the path has a rate, a delay and room for megabytes, as ssh's windows have. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "core/fault.h"
#include "core/session_parts.h"
#include "core/session.h"

#define CHUNKS  65536
#define WARM_MS 6000
#define RUN_MS  10000
#define FIRST   (16u << 20)

struct chunk {
	uint64_t at_us;
	size_t n;
};

/* One direction: what was sent comes out later, in order. */
struct lane {
	uint8_t *bytes;
	size_t head, len, cap;
	struct chunk chunk[CHUNKS];
	unsigned first, count;
	uint64_t free_us; /* when the bottleneck has served everything */
};

struct path {
	uint64_t rate; /* bytes per second */
	uint64_t rtt_ms;
	struct lane lane[2];
};

static struct path path;

static void lane_send(struct path *p, unsigned from, struct tl_bytes b, uint64_t now_ms)
{
	struct lane *l = &p->lane[from];
	uint64_t now_us = now_ms * 1000;
	if (l->free_us < now_us)
		l->free_us = now_us;
	l->free_us += b.n * 1000000 / p->rate;
	struct chunk *c = &l->chunk[(l->first + l->count++) % CHUNKS];
	*c = (struct chunk){l->free_us + p->rtt_ms * 500, b.n};
	for (size_t i = 0; i < b.n;) {
		size_t at = (l->head + l->len) % l->cap, part = l->cap - at;
		part = part < b.n - i ? part : b.n - i;
		memcpy(l->bytes + at, b.p + i, part);
		l->len += part;
		i += part;
	}
}

static void lane_deliver(struct path *p, unsigned from, struct session *to, uint64_t now_ms)
{
	struct lane *l = &p->lane[from];
	while (l->count && l->chunk[l->first].at_us <= now_ms * 1000) {
		size_t n = l->chunk[l->first].n;
		while (n) {
			size_t part = l->cap - l->head < n ? l->cap - l->head : n;
			session_feed(to, bytes_of(l->bytes + l->head, part), now_ms);
			l->head = (l->head + part) % l->cap;
			l->len -= part;
			n -= part;
		}
		l->first = (l->first + 1) % CHUNKS;
		l->count--;
	}
}

struct result {
	double used;         /* of the path's rate */
	uint64_t slowest_ms; /* key to echo, the worst */
	uint64_t first_ms;   /* until the first FIRST bytes were there; 0: never */
	size_t cap;
};

/* Server floods a bulk stream; the client presses a key every second. */
static struct result run(uint64_t rate, uint64_t rtt_ms)
{
	static uint8_t block[65536];
	static const uint8_t id[16] = "path";
	struct session *s[2];
	struct session_stream *key, *bulk, *key_peer = NULL;
	struct session_event ev;
	struct result r = {0};
	uint64_t got = 0, all = 0, pressed = 0;
	path.rate = rate;
	path.rtt_ms = rtt_ms;
	for (int i = 0; i < 2; i++) {
		struct lane *l = &path.lane[i];
		l->head = l->len = l->first = l->count = 0;
		l->free_us = 0;
		s[i] = session_new(i == 0, id);
		session_transport_up(s[i], 1, 1);
	}
	key = session_open(s[0], SESSION_KEY);
	bulk = session_open(s[1], SESSION_BULK);
	for (uint64_t now = 1; now < WARM_MS + RUN_MS; now++) {
		lane_deliver(&path, 0, s[1], now);
		lane_deliver(&path, 1, s[0], now);
		while (session_next_event(s[1], &ev))
			if (ev.type == SESSION_EV_OPENED)
				key_peer = ev.stream;
		/* the echo */
		for (struct tl_bytes in; key_peer && (in = session_peek(key_peer)).n;) {
			session_write(key_peer, in);
			session_consume(key_peer, in.n);
		}
		while (session_next_event(s[0], &ev))
			while (ev.stream && ev.stream != key && session_peek(ev.stream).n) {
				all += session_peek(ev.stream).n;
				if (!r.first_ms && all >= FIRST)
					r.first_ms = now;
				if (now > WARM_MS)
					got += session_peek(ev.stream).n;
				session_consume(ev.stream, session_peek(ev.stream).n);
			}
		if (session_peek(key).n) {
			session_consume(key, session_peek(key).n);
			if (now > WARM_MS && now - pressed > r.slowest_ms)
				r.slowest_ms = now - pressed;
			pressed = 0;
		}
		if (!pressed && now % 1000 == 0) {
			session_write(key, bytes_str("k"));
			pressed = now;
		}
		while (session_write(bulk, bytes_of(block, sizeof(block))) > 0) {
		}
		for (unsigned i = 0; i < 2; i++) {
			session_tick(s[i], now);
			for (struct tl_bytes out; (out = session_pull(s[i], now)).n;) {
				lane_send(&path, i, out, now);
				session_pulled(s[i], out.n, now);
				/* what the queue of the stream held has moved on */
				session_write(bulk, bytes_of(block, sizeof(block)));
			}
		}
	}
	r.used = (double)got / ((double)rate * RUN_MS / 1000);
	r.cap = s[1]->link.pace.cap_bytes;
	session_free(s[0]);
	session_free(s[1]);
	return r;
}

int main(void)
{
	static const struct {
		const char *name;
		uint64_t rate, rtt_ms;
		double least_used;
		uint64_t first_ms; /* allowed for the first FIRST bytes; 0: as long as it takes */
	} t[] = {
	    {"100 kB/s, 60 ms (a phone in a tunnel)", 100000, 60, 0.90, 0},
	    {"1 MB/s, 100 ms (DSL)", 1000000, 100, 0.90, 0},
	    {"5 MB/s, 30 ms (VPN)", 5000000, 30, 0.90, 0},
	    {"12.5 MB/s, 150 ms (another continent)", 12500000, 150, 0.90, 0},
	    {"100 MB/s, 1 ms (this building)", 100000000, 1, 0.80, 0},
	    {"80 MB/s, 50 ms (a line that is fast and long)", 80000000, 50, 0.90, 600},
	};
	int failed = 0, n = sizeof(t) / sizeof(t[0]);
	for (int i = 0; i < 2; i++) {
		path.lane[i].cap = 32 << 20;
		path.lane[i].bytes = malloc(path.lane[i].cap);
		if (!path.lane[i].bytes)
			return 1;
	}
	printf("1..%d\n", n);
	for (int i = 0; i < n; i++) {
		struct result r = run(t[i].rate, t[i].rtt_ms);
		/* in flight at most twice what the path holds, or the least cap, plus a slice */
		double held = 2.0 * (double)t[i].rate * (double)t[i].rtt_ms / 1000;
		if (held < TL_LIMIT_LINK_CAP_MIN)
			held = TL_LIMIT_LINK_CAP_MIN;
		double most = (held * 1.1 + 2 * TL_LIMIT_MUX_SLICE) / (double)t[i].rate * 1000 +
			      (double)t[i].rtt_ms + 10;
		bool good = r.used >= t[i].least_used && (double)r.slowest_ms <= most &&
			    (!t[i].first_ms || (r.first_ms && r.first_ms <= t[i].first_ms));
		printf(
		    "%s %d - %s: %.0f %% of the rate, key to echo at most %llu ms (allowed %.0f), "
		    "cap %zu KiB, the first 16 MiB in %llu ms\n",
		    good ? "ok" : "not ok", i + 1, t[i].name, r.used * 100,
		    (unsigned long long)r.slowest_ms, most, r.cap / 1024,
		    (unsigned long long)r.first_ms);
		failed += !good;
	}
	free(path.lane[0].bytes);
	free(path.lane[1].bytes);
	return failed ? 1 : 0;
}
