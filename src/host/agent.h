/* agent.h - the agent's parts and how they know each other. For src/host/agent*.c only.
 *
 * Ownership: the agent owns connections and links; a link owns its session and streams and borrows
 * its connection; a connection owns its descriptors and borrows its link; a stream borrows its
 * session stream and owns its service's state. Nothing is freed inside its own callback. */
#ifndef TL_HOST_AGENT_H
#define TL_HOST_AGENT_H

#include "base/buf.h"
#include "base/limits.h"
#include "base/list.h"
#include "core/session.h"
#include "host/handshake.h"
#include "host/rundir.h"
#include "loop/child.h"
#include "loop/io.h"
#include "loop/loop.h"
#include "loop/sock.h"
#include "wire/json.h"
#include "wire/link_frame.h"

/* Bytes between a descriptor and a session; used within one callback only. */
#define AGENT_CHUNK       65536
#define AGENT_CONNECTIONS (2 * TL_LIMIT_LINK_MAX)
#define AGENT_TURN_BYTES                                                                           \
	(4 * AGENT_CHUNK) /* what one source may move before others have a turn                    \
			   */

/* A terminal and the link that attached to it last. */
struct agent_attach {
	char term[40];
	struct agent_link *link;
};

/* Pages asked for by programs of the host (agent_url.c). */
struct agent_urls {
	struct agent_attach attached[TL_LIMIT_TERMS]; /* the newest at the end */
	size_t attached_count;
	unsigned opened; /* pages that still count, as of counted_ms */
	uint64_t counted_ms;
};

struct agent_stream;
struct rpc_call;

/* An agent that stands in, on another machine, for one on a host that cannot run it
 * (src/standin/): what it does in its own way. */
struct agent_stand_in {
	/* As service.open; AGENT_USUAL: in the usual way. */
	int (*open)(struct agent_stream *s, const char *name, yyjson_val *request,
		    struct tl_err *err);
	/* Takes the call; false: in the usual way. */
	bool (*method)(struct rpc_call *c);
};
#define AGENT_USUAL 2

struct agent {
	struct loop loop;
	struct listener listener;
	struct loop_signal on_term, on_int, on_hup;
	struct loop_timer idle, ending;
	struct list conns, links;
	size_t conn_count, link_count, helper_count;
	struct loop_timer tidy; /* once, some time after the start: versions nobody uses go */
	struct rundir run;
	const char *forced_run_dir; /* --run-dir, or NULL */
	char socket_path[RUNDIR_SOCKET_MAX + 1];
	uint64_t idle_ms, started_ms;
	bool stopping;
	/* Set in `serve`: one client on our own standard streams. Called once, when it has left;
	 * the loop then ends by itself with the last child. */
	void (*on_single_over)(struct agent *a);
	const struct agent_stand_in *stand_in; /* NULL: this is the host */
	void *stand_in_ctx;
	bool bye; /* a client took leave */
	struct agent_urls urls;
	uint8_t *chunk; /* AGENT_CHUNK bytes */
};

enum conn_state {
	CONN_LINE,  /* waits for the bridge's first line */
	CONN_FDS,   /* waits for its descriptors */
	CONN_GO,    /* waits for "go" */
	CONN_HELLO, /* waits for the client's HELLO */
	CONN_LIVE,  /* carries a link */
	CONN_CLOSED,
};

/* One bridge and, from "go" on, the transport it brought. */
struct conn {
	struct agent *agent;
	struct list node;
	struct io sock;       /* to the bridge */
	struct io data;       /* the passed descriptors; unused when splicing */
	struct io *transport; /* &sock or &data, NULL before there is one */
	struct loop_timer deadline;
	enum conn_state state;
	bool splice, full; /* full: the kernel takes no more now */
	struct buf in;     /* line, "go" or HELLO being collected */
	struct agent_link *link;
	bool answered;  /* the last word was said */
	int open_parts; /* handles to be closed before the memory goes */
};

/* One client: a session that outlives its transports. */
struct agent_link {
	struct agent *agent;
	struct list node;
	struct session *session;
	struct conn *conn; /* NULL while away */
	struct loop_timer timer;
	struct list streams;
	uint64_t timer_at_ms, slept_ms;
	uint8_t id[LINK_ID_SIZE];
	char name[9]; /* first digits of id, for the log */
	bool pumping, again, over;
};

/* What can be opened: a row of the services table (agent_stream.c). */
struct service {
	const char *name;
	enum session_class cls;
	/* Starts serving. 0: the caller writes the answer line; 1: the service does it; or TL_E_*
	 * with a sentence. */
	int (*open)(struct agent_stream *s, const struct service *svc, yyjson_val *request,
		    struct tl_err *err);
};

