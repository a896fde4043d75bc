/* edge_priv.h - what the files of this room share. Not for others.
 * An edge_client is embedded in the connection of its kind (control_client, ws_client); the kinds
 * differ only in struct edge_face. A client is freed by its kind, after client_gone. */
#ifndef TL_EDGE_PRIV_H
#define TL_EDGE_PRIV_H

#include "base/buf.h"
#include "base/limits.h"
#include "edge/edge.h"
#include "loop/sock.h"

struct lws_context;
struct lws_vhost;

/* Close code of a WebSocket whose hello carries a wrong token (docs/protocol.md 7). */
#define WS_CLOSE_TOKEN 4401
#define WS_CLOSE_BASE  4000
#define WS_CLOSE_DONE  1000

/* What one kind of connection can do. All of it may be called while a callback of the same client
 * runs; none of it ends the client before the loop's next turn. */
struct edge_face {
	void (*send)(struct edge_client *c, struct tl_bytes message);
	size_t (*write)(struct edge_client *c, struct tl_bytes b);
	void (*want_read)(struct edge_client *c, bool on);
	void (*finish)(struct edge_client *c);
	/* ws_code is what a WebSocket is told */
	void (*close)(struct edge_client *c, int ws_code);
	void (*mode_changed)(struct edge_client *c);
};

struct edge_client {
	struct list node;
	struct edge *edge;
	const struct edge_face *face;
	enum edge_kind kind;
	void *user;
	struct buf in;      /* an unfinished message, or stream bytes not taken yet */
	bool ready;         /* the hub may see it: control, or hello was right */
	bool stream;        /* raw bytes now */
	bool closing;       /* nothing but on_gone comes any more */
	bool finishing;     /* edge_stream_finish was called */
	bool eof, eof_told; /* the client sends no more */
	bool wants_write;   /* a short count was given: on_stream_writable is due */
	bool pushing, push_again;
};

/* The two addresses of one port; fd -1 where the machine has no IPv6. */
struct tcp_listener {
	uv_poll_t poll[2];
	int fd[2];
	int port;
	struct edge *edge;
};

enum edge_port { EDGE_PORT_WINDOW, EDGE_PORT_FRAME, EDGE_PORTS };

/* An address that leads to a window once, for a short time: fit for a command line. */
struct ticket {
	char code[33]; /* "" none */
	char *target;  /* path, query and fragment */
	uint64_t until_ms;
};
#define TICKETS    8
#define TICKET_MS  60000
#define TICKET_URL "/open/"

struct edge {
	struct loop *loop;
	struct edge_ops ops;
	char *ui_dir, *token, *version, *control_path;
	struct list clients;
	size_t controls;  /* control clients */
	size_t tcp_count; /* browser connections */
	bool full;        /* and that was said */
	size_t windows;
	struct ticket tickets[TICKETS];

	struct listener control;
	struct tcp_listener tcp[EDGE_PORTS];
	char origin[EDGE_PORTS][40]; /* http://localhost:N */
	char host[EDGE_PORTS][32];   /* what Host must be */
	char policy[EDGE_PORTS][640];

	struct lws_vhost *vhost;
	struct list gates;       /* struct edge_gate */
	struct lws_context *lws; /* set to NULL by the library when it is done */
	struct loop_timer closer;
	bool closing;
	int tcp_open; /* handles of listeners not closed yet */
	int turns;
	void (*on_closed)(void *ctx);
	void *closed_ctx;

	uint8_t scratch[65536]; /* one read of a control stream */
};

/* edge.c */
void client_init(struct edge_client *c, struct edge *e, enum edge_kind kind,
		 const struct edge_face *face);
/* The connection is over: tells the hub and forgets it; the kind frees its memory afterwards. */
void client_gone(struct edge_client *c);
void client_error(struct edge_client *c, yyjson_val *id, const struct tl_err *err);
/* result consumed */
void client_result(struct edge_client *c, yyjson_val *id, yyjson_mut_doc *result);
/* One whole JSON-RPC message. */
void client_message(struct edge_client *c, struct tl_bytes text);
/* Stream bytes as they come; keeps what the hub does not take and then stops reading. */
void client_stream_in(struct edge_client *c, struct tl_bytes in);
/* The client sends no more. */
void client_stream_eof(struct edge_client *c);
/* Room again on the way to the client. */
void client_writable(struct edge_client *c);

/* edge_ticket.c */
/* Answers window/ticket. */
void ticket_request(struct edge_client *c, const struct jsonrpc_msg *m);
/* Uses a ticket up: where it leads (malloc'ed), or NULL. */
char *ticket_take(struct edge *e, const char *code);
void ticket_fini(struct edge *e);

/* edge_control.c */
int control_start(struct edge *e, const char *path, struct tl_err *err);
void control_stop(struct edge *e);

/* edge_tcp.c */
/* Takes both ports (0: any free one) on both loopback addresses. Nothing of the loop yet. */
int tcp_bind(struct edge *e, int port, int frame_port, struct tl_err *err);
void tcp_unbind(struct edge *e);
int tcp_watch(struct edge *e, struct tl_err *err);
void tcp_stop(struct edge *e);

/* edge_lws.c */
int lws_start(struct edge *e, struct tl_err *err);
/* A connection to a port of the window or of a gate; takes fd. False: it was turned away. */
bool lws_take(struct edge *e, int fd);
/* Begins the end; lws_ended becomes true after some turns of the loop. */
void lws_stop(struct edge *e);
bool lws_ended(struct edge *e);

#endif
