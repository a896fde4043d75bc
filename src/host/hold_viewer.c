/* hold_viewer.c - one viewer of a terminal: frames in, frames out (see hold_state.h).
 * Owns its connection and two small buffers, both bounded and empty most of the time. */
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "host/hold_state.h"

/* One INFO frame and what may stand before it. */
#define OUT_MAX (2 * HOLD_FRAME_MAX)
/* Connections that only ask or order something are let in even when all viewers are there. */
#define GUESTS 8
/* What one read takes; INPUT is passed on in pieces, so the whole frame need not be here. */
#define IN_CHUNK 4096
/* Ctrl-C by someone who lags far behind skips all but the newest bytes. */
#define SKIP_KEEP 65536

static void viewer_freed(void *ctx)
{
	struct viewer *v = ctx;
	buf_fini(&v->in);
	buf_fini(&v->out);
	free(v);
}

void viewer_close(struct viewer *v)
{
	struct hold *h = v->hold;
	if (v->closed)
		return;
	v->closed = true;
	list_del(&v->node);
	h->viewer_count--;
	if (v->exit_sent && !v->out.len && !v->replaced)
		h->end_seen = true;
	viewer_input_close(v);
	io_close(&v->io, viewer_freed);
	hold_reconsider(h);
}

/* ---- out ---- */

/* Makes the next control frame of those wanted. false: none wanted. */
static bool viewer_put_control(struct viewer *v)
{
	struct hold *h = v->hold;
	if (v->told_wanted) {
		viewer_put_told(v);
	} else if (v->attach_wanted) {
		const struct ring *log = &h->log;
		uint64_t tail = v->attach.tail_bytes, from = v->attach.from_off;
		if (from == HOLD_FROM_TAIL)
			from = ring_len(log) > tail ? log->next_off - tail : log->base_off;
		struct hold_attached a = {.first_off = log->base_off,
					  .end_off = log->next_off,
					  .cols = h->size.cols,
					  .rows = h->size.rows,
					  .flags = h->ended ? HOLD_EXITED : 0};
		if (from < log->base_off)
			a.flags |= HOLD_GAP;
		a.from_off = from < log->base_off   ? log->base_off
			     : from > log->next_off ? log->next_off
						    : from;
		v->cursor_off = v->acked_off = a.from_off;
		v->window_bytes = v->attach.window_bytes;
		v->attach_wanted = v->size_wanted = v->exit_sent = false;
		v->attached = true;
		hold_put_attached(&v->out, &a);
	} else if (v->size_wanted) {
		v->size_wanted = false;
		hold_put_size(&v->out, HOLD_FRAME_SIZE, h->size);
	} else if (v->info_wanted) {
		struct buf text;
		buf_init(&text, TL_LIMIT_TERM_FRAME);
		v->info_wanted = false;
		if (hold_info(h, &text) == 0)
			hold_put(&v->out, HOLD_FRAME_INFO, buf_data(&text).p, text.len);
		buf_fini(&text);
	} else if (v->attached && (v->skip_wanted || v->cursor_off < h->log.base_off)) {
		uint64_t keep = h->log.next_off - h->log.base_off;
		if (v->skip_wanted && keep > SKIP_KEEP)
			keep = SKIP_KEEP;
		v->skip_wanted = false;
		if (v->cursor_off >= h->log.next_off - keep)
			return true;
		v->cursor_off = h->log.next_off - keep;
		if (v->acked_off < v->cursor_off)
			v->acked_off = v->cursor_off;
		hold_put_offset(&v->out, HOLD_FRAME_GAP, v->cursor_off);
	} else {
		return false;
	}
	return true;
}

/* Length of the next DATA frame: what is there, credit, the frame's own limit. */
static size_t viewer_next_data(const struct viewer *v)
{
	uint64_t n = v->hold->log.next_off - v->cursor_off;
	if (!v->attached)
		return 0;
	if (v->window_bytes) {
		uint64_t under_way = v->cursor_off - v->acked_off;
		uint64_t credit = under_way < v->window_bytes ? v->window_bytes - under_way : 0;
		n = n < credit ? n : credit;
	}
	return n < TL_LIMIT_TERM_FRAME ? (size_t)n : TL_LIMIT_TERM_FRAME;
}

