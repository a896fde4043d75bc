/* session.c - connecting, facts, the end.
 * What a session borrows from its caller for its whole life (functions for questions and log lines)
 * is a struct link; it knows the job that connects as long as there is one, and then nobody. */
#include "session.h"

#include <stdlib.h>
#include <string.h>

struct link {
	struct job job; /* connecting */
	int connecting;
	int busy; /* calls under way: functions of the user may not end the session */
	struct tl_session *session;
	char *host;
	struct tl_options opt;
	char **ssh_options;
	SEXP ask, log; /* R functions, protected while connecting */
};

/* ---- questions and log lines ---- */

struct question {
	struct link *link;
	enum tl_prompt_kind kind;
	const char *text;
	int attempt;
	char *answer;
	size_t n;
	int answered;
};

static void ask_r(void *arg)
{
	static const char *const kinds[] = {"hostkey",  "passphrase", "password",
					    "question", "pin",        "touch"};
	const char *names[] = {"kind", "text", "attempt", ""};
	struct question *q = arg;
	SEXP in = PROTECT(Rf_mkNamed(VECSXP, names)), out;
	const char *said;

	SET_VECTOR_ELT(in, 0, Rf_mkString(kinds[q->kind]));
	SET_VECTOR_ELT(in, 1, string_of(q->text));
	SET_VECTOR_ELT(in, 2, Rf_ScalarInteger(q->attempt));
	out = PROTECT(call_r(q->link->ask, in));
	said = text_of(out);
	if (said && strlen(said) < q->n) {
		memcpy(q->answer, said, strlen(said) + 1);
		q->answered = 1;
	}
	UNPROTECT(2);
}

static int on_prompt(void *ctx, enum tl_prompt_kind kind, const char *text, int attempt,
		     char *answer, size_t n)
{
	struct question q = {ctx, kind, text, attempt, answer, n, 0};

	if (!q.link->connecting || !job_ask(&q.link->job, ask_r, &q))
		return 1;
	return q.answered ? 0 : 1;
}

struct log_line {
	struct link *link;
	const char *text;
};

static void log_r(void *arg)
{
	struct log_line *l = arg;

	call_r(l->link->log, string_of(l->text));
}

static void on_log(void *ctx, int level, const char *text)
{
	struct log_line l = {ctx, text};

	(void)level;
	if (l.link->connecting)
		job_ask(&l.link->job, log_r, &l);
}

/* ---- life ---- */

static void link_free(struct link *l)
{
	tl_disconnect(l->session);
	for (size_t i = 0; l->ssh_options && l->ssh_options[i]; i++)
		free(l->ssh_options[i]);
	free(l->ssh_options);
	tl_cancel_free(l->opt.cancel);
	free((char *)(uintptr_t)l->opt.config_file);
	free((char *)(uintptr_t)l->opt.key_file);
	free(l->host);
	free(l);
}

static int connect_work(void *ctx, struct tl_error *err)
{
	struct link *l = ctx;

	return tl_connect(l->host, &l->opt, &l->session, err);
}

static void finalize(SEXP pointer)
{
	struct link *l = R_ExternalPtrAddr(pointer);

	if (!l)
		return;
	R_ClearExternalPtr(pointer);
	Rf_warningcall_immediate(R_NilValue,
				 "the session to %s was forgotten and is closed now; please use "
				 "ssh_disconnect()",
				 l->host);
	link_free(l);
}

static char *copy_text(SEXP x)
{
	const char *p = text_of(x);

	return p ? strdup(p) : NULL;
}

static int copy_options(struct link *l, SEXP x)
{
	R_xlen_t n = Rf_isString(x) ? XLENGTH(x) : 0;

	l->ssh_options = calloc((size_t)n + 1, sizeof(char *));
	for (R_xlen_t i = 0; l->ssh_options && i < n; i++) {
		l->ssh_options[i] = strdup(Rf_translateCharUTF8(STRING_ELT(x, i)));
		if (!l->ssh_options[i])
			return 0;
	}
	return l->ssh_options != NULL;
}

/* list(host, keyfile, config, options, timeout in s, verbosity, via), function(list),
 * function(text)
 * -> external pointer, or a failure. */
