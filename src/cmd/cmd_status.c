/* cmd_status.c - towline status: the daemon, its hosts, and the terminals that run there. */
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "cmd/cmd_util.h"
#include "loop/loop.h"

#define HOST_MS 3000 /* for a host to list its terminals: status is for bad days, too */

const char *const cmd_status_usage =
    "usage: towline status [--json] [HOST]\n"
    "       towline status --hosts\n"
    "\n"
    "Shows the daemon, every host it is or was connected to with the state of the connection,\n"
    "and the terminals that run there. With HOST only that one.\n"
    "\n"
    "States: connected, connecting, reconnecting (it goes on by itself), failed (towline open\n"
    "tries again), disconnected.\n"
    "\n"
    "  --hosts   only the names of known hosts and those of the ssh configuration, one in a line\n"
    "            with its state behind a tab; starts no daemon and asks no host (for completion)\n"
    "\n"
    "examples:\n"
    "  towline status\n"
    "  towline status --json build-server\n"
    "\n"
    "exit status: 0; 49 HOST was given and is not known.\n";

/* "3 min", "2 h", "5 d" */
static void put_span(char *out, size_t n, int64_t ms)
{
	int64_t s = ms > 0 ? ms / 1000 : 0;

	if (s < 90)
		snprintf(out, n, "%lld s", (long long)s);
	else if (s < 90 * 60)
		snprintf(out, n, "%lld min", (long long)(s / 60));
	else if (s < 36 * 3600)
		snprintf(out, n, "%lld h", (long long)(s / 3600));
	else
		snprintf(out, n, "%lld d", (long long)(s / 86400));
}

/* Text of a program or a host, without control characters. */
static void put_text(const char *s)
{
	for (; *s; s++)
		putchar((unsigned char)*s < 0x20 || *s == 0x7f ? '?' : *s);
}

static void print_terminals(yyjson_val *list)
{
	yyjson_val *t;
	size_t i, max;
	char age[32];

	yyjson_arr_foreach(list, i, max, t)
	{
		yyjson_val *gone = json_get(t, "exit");
		put_span(age, sizeof(age), (int64_t)clock_wall_ms() - json_int(t, "startedMs", 0));
		printf("  terminal %s  ", json_str(t, "id", "?"));
		put_text(json_str(t, "name", ""));
		printf("  %s  %s, ", json_str(t, "cwd", ""), age);
		if (gone)
			printf("ended (%s %lld)\n", json_str(gone, "kind", "exit"),
			       (long long)json_int(gone, "value", 0));
		else
			printf("%lld viewers\n", (long long)json_int(t, "viewers", 0));
	}
}

static void print_host(yyjson_val *h, yyjson_val *terminals)
{
	const char *phase = json_str(h, "phase", "?");
	yyjson_val *rtt = json_get(h, "rttMs"), *info = json_get(h, "info");
	int64_t retry = json_int(h, "retryInMs", -1);
	char age[32];

	put_span(age, sizeof(age), (int64_t)clock_wall_ms() - json_int(h, "sinceMs", 0));
	put_text(json_str(h, "host", "?"));
	printf(": %s for %s", phase, age);
	if (rtt && strcmp(phase, "connected") == 0)
		printf(", %.1f ms away", yyjson_get_num(rtt));
	if (retry >= 0)
		printf(", next attempt in %lld s", (long long)((retry + 999) / 1000));
	if (info && strcmp(phase, "connected") == 0 && *json_str(info, "user", ""))
		printf(", %s on %s", json_str(info, "user", "?"), json_str(info, "hostname", "?"));
	putchar('\n');
	if (json_get(info, "plain") && strcmp(phase, "connected") == 0) {
		fputs("  without a server of ours: ", stdout);
		put_text(json_str(json_get(info, "plain"), "why", "?"));
		putchar('\n');
	}
	if (json_get(h, "notice")) {
		fputs("  ", stdout);
		put_text(json_str(h, "notice", ""));
		putchar('\n');
	}
	if (json_get(h, "error")) {
		fputs("  ", stdout);
		put_text(json_str(json_get(h, "error"), "message", ""));
		putchar('\n');
	}
	print_terminals(terminals);
}

/* Terminals of a connected host; false when it cannot say now. */
static bool ask_terminals(struct api_client *c, yyjson_val *h, struct jsonrpc_msg *m)
{
	if (strcmp(json_str(h, "phase", ""), "connected") != 0)
		return false;
	return api_client_call(
		   c, "host/call",
		   cmd_params("host", json_str(h, "host", ""), "method", "term/list", NULL), m,
		   NULL) == 0;
}

static void print_daemon(yyjson_val *s)
{
	int64_t windows = json_int(s, "windows", 0);
	char age[32];

	put_span(age, sizeof(age), (int64_t)clock_wall_ms() - json_int(s, "startedMs", 0));
	printf("daemon %s: process %lld, for %s, %s, %lld window%s\n", json_str(s, "version", "?"),
	       (long long)json_int(s, "pid", 0), age, json_str(s, "origin", "?"),
	       (long long)windows, windows == 1 ? "" : "s");
}

