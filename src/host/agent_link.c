/* agent_link.c - one client: moves bytes between its transport and its session, and its session's
 * events to the streams. Fencing: of two transports with the same link id the higher epoch wins,
 * and the older one is closed before the newer one hears anything. */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/str.h"
#include "host/agent.h"
#include "host/agent_url.h"

/* A clock jump of this much means that the machine slept. */
#define SLEPT_MS 2000
/* How long a session without transport is still looked at. */
#define AWAY_QUIET_MS 10000

static void agent_link_freed(void *ctx)
{
	struct agent_link *lk = ctx;

	session_free(lk->session);
	free(lk);
}

/* The link leaves the table; streams end, the session dies with the timer's last callback. */
static void agent_link_drop(struct agent_link *lk)
{
	struct agent *a = lk->agent;

	if (lk->over)
		return;
	lk->over = true;
	agent_url_forget(lk);
	LIST_FOREACH_SAFE (it, &lk->streams)
		stream_closed(list_entry(it, struct agent_stream, node));
	list_del(&lk->node);
	a->link_count--;
	timer_close(&lk->timer, agent_link_freed);
	agent_idle_check(a);
}

void agent_link_transport_lost(struct agent_link *lk, const char *why)
{
	struct conn *c = lk->conn;

	if (!c)
		return;
	lk->conn = NULL;
	log_line(LOG_INFO, lk->name, "transport gone: %s", why);
	session_transport_down(lk->session, clock_mono_ms());
	conn_close(c, 0, why);
	agent_link_kick(lk);
}

/* ---- the pump ---- */

/* What the transport takes now, at most a turn's worth. Bytes sent, or negative: it broke. */
static long send_all(struct agent_link *lk)
{
	uint64_t now = clock_mono_ms();
	size_t moved = 0;

	while (lk->conn && !lk->conn->full && moved < AGENT_TURN_BYTES) {
		struct tl_bytes b[SESSION_SPANS];
		struct iovec v[SESSION_SPANS];
		size_t count = session_pullv(lk->session, b, now), want = 0;
		long n;
		if (count == 0)
			break;
		for (size_t i = 0; i < count; i++) {
			v[i].iov_base = (void *)(uintptr_t)b[i].p;
			v[i].iov_len = b[i].n;
			want += b[i].n;
		}
		n = io_writev(lk->conn->transport, v, (int)count);
		if (n < 0)
			return n;
		if (n > 0) {
			session_pulled(lk->session, (size_t)n, now);
			moved += (size_t)n;
		}
		lk->conn->full = (size_t)n < want;
	}
	if (lk->conn && lk->conn->full)
		io_want_write(lk->conn->transport, true);
	return (long)moved;
}

static void on_event(struct agent_link *lk, const struct session_event *ev)
{
	struct agent_stream *s = ev->user;

	switch (ev->type) {
	case SESSION_EV_NONE:
		break;
	case SESSION_EV_UP:
		log_line(LOG_INFO, lk->name, "up, epoch %u%s", (unsigned)session_epoch(lk->session),
			 ev->resumed ? ", resumed" : "");
		break;
	case SESSION_EV_SILENT:
		agent_link_transport_lost(lk, "the client is silent");
		break;
	case SESSION_EV_PROTO:
		log_line(LOG_WARN, lk->name, "the client broke the protocol: %s", ev->text);
		agent_link_transport_lost(lk, ev->text);
		break;
	case SESSION_EV_BYE:
		log_line(LOG_INFO, lk->name, "the link is over: %s", ev->text);
		lk->agent->bye = true;
		agent_link_end(lk, 0, NULL);
		break;
	case SESSION_EV_OPENED:
		if (!stream_new(lk, ev->stream))
			session_reset(ev->stream);
		break;
	case SESSION_EV_READABLE:
		if (s)
			stream_readable(s);
		break;
	case SESSION_EV_WRITABLE:
		if (s)
			stream_writable(s);
		break;
	case SESSION_EV_CLOSED:
		if (s)
			stream_closed(s);
		break;
	}
}

