/* log.c - see log.h. The sink is the one process-wide variable (set once at start, before any other
 * thread). Text from a peer may carry anything: control bytes are shown as '?', so one call is one
 * line. */
#include "base/log.h"

#include <stdio.h>
#include <string.h>

static struct {
	enum log_level max_level;
	log_sink *sink;
	void *ctx;
} log_state = {.max_level = LOG_INFO};

void log_init(enum log_level max_level, log_sink *sink, void *ctx)
{
	log_state.max_level = max_level;
	log_state.sink = sink;
	log_state.ctx = ctx;
}

enum log_level log_max(void)
{
	return log_state.max_level;
}

static void log_stderr(enum log_level level, const char *scope, const char *line)
{
	static const char *const name[] = {"error", "warning", "info", "debug"};
	fprintf(stderr, "%s: %s%s%s\n", name[level], scope, *scope ? ": " : "", line);
}

void log_line(enum log_level level, const char *scope, const char *fmt, ...)
{
	char line[2048];
	if (level > log_state.max_level)
		return;
	va_list ap;
	va_start(ap, fmt);
	int n = vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	if (n < 0)
		return;
	for (char *c = line; *c; c++)
		if ((unsigned char)*c < 0x20 || *c == 0x7f)
			*c = '?';
	if (log_state.sink)
		log_state.sink(log_state.ctx, level, scope ? scope : "", line);
	else
		log_stderr(level, scope ? scope : "", line);
}
