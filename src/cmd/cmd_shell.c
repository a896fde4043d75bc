/* cmd_shell.c - towline shell: a terminal of a host in this terminal, and the list of those that
 * run there. */
#include <stdlib.h>

#include "base/str.h"
#include "cmd/cmd_util.h"
#include "cmd/shell_view.h"

const char *const cmd_shell_usage =
    "usage: towline shell HOST[:FOLDER] [--name NAME] [--detach] [[--] COMMAND…]\n"
    "       towline shell HOST --attach ID\n"
    "       towline shell HOST --list\n"
    "\n"
    "A terminal on HOST. It lives on the host: a lost connection, a closed laptop or another\n"
    "network do not end it, and what is typed meanwhile arrives, once. Without COMMAND your login\n"
    "shell; one word is a command line for your shell there, several words are passed exactly as\n"
    "they are.\n"
    "\n"
    "  --name NAME   shown in lists and in the window\n"
    "  --detach      start it only, and print its id\n"
    "  --attach ID   join a terminal that runs already\n"
    "  --list        the terminals of the host\n"
    "\n"
    "In the terminal, at the start of a line: ~d or ~. detaches (the terminal goes on), ~~ is a\n"
    "tilde, ~? tells this.\n"
    "\n"
    "examples:\n"
    "  towline shell build-server\n"
    "  towline shell build-server:src/app -- make -j8\n"
    "  towline shell build-server --detach --name train -- ./train.py\n"
    "\n"
    "exit status: that of the command; 128 plus the number of the signal that ended it; 0 after\n"
    "detaching; else as in towline(1).\n";

struct shell_options {
	const char *attach, *name;
	bool list, detach;
	char **words; /* of the command */
	int word_count;
};

/* ---- the command line ---- */

/* 'it'\''s' */
static int quote_word(struct buf *out, const char *word)
{
	int rc = buf_put_u8(out, '\'');
	for (; *word && !rc; word++)
		rc = *word == '\'' ? buf_put_str(out, "'\\''") : buf_put_u8(out, (uint8_t)*word);
	return rc ? rc : buf_put_u8(out, '\'');
}

/* One word is a command line, several are one command with its arguments. NULL: no memory. */
static char *command_line(char **words, int n)
{
	struct buf b;
	int rc = 0;
	if (n == 1)
		return str_dup(words[0]);
	buf_init(&b, TL_LIMIT_RPC_MESSAGE / 2);
	for (int i = 0; i < n && !rc; i++) {
		rc = i ? buf_put_u8(&b, ' ') : 0;
		rc = rc ? rc : quote_word(&b, words[i]);
	}
	char *text = rc ? NULL : str_ndup(buf_data(&b).p, b.len);
	buf_fini(&b);
	return text;
}

/* Everything behind "--", or behind HOST where no option follows. */
static void take_command(int *argc, char **argv, struct shell_options *o)
{
	for (int i = 1; i < *argc; i++) {
		if (strcmp(argv[i], "--"))
			continue;
		o->words = argv + i + 1;
		o->word_count = *argc - i - 1;
		argv[i] = NULL;
		*argc = i;
		return;
	}
}

static int shell_options(const struct cmd_globals *g, int *argc, char **argv,
			 struct shell_options *o)
{
	bool bad = false;
	take_command(argc, argv, o);
	o->attach = cmd_value(g, argc, argv, NULL, "--attach", &bad);
	o->name = bad ? NULL : cmd_value(g, argc, argv, NULL, "--name", &bad);
	if (bad)
		return CMD_EXIT_USAGE;
	o->list = cmd_flag(argc, argv, NULL, "--list");
	o->detach = cmd_flag(argc, argv, NULL, "--detach");
	int rc = cmd_words(g, argc, argv, 1, o->words ? 1 : *argc, "HOST");
	if (rc)
		return rc;
	if (*argc > 2) {
		o->words = argv + 2;
		o->word_count = *argc - 2;
	}
	bool starts = o->name || o->detach || o->word_count;
	if ((o->attach && (o->list || starts)) || (o->list && starts))
		return cmd_usage_error(g, "shell",
				       "--attach and --list go with no other option or command");
	for (const char *c = o->attach ? o->attach : "a"; *c; c++)
		if (!((*c >= 'a' && *c <= 'z') || (*c >= '0' && *c <= '9')))
			return cmd_usage_error(g, "shell", "“%.60s” is not the id of a terminal",
					       o->attach);
	return 0;
}

/* ---- calls ---- */

/* The user's own terminal is what the program there will talk to. */
static void add_env(yyjson_mut_doc *d, yyjson_mut_val *o)
{
	static const char *const names[] = {"TERM", "COLORTERM"};
	yyjson_mut_val *env = yyjson_mut_obj_add_obj(d, o, "env");
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		const char *value = getenv(names[i]);
		if (value && *value)
			json_add_path(d, env, names[i], value);
		else if (i > 0)
			yyjson_mut_obj_add_null(d, env, names[i]);
	}
	yyjson_mut_obj_add_null(d, env, "TERM_PROGRAM");
	yyjson_mut_obj_add_null(d, env, "TERM_PROGRAM_VERSION");
}

