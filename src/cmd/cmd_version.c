/* cmd_version.c - towline version and towline help. */
#include <stdlib.h>

#include "base/version.h"
#include "cmd/cmd_util.h"

const char *const cmd_version_usage =
    "usage: towline version [--json]\n"
    "\n"
    "Prints the versions of this command and of the daemon, where one runs.\n"
    "\n"
    "exit status: 0.\n";

const char *const cmd_help_usage =
    "usage: towline help [COMMAND]\n"
    "\n"
    "Prints what towline can do, or how one of its commands is used.\n"
    "\n"
    "examples:\n"
    "  towline help\n"
    "  towline help open\n"
    "\n"
    "exit status: 0; 2 there is no such command.\n";

int cmd_version(int argc, char **argv, const struct cmd_globals *g)
{
	struct api_client *c = NULL;
	struct jsonrpc_msg m = {0};
	const char *daemon = NULL;
	int rc = cmd_words(g, &argc, argv, 0, 0, "");

	if (rc)
		return rc;
	if (api_client_open(&c, false, NULL, NULL) == 0 &&
	    api_client_call(c, "daemon/status", NULL, &m, NULL) == 0)
		daemon = json_str(m.result, "version", NULL);
	if (g->json) {
		printf("{\"version\":\"%s\"", TL_VERSION);
		if (daemon)
			printf(",\"daemon\":{\"version\":\"%s\",\"pid\":%lld}", daemon,
			       (long long)json_int(m.result, "pid", 0));
		puts("}");
	} else {
		printf("towline %s\n", TL_VERSION);
		if (daemon)
			printf("towlined %s (process %lld)\n", daemon,
			       (long long)json_int(m.result, "pid", 0));
	}
	jsonrpc_fini(&m);
	api_client_close(c);
	return cmd_done(g);
}

int cmd_help(int argc, char **argv, const struct cmd_globals *g)
{
	const struct cmd *cmd;
	int rc = cmd_words(g, &argc, argv, 0, 1, "COMMAND");

	if (rc)
		return rc;
	if (argc < 2) {
		cmd_print_help(stdout);
		return cmd_done(g);
	}
	cmd = cmd_find(argv[1]);
	if (!cmd)
		return cmd_usage_error(g, "help", "“%s” is not a command", argv[1]);
	fputs(*cmd->usage, stdout);
	return cmd_done(g);
}
