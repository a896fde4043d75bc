/* ssh_query.h - asks ssh how it understands its configuration for one host: one short-lived
 * `ssh -G`, so that Include, Match and everything else stay ssh's own business. Loop thread. */
#ifndef TL_DIAL_SSH_QUERY_H
#define TL_DIAL_SSH_QUERY_H

#include "dial/dial.h"

/* `Match exec` may run anything. */
#define SSH_QUERY_MS 30000

struct ssh_query;

/* on_done once, never from within: what ssh printed, lines of `keyword value` (borrowed), or err:
 * TL_E_SSHCONFIG with ssh's words, TL_E_TIMEOUT after patience_ms. NULL and err when nothing could
 * be started; no callback comes then. */
struct ssh_query *ssh_query_start(struct loop *l, const struct dial_target *t, const char *ssh_path,
				  uint64_t patience_ms,
				  void (*on_done)(void *ctx, struct tl_bytes config,
						  const struct tl_err *err),
				  void *ctx, struct tl_err *err);
/* No callback any more. Not after on_done. */
void ssh_query_cancel(struct ssh_query *q);

/* The next line of such a text as keyword and value (both borrowed, not terminated); false at its
 * end. */
bool ssh_query_line(struct tl_bytes *config, struct tl_bytes *ret_key, struct tl_bytes *ret_value);

#endif
