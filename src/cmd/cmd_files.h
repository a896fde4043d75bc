/* cmd_files.h - what ls, cat, get, put and rm share: options, the way to a host's files, Ctrl-C,
 * the progress line, and how failures are told. */
#ifndef TL_CMD_CMD_FILES_H
#define TL_CMD_CMD_FILES_H

#include "api/transfer.h"
#include "cmd/cmd_util.h"

/* Options of one letter, also several in one word (-la); name: the long form or NULL. Ended by a
 * zero letter. */
struct files_flag {
	char letter;
	const char *name;
	bool *set;
};
/* Takes the options out and leaves argv[1..] as words, at least min and at most max. 0 or the exit
 * status of a printed error. */
int files_args(const struct cmd_globals *g, int *argc, char **argv, const struct files_flag *flags,
	       int min, int max, const char *want);

/* Owns the connection to one host's files. */
struct files {
	const struct cmd_globals *g;
	struct cmd_ui ui;
	char *host; /* as the daemon calls it */
	struct sftp_client *c;
	int cancel_fd;
	/* progress */
	bool shows, shown;
	int64_t begun_ms, told_ms;
	/* failures */
	size_t failures;
	struct tl_err first;
};

/* Reaches the host and opens its files; bulk: for large content, so that it waits for typing.
 * From here on SIGINT, SIGTERM and SIGHUP end what runs with TL_E_CANCELED. 0 or TL_E_*. */
int files_open(struct files *f, const struct cmd_globals *g, const char *host, bool bulk,
	       struct tl_err *err);
void files_close(struct files *f);
/* Reads "HOST:PATH"; a text without host is an error. */
int files_target(const char *text, struct cmd_target *ret, struct tl_err *err);
/* The path of a target as the host's file service wants it (home: "."), malloc'ed. */
int files_path(struct files *f, const char *path, char **ret, struct tl_err *err);
/* Last component, "." for a folder that names itself; malloc'ed. */
char *files_base(const char *path);
/* Fills the callbacks of a transfer. */
void files_transfer(struct files *f, struct transfer *t, bool recursive, bool times);
void files_clear(struct files *f);
/* Is the connection gone, or the user's patience? */
bool files_broken(int rc);
/* A failure that does not end the command: told now, or (the only one) by files_end. */
void files_failed(struct files *f, const struct tl_err *err);
/* Ends the command: rc and err as they came; prints what was not told. The exit status. */
int files_end(struct files *f, int rc, struct tl_err *err);
/* The same for a transfer, which with --json prints its counts. */
int files_end_transfer(struct files *f, const struct transfer *t, int rc, struct tl_err *err);

#endif
