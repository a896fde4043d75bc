/* edge_lws.h - the part of this room that speaks libwebsockets, between its own files. */
#ifndef TL_EDGE_LWS_H
#define TL_EDGE_LWS_H

#include <libwebsockets.h>

#include "edge/edge_priv.h"

/* State of one HTTP request; the library allocates and clears it. */
struct http_request {
	bool used;
	int fd; /* file being sent, while left > 0 */
	uint64_t left;
};

/* State of one WebSocket as the library sees it. */
struct ws_slot {
	struct ws_client *w;
};

/* Callbacks of the two protocols. */
int http_callback(struct lws *wsi, enum lws_callback_reasons why, void *user, void *in, size_t len);
int ws_callback(struct lws *wsi, enum lws_callback_reasons why, void *user, void *in, size_t len);
/* Is the connection one of a gate, and gate_callback for it (edge_gate.c)? */
bool gate_owns(struct lws *wsi, enum lws_callback_reasons why);
int gate_callback(struct lws *wsi, enum lws_callback_reasons why, void *user, void *in, size_t len);

/* NULL only while the library takes itself apart. */
struct edge *edge_of(struct lws *wsi);
/* The port a connection came in on; 0: unknown. */
int port_number_of_wsi(struct lws *wsi);
enum edge_port port_of_wsi(struct lws *wsi);
/* Is Host the one name we go by? (A page of a foreign name that resolves to us is not let in.) */
bool host_is_ours(struct lws *wsi);
/* Answers with a line of plain words. 0, or -1: the connection must end. */
int http_say(struct lws *wsi, int status, const char *text);
/* Sends the close frame of a WebSocket; the peer's answer ends the connection, or time does. A
 * message of ours: the library in Debian, built with its own debugging aids, cuts a connection on
 * libuv off before it has sent the close it promised. 0, or -1: the connection must end. */
int ws_put_close(struct lws *wsi, int code);
/* An upgrade request: 0 go on, 1 answered. */
int ws_refuse(struct lws *wsi, const char *what);

#endif
