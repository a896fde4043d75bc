/* hub_gateway.h - gateways: one loopback port per host that speaks Jupyter Server's REST and
 * WebSocket protocol (docs/gateway.md), shared by the hub_gateway*.c files. A gateway belongs to
 * the daemon, not to a session: it names its host and listens while the host is away; what it keeps
 * over a restart of the daemon is host, port and token. */
#ifndef TL_HUB_GATEWAY_H
#define TL_HUB_GATEWAY_H

#include "edge/edge_gate.h"
#include "hub/hub_priv.h"

#define GW_UUID    37
#define GW_SESSION 128 /* a client's session_id */

/* Where a client with a session_id was in a kernel's log when its last WebSocket went. */
struct gw_cursor {
	struct list node; /* of the gateway, newest first */
	char uuid[GW_UUID], session[GW_SESSION];
	uint64_t off;
};

struct hub_gateway {
	struct list node; /* hub's gateways */
	struct hub *hub;
	char *host, *origin; /* origin: pages that may use it, NULL none */
	char token[49];
	struct edge_gate *gate;
	struct list calls;   /* struct gw_call */
	struct list sockets; /* struct gw_socket */
	struct list cursors;
	size_t n_cursors;
	bool parked;                   /* the user closed the host: no request brings it back */
	uint64_t started_ms, asked_ms; /* wall clock; asked: the last request */
};

/* ---- hub_gateway_rest.c: requests ---- */

/* One request on its way: steps that each end with a question to the host or with an answer. */
struct gw_call {
	struct list node;
	struct hub_gateway *gateway;
	struct gate_conn *conn; /* NULL: the client went away */
	const struct gw_route *route;
	char *arg[2]; /* the parts of the path that vary */
	yyjson_doc *body;
	bool waiting; /* for the host */
	/* what to do with the host's answer (result, or NULL and err) */
	void (*next)(struct gw_call *k, yyjson_val *result, const struct tl_err *err);
	void (*then)(struct gw_call *k);
	void (*created)(struct gw_call *k, yyjson_val *result, const struct tl_err *err);
	char *kernel;      /* id of the session meant, once it is known */
	yyjson_doc *found; /* KernelInfo of it */
	char *text;        /* for the steps of one route */
	yyjson_mut_doc *params;
};

struct gw_route {
	const char *method, *path; /* a star is one part of the path */
	void (*fn)(struct gw_call *k);
	bool here; /* needs no host */
};

void gw_request(void *ctx, struct gate_conn *c, const struct gate_head *h);
/* Asks the host; params consumed, may be NULL. next comes once. */
void gw_ask(struct gw_call *k, const char *method, yyjson_mut_doc *params,
	    void (*next)(struct gw_call *, yyjson_val *, const struct tl_err *));
/* A value of a document that is about to go. */
yyjson_doc *gw_copy(yyjson_val *v);
/* Finds the kernel arg[0] names (found, kernel) and goes on with `then`; otherwise answers 404. */
void gw_find_kernel(struct gw_call *k, void (*then)(struct gw_call *k));
/* Answers and forgets the call. doc is consumed; NULL: no body. */
void gw_answer(struct gw_call *k, int status, yyjson_mut_doc *doc);
void gw_answer_at(struct gw_call *k, int status, yyjson_mut_doc *doc, const char *location);
void gw_answer_bytes(struct gw_call *k, int status, const char *type, struct tl_bytes body);
void gw_fail(struct gw_call *k, const struct tl_err *err);
void gw_fail_with(struct gw_call *k, int status, const char *text);
/* The host is there, or (err) will not be. */
void gw_calls_go_on(struct hub_gateway *g, const struct tl_err *err);
void gw_calls_end(struct hub_gateway *g);

/* ---- hub_gateway_kernels.c, hub_gateway_sessions.c, hub_gateway_specs.c: routes ---- */

void gw_kernels_list(struct gw_call *k);
void gw_kernels_start(struct gw_call *k);
void gw_kernel_get(struct gw_call *k);
void gw_kernel_delete(struct gw_call *k);
void gw_kernel_interrupt(struct gw_call *k);
void gw_kernel_restart(struct gw_call *k);
void gw_status(struct gw_call *k);
void gw_specs_list(struct gw_call *k);
void gw_specs_get(struct gw_call *k);
void gw_specs_file(struct gw_call *k);
void gw_sessions_list(struct gw_call *k);
void gw_sessions_start(struct gw_call *k);
void gw_session_get(struct gw_call *k);
void gw_session_change(struct gw_call *k);
void gw_session_delete(struct gw_call *k);
void gw_terms_list(struct gw_call *k);
void gw_terms_start(struct gw_call *k);
void gw_term_get(struct gw_call *k);
void gw_term_delete(struct gw_call *k);

