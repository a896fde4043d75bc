/* ssh_ciphers.h - which cipher ssh should prefer. ssh's own first choice (ChaCha20) is made for
 * machines without AES in hardware; with it, AES-GCM moves a byte for a third of the work, and
 * the work is what bounds a copy or a tunnel on a fast line. Only the order of ssh's own default
 * set is changed; a set that the configuration names stays as it is. Loop thread. */
#ifndef TL_DIAL_SSH_CIPHERS_H
#define TL_DIAL_SSH_CIPHERS_H

#include "dial/dial.h"

#define SSH_CIPHERS_MAX     512
#define SSH_CIPHERS_SUBJECT 200

struct ssh_ciphers_query;

/* Does this machine do AES in hardware? */
bool ssh_ciphers_fast_aes(void);
/* The line `ciphers …` of what `ssh -G` prints, with AES-GCM first. False: leave ssh alone (not
 * its default set, or no such line). Pure. */
bool ssh_ciphers_prefer(struct tl_bytes config, char out[SSH_CIPHERS_MAX]);
/* Which ssh program it is, in words, where nothing but that decides: no option and no file of the
 * configuration names a set. */
bool ssh_ciphers_subject(char out[SSH_CIPHERS_SUBJECT], const struct dial_target *t,
			 const char *ssh_path);
/* What was found out about it before: 1 and the set, 0: leave ssh alone; -1: it has to be asked.
 * note: a small file in a private folder. */
int ssh_ciphers_known(const char *note, const char *subject, char out[SSH_CIPHERS_MAX]);
/* Keeps that; what cannot be kept is asked again. */
void ssh_ciphers_learn(const char *note, const char *subject, const char *ciphers);
/* Asks ssh for the host's configuration. on_done is called once: ciphers NULL: leave ssh alone.
 * NULL when nothing could be started; no callback comes then. */
struct ssh_ciphers_query *ssh_ciphers_ask(struct loop *l, const struct dial_target *t,
					  const char *ssh_path,
					  void (*on_done)(void *ctx, const char *ciphers),
					  void *ctx);
/* Ends it without a callback. Not after on_done. */
void ssh_ciphers_cancel(struct ssh_ciphers_query *q);

#endif
