/* lib.c - the small things of libtowline that everything else uses: version, errors of the public
 * struct. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "api/session.h"
#include "base/str.h"
#include "base/version.h"

const char *tl_version(void)
{
	return TL_VERSION;
}

int api_fail(struct tl_error *err, const struct tl_err *e)
{
	const struct tl_error_row *row = err_row(e->code);

	if (!err)
		return e->code;
	memset(err, 0, sizeof(*err));
	err->number = e->code;
	err->sys_errno = e->sys_errno;
	str_copy(err->name, sizeof(err->name), row->name);
	str_copy(err->message, sizeof(err->message), e->text[0] ? e->text : row->what);
	str_copy(err->todo, sizeof(err->todo), row->todo);
	return e->code;
}

int api_failf(struct tl_error *err, int code, const char *fmt, ...)
{
	struct tl_err e = {.code = code};
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(e.text, sizeof(e.text), fmt, ap);
	va_end(ap);
	return api_fail(err, &e);
}

int api_fails(struct tl_error *err, int sys_errno, const char *fmt, ...)
{
	struct tl_err e = {0};
	char text[TL_ERR_TEXT];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	err_sys(&e, sys_errno, "%s", text);
	return api_fail(err, &e);
}

void api_ok(struct tl_error *err)
{
	if (err)
		memset(err, 0, sizeof(*err));
}
