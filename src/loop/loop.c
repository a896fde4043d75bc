/* loop.c - the event loop, timers, signals, clocks and randomness. */
#include "loop/loop.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "loop/child.h"

/* How long a loop that ends waits for children that were told to go. */
#define FINI_MS 2000

int loop_init(struct loop *l)
{
	memset(l, 0, sizeof(*l));
	list_init(&l->children);
	list_init(&l->orphans);
	list_init(&l->watches);
	if (uv_loop_init(&l->uv) != 0)
		return TL_E_NOMEM;
	l->uv.data = l;
	return 0;
}

void loop_run(struct loop *l)
{
	uv_run(&l->uv, UV_RUN_DEFAULT);
}

void loop_stop(struct loop *l)
{
	uv_stop(&l->uv);
}

static void close_walk(uv_handle_t *h, void *arg)
{
	(void)arg;
	if (!uv_is_closing(h))
		uv_close(h, NULL);
}

void loop_fini(struct loop *l)
{
	const struct timespec pause = {.tv_nsec = 2000000};
	uint64_t end = clock_mono_ms() + FINI_MS;

	/* closes under way may start further ones, and owners may wait for the end of a child that
	 * was told to go: let them finish before what is left is closed for its owner */
	for (int turn = 0; turn < 16; turn++)
		uv_run(&l->uv, UV_RUN_NOWAIT);
	while (!list_empty(&l->children) && clock_mono_ms() < end) {
		nanosleep(&pause, NULL);
		for (int turn = 0; turn < 4; turn++)
			uv_run(&l->uv, UV_RUN_NOWAIT);
	}
	LIST_FOREACH_SAFE (it, &l->orphans) {
		list_del(it);
		free(it);
	}
	uv_walk(&l->uv, close_walk, NULL);
	uv_run(&l->uv, UV_RUN_NOWAIT);
	child_watches_fini(l);
	uv_loop_close(&l->uv);
}

static uint64_t clock_ms(clockid_t id)
{
	struct timespec ts;

	if (clock_gettime(id, &ts) != 0)
		return 0;
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

uint64_t clock_mono_ms(void)
{
	return clock_ms(CLOCK_MONOTONIC);
}

uint64_t clock_wall_ms(void)
{
	return clock_ms(CLOCK_REALTIME);
}

uint64_t clock_slept_ms(void)
{
	uint64_t boot = clock_ms(CLOCK_BOOTTIME), mono = clock_ms(CLOCK_MONOTONIC);

	return boot > mono ? boot - mono : 0;
}

void random_bytes(void *p, size_t n)
{
	uint8_t *out = p;
	int fd = -1;

	while (n > 0) {
		ssize_t got;
		/* getrandom is from Linux 3.17; older kernels have the device only */
		if (fd < 0) {
			got = getrandom(out, n, 0);
			if (got < 0 && errno == ENOSYS) {
				fd = open("/dev/urandom", O_RDONLY | O_CLOEXEC);
				tl_assert(fd >= 0);
				continue;
			}
		} else {
			got = read(fd, out, n);
		}
		if (got < 0 && errno == EINTR)
			continue;
		tl_assert(got > 0);
		out += got;
		n -= (size_t)got;
	}
	if (fd >= 0)
		close(fd);
}

void random_id(char *out, size_t len)
{
	static const char digits[] = "abcdefghijklmnopqrstuvwxyz234567";

	random_bytes(out, len);
	for (size_t i = 0; i < len; i++)
		out[i] = digits[(unsigned char)out[i] & 31];
	out[len] = 0;
}

static void timer_fired(uv_timer_t *uv)
{
	struct loop_timer *t = uv->data;

	t->fn(t->ctx);
}

void timer_init(struct loop *l, struct loop_timer *t, void (*fn)(void *), void *ctx)
{
	memset(t, 0, sizeof(*t));
	uv_timer_init(&l->uv, &t->uv);
	t->uv.data = t;
	t->fn = fn;
	t->ctx = ctx;
	t->open = true;
}

void timer_start(struct loop_timer *t, uint64_t delay_ms)
{
	if (!t->open)
		return;
	/* libuv's cached time may lag behind after a long callback */
	uv_update_time(t->uv.loop);
	uv_timer_start(&t->uv, timer_fired, delay_ms, 0);
}

void timer_at(struct loop_timer *t, uint64_t when_ms)
{
	uint64_t now;

	if (when_ms == UINT64_MAX) {
		timer_stop(t);
		return;
	}
	now = clock_mono_ms();
	timer_start(t, when_ms > now ? when_ms - now : 0);
}

void timer_stop(struct loop_timer *t)
{
	if (t->open)
		uv_timer_stop(&t->uv);
}

static void timer_closed(uv_handle_t *h)
{
	struct loop_timer *t = h->data;

	if (t->on_closed)
		t->on_closed(t->ctx);
}

void timer_close(struct loop_timer *t, void (*on_closed)(void *ctx))
{
	if (!t->open || uv_is_closing((uv_handle_t *)&t->uv))
		return;
	t->open = false;
	t->on_closed = on_closed;
	uv_close((uv_handle_t *)&t->uv, timer_closed);
}

static void signal_fired(uv_signal_t *uv, int signo)
{
	struct loop_signal *s = uv->data;

	s->fn(s->ctx, signo);
}

int signal_watch(struct loop *l, struct loop_signal *s, int signo, void (*fn)(void *, int),
		 void *ctx)
{
	memset(s, 0, sizeof(*s));
	s->fn = fn;
	s->ctx = ctx;
	if (uv_signal_init(&l->uv, &s->uv) != 0)
		return TL_E_NOMEM;
	s->uv.data = s;
	if (uv_signal_start(&s->uv, signal_fired, signo) != 0) {
		uv_close((uv_handle_t *)&s->uv, NULL);
		return TL_E_INVAL;
	}
	uv_unref((uv_handle_t *)&s->uv);
	return 0;
}

void signal_close(struct loop_signal *s)
{
	if (s->uv.data && !uv_is_closing((uv_handle_t *)&s->uv))
		uv_close((uv_handle_t *)&s->uv, NULL);
}
