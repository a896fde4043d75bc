/* text.h - makes text of a host or of ssh fit for people: it ends up in logs, terminals and JSON,
 * and a host is not trusted to write there what it likes. Pure. */
#ifndef TL_DIAL_TEXT_H
#define TL_DIAL_TEXT_H

#include <stdbool.h>

/* In place: control characters become spaces (LF stays where lines is set), and where the text is
 * not UTF-8 every byte that is not ASCII becomes a question mark. Returns s. */
char *text_clean(char *s, bool lines);

#endif
