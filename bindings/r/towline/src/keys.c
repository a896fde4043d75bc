/* keys.c - the user's keys. Short calls that run on R's thread; a passphrase is asked for there. */
#include "session.h"

#include <string.h>

static SEXP failure_of(int rc, const struct tl_error *e)
{
	struct job j;

	memset(&j, 0, sizeof(j));
	j.rc = rc;
	j.err = *e;
	return job_failure(&j);
}

/* A list of columns: path, type, fingerprint, comment, pubkey, bits, in_agent, encrypted. */
SEXP towline_keys(SEXP folder)
{
	const char *names[] = {"path", "type",     "fingerprint", "comment", "pubkey",
			       "bits", "in_agent", "encrypted",   ""};
	struct tl_keys keys;
	struct tl_error e;
	SEXP out;
	int rc;

	memset(&e, 0, sizeof(e));
	memset(&keys, 0, sizeof(keys));
	rc = tl_keys_list(text_of(folder), &keys, &e);
	if (rc < 0)
		return failure_of(rc, &e);
	out = PROTECT(Rf_mkNamed(VECSXP, names));
	for (int c = 0; c < 8; c++)
		SET_VECTOR_ELT(out, c,
			       Rf_allocVector(c < 5    ? STRSXP
					      : c == 5 ? INTSXP
						       : LGLSXP,
					      (R_xlen_t)keys.n));
	for (size_t i = 0; i < keys.n; i++) {
		const struct tl_key *k = &keys.v[i];
		const char *texts[] = {k->path, k->type, k->fingerprint, k->comment, k->public_key};
		for (int c = 0; c < 5; c++)
			SET_STRING_ELT(VECTOR_ELT(out, c), (R_xlen_t)i,
				       Rf_mkCharCE(texts[c] ? texts[c] : "", CE_UTF8));
		INTEGER(VECTOR_ELT(out, 5))[i] = k->bits;
		LOGICAL(VECTOR_ELT(out, 6))[i] = k->in_agent != 0;
		LOGICAL(VECTOR_ELT(out, 7))[i] = k->encrypted != 0;
	}
	tl_keys_free(&keys);
	UNPROTECT(1);
	return out;
}

SEXP towline_key_new(SEXP path, SEXP type, SEXP comment, SEXP passphrase)
{
	struct tl_error e;
	int rc;

	memset(&e, 0, sizeof(e));
	rc = tl_key_new(text_of(path), text_of(type), text_of(comment), text_of(passphrase), &e);
	return rc < 0 ? failure_of(rc, &e) : R_NilValue;
}

struct add {
	struct job job;
	const char *path;
	SEXP ask;
};

struct question {
	struct add *add;
	const char *text;
	char *answer;
	size_t n;
	int answered;
};

static void ask_r(void *arg)
{
	struct question *q = arg;
	SEXP said = PROTECT(call_r(q->add->ask, string_of(q->text)));
	const char *p = text_of(said);

	if (p && strlen(p) < q->n) {
		memcpy(q->answer, p, strlen(p) + 1);
		q->answered = 1;
	}
	UNPROTECT(1);
}

static int on_prompt(void *ctx, enum tl_prompt_kind kind, const char *text, int attempt,
		     char *answer, size_t n)
{
	struct question q = {ctx, text, answer, n, 0};

	(void)kind;
	(void)attempt;
	return job_ask(&q.add->job, ask_r, &q) && q.answered ? 0 : 1;
}

static int add_work(void *ctx, struct tl_error *err)
{
	struct add *a = ctx;

	return tl_key_add(a->path, on_prompt, a, err);
}

SEXP towline_key_add(SEXP path, SEXP ask)
{
	struct add a;
	SEXP out;

	memset(&a, 0, sizeof(a));
	if (job_init(&a.job, add_work, &a) != 0)
		Rf_error("out of memory");
	a.path = text_of(path);
	a.ask = ask;
	/* a token that nothing listens to: an interrupt is heard when ssh-add has ended */
	a.job.cancel = tl_cancel_new();
	if (job_run(&a.job) != 0)
		a.job.rc = -2;
	tl_cancel_free(a.job.cancel);
	out = a.job.rc < 0 || a.job.interrupted ? job_failure(&a.job) : R_NilValue;
	job_fini(&a.job);
	return out;
}

/* TRUE: added; FALSE: it was there. */
SEXP towline_key_copy(SEXP session, SEXP path)
{
	struct tl_error e;
	int rc;

	memset(&e, 0, sizeof(e));
	rc = tl_key_copy(session_of(session), text_of(path), &e);
	return rc < 0 ? failure_of(rc, &e) : Rf_ScalarLogical(rc == 1);
}
