/* cmd_connect.c - towline connect: a connection and nothing else. */
#include <stdlib.h>

#include "cmd/cmd_util.h"

const char *const cmd_connect_usage =
    "usage: towline connect HOST\n"
    "\n"
    "Connects to HOST and ends: the connection stays with the daemon, so that what follows is\n"
    "fast. Answers ssh's questions on the terminal. Useful in scripts, and to see why a\n"
    "connection fails (-v shows the steps).\n"
    "\n"
    "examples:\n"
    "  towline connect build-server\n"
    "  towline -v -i ~/.ssh/work connect me@192.0.2.7\n"
    "\n"
    "exit status: 0; 40 to 50 the host was not reached, 60 to 70 the server there did not start;\n"
    "all in towline(1).\n";

/* Where no server of ours runs, less is known, and less is there. */
static void print_connected(const char *host, yyjson_val *info)
{
	const char *user = json_str(info, "user", ""), *os = json_str(info, "os", "");
	yyjson_val *plain = json_get(info, "plain"), *limit;
	size_t i, n;

	if (*user && *os)
		printf("connected: %s (%s on %s, %s %s)\n", host, user,
		       json_str(info, "hostname", "?"), os, json_str(info, "arch", "?"));
	else
		printf("connected: %s\n", host);
	if (!plain)
		return;
	printf("without a server of ours: %s\n", json_str(plain, "why", "?"));
	yyjson_arr_foreach(json_get(plain, "limits"), i, n, limit)
	{
		printf("  %s\n", yyjson_get_str(limit) ? yyjson_get_str(limit) : "?");
	}
}

int cmd_connect(int argc, char **argv, const struct cmd_globals *g)
{
	struct cmd_target t = {0};
	struct api_client *c = NULL;
	struct tl_err err = {0};
	struct jsonrpc_msg m = {0};
	struct cmd_ui ui;
	char *host = NULL;
	int rc = cmd_words(g, &argc, argv, 1, 1, "HOST");

	if (rc)
		return rc;
	cmd_ui_init(&ui, g);
	rc = cmd_target_parse(argv[1], &t, &err);
	if (rc == 0 && (!t.host || t.path))
		rc =
		    err_set(&err, TL_E_INVAL, "“%s” is not a host: connect takes no path", argv[1]);
	if (rc == 0)
		rc = cmd_reach(&ui, t.host, &c, &host, &err);
	if (rc == 0)
		rc = api_client_call(c, "host/call",
				     cmd_params("host", host, "method", "host/info", NULL), &m,
				     &err);
	if (rc == 0 && g->json)
		cmd_print_json(m.result);
	else if (rc == 0)
		print_connected(host, m.result);
	rc = rc ? cmd_fail(g, &err) : cmd_done(g);
	jsonrpc_fini(&m);
	api_client_close(c);
	cmd_target_fini(&t);
	free(host);
	return rc;
}
