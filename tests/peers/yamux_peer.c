/* yamux_peer.c - our mux alone, without the link, over the socket that is standard input, so that
 * other people's yamux can be its peer (tests/peers/test_yamux.py). Owns the mux and one struct
 * chan a stream.
 *
 *   yamux_peer client|server active|passive
 *
 * The passive side serves streams whose first line is echo N, sink N, hold N, release, source N,
 * resets, ping or goaway; N bytes follow, because not every peer can read after it half-closed. The
 * active side uses all of them and prints TAP. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"
#include "base/limits.h"
#include "core/mux.h"

#define DEADLINE_MS 120000
#define KEEP        (32 << 20)

struct peer {
	int fd;
	struct mux mux;
	struct buf out;
	bool end, released;
	int resets;
	struct list chans;
};

/* One stream. Passive: what is served; active: what was said and what came back. */
struct chan {
	struct peer *peer;
	struct mux_stream *st;
	struct list node;
	struct buf in, out; /* in: the line, or all that came back */
	bool served, digesting, echo, holding, finish_after, closed;
	int error;
	uint64_t count, hash, to_send, to_read;
	uint32_t state;
};

static void fill(uint8_t *p, size_t n, uint32_t *state)
{
	for (size_t i = 0; i < n; i++) {
		*state = *state * 1664525u + 1013904223u;
		p[i] = (uint8_t)(*state >> 24);
	}
}

static uint64_t fnv(uint64_t h, const uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		h = (h ^ p[i]) * 1099511628211u;
	return h;
}

static struct chan *chan_new(struct peer *p, struct mux_stream *st)
{
	struct chan *c = calloc(1, sizeof(*c));
	tl_assert(c);
	*c = (struct chan){.peer = p, .st = st, .hash = 14695981039346656037u};
	buf_init(&c->in, KEEP);
	buf_init(&c->out, KEEP);
	list_add_tail(&p->chans, &c->node);
	st->user = c;
	return c;
}

static void chan_free(struct chan *c)
{
	list_del(&c->node);
	buf_fini(&c->in);
	buf_fini(&c->out);
	free(c);
}

/* Hands over what the mux takes; then FIN, when nothing more will come. */
static void chan_flush(struct chan *c)
{
	while (!c->closed && (c->out.len || c->to_send)) {
		if (!c->out.len) {
			uint8_t *block = buf_reserve(&c->out, 40000);
			size_t n = c->to_send < 40000 ? (size_t)c->to_send : 40000;
			tl_assert(block);
			fill(block, n, &c->state);
			buf_commit(&c->out, n);
			c->to_send -= n;
		}
		long n = mux_write(c->st, buf_data(&c->out));
		if (n <= 0)
			return;
		buf_consume(&c->out, (size_t)n);
	}
	if (!c->closed && c->finish_after)
		mux_finish(c->st);
}

static void serve_line(struct chan *c, const char *line)
{
	struct peer *p = c->peer;
	c->served = true;
	const char *number = strchr(line, ' ');
	if (!strncmp(line, "echo ", 5) || !strncmp(line, "sink ", 5) ||
	    !strncmp(line, "hold ", 5)) {
		c->to_read = strtoull(number, NULL, 10);
		c->echo = line[0] == 'e';
		c->digesting = !c->echo;
		c->holding = line[0] == 'h' && !p->released;
		return;
	}
	c->finish_after = true;
	if (!strncmp(line, "source ", 7)) {
		c->to_send = strtoull(number, NULL, 10);
		c->state = (uint32_t)c->to_send;
	} else if (!strcmp(line, "resets")) {
		buf_printf(&c->out, "%d\n", p->resets);
	} else if (!strcmp(line, "ping")) {
		mux_ping(&p->mux, 4711);
		buf_printf(&c->out, "true\n");
	} else if (!strcmp(line, "goaway")) {
		mux_goaway(&p->mux, YAMUX_AWAY_NORMAL);
		buf_printf(&c->out, "gone\n");
	} else if (!strcmp(line, "release")) {
		p->released = true;
		LIST_FOREACH (it, &p->chans)
			list_entry(it, struct chan, node)->holding = false;
		buf_printf(&c->out, "released\n");
	}
}

/* The first line says what is wanted; the rest are its bytes. Returns bytes used. */
static size_t serve_head(struct chan *c, struct tl_bytes in)
{
	const uint8_t *lf = memchr(in.p, '\n', in.n);
	size_t n = lf ? (size_t)(lf - in.p) + 1 : in.n;
	tl_assert(buf_put(&c->in, in.p, n) == 0 && c->in.len < 200);
	if (lf) {
		char *line = (char *)(uintptr_t)buf_cstr(&c->in);
		line[c->in.len - 1] = 0;
		serve_line(c, line);
	}
	return n;
}

