/* forward_word.h - what a person writes for a forward, taken apart: [LOCAL:]TARGET. */
#ifndef TL_CMD_FORWARD_WORD_H
#define TL_CMD_FORWARD_WORD_H

#include "wire/json.h"

#define FORWARD_WORD_HOST 256
#define FORWARD_WORD_PATH 4096

/* One end. port -1 and path "": not written. */
struct forward_word_end {
	char host[FORWARD_WORD_HOST];
	int port;
	char path[FORWARD_WORD_PATH];
};

/* The left end listens, the right one is where connections go. */
struct forward_word {
	struct forward_word_end listen, target;
};

/* "80", "db:5432", "8080:80", "8080:db:5432", "127.0.0.1:8080:db:5432", "[::1]:8080:[fe80::1]:80",
 * "/run/x.sock", "8080:/run/x.sock", "/tmp/y.sock:/run/x.sock". "*" as listening address is every
 * address. TL_E_INVAL with a sentence that names the word. */
int forward_word_parse(const char *text, struct forward_word *ret, struct tl_err *err);
/* Adds the members of a ForwardSpec to o. reverse: it listens on the host. */
void forward_word_json(const struct forward_word *w, bool reverse, yyjson_mut_doc *doc,
		       yyjson_mut_val *o);

#endif
