/* session_rpc.c - one call of the agent over a stream of its own. */
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "api/session.h"
#include "base/limits.h"
#include "wire/jsonrpc.h"

static int send_all(int fd, struct tl_bytes b)
{
	while (b.n > 0) {
		ssize_t put = send(fd, b.p, b.n, MSG_NOSIGNAL);
		if (put <= 0)
			return TL_E_CLOSED;
		b = bytes_of(b.p + put, b.n - (size_t)put);
	}
	return 0;
}

/* Reads messages until the answer. */
static int read_answer(int fd, struct buf *in, struct jsonrpc_msg *m, struct tl_err *err)
{
	for (;;) {
		struct tl_bytes text;
		size_t used;
		uint8_t *at;
		ssize_t got;
		int rc = lsp_next(buf_data(in), &text, &used);
		if (rc == 1) {
			rc = jsonrpc_parse(text, m, err);
			buf_consume(in, used);
			if (rc || m->kind == JSONRPC_RESPONSE)
				return rc;
			jsonrpc_fini(m);
			continue;
		}
		if (rc < 0)
			return err_set(err, rc, "the host sent something that is not JSON-RPC");
		at = buf_reserve(in, 4096);
		got = at ? recv(fd, at, 4096, 0) : 0;
		if (got <= 0)
			return err_set(err, TL_E_CLOSED, "the host ended the stream");
		buf_commit(in, (size_t)got);
	}
}

int session_call(struct tl_session *s, const char *method, const char *params, char **ret_result,
		 struct tl_error *err)
{
	struct jsonrpc_msg m = {0};
	struct tl_err e = {0};
	struct buf text, framed;
	int fd, rc;

	*ret_result = NULL;
	rc = session_open_stream(s, "{\"open\":\"rpc\"}", &fd, err);
	if (rc)
		return rc;
	buf_init(&text, TL_LIMIT_RPC_MESSAGE);
	buf_init(&framed, TL_LIMIT_RPC_MESSAGE + TL_LIMIT_LSP_HEADER);
	rc = jsonrpc_put_request_text(&text, 1, method, bytes_str(params));
	rc = rc ? rc : lsp_put(&framed, buf_data(&text));
	rc = rc ? rc : send_all(fd, buf_data(&framed));
	buf_clear(&framed);
	rc = rc ? err_set(&e, rc, "cannot ask %s: %s", session_host(s), err_row(rc)->what)
		: read_answer(fd, &framed, &m, &e);
	if (rc == 0 && m.error)
		rc = jsonrpc_error_of(&m, &e);
	if (rc == 0) {
		*ret_result = m.result ? yyjson_val_write(m.result, 0, NULL) : strdup("{}");
		rc = *ret_result
			 ? 0
			 : err_set(&e, TL_E_NOMEM, "cannot ask %s: out of memory", session_host(s));
	}
	jsonrpc_fini(&m);
	buf_fini(&text);
	buf_fini(&framed);
	close(fd);
	return rc ? api_fail(err, &e) : 0;
}
