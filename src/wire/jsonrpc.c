/* jsonrpc.c - JSON-RPC 2.0 messages, Content-Length framing, stream opening lines. */
#include "wire/jsonrpc.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "base/limits.h"
#include "base/str.h"

int jsonrpc_parse(struct tl_bytes in, struct jsonrpc_msg *ret, struct tl_err *err)
{
	yyjson_val *root, *version;

	memset(ret, 0, sizeof(*ret));
	ret->doc = json_parse(in, err);
	if (!ret->doc)
		return err && err->code ? err->code : TL_E_PROTO;
	root = yyjson_doc_get_root(ret->doc);
	version = json_get(root, "jsonrpc");
	if (!yyjson_is_str(version) || !yyjson_equals_str(version, "2.0"))
		goto bad;
	ret->id = json_get(root, "id");
	if (ret->id && !yyjson_is_int(ret->id) && !yyjson_is_str(ret->id)) {
		if (!yyjson_is_null(ret->id))
			goto bad;
		ret->id = NULL;
	}
	ret->method = json_str(root, "method", NULL);
	ret->params = json_get(root, "params");
	ret->result = json_get(root, "result");
	ret->error = json_get(root, "error");
	if (ret->method) {
		ret->kind = ret->id ? JSONRPC_REQUEST : JSONRPC_NOTIFICATION;
		return 0;
	}
	if (!ret->result && !ret->error)
		goto bad;
	ret->kind = JSONRPC_RESPONSE;
	return 0;
bad:
	jsonrpc_fini(ret);
	return err_set(err, TL_E_PROTO, "not a JSON-RPC 2.0 message");
}

void jsonrpc_fini(struct jsonrpc_msg *m)
{
	yyjson_doc_free(m->doc);
	memset(m, 0, sizeof(*m));
}

int jsonrpc_error_of(const struct jsonrpc_msg *m, struct tl_err *ret)
{
	const char *name = json_str(json_get(m->error, "data"), "name", NULL);
	const struct tl_error_row *row;
	int64_t code = json_int(m->error, "code", 0);

	if (!m->error)
		return 0;
	if (!name)
		name = json_str(m->error, "name", NULL);
	row = name ? err_row_by_name(name, strlen(name)) : NULL;
	return err_set(ret,
		       row              ? row->code
		       : code == -32601 ? TL_E_NOMETHOD
					: TL_E_INTERNAL,
		       "%s", json_str(m->error, "message", ""));
}

/* Serialises doc (or {}) as the value of key. */
static int put_member(struct buf *out, const char *key, yyjson_mut_doc *doc)
{
	int rc = buf_printf(out, ",\"%s\":", key);

	if (rc)
		return rc;
	return doc ? json_write(out, doc) : buf_put_str(out, "{}");
}

/* A failed build leaves nothing half-written in out. */
static int end_message(struct buf *out, size_t start, int rc)
{
	if (rc == 0)
		rc = buf_put_str(out, "}");
	if (rc)
		out->len = start;
	return rc;
}

/* The string as a JSON string with its quotes. */
static int put_json_string(struct buf *out, const char *s)
{
	static const char hex[] = "0123456789abcdef";
	int rc = buf_put_u8(out, '"');
	bool valid = utf8_valid(bytes_str(s));

	for (const uint8_t *p = (const uint8_t *)s; *p && rc == 0; p++) {
		if (*p == '"' || *p == '\\')
			rc = buf_printf(out, "\\%c", *p);
		else if (*p < 0x20)
			rc = buf_printf(out, "\\u00%c%c", hex[*p >> 4], hex[*p & 15]);
		else
			rc = buf_put_u8(out, *p < 0x80 || valid ? *p : '?');
	}
	return rc ? rc : buf_put_u8(out, '"');
}

static int put_id(struct buf *out, yyjson_val *id)
{
	if (yyjson_is_str(id)) {
		int rc = buf_put_str(out, "\"id\":");
		return rc ? rc : put_json_string(out, yyjson_get_str(id));
	}
	if (yyjson_is_uint(id))
		return buf_printf(out, "\"id\":%llu", (unsigned long long)yyjson_get_uint(id));
	if (yyjson_is_int(id))
		return buf_printf(out, "\"id\":%lld", (long long)yyjson_get_sint(id));
	return buf_put_str(out, "\"id\":null");
}

static const char head[] = "{\"jsonrpc\":\"2.0\",";

int jsonrpc_put_request(struct buf *out, int64_t id, const char *method, yyjson_mut_doc *params)
{
	size_t start = out->len;
	int rc = buf_printf(out, "%s\"id\":%lld,\"method\":\"%s\"", head, (long long)id, method);

	if (rc == 0)
		rc = put_member(out, "params", params);
	return end_message(out, start, rc);
}

int jsonrpc_put_notification(struct buf *out, const char *method, yyjson_mut_doc *params)
{
	size_t start = out->len;
	int rc = buf_printf(out, "%s\"method\":\"%s\"", head, method);

	if (rc == 0)
		rc = put_member(out, "params", params);
	return end_message(out, start, rc);
}

int jsonrpc_put_result(struct buf *out, yyjson_val *id, yyjson_mut_doc *result)
{
	size_t start = out->len;
	int rc = buf_put_str(out, head);

	if (rc == 0)
		rc = put_id(out, id);
	if (rc == 0)
		rc = put_member(out, "result", result);
	return end_message(out, start, rc);
}

/* {"code":…,"message":…,"name":…,"data":{…}}: name stands twice, because the opening answer has no
 * data member */