static void serve(struct chan *c)
{
	for (;;) {
		struct tl_bytes in = mux_peek(c->st);
		size_t n = in.n;
		/* an echo that is not read stops reading: relays have no buffer without bound */
		if (!n || c->holding || c->closed || c->out.len > 65536)
			break;
		if (!c->served) {
			mux_consume(c->st, serve_head(c, in));
			continue;
		}
		if (c->echo) {
			tl_assert(buf_put(&c->out, in.p, n) == 0);
		} else if (c->digesting) {
			c->hash = fnv(c->hash, in.p, n);
		}
		c->count += n;
		mux_consume(c->st, n);
		chan_flush(c);
	}
	bool all = c->served && c->count >= c->to_read;
	if (!c->closed && (mux_eof(c->st) || all) && !c->finish_after) {
		c->finish_after = true;
		if (c->digesting)
			buf_printf(&c->out, "%llu %016llx\n", (unsigned long long)c->count,
				   (unsigned long long)c->hash);
	}
	chan_flush(c);
}

/* Active side: keep everything. */
static void collect(struct chan *c)
{
	for (struct tl_bytes in; (in = mux_peek(c->st)).n; mux_consume(c->st, in.n))
		tl_assert(buf_put(&c->in, in.p, in.n) == 0);
}

/* True when there was one. */
static bool peer_events(struct peer *p, bool active)
{
	bool any = false;
	struct mux_stream *st;
	enum mux_ev ev;
	while (mux_next_event(&p->mux, &st, &ev)) {
		any = true;
		struct chan *c = ev == MUX_EV_OPENED ? chan_new(p, st) : st->user;
		if (ev == MUX_EV_CLOSED) {
			c->closed = true;
			c->error = st->error;
			p->resets += st->error != 0;
			c->st = NULL;
			if (!active)
				chan_free(c);
			continue;
		}
		if (ev == MUX_EV_WRITABLE)
			chan_flush(c);
		if (active)
			collect(c);
		else
			serve(c);
	}
	/* those that were let go */
	if (p->released)
		LIST_FOREACH_SAFE (it, &p->chans) {
			struct chan *c = list_entry(it, struct chan, node);
			if (!active && c->digesting && !c->closed)
				serve(c);
		}
	return any;
}

/* True when something moved: room in a queue may have become an event. */
static bool peer_send(struct peer *p)
{
	struct mux_frame f;
	bool moved = false;
	while (p->out.len < 65536 && mux_next_frame(&p->mux, 65536, 65536, &f)) {
		for (size_t i = 0; i < f.n_parts; i++)
			tl_assert(buf_put(&p->out, f.parts[i].p, f.parts[i].n) == 0);
		mux_frame_sent(&p->mux, &f);
		moved = true;
	}
	ssize_t n = send(p->fd, buf_data(&p->out).p, p->out.len, MSG_NOSIGNAL);
	if (n > 0) {
		buf_consume(&p->out, (size_t)n);
		moved = true;
	} else if (n < 0 && errno != EAGAIN) {
		p->end = true;
	}
	return moved;
}

/* Moves what can be moved; waits for the socket otherwise. False at its end. */
static bool peer_turn(struct peer *p, bool active)
{
	uint8_t in[70000];
	bool any = false;
	do
		any |= peer_events(p, active);
	while (peer_send(p));
	struct pollfd pfd = {.fd = p->fd, .events = POLLIN};
	if (p->out.len)
		pfd.events |= POLLOUT;
	/* who called may have waited for one of these events */
	if (poll(&pfd, 1, any ? 0 : 50) <= 0)
		return !p->end;
	ssize_t n = read(p->fd, in, sizeof(in));
	if (n == 0 || (n < 0 && errno != EAGAIN))
		p->end = true;
	if (n > 0 && mux_feed(&p->mux, bytes_of(in, (size_t)n))) {
		printf("not ok - protocol: %s\n", p->mux.text);
		p->end = true;
	}
	return !p->end;
}

