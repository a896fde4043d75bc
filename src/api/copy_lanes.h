/* copy_lanes.h - one large file over channels of ssh of its own (rows A8, K1): no link, no streams,
 * ssh reads and writes the file itself. One channel where it is only less work, several where the
 * window of one is what limits. Only for copy*.c. */
#ifndef TL_API_COPY_LANES_H
#define TL_API_COPY_LANES_H

#include "api/copy.h"

/* One file. */
struct lanes_file {
	bool up;
	int fd;             /* here: read from, or written to; its offset stays as it is */
	const char *remote; /* up: a path of the host that can be written; else the source */
	const char *name;   /* for the progress */
	uint64_t size, mtime_ns;
};

/* Has this copy such channels? */
bool lanes_are_there(const struct copy *c);
/* Copies all of it; what is at the destination before does not matter. 0; TL_E_CANCELED; another
 * failure: not all of it is there, and the ordinary way will say why. Progress that did not count
 * is taken back. */
int lanes_copy(struct copy *c, const struct lanes_file *f, struct tl_err *err);

#endif
