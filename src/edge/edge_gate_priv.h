/* edge_gate_priv.h - what edge_gate.c and edge_gate_ws.c share. Not for others. */
#ifndef TL_EDGE_GATE_PRIV_H
#define TL_EDGE_GATE_PRIV_H

#include "edge/edge_gate.h"
#include "edge/edge_lws.h"
#include "edge/edge_out.h"
#include "loop/local_listen.h"

struct edge_gate {
	struct list node; /* edge's gates */
	struct edge *edge;
	struct local_listen listen;
	struct gate_ops ops;
	void *ctx;
	char *token, *origin;
	struct list conns; /* struct gate_conn */
};

struct gate_conn {
	struct list node;
	struct edge_gate *gate; /* NULL: it was closed, the connection is about to end */
	struct lws *wsi;
	void *user;
	bool known; /* the hub has it */
	/* a request */
	char *method, *path, *location;
	struct buf in; /* its body; of a WebSocket: a message that is not whole yet */
	bool asked, answered, head_sent;
	bool drop;   /* the connection ends with the answer */
	int refused; /* status, 0: it may come in */
	const char *refused_text;
	int status;
	const char *type;
	struct buf answer;
	/* a WebSocket */
	bool socket, in_binary, full, closing, close_sent;
	int close_code;
	uint64_t sent; /* mark */
	struct out_queue out;
};

/* ---- edge_gate_ws.c ---- */
/* The upgrade was admitted. */
void gate_ws_begin(struct gate_conn *c);
int gate_ws_callback(struct gate_conn *c, enum lws_callback_reasons why, void *in, size_t len);

#endif