/* Is this the host that was asked for? */
static bool matches(yyjson_val *h, const char *host)
{
	return !host || strcmp(json_str(h, "host", ""), host) == 0;
}

static size_t print_all(struct api_client *c, yyjson_val *status, const char *host)
{
	yyjson_val *hosts = json_get(status, "hosts"), *h;
	size_t i, max, shown = 0;

	if (!host)
		print_daemon(status);
	yyjson_arr_foreach(hosts, i, max, h)
	{
		struct jsonrpc_msg m = {0};
		bool there;
		if (!matches(h, host))
			continue;
		there = ask_terminals(c, h, &m);
		print_host(h, there ? json_get(m.result, "terminals") : NULL);
		if (there)
			jsonrpc_fini(&m);
		shown++;
	}
	if (!host && shown == 0)
		puts("no host is connected");
	return shown;
}

/* The same as one object: DaemonStatus, every host with its terminals (null: it cannot say now);
 * with a host only its object. */
static size_t print_json(struct api_client *c, yyjson_val *status, const char *host)
{
	yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *root = yyjson_val_mut_copy(doc, status), *one = NULL;
	yyjson_mut_val *hosts = yyjson_mut_obj_get(root, "hosts"), *copy;
	size_t i, max, shown = 0;
	char *text;

	yyjson_mut_arr_foreach(hosts, i, max, copy)
	{
		yyjson_val *h = yyjson_arr_get(json_get(status, "hosts"), i);
		struct jsonrpc_msg m = {0};
		if (!matches(h, host))
			continue;
		one = copy;
		shown++;
		if (ask_terminals(c, h, &m)) {
			yyjson_mut_obj_add_val(
			    doc, copy, "terminals",
			    yyjson_val_mut_copy(doc, json_get(m.result, "terminals")));
			jsonrpc_fini(&m);
		} else {
			yyjson_mut_obj_add_null(doc, copy, "terminals");
		}
	}
	yyjson_mut_doc_set_root(doc, host ? one : root);
	text = !host || one ? yyjson_mut_write(doc, 0, NULL) : NULL;
	if (text)
		puts(text);
	free(text);
	yyjson_mut_doc_free(doc);
	return shown;
}

static bool in_list(yyjson_val *hosts, const char *key, const char *name)
{
	yyjson_val *h;
	size_t i, max;

	yyjson_arr_foreach(hosts, i, max,
			   h) if (strcmp(json_str(h, key, ""), name) == 0) return true;
	return false;
}

/* Names for completion; without a daemon there is nothing to say, which is no failure. */
static int list_hosts(const struct cmd_globals *g)
{
	struct api_client *c = NULL;
	struct jsonrpc_msg known = {0}, configured = {0};
	yyjson_val *hosts, *h;
	size_t i, max;

	if (api_client_open(&c, false, NULL, NULL) != 0)
		return 0;
	api_client_limit(c, HOST_MS);
	if (api_client_call(c, "host/list", NULL, &known, NULL) == 0) {
		hosts = json_get(known.result, "hosts");
		yyjson_arr_foreach(hosts, i, max, h)
		{
			put_text(json_str(h, "host", ""));
			printf("\t%s\n", json_str(h, "phase", ""));
		}
	}
	if (api_client_call(c, "host/configured",
			    cmd_params("configFile", g->host.config_file, NULL), &configured,
			    NULL) == 0) {
		hosts = json_get(configured.result, "hosts");
		yyjson_arr_foreach(hosts, i, max, h)
		{
			if (in_list(json_get(known.result, "hosts"), "host",
				    json_str(h, "name", "")))
				continue;
			put_text(json_str(h, "name", ""));
			puts("\tconfigured");
		}
	}
	jsonrpc_fini(&known);
	jsonrpc_fini(&configured);
	api_client_close(c);
	return cmd_done(g);
}

int cmd_status(int argc, char **argv, const struct cmd_globals *g)
{
	struct cmd_target t = {0};
	struct api_client *c = NULL;
	struct tl_err err = {0};
	struct jsonrpc_msg m = {0};
	size_t shown = 0;
	bool names = cmd_flag(&argc, argv, NULL, "--hosts");
	int rc = cmd_words(g, &argc, argv, 0, names ? 0 : 1, "HOST");

	if (rc)
		return rc;
	if (names)
		return list_hosts(g);
	if (argc > 1)
		rc = cmd_target_parse(argv[1], &t, &err);
	if (rc == 0 && argc > 1 && !t.host)
		rc = err_set(&err, TL_E_INVAL, "“%s” is not a host", argv[1]);
	if (rc == 0)
		rc = api_client_open(&c, true, NULL, &err);
	if (rc == 0)
		rc = api_client_call(c, "daemon/status", NULL, &m, &err);
	if (rc == 0) {
		api_client_limit(c, HOST_MS);
		shown = g->json ? print_json(c, m.result, t.host) : print_all(c, m.result, t.host);
		jsonrpc_fini(&m);
		if (t.host && shown == 0)
			rc = err_set(&err, TL_E_NOHOST, "not connected to “%s”", t.host);
	}
	api_client_close(c);
	cmd_target_fini(&t);
	return rc ? cmd_fail(g, &err) : cmd_done(g);
}
