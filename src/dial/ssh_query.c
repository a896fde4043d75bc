/* ssh_query.c - see ssh_query.h. The query owns its child and its two pipes. */
#include "dial/ssh_query.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/str.h"
#include "dial/args.h"
#include "dial/text.h"
#include "loop/child.h"
#include "loop/io.h"

#define OUTPUT_MAX 262144
#define WORDS_MAX  4096
#define PIECE      16384
#define HANDLES    3

struct ssh_query {
	struct io out, err;
	struct child child;
	struct loop_timer patience;
	struct buf text, words; /* standard output, standard error */
	char *host;
	bool exited, over;
	int closing;
	void (*on_done)(void *ctx, struct tl_bytes config, const struct tl_err *err);
	void *ctx;
};

static void part_closed(void *ctx)
{
	struct ssh_query *q = ctx;

	if (--q->closing > 0)
		return;
	buf_fini(&q->text);
	buf_fini(&q->words);
	free(q->host);
	free(q);
}

void ssh_query_cancel(struct ssh_query *q)
{
	if (q->over)
		return;
	q->over = true;
	if (!q->exited) {
		child_kill(&q->child, SIGKILL, true);
		child_forget(&q->child);
	}
	q->closing = HANDLES;
	io_close(&q->out, part_closed);
	io_close(&q->err, part_closed);
	timer_close(&q->patience, part_closed);
}

/* What ssh wrote on standard error last, or "". The summary at the end says less than the line that
 * it sums up. */
static const char *last_words(struct ssh_query *q)
{
	char *text = (char *)(uintptr_t)buf_cstr(&q->words), *lf; /* ours */
	size_t n = text ? strlen(text) : 0;

	for (;;) {
		while (n > 0 && (text[n - 1] == '\n' || text[n - 1] == '\r'))
			text[--n] = 0;
		lf = text ? strrchr(text, '\n') : NULL;
		if (!lf || !strstr(lf, "terminating, "))
			break;
		n = (size_t)(lf - text);
	}
	return text ? text_clean(lf ? lf + 1 : text, false) : "";
}

static void done(struct ssh_query *q, const struct tl_err *err)
{
	struct tl_bytes config = err ? bytes_str("") : buf_data(&q->text);

	/* the buffers live until the handles are closed, which is not now */
	ssh_query_cancel(q);
	q->on_done(q->ctx, config, err);
}

/* More than ssh ever says is not its configuration. */
static void drain(struct io *io, struct buf *into)
{
	uint8_t in[PIECE];
	long n;

	while ((n = io_read(io, in, sizeof(in))) > 0)
		(void)buf_put(into, in, (size_t)n);
	if (n != TL_E_AGAIN)
		io_want_read(io, false);
}

static void on_out(void *ctx)
{
	struct ssh_query *q = ctx;

	drain(&q->out, &q->text);
}

static void on_err(void *ctx)
{
	struct ssh_query *q = ctx;

	drain(&q->err, &q->words);
}

/* What it wrote is in the pipes now; their end is not waited for, because a background child of a
 * Match exec may hold them open. */
static void on_exited(void *ctx, int kind, int value)
{
	struct ssh_query *q = ctx;
	const char *words;
	struct tl_err e;

	q->exited = true;
	drain(&q->out, &q->text);
	drain(&q->err, &q->words);
	if (kind == 0 && value == 0) {
		done(q, NULL);
		return;
	}
	words = last_words(q);
	if (*words)
		err_set(&e, TL_E_SSHCONFIG, "ssh does not accept its configuration for %.200s: %s",
			q->host, words);
	else
		err_set(&e, TL_E_SSHCONFIG, "ssh -G %.200s ended with %s %d", q->host,
			kind ? "signal" : "status", value);
	done(q, &e);
}

static void too_late(void *ctx)
{
	struct ssh_query *q = ctx;
	struct tl_err e;

	err_set(&e, TL_E_TIMEOUT, "ssh -G %.200s does not end", q->host);
	done(q, &e);
}

static int open_pipe(struct loop *l, struct io *io, void (*on_readable)(void *), void *ctx,
		     int *ret_write, struct tl_err *err)
{
	int fds[2], rc;

	if (pipe2(fds, O_CLOEXEC) != 0)
		return err_set(err, TL_E_IO, "cannot make a pipe for ssh");
	rc = io_open(l, io, fds[0], fds[0], on_readable, NULL, ctx);
	if (rc) {
		close(fds[0]);
		close(fds[1]);
		return err_set(err, rc, "cannot watch ssh");
	}
	*ret_write = fds[1];
	return 0;
}

static int spawn(struct loop *l, struct ssh_query *q, struct strv *argv, struct tl_err *err)
{
	struct child_spec spec = {
	    .argv = argv->v, .fd = {-1, -1, -1}, .new_session = true, .ctty = -1};
	int rc = open_pipe(l, &q->out, on_out, q, &spec.fd[1], err);

	rc = rc ? rc : open_pipe(l, &q->err, on_err, q, &spec.fd[2], err);
	rc = rc ? rc : child_spawn(l, &q->child, &spec, on_exited, q, err);
	if (rc == TL_E_NOENT || rc == TL_E_ACCES)
		rc = err_set(err, TL_E_NOSSH, "the program %s cannot be run", argv->v[0]);
	for (int i = 1; i < 3; i++)
		if (spec.fd[i] >= 0)
			close(spec.fd[i]);
	return rc;
}

struct ssh_query *ssh_query_start(struct loop *l, const struct dial_target *t, const char *ssh_path,
				  uint64_t patience_ms,
				  void (*on_done)(void *ctx, struct tl_bytes config,
						  const struct tl_err *err),
				  void *ctx, struct tl_err *err)
{
	struct ssh_query *q = calloc(1, sizeof(*q));
	struct strv argv = {0};
	int rc;

	if (!q || !(q->host = str_dup(t->host))) {
		free(q);
		err_set(err, TL_E_NOMEM, "cannot ask ssh about %.200s: out of memory", t->host);
		return NULL;
	}
	q->on_done = on_done;
	q->ctx = ctx;
	buf_init(&q->text, OUTPUT_MAX);
	buf_init(&q->words, WORDS_MAX);
	timer_init(l, &q->patience, too_late, q);
	rc = args_query(&argv, t, ssh_path, err);
	rc = rc ? rc : spawn(l, q, &argv, err);
	strv_fini(&argv);
	if (rc == 0) {
		timer_start(&q->patience, patience_ms);
		return q;
	}
	q->exited = true;
	/* only what was opened tells of its close */
	q->over = true;
	q->closing = 1 + q->out.open + q->err.open;
	if (q->out.open)
		io_close(&q->out, part_closed);
	if (q->err.open)
		io_close(&q->err, part_closed);
	timer_close(&q->patience, part_closed);
	return NULL;
}

bool ssh_query_line(struct tl_bytes *config, struct tl_bytes *ret_key, struct tl_bytes *ret_value)
{
	while (config->n) {
		const uint8_t *lf = memchr(config->p, '\n', config->n), *space;
		size_t n = lf ? (size_t)(lf - config->p) : config->n;
		struct tl_bytes line = bytes_of(config->p, n);

		n += lf ? 1 : 0;
		config->p += n;
		config->n -= n;
		space = memchr(line.p, ' ', line.n);
		if (line.n == 0)
			continue;
		*ret_key = bytes_of(line.p, space ? (size_t)(space - line.p) : line.n);
		*ret_value = space ? bytes_of(space + 1, line.n - ret_key->n - 1)
				   : bytes_of(line.p + line.n, 0);
		return true;
	}
	return false;
}
