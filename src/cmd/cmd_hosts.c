/* cmd_hosts.c - towline hosts: the hosts there are, and those of the ssh configuration written,
 * removed and shown. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/str.h"
#include "cmd/cmd_util.h"
#include "loop/loop.h"

const char *const cmd_hosts_usage =
    "usage: towline hosts [list]\n"
    "       towline hosts add [--name NAME] [--dry-run] 'ssh …'\n"
    "       towline hosts remove HOST\n"
    "       towline hosts show HOST\n"
    "       towline hosts forget HOST [FOLDER]\n"
    "\n"
    "list     the hosts of the ssh configuration (files it includes, too), those connected and\n"
    "         those that were: when last, what they are, and the folders opened there\n"
    "add      writes a host to the ssh configuration: user@host:port, or a whole ssh command as "
    "it\n"
    "         stands in somebody's notes. Everything else in the file stays as it is; what a\n"
    "         configuration cannot hold is named\n"
    "remove   takes the host's block out again, and forgets its folders\n"
    "show     every setting that ssh has for the host, Include and Match resolved\n"
    "forget   forgets when it was connected and its folders, or one folder; no file is changed\n"
    "\n"
    "The file is the one given with -F, else that of remote.SSH.configFile in the settings, else\n"
    "~/.ssh/config.\n"
    "\n"
    "  --name NAME  the name to connect with; without it the host's own\n"
    "  --dry-run    print the block, write nothing\n"
    "\n"
    "examples:\n"
    "  towline hosts add me@192.0.2.7\n"
    "  towline hosts add --name build 'ssh -i ~/.ssh/work -p 2222 -J gate me@build.example.org'\n"
    "  towline hosts show build\n"
    "\n"
    "exit status: 0; 2 the command makes no sense; 20 there is no such host; 22 the name is "
    "taken;\n"
    "48 ssh does not accept a setting.\n";

/* ---- list ---- */

static void put_text(const char *s)
{
	for (; *s; s++)
		putchar((unsigned char)*s < 0x20 || *s == 0x7f ? '?' : *s);
}

/* Columns on the screen: bytes that begin a character. */
static size_t width(const char *s)
{
	size_t n = 0;

	for (; *s; s++)
		n += ((unsigned char)*s & 0xc0) != 0x80;
	return n;
}

static void put_cell(const char *s, size_t columns)
{
	put_text(s);
	for (size_t n = width(s); n < columns; n++)
		putchar(' ');
}

static const char *last_seen(yyjson_val *h, char *out, size_t n)
{
	int64_t at = json_int(h, "lastConnectedMs", 0), s;
	const char *phase = json_str(h, "phase", "");

	if (strcmp(phase, "disconnected") != 0)
		return phase;
	if (at <= 0)
		return "never";
	s = ((int64_t)clock_wall_ms() - at) / 1000;
	if (s < 90)
		snprintf(out, n, "just now");
	else if (s < 90 * 60)
		snprintf(out, n, "%lld min ago", (long long)(s / 60));
	else if (s < 36 * 3600)
		snprintf(out, n, "%lld h ago", (long long)(s / 3600));
	else
		snprintf(out, n, "%lld d ago", (long long)(s / 86400));
	return out;
}

static void print_list(yyjson_val *result)
{
	yyjson_val *hosts = json_get(result, "hosts"), *h, *f;
	size_t i, max, k, kmax, widest = 4;
	char text[64];

	yyjson_arr_foreach(hosts, i, max, h)
	{
		size_t n = width(json_str(h, "name", ""));
		widest = n > widest && n < 40 ? n : widest;
	}
	if (yyjson_arr_size(hosts) == 0) {
		printf("no hosts in %s; `towline hosts add 'ssh …'` writes one\n",
		       json_str(result, "configFile", "~/.ssh/config"));
		return;
	}
	yyjson_arr_foreach(hosts, i, max, h)
	{
		yyjson_val *p = json_get(h, "platform");
		put_cell(json_str(h, "name", "?"), widest + 2);
		put_cell(last_seen(h, text, sizeof(text)), 14);
		snprintf(text, sizeof(text), "%s %s", json_str(p, "os", ""),
			 json_str(p, "arch", ""));
		put_cell(p ? text : "", 15);
		if (json_bool(h, "configured", false)) {
			put_text(json_str(h, "file", ""));
			printf(":%lld", (long long)json_int(h, "line", 0));
		}
		putchar('\n');
		yyjson_arr_foreach(json_get(h, "folders"), k, kmax, f)
		{
			fputs("  ", stdout);
			put_text(json_str(f, "path", ""));
			putchar('\n');
		}
	}
}

static int list(struct api_client *c, const struct cmd_globals *g, struct jsonrpc_msg *m,
		struct tl_err *err)
{
	int rc = api_client_call(c, "host/known",
				 cmd_params("configFile", g->host.config_file, NULL), m, err);

