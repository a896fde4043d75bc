/* place.h - where the installation is that this program, or the library inside of it, belongs to.
 */
#ifndef TL_API_PLACE_H
#define TL_API_PLACE_H

#include "base/err.h"
#include "base/limits.h"

/* Paths of one installation. */
struct place_files {
	char prefix[TL_LIMIT_PATH];
	char askpass[TL_LIMIT_PATH + 32];  /* bin/towline-askpass */
	char host_bin[TL_LIMIT_PATH + 32]; /* lib/towline/host */
	char daemon[TL_LIMIT_PATH + 32];   /* bin/towlined, "" where it is not there */
};

/* TOWLINE_PREFIX, else the folders above the library's file, above the program's, and those of
 * PATH. 0 or TL_E_INTERNAL with the next step. */
int place_find(struct place_files *ret, struct tl_err *err);

#endif
