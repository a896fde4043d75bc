/* console_line.h - lines from the user of a console: with libedit on a terminal (history, Tab asks
 * the kernel), byte by byte from a pipe. While it waits it also reads the session, so what other
 * clients do is shown at once. */
#ifndef TL_CMD_CONSOLE_LINE_H
#define TL_CMD_CONSOLE_LINE_H

#include "cmd/code_view.h"

struct console_line;

enum console_got { CONSOLE_LINE, CONSOLE_END, CONSOLE_INTERRUPT, CONSOLE_SIGNAL };

/* v must outlive it. history: a file for the lines, or NULL. NULL: no memory, or no terminal that
 * libedit knows. */
struct console_line *console_line_open(struct code_view *v, const char *history);
void console_line_close(struct console_line *l);
bool console_line_is_terminal(const struct console_line *l);
/* A line without its end, malloc'ed, in *ret_text (CONSOLE_LINE only). before: what the kernel
 * shall take into account when it completes the line. indent: typed already, or NULL. */
enum console_got console_line_read(struct console_line *l, const char *prompt, const char *before,
				   const char *indent, char **ret_text);
/* Remembers a line. */
void console_line_keep(struct console_line *l, const char *text);

#endif