	if (rc == 0 && !g->json)
		print_list(m->result);
	return rc;
}

/* ---- add ---- */

static void print_added(yyjson_val *r, bool quiet)
{
	yyjson_val *v;
	size_t i, n;

	yyjson_arr_foreach(json_get(r, "unused"), i, n, v)
	{
		fputs("towline: not kept: ", stderr);
		fprintf(stderr, "%s (%s)\n", json_str(v, "option", "?"), json_str(v, "reason", ""));
	}
	yyjson_arr_foreach(json_get(r, "overruled"), i, n, v)
	{
		fprintf(stderr,
			"towline: %s is %s, not %s: another part of the configuration says so\n",
			json_str(v, "keyword", "?"), json_str(v, "effective", ""),
			json_str(v, "wanted", ""));
	}
	if (!json_bool(r, "written", false)) {
		fputs(json_str(r, "block", ""), stdout);
		return;
	}
	if (quiet)
		return;
	printf("added %s to ", json_str(r, "name", "?"));
	put_text(json_str(r, "file", "?"));
	printf(", line %lld: towline open %s\n", (long long)json_int(r, "line", 0),
	       json_str(r, "name", "?"));
}

static void put_pairs(yyjson_mut_doc *doc, yyjson_mut_val *list, const char *flag,
		      const char *const *values)
{
	for (; values && *values; values++) {
		yyjson_mut_arr_add_str(doc, list, flag);
		yyjson_mut_arr_add_str(doc, list, *values);
	}
}

/* The words of the command line, behind those of -i, -p and -o: these belong to every command and
 * were taken out of it already. */
static void put_words(yyjson_mut_doc *doc, yyjson_mut_val *o, int argc, char **argv,
		      const struct cmd_globals *g)
{
	yyjson_mut_val *list = yyjson_mut_obj_add_arr(doc, o, "args");
	bool ssh = strcmp(argv[0], "ssh") == 0;
	char port[16];

	if (ssh)
		yyjson_mut_arr_add_str(doc, list, argv[0]);
	if (g->host.port) {
		snprintf(port, sizeof(port), "%d", g->host.port);
		yyjson_mut_arr_add_str(doc, list, "-p");
		yyjson_mut_arr_add_strcpy(doc, list, port);
	}
	put_pairs(doc, list, "-i", g->host.identities);
	put_pairs(doc, list, "-o", g->host.options);
	for (int i = ssh; i < argc; i++)
		yyjson_mut_arr_add_str(doc, list, argv[i]);
}

static int add(struct api_client *c, const struct cmd_globals *g, int argc, char **argv,
	       const char *name, bool dry, struct jsonrpc_msg *m, struct tl_err *err)
{
	char cwd[TL_LIMIT_PATH], file[2 * TL_LIMIT_PATH];
	bool here = getcwd(cwd, sizeof(cwd)) != NULL, relative;
	const char *config = g->host.config_file;
	yyjson_mut_doc *doc;
	yyjson_mut_val *o;
	int rc;

	relative = config && config[0] != '/' && config[0] != '~' && here;
	if (relative)
		snprintf(file, sizeof(file), "%s/%s", cwd, config);
	doc = cmd_params("name", name, "configFile", relative ? file : config, "cwd",
			 here ? cwd : NULL, NULL);
	o = yyjson_mut_doc_get_root(doc);
	yyjson_mut_obj_add_bool(doc, o, "dryRun", dry);
	/* one quoted word is a whole command */
	if (argc == 1 && strpbrk(argv[0], " \t") && !g->host.identities && !g->host.options &&
	    !g->host.port)
		yyjson_mut_obj_add_str(doc, o, "command", argv[0]);
	else
		put_words(doc, o, argc, argv, g);
	rc = api_client_call(c, "host/add", doc, m, err);
	if (rc == TL_E_EXIST)
		str_copy(err->text + strlen(err->text), sizeof(err->text) - strlen(err->text),
			 " (--name gives another)");
	if (rc == 0 && !g->json)
		print_added(m->result, g->quiet);
	return rc;
}

/* ---- remove, show, forget ---- */

static int remove_host(struct api_client *c, const struct cmd_globals *g, const char *host,
		       struct jsonrpc_msg *m, struct tl_err *err)
{
	int rc = api_client_call(c, "host/remove",
				 cmd_params("host", host, "configFile", g->host.config_file, NULL),
				 m, err);
	yyjson_val *v;
	size_t i, n;

	if (rc || g->json || g->quiet)
		return rc;
	yyjson_arr_foreach(json_get(m->result, "removed"), i, n, v)
	{
		printf("removed %s from ", host);
		put_text(json_str(v, "file", "?"));
		puts(json_bool(v, "shared", false)
			 ? "; its block stays for the other names on the line"
			 : "");
	}
	if (yyjson_arr_size(json_get(m->result, "removed")) == 0)
		printf("forgot %s\n", host);
	return 0;
}

