/* cmd.h - the frame of `towline`: what a command is, and what every command shares.
 * A command is a function int cmd_x(argc, argv, g): argv[0] is the command's name, the global
 * options (-F, -i, -p, -o, -v, -q, --json) are already taken out wherever they stood, -h/--help is
 * answered by the frame from the command's usage text, and the return value is the exit status.
 * Commands hold no logic: they ask the daemon through api/client.h and print. */
#ifndef TL_CMD_CMD_H
#define TL_CMD_CMD_H

#include <stdio.h>

#include "api/client.h"

/* Options that mean the same for every command. Borrowed from argv for the program's life. */
struct cmd_globals {
	struct api_host_options host; /* -F -i -p -o */
	int verbose;                  /* -v, counted */
	bool quiet;                   /* -q: no progress line */
	bool json;                    /* --json: results and errors as JSON */
};

/* Exit status for a wrong command line (the same as TL_E_INVAL's). */
#define CMD_EXIT_USAGE 2

/* One row of the table in towline.c. */
struct cmd {
	const char *name;
	int (*fn)(int argc, char **argv, const struct cmd_globals *g);
	const char *summary; /* one line */
	/* the whole text of `towline NAME --help`, ended by LF; it lives beside fn */
	const char *const *usage;
	/* words (the command's name included) after which everything belongs to a program that runs
	 * elsewhere, as in `towline shell HOST grep -i x`; a "--" is put before it. 0: no such
	 * point */
	int own_words;
	/* own options that take a value, each followed by a space: so that the value is no word */
	const char *valued;
};

/* Every command of the program; each cmd_x.c defines its function and its text. */
#define CMD_DECLARE(x)                                                                             \
	int cmd_##x(int argc, char **argv, const struct cmd_globals *g);                           \
	extern const char *const cmd_##x##_usage
CMD_DECLARE(open);
CMD_DECLARE(connect);
CMD_DECLARE(hosts);
CMD_DECLARE(doctor);
CMD_DECLARE(server);
CMD_DECLARE(status);
CMD_DECLARE(close);
CMD_DECLARE(stop);
CMD_DECLARE(log);
CMD_DECLARE(version);
CMD_DECLARE(help);
CMD_DECLARE(shell);
CMD_DECLARE(ls);
CMD_DECLARE(cat);
CMD_DECLARE(get);
CMD_DECLARE(put);
CMD_DECLARE(rm);
CMD_DECLARE(upload);
CMD_DECLARE(download);
CMD_DECLARE(exec);
CMD_DECLARE(tunnel);
CMD_DECLARE(ports);
CMD_DECLARE(forward);
CMD_DECLARE(unforward);
CMD_DECLARE(socks);
CMD_DECLARE(info);
CMD_DECLARE(key);
CMD_DECLARE(sessions);
CMD_DECLARE(run_code);
CMD_DECLARE(gateway);
CMD_DECLARE(console);

/* The table, ended by a NULL name. */
const struct cmd *cmd_table(void);
const struct cmd *cmd_find(const char *name);
/* The help of the whole program, to out. */
void cmd_print_help(FILE *out);

#endif
