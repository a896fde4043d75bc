/* cmd_sessions.c - towline sessions: the Python, R and other kernels that run on a host, and those
 * that could. */
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "cmd/session_file.h"
#include "loop/loop.h"

const char *const cmd_sessions_usage =
    "usage: towline sessions [--json] HOST\n"
    "       towline sessions [--json] --kernels HOST[:FOLDER]\n"
    "       towline sessions --interrupt ID | --restart ID | --end ID HOST\n"
    "       towline sessions --connection-file ID [--tcp] HOST\n"
    "\n"
    "Lists your Python, R and other sessions on a host, whoever started them: window, notebook or\n"
    "command. They go on when windows close, connections break or the server is upgraded.\n"
    "\n"
    "  --kernels       what could be started there instead: kernels and interpreters, also those\n"
    "                  of the environments in FOLDER, and what is missing where one is not ready\n"
    "  --interrupt ID  interrupt what it runs\n"
    "  --restart ID    end its process and start it anew; variables are lost, output is kept\n"
    "  --end ID        end it\n"
    "  --connection-file ID\n"
    "                  makes its sockets reachable on this machine, prints the path of a "
    "connection\n"
    "                  file for jupyter console --existing FILE and the like, and waits: Ctrl-C\n"
    "                  takes all of that away. Who has the file can run code in the session\n"
    "  --tcp           ports of the loopback instead of unix sockets, for clients that know no\n"
    "                  others; every user of this machine can then read what the kernel prints\n"
    "\n"
    "ID is the session's id or its name.\n"
    "\n"
    "examples:\n"
    "  towline sessions build-server\n"
    "  towline run-code build-server --kernel python3 --keep --name work -c 'x = 1'\n"
    "  towline sessions --end work build-server\n"
    "\n"
    "exit status: 0; 70 there is no such session.\n";

struct sessions_options {
	const char *verb, *id; /* method below kernel/, or NULL */
	bool kernels, file, tcp;
};

static void put_text(const char *s)
{
	for (; *s; s++)
		putchar((unsigned char)*s < 0x20 || *s == 0x7f ? '?' : *s);
}

/* "3 min", "2 h" */
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

static void print_session(yyjson_val *k, int64_t now_ms)
{
	const char *name = json_str(k, "name", ""), *state = json_str(k, "state", "?");
	char age[32], memory[32], since[32];

	put_span(age, sizeof(age), now_ms - json_int(k, "startedMs", now_ms));
	put_span(since, sizeof(since), now_ms - json_int(k, "stateSinceMs", now_ms));
	snprintf(memory, sizeof(memory), "%.0f MB", (double)json_int(k, "rssBytes", 0) / 1e6);
	printf("%-9s %-10s %-8s %8s %7lld  ", json_str(k, "id", "?"), state, age, memory,
	       (long long)json_int(k, "viewers", 0));
	put_text(*name ? name : json_str(k, "displayName", "?"));
	if (*name) {
		fputs(", ", stdout);
		put_text(json_str(k, "displayName", "?"));
	}
	fputs(", ", stdout);
	put_text(json_str(k, "cwd", ""));
	if (json_bool(k, "inputWanted", false))
		fputs(", asks for input", stdout);
	else if (strcmp(state, "busy") == 0)
		printf(", busy for %s", since);
	if (json_int(k, "queue", 0) > 1)
		printf(", %lld waiting", (long long)json_int(k, "queue", 0) - 1);
	putchar('\n');
}

static void print_sessions(yyjson_val *list, const char *host)
{
	size_t i, n;
	yyjson_val *k;

	if (yyjson_arr_size(list) == 0)
		printf(
		    "no session runs on %s; towline run-code %s --kernel NAME --keep starts one\n",
		    host, host);
	else
		printf("%-9s %-10s %-8s %8s %7s  %s\n", "ID", "STATE", "AGE", "MEMORY", "VIEWERS",
		       "NAME, KERNEL, FOLDER");
	yyjson_arr_foreach(list, i, n, k)
	{
		print_session(k, (int64_t)clock_wall_ms());
	}
}

static void print_kernels(yyjson_val *result)
{
	size_t i, n;
	yyjson_val *k;

	yyjson_arr_foreach(json_get(result, "specs"), i, n, k)
	{
		put_text(json_str(k, "id", "?"));
		fputs("  ", stdout);
		put_text(json_str(k, "displayName", ""));
		if (!json_bool(k, "ready", false)) {
			fputs("\n  not ready: ", stdout);
			put_text(json_str(k, "reason", "?"));
			if (json_get(k, "install")) {
				fputs("\n  type there: ", stdout);
				put_text(json_str(k, "install", ""));
			}
		}
		putchar('\n');
	}
	if (!json_bool(result, "complete", true))
		puts("the search ran out of time; there may be more");
}