/* A service's side of a stream; all callbacks come from the link's pump. */
struct stream_ops {
	void (*readable)(struct agent_stream *s); /* bytes, or the peer's end */
	void (*writable)(struct agent_stream *s);
	void (*closed)(struct agent_stream *s); /* last call; s->st is still valid memory */
};

struct agent_stream {
	struct agent_link *link;
	struct list node;
	struct session_stream *st;
	const struct stream_ops *ops;
	void *state;      /* the service's */
	struct buf line;  /* the opening line while it arrives */
	size_t discarded; /* bytes thrown away after a refusal */
	pid_t tell_pid;   /* of the child that serves it, where the answer names it */
};

/* agent.c */
int agent_main(int argc, char **argv);
/* Ends everything: BYE(code) to all, then the loop stops. */
void agent_stop(struct agent *a, int code, const char *why);
/* Something ended: starts or restarts the idle time. */
void agent_idle_check(struct agent *a);

/* agent_conn.c */
void conn_accept(void *agent, int fd);
/* One connection without a bridge: rfd and wfd carry the link. Takes them. 0, or TL_E_* and they
 * stay the caller's. */
int conn_serve(struct agent *a, int rfd, int wfd);
/* Closes both descriptors; the bridge is told code and why. */
void conn_close(struct conn *c, int code, const char *why);

/* agent_link.c */
/* A transport with a valid HELLO: finds or makes the link, or answers BYE and closes c. */
void agent_link_adopt(struct agent *a, struct conn *c, const uint8_t id[LINK_ID_SIZE],
		      uint32_t epoch);
/* Bytes may be waiting on the transport. */
void agent_link_readable(struct agent_link *lk);
/* The transport is gone (already closed or not). */
void agent_link_transport_lost(struct agent_link *lk, const char *why);
/* Runs the link until nothing moves; safe from anywhere, also from inside. */
void agent_link_kick(struct agent_link *lk);
/* BYE, then everything of the link ends. */
void agent_link_end(struct agent_link *lk, int code, const char *why);

/* agent_stream.c */
struct agent_stream *stream_new(struct agent_link *lk, struct session_stream *st);
void stream_readable(struct agent_stream *s);
void stream_writable(struct agent_stream *s);
/* Ends the service and frees s. */
void stream_closed(struct agent_stream *s);
/* For a service that answers later: the ok line, after which it is told what came meanwhile (false:
 * it could not be written), or the error line. */
bool stream_accept(struct agent_stream *s);
/* The same with an answer, as JSON text. */
bool stream_accept_with(struct agent_stream *s, const char *ok);
void stream_refuse(struct agent_stream *s, const struct tl_err *err);

/* agent_relay.c: services that are a descriptor */
int relay_open_child(struct agent_stream *s, const struct service *svc, yyjson_val *request,
		     struct tl_err *err);
/* A program whose standard input and output are the stream (spec's descriptors 0 and 1 are set
 * here); what: for sentences. */
int relay_open_program(struct agent_stream *s, struct child_spec *spec, const char *what,
		       struct tl_err *err);
/* A connected socket, taken, that is no connection of somebody's: its end is an end. */
int relay_open_fd(struct agent_stream *s, int fd, struct tl_err *err);
/* Process of a stream that relay_open_child has opened. */
pid_t relay_child_pid(const struct agent_stream *s);
/* The same for a face that reads the opening line and answers it: 1 or TL_E_*. */
int relay_open_answering(struct agent_stream *s, const struct service *svc, yyjson_val *request,
			 struct tl_err *err);
int relay_open_term(struct agent_stream *s, const struct service *svc, yyjson_val *request,
		    struct tl_err *err);
int relay_open_kernel(struct agent_stream *s, const struct service *svc, yyjson_val *request,
		      struct tl_err *err);
/* A connected socket, taken; resets are passed on. The caller answers. */
int relay_open_socket(struct agent_stream *s, int fd, struct tl_err *err);

/* agent_connect.c: answers by itself, so 1 or TL_E_* */
int connect_open(struct agent_stream *s, const struct service *svc, yyjson_val *request,
		 struct tl_err *err);

/* serve.c: a server for one client, on our own standard input and output. */
int serve_begin(struct agent *a, void (*on_over)(struct agent *a), struct tl_err *err);
/* Its end: no signal keeps the loop alive. */
void serve_over(struct agent *a);

/* agent_rpc.c */
int agent_rpc_open(struct agent_stream *s, const struct service *svc, yyjson_val *request,
		   struct tl_err *err);

#endif
