/* kernel_viewer.c - one viewer of a session: frames in, frames out (see kernel_state.h). A viewer
 * that lags slows nobody: the journal waits for it, and what the journal forgot is told as GAP. */
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "host/kernel_state.h"

#define OUT_MAX  (2 * TL_LIMIT_KERNEL_SNAPSHOT)
#define OUT_FULL 65536 /* under way: no more is prepared, and no more obeyed */
#define IN_MAX   (4 * KERNEL_FRAME_MAX)
/* Connections that only ask or order something are let in even when all viewers are there. */
#define GUESTS 16

static void kviewer_freed(void *ctx)
{
	struct kviewer *v = ctx;
	buf_fini(&v->in);
	buf_fini(&v->out);
	buf_fini(&v->record);
	free(v);
}

/* Viewers came or went. */
static void count(struct kernel *k, bool left)
{
	kernel_policy_viewers(&k->policy, kernel_attached_count(k), left, clock_mono_ms());
	kernel_reconsider(k);
}

void kviewer_close(struct kviewer *v)
{
	struct kernel *k = v->k;
	if (v->closed)
		return;
	v->closed = true;
	list_del(&v->node);
	k->viewer_count--;
	io_close(&v->io, kviewer_freed);
	if (v->attached)
		count(k, v->left);
	else
		kernel_reconsider(k);
}

/* ---- out ---- */

/* false: nothing more can be written now. */
static bool kviewer_flush(struct kviewer *v)
{
	while (v->out.len) {
		struct tl_bytes b = buf_data(&v->out);
		long n = io_write(&v->io, b.p, b.n);
		if (n < 0) {
			kviewer_close(v);
			return false;
		}
		if (n == 0) {
			io_want_write(&v->io, true);
			return false;
		}
		buf_consume(&v->out, (size_t)n);
	}
	buf_shrink(&v->out);
	return true;
}

/* What was not read yet has been forgotten: base is the beginning of a record. */
static bool kviewer_put_gap(struct kviewer *v)
{
	const struct journal *j = &v->k->journal;
	if (v->cursor_off >= j->base_off)
		return true;
	if (kernel_put_offset(&v->out, KERNEL_FRAME_GAP, j->base_off) != 0)
		return false;
	v->cursor_off = j->base_off;
	if (v->acked_off < v->cursor_off)
		v->acked_off = v->cursor_off;
	return true;
}

/* Length of the next DATA frame: what is there, credit, the frame's own limit. */
static size_t kviewer_next_data(const struct kviewer *v)
{
	uint64_t n = journal_next(&v->k->journal) - v->cursor_off;
	if (v->window_bytes) {
		uint64_t under_way = v->cursor_off - v->acked_off;
		uint64_t credit = under_way < v->window_bytes ? v->window_bytes - under_way : 0;
		n = n < credit ? n : credit;
	}
	return n < KERNEL_PAYLOAD ? (size_t)n : KERNEL_PAYLOAD;
}

/* 1: something was put; 0: nothing is there; negative: close. */
static int kviewer_put_data(struct kviewer *v)
{
	size_t n = kviewer_next_data(v);
	uint8_t *p;
	long got;
	if (!n)
		return 0;
	p = buf_reserve(&v->out, KERNEL_HEADER + n);
	if (!p)
		return 0; /* no memory: tried again at the next event */
	got = journal_read(&v->k->journal, v->cursor_off, p + KERNEL_HEADER, n);
	if (got <= 0)
		return TL_E_IO;
	p[0] = KERNEL_FRAME_DATA;
	set_u24(p + 1, (uint32_t)got);
	buf_commit(&v->out, KERNEL_HEADER + (size_t)got);
	v->cursor_off += (uint64_t)got;
	return 1;
}

static bool kviewer_put_exit(struct kviewer *v)
{
	struct kernel *k = v->k;
	if (k->phase != KERNEL_OVER || v->exit_sent || v->cursor_off != journal_next(&k->journal))
		return false;
	v->exit_sent = true;
	kernel_put_exit(&v->out, k->exit);
	return true;
}

void kviewer_pump(struct kviewer *v)
{
	int rc;
	while (!v->closed) {
		if (v->out.len && !kviewer_flush(v))
			return;
		if (!v->attached || !kviewer_put_gap(v))
			return;
		while ((rc = kviewer_put_data(v)) > 0 && v->out.len < OUT_FULL)
			;
		if (rc < 0) {
			log_warn("session %s: its log cannot be read", v->k->plan.id);
			kviewer_close(v);
			return;
		}
		if (!v->out.len && !kviewer_put_exit(v))
			return;
	}
}

