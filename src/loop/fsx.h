/* fsx.h - small blocking file helpers for start-up paths (never on a request path of the loop). */
#ifndef TL_LOOP_FSX_H
#define TL_LOOP_FSX_H

#include <sys/types.h>

#include "base/buf.h"
#include "base/err.h"

/* Makes a folder and its parents. */
int fs_mkdirs(const char *path, mode_t mode, struct tl_err *err);
/* Whole file into out (bounded by its maximum). */
int fs_read(const char *path, struct buf *out, struct tl_err *err);
/* Temporary file, fsync, rename: readers see the old or the new one. */
int fs_write_atomic(const char *path, const void *p, size_t n, mode_t mode, struct tl_err *err);
/* An exclusive advisory lock that dies with its owner: descriptor to keep, or TL_E_AGAIN (held by
 * another), TL_E_IO. */
int fs_lock(const char *path, bool wait, struct tl_err *err);
/* $HOME, else the password file's, into out. */
int home_dir(char *out, size_t n);
/* Resident and private bytes of this process from /proc. */
long self_rss_bytes(void);

#endif
