/* towline.c - the command: takes the global options out of its arguments wherever they stand, finds
 * the command in one table, answers --help. As towline-askpass it is ssh's prompt helper. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "base/version.h"
#include "cmd/askpass.h"
#include "cmd/cmd.h"
#include "cmd/cmd_util.h"

#define NEAR 2 /* typing errors forgiven in a suggestion */

static const struct cmd commands[] = {
    {"open", cmd_open, "open a window on a folder or file of a host", &cmd_open_usage, 0, NULL},
    {"shell", cmd_shell, "a terminal on a host, in this terminal", &cmd_shell_usage, 2,
     "--name --attach "},
    {"ls", cmd_ls, "list a folder of a host", &cmd_ls_usage, 0, NULL},
    {"cat", cmd_cat, "print files of a host", &cmd_cat_usage, 0, NULL},
    {"get", cmd_get, "copy from a host to here", &cmd_get_usage, 0, NULL},
    {"put", cmd_put, "copy from here to a host", &cmd_put_usage, 0, NULL},
    {"upload", cmd_upload, "copy files and folders to a host", &cmd_upload_usage, 0, NULL},
    {"download", cmd_download, "copy files and folders from a host", &cmd_download_usage, 0, NULL},
    {"rm", cmd_rm, "remove files of a host", &cmd_rm_usage, 0, NULL},
    {"exec", cmd_exec, "run a program or script on a host", &cmd_exec_usage, 2,
     "-c --script -e --cwd --timeout "},
    {"sessions", cmd_sessions, "Python and R sessions of a host", &cmd_sessions_usage, 0,
     "--connection-file --end --interrupt --restart "},
    {"run-code", cmd_run_code, "run code in a Python or R session", &cmd_run_code_usage, 0,
     "-c --kernel --name "},
    {"console", cmd_console, "a Python or R console in this terminal", &cmd_console_usage, 0,
     "--session --name --images "},
    {"gateway", cmd_gateway, "a port for Jupyter clients of a host's sessions", &cmd_gateway_usage,
     0, "--port --allow-origin "},
    {"tunnel", cmd_tunnel, "carry connections through a host", &cmd_tunnel_usage, 0, "--socks "},
    {"ports", cmd_ports, "what listens on a host, and what is forwarded", &cmd_ports_usage, 0,
     NULL},
    {"forward", cmd_forward, "make a port or socket of a host reachable here", &cmd_forward_usage,
     0, "--label "},
    {"unforward", cmd_unforward, "end forwards", &cmd_unforward_usage, 0, NULL},
    {"socks", cmd_socks, "a SOCKS proxy through a host", &cmd_socks_usage, 0, NULL},
    {"info", cmd_info, "address, keys and algorithms of a connection", &cmd_info_usage, 0, NULL},
    {"key", cmd_key, "list, make, add and copy ssh keys", &cmd_key_usage, 0,
     "-t --type -C --comment "},
    {"connect", cmd_connect, "connect to a host without opening anything", &cmd_connect_usage, 0,
     NULL},
    {"hosts", cmd_hosts, "the hosts there are; add, remove and show one", &cmd_hosts_usage, 0,
     "--name "},
    {"server", cmd_server, "the server on a host: status, start, kill, uninstall, log",
     &cmd_server_usage, 0, "-n --lines "},
    {"doctor", cmd_doctor, "where the way to a host ends, and why", &cmd_doctor_usage, 0, NULL},
    {"status", cmd_status, "what is connected and what runs there", &cmd_status_usage, 0, NULL},
    {"close", cmd_close, "end the connection to a host", &cmd_close_usage, 0, NULL},
    {"stop", cmd_stop, "end the local daemon", &cmd_stop_usage, 0, NULL},
    {"log", cmd_log, "the daemon's log", &cmd_log_usage, 0, NULL},
    {"version", cmd_version, "versions of command and daemon", &cmd_version_usage, 0, NULL},
    {"help", cmd_help, "help on a command", &cmd_help_usage, 0, NULL},
    {NULL, NULL, NULL, NULL, 0, NULL},
};

const struct cmd *cmd_table(void)
{
	return commands;
}

