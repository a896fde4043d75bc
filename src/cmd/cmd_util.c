/* cmd_util.c - HOST:PATH, errors and the way to a host, the same for every command. */
#include "cmd/cmd_util.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "base/str.h"

#define LOCAL "local:"

/* ---- HOST:PATH ---- */

static int set_target(struct cmd_target *t, const char *host, size_t host_len, const char *path,
		      const char *text, struct tl_err *err)
{
	if (host_len == 0 || host[0] == '-')
		return err_set(err, TL_E_INVAL, "“%.200s” names no host", text);
	if (host_len >= TL_LIMIT_HOST_NAME)
		return err_set(err, TL_E_INVAL, "the host in “%.60s…” is too long", text);
	t->host = str_ndup(host, host_len);
	t->path = str_dup(path);
	if (!t->host || (path && !t->path))
		return err_set(err, TL_E_NOMEM, "out of memory");
	return 0;
}

/* ssh://user@host:port/path: ssh takes all but the path. */
static int parse_url(const char *text, struct cmd_target *t, struct tl_err *err)
{
	const char *slash = strchr(text + 6, '/');
	size_t n = slash ? (size_t)(slash - text) : strlen(text);

	if (n == 6)
		return err_set(err, TL_E_INVAL, "“%.200s” names no host", text);
	return set_target(t, text, n, slash, text, err);
}

int cmd_target_parse(const char *text, struct cmd_target *ret, struct tl_err *err)
{
	const char *at, *bracket, *colon;
	int rc;

	*ret = (struct cmd_target){0};
	if (str_starts(text, "ssh://"))
		return parse_url(text, ret, err);
	if (str_starts(text, LOCAL))
		return set_target(ret, text, sizeof(LOCAL) - 1,
				  text[sizeof(LOCAL) - 1] ? text + sizeof(LOCAL) - 1 : NULL, text,
				  err);
	if (text[0] == '/' || text[0] == '.' || text[0] == '~') {
		ret->path = str_dup(text);
		return ret->path ? 0 : err_set(err, TL_E_NOMEM, "out of memory");
	}
	/* user@[v6]:path */
	at = strchr(text, '@');
	bracket = text[0] == '[' ? text : at && at[1] == '[' ? at + 1 : NULL;
	if (bracket) {
		const char *end = strchr(bracket, ']');
		char *host;
		if (!end || end == bracket + 1 || (end[1] && end[1] != ':'))
			return err_set(err, TL_E_INVAL,
				       "“%.200s” is not HOST:PATH: the address ends with “]”, and "
				       "“:” follows",
				       text);
		host = str_fmt("%.*s%.*s", (int)(bracket - text), text, (int)(end - bracket - 1),
			       bracket + 1);
		rc = host ? set_target(ret, host, strlen(host), end[1] ? end + 2 : NULL, text, err)
			  : err_set(err, TL_E_NOMEM, "out of memory");
		free(host);
		return rc;
	}
	colon = strchr(text, ':');
	if (!colon || memchr(text, '/', (size_t)(colon - text))) {
		if (strchr(text, '/')) {
			ret->path = str_dup(text);
			return ret->path ? 0 : err_set(err, TL_E_NOMEM, "out of memory");
		}
		return set_target(ret, text, strlen(text), NULL, text, err);
	}
	return set_target(ret, text, (size_t)(colon - text), colon + 1, text, err);
}

void cmd_target_fini(struct cmd_target *t)
{
	free(t->host);
	free(t->path);
	*t = (struct cmd_target){0};
}

/* ---- errors ---- */

static int print_json_error(const struct tl_err *err, const struct tl_error_row *row)
{
	yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *o = yyjson_mut_obj(doc), *e;
	char *text;

	yyjson_mut_doc_set_root(doc, o);
	e = yyjson_mut_obj_add_obj(doc, o, "error");
	yyjson_mut_obj_add_str(doc, e, "name", row->name);
	yyjson_mut_obj_add_int(doc, e, "number", -row->code);
	yyjson_mut_obj_add_int(doc, e, "exit", row->exit_status);
	yyjson_mut_obj_add_bool(doc, e, "retryable", row->retryable);
	json_add_path(doc, e, "message", err->text[0] ? err->text : row->what);
	yyjson_mut_obj_add_str(doc, e, "todo", row->todo);
	text = yyjson_mut_write(doc, 0, NULL);
	if (text)
		puts(text);
	free(text);
	yyjson_mut_doc_free(doc);
	fflush(stdout);
	return row->exit_status;
}

