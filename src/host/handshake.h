/* handshake.h - the few text lines between a bridge and the agent on the agent's unix socket,
 * before any link frame (docs/agent.md). Codec only; owns nothing.
 *
 *   bridge: "towline-bridge MIN MAX pass|splice VERSION LF"      range of link protocols it knows
 *   agent:  "towline-agent MIN MAX VERSION PID LF", or "error NUMBER TEXT LF" and the end
 *   bridge: one byte with its stdin and stdout as SCM_RIGHTS     (pass only)
 *   agent:  "accepted LF"                                        (pass only), or "error …"
 *   bridge: prints its marker, then "go LF"; before that the agent touches no link byte
 *   agent:  "end NUMBER TEXT LF" when the transport is over      (pass only), then closes
 *
 * With splice the same socket carries the link's bytes after "go LF". Each side waits for the other
 * at every step, so no read ever swallows what belongs to the next one. */
#ifndef TL_HOST_HANDSHAKE_H
#define TL_HOST_HANDSHAKE_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/err.h"

#define HANDSHAKE_LINE  1024
#define HANDSHAKE_MS    10000 /* one step of it; both sides are on the same machine */
#define HANDSHAKE_GO    "go\n"
#define HANDSHAKE_READY "accepted\n"
/* Socket names end in the link protocol's number, so that servers of different protocols live side
 * by side. */
#define AGENT_SOCKET "agent-v%d.sock"
#define AGENT_LOCK   "agent-v%d.lock"

struct handshake_peer {
	int proto_min, proto_max;
	bool splice; /* bridge only */
	long pid;    /* agent only */
	char version[64];
};

/* Lines with their LF. 0, TL_E_LIMIT, TL_E_NOMEM. */
int handshake_put_bridge(struct buf *out, const struct handshake_peer *p);
int handshake_put_agent(struct buf *out, const struct handshake_peer *p);
/* word: "error" or "end"; code 0 or TL_E_*. Control bytes in text become spaces. */
int handshake_put_word(struct buf *out, const char *word, int code, const char *text);
/* line is NUL-terminated, without LF. 0 or TL_E_PROTO. */
int handshake_get_bridge(const char *line, struct handshake_peer *ret);
int handshake_get_agent(const char *line, struct handshake_peer *ret);
/* "WORD NUMBER TEXT": 0 and the error in *ret (code 0 for "end 0"), or TL_E_PROTO. */
int handshake_get_word(const char *line, const char *word, struct tl_err *ret);
/* True when the two ranges share a version. */
bool handshake_overlap(const struct handshake_peer *a, const struct handshake_peer *b);

#endif
