/* svc_fs_save.h - a save under way, shared by svc_fs_save.c (the request) and svc_fs_place.c (how
 * the new content takes its place). */
#ifndef TL_HOST_SVC_FS_SAVE_H
#define TL_HOST_SVC_FS_SAVE_H

#include "host/svc_fs_priv.h"

/* Where new content waits. Owns fd and, where it has a name, the file. */
struct fs_spool {
	int fd;
	int dirfd;      /* borrowed: the file's folder */
	bool beside;    /* in that folder, so it can take the file's name */
	int why;        /* !beside: what the folder said */
	char name[256]; /* "": it has no name yet */
	bool keep;      /* the name stays when the content does not get its own */
};

struct fs_save {
	struct fs_save *next;
	char path[FS_PATH];
	struct fs_at at; /* the file itself, behind every link */
	uint64_t total, have;
	struct fs_spool spool;
};

/* mode: of the new file, before umask. confined: nowhere but beside. */
int fs_spool_open(struct fs_spool *s, int dirfd, const char *name, mode_t mode, bool confined);
/* The part of a save that outlives a failure, ".NAME.towline-part" beside it: emptied (off 0), or
 * continued where it ends. EAGAIN: another transfer has it; ESTALE: it does not end at off. */
int fs_spool_part(struct fs_spool *s, int dirfd, const char *name, mode_t mode, uint64_t off);
void fs_spool_drop(struct fs_spool *s);
/* Puts the spool's content at s->at; old: what is there now, or NULL (then EEXIST when something
 * appeared). 0 or errno; on failure everything is as before. */
int fs_place(struct fs_save *s, const struct stat *old, bool sync);

#endif