static int put_error_object(struct buf *out, const struct tl_err *e)
{
	const struct tl_error_row *row = err_row(e->code);
	int rc =
	    buf_printf(out, "{\"code\":%d,\"name\":\"%s\",\"message\":", row->rpc_code, row->name);

	if (rc == 0)
		rc = put_json_string(out, e->text[0] ? e->text : row->what);
	if (rc == 0)
		rc = buf_printf(out,
				",\"data\":{\"name\":\"%s\",\"number\":%d,\"exit\":%d,"
				"\"retryable\":%s,\"todo\":",
				row->name, -row->code, row->exit_status,
				row->retryable ? "true" : "false");
	if (rc == 0)
		rc = put_json_string(out, row->todo);
	return rc ? rc : buf_put_str(out, "}}");
}

int jsonrpc_put_error(struct buf *out, yyjson_val *id, const struct tl_err *e)
{
	size_t start = out->len;
	int rc = buf_put_str(out, head);

	if (rc == 0)
		rc = put_id(out, id);
	if (rc == 0)
		rc = buf_put_str(out, ",\"error\":");
	if (rc == 0)
		rc = put_error_object(out, e);
	return end_message(out, start, rc);
}

int jsonrpc_put_request_text(struct buf *out, int64_t id, const char *method,
			     struct tl_bytes params)
{
	size_t start = out->len;
	int rc = buf_printf(out, "%s\"id\":%lld,\"method\":\"%s\",\"params\":", head, (long long)id,
			    method);

	if (rc == 0)
		rc = params.n ? buf_put(out, params.p, params.n) : buf_put_str(out, "{}");
	return end_message(out, start, rc);
}

int jsonrpc_put_result_text(struct buf *out, yyjson_val *id, struct tl_bytes result)
{
	size_t start = out->len;
	int rc = buf_put_str(out, head);

	if (rc == 0)
		rc = put_id(out, id);
	if (rc == 0)
		rc = buf_put_str(out, ",\"result\":");
	if (rc == 0)
		rc = result.n ? buf_put(out, result.p, result.n) : buf_put_str(out, "{}");
	return end_message(out, start, rc);
}

int lsp_put(struct buf *out, struct tl_bytes message)
{
	size_t start = out->len;
	int rc = buf_printf(out, "Content-Length: %zu\r\n\r\n", message.n);

	if (rc == 0)
		rc = buf_put(out, message.p, message.n);
	if (rc)
		out->len = start;
	return rc;
}

/* Offset behind the empty line that ends the header, 0 when it is not there yet. */
static size_t header_end(struct tl_bytes in)
{
	size_t max = in.n < TL_LIMIT_LSP_HEADER ? in.n : TL_LIMIT_LSP_HEADER;

	for (size_t i = 0; i + 3 < max; i++)
		if (memcmp(in.p + i, "\r\n\r\n", 4) == 0)
			return i + 4;
	return 0;
}

int lsp_next(struct tl_bytes in, struct tl_bytes *ret_message, size_t *ret_consume)
{
	static const char key[] = "content-length:";
	size_t end = header_end(in), at = 0;
	uint64_t len = 0;
	bool found = false;

	if (end == 0) {
		/* a peer that does not speak this is recognised early, not after 4 kB */
		if (in.n > 0 && in.p[0] != 'C' && in.p[0] != 'c')
			return TL_E_PROTO;
		return in.n >= TL_LIMIT_LSP_HEADER ? TL_E_PROTO : 0;
	}
	while (at + 2 < end) {
		const uint8_t *line = in.p + at, *eol = memchr(line, '\r', end - at);
		size_t n = (size_t)(eol - line), i = sizeof(key) - 1;
		if (n > i && strncasecmp((const char *)line, key, i) == 0) {
			while (i < n && line[i] == ' ')
				i++;
			if (found || i == n)
				return TL_E_PROTO;
			for (; i < n; i++) {
				if (line[i] < '0' || line[i] > '9')
					return TL_E_PROTO;
				len = len * 10 + (line[i] - '0');
				if (len > TL_LIMIT_RPC_MESSAGE)
					return TL_E_LIMIT;
			}
			found = true;
		}
		at += n + 2;
	}
	if (!found)
		return TL_E_PROTO;
	if (in.n - end < len)
		return 0;
	*ret_message = bytes_of(in.p + end, (size_t)len);
	*ret_consume = end + (size_t)len;
	return 1;
}

int open_put_answer(struct buf *out, yyjson_mut_doc *ok, const struct tl_err *err)
{
	size_t start = out->len;
	int rc;

	if (err) {
		rc = buf_put_str(out, "{\"error\":");
		if (rc == 0)
			rc = put_error_object(out, err);
	} else {
		rc = buf_put_str(out, "{\"ok\":");
		if (rc == 0)
			rc = ok ? json_write(out, ok) : buf_put_str(out, "{}");
	}
	rc = end_message(out, start, rc);
	return rc ? rc : buf_put_u8(out, '\n');
}

int open_next_line(struct tl_bytes in, struct tl_bytes *ret_line, size_t *ret_consume)
{
	size_t max = in.n < TL_LIMIT_OPEN_LINE ? in.n : TL_LIMIT_OPEN_LINE;
	const uint8_t *lf = memchr(in.p, '\n', max);

	if (!lf)
		return in.n >= TL_LIMIT_OPEN_LINE ? TL_E_LIMIT : 0;
	*ret_line = bytes_of(in.p, (size_t)(lf - in.p));
	*ret_consume = (size_t)(lf - in.p) + 1;
	return 1;
}