static uint64_t now_ms(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* ---- the active side ---- */

static bool expect(const char *name, bool good)
{
	printf("%s - %s\n", good ? "ok" : "not ok", name);
	return good;
}

static struct chan *ask_open(struct peer *p, const char *line, const uint8_t *data, size_t n,
			     bool finish)
{
	struct mux_stream *st = mux_open(&p->mux, MUX_NORMAL);
	if (!st)
		return NULL;
	struct chan *c = chan_new(p, st);
	tl_assert((n ? buf_printf(&c->out, "%s %zu\n", line, n)
		     : buf_printf(&c->out, "%s\n", line)) == 0 &&
		  buf_put(&c->out, data, n) == 0);
	c->finish_after = finish;
	chan_flush(c);
	return c;
}

/* The stream of a failed question may still be there: it ends, and its CLOSED is taken. */
static void chan_forget(struct chan *c)
{
	if (!c->closed)
		mux_reset(c->st);
	while (!c->closed)
		peer_events(c->peer, true);
	chan_free(c);
}

static bool ask_wait(struct peer *p, struct chan *c)
{
	uint64_t end = now_ms() + DEADLINE_MS;
	while (!c->closed && now_ms() < end && peer_turn(p, true)) {
	}
	return c->closed && !c->error;
}

/* Does the answer to line and data equal want? */
static bool ask(struct peer *p, const char *line, const uint8_t *data, size_t n, const void *want,
		size_t want_n)
{
	struct chan *c = ask_open(p, line, data, n, true);
	bool good =
	    c && ask_wait(p, c) && c->in.len == want_n && !memcmp(buf_data(&c->in).p, want, want_n);
	if (c)
		chan_forget(c);
	return good;
}

static size_t digest(char *out, size_t size, const uint8_t *p, size_t n)
{
	return (size_t)snprintf(out, size, "%zu %016llx\n", n,
				(unsigned long long)fnv(14695981039346656037u, p, n));
}

static bool many_streams(struct peer *p, const uint8_t *data)
{
	struct chan *c[100];
	bool good = true;
	for (size_t i = 0; i < 100; i++)
		c[i] = ask_open(p, "echo", data + i, 10000 + i, true);
	for (size_t i = 0; i < 100; i++) {
		good = good && c[i] && ask_wait(p, c[i]) && c[i]->in.len == 10000 + i &&
		       !memcmp(buf_data(&c[i]->in).p, data + i, 10000 + i);
		if (c[i])
			chan_forget(c[i]);
	}
	return expect("100 streams echo", good);
}

static bool exhaust_window(struct peer *p, const uint8_t *data, size_t n)
{
	char want[64];
	size_t len = digest(want, sizeof(want), data, n);
	struct chan *c = ask_open(p, "hold", data, n, true);
	bool good = expect("hold", c != NULL);
	uint64_t end = now_ms() + DEADLINE_MS;
	while (good && c->st->credit && now_ms() < end && peer_turn(p, true)) {
	}
	good = good && expect("window exhausted", !c->st->credit && c->out.len);
	good =
	    good && expect("echo beside a full window",
			   ask(p, "echo", (const uint8_t *)"still alive", 11, "still alive", 11));
	good = good && expect("release", ask(p, "release", NULL, 0, "released\n", 9));
	good = good && expect("window emptied later", ask_wait(p, c) && c->in.len == len &&
							  !memcmp(buf_data(&c->in).p, want, len));
	if (c)
		chan_forget(c);
	return good;
}

static bool reset_seen(struct peer *p, const uint8_t *data)
{
	struct chan *c = ask_open(p, "echo", data, 1 << 20, false);
	uint64_t end = now_ms() + DEADLINE_MS;
	bool good = c != NULL;
	while (good && c->in.len < 300000 && now_ms() < end && peer_turn(p, true)) {
	}
	if (good && !c->closed)
		mux_reset(c->st);
	/* the other side learns of it in its own time */
	for (bool seen = false; good && !seen;) {
		seen = ask(p, "resets", NULL, 0, "1\n", 2);
		good = now_ms() < end && !p->end;
	}
	if (c)
		chan_forget(c);
	return expect("reset in full flight", good);
}

static bool ping_back(struct peer *p)
{
	uint64_t end = now_ms() + DEADLINE_MS;
	mux_ping(&p->mux, 0xfeedbeef);
	while (!p->mux.pings_back && now_ms() < end && peer_turn(p, true)) {
	}
	return expect("we ping", p->mux.pings_back == 1 && p->mux.ping_back == 0xfeedbeef);
}

static int active(struct peer *p)
{
	const size_t big = 16 << 20;
	uint8_t *data = malloc(big + 1);
	char want[64], line[64];
	uint32_t state = (uint32_t)big;
	tl_assert(data);
	fill(data, big, &state);
	bool good = many_streams(p, data);
	size_t n = digest(want, sizeof(want), data, big);
	good &= expect("16 MiB there", ask(p, "sink", data, big, want, n));
	snprintf(line, sizeof(line), "source %zu", big);
	good &= expect("16 MiB back", ask(p, line, NULL, 0, data, big));
	good &=
	    expect("4 MiB both ways, half-closed", ask(p, "echo", data, 4 << 20, data, 4 << 20));
	good &= exhaust_window(p, data, 1 << 20);
	good &= expect("they ping", ask(p, "ping", NULL, 0, "true\n", 5));
	good &= ping_back(p);
	good &= reset_seen(p, data);
	good &= expect("go away", ask(p, "goaway", NULL, 0, "gone\n", 5));
	good &= expect("no stream after it", !mux_open(&p->mux, MUX_NORMAL));
	free(data);
	return good ? 0 : 1;
}

int main(int argc, char **argv)
{
	if (argc != 3) {
		fprintf(stderr, "usage: yamux_peer client|server active|passive <socket\n");
		return 2;
	}
	struct peer p = {.fd = 0};
	int status = 0;
	setvbuf(stdout, NULL, _IOLBF, 0);
	fcntl(0, F_SETFL, fcntl(0, F_GETFL) | O_NONBLOCK);
	mux_init(&p.mux, !strcmp(argv[1], "client"));
	buf_init(&p.out, 131072 + TL_LIMIT_MUX_SLICE);
	list_init(&p.chans);
	if (!strcmp(argv[2], "active"))
		status = active(&p);
	else
		while (peer_turn(&p, false)) {
		}
	LIST_FOREACH_SAFE (it, &p.chans)
		chan_free(list_entry(it, struct chan, node));
	mux_fini(&p.mux);
	buf_fini(&p.out);
	return status;
}
