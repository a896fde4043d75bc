/* start_parse.h - finds our marker lines in what a host prints before the link begins.
 * An engine: bytes in, words out; no descriptor, no clock. Owns its buffers. Everything that is not
 * a marker with our nonce is noise of the login shell; it is kept, up to NOISE bytes, to be quoted.
 */
#ifndef TL_DIAL_START_PARSE_H
#define TL_DIAL_START_PARSE_H

#include "base/buf.h"

#define START_LINE  8192 /* longest marker line */
#define START_NONCE 32

enum start_word {
	START_MORE, /* nothing complete yet */
	START_HERE, /* our line runs; text: `uname -sm` */
	START_SEND, /* no server started: the host waits for the start-up line */
	START_WAIT, /* another client installs right now */
	START_NEED, /* the binary is wanted; text: facts */
	START_NOTE, /* text: a piece of an errand's answer, or what a person should know */
	START_DONE, /* the errand is over; text: `none` where nothing is installed */
	START_FAIL, /* text: CODE and reason */
	START_UP,   /* the server took over: what start_rest returns is the link's */
	START_NOISY /* more than NOISE bytes without a marker */
};

struct start_parse {
	char nonce[START_NONCE];
	struct buf in;    /* not looked at yet */
	struct buf noise; /* skipped */
	char text[START_LINE];
};

void start_parse_init(struct start_parse *s, const char *nonce);
void start_parse_fini(struct start_parse *s);
/* At most START_FEED bytes at a time, start_next until START_MORE in between. 0 or TL_E_NOMEM. */
#define START_FEED 16384
int start_feed(struct start_parse *s, const void *p, size_t n);
/* The next word; s->text holds its text until the next call. */
enum start_word start_next(struct start_parse *s);
/* After START_UP: bytes behind the marker; borrowed. */
struct tl_bytes start_rest(const struct start_parse *s);

#endif
