/* session.h - the session behind an R object. */
#ifndef TOWLINE_R_SESSION_H
#define TOWLINE_R_SESSION_H

#include "job.h"

/* The library's session of an external pointer; an R error when it was closed. */
struct tl_session *session_of(SEXP pointer);
/* One call more (1) or less (-1) is under way. */
void session_busy(SEXP pointer, int by);

#endif
