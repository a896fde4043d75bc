/* run.c - commands, copies, tunnels: each a job with a cancel token. */
#include "session.h"

#include <string.h>

struct run {
	struct job job;
	struct tl_session *session;
	struct tl_exec exec;
	struct tl_exit exit;
	struct tl_copy copy;
	const char *const *files;
	const char *to;
	int upload;
	struct tl_tunnel *tunnel;
	SEXP pointer;
	SEXP first, second; /* R functions: outputs; progress and problems */
};

static void run_begin(struct run *r, int (*work)(void *, struct tl_error *), SEXP session,
		      SEXP first, SEXP second)
{
	struct tl_session *s = session_of(session);

	memset(r, 0, sizeof(*r));
	if (job_init(&r->job, work, r) != 0)
		Rf_error("out of memory");
	r->session = s;
	r->pointer = session;
	r->first = first;
	r->second = second;
	r->job.cancel = tl_cancel_new();
	if (!r->job.cancel) {
		job_fini(&r->job);
		Rf_error("out of memory");
	}
	session_busy(session, 1);
}

/* The end: value, or what went wrong. */
static SEXP run_end(struct run *r, SEXP value)
{
	SEXP out;

	PROTECT(value);
	session_busy(r->pointer, -1);
	tl_cancel_free(r->job.cancel);
	out = r->job.rc < 0 || r->job.interrupted ? job_failure(&r->job) : value;
	job_fini(&r->job);
	UNPROTECT(1);
	return out;
}

static void run_go(struct run *r)
{
	int rc = job_run(&r->job);

	if (rc > 0) {
		r->job.rc = -2;
		strcpy(r->job.err.name, "out_of_memory");
		strcpy(r->job.err.message, "no thread could be started");
	}
}

/* ---- commands ---- */

struct piece {
	SEXP fn;
	const void *p;
	size_t n;
	int go_on;
};

static void give(void *arg)
{
	struct piece *g = arg;
	SEXP raw = PROTECT(Rf_allocVector(RAWSXP, (R_xlen_t)g->n)), said;

	if (g->n)
		memcpy(RAW(raw), g->p, g->n);
	said = call_r(g->fn, raw);
	g->go_on = Rf_isLogical(said) && XLENGTH(said) == 1 && LOGICAL(said)[0] == TRUE;
	UNPROTECT(1);
}

static int give_r(struct run *r, SEXP fn, const void *p, size_t n)
{
	struct piece g = {fn, p, n, 0};

	if (fn == R_NilValue)
		return 0;
	return job_ask(&r->job, give, &g) && g.go_on ? 0 : 1;
}

static int on_stdout(void *ctx, const void *p, size_t n)
{
	struct run *r = ctx;

	return give_r(r, r->first, p, n);
}

static int on_stderr(void *ctx, const void *p, size_t n)
{
	struct run *r = ctx;

	return give_r(r, r->second, p, n);
}

static int exec_work(void *ctx, struct tl_error *err)
{
	struct run *r = ctx;

	return tl_exec(r->session, &r->exec, &r->exit, err);
}

/* Command lines, function(raw) -> TRUE or NULL for each output, input (raw or NULL), seconds (0: no
 * end) -> c(status, signal), or a failure. */
SEXP towline_exec(SEXP session, SEXP commands, SEXP out, SEXP errout, SEXP input, SEXP timeout)
{
	struct run r;
	SEXP value;

	run_begin(&r, exec_work, session, out, errout);
	r.exec = (struct tl_exec)TL_EXEC_INIT;
	r.exec.commands = texts_of(commands);
	r.exec.on_stdout = on_stdout;
	r.exec.on_stderr = on_stderr;
	r.exec.ctx = &r;
	r.exec.cancel = r.job.cancel;
	r.exec.timeout_ms = (int)(Rf_asReal(timeout) * 1000);
	if (TYPEOF(input) == RAWSXP) {
		r.exec.stdin_data = RAW(input);
		r.exec.stdin_n = (size_t)XLENGTH(input);
	}
	run_go(&r);
	value = PROTECT(Rf_allocVector(INTSXP, 2));
	INTEGER(value)[0] = r.exit.status;
	INTEGER(value)[1] = r.exit.signal;
	value = run_end(&r, value);
	UNPROTECT(1);
	return value;
}

