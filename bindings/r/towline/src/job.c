/* job.c - see job.h. */
#include "job.h"

#include <signal.h>
#include <string.h>
#include <time.h>

#define LOOK_NS 50000000L /* how often R is asked whether the user has interrupted */

int job_init(struct job *j, int (*work)(void *, struct tl_error *), void *ctx)
{
	int rc;

	memset(j, 0, sizeof(*j));
	j->work = work;
	j->ctx = ctx;
	rc = pthread_mutex_init(&j->lock, NULL);
	if (rc)
		return rc;
	rc = pthread_cond_init(&j->changed, NULL);
	if (rc)
		pthread_mutex_destroy(&j->lock);
	return rc;
}

void job_fini(struct job *j)
{
	pthread_cond_destroy(&j->changed);
	pthread_mutex_destroy(&j->lock);
}

static void *run(void *arg)
{
	struct job *j = arg;
	struct tl_error err;
	int rc;

	memset(&err, 0, sizeof(err));
	pthread_mutex_lock(&j->lock);
	j->self = pthread_self();
	pthread_mutex_unlock(&j->lock);
	rc = j->work(j->ctx, &err);
	pthread_mutex_lock(&j->lock);
	j->rc = rc;
	j->err = err;
	j->done = 1;
	pthread_cond_broadcast(&j->changed);
	pthread_mutex_unlock(&j->lock);
	return NULL;
}

static void look(void *unused)
{
	(void)unused;
	R_CheckUserInterrupt();
}

void job_interrupt(struct job *j)
{
	pthread_mutex_lock(&j->lock);
	j->interrupted = 1;
	pthread_mutex_unlock(&j->lock);
	tl_cancel(j->cancel);
}

/* Waits a moment with the lock held; then asks R, without it. */
static void wait_and_look(struct job *j)
{
	struct timespec until;
	int late;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_nsec += LOOK_NS;
	until.tv_sec += until.tv_nsec / 1000000000L;
	until.tv_nsec %= 1000000000L;
	late = pthread_cond_timedwait(&j->changed, &j->lock, &until) != 0;
	if (!late || j->interrupted)
		return;
	pthread_mutex_unlock(&j->lock);
	if (!R_ToplevelExec(look, NULL))
		job_interrupt(j);
	pthread_mutex_lock(&j->lock);
}

int job_run(struct job *j)
{
	sigset_t all, old;
	int rc;

	/* the program's signals are for R's own thread */
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &old);
	rc = pthread_create(&j->worker, NULL, run, j);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (rc)
		return rc;
	pthread_mutex_lock(&j->lock);
	while (!j->done) {
		if (j->ask) {
			void (*fn)(void *) = j->ask;
			pthread_mutex_unlock(&j->lock);
			fn(j->ask_arg);
			pthread_mutex_lock(&j->lock);
			j->ask = NULL;
			pthread_cond_broadcast(&j->changed);
		} else {
			wait_and_look(j);
		}
	}
	pthread_mutex_unlock(&j->lock);
	pthread_join(j->worker, NULL);
	return 0;
}

int job_ask(struct job *j, void (*fn)(void *), void *arg)
{
	int ran = 0;

	if (!pthread_equal(pthread_self(), j->self))
		return 0;
	pthread_mutex_lock(&j->lock);
	if (!j->interrupted) {
		j->ask_arg = arg;
		j->ask = fn;
		pthread_cond_broadcast(&j->changed);
		while (j->ask)
			pthread_cond_wait(&j->changed, &j->lock);
		ran = 1;
	}
	pthread_mutex_unlock(&j->lock);
	return ran;
}

SEXP call_r(SEXP fn, SEXP argument)
{
	SEXP call, value;
	int failed = 0;

	if (fn == R_NilValue)
		return R_NilValue;
	PROTECT(argument);
	call = PROTECT(Rf_lang2(fn, argument));
	value = R_tryEvalSilent(call, R_GlobalEnv, &failed);
	UNPROTECT(2);
	return failed ? R_NilValue : value;
}

SEXP string_of(const char *p)
{
	return Rf_ScalarString(Rf_mkCharCE(p ? p : "", CE_UTF8));
}

const char *text_of(SEXP x)
{
	if (!Rf_isString(x) || XLENGTH(x) < 1 || STRING_ELT(x, 0) == NA_STRING)
		return NULL;
	return Rf_translateCharUTF8(STRING_ELT(x, 0));
}

const char *const *texts_of(SEXP x)
{
	R_xlen_t n = Rf_isString(x) ? XLENGTH(x) : 0;
	const char **v = (const char **)R_alloc((size_t)n + 1, sizeof(*v));

	for (R_xlen_t i = 0; i < n; i++)
		v[i] = Rf_translateCharUTF8(STRING_ELT(x, i));
	v[n] = NULL;
	return v;
}

SEXP job_failure(const struct job *j)
{
	const char *names[] = {"number", "name", "message", "todo", "interrupted", ""};
	SEXP out = PROTECT(Rf_mkNamed(VECSXP, names));

	SET_VECTOR_ELT(out, 0, Rf_ScalarInteger(j->err.number ? j->err.number : j->rc));
	SET_VECTOR_ELT(out, 1, string_of(j->err.name));
	SET_VECTOR_ELT(out, 2, string_of(j->err.message));
	SET_VECTOR_ELT(out, 3, string_of(j->err.todo));
	SET_VECTOR_ELT(out, 4, Rf_ScalarLogical(j->interrupted));
	Rf_setAttrib(out, R_ClassSymbol, Rf_mkString("towline_failure"));
	UNPROTECT(1);
	return out;
}
