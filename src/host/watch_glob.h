/* watch_glob.h - the patterns that exclude files from watching, in VS Code's form:
 *   *  any characters but /        ?  one character but /      [a-z] [!a]  one of, none of
 *   ** any number of folders, also none                        {a,b}  one of these, nested or not
 * A pattern that ends with two stars below a folder also matches that folder. Owns its patterns. */
#ifndef TL_HOST_WATCH_GLOB_H
#define TL_HOST_WATCH_GLOB_H

#include "base/str.h"

#define GLOB_TEXT_MAX       1024 /* bytes of one pattern */
#define GLOB_EXPANSIONS_MAX 512  /* patterns of one set once every {a,b} is written out */

/* A set; zero-initialised is empty and matches nothing. */
struct glob_set {
	struct strv patterns; /* without braces */
};

/* Adds a pattern. root: absolute folder that relative paths count from; an absolute pattern is made
 * relative to it (and dropped when it lies elsewhere). 0, TL_E_LIMIT, TL_E_INVAL (a brace without
 * its partner), TL_E_NOMEM. */
int glob_add(struct glob_set *set, const char *root, const char *pattern);
void glob_fini(struct glob_set *set);
/* Does any pattern match this relative path ("a/b", no slash at the ends)? */
bool glob_match(const struct glob_set *set, const char *path);

#endif
