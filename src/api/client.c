/* client.c - blocking JSON-RPC with towlined, for programs. While a call waits, questions of ssh go
 * to the caller's api_ui and notifications to its callbacks. */
#include "api/client.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api/launch.h"
#include "base/limits.h"
#include "base/str.h"
#include "base/version.h"
#include "loop/io.h"
#include "loop/loop.h"

#define READ_BYTES 65536
#define WRITE_MS   30000 /* for the daemon to take one message */
#define HELLO_MS   10000 /* for its first answer */

struct api_client {
	int fd;
	int64_t next_id;
	int limit_ms; /* of one call, -1: none */
	struct buf in;
	struct api_ui ui;
	char version[48]; /* the daemon's */
};

static int send_message(struct api_client *c, const struct buf *message, struct tl_err *err)
{
	struct buf framed;
	int rc;

	buf_init(&framed, TL_LIMIT_RPC_MESSAGE + TL_LIMIT_LSP_HEADER);
	rc = lsp_put(&framed, buf_data(message));
	if (rc)
		err_set(err, rc, "a message to the local daemon is too large");
	else if ((rc = fd_write_all(c->fd, buf_data(&framed).p, framed.len, WRITE_MS)))
		err_set(err, TL_E_CLOSED, "the local daemon ended the connection");
	buf_fini(&framed);
	return rc ? err ? err->code : rc : 0;
}

/* Waits until there is something to read, and lets the user of this client read his own meanwhile.
 * 0, TL_E_TIMEOUT, or what that user says. */
static int wait_readable(struct api_client *c, int timeout_ms, struct tl_err *err)
{
	uint64_t now = clock_mono_ms(), end = now + (uint64_t)(timeout_ms < 0 ? 0 : timeout_ms);
	int rc;

	for (;; now = clock_mono_ms()) {
		struct pollfd pf[2] = {
		    {.fd = c->fd, .events = POLLIN},
		    {.fd = c->ui.watch_fd ? c->ui.watch_fd(c->ui.ctx) : -1, .events = POLLIN}};
		rc = poll(pf, 2, timeout_ms < 0 ? -1 : now < end ? (int)(end - now) : 0);
		if (rc < 0 && errno == EINTR && timeout_ms < 0)
			continue;
		if (rc <= 0)
			return TL_E_TIMEOUT;
		if (pf[1].revents && (rc = c->ui.watched(c->ui.ctx, err)))
			return rc;
		if (pf[0].revents)
			return 0;
	}
}

/* Waits for bytes; timeout_ms -1: for ever. 0, TL_E_TIMEOUT, TL_E_CLOSED, or what the watcher of
 * api_ui says. */
static int fill(struct api_client *c, int timeout_ms, struct tl_err *err)
{
	uint8_t *at;
	ssize_t n;
	int rc = wait_readable(c, timeout_ms, err);

	if (rc)
		return rc;
	at = buf_reserve(&c->in, READ_BYTES < buf_room(&c->in) ? READ_BYTES : buf_room(&c->in));
	if (!at || buf_room(&c->in) == 0)
		return err_set(err, TL_E_LIMIT, "the local daemon sent too large a message");
	do {
		n = read(c->fd, at, READ_BYTES < buf_room(&c->in) ? READ_BYTES : buf_room(&c->in));
	} while (n < 0 && errno == EINTR);
	if (n <= 0)
		return err_set(err, TL_E_CLOSED, "the local daemon ended the connection");
	buf_commit(&c->in, (size_t)n);
	return 0;
}

/* 1 and a message (jsonrpc_fini), 0 none complete yet, or an error. */
static int next_message(struct api_client *c, struct jsonrpc_msg *m, struct tl_err *err)
{
	struct tl_bytes text;
	size_t used;
	int rc = lsp_next(buf_data(&c->in), &text, &used);

	if (rc == 0)
		return 0;
	if (rc == 1) {
		rc = jsonrpc_parse(text, m, NULL);
		buf_consume(&c->in, used);
		buf_shrink(&c->in);
		if (rc == 0)
			return 1;
	}
	return err_set(err, TL_E_PROTO, "the local daemon sent something that is not JSON-RPC");
}

