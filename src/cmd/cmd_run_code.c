/* cmd_run_code.c - towline run-code: code in a running session, or in one that is started for it.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/str.h"
#include "cmd/code_view.h"

const char *const cmd_run_code_usage =
    "usage: towline run-code HOST[:FOLDER] --kernel NAME -c CODE\n"
    "       towline run-code HOST[:FOLDER] --kernel NAME FILE\n"
    "\n"
    "Runs code in a Python, R or other session of a host and prints what it prints.\n"
    "\n"
    "  --kernel NAME  id or name of a session (towline sessions HOST), whose variables the code\n"
    "                 sees and changes; else a kernel (towline sessions --kernels HOST) or the\n"
    "                 absolute path of an interpreter: a session is started in FOLDER and ended\n"
    "                 afterwards\n"
    "  -c CODE        the code; without it FILE of this machine, - is standard input\n"
    "  --keep         the started session goes on; its id is printed on standard error\n"
    "  --name NAME    a name for the started session\n"
    "  --json         one line of JSON: session, status (ok, error, aborted, dead), stdout, "
    "stderr,\n"
    "                 results (the forms of each, by media type), error\n"
    "\n"
    "input() reads a line of standard input. Ctrl-C interrupts the code; a second one leaves, and\n"
    "a session that was there before goes on. A lost connection is made again, and nothing is "
    "lost.\n"
    "\n"
    "examples:\n"
    "  towline run-code gpu-box --kernel python3 -c 'import sys; sys.version'\n"
    "  towline run-code gpu-box --kernel python3 --keep --name work -c 'x = 1'\n"
    "  towline run-code gpu-box --kernel work -c 'x + 1'\n"
    "\n"
    "exit status: 0; 1 the code ended with an error; 70 no such session or kernel, or it did not\n"
    "start.\n";

#define CODE_MAX 16777216

struct run_options {
	const char *kernel, *name;
	char *code;
	bool keep;
};

/* The whole file as UTF-8 text, malloc'ed. */
static char *read_code(const char *path, struct tl_err *err)
{
	int fd = strcmp(path, "-") == 0 ? dup(0) : open(path, O_RDONLY | O_CLOEXEC);
	struct buf b;
	char piece[16384], *text = NULL;
	ssize_t n = -1;
	int rc = 0;

	buf_init(&b, CODE_MAX);
	while (fd >= 0 && rc == 0 && (n = read(fd, piece, sizeof(piece))) > 0)
		rc = buf_put(&b, piece, (size_t)n);
	if (n < 0)
		err_sys(err, errno, "cannot read the code in %s", path);
	else if (rc)
		err_set(err, rc, "the code in %s is longer than %d bytes", path, CODE_MAX);
	else if (!utf8_valid(buf_data(&b)) || memchr(buf_data(&b).p, 0, b.len))
		err_set(err, TL_E_INVAL, "%s is no text in UTF-8", path);
	else
		text = str_ndup(buf_data(&b).p, b.len);
	if (fd >= 0)
		close(fd);
	buf_fini(&b);
	return text;
}

static int take_options(const struct cmd_globals *g, int *argc, char **argv, struct run_options *o)
{
	bool bad = false;
	const char *code = cmd_value(g, argc, argv, "-c", NULL, &bad);
	struct tl_err err = {0};
	int rc;

	o->kernel = bad ? NULL : cmd_value(g, argc, argv, NULL, "--kernel", &bad);
	o->name = bad ? NULL : cmd_value(g, argc, argv, NULL, "--name", &bad);
	if (bad)
		return CMD_EXIT_USAGE;
	o->keep = cmd_flag(argc, argv, NULL, "--keep");
	rc = cmd_words(g, argc, argv, 1, code ? 1 : 2, "HOST");
	if (rc)
		return rc;
	if (!o->kernel || !*o->kernel)
		return cmd_usage_error(g, "run-code", "--kernel NAME is missing");
	if (!code && *argc < 3)
		return cmd_usage_error(g, "run-code", "there is no code: give -c CODE or FILE");
	o->code = code ? str_dup(code) : read_code(argv[2], &err);
	if (!o->code && !err.code)
		err_set(&err, TL_E_NOMEM, "out of memory");
	return o->code ? 0 : cmd_fail(g, &err);
}

