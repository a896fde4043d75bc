/* lane.h - the face `lane`: a piece of one large file over a channel of ssh of its own, without
 * link and streams. Its standard input or output is the bytes and nothing else; how it ended is
 * told on standard error (docs/protocol.md 12). */
#ifndef TL_HOST_LANE_H
#define TL_HOST_LANE_H

/* `lane send HEXPATH OFFSET LENGTH SIZE MTIME_NS` or `lane take HEXPATH OFFSET LENGTH`. */
int lane_main(int argc, char **argv);

#endif