/* Asks the user and answers the daemon; whatever goes wrong with the user is "cancel". */
static int answer_prompt(struct api_client *c, const struct jsonrpc_msg *m, struct tl_err *err)
{
	yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *o = yyjson_mut_obj(doc);
	char *answer = NULL;
	struct buf b;
	int rc = TL_E_CANCELED;

	yyjson_mut_doc_set_root(doc, o);
	if (c->ui.prompt)
		rc = c->ui.prompt(c->ui.ctx, json_str(m->params, "host", ""),
				  json_str(m->params, "kind", "question"),
				  json_str(m->params, "text", ""),
				  json_bool(m->params, "echo", false),
				  (int)json_int(m->params, "attempt", 1), &answer);
	if (rc == 0 && answer)
		yyjson_mut_obj_add_str(doc, o, "answer", answer);
	else
		yyjson_mut_obj_add_bool(doc, o, "cancel", true);
	buf_init(&b, TL_LIMIT_RPC_MESSAGE);
	rc = jsonrpc_put_result(&b, m->id, doc);
	if (rc == 0)
		rc = send_message(c, &b, err);
	/* a password does not stay in memory that is given back */
	if (answer)
		explicit_bzero(answer, strlen(answer));
	if (b.p)
		explicit_bzero(b.p, b.cap);
	buf_fini(&b);
	free(answer);
	yyjson_mut_doc_free(doc);
	return rc;
}

static int refuse_request(struct api_client *c, const struct jsonrpc_msg *m, struct tl_err *err)
{
	struct tl_err why;
	struct buf b;
	int rc;

	err_set(&why, TL_E_NOMETHOD, "a program does not answer %.80s", m->method);
	buf_init(&b, TL_LIMIT_OPEN_LINE);
	rc = jsonrpc_put_error(&b, m->id, &why);
	if (rc == 0)
		rc = send_message(c, &b, err);
	buf_fini(&b);
	return rc;
}

/* A message that is not our answer. */
static int dispatch(struct api_client *c, const struct jsonrpc_msg *m, struct tl_err *err)
{
	if (m->kind == JSONRPC_REQUEST)
		return strcmp(m->method, "prompt/ask") == 0 ? answer_prompt(c, m, err)
							    : refuse_request(c, m, err);
	if (m->kind != JSONRPC_NOTIFICATION)
		return 0;
	if (strcmp(m->method, "host/progress") == 0) {
		if (c->ui.progress)
			c->ui.progress(
			    c->ui.ctx, json_str(m->params, "host", ""),
			    json_str(m->params, "step", ""), json_str(m->params, "text", ""),
			    json_int(m->params, "done", 0), json_int(m->params, "total", 0));
	} else if (c->ui.notify) {
		c->ui.notify(c->ui.ctx, m);
	}
	return 0;
}

/* fill within the limit of a call that ends at end. */
static int fill_until(struct api_client *c, uint64_t end, struct tl_err *err)
{
	int rc = TL_E_TIMEOUT;

	if (c->limit_ms < 0)
		return fill(c, -1, err);
	/* a signal of the program ends a wait early, and is no time-out */
	for (uint64_t now; rc == TL_E_TIMEOUT && (now = clock_mono_ms()) < end;)
		rc = fill(c, (int)(end - now), err);
	return rc;
}

void api_client_limit(struct api_client *c, int timeout_ms)
{
	c->limit_ms = timeout_ms;
}