/* Writes out, then the frame's bytes straight from the log. true: all of it went. */
static bool viewer_write(struct viewer *v)
{
	struct iovec iov[3];
	int n = 0;
	size_t want = v->out.len + v->frame_left;
	if (v->out.len) {
		struct tl_bytes o = buf_data(&v->out);
		iov[n++] = (struct iovec){(void *)(uintptr_t)o.p, o.n};
	}
	for (uint32_t left = v->frame_left; left;) {
		struct tl_bytes b = ring_peek(&v->hold->log, v->cursor_off + v->frame_left - left);
		uint32_t take = b.n < left ? (uint32_t)b.n : left;
		iov[n++] = (struct iovec){(void *)(uintptr_t)b.p, take};
		left -= take;
	}
	long got = io_writev(&v->io, iov, n);
	if (got < 0) {
		viewer_close(v);
		return false;
	}
	if (got > 0)
		v->moved_ms = clock_mono_ms();
	size_t head = (size_t)got < v->out.len ? (size_t)got : v->out.len;
	buf_consume(&v->out, head);
	v->cursor_off += (size_t)got - head;
	v->frame_left -= (uint32_t)((size_t)got - head);
	if ((size_t)got == want) {
		buf_shrink(&v->out);
		return true;
	}
	io_want_write(&v->io, true);
	return false;
}

/* The last word: after it and the viewer's leaving, an ended terminal may go. */
static bool viewer_put_exit(struct viewer *v)
{
	struct hold *h = v->hold;
	if (!h->ended || !v->attached || v->exit_sent || v->cursor_off != h->log.next_off)
		return false;
	v->exit_sent = true;
	hold_put_exit(&v->out, h->exit);
	return true;
}

void viewer_pump(struct viewer *v)
{
	while (!v->closed && !v->replaced) {
		if ((v->out.len || v->frame_left) && !viewer_write(v))
			return;
		if (viewer_put_control(v))
			continue;
		size_t n = viewer_next_data(v);
		if (n) {
			uint8_t head[HOLD_HEADER];
			/* the echo of a key brings its acknowledgement along */
			viewer_put_told(v);
			hold_put_header(head, HOLD_FRAME_DATA, n);
			if (buf_put(&v->out, head, sizeof(head)) != 0)
				return; /* no memory for four bytes: tried again at the next event
					 */
			v->frame_left = (uint32_t)n;
			continue;
		}
		if (!viewer_put_exit(v))
			return;
	}
}

void viewer_rescue(struct viewer *v, uint64_t off)
{
	const struct ring *log = &v->hold->log;
	if (!v->frame_left || v->cursor_off >= off)
		return;
	/* the header promised these bytes: they leave the log with the viewer */
	while (v->frame_left) {
		struct tl_bytes b = ring_peek(log, v->cursor_off);
		size_t take = b.n < v->frame_left ? b.n : v->frame_left;
		if (buf_put(&v->out, b.p, take) != 0) {
			viewer_close(v);
			return;
		}
		v->cursor_off += take;
		v->frame_left -= (uint32_t)take;
	}
}

bool viewer_is_live(const struct viewer *v, uint64_t now_ms)
{
	return v->attached && !v->ended && !v->replaced &&
	       now_ms - v->moved_ms < TL_LIMIT_TERM_SILENT_MS;
}

/* ---- in ---- */

static void viewer_acked(struct viewer *v, uint64_t off)
{
	/* after a second ATTACH an older, larger offset may still be on its way */
	if (off > v->cursor_off)
		off = v->cursor_off;
	if (!v->attached || off <= v->acked_off)
		return;
	v->acked_off = off;
	v->moved_ms = clock_mono_ms();
}

/* Obeys one frame other than INPUT. false: it makes no sense. */
static bool viewer_frame(struct viewer *v, const struct hold_frame *f)
{
	struct hold *h = v->hold;
	struct hold_size s;
	switch (f->type) {
	case HOLD_FRAME_ATTACH:
		if (!v->attached && hold_attached_count(h) >= TL_LIMIT_TERM_VIEWERS)
			return false;
		v->attach = hold_get_attach(f->payload);
		v->attach_wanted = true;
		v->moved_ms = clock_mono_ms();
		return true;
	case HOLD_FRAME_INPUT_ID:
		return viewer_input_id(v, hold_get_input_id(f->payload));
	case HOLD_FRAME_RESIZE:
		s = hold_get_size(f->payload);
		hold_resize(h, v, s);
		return true;
	case HOLD_FRAME_SIGNAL:
		hold_signal(h, f->payload.p[0]);
		return true;
	case HOLD_FRAME_ACKED:
		viewer_acked(v, hold_get_offset(f->payload));
		return true;
	case HOLD_FRAME_INFO_REQ:
		v->info_wanted = true;
		return true;
	case HOLD_FRAME_DROP:
		hold_drop(h);
		return true;
	default:
		return !f->known; /* a newer viewer's frame: skipped */
	}
}

