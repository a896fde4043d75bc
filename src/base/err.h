/* err.h - errors as values, from the one table proto/errors.def.
 * Functions return 0 or a negative TL_E_*; a struct tl_err carries the detail for a person. */
#ifndef TL_BASE_ERR_H
#define TL_BASE_ERR_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

#ifndef TL_ERROR_NUMBERS /* the public header has the same ones */
#define TL_ERROR_NUMBERS
enum tl_error_number {
#define TL_ERROR(sym, num, name, retry, exit, http, rpc, what, todo) TL_E_##sym = -(num),
#include "proto/errors.def"
#undef TL_ERROR
};
#endif

/* One row of the table. */
struct tl_error_row {
	int code; /* TL_E_* (negative) */
	const char *symbol, *name, *what, *todo;
	bool retryable;
	int exit_status, http_status, rpc_code;
};

/* The row of a TL_E_* code; never NULL (unknown codes give INTERNAL's). */
const struct tl_error_row *err_row(int code);
/* The row of a wire name ("not_found"), or NULL. */
const struct tl_error_row *err_row_by_name(const char *name, size_t n);
/* TL_E_* for an errno value (IO where nothing fits). */
int err_from_errno(int sys_errno);
/* The same of a connect(2) that failed, where more values say that there is no way. */
int err_from_connect(int sys_errno);

#define TL_ERR_TEXT 600

/* Detail of a failure. Zero-initialised means none. text: one sentence that names the intent and
 * the cause, no full stop needed. */
struct tl_err {
	int code;      /* TL_E_* */
	int sys_errno; /* 0 where none */
	char text[TL_ERR_TEXT];
};

/* Fills err (may be NULL) and returns code. text is a printf format. */
int err_set(struct tl_err *err, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* The same with ": strerror(sys_errno)" appended and the code derived from it. */
int err_sys(struct tl_err *err, int sys_errno, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* "text. todo" or, without text, "what. todo", into out; always terminated. Returns out. */
const char *err_message(const struct tl_err *err, char *out, size_t n);

/* On in production: a broken promise of our own code ends the process with file and line. */
#define tl_assert(x) ((x) ? (void)0 : tl_assert_fail(#x, __FILE__, __LINE__))
void tl_assert_fail(const char *expr, const char *file, int line) __attribute__((noreturn));

#endif
