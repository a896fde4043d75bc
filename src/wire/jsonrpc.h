/* jsonrpc.h - JSON-RPC 2.0 messages and LSP Content-Length framing, memory in, memory out.
 * A message is one JSON object. Framing is separate, because WebSocket messages need none. */
#ifndef TL_WIRE_JSONRPC_H
#define TL_WIRE_JSONRPC_H

#include "wire/json.h"

enum jsonrpc_kind { JSONRPC_REQUEST, JSONRPC_NOTIFICATION, JSONRPC_RESPONSE };

/* A parsed message: owns doc; the rest is borrowed from it. */
struct jsonrpc_msg {
	yyjson_doc *doc;
	enum jsonrpc_kind kind;
	yyjson_val *id; /* REQUEST, RESPONSE; number or string */
	const char *method;
	yyjson_val *params; /* may be NULL */
	yyjson_val *result; /* RESPONSE: result or error */
	yyjson_val *error;
};

int jsonrpc_parse(struct tl_bytes in, struct jsonrpc_msg *ret, struct tl_err *err);
void jsonrpc_fini(struct jsonrpc_msg *m);
/* The response's error object as struct tl_err (code from data.name, else INTERNAL). */
int jsonrpc_error_of(const struct jsonrpc_msg *m, struct tl_err *ret);

/* Builders: append one message (no framing) to out. params/result: a value of doc `from` (copied),
 * or NULL for {}. id_json: the raw id as it came. */
int jsonrpc_put_request(struct buf *out, int64_t id, const char *method, yyjson_mut_doc *params);
int jsonrpc_put_notification(struct buf *out, const char *method, yyjson_mut_doc *params);
int jsonrpc_put_result(struct buf *out, yyjson_val *id, yyjson_mut_doc *result);
int jsonrpc_put_error(struct buf *out, yyjson_val *id, const struct tl_err *e);
/* The same with params/result given as JSON text (relaying another's answer untouched). */
int jsonrpc_put_request_text(struct buf *out, int64_t id, const char *method,
			     struct tl_bytes params);
int jsonrpc_put_result_text(struct buf *out, yyjson_val *id, struct tl_bytes result);

/* Content-Length framing. */
int lsp_put(struct buf *out, struct tl_bytes message);
/* Looks at the front of `in`: 1 and the message and the total bytes to consume; 0 incomplete;
 * TL_E_PROTO bad header; TL_E_LIMIT too large. */
int lsp_next(struct tl_bytes in, struct tl_bytes *ret_message, size_t *ret_consume);

/* Stream opening line and its answer (docs/protocol.md 3). err NULL: {"ok":{}} with ok's members
 * (ok may be NULL). */
int open_put_answer(struct buf *out, yyjson_mut_doc *ok, const struct tl_err *err);
/* Finds one LF-ended line at the front: 1 and the line without LF and bytes to consume; 0
 * incomplete; TL_E_LIMIT. */
int open_next_line(struct tl_bytes in, struct tl_bytes *ret_line, size_t *ret_consume);

#endif