/* When the link wants to be looked at again. */
static uint64_t agent_link_next(struct agent_link *lk, uint64_t now)
{
	uint64_t next = session_tick(lk->session, now), since, end;

	if (lk->conn)
		return next;
	since = session_down_since_ms(lk->session);
	since = since == UINT64_MAX ? now : since;
	end = since + TL_LIMIT_LINK_GRACE_MS;
	/* once its memory is given back, an absent client wakes nobody up until its time is over */
	return next < end && now < since + AWAY_QUIET_MS ? next : end;
}

void agent_link_kick(struct agent_link *lk)
{
	struct session_event ev;
	uint64_t next = UINT64_MAX;
	size_t sent = 0;

	if (lk->pumping || lk->over) {
		lk->again = true;
		return;
	}
	lk->pumping = true;
	do {
		bool moved = false;
		long n = 0;
		lk->again = false;
		next = agent_link_next(lk, clock_mono_ms());
		while (!lk->over && session_next_event(lk->session, &ev)) {
			on_event(lk, &ev);
			moved = true;
		}
		if (!lk->over)
			n = send_all(lk);
		if (n < 0)
			agent_link_transport_lost(lk, "the client went away");
		else
			sent += (size_t)n;
		lk->again = lk->again || moved || n != 0;
	} while (lk->again && !lk->over && sent < AGENT_TURN_BYTES);
	/* others have a turn now; the kernel says at once that there is room for more */
	if (lk->again && !lk->over && lk->conn)
		io_want_write(lk->conn->transport, true);
	else if (lk->again)
		next = clock_mono_ms();
	lk->pumping = false;
	if (!lk->over && next != lk->timer_at_ms) {
		lk->timer_at_ms = next;
		timer_at(&lk->timer, next);
	}
}

static void on_timer(void *ctx)
{
	struct agent_link *lk = ctx;
	uint64_t now = clock_mono_ms(), slept = clock_slept_ms();

	lk->timer_at_ms = UINT64_MAX;
	if (slept > lk->slept_ms + SLEPT_MS)
		session_woke(lk->session, now);
	lk->slept_ms = slept;
	if (!lk->conn && session_down_since_ms(lk->session) + TL_LIMIT_LINK_GRACE_MS <= now) {
		log_line(LOG_INFO, lk->name, "the client did not come back");
		agent_link_drop(lk);
		return;
	}
	agent_link_kick(lk);
}

void agent_link_readable(struct agent_link *lk)
{
	struct agent *a = lk->agent;
	size_t moved = 0;

	while (lk->conn && !lk->over && moved < AGENT_TURN_BYTES) {
		long n = io_read(lk->conn->transport, a->chunk, AGENT_CHUNK);
		if (n == TL_E_AGAIN)
			break;
		if (n <= 0) {
			agent_link_transport_lost(lk, n == 0 ? "the client closed it"
							     : "the client went away");
			return;
		}
		moved += (size_t)n;
		/* an error is told by an event, which agent_link_kick takes */
		if (session_feed(lk->session, bytes_of(a->chunk, (size_t)n), clock_mono_ms()))
			break;
		if ((size_t)n < AGENT_CHUNK)
			break;
	}
	agent_link_kick(lk);
}

void agent_link_end(struct agent_link *lk, int code, const char *why)
{
	struct conn *c = lk->conn;

	if (lk->over)
		return;
	if (why)
		session_bye(lk->session, code, why);
	/* whether the last word leaves is up to the kernel; nobody waits for it */
	if (c && send_all(lk) < 0)
		log_line(LOG_DEBUG, lk->name, "the client left before BYE");
	lk->conn = NULL;
	if (c)
		conn_close(c, code, why ? why : "done");
	agent_link_drop(lk);
}

/* ---- finding and making links ---- */

static struct agent_link *agent_link_find(struct agent *a, const uint8_t id[LINK_ID_SIZE])
{
	LIST_FOREACH (it, &a->links) {
		struct agent_link *lk = list_entry(it, struct agent_link, node);
		if (memcmp(lk->id, id, LINK_ID_SIZE) == 0)
			return lk;
	}
	return NULL;
}

