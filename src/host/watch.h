/* watch.h - `towline-host watch`: reports changes of files and folders (methods of side WATCH).
 * One process per watch stream; it may block, and with it only its own stream. */
#ifndef TL_HOST_WATCH_H
#define TL_HOST_WATCH_H

/* The face: JSON-RPC with Content-Length framing on descriptors 0 and 1, until descriptor 0 ends.
 * Exit status 0, or the one of the error. */
int watch_main(void);

/* Files of somewhere else, looked at through these; both may wait, and do not come back where the
 * connection is gone. */
struct stat;
typedef void watch_found(void *arg, const char *name, const struct stat *st);
struct watch_files {
	/* links followed; 0 or TL_E_* */
	int (*stat)(void *ctx, const char *path, struct stat *ret);
	/* entries themselves, without . and .. */
	int (*list)(void *ctx, const char *path, watch_found *fn, void *arg);
	void *ctx;
	const char *reason; /* why they are looked at again and again */
	unsigned max;       /* entries of one watch */
};
/* The same for them. */
int watch_main_of(const struct watch_files *files);

#endif