static int take_options(const struct cmd_globals *g, int *argc, char **argv,
			struct sessions_options *o)
{
	static const char *const verbs[] = {"interrupt", "restart", "shutdown"};
	static const char *const names[] = {"--interrupt", "--restart", "--end"};
	bool bad = false;

	const char *file = cmd_value(g, argc, argv, NULL, "--connection-file", &bad);

	if (file) {
		o->id = file;
		o->file = true;
	}
	for (size_t i = 0; i < 3 && !bad; i++) {
		const char *id = cmd_value(g, argc, argv, NULL, names[i], &bad);
		if (id && o->id)
			return cmd_usage_error(g, "sessions", "one order at a time");
		if (id) {
			o->id = id;
			o->verb = verbs[i];
		}
	}
	if (bad)
		return CMD_EXIT_USAGE;
	o->kernels = cmd_flag(argc, argv, NULL, "--kernels");
	o->tcp = cmd_flag(argc, argv, NULL, "--tcp");
	if (o->tcp && !o->file)
		return cmd_usage_error(g, "sessions", "--tcp goes with --connection-file");
	if (o->kernels && o->id)
		return cmd_usage_error(g, "sessions", "--kernels goes with no order");
	return cmd_words(g, argc, argv, 1, 1, "HOST");
}

/* The session called id_or_name, as its id, in list; NULL and err: none, or several. */
static const char *find(yyjson_val *list, const char *id_or_name, struct tl_err *err)
{
	const char *found = NULL;
	size_t i, n, count = 0;
	yyjson_val *k;

	yyjson_arr_foreach(list, i, n, k)
	{
		if (strcmp(json_str(k, "id", ""), id_or_name) == 0)
			return id_or_name;
		if (strcmp(json_str(k, "name", ""), id_or_name) == 0) {
			found = json_str(k, "id", "");
			count++;
		}
	}
	if (count == 1)
		return found;
	err_set(err, count ? TL_E_INVAL : TL_E_NOKERNEL,
		count ? "%zu sessions are called “%.100s”: give an id"
		      : "there is no session%.0zu “%.100s”",
		count, id_or_name);
	return NULL;
}

static int order(struct api_client *c, const char *host, const struct sessions_options *o,
		 const struct cmd_globals *g, struct tl_err *err)
{
	struct jsonrpc_msg list = {0}, m = {0};
	char method[32];
	const char *id = NULL;
	int rc = cmd_host_call(c, host, "kernel/list", cmd_params(NULL), &list, err);

	if (!rc)
		id = find(json_get(list.result, "kernels"), o->id, err);
	rc = rc ? rc : id ? 0 : err->code;
	snprintf(method, sizeof(method), "kernel/%s", o->verb ? o->verb : "");
	if (!rc && o->file)
		rc = session_file_serve(c, host, id, o->tcp, g, err);
	else if (!rc)
		rc = cmd_host_call(c, host, method, cmd_params("id", id, NULL), &m, err);
	if (!rc && g->json)
		cmd_print_json(m.result);
	jsonrpc_fini(&m);
	jsonrpc_fini(&list);
	return rc;
}

static int show(struct api_client *c, const char *host, const struct cmd_target *t,
		const struct sessions_options *o, const struct cmd_globals *g, struct tl_err *err)
{
	struct jsonrpc_msg m = {0};
	const char *cwd = t->path && *t->path ? t->path : NULL;
	int rc = cmd_host_call(c, host, o->kernels ? "kernel/specs" : "kernel/list",
			       cmd_params("cwd", o->kernels ? cwd : NULL, NULL), &m, err);

	if (!rc && g->json)
		cmd_print_json(m.result);
	else if (!rc && o->kernels)
		print_kernels(m.result);
	else if (!rc)
		print_sessions(json_get(m.result, "kernels"), t->host);
	jsonrpc_fini(&m);
	return rc;
}

int cmd_sessions(int argc, char **argv, const struct cmd_globals *g)
{
	struct sessions_options o = {0};
	struct cmd_target t = {0};
	struct api_client *c = NULL;
	struct cmd_ui ui;
	struct tl_err err = {0};
	char *host = NULL;
	int rc = take_options(g, &argc, argv, &o);

	if (rc)
		return rc;
	cmd_ui_init(&ui, g);
	rc = cmd_target_parse(argv[1], &t, &err);
	if (!rc && !t.host)
		rc = err_set(&err, TL_E_INVAL, "“%s” is not a host", argv[1]);
	rc = rc ? rc : cmd_reach(&ui, t.host, &c, &host, &err);
	if (!rc)
		rc = o.id ? order(c, host, &o, g, &err) : show(c, host, &t, &o, g, &err);
	if (c)
		api_client_close(c);
	free(host);
	cmd_target_fini(&t);
	return rc ? cmd_fail(g, &err) : cmd_done(g);
}