/* Room for one more: the link that is away longest has to go. */
static bool make_room(struct agent *a)
{
	struct agent_link *oldest = NULL;

	if (a->link_count < TL_LIMIT_LINK_MAX)
		return true;
	LIST_FOREACH (it, &a->links) {
		struct agent_link *lk = list_entry(it, struct agent_link, node);
		if (!lk->conn && (!oldest || session_down_since_ms(lk->session) <
						 session_down_since_ms(oldest->session)))
			oldest = lk;
	}
	if (!oldest)
		return false;
	log_line(LOG_INFO, oldest->name, "dropped: %d links are the limit", TL_LIMIT_LINK_MAX);
	agent_link_drop(oldest);
	return true;
}

static struct agent_link *agent_link_new(struct agent *a, const uint8_t id[LINK_ID_SIZE])
{
	struct agent_link *lk = calloc(1, sizeof(*lk));

	if (!lk)
		return NULL;
	lk->session = session_new(false, id);
	if (!lk->session) {
		free(lk);
		return NULL;
	}
	lk->agent = a;
	memcpy(lk->id, id, LINK_ID_SIZE);
	str_hex(id, 4, lk->name);
	lk->timer_at_ms = UINT64_MAX;
	lk->slept_ms = clock_slept_ms();
	list_init(&lk->streams);
	timer_init(&a->loop, &lk->timer, on_timer, lk);
	list_add_tail(&a->links, &lk->node);
	a->link_count++;
	timer_stop(&a->idle);
	return lk;
}

/* BYE without a session, then the end of the transport. */
static void refuse(struct conn *c, int code, const char *why)
{
	uint8_t frame[LINK_HEADER + 4 + 128];
	size_t n = strnlen(why, 128);
	struct link_header h = {.type = LINK_FRAME_BYE, .length = (uint16_t)(4 + n)};

	link_header_put(frame, &h);
	set_u32(frame + LINK_HEADER, (uint32_t)-code);
	memcpy(frame + LINK_HEADER + 4, why, n);
	/* the first bytes of an empty pipe always fit */
	if (io_write(c->transport, frame, LINK_HEADER + 4 + n) < 0)
		log_debug("the client left before BYE");
	conn_close(c, code, why);
}

void agent_link_adopt(struct agent *a, struct conn *c, const uint8_t id[LINK_ID_SIZE],
		      uint32_t epoch)
{
	struct agent_link *lk = agent_link_find(a, id);
	char name[9];

	str_hex(id, 4, name);
	if (!lk && epoch > 1) {
		log_line(LOG_INFO, name, "unknown link with epoch %u", (unsigned)epoch);
		refuse(c, TL_E_NOLINK, err_row(TL_E_NOLINK)->what);
		return;
	}
	if (lk && epoch <= session_epoch(lk->session)) {
		log_line(LOG_INFO, name, "stale epoch %u", (unsigned)epoch);
		refuse(c, TL_E_STALE, err_row(TL_E_STALE)->what);
		return;
	}
	if (!lk) {
		if (!make_room(a)) {
			refuse(c, TL_E_LIMIT, "this host has no room for another client");
			return;
		}
		lk = agent_link_new(a, id);
	}
	if (!lk) {
		refuse(c, TL_E_NOMEM, "the host is out of memory");
		return;
	}
	if (lk->conn) {
		struct conn *old = lk->conn;
		lk->conn = NULL;
		session_transport_down(lk->session, clock_mono_ms());
		conn_close(old, TL_E_STALE, err_row(TL_E_STALE)->what);
	}
	lk->conn = c;
	c->link = lk;
	c->state = CONN_LIVE;
	session_transport_up(lk->session, epoch, clock_mono_ms());
	/* on failure an event says so */
	if (session_feed(lk->session, buf_data(&c->in), clock_mono_ms()))
		log_line(LOG_DEBUG, lk->name, "HELLO refused");
	buf_clear(&c->in);
	buf_shrink(&c->in);
	agent_link_kick(lk);
}