static int show(struct api_client *c, const struct cmd_globals *g, const char *host,
		struct jsonrpc_msg *m, struct tl_err *err)
{
	yyjson_mut_doc *doc = cmd_params("host", host, "configFile", g->host.config_file, NULL);
	yyjson_mut_val *o = yyjson_mut_doc_get_root(doc), *opts, *a;
	yyjson_val *pair;
	size_t i, n;
	int rc;

	opts = yyjson_mut_obj_add_obj(doc, o, "options");
	a = yyjson_mut_obj_add_arr(doc, opts, "options");
	for (const char *const *v = g->host.options; v && *v; v++)
		yyjson_mut_arr_add_str(doc, a, *v);
	if (g->host.port)
		yyjson_mut_obj_add_int(doc, opts, "port", g->host.port);
	rc = api_client_call(c, "host/show", doc, m, err);
	if (rc || g->json)
		return rc;
	if (json_get(m->result, "file")) {
		fputs("# ", stdout);
		put_text(json_str(m->result, "file", ""));
		printf(", line %lld\n", (long long)json_int(m->result, "line", 0));
	} else {
		puts("# not in the ssh configuration by this name");
	}
	yyjson_arr_foreach(json_get(m->result, "config"), i, n, pair)
	{
		put_text(yyjson_get_str(yyjson_arr_get(pair, 0)));
		putchar(' ');
		put_text(yyjson_get_str(yyjson_arr_get(pair, 1)));
		putchar('\n');
	}
	return 0;
}

static int forget(struct api_client *c, const char *host, const char *folder, struct jsonrpc_msg *m,
		  struct tl_err *err)
{
	yyjson_mut_doc *doc = cmd_params("host", host, "path", folder, NULL);

	if (!folder)
		return api_client_call(c, "host/forget", doc, m, err);
	yyjson_mut_obj_add_bool(doc, yyjson_mut_doc_get_root(doc), "remove", true);
	return api_client_call(c, "host/folder", doc, m, err);
}

/* ---- the command ---- */

static const struct verb {
	const char *name, *want;
	int min, max; /* words behind it */
} verbs[] = {{"list", "list", 0, 0},
	     {"add", "the host or its ssh command", 1, 1000},
	     {"remove", "HOST", 1, 1},
	     {"show", "HOST", 1, 1},
	     {"forget", "HOST", 1, 2}};

static const struct verb *verb_of(const char *word)
{
	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
		if (strcmp(verbs[i].name, word) == 0)
			return &verbs[i];
	return NULL;
}

static int run(struct api_client *c, const struct cmd_globals *g, const char *verb, int argc,
	       char **argv, const char *name, bool dry, struct jsonrpc_msg *m, struct tl_err *err)
{
	switch (verb[0]) {
	case 'a':
		return add(c, g, argc, argv, name, dry, m, err);
	case 'r':
		return remove_host(c, g, argv[0], m, err);
	case 's':
		return show(c, g, argv[0], m, err);
	case 'f':
		return forget(c, argv[0], argc > 1 ? argv[1] : NULL, m, err);
	default:
		return list(c, g, m, err);
	}
}

int cmd_hosts(int argc, char **argv, const struct cmd_globals *g)
{
	const struct verb *v = verb_of(argc > 1 ? argv[1] : "list");
	struct jsonrpc_msg m = {0};
	struct api_client *c = NULL;
	struct tl_err err = {0};
	bool bad = false, dry = false;
	const char *name = NULL;
	int rc;

	if (!v)
		return cmd_usage_error(
		    g, argv[0], "“%s” is neither list, add, remove, show nor forget", argv[1]);
	if (v->name[0] == 'a') {
		dry = cmd_flag(&argc, argv, NULL, "--dry-run");
		name = cmd_value(g, &argc, argv, NULL, "--name", &bad);
		if (bad)
			return CMD_EXIT_USAGE;
		/* what follows is read as ssh reads it, options included */
		if (argc < 3)
			return cmd_usage_error(g, argv[0], "%s is missing", v->want);
	} else {
		rc = cmd_words(g, &argc, argv, argc > 1 ? v->min + 1 : 0, v->max + 1, v->want);
		if (rc)
			return rc;
	}
	rc = api_client_open(&c, true, NULL, &err);
	rc = rc ? rc : run(c, g, v->name, argc - 2, argv + 2, name, dry, &m, &err);
	if (rc == 0 && g->json)
		cmd_print_json(m.result);
	jsonrpc_fini(&m);
	api_client_close(c);
	return rc ? cmd_fail(g, &err) : cmd_done(g);
}
