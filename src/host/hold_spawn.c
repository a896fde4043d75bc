/* hold_spawn.c - see hold_spawn.h. One socket pair carries the specification there (ended by
 * half-close) and one line back. Owns its end of it until the answer or the deadline. */
#include "host/hold_spawn.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/version.h"
#include "loop/child.h"
#include "loop/io.h"
#include "loop/sock.h"
#include "wire/jsonrpc.h"

/* A login shell starts in far less; a hold that does not answer stands before a dead file system.
 */
#define DEADLINE_MS 20000

struct hold_spawn {
	struct io io;
	struct loop_timer deadline;
	struct buf out, in;
	hold_spawn_done *on_done; /* NULL: over */
	void *ctx;
	const char *what;
	int closing;
};

static void spawn_freed(void *ctx)
{
	struct hold_spawn *s = ctx;
	if (--s->closing)
		return;
	buf_fini(&s->out);
	buf_fini(&s->in);
	free(s);
}

void hold_spawn_forget(struct hold_spawn *s)
{
	if (s->closing)
		return;
	s->on_done = NULL;
	s->closing = 2;
	io_close(&s->io, spawn_freed);
	timer_close(&s->deadline, spawn_freed);
}

static void spawn_end(struct hold_spawn *s, struct tl_bytes info, const struct tl_err *err)
{
	hold_spawn_done *done = s->on_done;
	void *ctx = s->ctx;
	if (!done)
		return;
	/* freed by the loop later: info may lie in s->in until then */
	hold_spawn_forget(s);
	done(ctx, info, err);
}

static void spawn_fail(struct hold_spawn *s, int code, const char *why)
{
	struct tl_err err = {0};
	err_set(&err, code, "start %s: %s", s->what, why);
	spawn_end(s, bytes_of(NULL, 0), &err);
}

/* {"ok":TermInfo} or {"error":{"name":…,"message":…}} */
static void spawn_answered(struct hold_spawn *s, struct tl_bytes line)
{
	yyjson_doc *d = json_parse(line, NULL);
	yyjson_val *root = d ? yyjson_doc_get_root(d) : NULL, *e = json_get(root, "error");
	size_t n = 0;
	char *info = json_get(root, "ok") ? yyjson_val_write(json_get(root, "ok"), 0, &n) : NULL;
	if (info) {
		spawn_end(s, bytes_of(info, n), NULL);
	} else if (e) {
		struct tl_err err = {0};
		const char *name = json_str(e, "name", "internal");
		const struct tl_error_row *row = err_row_by_name(name, strlen(name));
		err_set(&err, row ? row->code : TL_E_INTERNAL, "%s",
			json_str(e, "message", s->what));
		spawn_end(s, bytes_of(NULL, 0), &err);
	} else {
		spawn_fail(s, TL_E_INTERNAL, "its process answered nonsense");
	}
	free(info);
	yyjson_doc_free(d);
}

static void on_spawn_readable(void *ctx)
{
	struct hold_spawn *s = ctx;
	while (s->on_done) {
		struct tl_bytes line;
		size_t used, room = buf_room(&s->in) < 4096 ? buf_room(&s->in) : 4096;
		uint8_t *p = room ? buf_reserve(&s->in, room) : NULL;
		long n = p ? io_read(&s->io, p, room) : 0;
		if (n == TL_E_AGAIN)
			return;
		if (n <= 0) {
			spawn_fail(s, TL_E_INTERNAL, "its process ended without an answer");
			return;
		}
		buf_commit(&s->in, (size_t)n);
		const uint8_t *lf = memchr(buf_data(&s->in).p, '\n', s->in.len);
		if (!lf)
			continue;
		used = (size_t)(lf - buf_data(&s->in).p);
		line = bytes_of(buf_data(&s->in).p, used);
		spawn_answered(s, line);
	}
}