int api_client_call(struct api_client *c, const char *method, yyjson_mut_doc *params,
		    struct jsonrpc_msg *ret, struct tl_err *err)
{
	int64_t id = c->next_id++;
	uint64_t end = clock_mono_ms() + (uint64_t)(c->limit_ms < 0 ? 0 : c->limit_ms), before;
	struct tl_err own = {0};
	struct buf b;
	int rc;

	if (!err)
		err = &own;
	buf_init(&b, TL_LIMIT_RPC_MESSAGE);
	rc = jsonrpc_put_request(&b, id, method, params);
	yyjson_mut_doc_free(params);
	if (rc)
		err_set(err, rc, "the request %s is too large", method);
	else
		rc = send_message(c, &b, err);
	buf_fini(&b);
	while (rc == 0) {
		rc = next_message(c, ret, err);
		if (rc == 0) {
			rc = fill_until(c, end, err);
			if (rc == TL_E_TIMEOUT)
				err_set(err, rc, "%s was not answered in time", method);
			continue;
		}
		if (rc < 0)
			break;
		if (ret->kind == JSONRPC_RESPONSE && yyjson_get_sint(ret->id) == id) {
			rc = ret->error ? jsonrpc_error_of(ret, err) : 0;
			if (rc)
				jsonrpc_fini(ret);
			return rc;
		}
		/* the time a person needs for a question does not count */
		before = clock_mono_ms();
		rc = dispatch(c, ret, err);
		end += clock_mono_ms() - before;
		jsonrpc_fini(ret);
	}
	return rc;
}

int api_client_wait(struct api_client *c, int timeout_ms, struct tl_err *err)
{
	uint64_t end = clock_mono_ms() + (uint64_t)(timeout_ms < 0 ? 0 : timeout_ms);
	struct jsonrpc_msg m;
	int rc;

	for (;;) {
		uint64_t now = clock_mono_ms();
		rc = next_message(c, &m, err);
		if (rc < 0)
			return rc;
		if (rc == 1) {
			rc = dispatch(c, &m, err);
			jsonrpc_fini(&m);
			return rc;
		}
		if (timeout_ms >= 0 && now > end)
			return TL_E_TIMEOUT;
		rc = fill(c, timeout_ms < 0 ? -1 : (int)(end - now), err);
		if (rc)
			return rc;
	}
}

int api_client_fd(const struct api_client *c)
{
	return c->fd;
}

/* The daemon may be an older one that still runs after an update. */
static int check_version(const char *theirs, struct tl_err *err)
{
	if (strcmp(theirs, TL_VERSION) == 0)
		return 0;
	return err_set(err, TL_E_VERSION,
		       "the running daemon is version %.40s, this command %s: end it with "
		       "`towline stop` (terminals on hosts go on), then try again",
		       theirs, TL_VERSION);
}

static int say_hello(struct api_client *c, bool check, struct tl_err *err)
{
	yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *o = yyjson_mut_obj(doc);
	struct jsonrpc_msg m;
	int rc;

	yyjson_mut_doc_set_root(doc, o);
	yyjson_mut_obj_add_str(doc, o, "client", "towline");
	yyjson_mut_obj_add_str(doc, o, "version", TL_VERSION);
	rc = api_client_call(c, "hello", doc, &m, err);
	if (rc)
		return rc;
	str_copy(c->version, sizeof(c->version), json_str(m.result, "version", "?"));
	if (check)
		rc = check_version(c->version, err);
	jsonrpc_fini(&m);
	return rc;
}

int api_client_open(struct api_client **ret, bool start, const struct api_ui *ui,
		    struct tl_err *err)
{
	int fd = launch_connect(start, err), rc;
	struct api_client *c;

	if (fd < 0)
		return fd;
	c = calloc(1, sizeof(*c));
	if (!c) {
		close(fd);
		return err_set(err, TL_E_NOMEM, "cannot talk to the local daemon: out of memory");
	}
	c->fd = fd;
	c->next_id = 1;
	c->limit_ms = HELLO_MS;
	if (ui)
		c->ui = *ui;
	buf_init(&c->in, TL_LIMIT_RPC_MESSAGE + TL_LIMIT_LSP_HEADER);
	rc = say_hello(c, start, err);
	if (rc) {
		api_client_close(c);
		return rc;
	}
	c->limit_ms = -1;
	*ret = c;
	return 0;
}

