/* log.h - one log sink per process (a listed exception to "no global state", docs/style.md). */
#ifndef TL_BASE_LOG_H
#define TL_BASE_LOG_H

#include <stdarg.h>

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

/* sink gets one line without LF; scope is a host name or "" ; NULL sink: standard error. */
typedef void log_sink(void *ctx, enum log_level level, const char *scope, const char *line);
void log_init(enum log_level max_level, log_sink *sink, void *ctx);
enum log_level log_max(void);
/* Secrets and payload bytes are never logged. */
void log_line(enum log_level level, const char *scope, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
#define log_error(...) log_line(LOG_ERROR, "", __VA_ARGS__)
#define log_warn(...)  log_line(LOG_WARN, "", __VA_ARGS__)
#define log_info(...)  log_line(LOG_INFO, "", __VA_ARGS__)
#define log_debug(...) log_line(LOG_DEBUG, "", __VA_ARGS__)

#endif