const struct cmd *cmd_find(const char *name)
{
	for (const struct cmd *c = commands; c->name; c++)
		if (strcmp(c->name, name) == 0)
			return c;
	return NULL;
}

void cmd_print_help(FILE *out)
{
	fputs("usage: towline [OPTION…] COMMAND [ARGUMENT…]\n"
	      "\n"
	      "A development environment on another machine, over SSH.\n"
	      "\n",
	      out);
	for (const struct cmd *c = commands; c->name; c++)
		fprintf(out, "  %-9s %s\n", c->name, c->summary);
	fputs("\n"
	      "HOST is what ssh understands: an alias of ~/.ssh/config, user@host, "
	      "ssh://user@host:port.\n"
	      "\n"
	      "Options, before or after the command:\n"
	      "  -F FILE    use this ssh configuration\n"
	      "  -i KEY     use this key (may be repeated)\n"
	      "  -p PORT    port of the SSH server\n"
	      "  -o OPTION  any option of ssh_config(5) (may be repeated)\n"
	      "  --json     results and errors as JSON\n"
	      "  -q         no progress line\n"
	      "  -v         say more\n"
	      "  -h, --help, --version\n"
	      "\n"
	      "`towline help COMMAND` tells more, towline(1) everything.\n",
	      out);
}

/* What the global options collect. */
struct collected {
	struct cmd_globals g;
	struct strv identities, options;
	bool help, version;
};

/* 0 not a global option, 1 taken, 2 taken with the next argument, -1 error (printed). */
static int take_option(struct collected *c, const char *arg, const char *next)
{
	const char *value;
	long long port;
	bool joined;

	if (strcmp(arg, "--json") == 0)
		return c->g.json = true;
	if (strcmp(arg, "--help") == 0 || strcmp(arg, "-h") == 0)
		return c->help = true;
	if (strcmp(arg, "--quiet") == 0 || strcmp(arg, "-q") == 0)
		return c->g.quiet = true;
	if (strcmp(arg, "--verbose") == 0) {
		c->g.verbose++;
		return 1;
	}
	if (arg[1] == 'v' && strspn(arg + 1, "v") == strlen(arg + 1)) {
		c->g.verbose += (int)strlen(arg + 1);
		return 1;
	}
	if (!arg[1] || !strchr("Fipo", arg[1]))
		return 0;
	joined = arg[2] != 0;
	value = joined ? arg + 2 : next;
	if (!value) {
		cmd_usage_error(&c->g, NULL, "-%c needs a value", arg[1]);
		return -1;
	}
	if (arg[1] == 'F')
		c->g.host.config_file = value;
	else if (arg[1] == 'i')
		strv_add(&c->identities, value);
	else if (arg[1] == 'o')
		strv_add(&c->options, value);
	else if (str_to_int(value, 1, 65535, &port))
		c->g.host.port = (int)port;
	else {
		cmd_usage_error(&c->g, NULL, "“%s” is not a port: give a number from 1 to 65535",
				value);
		return -1;
	}
	return joined ? 1 : 2;
}

/* Is it an option of the command that takes the next argument? */
static bool is_valued(const struct cmd *cmd, const char *arg)
{
	size_t n = strlen(arg);
	const char *at = cmd && cmd->valued ? strstr(cmd->valued, arg) : NULL;

	/* from a blank to a blank: "-c" is not the end of "--xc" */
	while (at && (at[n] != ' ' || (at > cmd->valued && at[-1] != ' ')))
		at = strstr(at + 1, arg);
	return n > 1 && arg[0] == '-' && at;
}

/* Moves what is not a global option to the front of argv (argv[0] becomes the command). Returns
 * their number, or -1. */
