/* cmd_gateway.c - towline gateway: url and token with which Jupyter clients of this machine reach
 * the sessions of a host. */
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "cmd/cmd_util.h"

const char *const cmd_gateway_usage =
    "usage: towline gateway [--port N] [--allow-origin ORIGIN] [--json] HOST\n"
    "       towline gateway --stop HOST\n"
    "       towline gateway --list [--json]\n"
    "\n"
    "Opens a port of this machine that speaks Jupyter Server's protocol (kernels, kernelspecs,\n"
    "sessions, terminals) for one host, and prints its url and its token. The kernels are the\n"
    "host's sessions: they outlive client, connection and server, and towline sessions lists "
    "them.\n"
    "\n"
    "  --port N               listen on this port (default: any free one; it stays the same)\n"
    "  --allow-origin ORIGIN  pages of this origin (http://localhost:8888) may use it from a\n"
    "                         browser; \"\" takes that back. Nobody may by default\n"
    "  --stop                 end it; its token is worth nothing any more\n"
    "  --list                 the gateways there are\n"
    "  --json                 one line of JSON: host, url, port, token\n"
    "\n"
    "It listens on the loopback only and goes on when towlined is restarted. Who knows the token\n"
    "can run code on the host, and nothing else of Towline.\n"
    "\n"
    "examples:\n"
    "  towline gateway gpu-box\n"
    "  jupyter lab --gateway-url URL --GatewayClient.auth_token TOKEN\n"
    "  towline gateway --stop gpu-box\n"
    "\n"
    "exit status: 0; 20 there is no gateway to stop; 81 the port is taken.\n";

struct gateway_options {
	long long port; /* 0: any */
	const char *origin;
	bool stop, list;
};

static int take_options(const struct cmd_globals *g, int *argc, char **argv,
			struct gateway_options *o)
{
	bool bad = false;
	const char *port = cmd_value(g, argc, argv, NULL, "--port", &bad);

	o->origin = bad ? NULL : cmd_value(g, argc, argv, NULL, "--allow-origin", &bad);
	if (bad)
		return CMD_EXIT_USAGE;
	o->stop = cmd_flag(argc, argv, NULL, "--stop");
	o->list = cmd_flag(argc, argv, NULL, "--list");
	if (port && !str_to_int(port, 1, 65535, &o->port))
		return cmd_usage_error(g, "gateway", "“%s” is not a port number", port);
	if ((o->stop || o->list) && (port || o->origin || (o->stop && o->list)))
		return cmd_usage_error(g, "gateway", "--stop and --list go with nothing else");
	return cmd_words(g, argc, argv, o->list ? 0 : 1, 1, "HOST");
}

static void print_one(yyjson_val *v, const struct cmd_globals *g)
{
	if (g->json) {
		cmd_print_json(v);
		return;
	}
	printf("url    %s\ntoken  %s\n", json_str(v, "url", "?"), json_str(v, "token", "?"));
	if (!g->quiet)
		fprintf(stderr,
			"\njupyter lab --gateway-url %s --GatewayClient.auth_token %s\n"
			"It listens until `towline gateway --stop %s`.\n",
			json_str(v, "url", "?"), json_str(v, "token", "?"),
			json_str(v, "host", "HOST"));
}

static int start(struct api_client *c, const char *host, const struct gateway_options *o,
		 const struct cmd_globals *g, struct tl_err *err)
{
	struct jsonrpc_msg m = {0};
	yyjson_mut_doc *p = cmd_params("host", host, "origin", o->origin, NULL);
	int rc;

	if (o->port)
		yyjson_mut_obj_add_sint(p, yyjson_mut_doc_get_root(p), "port", o->port);
	rc = api_client_call(c, "gateway/start", p, &m, err);
	if (!rc)
		print_one(m.result, g);
	jsonrpc_fini(&m);
	return rc;
}

static int list(struct api_client *c, const char *host, const struct cmd_globals *g,
		struct tl_err *err)
{
	struct jsonrpc_msg m = {0};
	int rc = api_client_call(c, "gateway/list", cmd_params("host", host, NULL), &m, err);
	yyjson_val *v;
	size_t i, n;

	if (!rc && g->json)
		cmd_print_json(m.result);
	yyjson_arr_foreach(json_get(rc || g->json ? NULL : m.result, "gateways"), i, n, v)
	{
		printf("%s  %s\n", json_str(v, "url", "?"), json_str(v, "host", "?"));
	}
	jsonrpc_fini(&m);
	return rc;
}

int cmd_gateway(int argc, char **argv, const struct cmd_globals *g)
{
	struct gateway_options o = {0};
	struct cmd_target t = {0};
	struct api_client *c = NULL;
	struct jsonrpc_msg m = {0};
	struct cmd_ui ui;
	struct tl_err err = {0};
	char *host = NULL;
	int rc = take_options(g, &argc, argv, &o);

	if (rc)
		return rc;
	cmd_ui_init(&ui, g);
	if (argc > 1)
		rc = cmd_target_parse(argv[1], &t, &err);
	if (!rc && argc > 1 && !t.host)
		rc = err_set(&err, TL_E_INVAL, "“%s” is not a host", argv[1]);
	if (!rc && (o.stop || o.list)) {
		/* the host need not be there for that */
		rc = api_client_open(&c, true, &ui.api, &err);
		if (!rc && o.list)
			rc = list(c, t.host, g, &err);
		else if (!rc)
			rc = api_client_call(c, "gateway/stop", cmd_params("host", t.host, NULL),
					     &m, &err);
	} else if (!rc) {
		rc = cmd_reach(&ui, t.host, &c, &host, &err);
		rc = rc ? rc : start(c, host, &o, g, &err);
	}
	jsonrpc_fini(&m);
	if (c)
		api_client_close(c);
	free(host);
	cmd_target_fini(&t);
	return rc ? cmd_fail(g, &err) : cmd_done(g);
}
