/* edge_gate.h - a loopback port of its own with HTTP and WebSockets for programs that are not
 * Towline's window: Jupyter clients (docs/gateway.md). This room checks who asks: Host, Origin and
 * the port's own token, which opens nothing else. What is asked for is the hub's business, through
 * gate_ops. Owns connections; the hub holds their pointers until they are gone. Loop thread only.
 */
#ifndef TL_EDGE_GATE_H
#define TL_EDGE_GATE_H

#include "edge/edge.h"

struct edge_gate;
struct gate_conn; /* one HTTP request until it is answered, or one WebSocket until it is closed */

struct gate_head {
	const char *method;   /* "GET", "POST", … */
	const char *path;     /* decoded, begins with a slash; without the query */
	const char *session;  /* session_id of the query, "" none */
	struct tl_bytes body; /* of a request */
};

/* All of it is borrowed for the call. */
struct gate_ops {
	/* Answer it sooner or later with gate_answer. */
	void (*on_request)(void *ctx, struct gate_conn *c, const struct gate_head *h);
	/* A WebSocket is wanted: 0, or an HTTP status that refuses it. */
	int (*on_socket)(void *ctx, struct gate_conn *c, const struct gate_head *h);
	/* It is open; v1: the subprotocol of Jupyter's newer framing was agreed on. */
	void (*on_open)(void *ctx, struct gate_conn *c, bool v1);
	/* One whole message of at most KERNEL_MESSAGE bytes and some. */
	void (*on_message)(void *ctx, struct gate_conn *c, struct tl_bytes message, bool binary);
	/* gate_send takes messages again. */
	void (*on_writable)(void *ctx, struct gate_conn *c);
	/* The last callback for c, also for a request that was answered. */
	void (*on_gone)(void *ctx, struct gate_conn *c);
};

/* Listens on port (0: any free one) of both loopback addresses. A port that is taken: TL_E_PORT. */
int edge_gate_open(struct edge *e, int port, const char *token, const struct gate_ops *ops,
		   void *ctx, struct edge_gate **ret, struct tl_err *err);
/* Stops listening and ends every connection; no callback comes any more. */
void edge_gate_close(struct edge_gate *g);
int edge_gate_port(const struct edge_gate *g);
/* Pages of this origin may use the gate from a browser as well; NULL: none. */
int edge_gate_allow_origin(struct edge_gate *g, const char *origin);

void gate_set_user(struct gate_conn *c, void *user);
void *gate_user(const struct gate_conn *c);
/* The answer to a request. type: of the body. location: the header, or NULL. */
void gate_answer(struct gate_conn *c, int status, const char *type, struct tl_bytes body,
		 const char *location);
/* A whole message to a WebSocket. False: enough waits already, and on_writable will come. mark:
 * gate_sent gives back the one of the last message that has gone to the system whole. */
bool gate_send(struct gate_conn *c, struct tl_bytes message, bool text, uint64_t mark);
uint64_t gate_sent(const struct gate_conn *c);
/* The client is not read while it is paused. */
void gate_pause(struct gate_conn *c, bool paused);
/* Closes a WebSocket behind what is queued. code: of RFC 6455 section 7.4. */
void gate_close(struct gate_conn *c, int code);

#endif
