/* err.c - see err.h. One constant table; nothing is owned. */
#include "base/err.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct tl_error_row rows[] = {
#define TL_ERROR(sym, num, name, retry, exit, http, rpc, what, todo)                               \
	{TL_E_##sym, #sym, name, what, todo, retry, exit, http, rpc},
#include "proto/errors.def"
#undef TL_ERROR
};

static const struct {
	int sys_errno, code;
} from_errno[] = {
    {EAGAIN, TL_E_AGAIN},         {EINTR, TL_E_AGAIN},
    {ENOMEM, TL_E_NOMEM},         {EMFILE, TL_E_LIMIT},
    {ENFILE, TL_E_LIMIT},         {E2BIG, TL_E_LIMIT},
    {EFBIG, TL_E_LIMIT},          {EMLINK, TL_E_LIMIT},
    {ENAMETOOLONG, TL_E_LIMIT},   {EINVAL, TL_E_INVAL},
    {EDOM, TL_E_INVAL},           {EPROTO, TL_E_PROTO},
    {EPIPE, TL_E_CLOSED},         {ECONNRESET, TL_E_CLOSED},
    {ECONNABORTED, TL_E_CLOSED},  {ENOTCONN, TL_E_CLOSED},
    {ECANCELED, TL_E_CANCELED},   {ETIMEDOUT, TL_E_TIMEOUT},
    {ENOSYS, TL_E_UNSUPPORTED},   {EOPNOTSUPP, TL_E_UNSUPPORTED},
    {ENOTTY, TL_E_UNSUPPORTED},   {EXDEV, TL_E_UNSUPPORTED},
    {ENOENT, TL_E_NOENT},         {ESTALE, TL_E_NOENT},
    {EACCES, TL_E_ACCES},         {EPERM, TL_E_ACCES},
    {EEXIST, TL_E_EXIST},         {ENOTDIR, TL_E_NOTDIR},
    {EISDIR, TL_E_ISDIR},         {ENOTEMPTY, TL_E_NOTEMPTY},
    {ENOSPC, TL_E_NOSPACE},       {EDQUOT, TL_E_NOSPACE},
    {EROFS, TL_E_ROFS},           {ECONNREFUSED, TL_E_REFUSED},
    {EHOSTUNREACH, TL_E_UNREACH}, {ENETUNREACH, TL_E_UNREACH},
    {EHOSTDOWN, TL_E_UNREACH},    {ENETDOWN, TL_E_UNREACH},
    {ENOEXEC, TL_E_NOEXEC},
};

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

const struct tl_error_row *err_row(int code)
{
	const struct tl_error_row *internal = NULL;
	for (size_t i = 0; i < COUNT(rows); i++) {
		if (rows[i].code == code)
			return &rows[i];
		if (rows[i].code == TL_E_INTERNAL)
			internal = &rows[i];
	}
	return internal;
}

const struct tl_error_row *err_row_by_name(const char *name, size_t n)
{
	for (size_t i = 0; i < COUNT(rows); i++)
		if (strlen(rows[i].name) == n && !memcmp(rows[i].name, name, n))
			return &rows[i];
	return NULL;
}

int err_from_errno(int sys_errno)
{
	for (size_t i = 0; i < COUNT(from_errno); i++)
		if (from_errno[i].sys_errno == sys_errno)
			return from_errno[i].code;
	return TL_E_IO;
}

int err_from_connect(int sys_errno)
{
	switch (sys_errno) {
	case ETIMEDOUT:
		return TL_E_TIMEOUT;
	case ECANCELED:
		return TL_E_CANCELED;
	case EADDRNOTAVAIL:
	case EAFNOSUPPORT:
		return TL_E_UNREACH;
	default:
		return err_from_errno(sys_errno);
	}
}

int err_set(struct tl_err *err, int code, const char *fmt, ...)
{
	if (!err)
		return code;
	err->code = code;
	err->sys_errno = 0;
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(err->text, sizeof(err->text), fmt, ap);
	va_end(ap);
	return code;
}

int err_sys(struct tl_err *err, int sys_errno, const char *fmt, ...)
{
	int code = err_from_errno(sys_errno);
	if (!err)
		return code;
	err->code = code;
	err->sys_errno = sys_errno;
	va_list ap;
	va_start(ap, fmt);
	int n = vsnprintf(err->text, sizeof(err->text), fmt, ap);
	va_end(ap);
	if (n >= 0 && (size_t)n < sizeof(err->text))
		snprintf(err->text + n, sizeof(err->text) - (size_t)n, ": %s", strerror(sys_errno));
	return code;
}

const char *err_message(const struct tl_err *err, char *out, size_t n)
{
	const struct tl_error_row *row = err_row(err->code);
	const char *text = err->text[0] ? err->text : row->what;
	size_t len = strlen(text);
	bool ended = len && strchr(".!?", text[len - 1]);
	snprintf(out, n, "%s%s %s", text, ended ? "" : ".", row->todo);
	return out;
}

void tl_assert_fail(const char *expr, const char *file, int line)
{
	fprintf(stderr, "towline: broken promise \"%s\" at %s:%d; this is a bug, report it\n", expr,
		file, line);
	abort();
}
