/* hold_state.h - inside of a hold: the terminal and its viewers. Private to host/hold*.c.
 *
 * Every byte the program writes rests in one place, the log. A viewer has no queue of its own: it
 * is a cursor into the log plus at most one frame under way. Invariants:
 *   - log.base_off <= cursor <= log.next_off, except while `rest` carries a frame the log dropped;
 *   - control frames are flags until the moment they are written, so they cannot pile up;
 *   - the pty is read only while hold_may_read() allows it. */
#ifndef TL_HOST_HOLD_STATE_H
#define TL_HOST_HOLD_STATE_H

#include "base/limits.h"
#include "base/list.h"
#include "base/ring.h"
#include "host/hold_spec.h"
#include "host/hold_title.h"
#include "loop/child.h"
#include "loop/io.h"
#include "loop/sock.h"
#include "wire/hold_frame.h"

struct hold;

/* What one viewer typed, over all of its connections. */
struct input_seq {
	uint64_t id, took_off;  /* every byte below took_off went to the program */
	uint64_t used;          /* when it was named last, as a count; 0: a free place */
	struct viewer *speaker; /* the connection that counts, NULL: none now */
};

struct viewer {
	struct hold *hold;
	struct list node;
	struct io io;
	struct buf in;  /* frames not yet obeyed, at most one and a bit */
	struct buf out; /* control frame or header under way, or what the log dropped of a frame */
	uint64_t cursor_off, acked_off;
	uint32_t frame_left;   /* bytes of the DATA frame under way that are still in the log */
	uint32_t window_bytes; /* 0: no credit asked */
	uint32_t input_left;   /* bytes of the INPUT frame under way */
	struct input_seq *seq; /* NULL: it gave no id, its input is not counted */
	uint64_t input_off;    /* of the next INPUT byte of this connection */
	uint64_t told_off;     /* up to here its input is acknowledged */
	uint64_t moved_ms;     /* last time it took or acknowledged something */
	struct hold_attach attach;
	bool attached, attach_wanted, size_wanted, info_wanted, skip_wanted, exit_sent;
	bool told_wanted; /* INPUT_ACKED, now */
	bool replaced;    /* its viewer came again: nothing from here counts any more */
	bool ended;       /* it sends no more: obeyed to the end, then closed */
	bool closed;
};

struct hold {
	struct loop loop;
	struct hold_plan plan;
	char path[TL_LIMIT_PATH];
	struct listener listener[2]; /* the second one while the first is being replaced */
	unsigned listening;          /* index of the one in use */
	struct ring log;
	struct hold_title title;
	struct io pty;
	bool pty_open;
	struct child child;
	pid_t pid; /* the program's, kept after its end */
	struct hold_size size;
	struct list viewers;
	unsigned viewer_count;
	struct viewer *input_owner; /* whose INPUT frame is half way into the pty */
	bool input_waits;           /* the pty takes nothing now */
	struct input_seq inputs[TL_LIMIT_TERM_INPUT_IDS];
	uint64_t inputs_used; /* counts INPUT_ID frames */
	bool telling;         /* the timer teller runs */
	bool exited;          /* program over */
	bool pty_dead;        /* no process has the terminal open just now */
	bool over;            /* the loop was told to stop */
	bool end_seen;        /* a viewer got EXIT and left */
	bool ended;           /* nothing more will come into the log */
	bool dropped;         /* somebody wants it gone */
	struct hold_exit exit;
	uint64_t started_ms;
	unsigned linger_rounds;
	struct loop_timer silent; /* looks again whether the program may be read */
	struct loop_timer linger; /* after the program's end: for its last bytes */
	struct loop_timer killer; /* SIGHUP was not enough */
	struct loop_timer keep;   /* an ended terminal's patience */
	struct loop_timer hourly; /* is the socket's file still there? */
	struct loop_timer teller; /* acknowledges input that got no answer */
	struct loop_timer fence;  /* closes the connections that were replaced */
	struct loop_signal on_term, on_usr1;
};

/* ---- hold.c ---- */
/* Reads what the program wrote while that is allowed, and passes it on. */
void hold_read_pty(struct hold *h);
/* A viewer moved, came or went: perhaps the program may be read again, perhaps all is over.
 * Touches no viewer, so it may be called while the list is walked. */
void hold_reconsider(struct hold *h);
void hold_resize(struct hold *h, struct viewer *from, struct hold_size size);
/* Signal to the foreground process group. */
void hold_signal(struct hold *h, int signo);
/* SIGHUP now, SIGKILL later, log forgotten. */
void hold_drop(struct hold *h);

/* ---- hold_info.c ---- */
/* TermInfo as JSON, at most TERM_FRAME bytes. */
int hold_info(struct hold *h, struct buf *out);
/* Viewers proper, without connections that only ask. */
unsigned hold_attached_count(const struct hold *h);

/* ---- hold_session.c ---- */
/* Signal to every process of a session. */
void hold_session_signal(pid_t session, int signo);

/* ---- hold_input.c ---- */
void hold_input_init(struct hold *h);
/* Obeys INPUT_ID. false: it makes no sense. */
bool viewer_input_id(struct viewer *v, struct hold_input_id i);
/* Passes INPUT bytes to the program. true: the frame is done; false: wait for the pty. */
bool viewer_input(struct viewer *v);
/* Forgets that v speaks for its input. */
void viewer_input_close(struct viewer *v);
/* Appends INPUT_ACKED to v->out where something is to be told. */
void viewer_put_told(struct viewer *v);

/* ---- hold_viewer.c ---- */
/* Takes fd; a full house, or another user's process, is turned away. */
void viewer_accept(struct hold *h, int fd);
void viewer_close(struct viewer *v);
/* Writes what there is to write and may be written. */
void viewer_pump(struct viewer *v);
/* Obeys what it has sent so far. */
void viewer_obey(struct viewer *v);
/* The log is about to forget everything below off. */
void viewer_rescue(struct viewer *v, uint64_t off);
/* Attached and not silent: the program waits for it. */
bool viewer_is_live(const struct viewer *v, uint64_t now_ms);

#endif