int api_client_same_version(const struct api_client *c, struct tl_err *err)
{
	return check_version(c->version, err);
}

void api_client_close(struct api_client *c)
{
	if (!c)
		return;
	close(c->fd);
	buf_fini(&c->in);
	free(c);
}

/* ---- hosts ---- */

/* The daemon has another current folder: paths of the command line are made absolute. */
static void add_file(yyjson_mut_doc *doc, yyjson_mut_val *obj, yyjson_mut_val *arr, const char *key,
		     const char *file)
{
	char cwd[PATH_MAX];
	char *full = NULL;

	if (file[0] != '/' && file[0] != '~' && strcmp(file, "none") != 0 &&
	    getcwd(cwd, sizeof(cwd)))
		full = str_fmt("%s/%s", cwd, file);
	if (obj)
		yyjson_mut_obj_add_strcpy(doc, obj, key, full ? full : file);
	else
		yyjson_mut_arr_add_strcpy(doc, arr, full ? full : file);
	free(full);
}

static void add_options(yyjson_mut_doc *doc, yyjson_mut_val *root, const struct api_host_options *o)
{
	yyjson_mut_val *obj, *arr;

	if (!o || (!o->config_file && !o->identities && !o->port && !o->options))
		return;
	obj = yyjson_mut_obj_add_obj(doc, root, "options");
	if (o->config_file)
		add_file(doc, obj, NULL, "configFile", o->config_file);
	if (o->port)
		yyjson_mut_obj_add_int(doc, obj, "port", o->port);
	if (o->identities) {
		arr = yyjson_mut_obj_add_arr(doc, obj, "identities");
		for (size_t i = 0; o->identities[i]; i++)
			add_file(doc, NULL, arr, NULL, o->identities[i]);
	}
	if (o->options) {
		arr = yyjson_mut_obj_add_arr(doc, obj, "options");
		for (size_t i = 0; o->options[i]; i++)
			yyjson_mut_arr_add_strcpy(doc, arr, o->options[i]);
	}
}

int api_client_connect_host(struct api_client *c, const char *host,
			    const struct api_host_options *o, char **ret_host, struct tl_err *err)
{
	yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *root = yyjson_mut_obj(doc);
	struct jsonrpc_msg m;
	int rc;

	yyjson_mut_doc_set_root(doc, root);
	yyjson_mut_obj_add_strcpy(doc, root, "host", host);
	add_options(doc, root, o);
	rc = api_client_call(c, "host/connect", doc, &m, err);
	if (rc)
		return rc;
	if (ret_host) {
		*ret_host = str_dup(json_str(m.result, "host", host));
		if (!*ret_host)
			rc = err_set(err, TL_E_NOMEM, "cannot connect to %s: out of memory", host);
	}
	jsonrpc_fini(&m);
	return rc;
}

/* ---- streams ---- */

/* Reads one framed message and not a byte more: what follows belongs to the stream. */
static int read_exactly_one(int fd, struct buf *in, struct jsonrpc_msg *m, struct tl_err *err)
{
	struct tl_bytes text;
	size_t used;
	uint8_t *at;
	int rc;

	buf_clear(in);
	while ((rc = lsp_next(buf_data(in), &text, &used)) == 0) {
		/* before the header is complete its length is unknown: byte by byte */
		const char *head = (const char *)buf_data(in).p;
		const char *end = in->len ? memmem(head, in->len, "\r\n\r\n", 4) : NULL;
		size_t want = 1;
		if (end) {
			const char *n = memchr(head, ':', in->len);
			size_t body = n ? (size_t)strtoul(n + 1, NULL, 10) : 0;
			want = (size_t)(end + 4 - head) + body - in->len;
		}
		at = buf_reserve(in, want);
		if (!at)
			return err_set(err, TL_E_LIMIT, "the daemon's answer is too large");
		rc = fd_read_all(fd, at, want);
		if (rc)
			return err_set(err, TL_E_CLOSED, "the local daemon ended the connection");
		buf_commit(in, want);
	}
	if (rc < 0 || jsonrpc_parse(text, m, NULL) != 0)
		return err_set(err, TL_E_PROTO,
			       "the local daemon sent something that is not JSON-RPC");
	return 0;
}

