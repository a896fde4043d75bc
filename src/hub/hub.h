/* hub.h - towlined's state: hosts and their sessions, clients, prompts, windows. Joins dial (how to
 * get there) and edge (who asks). Owns everything below it. Loop thread only. */
#ifndef TL_HUB_HUB_H
#define TL_HUB_HUB_H

#include "loop/loop.h"

struct hub;

/* Where things are and what was asked on the command line. Strings are borrowed until hub_free. */
struct hub_config {
	const char *version;
	const char *config_dir, *state_dir, *runtime_dir; /* exist already, private */
	const char *control_path;
	const char *log_path;
	const char *ui_dir, *host_bin_dir, *askpass_path, *self_path;
	const char *ssh_path;
	int port, frame_port; /* 0: the ones of last time when free, else any */
};

/* Starts listening. stop(ctx) is called once when a client asked the daemon to end. */
int hub_new(struct loop *l, const struct hub_config *cfg, void (*stop)(void *ctx), void *ctx,
	    struct hub **ret, struct tl_err *err);
/* Ends every session (terminals on hosts go on) and closes; on_closed when the loop may end. */
void hub_close(struct hub *h, void (*on_closed)(void *ctx), void *ctx);
int hub_port(const struct hub *h);

#endif