static int create(struct shell_view *v, const struct shell_options *o, const char *folder,
		  struct jsonrpc_msg *ret, struct tl_err *err)
{
	struct hold_size size = shell_size();
	char *command = o->word_count ? command_line(o->words, o->word_count) : NULL;
	yyjson_mut_doc *d = cmd_params("cwd", folder && *folder ? folder : NULL, "name", o->name,
				       "command", command, "tag", "shell", NULL);
	yyjson_mut_val *obj = yyjson_mut_doc_get_root(d);
	if (o->word_count && !command) {
		yyjson_mut_doc_free(d);
		return err_set(err, TL_E_LIMIT, "start a terminal: the command is too long");
	}
	free(command);
	yyjson_mut_obj_add_uint(d, obj, "cols", size.cols);
	yyjson_mut_obj_add_uint(d, obj, "rows", size.rows);
	add_env(d, obj);
	return cmd_host_call(v->client, v->host, "term/create", d, ret, err);
}

static void print_list(yyjson_val *list)
{
	size_t i, n;
	yyjson_val *t;
	yyjson_arr_foreach(list, i, n, t)
	{
		const char *name = json_str(t, "name", ""), *title = json_str(t, "title", "");
		yyjson_val *e = json_get(t, "exit");
		if (i == 0)
			printf("%-10s %-8s %-9s %-7s %s\n", "ID", "PID", "SIZE", "VIEWERS",
			       "NAME, FOLDER");
		printf("%-10s %-8lld %4lldx%-4lld %-7lld %s%s%s", json_str(t, "id", "?"),
		       (long long)json_int(t, "pid", 0), (long long)json_int(t, "cols", 0),
		       (long long)json_int(t, "rows", 0), (long long)json_int(t, "viewers", 0),
		       *name ? name : title, *name || *title ? ", " : "", json_str(t, "cwd", ""));
		if (e)
			printf(" (ended: %s %lld)", json_str(e, "kind", "exit"),
			       (long long)json_int(e, "value", 0));
		putchar('\n');
	}
}

static int list(struct shell_view *v, const struct cmd_globals *g, struct tl_err *err)
{
	struct jsonrpc_msg m = {0};
	int rc = cmd_host_call(v->client, v->host, "term/list", cmd_params(NULL), &m, err);
	if (!rc && g->json)
		cmd_print_json(m.result);
	else if (!rc)
		print_list(json_get(m.result, "terminals"));
	jsonrpc_fini(&m);
	return rc ? rc : 0;
}

/* ---- the command ---- */

/* The terminal's id into v->id; started unless one is joined. */
static int prepare(struct shell_view *v, const struct shell_options *o, const char *folder,
		   const struct cmd_globals *g, struct tl_err *err)
{
	struct jsonrpc_msg m = {0};
	int rc = 0;
	if (o->attach) {
		v->id = str_dup(o->attach);
		v->attached = true;
	} else {
		rc = create(v, o, folder, &m, err);
		v->id = rc ? NULL : str_dup(json_str(m.result, "id", ""));
	}
	if (!rc && !v->id)
		rc = err_set(err, TL_E_NOMEM, "start a terminal");
	if (!rc && o->detach && g->json)
		cmd_print_json(m.result);
	else if (!rc && o->detach)
		puts(v->id);
	jsonrpc_fini(&m);
	return rc;
}

static int view(struct shell_view *v, const struct cmd_globals *g, struct tl_err *err)
{
	int rc = shell_view_run(v, err);
	size_t waiting = shell_input_waiting(&v->input) + v->typed_lost;
	if (waiting && (rc || v->detached))
		fprintf(stderr, "[the last %zu bytes typed may not have arrived]\n", waiting);
	if (rc)
		return cmd_fail(g, err);
	if (v->detached) {
		fprintf(stderr, "[detached: the terminal goes on; towline shell %s --attach %s]\n",
			v->typed_host, v->id);
		return 0;
	}
	return v->exit.kind == HOLD_EXIT_SIGNAL ? 128 + (int)v->exit.value : (int)v->exit.value;
}

int cmd_shell(int argc, char **argv, const struct cmd_globals *g)
{
	struct shell_options o = {0};
	struct cmd_target t = {0};
	struct shell_view v;
	struct tl_err err = {0};
	int rc = shell_options(g, &argc, argv, &o);
	if (rc)
		return rc;
	shell_view_init(&v, g);
	v.command = o.word_count > 0;
	rc = cmd_target_parse(argv[1], &t, &err);
	if (!rc && !t.host)
		rc = err_set(&err, TL_E_INVAL, "“%s” is not a host", argv[1]);
	v.typed_host = t.host;
	if (!rc)
		rc = cmd_reach(&v.ui, t.host, &v.client, &v.host, &err);
	if (!rc && o.list)
		rc = list(&v, g, &err);
	else if (!rc)
		rc = prepare(&v, &o, t.path, g, &err);
	if (rc)
		rc = cmd_fail(g, &err);
	else if (o.list || o.detach)
		rc = cmd_done(g);
	else
		rc = view(&v, g, &err);
	shell_view_fini(&v);
	cmd_target_fini(&t);
	return rc;
}
