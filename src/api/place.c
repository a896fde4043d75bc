/* place.c - finds the installation around this code. A program that uses the library lies anywhere,
 * so the library's own file is asked first. */
#include "api/place.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/str.h"
#include "loop/child.h"

#define LEVELS  4 /* lib/ARCHITECTURE/libtowline.so.0 is three below the prefix */
#define ASKPASS "bin/towline-askpass"

static bool try_prefix(struct place_files *p, const char *prefix)
{
	if (!*prefix)
		return false;
	str_copy(p->prefix, sizeof(p->prefix), prefix);
	snprintf(p->askpass, sizeof(p->askpass), "%s/" ASKPASS, p->prefix);
	return access(p->askpass, X_OK) == 0;
}

/* The folders above a file. */
static bool try_above(struct place_files *p, const char *file)
{
	char dir[TL_LIMIT_PATH];

	if (!str_copy(dir, sizeof(dir), file))
		return false;
	for (int i = 0; i < LEVELS; i++) {
		char *slash = strrchr(dir, '/');
		if (!slash || slash == dir)
			return false;
		*slash = 0;
		if (try_prefix(p, dir))
			return true;
	}
	return false;
}

static bool try_library(struct place_files *p)
{
	Dl_info info;
	char *real;
	bool ok;

	if (!dladdr((const void *)(uintptr_t)place_find, &info) || !info.dli_fname)
		return false;
	real = realpath(info.dli_fname, NULL);
	ok = real && try_above(p, real);
	free(real);
	return ok || (info.dli_fname[0] == '/' && try_above(p, info.dli_fname));
}

static bool try_path(struct place_files *p)
{
	const char *path = getenv("PATH");
	char file[TL_LIMIT_PATH];

	while (path && *path) {
		size_t n = strcspn(path, ":");
		int len = snprintf(file, sizeof(file), "%.*s/towline-askpass", (int)n, path);
		if (*path == '/' && len > 0 && (size_t)len < sizeof(file) &&
		    access(file, X_OK) == 0 && try_above(p, file))
			return true;
		path += n;
		path += *path ? 1 : 0;
	}
	return false;
}

int place_find(struct place_files *ret, struct tl_err *err)
{
	const char *named = getenv("TOWLINE_PREFIX");
	char self[TL_LIMIT_PATH];
	bool ok;

	memset(ret, 0, sizeof(*ret));
	if (named && *named)
		ok = named[0] == '/' && try_prefix(ret, named);
	else
		ok = try_library(ret) ||
		     (self_path(self, sizeof(self)) == 0 && try_above(ret, self)) ||
#ifdef TL_PREFIX
		     try_prefix(ret, TL_PREFIX) ||
#endif
		     try_path(ret);
	if (!ok)
		return err_set(
		    err, TL_E_INTERNAL,
		    "the installation of Towline is not complete: %s%s is not there; set "
		    "TOWLINE_PREFIX to the folder that has " ASKPASS,
		    named && *named ? named : "", named && *named ? "/" ASKPASS : ASKPASS);
	snprintf(ret->host_bin, sizeof(ret->host_bin), "%s/lib/towline/host", ret->prefix);
	snprintf(ret->daemon, sizeof(ret->daemon), "%s/bin/towlined", ret->prefix);
	if (access(ret->daemon, X_OK) != 0)
		ret->daemon[0] = 0;
	return 0;
}
