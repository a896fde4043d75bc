/* agent_url.h - pages that programs on the host want to show ($BROWSER): which client gets them.
 * The client of the terminal decides what becomes of them; this side only passes http and https
 * addresses on, and few of them. */
#ifndef TL_HOST_AGENT_URL_H
#define TL_HOST_AGENT_URL_H

#include "host/agent.h"

/* Is this an address that may be passed on? http or https with a host, at most URL bytes, nothing
 * that would end it in a text. */
bool url_is_page(const char *url);
/* request: {"url":…,"term":…,"cwd":…} of the face browser, borrowed. Tells the link that attached
 * last to the terminal, else the newest one. 0, TL_E_INVAL, TL_E_UNSUPPORTED (no page),
 * TL_E_AGAIN (too many), TL_E_NOHOST (no client takes pages now). */
int agent_url_open(struct agent *a, struct tl_bytes request, struct tl_err *err);
/* lk attached to a terminal. */
void agent_url_attached(struct agent_link *lk, const char *term);
/* lk is about to go. */
void agent_url_forget(struct agent_link *lk);

#endif
