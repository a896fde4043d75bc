/* cmd_console.c - towline console: a console to a Python, R or other session in the user's own
 * terminal. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/str.h"
#include "cmd/console_line.h"
#include "loop/fsx.h"

const char *const cmd_console_usage =
    "usage: towline console [--keep] [--name NAME] HOST[:FOLDER] [python|r|KERNEL]\n"
    "       towline console --session ID HOST\n"
    "\n"
    "A console in this terminal: starts a session of a Python, R or other kernel of the host in\n"
    "FOLDER, or joins one. Tab completes, arrows and Ctrl-R find earlier lines, Ctrl-C "
    "interrupts.\n"
    "\n"
    "  KERNEL        python (the default), r, a kernel of towline sessions --kernels HOST, or the\n"
    "                absolute path of an interpreter\n"
    "  --session ID  join the session of that id or name; what it runs is followed first\n"
    "  --keep        the started session goes on when the console ends\n"
    "  --name NAME   a name for the started session\n"
    "  --images DIR  write pictures there; without it they are named only\n"
    "\n"
    "Ctrl-D ends the console and the session it started; one that it joined goes on, and so does\n"
    "every session whose terminal was closed or whose connection is lost. exit() and q() end the\n"
    "session in any case. Several lines are one input as long as the kernel says so; an empty "
    "line\n"
    "ends it. Standard input may be a pipe: then there are no prompts.\n"
    "\n"
    "examples:\n"
    "  towline console gpu-box python\n"
    "  towline console --keep --name work gpu-box:/data r\n"
    "  towline console --session work gpu-box\n"
    "\n"
    "exit status: 0; 70 no such session or kernel, or it did not start.\n";

#define INPUT_MAX   16777216
#define COMPLETE_MS 3000

struct console {
	struct code_view v;
	struct console_line *line;
	const char *kernel, *name, *session, *images;
	bool keep, started, ended; /* ended: by its user, not by a signal */
	char *language;
	char prompt[64], more[64];
};

static int take_options(const struct cmd_globals *g, int *argc, char **argv, struct console *c)
{
	bool bad = false;

	c->session = cmd_value(g, argc, argv, NULL, "--session", &bad);
	c->name = bad ? NULL : cmd_value(g, argc, argv, NULL, "--name", &bad);
	c->images = bad ? NULL : cmd_value(g, argc, argv, NULL, "--images", &bad);
	if (bad)
		return CMD_EXIT_USAGE;
	c->keep = cmd_flag(argc, argv, NULL, "--keep");
	if (c->session && (c->name || c->keep))
		return cmd_usage_error(g, "console", "--session joins a session as it is");
	return cmd_words(g, argc, argv, 1, c->session ? 1 : 2, "HOST");
}

/* ---- the session ---- */

/* The id of the kernel for "python" and "r": the default, ark before IRkernel. malloc'ed. */
static char *kernel_for(struct console *c, const char *word, const char *folder, struct tl_err *err)
{
	const char *language = strcasecmp(word, "python") == 0 ? "python"
			       : strcasecmp(word, "r") == 0    ? "R"
							       : NULL;
	struct jsonrpc_msg m = {0};
	const char *found = NULL, *why = NULL;
	yyjson_val *spec;
	char *id;
	size_t i, n;

	if (!language)
		return str_dup(word);
	if (cmd_host_call(c->v.client, c->v.host, "kernel/specs",
			  cmd_params("cwd", folder && *folder ? folder : NULL, NULL), &m, err))
		return NULL;
	yyjson_arr_foreach(json_get(m.result, "specs"), i, n, spec)
	{
		const char *one = json_str(spec, "id", "");
		if (strcmp(json_str(spec, "language", ""), language) != 0)
			continue;
		if (!json_bool(spec, "ready", false))
			why = why ? why : json_str(spec, "install", NULL);
		else if (!found || strcmp(one, json_str(m.result, "default", "")) == 0 ||
			 (strstr(one, "ark") && !strstr(found, "ark")))
			found = one;
	}
	id = str_dup(found);
	if (!found)
		err_set(err, TL_E_NOSPEC, "start a console: %s has no kernel for %s%s%s",
			c->v.typed_host, language, why ? "; type there: " : "", why ? why : "");
	else if (!id)
		err_set(err, TL_E_NOMEM, "start a console");
	jsonrpc_fini(&m);
	return id;
}

static int start_session(struct console *c, const char *folder, struct tl_err *err)
{
	struct jsonrpc_msg m = {0};
	char *kernel = kernel_for(c, c->kernel ? c->kernel : "python", folder, err);
	int rc = kernel ? 0 : err->code;

	if (!rc)
		rc = cmd_host_call(c->v.client, c->v.host, "kernel/create",
				   cmd_params("kernel", kernel, "name", c->name, "cwd",
					      folder && *folder ? folder : NULL, "tag", "console",
					      NULL),
				   &m, err);
	if (!rc) {
		c->started = true;
		c->v.id = str_dup(json_str(m.result, "id", ""));
	}
	jsonrpc_fini(&m);
	free(kernel);
	return rc;
}

