/* jupyter_msg.h - Jupyter messages (protocol 5.x) as ZMTP multiparts: finding the parts, signing
 * and checking, the header's members. Memory in, memory out. */
#ifndef TL_WIRE_JUPYTER_MSG_H
#define TL_WIRE_JUPYTER_MSG_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/err.h"

/* The channels; as numbers in our records. */
enum jupyter_channel { JUPYTER_SHELL, JUPYTER_CONTROL, JUPYTER_IOPUB, JUPYTER_STDIN, JUPYTER_HB };
#define JUPYTER_CHANNELS 5

/* The four JSON parts; buffers follow. */
enum jupyter_part { JUPYTER_HEADER, JUPYTER_PARENT, JUPYTER_METADATA, JUPYTER_CONTENT };
#define JUPYTER_PARTS 4

#define JUPYTER_SIGNATURE 64 /* hexadecimal digits */
#define JUPYTER_ID_MAX    128
#define JUPYTER_TYPE_MAX  64

/* "shell", "control", "iopub", "stdin", "hb" */
const char *jupyter_channel_name(enum jupyter_channel c);

/* HMAC-SHA256 over the four JSON parts, as 64 digits and NUL. */
void jupyter_sign(struct tl_bytes key, const struct tl_bytes part[JUPYTER_PARTS],
		  char out[JUPYTER_SIGNATURE + 1]);
/* Finds the delimiter among n parts (routing identities may stand before it) and checks the
 * signature; an empty key accepts all. *ret_first: index of the header, whose three companions
 * and buffers follow it. 0, TL_E_PROTO (no message), TL_E_ACCES (wrong signature). */
int jupyter_open(const struct tl_bytes *parts, size_t n, struct tl_bytes key, size_t *ret_first);
/* Appends delimiter, signature and n >= 4 parts as one ZMTP message. 0, TL_E_LIMIT, TL_E_NOMEM. */
int jupyter_put(struct buf *out, struct tl_bytes key, const struct tl_bytes *parts, size_t n);

/* The members of a header that we look at; what is too long is cut, what is missing is empty. */
struct jupyter_head {
	char id[JUPYTER_ID_MAX], session[JUPYTER_ID_MAX], type[JUPYTER_TYPE_MAX];
};
/* Parses a header (or parent header: {} is fine). 0 or TL_E_PROTO (no JSON object). */
int jupyter_head_parse(struct tl_bytes json, struct jupyter_head *ret);
/* Appends a header as JSON. wall_ms: now. */
int jupyter_put_header(struct buf *out, const char *id, const char *session, const char *type,
		       const char *username, uint64_t wall_ms);

#endif
