/* init.c - what R may call. */
#include "job.h"

#include <R_ext/Rdynload.h>
#include <signal.h>

SEXP towline_connect(SEXP o, SEXP ask, SEXP log);
SEXP towline_disconnect(SEXP pointer);
SEXP towline_info(SEXP pointer);
SEXP towline_version(void);
SEXP towline_exec(SEXP session, SEXP commands, SEXP out, SEXP errout, SEXP input, SEXP timeout);
SEXP towline_copy(SEXP session, SEXP upload, SEXP files, SEXP to, SEXP progress, SEXP problem);
SEXP towline_tunnel(SEXP session, SEXP listen, SEXP target, SEXP once, SEXP opened);
SEXP towline_keys(SEXP folder);
SEXP towline_key_new(SEXP path, SEXP type, SEXP comment, SEXP passphrase);
SEXP towline_key_add(SEXP path, SEXP ask);
SEXP towline_key_copy(SEXP session, SEXP path);

/* The user's interrupt, that ended a call, goes on as R's own. */
static SEXP towline_interrupt(void)
{
	raise(SIGINT);
	R_CheckUserInterrupt();
	return R_NilValue;
}

#define CALL(name, n)                                                                              \
	{                                                                                          \
#name, (DL_FUNC)&name, n                                                           \
	}

static const R_CallMethodDef calls[] = {
    CALL(towline_connect, 3), CALL(towline_disconnect, 1), CALL(towline_info, 1),
    CALL(towline_version, 0), CALL(towline_exec, 6),       CALL(towline_copy, 6),
    CALL(towline_tunnel, 5),  CALL(towline_keys, 1),       CALL(towline_key_new, 4),
    CALL(towline_key_add, 2), CALL(towline_key_copy, 2),   CALL(towline_interrupt, 0),
    {NULL, NULL, 0}};

void R_init_towline(DllInfo *dll)
{
	R_registerRoutines(dll, NULL, calls, NULL, NULL);
	R_useDynamicSymbols(dll, FALSE);
	R_forceSymbols(dll, TRUE);
}
