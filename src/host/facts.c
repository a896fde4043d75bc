/* facts.c - see facts.h. The environment wins over the password file: it is what the login gave. */
#include "host/facts.h"

#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/str.h"
#include "host/rundir.h"
#include "loop/fsx.h"
#include "loop/sock.h"

static const char *absolute_env(const char *name)
{
	const char *v = getenv(name);

	return v && v[0] == '/' ? v : NULL;
}

static bool add_person(yyjson_mut_doc *doc, yyjson_mut_val *obj)
{
	const struct passwd *pw = getpwuid(getuid());
	const char *user = getenv("USER"), *shell = absolute_env("SHELL");
	char home[TL_LIMIT_PATH];

	if (!user || !user[0])
		user = getenv("LOGNAME");
	if (!user || !user[0])
		user = pw ? pw->pw_name : "";
	if (!shell)
		shell = pw && pw->pw_shell && pw->pw_shell[0] == '/' ? pw->pw_shell : "/bin/sh";
	if (home_dir(home, sizeof(home)) != 0)
		str_copy(home, sizeof(home), "/");
	return json_add_path(doc, obj, "user", user) &&
	       yyjson_mut_obj_add_uint(doc, obj, "uid", getuid()) &&
	       json_add_path(doc, obj, "home", home) && json_add_path(doc, obj, "shell", shell);
}

bool facts_add(yyjson_mut_doc *doc, yyjson_mut_val *obj)
{
	struct utsname u;
	const char *tmp = absolute_env("TMPDIR");
	char dir[TL_LIMIT_PATH], data[TL_LIMIT_PATH + 8], network[64];

	if (uname(&u) != 0)
		memset(&u, 0, sizeof(u));
	if (server_dir(dir, sizeof(dir)) != 0)
		str_copy(dir, sizeof(dir), "/tmp/.towline-server");
	snprintf(data, sizeof(data), "%s/data", dir);
	network_name(network, sizeof(network));
	return json_add_path(doc, obj, "os", u.sysname) &&
	       json_add_path(doc, obj, "arch", u.machine) &&
	       json_add_path(doc, obj, "kernel", u.release) &&
	       json_add_path(doc, obj, "hostname", u.nodename) && add_person(doc, obj) &&
	       json_add_path(doc, obj, "tmp", tmp ? tmp : "/tmp") &&
	       json_add_path(doc, obj, "dataDir", data) &&
	       (!network[0] || yyjson_mut_obj_add_strcpy(doc, obj, "network", network));
}
