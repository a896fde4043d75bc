/* ssh_forwards.h - the forwards that the ssh configuration has for a host (LocalForward,
 * RemoteForward, DynamicForward), as `ssh -G` tells them: Include, Match and everything else is
 * ssh's own business. */
#ifndef TL_DIAL_SSH_FORWARDS_H
#define TL_DIAL_SSH_FORWARDS_H

#include "dial/dial.h"

enum ssh_forward_kind { SSH_FORWARD_LOCAL, SSH_FORWARD_REMOTE, SSH_FORWARD_DYNAMIC };

/* One end: host and port, or path. host NULL: not written. */
struct ssh_forward_end {
	char *host, *path;
	int port;
};

struct ssh_forward {
	enum ssh_forward_kind kind;
	struct ssh_forward_end listen, target; /* target of DYNAMIC: empty */
	bool socks; /* REMOTE without a target: a SOCKS server on the host */
};

#define SSH_FORWARDS_MAX 128

struct ssh_forwards {
	struct ssh_forward v[SSH_FORWARDS_MAX];
	size_t n;
	bool gateway_ports; /* a listener without an address means every address */
};

/* From the output of `ssh -G`. Lines that are not understood are left out; with
 * ClearAllForwardings there is none. 0 or TL_E_NOMEM. */
int ssh_forwards_parse(struct tl_bytes text, struct ssh_forwards *ret);
void ssh_forwards_fini(struct ssh_forwards *f);

struct ssh_forwards_query;
/* Runs `ssh -G` with the target's options. on_done once, never from within: the list (borrowed),
 * or NULL and err. */
struct ssh_forwards_query *ssh_forwards_ask(struct loop *l, const struct dial_target *t,
					    const char *ssh_path,
					    void (*on_done)(void *ctx, const struct ssh_forwards *f,
							    const struct tl_err *err),
					    void *ctx, struct tl_err *err);
/* No callback any more. */
void ssh_forwards_cancel(struct ssh_forwards_query *q);

#endif