static int join_session(struct console *c, struct tl_err *err)
{
	struct jsonrpc_msg m = {0};
	size_t i, n, count = 0;
	yyjson_val *k;
	int rc = cmd_host_call(c->v.client, c->v.host, "kernel/list", cmd_params(NULL), &m, err);

	yyjson_arr_foreach(json_get(rc ? NULL : m.result, "kernels"), i, n, k)
	{
		bool is_id = strcmp(json_str(k, "id", ""), c->session) == 0;
		if (!is_id && strcmp(json_str(k, "name", ""), c->session) != 0)
			continue;
		count = is_id ? 1 : count + 1;
		free(c->v.id);
		c->v.id = str_dup(json_str(k, "id", ""));
		if (is_id)
			break;
	}
	jsonrpc_fini(&m);
	if (!rc && count != 1)
		rc = err_set(err, count ? TL_E_INVAL : TL_E_NOKERNEL,
			     count ? "%zu sessions are called “%.100s”: give an id"
				   : "there is no session%.0zu “%.100s”",
			     count, c->session);
	return rc;
}

/* ---- what it shows ---- */

static void set_prompts(struct console *c)
{
	if (strcmp(c->language, "python") == 0) {
		int n = snprintf(c->prompt, sizeof(c->prompt),
				 "In [%lld]: ", (long long)c->v.count + 1);
		snprintf(c->more, sizeof(c->more), "%*s", n, "...: ");
	} else if (strcmp(c->language, "R") == 0) {
		str_copy(c->prompt, sizeof(c->prompt), "> ");
		str_copy(c->more, sizeof(c->more), "+ ");
	} else {
		snprintf(c->prompt, sizeof(c->prompt), "[%lld]> ", (long long)c->v.count + 1);
		str_copy(c->more, sizeof(c->more), "... ");
	}
}

/* Banner, language, and what the session is doing: followed to its end. */
static int greet(struct console *c, struct tl_err *err)
{
	struct jsonrpc_msg m = {0};
	yyjson_val *info, *running, *input;
	char *msg_id = NULL, *header = NULL;
	int rc = cmd_host_call(c->v.client, c->v.host, "kernel/info",
			       cmd_params("id", c->v.id, NULL), &m, err);

	if (rc)
		return rc;
	info = json_get(m.result, "kernelInfo");
	running = json_get(m.result, "running");
	input = json_get(m.result, "input");
	c->language = str_dup(json_str(json_get(m.result, "info"), "language", ""));
	c->v.count = json_int(json_get(m.result, "info"), "executions", 0);
	if (console_line_is_terminal(c->line)) {
		c->v.numbered = c->language && strcmp(c->language, "python") == 0;
		printf("%s\n", json_str(info, "banner", ""));
		printf("[session %s on %s; %s]\n", c->v.id, c->v.typed_host,
		       c->started && !c->keep ? "Ctrl-D ends it" : "Ctrl-D leaves it running");
		fflush(stdout);
	}
	msg_id = str_dup(json_str(running, "msgId", NULL));
	if (msg_id) {
		fprintf(stderr, "[it runs: %.200s]\n", json_str(running, "code", ""));
		if (yyjson_is_obj(input)) {
			header = yyjson_val_write(json_get(input, "header"), 0, NULL);
			code_view_answer(&c->v, header ? header : "{}", json_get(input, "content"));
			free(header);
		}
		rc = code_view_follow(&c->v, msg_id, err);
	}
	free(msg_id);
	jsonrpc_fini(&m);
	return rc ? rc : c->language ? 0 : TL_E_NOMEM;
}

/* ---- one input ---- */

static bool is_blank(const char *s)
{
	return s[strspn(s, " \t\r\n")] == 0;
}

/* Is it complete? If not, *ret_indent (malloc'ed) begins the next line. */
static bool is_complete(struct console *c, const char *code, char **ret_indent)
{
	yyjson_mut_doc *d = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *o = yyjson_mut_obj(d);
	yyjson_doc *answer;
	bool more;
	char *text;

	yyjson_mut_doc_set_root(d, o);
	json_add_path(d, o, "code", code);
	text = yyjson_mut_write(d, 0, NULL);
	answer = text ? code_view_ask(&c->v, "is_complete_request", text, COMPLETE_MS) : NULL;
	more = strcmp(json_str(yyjson_doc_get_root(answer), "status", ""), "incomplete") == 0;
	*ret_indent = more ? str_dup(json_str(yyjson_doc_get_root(answer), "indent", "")) : NULL;
	yyjson_doc_free(answer);
	free(text);
	yyjson_mut_doc_free(d);
	return !more;
}

