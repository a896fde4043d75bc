/* job.h - a call of the library in a thread of its own, while R's thread waits: so Ctrl-C is heard
 * and R functions given by the user run where R allows it. Only R's thread touches R. */
#ifndef TOWLINE_R_JOB_H
#define TOWLINE_R_JOB_H

#include <pthread.h>
#include <towline.h>

#define R_NO_REMAP
#include <R.h>
#include <Rinternals.h>

struct job {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	pthread_t worker, self; /* the same thread: as we and as it know it */
	int (*work)(void *ctx, struct tl_error *err);
	void *ctx;
	struct tl_cancel *cancel;
	/* guarded by lock */
	void (*ask)(void *arg); /* waits to be run on R's thread */
	void *ask_arg;
	int done, interrupted;
	/* the result */
	int rc;
	struct tl_error err;
};

/* 0, or an errno. */
int job_init(struct job *j, int (*work)(void *ctx, struct tl_error *err), void *ctx);
void job_fini(struct job *j);
/* Runs it to its end; j->rc, j->err and j->interrupted say how it went. 0 or an errno. */
int job_run(struct job *j);
/* On the worker's thread: runs fn on R's thread and waits. On other threads, and after an
 * interrupt, nothing happens and 0 comes back; else 1. */
int job_ask(struct job *j, void (*fn)(void *arg), void *arg);
/* Ends the call and has R told of an interrupt when it is over. */
void job_interrupt(struct job *j);

/* Calls an R function of one argument without leaving C on errors; fn R_NilValue: R_NilValue. The
 * functions given by the package catch their own errors, so FALSE and NULL mean "stop". */
SEXP call_r(SEXP fn, SEXP argument);
/* The value that a failed call becomes in R: list(number, name, message, todo, interrupted). */
SEXP job_failure(const struct job *j);
/* NULL, or the text of a character vector of length one, valid as long as the vector. */
const char *text_of(SEXP x);
/* A NULL-terminated array over a character vector, in memory that R takes back. */
const char *const *texts_of(SEXP x);
/* A UTF-8 string. */
SEXP string_of(const char *p);

#endif