static int put_open(struct buf *framed, const char *host, const char *open_json, struct tl_err *err)
{
	yyjson_doc *open = json_parse(bytes_str(open_json), err);
	yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *o = yyjson_mut_obj(doc);
	struct buf b;
	int rc;

	buf_init(&b, TL_LIMIT_OPEN_LINE + TL_LIMIT_HOST_NAME + 256);
	yyjson_mut_doc_set_root(doc, o);
	yyjson_mut_obj_add_str(doc, o, "host", host);
	yyjson_mut_obj_add_val(doc, o, "open", yyjson_val_mut_copy(doc, yyjson_doc_get_root(open)));
	rc = open ? jsonrpc_put_request(&b, 1, "stream/open", doc) : TL_E_INVAL;
	if (rc == 0)
		rc = lsp_put(framed, buf_data(&b));
	yyjson_mut_doc_free(doc);
	yyjson_doc_free(open);
	buf_fini(&b);
	return rc ? err_set(err, rc, "cannot open a stream to %s: the request is not valid", host)
		  : 0;
}

int api_stream_begin(const char *host, const char *open_json, int *ret_fd, struct tl_err *err)
{
	struct tl_err own = {0};
	struct buf b;
	int fd, rc;

	if (!err)
		err = &own;
	buf_init(&b, TL_LIMIT_RPC_MESSAGE + TL_LIMIT_LSP_HEADER);
	fd = launch_connect(false, err);
	rc = fd < 0 ? fd : put_open(&b, host, open_json, err);
	if (rc == 0 && fd_write_all(fd, buf_data(&b).p, b.len, WRITE_MS) != 0)
		rc = err_set(err, TL_E_CLOSED, "the local daemon ended the connection");
	if (rc == 0)
		*ret_fd = fd;
	else if (fd >= 0)
		close(fd);
	buf_fini(&b);
	return rc;
}

int api_stream_answer(int fd, char **ret_ok, struct tl_err *err)
{
	struct jsonrpc_msg m = {0};
	struct tl_err own = {0};
	struct buf b;
	int rc;

	if (!err)
		err = &own;
	buf_init(&b, TL_LIMIT_RPC_MESSAGE + TL_LIMIT_LSP_HEADER);
	rc = read_exactly_one(fd, &b, &m, err);
	if (rc == 0 && m.kind != JSONRPC_RESPONSE)
		rc = err_set(err, TL_E_PROTO, "the local daemon did not answer stream/open");
	if (rc == 0 && m.error)
		rc = jsonrpc_error_of(&m, err);
	if (rc == 0 && ret_ok) {
		*ret_ok = yyjson_val_write(m.result, 0, NULL);
		if (!*ret_ok)
			rc = err_set(err, TL_E_NOMEM, "cannot open a stream: out of memory");
	}
	jsonrpc_fini(&m);
	buf_fini(&b);
	return rc;
}

int api_stream_open(const char *host, const char *open_json, int *ret_fd, struct tl_err *err)
{
	int fd, rc = api_stream_begin(host, open_json, &fd, err);

	if (rc)
		return rc;
	rc = api_stream_answer(fd, NULL, err);
	if (rc == 0)
		*ret_fd = fd;
	else
		close(fd);
	return rc;
}