void kviewer_pump_all(struct kernel *k)
{
	LIST_FOREACH_SAFE (it, &k->viewers)
		kviewer_pump(list_entry(it, struct kviewer, node));
}

/* ---- in ---- */

static int kviewer_attach(struct kviewer *v, struct kernel_attach want)
{
	struct kernel *k = v->k;
	struct journal *j = &k->journal;
	uint64_t next = journal_next(j), from = want.from_off;
	struct kernel_attached a = {.first_off = j->base_off, .end_off = next};
	struct buf snapshot;
	if (!v->attached && kernel_attached_count(k) >= TL_LIMIT_KERNEL_VIEWERS)
		return TL_E_LIMIT;
	if (from == KERNEL_FROM_TAIL)
		from = next > want.tail_bytes ? next - want.tail_bytes : 0;
	a.from_off = journal_boundary(j, from);
	/* forgotten; or no beginning of a record, which only a viewer that lost count asks for */
	if (want.from_off != KERNEL_FROM_TAIL && a.from_off > from)
		a.flags |= KERNEL_GAP;
	v->cursor_off = v->acked_off = a.from_off;
	v->window_bytes = want.window_bytes;
	v->exit_sent = false;
	buf_init(&snapshot, TL_LIMIT_KERNEL_SNAPSHOT);
	if (kernel_snapshot(k, &snapshot) != 0) {
		buf_clear(&snapshot);
		buf_put_str(&snapshot, "{}");
	}
	int rc = kernel_put_attached(&v->out, &a);
	rc = rc ? rc : kernel_put_pieces(&v->out, KERNEL_FRAME_SNAPSHOT, buf_data(&snapshot));
	buf_fini(&snapshot);
	if (!v->attached) {
		v->attached = true;
		count(k, false);
	}
	return rc;
}

/* Sends one message of a viewer. 1: done; 0: the kernel takes none now; negative: nonsense. */
static int kviewer_message(struct kviewer *v, const struct kernel_record *r)
{
	struct kernel *k = v->k;
	struct jupyter_head head;
	struct tl_bytes *parts;
	bool known = r->channel == JUPYTER_SHELL || r->channel == JUPYTER_CONTROL ||
		     r->channel == JUPYTER_STDIN;
	if (r->kind != KERNEL_RECORD_MESSAGE || r->count < JUPYTER_PARTS || !known ||
	    jupyter_head_parse(kernel_record_part(r, JUPYTER_HEADER), &head) != 0 || !head.id[0] ||
	    !head.type[0])
		return TL_E_PROTO;
	/* a dead kernel answers nothing; the snapshot and STATE say that it is dead */
	if (k->phase == KERNEL_DEAD || k->phase == KERNEL_OVER)
		return 1;
	if (k->phase == KERNEL_STARTING || k->stop == KERNEL_STOP_RESTART ||
	    !kernel_chan_takes(&k->chan[r->channel]))
		return 0;
	parts = calloc(r->count, sizeof(*parts));
	if (!parts)
		return TL_E_NOMEM;
	for (size_t i = 0; i < r->count; i++)
		parts[i] = kernel_record_part(r, i);
	if (kernel_track_sent(&k->track, (enum jupyter_channel)r->channel, &head,
			      parts[JUPYTER_CONTENT], clock_wall_ms())) {
		if (r->channel == JUPYTER_STDIN)
			kernel_log_state(k, "input answered", "by", head.session);
		int rc = kernel_chan_send(&k->chan[r->channel], parts, r->count);
		free(parts);
		return rc ? rc : 1;
	}
	free(parts);
	return 1;
}

/* Passes on what has arrived whole. 1: all of it; 0: the kernel takes none now. */
static int kviewer_messages(struct kviewer *v)
{
	struct kernel_record r;
	size_t used;
	int rc;
	while ((rc = kernel_record_next(buf_data(&v->record), &r, &used)) == 1) {
		rc = kviewer_message(v, &r);
		if (rc <= 0)
			return rc;
		buf_consume(&v->record, used);
	}
	if (rc == 0) {
		buf_shrink(&v->record);
		return 1;
	}
	return rc;
}

