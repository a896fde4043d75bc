/* args.h - what the ssh child is started with: a checked host, argv, environment.
 * Pure besides reading the environment. Results are owned by the caller (strv_fini). */
#ifndef TL_DIAL_ARGS_H
#define TL_DIAL_ARGS_H

#include "base/str.h"
#include "dial/dial.h"

#define ASKPASS_SOCKET_ENV "TOWLINE_ASKPASS_SOCKET"

/* argv of the child: ssh with the user's options and the command, or sh for DIAL_LOCAL. 0,
 * TL_E_INVAL (the host is not one), TL_E_NOMEM. */
int args_argv(struct strv *ret, const struct dial_target *t, const char *ssh_path,
	      const char *command, struct tl_err *err);
/* argv of `ssh -G` for the same host with the same options. */
int args_query(struct strv *ret, const struct dial_target *t, const char *ssh_path,
	       struct tl_err *err);
/* Our environment, with ssh's questions sent to askpass_path over the socket (NULL: as it is); no
 * secret in it. */
int args_envp(struct strv *ret, const char *askpass_path, const char *socket_path,
	      struct tl_err *err);

#endif