static int collect(struct collected *c, int argc, char **argv)
{
	static char dashes[] = "--";
	const struct cmd *cmd = NULL;
	int kept = 0, words = 0, i;

	for (i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
		char *arg = argv[i];
		bool word = arg[0] != '-' || !arg[1];
		int took = 0;
		if (kept == 0 && strcmp(arg, "--version") == 0) {
			c->version = true;
			continue;
		}
		if (word && cmd && cmd->own_words && words == cmd->own_words) {
			/* room: the program's own name is gone */
			argv[kept++] = dashes;
			break;
		}
		if (!word)
			took = take_option(c, arg, i + 1 < argc ? argv[i + 1] : NULL);
		if (took < 0)
			return -1;
		if (took) {
			i += took - 1;
			continue;
		}
		if (kept == 0 && !word) {
			cmd_usage_error(&c->g, NULL, "there is no option %s", arg);
			return -1;
		}
		if (kept == 0)
			cmd = cmd_find(arg);
		words += word;
		argv[kept++] = arg;
		if (is_valued(cmd, arg) && i + 1 < argc)
			argv[kept++] = argv[++i];
	}
	for (; i < argc; i++)
		argv[kept++] = argv[i];
	argv[kept] = NULL;
	return kept;
}

/* Optimal string alignment distance of two short words: changes, and neighbours swapped. */
static int distance(const char *a, const char *b)
{
	int d[16][16], la = (int)strlen(a), lb = (int)strlen(b);

	if (la > 15 || lb > 15)
		return 99;
	for (int i = 0; i <= la; i++)
		d[i][0] = i;
	for (int k = 0; k <= lb; k++)
		d[0][k] = k;
	for (int i = 1; i <= la; i++)
		for (int k = 1; k <= lb; k++) {
			int best = d[i - 1][k - 1] + (a[i - 1] != b[k - 1]);
			if (d[i - 1][k] + 1 < best)
				best = d[i - 1][k] + 1;
			if (d[i][k - 1] + 1 < best)
				best = d[i][k - 1] + 1;
			if (i > 1 && k > 1 && a[i - 1] == b[k - 2] && a[i - 2] == b[k - 1] &&
			    d[i - 2][k - 2] + 1 < best)
				best = d[i - 2][k - 2] + 1;
			d[i][k] = best;
		}
	return d[la][lb];
}

static int unknown_command(const struct cmd_globals *g, const char *word)
{
	const struct cmd *best = NULL;
	struct tl_err err;
	int least = NEAR + 1;

	for (const struct cmd *c = commands; c->name; c++) {
		int n = distance(word, c->name);
		if (n < least && n < (int)strlen(c->name) - 1) {
			least = n;
			best = c;
		}
	}
	err_set(&err, TL_E_INVAL, "“%s” is not a command", word);
	if (g->json)
		return cmd_fail(g, &err);
	if (best)
		fprintf(stderr, "towline: %s. Did you mean `towline %s`?\n", err.text, best->name);
	else
		fprintf(stderr,
			"towline: %s. To open a window on a host of this name: towline open %s\n",
			err.text, word);
	return CMD_EXIT_USAGE;
}

static int dispatch(struct collected *c, int argc, char **argv)
{
	char version[] = "version", *alone[] = {version, NULL};
	const struct cmd *cmd;

	if (c->version && argc == 0)
		return cmd_version(1, alone, &c->g);
	if (argc == 0) {
		cmd_print_help(stdout);
		return cmd_done(&c->g);
	}
	cmd = cmd_find(argv[0]);
	if (!cmd)
		return unknown_command(&c->g, argv[0]);
	if (c->help) {
		fputs(*cmd->usage, stdout);
		return cmd_done(&c->g);
	}
	return cmd->fn(argc, argv, &c->g);
}

int main(int argc, char **argv)
{
	struct collected c = {0};
	const char *slash = argc > 0 ? strrchr(argv[0], '/') : NULL;
	const char *name = slash ? slash + 1 : argc > 0 ? argv[0] : "towline";
	int rc;

	if (strcmp(name, "towline-askpass") == 0)
		return askpass_main(argc, argv);
	signal(SIGPIPE, SIG_IGN);
	/* an error about the command line itself can be wanted as JSON, too */
	for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
		if (strcmp(argv[i], "--json") == 0)
			c.g.json = true;
	rc = collect(&c, argc, argv);
	if (rc < 0) {
		rc = CMD_EXIT_USAGE;
	} else {
		c.g.host.identities = (const char *const *)c.identities.v;
		c.g.host.options = (const char *const *)c.options.v;
		rc = dispatch(&c, rc, argv);
	}
	strv_fini(&c.identities);
	strv_fini(&c.options);
	return rc;
}
