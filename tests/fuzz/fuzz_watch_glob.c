/* fuzz_watch_glob.c - any text as an exclude pattern against any text as a path: bounded time, no
 * overread; and a literal path always matches itself. */
#include <stdlib.h>

#include "base/err.h"
#include "host/watch_glob.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct glob_set set = {0};
	const uint8_t *cut = size ? memchr(data, '\n', size) : NULL;
	size_t n = cut ? (size_t)(cut - data) : size;
	char *pattern = str_ndup(data, n), *path = str_ndup(data + n, size - n);
	if (pattern && path && path[0]) {
		if (glob_add(&set, "/root", pattern) == 0)
			glob_match(&set, path + 1);
		tl_assert(set.patterns.n <= GLOB_EXPANSIONS_MAX);
		if (path[1] && path[1] != '/' && strlen(path) < 1000 &&
		    !strpbrk(path + 1, "*?[]{},\n") && !str_starts(path + 1, "./") &&
		    glob_add(&set, "/root", path + 1) == 0)
			tl_assert(glob_match(&set, path + 1));
	}
	glob_fini(&set);
	free(pattern);
	free(path);
	return 0;
}
