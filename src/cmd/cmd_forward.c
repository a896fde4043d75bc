/* cmd_forward.c - towline forward, unforward and socks: forwards that the daemon holds. */
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "cmd/cmd_forwards.h"
#include "cmd/forward_word.h"

#define NEAR_SOCKS 1080

const char *const cmd_forward_usage =
    "usage: towline forward HOST [LOCAL:]TARGET…\n"
    "       towline forward -R HOST [REMOTE:]TARGET…\n"
    "       towline forward HOST --lend-internet [PORT]\n"
    "       towline forward HOST\n"
    "\n"
    "Makes what listens on a host reachable on this machine, or the other way round. Returns once\n"
    "it listens and prints where; the daemon holds the forward until `towline unforward`, also\n"
    "over its own restart. Without a target: lists the forwards of the host.\n"
    "  8080                    port 8080 of the host, here under the same number if it is free\n"
    "  db:5432                 db:5432 as seen from the host\n"
    "  9000:db:5432            the same, here exactly on port 9000 (0: any free port)\n"
    "  *:9000:db:5432          for every machine that can reach this one\n"
    "  /run/app.sock           a unix socket; here a private one, whose path is printed\n"
    "  9000:/run/app.sock      on port 9000 here\n"
    "\n"
    "  -R, --reverse           listens on the host, connects from here\n"
    "  --lend-internet         an HTTP proxy on the host, whose connections begin on this "
    "machine;\n"
    "                          prints the lines that make pip, R, curl and git use it. Services\n"
    "                          and private networks of this machine stay out of reach\n"
    "  --label TEXT            shown beside it\n"
    "  --json                  each forward as JSON in a line\n"
    "\n"
    "examples:\n"
    "  towline forward build-server 8888\n"
    "  towline forward build-server 5433:db.internal:5432\n"
    "  towline forward -R build-server 9000:localhost:3000\n"
    "  towline forward build-server --lend-internet     then paste its lines into a terminal "
    "there\n"
    "\n"
    "exit status: 0; 2 wrong target; 81 the local port is taken; 21 it needs more rights; others "
    "as\n"
    "in towline(1).\n";

const char *const cmd_unforward_usage =
    "usage: towline unforward HOST ID|PORT|PATH…\n"
    "       towline unforward HOST --all\n"
    "\n"
    "Ends forwards and their connections. PORT and PATH are where the forward listens: on this\n"
    "machine, or with -R on the host. Where none does, they are those it leads to. `towline\n"
    "forward HOST` lists them.\n"
    "\n"
    "  --all    every forward of the host, but those of the ssh configuration and the settings\n"
    "\n"
    "example:\n"
    "  towline unforward build-server 8888\n"
    "\n"
    "exit status: 0; 20 there is no such forward.\n";

const char *const cmd_socks_usage =
    "usage: towline socks HOST [PORT]\n"
    "\n"
    "A SOCKS 5 proxy on this machine whose connections begin on HOST. Returns once it listens and\n"
    "prints its address; the daemon holds it until `towline unforward HOST PORT`. Without PORT:\n"
    "1080, or one near it.\n"
    "\n"
    "  --json   the forward as JSON\n"
    "\n"
    "example:\n"
    "  curl -x \"$(towline socks build-server)\" http://intranet/\n"
    "\n"
    "exit status: 0; 81 the port is taken; others as in towline(1).\n";

/* ---- forward ---- */

static int list(const struct cmd_globals *g, const char *host)
{
	struct api_client *c = NULL;
	struct jsonrpc_msg m = {0};
	struct tl_err err = {0};
	char local[300], target[300];
	yyjson_val *all, *f;
	size_t i, n;
	int rc = forwards_of(host, &c, &m, &err);

	if (rc)
		return cmd_fail(g, &err);
	all = json_get(m.result, "forwards");
	if (g->json) {
		cmd_print_json(m.result);
	} else if (yyjson_arr_size(all) == 0) {
		puts("no forwards");
	} else {
		printf("%-8s%-7s%-26s%-26s%-11s%s\n", "ID", "KIND", "HERE", "ON THE HOST", "STATE",
		       "LABEL");
		yyjson_arr_foreach(all, i, n, f)
		{
			forwards_cell(json_str(f, "id", "?"), 8);
			forwards_cell(json_str(f, "kind", "?"), 7);
			forwards_cell(forwards_local(f, local, sizeof(local)), 26);
			forwards_cell(forwards_target(f, target, sizeof(target)), 26);
			forwards_cell(json_str(f, "state", "?"), 11);
			forwards_cell(json_str(f, "label", ""), 0);
			putchar('\n');
			if (json_get(f, "error")) {
				fputs("        ", stdout);
				forwards_cell(json_str(json_get(f, "error"), "message", ""), 0);
				putchar('\n');
			}
		}
	}
	jsonrpc_fini(&m);
	api_client_close(c);
	return cmd_done(g);
}

