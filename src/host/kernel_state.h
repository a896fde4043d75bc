/* kernel_state.h - inside of a session's hold. Private to host/kernel_*.c.
 *
 * Every message the kernel sends rests in one place, the journal; a viewer is a cursor into it and
 * a bounded piece under way. Invariants:
 *   - the kernel's sockets are always read, whatever viewers do: its PUB socket drops what waits;
 *   - journal.base_off <= cursor <= journal_next(), except for a viewer that is about to get GAP;
 *   - messages of our own (session k->session) appear neither in the journal nor in `track`;
 *   - a process that is asked to end is asked once, then told, then killed. */
#ifndef TL_HOST_KERNEL_STATE_H
#define TL_HOST_KERNEL_STATE_H

#include "base/limits.h"
#include "base/list.h"
#include "host/journal.h"
#include "host/kernel_plan.h"
#include "host/kernel_policy.h"
#include "host/kernel_track.h"
#include "loop/child.h"
#include "loop/io.h"
#include "loop/sock.h"
#include "wire/kernel_frame.h"
#include "wire/zmtp.h"

#define KERNEL_CHUNK 65536
#define KERNEL_KEY   64 /* hexadecimal digits */

struct kernel;

enum kernel_phase {
	KERNEL_STARTING, /* a process is there and has not answered yet */
	KERNEL_READY,
	KERNEL_DEAD, /* no process; the session is kept and can be restarted */
	KERNEL_OVER, /* the session ends: viewers get the rest */
};

/* What is to come after the process has ended. */
enum kernel_stop { KERNEL_STOP_NONE, KERNEL_STOP_RESTART, KERNEL_STOP_END };

/* One connection to the kernel; heap, freed when its handle is closed. */
struct kernel_conn {
	struct kernel_chan *chan; /* NULL: given up */
	struct io io;
	struct zmtp zmtp;
	bool greeted; /* greeting and READY have been written */
};

struct kernel_chan {
	struct kernel *k;
	enum jupyter_channel which;
	struct kernel_conn *conn; /* NULL: not connected */
	struct buf out;           /* messages for the kernel */
	struct loop_timer retry;
	unsigned tries;
};

/* The process's own standard output or error; heap likewise. */
struct kernel_pipe {
	struct kernel *k; /* NULL: given up */
	struct io io;
	uint8_t which; /* 1, 2 */
};

/* What a CALL that is answered later waits for. */
enum kviewer_waits { KVIEWER_WAITS_NONE, KVIEWER_WAITS_START, KVIEWER_WAITS_END };

struct kviewer {
	struct kernel *k;
	struct list node;
	struct io io;
	struct buf in;     /* frames not yet obeyed */
	struct buf out;    /* frames under way */
	struct buf record; /* of SEND, until it is whole */
	uint64_t cursor_off, acked_off;
	uint32_t window_bytes; /* 0: no credit asked */
	bool attached, exit_sent, left, ended, closed;
	enum kviewer_waits waits;
};

struct kernel {
	struct loop loop;
	struct kernel_plan plan;
	char path[TL_LIMIT_PATH];
	struct listener listener[2]; /* the second one while the first is being replaced */
	unsigned listening;
	struct journal journal;
	struct kernel_track track;
	struct kernel_policy policy;
	enum kernel_phase phase;
	enum kernel_stop stop;
	unsigned stop_step; /* asked, SIGTERM, SIGKILL */
	char key[KERNEL_KEY + 1], session[33];
	int port[JUPYTER_CHANNELS];
	char *public_file; /* our connection file's name in Jupyter's runtime folder, or NULL */
	struct kernel_chan chan[JUPYTER_CHANNELS];
	struct kernel_pipe *pipe[2];
	struct child child;
	pid_t pid; /* the process's, kept after its end */
	bool has_exit;
	struct kernel_exit exit;
	struct ring output;                         /* the end of what the process itself printed */
	size_t output_left;                         /* of it that still goes into the journal */
	bool shell_answers, iopub_answers, answers; /* the process has answered on them */
	uint64_t started_ms, heard_ms, pinged_ms;   /* heard: last heartbeat; pinged: 0 none */
	unsigned restarts, nudges;
	struct list viewers; /* of struct kviewer */
	unsigned viewer_count;
	bool answered; /* whoever started us knows */
	bool loop_ended, beating;
	struct loop_timer nudge, answer, stopper, due, heartbeat, keep, hourly;
	struct loop_signal on_term, on_usr1;
	uint8_t chunk[KERNEL_CHUNK]; /* within one callback only */
};

