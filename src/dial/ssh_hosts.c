/* ssh_hosts.c - names for the host picker, without places. See dial.h. */
#include "dial/dial.h"

#include "base/str.h"
#include "dial/config_scan.h"

static int add_name(void *ctx, const char *name, const char *file, int line)
{
	struct strv *names = ctx;

	(void)file, (void)line;
	return strv_add(names, name);
}

int dial_configured_hosts(const char *config_file, struct strv *ret, struct tl_err *err)
{
	return config_scan_hosts(config_file, add_name, NULL, ret, err);
}
