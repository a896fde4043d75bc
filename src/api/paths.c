/* paths.c - where the daemon's socket, state and settings are, for the command and the daemon
 * alike. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/un.h>
#include <unistd.h>

#include "api/client.h"
#include "base/limits.h"
#include "loop/fsx.h"

#define SOCKET_NAME "control.sock"

static bool fits(int n, size_t room)
{
	return n > 0 && (size_t)n < room;
}

/* $var/towline when var is an absolute path (the XDG specification ignores others). */
static bool from_env(const char *var, char *out, size_t n, bool *ret_fits)
{
	const char *v = getenv(var);

	if (!v || v[0] != '/')
		return false;
	*ret_fits = fits(snprintf(out, n, "%s/towline", v), n);
	return true;
}

static bool in_home(const char *var, const char *below, char *out, size_t n)
{
	char home[TL_LIMIT_PATH];
	bool ok;

	if (from_env(var, out, n, &ok))
		return ok;
	if (home_dir(home, sizeof(home)) != 0)
		return false;
	return fits(snprintf(out, n, "%s/%s/towline", home, below), n);
}

bool api_control_path(char *out, size_t n)
{
	char dir[TL_LIMIT_PATH];
	bool ok = true;

	if (!from_env("XDG_RUNTIME_DIR", dir, sizeof(dir), &ok))
		ok = fits(snprintf(dir, sizeof(dir), "/tmp/towline-%ld", (long)geteuid()),
			  sizeof(dir));
	if (n > sizeof(((struct sockaddr_un *)0)->sun_path))
		n = sizeof(((struct sockaddr_un *)0)->sun_path);
	return ok && fits(snprintf(out, n, "%s/%s", dir, SOCKET_NAME), n);
}

bool api_state_dir(char *out, size_t n)
{
	return in_home("XDG_STATE_HOME", ".local/state", out, n);
}

bool api_config_dir(char *out, size_t n)
{
	return in_home("XDG_CONFIG_HOME", ".config", out, n);
}
