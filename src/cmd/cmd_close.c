/* cmd_close.c - towline close and towline stop: the ends of a connection and of the daemon. */
#include <stdlib.h>

#include "cmd/cmd_util.h"

#define STOP_MS 10000 /* for the daemon to end after it said yes */

const char *const cmd_close_usage =
    "usage: towline close HOST\n"
    "\n"
    "Ends the connection to HOST. Terminals there go on; the next connection finds them.\n"
    "\n"
    "example:\n"
    "  towline close build-server\n"
    "\n"
    "exit status: 0; 49 not connected to this host.\n";

const char *const cmd_stop_usage =
    "usage: towline stop\n"
    "\n"
    "Ends the local daemon with all its connections. Windows show it; terminals on hosts go on.\n"
    "The next towline command starts a new daemon.\n"
    "\n"
    "exit status: 0, also when no daemon runs.\n";

int cmd_close(int argc, char **argv, const struct cmd_globals *g)
{
	struct cmd_target t = {0};
	struct api_client *c = NULL;
	struct tl_err err = {0};
	struct jsonrpc_msg m = {0};
	int rc = cmd_words(g, &argc, argv, 1, 1, "HOST");

	if (rc)
		return rc;
	rc = cmd_target_parse(argv[1], &t, &err);
	if (rc == 0 && !t.host)
		rc = err_set(&err, TL_E_INVAL, "“%s” is not a host", argv[1]);
	if (rc == 0) {
		rc = api_client_open(&c, false, NULL, &err);
		if (rc == TL_E_NODAEMON)
			rc = err_set(&err, TL_E_NOHOST, "not connected to “%s”: no daemon runs",
				     t.host);
	}
	if (rc == 0)
		rc = api_client_call(c, "host/close", cmd_params("host", t.host, NULL), &m, &err);
	if (rc == 0)
		puts(g->json ? "{}" : "closed");
	rc = rc ? cmd_fail(g, &err) : cmd_done(g);
	jsonrpc_fini(&m);
	api_client_close(c);
	cmd_target_fini(&t);
	return rc;
}

int cmd_stop(int argc, char **argv, const struct cmd_globals *g)
{
	struct api_client *c = NULL;
	struct tl_err err = {0};
	struct jsonrpc_msg m = {0};
	const char *said = "stopped";
	int rc = cmd_words(g, &argc, argv, 0, 0, "");

	if (rc)
		return rc;
	rc = api_client_open(&c, false, NULL, &err);
	if (rc == TL_E_NODAEMON) {
		said = "no daemon runs";
		rc = 0;
	} else if (rc == 0) {
		rc = api_client_call(c, "daemon/stop", NULL, &m, &err);
		/* it may be gone before its answer is read */
		if (rc == TL_E_CLOSED)
			rc = 0;
		while (rc == 0 && api_client_wait(c, STOP_MS, NULL) == 0)
			;
	}
	if (rc == 0)
		puts(g->json ? "{}" : said);
	rc = rc ? cmd_fail(g, &err) : cmd_done(g);
	jsonrpc_fini(&m);
	api_client_close(c);
	return rc;
}