/* One step of obeying: 1 go on, 0 nothing to do now, negative: close. */
static int viewer_step(struct viewer *v)
{
	struct hold_frame f;
	size_t n;
	struct tl_bytes in = buf_data(&v->in);
	/* answers must not pile up: the next question waits until this one went out */
	if (v->attach_wanted || v->info_wanted || v->replaced)
		return 0;
	if (v->input_left)
		return viewer_input(v) && v->in.len && !v->input_left ? 1 : 0;
	if (in.n >= HOLD_HEADER && in.p[0] == HOLD_FRAME_INPUT) {
		uint32_t len = get_u24(in.p + 1);
		if (len > TL_LIMIT_TERM_FRAME)
			return TL_E_PROTO;
		buf_consume(&v->in, HOLD_HEADER);
		v->input_left = len;
		return 1;
	}
	int rc = hold_frame_next(in, HOLD_FROM_VIEWER, &f, &n);
	if (rc <= 0)
		return rc;
	/* the payload is borrowed from the buffer: obey first */
	bool ok = viewer_frame(v, &f);
	if (!v->closed)
		buf_consume(&v->in, n);
	return ok ? 1 : TL_E_PROTO;
}

static void viewer_obey_all(struct viewer *v)
{
	int rc = 1;
	while (!v->closed && (rc = viewer_step(v)) > 0)
		viewer_pump(v);
	if (v->closed)
		return;
	if (rc < 0) {
		log_warn("terminal %s: a viewer broke the protocol", v->hold->plan.id);
		viewer_close(v);
	}
}

/* It said all it wanted to say, and what had arrived of it was obeyed. */
static bool viewer_is_done(const struct viewer *v)
{
	return v->ended && !(v->input_left && v->in.len);
}

static void viewer_readable(void *ctx)
{
	struct viewer *v = ctx;
	struct hold *h = v->hold;
	size_t room = buf_room(&v->in) < IN_CHUNK ? buf_room(&v->in) : IN_CHUNK;
	uint8_t *p = room ? buf_reserve(&v->in, room) : NULL;
	if (!p) {
		io_want_read(&v->io, false); /* viewer_obey asks again */
		return;
	}
	long n = io_read(&v->io, p, room);
	if (n == TL_E_AGAIN)
		return;
	if (n <= 0)
		v->ended = true;
	else
		buf_commit(&v->in, (size_t)n);
	viewer_obey(v);
	if (!v->closed)
		viewer_pump(v);
	hold_reconsider(h);
}

void viewer_obey(struct viewer *v)
{
	viewer_obey_all(v);
	if (v->closed)
		return;
	if (viewer_is_done(v)) {
		viewer_close(v);
		return;
	}
	io_want_read(&v->io, !v->ended && buf_room(&v->in));
	buf_shrink(&v->in);
}

static void viewer_writable(void *ctx)
{
	struct viewer *v = ctx;
	struct hold *h = v->hold;
	viewer_pump(v);
	if (!v->closed)
		viewer_obey(v);
	hold_reconsider(h);
}

/* ---- coming ---- */

/* A viewer that ended but whose last bytes the program does not take gives its place up. */
static bool viewer_make_room(struct hold *h)
{
	if (h->viewer_count < TL_LIMIT_TERM_VIEWERS + GUESTS)
		return true;
	LIST_FOREACH (it, &h->viewers) {
		struct viewer *v = list_entry(it, struct viewer, node);
		if (v->ended) { /* the list is left at once */
			viewer_close(v);
			return true;
		}
	}
	return false;
}

void viewer_accept(struct hold *h, int fd)
{
	uid_t uid;
	struct viewer *v = NULL;
	if (peer_uid(fd, &uid) != 0 || uid != getuid() || !viewer_make_room(h))
		goto fail;
	v = calloc(1, sizeof(*v));
	if (!v)
		goto fail;
	v->hold = h;
	buf_init(&v->in, HOLD_FRAME_MAX);
	buf_init(&v->out, OUT_MAX);
	if (io_open(&h->loop, &v->io, fd, fd, viewer_readable, viewer_writable, v) != 0)
		goto fail;
	v->moved_ms = clock_mono_ms();
	list_add_tail(&h->viewers, &v->node);
	h->viewer_count++;
	return;
fail:
	free(v);
	close(fd);
}
