/* hold_title.h - finds the window title (OSC 0 and OSC 2) in a terminal's output, whatever way the
 * output is cut into pieces. Bounded: longer titles are cut, other sequences are skipped. */
#ifndef TL_HOST_HOLD_TITLE_H
#define TL_HOST_HOLD_TITLE_H

#include <stdbool.h>

#include "base/bytes.h"

#define HOLD_TITLE_MAX 256

struct hold_title {
	unsigned char state;
	bool wanted; /* the sequence being read is a title */
	size_t n;
	char now[HOLD_TITLE_MAX]; /* being read */
	char title[HOLD_TITLE_MAX];
};

/* Zero-initialised is ready. Afterwards t->title is the last complete title ("" at first). */
void hold_title_feed(struct hold_title *t, struct tl_bytes out);

#endif
