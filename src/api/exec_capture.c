/* exec_capture.c - both outputs of a command in memory. */
#include <stdlib.h>
#include <string.h>

#include "api/session.h"
#include "base/buf.h"
#include "base/str.h"

#define CAPTURE_MAX ((size_t)256 * 1024 * 1024)

struct capture {
	struct buf out, errout;
	int failed;
};

static int take(struct capture *c, struct buf *b, const void *p, size_t n)
{
	int rc = buf_put(b, p, n);

	if (rc)
		c->failed = rc;
	return rc;
}

static int take_out(void *ctx, const void *p, size_t n)
{
	struct capture *c = ctx;

	return take(c, &c->out, p, n);
}

static int take_errout(void *ctx, const void *p, size_t n)
{
	struct capture *c = ctx;

	return take(c, &c->errout, p, n);
}

/* Bytes of a buf with a NUL behind them; NULL: no memory. */
static void *take_over(struct buf *b, size_t *ret_n)
{
	struct tl_bytes d = buf_data(b);

	*ret_n = d.n;
	return str_ndup(d.p, d.n);
}

/* The command as a person wrote it, shortened. */
static const char *name_of(const struct tl_exec *x)
{
	return x->commands ? x->commands[0] : x->argv[0];
}

static int judge(struct tl_session *s, const struct tl_exec *x, const struct tl_exit *e,
		 struct tl_error *err)
{
	if (e->signal)
		return api_failf(err, TL_E_SIGNALED, "“%.200s” on %s was ended by signal %d",
				 name_of(x), session_host(s), e->signal);
	if (e->status)
		return api_failf(err, TL_E_STATUS, "“%.200s” on %s failed with status %d",
				 name_of(x), session_host(s), e->status);
	return 0;
}

int tl_capture(struct tl_session *s, const struct tl_exec *x, size_t max_bytes, int check,
	       struct tl_output *ret, struct tl_error *err)
{
	size_t max = max_bytes ? max_bytes : CAPTURE_MAX;
	struct capture c = {0};
	struct tl_exec own = TL_EXEC_INIT;
	int rc;

	if (!ret)
		return api_failf(err, TL_E_INVAL, "cannot capture a command: nowhere to put it");
	memset(ret, 0, sizeof(*ret));
	if (!x || !API_HAS(x, struct tl_exec, timeout_ms))
		return api_failf(err, TL_E_INVAL,
				 "cannot run a command: it was not made with TL_EXEC_INIT");
	memcpy(&own, x, sizeof(own) < x->size ? sizeof(own) : x->size);
	own.size = sizeof(own);
	own.stdout_fd = own.stderr_fd = -1;
	own.on_stdout = take_out;
	own.on_stderr = take_errout;
	own.ctx = &c;
	buf_init(&c.out, max);
	buf_init(&c.errout, max);
	rc = tl_exec(s, &own, &ret->exit, err);
	if (c.failed)
		rc = api_failf(err, c.failed,
			       c.failed == TL_E_LIMIT
				   ? "“%.200s” on %s was ended: it printed more than %zu bytes"
				   : "“%.200s” on %s was ended: no memory for %zu bytes",
			       name_of(x), session_host(s), max);
	if (rc == 0) {
		ret->out = take_over(&c.out, &ret->out_n);
		buf_fini(&c.out);
		ret->errout = take_over(&c.errout, &ret->errout_n);
		if (!ret->out || !ret->errout) {
			tl_output_free(ret);
			rc = api_failf(err, TL_E_NOMEM, "no memory for the output of a command");
		} else if (check) {
			rc = judge(s, x, &ret->exit, err);
		}
	}
	buf_fini(&c.out);
	buf_fini(&c.errout);
	return rc;
}

void tl_output_free(struct tl_output *o)
{
	if (!o)
		return;
	free(o->out);
	free(o->errout);
	memset(o, 0, sizeof(*o));
}
