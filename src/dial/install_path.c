/* install_path.c - see install_path.h. */
#include "dial/install_path.h"

#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"

/* A key of the map: a host, or a pattern as in the ssh configuration; also without user@. */
static bool host_matches(const char *pattern, const char *host)
{
	const char *at = strrchr(host, '@');

	return fnmatch(pattern, host, 0) == 0 || (at && fnmatch(pattern, at + 1, 0) == 0);
}

int dial_install_path(yyjson_val *settings, const char *host, char **ret, struct tl_err *err)
{
	yyjson_val *map = json_get(settings, "remote.SSH.serverInstallPath"), *key, *path;
	size_t i, n;
	int rc = 0;

	*ret = NULL;
	if (map && !yyjson_is_obj(map) && !yyjson_is_null(map))
		rc = err_set(err, TL_E_INVAL,
			     "connect to %.200s: remote.SSH.serverInstallPath in your settings is "
			     "not a map such as {\"%.200s\": \"~/.local/towline\"}",
			     host, host);
	/* arrays and strings have no members: the loop then does nothing */
	yyjson_obj_foreach(map, i, n, key, path)
	{
		if (rc || *ret || !host_matches(yyjson_get_str(key), host))
			continue;
		if (!yyjson_is_str(path))
			rc = err_set(err, TL_E_INVAL,
				     "connect to %.200s: remote.SSH.serverInstallPath in your "
				     "settings has no path for \"%.200s\": write one as a text",
				     host, yyjson_get_str(key));
		else if (*yyjson_get_str(path) && !(*ret = str_dup(yyjson_get_str(path))))
			rc = err_set(err, TL_E_NOMEM, "connect to %.200s", host);
		else if (!*ret)
			break; /* empty: the usual place, also where a later pattern says more */
	}
	return rc;
}
