/* edge.h - towlined's faces: HTTP and WebSocket on loopback, and the control socket. Knows clients
 * and bytes, not hosts. An edge_client is one connection: first JSON-RPC (messages), later perhaps
 * a stream (raw bytes). The hub gives it meaning through edge_ops. Owns its connections; the hub
 * holds the pointer until on_gone and never after it. Loop thread only. */
#ifndef TL_EDGE_EDGE_H
#define TL_EDGE_EDGE_H

#include "loop/loop.h"
#include "wire/jsonrpc.h"

struct edge;
struct edge_client;

enum edge_kind { EDGE_CONTROL, EDGE_WINDOW }; /* unix socket; WebSocket whose token was right */

struct edge_config {
	const char
	    *ui_dir; /* the window's files; missing: HTTP answers 503 and says how to build them */
	const char *control_path; /* unix socket */
	const char *token;        /* what a window's hello must carry */
	int port, frame_port;     /* 0: any free one. A given port that is taken: TL_E_PORT */
	const char *version;
};

struct edge_ops {
	/* A request or a notification. hello is answered by edge itself and never comes here. The
	 * callee answers every request sooner or later. m dies on return. */
	void (*on_message)(void *ctx, struct edge_client *c, const struct jsonrpc_msg *m);
	/* The client is gone (or became a broken stream). Last callback for c. */
	void (*on_gone)(void *ctx, struct edge_client *c);
	/* Stream mode: bytes from the client; returns how many were taken (fewer: edge keeps the
	 * rest, stops reading, and offers it again after edge_stream_resume). */
	size_t (*on_stream_data)(void *ctx, struct edge_client *c, struct tl_bytes in);
	/* Stream mode: the client will send no more (half-close; WebSockets have none: they end
	 * with on_gone). */
	void (*on_stream_eof)(void *ctx, struct edge_client *c);
	/* Stream mode: edge_stream_write takes bytes again. */
	void (*on_stream_writable)(void *ctx, struct edge_client *c);
	void *ctx;
};

int edge_start(struct loop *l, const struct edge_config *cfg, const struct edge_ops *ops,
	       struct edge **ret, struct tl_err *err);
void edge_close(struct edge *e, void (*on_closed)(void *ctx), void *ctx);
int edge_port(const struct edge *e);
int edge_frame_port(const struct edge *e);
size_t edge_window_count(const struct edge *e);

enum edge_kind edge_client_kind(const struct edge_client *c);
void edge_client_set_user(struct edge_client *c, void *user);
void *edge_client_user(const struct edge_client *c);
/* Sends one JSON-RPC message (text without framing); dropped silently when the client is going
 * away; a client that takes nothing beyond RPC_MESSAGE bytes is closed. */
void edge_client_send(struct edge_client *c, struct tl_bytes message);
/* After the answer to stream/open was sent: raw bytes from now on. */
void edge_client_become_stream(struct edge_client *c);
/* Takes what fits now (0 .. n). A short count means on_stream_writable will come. */
size_t edge_stream_write(struct edge_client *c, struct tl_bytes b);
void edge_stream_resume(struct edge_client *c);
/* No more bytes to the client: half-close (control socket) or close 1000 (WebSocket) once
 * everything is out. */
void edge_stream_finish(struct edge_client *c);
/* Ends a connection; code 0: 1000, else 4000 + number of the TL_E_ error. on_gone follows. */
void edge_client_close(struct edge_client *c, int error);

#endif
