/* shell_screen.h - the little that `towline shell` itself writes on the user's screen: a dim line
 * at the top while the host is away, and the repair of what it covered. */
#ifndef TL_CMD_SHELL_SCREEN_H
#define TL_CMD_SHELL_SCREEN_H

#include "cmd/shell_view.h"

#define SHELL_LOST_MS 2000 /* shorter absences are not shown */

/* Looks for the sequences that begin and end a full-screen program. */
void shell_screen_track(struct shell_view *v, struct tl_bytes out);
/* Shows, renews or takes away the line, as v->lost_ms says. */
void shell_screen_status(struct shell_view *v);
/* Makes the program draw its screen again, by a size one row smaller that v->size follows. */
void shell_screen_redraw(struct shell_view *v);
/* The end: leaves the alternate screen and other modes of a program that goes on without us. */
void shell_screen_leave(struct shell_view *v);

#endif