/* Obeys one frame. 1: done; 0: it has to wait; negative: close. */
static int kviewer_frame(struct kviewer *v, const struct kernel_frame *f)
{
	uint64_t off;
	int rc;
	switch (f->type) {
	case KERNEL_FRAME_ATTACH:
		rc = kviewer_attach(v, kernel_get_attach(f->payload));
		return rc ? rc : 1;
	case KERNEL_FRAME_SEND:
		/* what came before must have gone */
		rc = kviewer_messages(v);
		if (rc <= 0)
			return rc;
		rc = buf_put(&v->record, f->payload.p, f->payload.n);
		if (!rc)
			rc = kviewer_messages(v);
		return rc < 0 ? rc : 1;
	case KERNEL_FRAME_ACKED:
		off = kernel_get_offset(f->payload);
		off = off > v->cursor_off ? v->cursor_off : off;
		if (v->attached && off > v->acked_off)
			v->acked_off = off;
		return 1;
	case KERNEL_FRAME_CALL:
		kernel_call(v, f->payload);
		return 1;
	case KERNEL_FRAME_LEAVE:
		v->left = true;
		return 1;
	default:
		return f->known ? TL_E_PROTO : 1; /* a newer viewer's frame: skipped */
	}
}

/* One step: 1 go on, 0 nothing to do now, negative: close. */
static int kviewer_step(struct kviewer *v)
{
	struct kernel_frame f;
	size_t n;
	int rc;
	if (v->out.len >= OUT_FULL)
		return 0; /* answers must not pile up */
	rc = kernel_frame_next(buf_data(&v->in), KERNEL_FROM_VIEWER, &f, &n);
	if (rc <= 0)
		return rc;
	/* the payload is borrowed from the buffer: obey first */
	rc = kviewer_frame(v, &f);
	if (rc > 0 && !v->closed)
		buf_consume(&v->in, n);
	return rc;
}

void kviewer_obey(struct kviewer *v)
{
	int rc = 1;
	if (!v->closed && v->record.len)
		rc = kviewer_messages(v);
	rc = rc < 0 ? rc : 1;
	while (!v->closed && rc > 0 && (rc = kviewer_step(v)) > 0)
		kviewer_pump(v);
	if (v->closed)
		return;
	if (rc < 0) {
		log_warn("session %s: a viewer was turned away: %s", v->k->plan.id,
			 err_row(rc)->what);
		kviewer_close(v);
		return;
	}
	/* it said all it wanted to say; only who waits for an answer is kept for it */
	if (v->ended && !v->out.len && v->waits == KVIEWER_WAITS_NONE) {
		kviewer_close(v);
		return;
	}
	io_want_read(&v->io, !v->ended && buf_room(&v->in) >= KERNEL_FRAME_MAX);
	buf_shrink(&v->in);
}

void kviewer_obey_all(struct kernel *k)
{
	LIST_FOREACH_SAFE (it, &k->viewers)
		kviewer_obey(list_entry(it, struct kviewer, node));
}

static void kviewer_readable(void *ctx)
{
	struct kviewer *v = ctx;
	uint8_t *p =
	    buf_room(&v->in) >= KERNEL_FRAME_MAX ? buf_reserve(&v->in, KERNEL_FRAME_MAX) : NULL;
	if (!p) {
		io_want_read(&v->io, false); /* kviewer_obey asks again */
		return;
	}
	long n = io_read(&v->io, p, KERNEL_FRAME_MAX);
	if (n == TL_E_AGAIN)
		return;
	if (n <= 0)
		v->ended = true;
	else
		buf_commit(&v->in, (size_t)n);
	kviewer_obey(v);
	if (!v->closed)
		kviewer_pump(v);
}

static void kviewer_writable(void *ctx)
{
	struct kviewer *v = ctx;
	struct kernel *k = v->k;
	kviewer_pump(v);
	if (!v->closed)
		kviewer_obey(v);
	kernel_reconsider(k);
}

void kviewer_accept(struct kernel *k, int fd)
{
	uid_t uid;
	struct kviewer *v = NULL;
	if (peer_uid(fd, &uid) != 0 || uid != getuid() ||
	    k->viewer_count >= TL_LIMIT_KERNEL_VIEWERS + GUESTS)
		goto fail;
	v = calloc(1, sizeof(*v));
	if (!v)
		goto fail;
	v->k = k;
	buf_init(&v->in, IN_MAX);
	buf_init(&v->out, OUT_MAX);
	buf_init(&v->record, KERNEL_RECORD_MAX + KERNEL_PAYLOAD);
	if (io_open(&k->loop, &v->io, fd, fd, kviewer_readable, kviewer_writable, v) != 0)
		goto fail;
	list_add_tail(&k->viewers, &v->node);
	k->viewer_count++;
	return;
fail:
	free(v);
	close(fd);
}
