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

/* NULL only while the library takes itself apart. */
struct edge *edge_of(struct lws *wsi);
/* The port a connection came in on. */
enum edge_port port_of_wsi(struct lws *wsi);
/* Is Host the one name we go by? (A page of a foreign name that resolves to us is not let in.) */
bool host_is_ours(struct lws *wsi);
/* Answers with a line of plain words. 0, or -1: the connection must end. */
int http_say(struct lws *wsi, int status, const char *text);
/* An upgrade request: 0 go on, 1 answered. */
int ws_refuse(struct lws *wsi, const char *what);

#endif