static yyjson_mut_doc *new_spec(const char *kind, const char *label)
{
	yyjson_mut_doc *doc = cmd_params("kind", kind, "label", label, "source", "command", NULL);

	return doc;
}

/* Everything that is written wrong is said before anything is done. */
static int check_words(const struct cmd_globals *g, int argc, char **argv)
{
	struct forward_word w;
	struct tl_err err;

	for (int i = 2; i < argc; i++)
		if (forward_word_parse(argv[i], &w, &err) != 0)
			return cmd_usage_error(g, "forward", "%s", err.text);
	return 0;
}

static int add_words(const struct cmd_globals *g, struct api_client *c, const char *host,
		     bool reverse, const char *label, int argc, char **argv)
{
	struct forward_word w;
	struct tl_err err;
	int rc = 0;

	for (int i = 2; i < argc && rc == 0; i++) {
		yyjson_mut_doc *doc = new_spec(reverse ? "remote" : "local", label);
		rc = forward_word_parse(argv[i], &w, &err);
		if (rc)
			return cmd_fail(g, &err);
		forward_word_json(&w, reverse, doc, yyjson_mut_doc_get_root(doc));
		rc = forwards_add(g, c, host, doc);
	}
	return rc;
}

static int lend(const struct cmd_globals *g, struct api_client *c, const char *host,
		const char *label, int argc, char **argv)
{
	yyjson_mut_doc *doc = new_spec("remote", label);
	yyjson_mut_val *o = yyjson_mut_doc_get_root(doc);
	long long port = 0;

	if (argc > 2 && !str_to_int(argv[2], 1, 65535, &port)) {
		yyjson_mut_doc_free(doc);
		return cmd_usage_error(g, "forward", "“%s” is not a port of the host", argv[2]);
	}
	yyjson_mut_obj_add_bool(doc, o, "proxy", true);
	yyjson_mut_obj_add_int(doc, o, "targetPort", port);
	return forwards_add(g, c, host, doc);
}

/* HOST of the command line for the daemon: malloc'ed, or NULL and err. */
static char *host_name(const char *word, struct tl_err *err)
{
	struct cmd_target t = {0};
	char *host = NULL;

	if (cmd_target_parse(word, &t, err) == 0) {
		if (!t.host || t.path)
			err_set(err, TL_E_INVAL, "“%s” is not a host", word);
		else
			host = str_dup(t.host);
	}
	cmd_target_fini(&t);
	return host;
}

int cmd_forward(int argc, char **argv, const struct cmd_globals *g)
{
	bool bad = false, reverse = cmd_flag(&argc, argv, "-R", "--reverse");
	bool internet = cmd_flag(&argc, argv, NULL, "--lend-internet");
	const char *label = cmd_value(g, &argc, argv, NULL, "--label", &bad);
	struct api_client *c = NULL;
	struct tl_err err = {0};
	struct cmd_ui ui;
	char *host, *canonical = NULL;
	int rc = bad ? CMD_EXIT_USAGE
		     : cmd_words(g, &argc, argv, 1, internet ? 2 : 100, "HOST and what to forward");

	if (rc || (!internet && (rc = check_words(g, argc, argv)) != 0))
		return rc;
	if (internet && reverse)
		return cmd_usage_error(g, "forward",
				       "--lend-internet listens on the host already: "
				       "leave -R out");
	if (reverse && argc == 2)
		return cmd_usage_error(g, "forward", "-R needs what to forward, as in 9000:80");
	host = host_name(argv[1], &err);
	if (!host)
		return cmd_fail(g, &err);
	if (argc == 2 && !internet) {
		rc = list(g, host);
		free(host);
		return rc;
	}
	cmd_ui_init(&ui, g);
	rc = cmd_reach(&ui, host, &c, &canonical, &err);
	cmd_ui_clear(&ui);
	if (rc)
		rc = cmd_fail(g, &err);
	else if (internet)
		rc = lend(g, c, canonical, label, argc, argv);
	else
		rc = add_words(g, c, canonical, reverse, label, argc, argv);
	api_client_close(c);
	free(canonical);
	free(host);
	return rc ? rc : cmd_done(g);
}

/* ---- socks ---- */

