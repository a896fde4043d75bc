/* shell_view.h - a terminal of a host in the user's own terminal: the loop behind `towline shell`.
 * Speaks hold frames on a stream of the daemon, opens it again from where it was when it is lost.
 */
#ifndef TL_CMD_SHELL_VIEW_H
#define TL_CMD_SHELL_VIEW_H

#include <termios.h>

#include "cmd/cmd_util.h"
#include "cmd/shell_input.h"
#include "cmd/shell_keys.h"
#include "wire/hold_frame.h"

/* ui comes first: the callbacks of api_client get its address. */
struct shell_view {
	struct cmd_ui ui;
	struct api_client *client; /* owned by the view once given */
	const char *typed_host;    /* as the user wrote it: to connect again */
	char *host;                /* as the daemon calls it */
	char *id;
	bool command;  /* a single command: its interruption ends it there, too */
	bool attached; /* joins a terminal that is already there */

	/* inside */
	int (*prompt)(void *, const char *, const char *, const char *, bool, int, char **);
	void (*progress)(void *, const char *, const char *, const char *, int64_t, int64_t);
	bool running; /* the terminal is up */
	int fd;       /* the stream, -1: lost */
	struct buf in, out;
	struct shell_keys keys;
	struct shell_input input;
	uint64_t cursor_off, acked_off;
	bool cursor_known;
	struct hold_size size;
	struct termios was;
	bool tty_in, tty_out, raw;
	bool in_ended;     /* standard input */
	uint8_t last_byte; /* of it */
	size_t typed_lost; /* bytes there was no memory for */
	bool alternate;    /* a full-screen program runs */
	uint8_t tail[16];  /* of the output, to find what switches it */
	size_t tail_n;
	bool away;        /* the stream is lost and being opened again */
	uint64_t lost_ms; /* since when the host is away, 0: it is there */
	bool status_shown;
	unsigned interrupts;
	bool done, detached;
	struct hold_exit exit;
};

/* Columns and rows of the user's terminal, 80 by 24 where there is none. */
struct hold_size shell_size(void);
/* Fills in the callbacks of v->ui. */
void shell_view_init(struct shell_view *v, const struct cmd_globals *g);
/* Runs until the program ends (v->exit) or the user leaves (v->detached). 0 or TL_E_*. Afterwards
 * shell_input_waiting(&v->input) tells how much of what was typed is not known to have arrived. */
int shell_view_run(struct shell_view *v, struct tl_err *err);
void shell_view_fini(struct shell_view *v);

#endif
