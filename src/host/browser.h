/* browser.h - $BROWSER on the host: `towline-browser URL`, a link to towline-host, has the page
 * shown by the window that the terminal belongs to (docs/ports.md). */
#ifndef TL_HOST_BROWSER_H
#define TL_HOST_BROWSER_H

#include <stddef.h>

#define BROWSER_NAME "towline-browser"
/* First word of its line on the agent's socket; a JSON object follows. Answered by BROWSER_OPENED,
 * or "error NUMBER TEXT". */
#define BROWSER_WORD   "towline-browser "
#define BROWSER_OPENED "opened\n"

/* The face. Exit status 0: passed on; 1: nobody is there, the address was printed; 2: bad use. */
int browser_main(int argc, char **argv);
/* Makes sure that a link to this program is there, for $BROWSER: in run_dir, or in another private
 * folder where that path has characters that $BROWSER cannot have (its readers split it at blanks
 * and colons). The path into out; 0, or TL_E_* (then there is no $BROWSER). */
int browser_link(const char *run_dir, char *out, size_t n);

#endif
