/* hub_proxy.h - this machine's internet for a host: an HTTP proxy for one connection after the
 * other. CONNECT, and http addresses; nothing else. What is on this machine, and in its private
 * networks, is not the internet: it is refused unless the user's settings allow it
 * (towline.lendInternet.allow). */
#ifndef TL_HUB_PROXY_H
#define TL_HUB_PROXY_H

#include "hub/hub_priv.h"

/* Serves the connection on fd until it ends; takes fd, also on failure. host: for the log. secret:
 * what the client must know (user name "towline"). */
int proxy_serve(struct hub *h, const char *host, int fd, const char *secret, struct tl_err *err);

/* Ends those that are under way. */
void proxy_end_all(struct hub *h);

/* hub_proxy_policy.c */
struct sockaddr;
/* May the host go there? allow: the setting, an array of addresses and networks ("10.1.0.0/16"),
 * or NULL. */
bool proxy_allows(yyjson_val *allow, const struct sockaddr *sa);
/* The value of Proxy-Authorization for a secret; out has at least 128 bytes. */
void proxy_credentials(const char *secret, char *out, size_t n);

#endif
