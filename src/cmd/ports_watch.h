/* ports_watch.h - towline ports --watch: a line for each listener that comes or goes on the host,
 * and for each forward. */
#ifndef TL_CMD_PORTS_WATCH_H
#define TL_CMD_PORTS_WATCH_H

#include "cmd/cmd_util.h"

struct ports_watch {
	struct cmd_ui ui; /* first; for cmd_reach: hears of forwards from the beginning */
	const struct cmd_globals *g;
	char *host;
	yyjson_doc *ports, *forwards; /* shown last: ports/changed and forward/changed */
};

void ports_watch_init(struct ports_watch *w, const struct cmd_globals *g);
void ports_watch_fini(struct ports_watch *w);
/* Until Ctrl-C (0) or the end of the connection. Exit status. */
int ports_watch_run(struct ports_watch *w, struct api_client *c, const char *host);

#endif
