/* cmd_server.c - towline server: what is installed and runs on a host, and the end of it. */
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "cmd/cmd_util.h"

const char *const cmd_server_usage =
    "usage: towline server status HOST\n"
    "       towline server start HOST\n"
    "       towline server kill HOST\n"
    "       towline server uninstall HOST\n"
    "       towline server log [-n LINES] HOST\n"
    "\n"
    "status     the versions installed on the host and every process of the server there; nothing "
    "is\n"
    "           installed or started for it\n"
    "start      install it where it is missing, start it, and connect\n"
    "kill       end every process of the server: terminals and sessions with what runs in them, "
    "and\n"
    "           the connection. Works for one that does not answer, and for every version\n"
    "uninstall  the same, then remove its folder on the host, settings of the host included\n"
    "log        the end of the server's own log\n"
    "\n"
    "Where the host is not connected ssh logs in once, and its questions are asked here.\n"
    "\n"
    "  -n, --lines N  how many lines of the log (200)\n"
    "\n"
    "examples:\n"
    "  towline server status build\n"
    "  towline server kill build\n"
    "\n"
    "exit status: 0; 40 to 50 the host was not reached, 60 to 70 the server there did not start.\n";

/* ---- printing ---- */

static void put_text(const char *s, bool lines)
{
	for (; *s; s++)
		putchar(((unsigned char)*s < 0x20 && !(lines && *s == '\n')) || *s == 0x7f ? '?'
											   : *s);
}

static void print_status(yyjson_val *r)
{
	yyjson_val *list = json_get(r, "versions"), *v;
	size_t i, n;

	put_text(json_str(r, "host", "?"), false);
	if (!json_bool(r, "installed", false) && yyjson_arr_size(list) == 0) {
		puts(": no server is installed");
		return;
	}
	fputs(": ", stdout);
	put_text(json_str(r, "dir", "?"), false);
	puts(json_bool(r, "connected", false) ? ", connected" : ", not connected");
	yyjson_arr_foreach(list, i, n, v)
	{
		fputs("  version ", stdout);
		put_text(json_str(v, "name", "?"), false);
		printf("  %lld kB%s\n", (long long)(json_int(v, "bytes", 0) / 1024),
		       json_bool(v, "running", false) ? ", running" : "");
	}
	list = json_get(r, "processes");
	yyjson_arr_foreach(list, i, n, v)
	{
		printf("  process %lld  ", (long long)json_int(v, "pid", 0));
		put_text(json_str(v, "face", "?"), false);
		fputs("  ", stdout);
		put_text(json_str(v, "version", ""), false);
		putchar('\n');
	}
	if (yyjson_arr_size(list) == 0)
		puts("  nothing runs");
}

static void print_ended(yyjson_val *r, bool uninstalled)
{
	put_text(json_str(r, "host", "?"), false);
	if (!uninstalled)
		puts(": the server is ended");
	else if (json_bool(r, "complete", true))
		puts(": the server is removed");
	else
		printf(": the server is removed; %s holds something else and stays\n",
		       json_str(r, "removed", "its folder"));
}

/* ---- the command ---- */

static void put_options(yyjson_mut_doc *doc, yyjson_mut_val *o, const struct api_host_options *g)
{
	static const char *const names[] = {"identities", "options"};
	const char *const *lists[] = {g->identities, g->options};
	yyjson_mut_val *opts, *a;

	if (!g->config_file && !g->identities && !g->options && !g->port)
		return; /* those remembered */
	opts = yyjson_mut_obj_add_obj(doc, o, "options");
	if (g->config_file)
		json_add_path(doc, opts, "configFile", g->config_file);
	if (g->port)
		yyjson_mut_obj_add_int(doc, opts, "port", g->port);
	for (size_t i = 0; i < 2; i++) {
		if (!lists[i])
			continue;
		a = yyjson_mut_obj_add_arr(doc, opts, names[i]);
		for (const char *const *v = lists[i]; *v; v++)
			yyjson_mut_arr_add_str(doc, a, *v);
	}
}

static int call(struct api_client *c, const struct cmd_globals *g, const char *verb,
		const char *host, int lines, struct jsonrpc_msg *m, struct tl_err *err)
{
	char method[32];
	yyjson_mut_doc *doc = cmd_params("host", host, NULL);
	yyjson_mut_val *o = yyjson_mut_doc_get_root(doc);

	snprintf(method, sizeof(method), "server/%s", verb);
	if (lines)
		yyjson_mut_obj_add_int(doc, o, "lines", lines);
	put_options(doc, o, &g->host);
	return api_client_call(c, method, doc, m, err);
}

static void print(const char *verb, yyjson_val *r)
{
	if (strcmp(verb, "status") == 0)
		print_status(r);
	else if (strcmp(verb, "log") == 0)
		put_text(json_str(r, "text", ""), true);
	else
		print_ended(r, strcmp(verb, "uninstall") == 0);
}

int cmd_server(int argc, char **argv, const struct cmd_globals *g)
{
	static const char *const verbs[] = {"status", "start", "kill", "uninstall", "log"};
	const char *verb = NULL, *lines;
	struct jsonrpc_msg m = {0};
	struct api_client *c = NULL;
	struct tl_err err = {0};
	struct cmd_ui ui;
	long long n = 0;
	char *host = NULL;
	bool bad = false;
	int rc;

	lines = cmd_value(g, &argc, argv, "-n", "--lines", &bad);
	if (bad || (lines && !str_to_int(lines, 1, 100000, &n)))
		return bad ? CMD_EXIT_USAGE
			   : cmd_usage_error(g, argv[0], "“%s” is not a number of lines", lines);
	rc = cmd_words(g, &argc, argv, 2, 2, "status, start, kill, uninstall or log, and a HOST");
	for (size_t i = 0; rc == 0 && i < sizeof(verbs) / sizeof(verbs[0]); i++)
		if (strcmp(argv[1], verbs[i]) == 0)
			verb = verbs[i];
	if (rc)
		return rc;
	if (!verb)
		return cmd_usage_error(
		    g, argv[0], "“%s” is neither status, start, kill, uninstall nor log", argv[1]);
	cmd_ui_init(&ui, g);
	if (strcmp(verb, "start") == 0) {
		rc = cmd_reach(&ui, argv[2], &c, &host, &err);
		verb = "status";
	} else {
		rc = api_client_open(&c, true, &ui.api, &err);
	}
	rc = rc ? rc : call(c, g, verb, host ? host : argv[2], (int)n, &m, &err);
	cmd_ui_clear(&ui);
	if (rc == 0 && g->json)
		cmd_print_json(m.result);
	else if (rc == 0)
		print(verb, m.result);
	jsonrpc_fini(&m);
	api_client_close(c);
	free(host);
	return rc ? cmd_fail(g, &err) : cmd_done(g);
}
