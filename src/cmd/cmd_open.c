/* cmd_open.c - towline open: connects, asks the daemon for a window's address, prints it, and lets
 * a browser load it. A program's arguments can be read by every user of the machine, so a browser
 * is never given the address with the token but one that works once. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/str.h"
#include "cmd/cmd_util.h"
#include "loop/child.h"

const char *const cmd_open_usage =
    "usage: towline open [--no-browser] [--new-window] [HOST[:PATH]]\n"
    "\n"
    "Connects to HOST and opens a window on PATH: a folder, or a file in its folder. Without\n"
    "PATH the window lets you choose a folder; without HOST it lets you choose a host. Prints\n"
    "one line, `window: ADDRESS`. A browser is started where there is a display, or where\n"
    "$BROWSER names one.\n"
    "\n"
    "  --no-browser   only print the address\n"
    "  --new-window   a browser window instead of a tab, where $BROWSER understands it\n"
    "\n"
    "PATH may be relative to your home folder on the host. HOST may be local: for this machine.\n"
    "\n"
    "examples:\n"
    "  towline open build-server:src/app\n"
    "  towline open -p 2222 me@192.0.2.7:/etc/hosts\n"
    "  towline open --no-browser ssh://me@[2001:db8::7]:22/srv\n"
    "\n"
    "exit status: 0; 20 no such path, 21 no permission, 40 to 50 the host was not reached, 60 to\n"
    "70 the server there did not start, 85 the window's files are missing; all in towline(1).\n";

/* Browsers that know --new-window. */
static const char *const windowed[] = {"firefox", "chrom", "brave", "vivaldi", "edge", "opera"};

static bool knows_new_window(const char *program)
{
	for (size_t i = 0; i < sizeof(windowed) / sizeof(windowed[0]); i++)
		if (strstr(program, windowed[i]))
			return true;
	return false;
}

static int start(const char *program, bool new_window, const char *url)
{
	struct strv args = {0};
	struct child_spec spec = {.fd = {-1, -1, -1}, .ctty = -1, .new_session = true};
	char *words = str_dup(program), *p = words;
	int rc = words ? 0 : TL_E_NOMEM;
	bool placed = false;

	/* a program with arguments, where %s stands for the address */
	while (rc == 0 && *(p += strspn(p, " "))) {
		size_t n = strcspn(p, " ");
		char *next = p + n + (p[n] != 0);
		p[n] = 0;
		placed |= strcmp(p, "%s") == 0;
		rc = strv_add(&args, strcmp(p, "%s") == 0 ? url : p);
		p = next;
	}
	if (rc == 0 && new_window && args.n == 1 && knows_new_window(args.v[0]))
		rc = strv_add(&args, "--new-window");
	if (rc == 0 && !placed)
		rc = strv_add(&args, url);
	if (rc == 0 && args.n > 0) {
		spec.file = args.v[0];
		spec.argv = args.v;
		rc = spawn_detached(&spec, -1, NULL);
	}
	strv_fini(&args);
	free(words);
	return rc;
}

static bool set(const char *var)
{
	const char *v = getenv(var);

	return v && v[0];
}

/* $BROWSER is a list separated by colons; the first that starts wins. */
static void start_browser(bool new_window, const char *url)
{
	char *list = str_dup(set("BROWSER") ? getenv("BROWSER") : "xdg-open"), *p = list;

	while (p && *p) {
		size_t n = strcspn(p, ":");
		char *next = p + n + (p[n] != 0);
		p[n] = 0;
		if (*p && start(p, new_window, url) == 0)
			break;
		p = next;
	}
	free(list);
}

/* The address that works once, for a command line. NULL: no browser then. */
static char *once(struct api_client *c, const char *url)
{
	struct jsonrpc_msg m;
	char *ret;

	if (api_client_call(c, "window/ticket", cmd_params("url", url, NULL), &m, NULL) != 0)
		return NULL;
	ret = str_dup(json_str(m.result, "url", ""));
	jsonrpc_fini(&m);
	return ret;
}

static int open_window(const struct cmd_globals *g, struct api_client *c, const char *host,
		       const char *path, bool browser, bool new_window)
{
	struct jsonrpc_msg m;
	struct tl_err err = {0};
	const char *url;
	char *ticket = NULL;
	int rc = api_client_call(c, "window/open", cmd_params("host", host, "path", path, NULL), &m,
				 &err);

	if (rc)
		return cmd_fail(g, &err);
	url = json_str(m.result, "url", "");
	if (g->json)
		cmd_print_json(m.result);
	else
		printf("window: %s\n", url);
	rc = cmd_done(g);
	if (browser && (set("DISPLAY") || set("WAYLAND_DISPLAY") || set("BROWSER")))
		ticket = once(c, url);
	if (ticket)
		start_browser(new_window, ticket);
	free(ticket);
	jsonrpc_fini(&m);
	return rc;
}

int cmd_open(int argc, char **argv, const struct cmd_globals *g)
{
	bool no_browser = cmd_flag(&argc, argv, NULL, "--no-browser");
	bool new_window = cmd_flag(&argc, argv, NULL, "--new-window");
	struct cmd_target t = {0};
	struct api_client *c = NULL;
	struct tl_err err = {0};
	struct cmd_ui ui;
	char *host = NULL;
	int rc = cmd_words(g, &argc, argv, 0, 1, "HOST");

	if (rc)
		return rc;
	cmd_ui_init(&ui, g);
	if (argc > 1) {
		rc = cmd_target_parse(argv[1], &t, &err);
		if (rc == 0 && !t.host)
			rc = err_set(&err, TL_E_INVAL,
				     "“%s” is a path of this machine: to open it, say local:%s",
				     argv[1], argv[1]);
		if (rc == 0)
			rc = cmd_reach(&ui, t.host, &c, &host, &err);
	} else {
		rc = api_client_open(&c, true, &ui.api, &err);
	}
	if (rc == 0)
		rc = open_window(g, c, host, t.path && !t.path[0] ? "~" : t.path, !no_browser,
				 new_window);
	else
		rc = cmd_fail(g, &err);
	api_client_close(c);
	cmd_target_fini(&t);
	free(host);
	return rc;
}
