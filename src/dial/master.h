/* master.h - a private master connection of ssh as seen by what goes through it: its place, the
 * words of an ssh that is its guest, and a script in words that no login shell changes. For hosts
 * that are served without our program (libtowline's plain sessions, the daemon's stand-in). Owns
 * nothing but the pending question of a master_silent. */
#ifndef TL_DIAL_MASTER_H
#define TL_DIAL_MASTER_H

#include "base/buf.h"
#include "base/str.h"
#include "loop/io.h"

/* The control socket's path in dir; false where it is too long for ssh. */
bool master_control_path(const char *dir, char *out, size_t n);
/* Masters of the user: in his options (NULL-terminated, or NULL), or in the configuration. */
bool master_is_users(const char *const *options, const char *config_file);

/* Appends the argv of an ssh through the master at ctl; more: what stands before the host
 * (NULL-terminated, or NULL), command: behind it, or NULL. It never makes a connection of its own.
 */
int master_argv(struct strv *ret, const char *ssh, const char *ctl, const char *const *more,
		const char *command);
/* Appends `sh` on the host with this script, in words that no login shell changes. TL_E_LIMIT: too
 * long. */
int master_command(struct buf *out, const char *script, size_t n);
/* Appends 'text' quoted for sh. */
int master_quote(struct buf *out, const char *text);

/* A server that lets us in and then says nothing: is it one for files only? An SFTP server answers
 * to its hello in its own way, a shell does not. */
struct master_silent {
	struct io io;
	void (*on_sftp)(void *ctx);
	void *ctx;
};
/* Asks over a channel of its own; on_sftp comes at most once, when it is one. Asking twice at a
 * time is not allowed; nothing happens where it cannot be asked. */
void master_silent_ask(struct master_silent *s, struct loop *l, const char *ssh, const char *ctl,
		       void (*on_sftp)(void *ctx), void *ctx);
/* Forgets the question. */
void master_silent_close(struct master_silent *s);

#endif