int cmd_fail(const struct cmd_globals *g, const struct tl_err *err)
{
	const struct tl_error_row *row = err_row(err->code);
	char text[TL_ERR_TEXT + 256];

	if (g && g->json)
		return print_json_error(err, row);
	fflush(stdout);
	err_message(err, text, sizeof(text));
	/* a host or ssh may have written part of it: it must not steer the terminal */
	for (char *p = text; *p; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			*p = *p == '\n' || *p == '\t' ? ' ' : '?';
	fprintf(stderr, "towline: %s\n", text);
	return row->exit_status;
}

int cmd_usage_error(const struct cmd_globals *g, const char *name, const char *fmt, ...)
{
	struct tl_err err = {.code = TL_E_INVAL};
	va_list ap;
	int n = snprintf(err.text, sizeof(err.text), "%s%s", name ? name : "", name ? ": " : "");

	va_start(ap, fmt);
	vsnprintf(err.text + n, sizeof(err.text) - (size_t)n, fmt, ap);
	va_end(ap);
	if (g && g->json)
		return cmd_fail(g, &err);
	fflush(stdout);
	fprintf(stderr, "towline: %s. Try `towline %s%s--help`.\n", err.text, name ? name : "",
		name ? " " : "");
	return CMD_EXIT_USAGE;
}

int cmd_done(const struct cmd_globals *g)
{
	struct tl_err err = {0};

	errno = 0;
	if (fflush(stdout) == 0 && !ferror(stdout))
		return 0;
	/* the reader had enough, as in `towline log | head` */
	if (errno == EPIPE)
		return 128 + SIGPIPE;
	err_sys(&err, errno ? errno : EIO, "cannot write the result to standard output");
	/* nobody reads there any more, so JSON would go nowhere, too */
	(void)g;
	return cmd_fail(NULL, &err);
}

void cmd_print_json(yyjson_val *v)
{
	char *text = yyjson_val_write(v, 0, NULL);

	puts(text ? text : "{}");
	free(text);
}

yyjson_mut_doc *cmd_params(const char *name, ...)
{
	yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *o = yyjson_mut_obj(doc);
	va_list ap;

	yyjson_mut_doc_set_root(doc, o);
	va_start(ap, name);
	for (; name; name = va_arg(ap, const char *)) {
		const char *value = va_arg(ap, const char *);
		if (value)
			json_add_path(doc, o, name, value);
	}
	va_end(ap);
	return doc;
}

/* ---- own options of a command ---- */

static void take_out(int *argc, char **argv, int at, int n)
{
	for (int i = at; i + n <= *argc; i++)
		argv[i] = argv[i + n];
	*argc -= n;
}

bool cmd_flag(int *argc, char **argv, const char *shrt, const char *lng)
{
	bool found = false;
	int i = 1;

	while (i < *argc && strcmp(argv[i], "--") != 0) {
		if ((shrt && strcmp(argv[i], shrt) == 0) || (lng && strcmp(argv[i], lng) == 0)) {
			take_out(argc, argv, i, 1);
			found = true;
		} else {
			i++;
		}
	}
	return found;
}

const char *cmd_value(const struct cmd_globals *g, int *argc, char **argv, const char *shrt,
		      const char *lng, bool *ret_error)
{
	const char *value = NULL;
	size_t n = lng ? strlen(lng) : 0;

	for (int i = 1; i < *argc && strcmp(argv[i], "--") != 0; i++) {
		char *arg = argv[i];
		bool whole = (shrt && strcmp(arg, shrt) == 0) || (lng && strcmp(arg, lng) == 0);
		if (whole && i + 1 >= *argc) {
			cmd_usage_error(g, argv[0], "%s needs a value", arg);
			*ret_error = true;
			return NULL;
		}
		if (whole)
			value = argv[i + 1];
		else if (shrt && str_starts(arg, shrt) && !str_starts(arg, "--"))
			value = arg + 2;
		else if (lng && str_starts(arg, lng) && arg[n] == '=')
			value = arg + n + 1;
		else
			continue;
		take_out(argc, argv, i, whole ? 2 : 1);
		i--;
	}
	return value;
}

int cmd_words(const struct cmd_globals *g, int *argc, char **argv, int min, int max,
	      const char *want)
{
	for (int i = 1; i < *argc; i++) {
		if (strcmp(argv[i], "--") == 0) {
			take_out(argc, argv, i, 1);
			break;
		}
		if (argv[i][0] == '-' && argv[i][1])
			return cmd_usage_error(g, argv[0], "there is no option %s", argv[i]);
	}
	if (*argc - 1 < min)
		return cmd_usage_error(g, argv[0], "%s is missing", want);
	if (*argc - 1 > max)
		return cmd_usage_error(g, argv[0], "“%s” is too much", argv[max + 1]);
	return 0;
}

int cmd_reach(struct cmd_ui *ui, const char *host, struct api_client **ret_client, char **ret_host,
	      struct tl_err *err)
{
	struct api_client *c = NULL;
	int rc = api_client_open(&c, true, &ui->api, err);

	if (rc)
		return rc;
	rc = api_client_connect_host(c, host, &ui->g->host, ret_host, err);
	cmd_ui_clear(ui);
	if (rc) {
		api_client_close(c);
		return rc;
	}
	*ret_client = c;
	return 0;
}

int cmd_host_call(struct api_client *c, const char *host, const char *method,
		  yyjson_mut_doc *params, struct jsonrpc_msg *ret, struct tl_err *err)
{
	yyjson_mut_doc *d = cmd_params("host", host, "method", method, NULL);
	yyjson_mut_val *p = yyjson_mut_val_mut_copy(d, yyjson_mut_doc_get_root(params));
	yyjson_mut_obj_add_val(d, yyjson_mut_doc_get_root(d), "params", p);
	yyjson_mut_doc_free(params);
	return api_client_call(c, "host/call", d, ret, err);
}