/* The running session of that id or name: 1, none: 0, or TL_E_*. */
static int find(struct code_view *v, const char *name, struct tl_err *err)
{
	struct jsonrpc_msg m = {0};
	size_t i, n, count = 0;
	yyjson_val *k;
	int rc = cmd_host_call(v->client, v->host, "kernel/list", cmd_params(NULL), &m, err);

	yyjson_arr_foreach(json_get(m.result, "kernels"), i, n, k)
	{
		bool is_id = strcmp(json_str(k, "id", ""), name) == 0;
		if (!is_id && strcmp(json_str(k, "name", ""), name) != 0)
			continue;
		count = is_id ? 1 : count + 1;
		free(v->id);
		v->id = str_dup(json_str(k, "id", ""));
		if (is_id)
			break;
	}
	jsonrpc_fini(&m);
	if (!rc && count > 1)
		rc = err_set(err, TL_E_INVAL, "%zu sessions are called “%.100s”: give an id", count,
			     name);
	return rc ? rc : count > 0;
}

static int create(struct code_view *v, const struct run_options *o, const char *folder,
		  struct tl_err *err)
{
	struct jsonrpc_msg m = {0};
	int rc = cmd_host_call(v->client, v->host, "kernel/create",
			       cmd_params("kernel", o->kernel, "name", o->name, "cwd",
					  folder && *folder ? folder : NULL, "tag", "run-code",
					  "shutdownTimeout", o->keep ? NULL : "when idle", NULL),
			       &m, err);

	v->id = rc ? NULL : str_dup(json_str(m.result, "id", ""));
	jsonrpc_fini(&m);
	if (!rc && !v->id)
		rc = err_set(err, TL_E_NOMEM, "start a session");
	return rc;
}

static void end(struct code_view *v)
{
	struct jsonrpc_msg m = {0};

	if (v->client)
		cmd_host_call(v->client, v->host, "kernel/shutdown", cmd_params("id", v->id, NULL),
			      &m, NULL);
	jsonrpc_fini(&m);
}

/* The exit status of what was run. */
static int judge(struct code_view *v, const struct cmd_globals *g, const struct run_options *o,
		 bool started)
{
	struct tl_err err = {0};

	if (g->json)
		code_view_print_json(v);
	if (v->left) {
		if (!started || o->keep)
			fprintf(stderr, "[the session goes on: towline sessions %s shows %s]\n",
				v->typed_host, v->id);
		return err_row(TL_E_CANCELED)->exit_status;
	}
	if (!v->replied) {
		err_set(&err, TL_E_KERNEL, "run code in session %s: its kernel ended meanwhile",
			v->id);
		return g->json ? err_row(err.code)->exit_status : cmd_fail(g, &err);
	}
	return v->failed ? err_row(TL_E_CODE)->exit_status : cmd_done(g);
}

int cmd_run_code(int argc, char **argv, const struct cmd_globals *g)
{
	struct run_options o = {0};
	struct cmd_target t = {0};
	struct code_view v;
	struct tl_err err = {0};
	bool started = false;
	int rc = take_options(g, &argc, argv, &o), status;

	if (rc) {
		free(o.code);
		return rc;
	}
	code_view_init(&v, g);
	v.code = o.code;
	rc = cmd_target_parse(argv[1], &t, &err);
	if (!rc && !t.host)
		rc = err_set(&err, TL_E_INVAL, "“%s” is not a host", argv[1]);
	v.typed_host = t.host;
	rc = rc ? rc : cmd_reach(&v.ui, t.host, &v.client, &v.host, &err);
	rc = rc ? rc : find(&v, o.kernel, &err);
	if (rc == 0) {
		started = true;
		rc = create(&v, &o, t.path, &err);
		if (!rc && o.keep)
			fprintf(stderr, "session %s\n", v.id);
	}
	rc = rc < 0 ? rc : code_view_run(&v, &err);
	status = rc ? cmd_fail(g, &err) : judge(&v, g, &o, started);
	if (started && !o.keep && v.id)
		end(&v);
	code_view_fini(&v);
	cmd_target_fini(&t);
	free(o.code);
	return status;
}
