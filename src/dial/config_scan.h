/* config_scan.h - goes through the ssh configuration and the files it includes: which names stand
 * after Host, and where; whether a keyword stands anywhere in it. Blocking, small files. */
#ifndef TL_DIAL_CONFIG_SCAN_H
#define TL_DIAL_CONFIG_SCAN_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

/* ~/.ssh/config, or config_file with a leading ~/ made absolute, into out. 0, TL_E_NOENT (no
 * home), TL_E_LIMIT. */
int config_path(const char *config_file, char *out, size_t n, struct tl_err *err);

/* on_host: every name without wildcards, once, with its first place (line from 1); on_file (may be
 * NULL): every file that was read. Not 0 from either ends it and is returned. config_file NULL:
 * ~/.ssh/config. A missing file is an error only where it was named. */
int config_scan_hosts(const char *config_file,
		      int (*on_host)(void *ctx, const char *name, const char *file, int line),
		      int (*on_file)(void *ctx, const char *file), void *ctx, struct tl_err *err);

/* Does a keyword stand in the configuration that ssh would read, for any host? True where that
 * cannot be told. */
bool config_has(const char *config_file, const char *keyword);

#endif