int cmd_socks(int argc, char **argv, const struct cmd_globals *g)
{
	int rc = cmd_words(g, &argc, argv, 1, 2, "HOST and perhaps a port");
	struct api_client *c = NULL;
	struct tl_err err = {0};
	yyjson_mut_doc *doc;
	struct cmd_ui ui;
	char *host, *canonical = NULL;
	long long port = NEAR_SOCKS;

	if (rc)
		return rc;
	if (argc > 2 && !str_to_int(argv[2], 0, 65535, &port))
		return cmd_usage_error(g, "socks", "“%s” is not a port (0 to 65535)", argv[2]);
	host = host_name(argv[1], &err);
	if (!host)
		return cmd_fail(g, &err);
	cmd_ui_init(&ui, g);
	rc = cmd_reach(&ui, host, &c, &canonical, &err);
	cmd_ui_clear(&ui);
	if (rc) {
		rc = cmd_fail(g, &err);
	} else {
		doc = new_spec("socks", NULL);
		/* without a port the one that is there already will do */
		yyjson_mut_obj_add_int(doc, yyjson_mut_doc_get_root(doc), "localPort", port);
		yyjson_mut_obj_add_bool(doc, yyjson_mut_doc_get_root(doc), "requireLocalPort",
					argc > 2 && port > 0);
		if (argc == 2)
			yyjson_mut_obj_put(yyjson_mut_doc_get_root(doc),
					   yyjson_mut_str(doc, "source"),
					   yyjson_mut_str(doc, "user"));
		rc = forwards_add(g, c, canonical, doc);
	}
	api_client_close(c);
	free(canonical);
	free(host);
	return rc ? rc : cmd_done(g);
}

/* ---- unforward ---- */

/* Named by its id, or by the end where it listens (else: by the other one). */
static bool is_meant(yyjson_val *f, const char *word, bool listens)
{
	bool there = (strcmp(json_str(f, "kind", ""), "remote") == 0) == listens;
	const char *path = json_str(f, there ? "targetPath" : "localPath", "");
	long long port;

	if (strcmp(json_str(f, "id", ""), word) == 0 || (path[0] && strcmp(path, word) == 0))
		return true;
	return str_to_int(word, 1, 65535, &port) &&
	       json_int(f, there ? "targetPort" : "localPort", 0) == port;
}

/* Those that come back by themselves are not meant by --all. */
static bool is_persons(yyjson_val *f)
{
	const char *source = json_str(f, "source", "");

	return strcmp(source, "config") != 0 && strcmp(source, "default") != 0;
}

static int remove_one(struct api_client *c, yyjson_val *f, struct tl_err *err)
{
	struct jsonrpc_msg m = {0};
	int rc = api_client_call(c, "forward/remove", cmd_params("id", json_str(f, "id", ""), NULL),
				 &m, err);

	jsonrpc_fini(&m);
	return rc;
}

static int remove_all(struct api_client *c, yyjson_val *all, const char *word, struct tl_err *err)
{
	bool found = false;
	yyjson_val *f;
	size_t i, n;
	int rc = 0;

	for (int turn = 0; turn < 2 && !found; turn++) {
		yyjson_arr_foreach(all, i, n, f)
		{
			if (rc || (word ? !is_meant(f, word, turn == 0) : !is_persons(f)))
				continue;
			rc = remove_one(c, f, err);
			found = true;
		}
	}
	if (rc == 0 && word && !found)
		rc = err_set(err, TL_E_NOFORWARD, "there is no forward “%.200s”", word);
	return rc;
}

int cmd_unforward(int argc, char **argv, const struct cmd_globals *g)
{
	bool everything = cmd_flag(&argc, argv, NULL, "--all");
	int rc = cmd_words(g, &argc, argv, 1, everything ? 1 : 100, "HOST and a forward, or --all");
	struct api_client *c = NULL;
	struct jsonrpc_msg m = {0};
	struct tl_err err = {0};
	char *host;

	if (rc)
		return rc;
	if (!everything && argc == 2)
		return cmd_usage_error(g, "unforward",
				       "which forward shall end? Give its id or port, or --all");
	host = host_name(argv[1], &err);
	if (!host)
		return cmd_fail(g, &err);
	rc = forwards_of(host, &c, &m, &err);
	if (rc == 0 && everything)
		rc = remove_all(c, json_get(m.result, "forwards"), NULL, &err);
	for (int i = 2; i < argc && rc == 0; i++)
		rc = remove_all(c, json_get(m.result, "forwards"), argv[i], &err);
	if (rc == 0)
		puts(g->json ? "{}" : "ended");
	jsonrpc_fini(&m);
	api_client_close(c);
	free(host);
	return rc ? cmd_fail(g, &err) : cmd_done(g);
}
