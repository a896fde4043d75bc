/* jupyter_ws.h - Jupyter messages as WebSocket messages, in the three framings that clients speak:
 * JSON text, JSON with binary buffers behind it, and v1.kernel.websocket.jupyter.org. Codec only:
 * memory in, memory out. Parsers are strict: lengths and offsets that do not agree are refused. */
#ifndef TL_WIRE_JUPYTER_WS_H
#define TL_WIRE_JUPYTER_WS_H

#include "wire/json.h"
#include "wire/jupyter_msg.h"

/* The subprotocol's name in Sec-WebSocket-Protocol. */
#define JUPYTER_WS_V1 "v1.kernel.websocket.jupyter.org"

/* One message of a client. parts: header, parent, metadata, content, buffers; they live in the
 * input and in `doc`. */
struct jupyter_ws_msg {
	enum jupyter_channel channel; /* shell, control or stdin */
	struct tl_bytes *parts;
	size_t count;
	yyjson_doc *doc;
	char *json[JUPYTER_PARTS]; /* parts that had to be written anew */
};

/* Parses one whole WebSocket message. v1: the subprotocol that was agreed on; binary: its opcode.
 * 0 and jupyter_ws_fini is due, or TL_E_PROTO (err says what is wrong), TL_E_LIMIT (too many
 * parts), TL_E_NOMEM. `in` must stay until then. */
int jupyter_ws_parse(struct tl_bytes in, bool binary, bool v1, struct jupyter_ws_msg *ret,
		     struct tl_err *err);
void jupyter_ws_fini(struct jupyter_ws_msg *m);

/* Appends a message of the kernel, n >= 4 parts whose first four are JSON. *ret_text: it goes as a
 * text message. 0, TL_E_PROTO (a part that must be text is no UTF-8, or no header), TL_E_LIMIT,
 * TL_E_NOMEM. */
int jupyter_ws_put(struct buf *out, bool v1, enum jupyter_channel channel,
		   const struct tl_bytes *parts, size_t n, bool *ret_text);

#endif
