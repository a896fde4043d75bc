/* cmd_util.h - what commands share: reading HOST:PATH, saying what went wrong, the terminal.
 * Owns nothing between calls except what a struct here says. */
#ifndef TL_CMD_CMD_UTIL_H
#define TL_CMD_CMD_UTIL_H

#include "cmd/cmd.h"

/* "HOST:PATH" taken apart. host is as ssh understands it (alias, user@host, ssh://user@host:port,
 * IPv6 without brackets); path NULL: none was given ("HOST" alone, or "HOST:" = the home folder
 * gives ""). Free with cmd_target_fini. */
struct cmd_target {
	char *host, *path;
};

/* Takes HOST:PATH, HOST, user@HOST:PATH, [v6]:PATH, user@[v6]:PATH and ssh://user@HOST:PORT/PATH
 * apart. A text that begins with / . or ~ or has a slash before its first colon is a local path:
 * host is NULL and path the whole text. 0 or TL_E_INVAL (empty host or one that begins with a
 * dash), TL_E_NOMEM. */
int cmd_target_parse(const char *text, struct cmd_target *ret, struct tl_err *err);
void cmd_target_fini(struct cmd_target *t);

/* Prints "towline: TEXT. TODO" on standard error, or with --json one line
 * {"error":{"name":…,"number":…,"exit":…,"retryable":…,"message":…,"todo":…}} on standard output.
 * Returns the exit status: use as `return cmd_fail(g, &err);`. */
int cmd_fail(const struct cmd_globals *g, const struct tl_err *err);
/* A wrong command line: "towline NAME: TEXT. Try `towline NAME --help`." Returns CMD_EXIT_USAGE. */
int cmd_usage_error(const struct cmd_globals *g, const char *name, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Everything printed so far reached standard output? Otherwise reports it. Returns the exit
 * status: `return cmd_done(g);` at the end of a command that prints. */
int cmd_done(const struct cmd_globals *g);

/* One line of JSON on standard output. */
void cmd_print_json(yyjson_val *v);
/* A request object with up to three string members (name, value, name, value, …, NULL); a NULL
 * value leaves its member out. */
yyjson_mut_doc *cmd_params(const char *name, ...);
/* Takes an own option that has no value: removes it from argv, true when it was there. Words after
 * "--" are not options. Call before cmd_words. */
bool cmd_flag(int *argc, char **argv, const char *shrt, const char *lng);
/* The same for one with a value ("-n 5", "-n5", "--lines 5", "--lines=5"); NULL when it was not
 * there. A missing value is an error: *ret_error becomes true and it was printed. */
const char *cmd_value(const struct cmd_globals *g, int *argc, char **argv, const char *shrt,
		      const char *lng, bool *ret_error);
/* What is left: 0 when there are between min and max words and no unknown option (a "--" is taken
 * out), else the exit status of a printed error. want: what was expected, for the text. */
int cmd_words(const struct cmd_globals *g, int *argc, char **argv, int min, int max,
	      const char *want);

/* The terminal side of api_client: prompts on /dev/tty, one progress line on standard error when
 * it is a terminal. Fill api_ui with cmd_ui_init and give it to api_client_open; cmd_ui_clear
 * removes the progress line before a command prints. ui must outlive the client. */
struct cmd_ui {
	struct api_ui api;
	const struct cmd_globals *g;
	bool line_shown;
	char last[256]; /* step shown last */
};
void cmd_ui_init(struct cmd_ui *ui, const struct cmd_globals *g);
void cmd_ui_clear(struct cmd_ui *ui);

/* Daemon started if needed, then host/connect with the global options; ret_host: canonical name
 * (malloc'ed). Every command that needs a host begins with this. 0 or TL_E_*. */
int cmd_reach(struct cmd_ui *ui, const char *host, struct api_client **ret_client, char **ret_host,
	      struct tl_err *err);
/* Calls a method of side HOST on a connected host. params: consumed. As api_client_call. */
int cmd_host_call(struct api_client *c, const char *host, const char *method,
		  yyjson_mut_doc *params, struct jsonrpc_msg *ret, struct tl_err *err);

#endif
