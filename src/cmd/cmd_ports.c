/* cmd_ports.c - towline ports: what listens on a host, and which of it is forwarded. */
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "cmd/cmd_forwards.h"
#include "cmd/ports_watch.h"

const char *const cmd_ports_usage =
    "usage: towline ports HOST [--json] [--watch]\n"
    "\n"
    "Lists what listens on HOST: the port, the address it is bound to, the program (where it may\n"
    "be seen), where it is reachable on this machine, and its label. A star marks programs below\n"
    "your own terminals, tasks and sessions there. Forwards to other places follow.\n"
    "\n"
    "  --watch   goes on until Ctrl-C: a line for each listener that comes (+) or goes (-), and\n"
    "            for each forward\n"
    "  --json    the list as one object {\"ports\", \"forwards\"}; with --watch an object a line\n"
    "\n"
    "examples:\n"
    "  towline ports build-server\n"
    "  towline ports --watch --json build-server | jq .port.port\n"
    "\n"
    "exit status: 0; others as in towline(1).\n";

/* ---- the table ---- */

static bool is_here(const char *host)
{
	static const char *const names[] = {"localhost", "127.0.0.1", "::1", "0.0.0.0", "::", ""};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strcmp(names[i], host) == 0)
			return true;
	return false;
}

/* Does the forward lead to this listener? */
static bool leads_to(yyjson_val *f, yyjson_val *port)
{
	const char *host = json_str(f, "targetHost", "");

	return strcmp(json_str(f, "kind", ""), "local") == 0 &&
	       json_int(f, "targetPort", 0) == json_int(port, "port", -1) &&
	       !json_str(f, "targetPath", "")[0] &&
	       (is_here(host) || strcmp(host, json_str(port, "address", "")) == 0);
}

static yyjson_val *forward_of(yyjson_val *forwards, yyjson_val *port)
{
	yyjson_val *f;
	size_t i, n;

	yyjson_arr_foreach(forwards, i, n, f)
	{
		if (leads_to(f, port))
			return f;
	}
	return NULL;
}

static void row(const char *port, const char *address, const char *process, const char *forwarded,
		const char *label)
{
	forwards_cell(port, 7);
	forwards_cell(address, 16);
	forwards_cell(process, 25);
	forwards_cell(forwarded, 24);
	forwards_cell(label, 0);
	putchar('\n');
}

static void print_port(yyjson_val *p, yyjson_val *forwards)
{
	yyjson_val *f = forward_of(forwards, p);
	char port[16], process[160] = "", local[300] = "";
	int64_t pid = json_int(p, "pid", 0);

	snprintf(port, sizeof(port), "%lld", (long long)json_int(p, "port", 0));
	if (pid)
		snprintf(process, sizeof(process), "%s%.100s (%lld)",
			 json_bool(p, "owned", false) ? "*" : "", json_str(p, "process", "?"),
			 (long long)pid);
	if (f)
		forwards_local(f, local, sizeof(local));
	row(port, json_str(p, "address", "?"), process, local, f ? json_str(f, "label", "") : "");
}

/* Forwards that lead to none of the listeners. */
static void print_others(yyjson_val *ports, yyjson_val *forwards)
{
	char local[300], target[300], text[700], number[16];
	yyjson_val *f, *p;
	size_t i, n, k, m;

	yyjson_arr_foreach(forwards, i, n, f)
	{
		bool shown = false;
		yyjson_arr_foreach(ports, k, m, p)
		{
			shown = shown || leads_to(f, p);
		}
		if (shown)
			continue;
		snprintf(number, sizeof(number), "%lld", (long long)json_int(f, "targetPort", 0));
		forwards_local(f, local, sizeof(local));
		forwards_target(f, target, sizeof(target));
		if (strcmp(json_str(f, "kind", ""), "remote") == 0)
			snprintf(text, sizeof(text), "to %s here", local);
		else
			str_copy(text, sizeof(text), local);
		if (json_int(f, "targetPort", 0) && !json_str(f, "targetPath", "")[0])
			row(number, json_str(f, "targetHost", ""), "", text,
			    json_str(f, "label", ""));
		else
			row("-", target, "", text, json_str(f, "label", ""));
	}
}

static int print_list(const struct cmd_globals *g, yyjson_val *ports, yyjson_val *forwards)
{
	yyjson_mut_doc *doc;
	yyjson_mut_val *o;
	yyjson_val *p;
	size_t i, n;
	char *text;

	if (g->json) {
		doc = yyjson_mut_doc_new(NULL);
		o = yyjson_mut_obj(doc);
		yyjson_mut_doc_set_root(doc, o);
		yyjson_mut_obj_add_val(doc, o, "ports", yyjson_val_mut_copy(doc, ports));
		yyjson_mut_obj_add_val(doc, o, "forwards", yyjson_val_mut_copy(doc, forwards));
		text = yyjson_mut_write(doc, 0, NULL);
		puts(text ? text : "{}");
		free(text);
		yyjson_mut_doc_free(doc);
		return cmd_done(g);
	}
	if (yyjson_arr_size(ports) + yyjson_arr_size(forwards) == 0) {
		puts("nothing listens");
		return cmd_done(g);
	}
	row("PORT", "ADDRESS", "PROCESS", "FORWARDED", "LABEL");
	yyjson_arr_foreach(ports, i, n, p)
	{
		print_port(p, forwards);
	}
	print_others(ports, forwards);
	return cmd_done(g);
}

/* ---- the command ---- */

static int list(const struct cmd_globals *g, struct api_client *c, const char *host)
{
	struct jsonrpc_msg ports = {0}, forwards = {0};
	struct tl_err err = {0};
	int rc = api_client_call(
	    c, "host/call", cmd_params("host", host, "method", "ports/list", NULL), &ports, &err);

	if (rc == 0)
		rc = api_client_call(c, "forward/list", cmd_params("host", host, NULL), &forwards,
				     &err);
	rc = rc ? cmd_fail(g, &err)
		: print_list(g, json_get(ports.result, "ports"),
			     json_get(forwards.result, "forwards"));
	jsonrpc_fini(&ports);
	jsonrpc_fini(&forwards);
	return rc;
}

int cmd_ports(int argc, char **argv, const struct cmd_globals *g)
{
	bool watch = cmd_flag(&argc, argv, NULL, "--watch");
	int rc = cmd_words(g, &argc, argv, 1, 1, "HOST");
	struct cmd_target t = {0};
	struct api_client *c = NULL;
	struct tl_err err = {0};
	struct ports_watch w;
	char *host = NULL;

	if (rc)
		return rc;
	rc = cmd_target_parse(argv[1], &t, &err);
	if (rc == 0 && (!t.host || t.path))
		rc = err_set(&err, TL_E_INVAL, "“%s” is not a host", argv[1]);
	ports_watch_init(&w, g);
	if (rc == 0)
		rc = cmd_reach(&w.ui, t.host, &c, &host, &err);
	cmd_ui_clear(&w.ui);
	if (rc)
		rc = cmd_fail(g, &err);
	else
		rc = watch ? ports_watch_run(&w, c, host) : list(g, c, host);
	api_client_close(c);
	ports_watch_fini(&w);
	free(host);
	cmd_target_fini(&t);
	return rc;
}