/* ---- copies ---- */

struct news {
	struct run *run;
	const struct tl_progress *progress;
	const char *path;
	const struct tl_error *why;
	int go_on;
};

static void tell_progress(void *arg)
{
	struct news *n = arg;
	const char *names[] = {"path", "done", "total", "files_done", "files_total", ""};
	SEXP in = PROTECT(Rf_mkNamed(VECSXP, names)), said;

	SET_VECTOR_ELT(in, 0, string_of(n->progress->path));
	SET_VECTOR_ELT(in, 1, Rf_ScalarReal((double)n->progress->done));
	SET_VECTOR_ELT(in, 2, Rf_ScalarReal((double)n->progress->total));
	SET_VECTOR_ELT(in, 3, Rf_ScalarReal((double)n->progress->files_done));
	SET_VECTOR_ELT(in, 4, Rf_ScalarReal((double)n->progress->files_total));
	said = call_r(n->run->first, in);
	n->go_on = Rf_isLogical(said) && XLENGTH(said) == 1 && LOGICAL(said)[0] == TRUE;
	UNPROTECT(1);
}

static int on_progress(void *ctx, const struct tl_progress *p)
{
	struct news n = {ctx, p, NULL, NULL, 0};

	return job_ask(&n.run->job, tell_progress, &n) && n.go_on ? 0 : 1;
}

static void tell_problem(void *arg)
{
	struct news *n = arg;
	SEXP in = PROTECT(Rf_allocVector(STRSXP, 2));

	SET_STRING_ELT(in, 0, Rf_mkCharCE(n->path, CE_UTF8));
	SET_STRING_ELT(in, 1, Rf_mkCharCE(n->why->message, CE_UTF8));
	call_r(n->run->second, in);
	UNPROTECT(1);
}

static void on_problem(void *ctx, const char *path, const struct tl_error *why)
{
	struct news n = {ctx, NULL, path, why, 0};

	job_ask(&n.run->job, tell_problem, &n);
}

static int copy_work(void *ctx, struct tl_error *err)
{
	struct run *r = ctx;

	return (r->upload ? tl_upload : tl_download)(r->session, r->files, r->to, &r->copy, err);
}

/* upload or download; function(list) -> TRUE, or NULL; function(c(path, message)) -> NULL or a
 * failure. */
SEXP towline_copy(SEXP session, SEXP upload, SEXP files, SEXP to, SEXP progress, SEXP problem)
{
	struct run r;

	run_begin(&r, copy_work, session, progress, problem);
	r.upload = Rf_asLogical(upload) == TRUE;
	r.files = texts_of(files);
	r.to = text_of(to);
	r.copy = (struct tl_copy)TL_COPY_INIT;
	r.copy.progress = progress == R_NilValue ? NULL : on_progress;
	r.copy.problem = on_problem;
	r.copy.ctx = &r;
	r.copy.cancel = r.job.cancel;
	run_go(&r);
	return run_end(&r, R_NilValue);
}

/* ---- tunnels ---- */

static int wait_work(void *ctx, struct tl_error *err)
{
	struct run *r = ctx;

	return tl_tunnel_wait(r->tunnel, r->job.cancel, err);
}

/* Listens, says so by function(port), and blocks until the end. */
SEXP towline_tunnel(SEXP session, SEXP listen, SEXP target, SEXP once, SEXP opened)
{
	struct tl_tunnel_options o = TL_TUNNEL_OPTIONS_INIT;
	struct run r;

	run_begin(&r, wait_work, session, opened, R_NilValue);
	o.listen = text_of(listen);
	o.target = text_of(target);
	o.once = Rf_asLogical(once) == TRUE;
	r.job.rc = tl_tunnel_open(r.session, &o, &r.tunnel, &r.job.err);
	if (r.job.rc == 0) {
		call_r(opened, Rf_ScalarInteger(tl_tunnel_port(r.tunnel)));
		run_go(&r);
		tl_tunnel_close(r.tunnel);
	}
	return run_end(&r, R_NilValue);
}