SEXP towline_connect(SEXP o, SEXP ask, SEXP log)
{
	struct link *l = calloc(1, sizeof(*l));
	SEXP out;
	int rc;

	if (!l)
		Rf_error("out of memory");
	l->opt = (struct tl_options)TL_OPTIONS_INIT;
	l->host = copy_text(VECTOR_ELT(o, 0));
	l->opt.key_file = copy_text(VECTOR_ELT(o, 1));
	l->opt.config_file = copy_text(VECTOR_ELT(o, 2));
	l->opt.timeout_ms = (int)(Rf_asReal(VECTOR_ELT(o, 4)) * 1000);
	l->opt.verbosity = Rf_asInteger(VECTOR_ELT(o, 5));
	l->opt.via = (enum tl_via)Rf_asInteger(VECTOR_ELT(o, 6));
	l->opt.prompt = on_prompt;
	l->opt.log = on_log;
	l->opt.ctx = l;
	l->opt.cancel = tl_cancel_new();
	l->ask = ask;
	l->log = log;
	if (!l->host || !l->opt.cancel || !copy_options(l, VECTOR_ELT(o, 3)) ||
	    job_init(&l->job, connect_work, l) != 0) {
		link_free(l);
		Rf_error("out of memory");
	}
	l->opt.ssh_options = (const char *const *)l->ssh_options;
	l->job.cancel = l->opt.cancel;
	l->connecting = 1;
	rc = job_run(&l->job);
	l->connecting = 0;
	l->ask = l->log = R_NilValue;
	if (rc > 0 || l->job.rc != 0 || l->job.interrupted) {
		out = PROTECT(job_failure(&l->job));
		job_fini(&l->job);
		link_free(l);
		UNPROTECT(1);
		return out;
	}
	job_fini(&l->job);
	out = PROTECT(R_MakeExternalPtr(l, R_NilValue, R_NilValue));
	R_RegisterCFinalizerEx(out, finalize, TRUE);
	Rf_setAttrib(out, R_ClassSymbol, Rf_mkString("ssh_session"));
	UNPROTECT(1);
	return out;
}

static struct link *link_of(SEXP pointer)
{
	if (TYPEOF(pointer) != EXTPTRSXP || !Rf_inherits(pointer, "ssh_session"))
		Rf_error("this is no ssh session: make one with ssh_connect()");
	return R_ExternalPtrAddr(pointer);
}

struct tl_session *session_of(SEXP pointer)
{
	struct link *l = link_of(pointer);

	if (!l)
		Rf_error("the session has been disconnected: make a new one with ssh_connect()");
	return l->session;
}

void session_busy(SEXP pointer, int by)
{
	link_of(pointer)->busy += by;
}

SEXP towline_disconnect(SEXP pointer)
{
	struct link *l = link_of(pointer);

	session_of(pointer);
	if (l->busy)
		Rf_error("the session is in use: it cannot be disconnected by a function that one "
			 "of its "
			 "own calls runs");
	R_ClearExternalPtr(pointer);
	link_free(l);
	return R_NilValue;
}

static SEXP fact(const char *p)
{
	return p && *p ? string_of(p) : Rf_ScalarString(NA_STRING);
}

/* A list of facts; NULL for a session that was disconnected. */
SEXP towline_info(SEXP pointer)
{
	struct link *l = link_of(pointer);
	struct tl_info i = TL_INFO_INIT;
	struct tl_error e;
	SEXP out;

	if (!l)
		return R_NilValue;
	memset(&e, 0, sizeof(e));
	if (tl_session_info(l->session, &i, &e) != 0)
		Rf_error("%s", e.message);
	{
		const struct {
			const char *name, *value;
		} texts[] = {{"user", i.user},
			     {"host", i.host},
			     {"identity", i.identity},
			     {"sha1", i.fingerprint_sha1},
			     {"sha256", i.fingerprint_sha256},
			     {"address", i.address},
			     {"via", i.via},
			     {"auth_method", i.auth_method},
			     {"host_key_type", i.host_key_type},
			     {"cipher", i.cipher},
			     {"kex", i.kex},
			     {"server_version", i.server_version},
			     {"jump", i.jump},
			     {"platform", i.platform},
			     {"home", i.home},
			     {"plain_why", i.plain_why}};
		const R_xlen_t n = (R_xlen_t)(sizeof(texts) / sizeof(texts[0]));
		SEXP names = PROTECT(Rf_allocVector(STRSXP, n + 2));
		out = PROTECT(Rf_allocVector(VECSXP, n + 2));
		for (R_xlen_t k = 0; k < n; k++) {
			SET_STRING_ELT(names, k, Rf_mkChar(texts[k].name));
			SET_VECTOR_ELT(out, k, fact(texts[k].value));
		}
		SET_STRING_ELT(names, n, Rf_mkChar("port"));
		SET_VECTOR_ELT(out, n, Rf_ScalarInteger(i.port));
		SET_STRING_ELT(names, n + 1, Rf_mkChar("connected"));
		SET_VECTOR_ELT(out, n + 1,
			       Rf_ScalarLogical(i.connected && tl_is_connected(l->session)));
		Rf_setAttrib(out, R_NamesSymbol, names);
		UNPROTECT(2);
	}
	return out;
}

SEXP towline_version(void)
{
	return string_of(tl_version());
}
