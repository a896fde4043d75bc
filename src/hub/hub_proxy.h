/* hub_proxy.h - this machine's internet for a host: an HTTP proxy on one connection at a time. */
#ifndef TL_HUB_PROXY_H
#define TL_HUB_PROXY_H

#include "hub/hub_priv.h"

/* Serves the connection on fd until it ends; takes fd, also on failure. host: for the log. */
int proxy_serve(struct hub *h, const char *host, int fd, struct tl_err *err);

#endif