/* ---- kernel_hold.c ---- */
/* Something changed: policy, viewers, end. */
void kernel_reconsider(struct kernel *k);
/* Starting came to its end, well (err NULL) or not: whoever waits for it is told. */
void kernel_start_done(struct kernel *k, const struct tl_err *err);
/* The session is over: viewers get the rest, then the loop ends. */
void kernel_over(struct kernel *k);

/* ---- kernel_process.c ---- */
/* Its timers. */
void kernel_process_init(struct kernel *k);
/* Makes folder and connection file and starts the process. 0 or TL_E_* with a sentence. */
int kernel_process_start(struct kernel *k, struct tl_err *err);
/* Asks it to end; then comes what `after` says. A dead one is restarted or over at once. */
void kernel_process_stop(struct kernel *k, enum kernel_stop after);
/* As its kernelspec wants it. 0 or TL_E_CLOSED. */
int kernel_process_interrupt(struct kernel *k);
/* Removes connection file, sockets and folder. */
void kernel_process_clean(struct kernel *k);

/* ---- kernel_connection.c ---- */
/* Ports or socket names, key, and the files that name them. */
int kernel_connection_write(struct kernel *k, struct tl_err *err);
/* What stands in the connection file, key included. 0, TL_E_LIMIT, TL_E_NOMEM. */
int kernel_connection_put(struct kernel *k, struct buf *out);
/* Path of a channel's unix socket. */
void kernel_connection_path(const struct kernel *k, enum jupyter_channel c, char *out, size_t n);
void kernel_connection_remove(struct kernel *k);

/* ---- kernel_chan.c ---- */
void kernel_chan_init(struct kernel *k);
/* Begins to connect all of them. */
void kernel_chan_open(struct kernel *k);
void kernel_chan_close(struct kernel *k);
/* Queues a message of a viewer or of ours: header, parent, metadata, content, buffers. 0,
 * TL_E_LIMIT (too much waits), TL_E_NOMEM. */
int kernel_chan_send(struct kernel_chan *c, const struct tl_bytes *parts, size_t n);
/* A request of our own without parent. */
int kernel_chan_ask(struct kernel_chan *c, const char *type, const char *content);
/* Takes messages, is there room? */
bool kernel_chan_takes(const struct kernel_chan *c);
/* A heartbeat, where the last one has been answered. */
void kernel_chan_ping(struct kernel *k);

/* ---- kernel_log.c ---- */
/* A message of the kernel, n parts with delimiter and signature. */
void kernel_log_message(struct kernel *k, enum jupyter_channel c, const struct tl_bytes *parts,
			size_t n);
/* A message that was too large went by. */
void kernel_log_lost(struct kernel *k, const char *channel, uint64_t bytes, const char *reason);
void kernel_log_output(struct kernel *k, uint8_t which, struct tl_bytes text);
/* A STATE record: {"state":state, key: value}; key and value may be NULL. */
void kernel_log_state(struct kernel *k, const char *state, const char *key, const char *value);

/* ---- kernel_info.c ---- */
const char *kernel_state_name(const struct kernel *k);
bool kernel_is_busy(const struct kernel *k);
/* KernelInfo, KernelSnapshot as JSON. 0, TL_E_LIMIT, TL_E_NOMEM. */
int kernel_info(struct kernel *k, struct buf *out);
int kernel_snapshot(struct kernel *k, struct buf *out);
/* What the process printed last, malloc'ed, at most n bytes of it, valid UTF-8. */
char *kernel_output_tail(const struct kernel *k, size_t n);
unsigned kernel_attached_count(const struct kernel *k);

/* ---- kernel_viewer.c ---- */
void kviewer_accept(struct kernel *k, int fd);
void kviewer_close(struct kviewer *v);
/* Writes what there is to write and may be written. */
void kviewer_pump(struct kviewer *v);
/* Obeys what it has sent so far. */
void kviewer_obey(struct kviewer *v);
/* For all of them: there is something new. */
void kviewer_pump_all(struct kernel *k);
/* For all of them: the kernel takes messages again. */
void kviewer_obey_all(struct kernel *k);

/* ---- kernel_call.c ---- */
/* Obeys a CALL; the answer comes at once or later. */
void kernel_call(struct kviewer *v, struct tl_bytes json);
/* The answer to those that waited for it: KernelInfo or err for a start, {} for the end. */
void kernel_call_done(struct kernel *k, enum kviewer_waits what, const struct tl_err *err);

#endif