static void on_spawn_writable(void *ctx)
{
	struct hold_spawn *s = ctx;
	while (s->out.len) {
		struct tl_bytes b = buf_data(&s->out);
		long n = io_write(&s->io, b.p, b.n);
		if (n < 0)
			return; /* its answer, or the end of file, tells why */
		if (n == 0) {
			io_want_write(&s->io, true);
			return;
		}
		buf_consume(&s->out, (size_t)n);
	}
	buf_shrink(&s->out);
	io_finish(&s->io);
}

static void on_spawn_deadline(void *ctx)
{
	spawn_fail(ctx, TL_E_TIMEOUT, "its process did not answer");
}

static int spawn_text(struct buf *out, const struct hold_spawn_spec *spec)
{
	yyjson_mut_doc *d = yyjson_mut_doc_new(NULL);
	if (!d)
		return TL_E_NOMEM;
	yyjson_mut_val *o = yyjson_mut_obj(d);
	yyjson_mut_doc_set_root(d, o);
	bool ok = yyjson_mut_obj_add_str(d, o, "id", spec->id) &&
		  yyjson_mut_obj_add_str(d, o, "runDir", spec->run_dir) &&
		  yyjson_mut_obj_add_str(d, o, "version", TL_VERSION);
	if (ok && spec->browser)
		ok = yyjson_mut_obj_add_str(d, o, "browser", spec->browser);
	if (ok && spec->raw)
		ok = yyjson_mut_obj_add_bool(d, o, "raw", true);
	if (ok && spec->params)
		ok = yyjson_mut_obj_add_val(d, o, "params", yyjson_val_mut_copy(d, spec->params));
	int rc = ok ? json_write(out, d) : TL_E_NOMEM;
	yyjson_mut_doc_free(d);
	return rc;
}

static int spawn_process(const struct hold_spawn_spec *spec, int fd, struct tl_err *err)
{
	char *argv[] = {(char *)(uintptr_t) "towline-host",
			(char *)(uintptr_t)(spec->face ? spec->face : "hold"),
			(char *)(uintptr_t)spec->id, NULL};
	struct child_spec child = {.file = spec->exe ? spec->exe : "/proc/self/exe",
				   .argv = argv,
				   .fd = {fd, fd, -1},
				   .new_session = true,
				   .ctty = -1};
	return spawn_detached(&child, -1, err);
}

struct hold_spawn *hold_spawn(struct loop *l, const struct hold_spawn_spec *spec,
			      hold_spawn_done *on_done, void *ctx, struct tl_err *err)
{
	int pair[2] = {-1, -1};
	const char *what = spec->what ? spec->what : "a terminal";
	struct hold_spawn *s = calloc(1, sizeof(*s));
	if (!s) {
		err_set(err, TL_E_NOMEM, "start %s", what);
		return NULL;
	}
	buf_init(&s->out, TL_LIMIT_RPC_MESSAGE);
	buf_init(&s->in, 2 * TL_LIMIT_TERM_FRAME);
	int rc = spawn_text(&s->out, spec);
	if (rc)
		err_set(err, rc, "start %s: its parameters", what);
	if (!rc && (rc = socket_pair(pair)) != 0)
		err_set(err, rc, "start %s: make a socket pair", what);
	if (!rc)
		rc = spawn_process(spec, pair[1], err);
	if (!rc && (rc = io_open(l, &s->io, pair[0], pair[0], on_spawn_readable, on_spawn_writable,
				 s)) != 0)
		err_set(err, rc, "start %s: watch its process", what);
	if (pair[1] >= 0)
		close(pair[1]);
	if (rc) {
		if (pair[0] >= 0)
			close(pair[0]);
		buf_fini(&s->out);
		free(s);
		return NULL;
	}
	s->what = what;
	s->on_done = on_done;
	s->ctx = ctx;
	timer_init(l, &s->deadline, on_spawn_deadline, s);
	timer_start(&s->deadline, spec->deadline_ms ? spec->deadline_ms : DEADLINE_MS);
	io_want_write(&s->io, true);
	return s;
}