/* Lines until the kernel has enough. False: the console ends. *ret_code may be NULL: nothing. */
static bool read_input(struct console *c, char **ret_code)
{
	bool terminal = console_line_is_terminal(c->line), whole = false;
	char *line = NULL, *indent = NULL;
	struct buf code;
	enum console_got got = CONSOLE_LINE;

	*ret_code = NULL;
	buf_init(&code, INPUT_MAX);
	set_prompts(c);
	while (!whole) {
		const char *before = buf_cstr(&code);
		bool first = code.len == 0, blank;
		got = console_line_read(c->line, first ? c->prompt : c->more, before ? before : "",
					indent, &line);
		free(indent);
		indent = NULL;
		if (got != CONSOLE_LINE)
			break;
		console_line_keep(c->line, line);
		blank = is_blank(line);
		if (blank && first) {
			free(line);
			continue;
		}
		whole = buf_put_str(&code, line) || buf_put_u8(&code, '\n');
		free(line);
		if (blank && terminal)
			whole = true;
		if (!whole) {
			/* without the last line's end: an empty line would be one more */
			char *text = str_ndup(buf_data(&code).p, code.len - 1);
			whole = !text || is_complete(c, text, &indent);
			free(text);
		}
	}
	free(indent);
	/* the end of a pipe ends the last input as well */
	if ((whole || (got == CONSOLE_END && !terminal)) && code.len > 0)
		*ret_code = str_ndup(buf_data(&code).p, code.len - 1);
	buf_fini(&code);
	if (got == CONSOLE_END)
		c->ended = true;
	return got == CONSOLE_LINE || got == CONSOLE_INTERRUPT || *ret_code;
}

static int talk(struct console *c, struct tl_err *err)
{
	char *code = NULL;
	int rc = 0;

	while (!rc && !c->v.dead && !c->v.over && !c->v.left && !c->v.exit_asked &&
	       read_input(c, &code)) {
		if (code)
			rc = code_view_execute(&c->v, code, err);
		free(code);
		code = NULL;
	}
	free(code);
	if (c->v.exit_asked)
		c->ended = true;
	if (!rc && (c->v.dead || c->v.over))
		fprintf(stderr, "[the kernel of session %s has ended]\n", c->v.id);
	return rc;
}

/* ---- the end ---- */

static void part(struct console *c)
{
	struct jsonrpc_msg m = {0};
	bool gone = c->v.dead || c->v.over;
	/* exit() has stopped the kernel's own loop, whoever started it: nobody could use it more */
	bool end = c->v.exit_asked ? !c->v.keep : c->started && !c->keep && (c->ended || gone);

	if (c->ended)
		code_view_leave(&c->v);
	if (end && !c->v.over && c->v.client)
		cmd_host_call(c->v.client, c->v.host, "kernel/shutdown",
			      cmd_params("id", c->v.id, NULL), &m, NULL);
	else if (!end && !gone && c->v.id)
		fprintf(stderr, "[the session goes on: towline console --session %s %s]\n", c->v.id,
			c->v.typed_host);
	jsonrpc_fini(&m);
}

/* A file for the lines typed in that language. */
static char *history_path(const struct console *c)
{
	char dir[TL_LIMIT_PATH];

	if (!api_state_dir(dir, sizeof(dir)) || fs_mkdirs(dir, 0700, NULL) != 0)
		return NULL;
	return str_fmt("%s/history-%s", dir,
		       c->kernel && strspn(c->kernel, "abcdefghijklmnopqrstuvwxyzR0123456789-") ==
					strlen(c->kernel)
			   ? c->kernel
			   : "python");
}

int cmd_console(int argc, char **argv, const struct cmd_globals *g)
{
	struct console c = {0};
	struct cmd_target t = {0};
	struct tl_err err = {0};
	char *history = NULL;
	int rc = take_options(g, &argc, argv, &c);

	if (rc)
		return rc;
	c.kernel = argc > 2 ? argv[2] : NULL;
	code_view_init(&c.v, g);
	c.v.console = true;
	c.v.json = false;
	c.v.images = c.images;
	if (c.images)
		rc = fs_mkdirs(c.images, 0755, &err);
	rc = rc ? rc : cmd_target_parse(argv[1], &t, &err);
	if (!rc && !t.host)
		rc = err_set(&err, TL_E_INVAL, "“%s” is not a host", argv[1]);
	c.v.typed_host = t.host;
	rc = rc ? rc : cmd_reach(&c.v.ui, t.host, &c.v.client, &c.v.host, &err);
	rc = rc ? rc : c.session ? join_session(&c, &err) : start_session(&c, t.path, &err);
	rc = rc ? rc : code_view_attach(&c.v, &err);
	if (!rc) {
		history = history_path(&c);
		c.line = console_line_open(&c.v, history);
		if (!c.line)
			rc = err_set(&err, TL_E_NOMEM, "open a console: this terminal is unknown");
	}
	rc = rc ? rc : greet(&c, &err);
	rc = rc ? rc : talk(&c, &err);
	console_line_close(c.line);
	if (c.v.id)
		part(&c);
	code_view_fini(&c.v);
	cmd_target_fini(&t);
	free(c.language);
	free(history);
	return rc ? cmd_fail(g, &err) : cmd_done(g);
}
