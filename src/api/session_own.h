/* session_own.h - an ssh of our own in a thread: the thread has a loop with one dial, one session
 * and its pump, and a relay for each stream between the session and a socket pair whose other end
 * the caller reads and writes. Only for session_own*.c.
 *
 * Threads: what stands below `shared` is guarded by lock; everything above belongs to the loop's
 * thread. Other threads put requests and answers there and wake the loop. */
#ifndef TL_API_SESSION_OWN_H
#define TL_API_SESSION_OWN_H

#include "api/place.h"
#include "api/session_priv.h"
#include "base/list.h"
#include "dial/conn_relay.h"
#include "dial/dial.h"
#include "dial/master.h"
#include "dial/pump.h"
#include "loop/io.h"
#include "loop/wake.h"

#define RELAY_CHUNK   65536
#define RELAY_LINGER  5000 /* ms for a stream whose user has gone without reading its end */
#define OWN_TASKS     4096 /* lines and questions that wait for the connecting thread */
#define OWN_BYE_MS    3000 /* for the host to hear that we leave */
#define OWN_REASON_MS 500  /* for ssh to say why the bytes ended */

enum own_state { OWN_CONNECTING, OWN_UP, OWN_LOST };

/* An answer that a later login of the same attempt may need again. */
struct own_answer {
	int login; /* in which it was given */
	enum tl_prompt_kind kind;
	char *text, *answer; /* owned */
};
#define OWN_ANSWERS 8

/* A line for the log, or a question of ssh, for the thread that connects. */
struct own_task {
	struct list node;
	int level;  /* of a line; -1: a question */
	char *text; /* owned */
	enum tl_prompt_kind kind;
	int attempt;
	struct dial_prompt *prompt; /* loop's thread only; NULL when taken back */
	bool taken;                 /* the caller is being asked */
	char *answer;               /* owned; NULL: canceled */
};

struct session_own {
	struct tl_session *session;
	struct loop loop;
	struct loop_wake wake;
	struct loop_timer timer; /* reason of a loss, end of the farewell */
	struct dial *dial;
	struct session *core;
	struct pump pump;
	/* a host without our program: session_plain.c */
	struct plain *plain;
	struct loop_timer patience;
	struct master_silent silent;
	bool given_only; /* this login is with the key given, and nothing else */
	bool given_tried;
	bool spoken; /* our line runs there */
	bool plain_tried, sftp_only;
	struct tl_err plain_why;
	struct io stop; /* the caller's cancel token, while connecting */
	struct place_files files;
	char *install_path; /* of the user's settings; NULL: the usual place */
	char run_dir[TL_LIMIT_PATH + 64];
	bool channels;            /* ssh takes further channels there. Fixed before UP */
	bool noise;               /* the login shell prints. Fixed before UP */
	struct list relays;       /* of struct own_relay: on a stream */
	struct list waiting;      /* without a stream yet */
	struct conn_relays conns; /* connections of tunnels */
	struct list carried;      /* their requests: struct own_carry */
	bool leaving, closed;
	uint8_t chunk[RELAY_CHUNK];
	/* shared */
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	enum own_state state;
	struct tl_err why;
	struct list requests;   /* of struct own_relay */
	struct list carries;    /* of struct own_carry */
	struct list carry_ends; /* of struct session_carrier */
	struct list tasks;      /* of struct own_task, for the connecting thread */
	struct list asked;      /* questions taken by it or answered */
	size_t task_count;
	int login; /* counts from 0 */
	bool quit;
	/* the connecting thread's only */
	struct own_answer answers[OWN_ANSWERS];
	size_t n_answers;
};

/* One stream. */
struct own_relay {
	struct pump_user user; /* of its stream */
	struct list node;
	struct session_own *own;
	struct io io;
	struct loop_timer linger;
	struct session_stream *stream;
	int fd;     /* until the loop has it */
	char *line; /* opening object and LF, until it is sent */
	enum session_class cls;
	bool abrupt; /* its end without FIN means: stop at once (a command) */
	bool fd_eof, host_eof, hup, dead;
	uint8_t *rest; /* read from the caller, not taken by the stream */
	size_t rest_off, rest_n;
	int closing;
};

/* session_relay.c; loop's thread */
struct own_relay *relay_new(const char *open_json, int fd, struct tl_err *err);
/* Takes a request: a stream now, or as soon as one is free. */
void relay_begin(struct session_own *o, struct own_relay *r);
/* Gives streams to those that wait. */
void relay_serve(struct session_own *o);
void relay_end(struct own_relay *r);
void relay_end_all(struct session_own *o);
/* A request the loop never saw. */
void relay_free(struct own_relay *r);

/* session_carry.c; the first three are the loop's thread's */
void carry_init(struct session_own *o);
/* Takes requests of other threads. */
void carry_wake(struct session_own *o);
/* The session is lost: ends all connections. */
void carry_lost(struct session_own *o);
/* As session_carry and session_carry_end. */
int own_carry(struct tl_session *s, struct session_carrier *carrier, void *ctx, int fd,
	      const char *open_json, struct tl_bytes first, struct tl_err *err);
void own_carry_end(struct tl_session *s, struct session_carrier *carrier);

/* session_own.c; loop's thread */
void own_tell(struct session_own *o, int level, const char *text);
void own_set_state(struct session_own *o, enum own_state state, const struct tl_err *why);
/* The connection, or the attempt, is over. */
void own_lose(struct session_own *o, const struct tl_err *why);
void own_drop_dial(struct session_own *o);
/* The caller's token counts while tl_connect waits. */
void own_unwatch_cancel(struct session_own *o);
/* session_login.c: one more login */
void own_begin(struct session_own *o);

/* session_plain.c; loop's thread but for the last */
/* Masters of the user: of the configuration, or an option of the caller. */
/* How this attempt may end without our program: members of t. ctl: room for the control path. */
void own_plain_target(struct session_own *o, struct dial_target *t, char *ctl, size_t n);
/* The login is there, the program is not. 0: o->plain serves the session. */
int own_plain_begin(struct session_own *o, const struct tl_err *why, struct tl_err *err);
/* Of the timer `patience`: nothing was said yet. */
void own_plain_patience(void *ctx);
/* ssh is in; some hosts say nothing from here on. */
void own_plain_logged_in(struct session_own *o);
/* May it be tried once more, without our program? */
bool own_plain_again(struct session_own *o, const struct tl_err *why);
/* Streams of the lost connection end. */
void own_plain_lost(struct session_own *o);
void own_plain_stop(struct session_own *o);
int own_plain_open(struct tl_session *s, const char *open_json, struct tl_cancel *cancel,
		   uint64_t deadline_ms, int *ret_fd, char **ret_ok, struct tl_err *err);

const char *own_plain_why(struct tl_session *s);
int own_plain_sh(struct tl_session *s, struct tl_bytes lines, struct strv *argv,
		 struct tl_err *err);

/* session_lane.c */
/* Before the login, behind own_plain_target: may ssh take further channels? */
void own_lane_target(struct session_own *o, struct dial_target *t, char *ctl, size_t n);
int own_lane(struct tl_session *s, const char *command, struct strv *argv, struct tl_err *err);

/* session_tasks.c */
/* With the lock held; level -1: a question. NULL: too many, or no memory. */
struct own_task *task_put(struct session_own *o, int level, const char *text);
void task_free(struct own_task *t);
/* Runs the caller's functions until the connection is up or failed. 0 or the reason. */
int task_wait_up(struct session_own *o, struct tl_err *err);

/* session_facts.c; caller holds no lock */
void facts_line(struct tl_session *s, const char *line);

#endif
