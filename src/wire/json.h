/* json.h - the only door to yyjson. Documents are bounded by their caller; strings are UTF-8.
 * Numbers beyond 2^53 do not occur on our wires. */
#ifndef TL_WIRE_JSON_H
#define TL_WIRE_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <yyjson.h>

#include "base/buf.h"
#include "base/err.h"

/* Typed reading with a default where the member is missing or of another type. obj may be NULL.
 * Strings are borrowed from the document. */
const char *json_str(yyjson_val *obj, const char *key, const char *dflt);
int64_t json_int(yyjson_val *obj, const char *key, int64_t dflt);
bool json_bool(yyjson_val *obj, const char *key, bool dflt);
yyjson_val *json_get(yyjson_val *obj, const char *key);
/* Parses exactly one document; NULL: not JSON (err names the place). Free with yyjson_doc_free. */
yyjson_doc *json_parse(struct tl_bytes in, struct tl_err *err);
/* The same for files that people write: comments and trailing commas are fine. */
yyjson_doc *json_parse_relaxed(struct tl_bytes in, struct tl_err *err);
/* Appends the document as compact JSON. 0, TL_E_LIMIT, TL_E_NOMEM. */
int json_write(struct buf *out, yyjson_mut_doc *doc);
/* Adds strings that may not be UTF-8 (paths): invalid bytes become U+FFFD. */
bool json_add_path(yyjson_mut_doc *doc, yyjson_mut_val *obj, const char *key, const char *bytes);

#endif