/* What a kernel is called in URLs: the id of its KernelSpec, where an interpreter's path has dashes
 * for what Jupyter allows in no name. */
void gw_kernel_name(const char *id, char *out, size_t n);
/* Microseconds and Z: some clients parse nothing else. */
void gw_time(uint64_t wall_ms, char out[40]);
/* Jupyter's model of a KernelInfo. */
yyjson_mut_val *gw_kernel_model(yyjson_mut_doc *doc, yyjson_val *info);
/* Starts the kernel that `name` means with `params` (kernel is added); next as in gw_ask. */
void gw_kernel_create(struct gw_call *k, const char *name, yyjson_mut_doc *params,
		      void (*next)(struct gw_call *, yyjson_val *, const struct tl_err *));

/* ---- hub_gateway_socket.c: what WebSockets to kernels and terminals share ---- */

struct gw_socket;

struct gw_kind {
	/* the stream is open: attach */
	void (*opened)(struct gw_socket *s);
	/* One frame at the front of s->in: bytes used, 0 incomplete or blocked, TL_E_*. */
	long (*frame)(struct gw_socket *s);
	/* a message of the client */
	void (*message)(struct gw_socket *s, struct tl_bytes m, bool binary);
	/* there is no such thing (any more) */
	void (*ended)(struct gw_socket *s);
	/* the memory goes */
	void (*fini)(struct gw_socket *s);
	const char *open; /* name of the stream */
	size_t in_max;
};

enum gw_phase { GW_FINDING, GW_OPENING, GW_RUNNING, GW_OVER };

/* A WebSocket and its stream. The stream may be lost and opened again; the WebSocket stays. */
struct gw_socket {
	struct pump_user user; /* of the stream */
	struct list node;
	struct hub_gateway *gateway;
	struct gate_conn *conn;
	const struct gw_kind *kind;
	struct session_stream *stream;
	enum gw_phase phase;
	bool opened, v1; /* the WebSocket is open */
	bool blocked;    /* the client takes no more for now */
	bool paused;     /* the client is not read for now */
	unsigned losses; /* streams lost since the last frame */
	char *id;        /* of terminal or session; NULL: not known yet */
	struct buf in;
	struct list out; /* struct gw_out, for the host */
	size_t out_bytes;
};

/* Frames of one message; a stream that is lost in the middle of it gets it again, whole. */
struct gw_out {
	struct list node;
	struct buf frames;
	size_t sent;
};

void gw_socket_init(struct gw_socket *s, struct hub_gateway *g, struct gate_conn *c,
		    const struct gw_kind *kind);
/* Opens the stream to s->id. */
void gw_socket_connect(struct gw_socket *s);
/* Queues frames (taken); the client is not read while much waits. first: before all others. */
void gw_socket_write(struct gw_socket *s, struct buf *frames, bool first);
/* Works on what has come. */
void gw_socket_run(struct gw_socket *s);
/* The host has a session again, or (lost) none. */
void gw_socket_host(struct gw_socket *s, bool there);
/* Ends the stream and frees; the WebSocket is gone. */
void gw_socket_free(struct gw_socket *s);

/* ---- hub_gateway_channels.c, hub_gateway_term.c ---- */

/* A WebSocket for a path: 0 or an HTTP status. */
int gw_channels_open(struct hub_gateway *g, struct gate_conn *c, const char *uuid,
		     const char *session);
int gw_term_open(struct hub_gateway *g, struct gate_conn *c, const char *id);
/* Looks a kernel up again (channels only). */
void gw_channels_find(struct gw_socket *s);

/* ---- hub_gateway.c ---- */

struct hub_host *gw_host(struct hub_gateway *g, struct tl_err *err);
struct gw_cursor *gw_cursor_find(struct hub_gateway *g, const char *uuid, const char *session);
void gw_cursor_keep(struct hub_gateway *g, const char *uuid, const char *session, uint64_t off);

#endif
