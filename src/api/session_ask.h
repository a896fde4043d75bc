/* session_ask.h - asks OpenSSH's own programs about a host: `ssh -G` for what the configuration
 * says, `ssh-keygen` for its known key. */
#ifndef TL_API_SESSION_ASK_H
#define TL_API_SESSION_ASK_H

#include "api/session_priv.h"

/* Fills what is still unknown of host, user, port, jump, host key. Never fails: what cannot be
 * found stays unknown. */
void session_ask_config(struct tl_session *s);

#endif
