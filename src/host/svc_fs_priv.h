/* svc_fs_priv.h - what the files svc_fs*.c share. System calls here speak errno: a function that
 * returns `int e` gives 0 or a positive errno value, which becomes a STATUS in exactly one place
 * (fs_fail). */
#ifndef TL_HOST_SVC_FS_PRIV_H
#define TL_HOST_SVC_FS_PRIV_H

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/limits.h"
#include "host/svc_fs.h"
#include "wire/sftp.h"

#define FS_PATH (TL_LIMIT_PATH + 1)

/* A path, taken apart so that the last step is one system call relative to a folder. */
struct fs_at {
	int dirfd; /* AT_FDCWD or a descriptor that fs_at_close closes */
	int oflag; /* O_NOFOLLOW where the last component must not be followed (any more) */
	int sflag; /* AT_SYMLINK_NOFOLLOW likewise */
	char name[FS_PATH];
};

struct fs_handle {
	int fd; /* -1: free */
	uint32_t generation;
	bool is_dir, append;
	struct fs_dirents *dir;
};

struct fs_save;

struct svc_fs {
	int root; /* -1: not confined */
	bool greeted, read_only;
	struct buf *out;
	svc_fs_flush *flush;
	void *ctx;
	int broken; /* what flush returned */
	struct fs_handle handles[TL_LIMIT_SFTP_HANDLES];
	uint32_t generation;
	struct fs_save *saves;
	struct fs_names *names; /* user and group names seen, for ls -l lines */
};

/* One request: its fields are read from `in`; every handler answers exactly once. */
struct fs_req {
	struct svc_fs *fs;
	uint32_t id;
	struct sftp_reader in;
};

/* ------------------------------------------------ svc_fs.c: replies */

/* STATUS from errno, with the message "WORD: WHAT: REASON". e 0: "Success". */
void fs_fail(struct fs_req *q, int e, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* STATUS FAILURE with a word of proto/errors.def. */
void fs_refuse(struct fs_req *q, int tl_code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void fs_bad(struct fs_req *q); /* the packet does not have its fields */
void fs_done(struct fs_req *q);
void fs_eof(struct fs_req *q);
void fs_reply_attrs(struct fs_req *q, const struct stat *st);
/* NAME with one name and no attributes. */
void fs_reply_name(struct fs_req *q, const char *name);
struct sftp_attrs fs_attrs(const struct stat *st);
/* Room for n more bytes of output, writing out what is there if need be; false: give up. */
bool fs_room(struct svc_fs *fs, size_t n);
/* What is there goes out now if it is much. */
void fs_push(struct svc_fs *fs);

/* ------------------------------------------------ svc_fs_path.c */

/* Takes a path apart. follow: what the last component points to is meant. */
int fs_at(struct svc_fs *fs, const char *path, bool follow, struct fs_at *ret);
/* The same with every link of the last component already followed and the folder opened: name is
 * one component that is no link, and need not exist. */
int fs_at_final(struct svc_fs *fs, const char *path, struct fs_at *ret);
/* Folder opened, name one component, not followed. */
int fs_at_parent(struct svc_fs *fs, const char *path, struct fs_at *ret);
void fs_at_close(struct fs_at *at);
int fs_at_stat(const struct fs_at *at, struct stat *ret);
/* openat with O_CLOEXEC and without hanging on FIFOs. -1 and errno. */
int fs_at_open(const struct fs_at *at, int flags, mode_t mode);
/* Absolute path without links; the last component need not exist. */
int fs_realpath(struct svc_fs *fs, const char *path, char out[FS_PATH]);
/* The user's home folder (user NULL or "": our own); needs FS_PATH bytes. */
int fs_home(const char *user, char out[FS_PATH]);

/* ------------------------------------------------ svc_fs_dirents.c: folders, names */

/* Reads a folder in big pieces; owns its memory, borrows the descriptor. */
struct fs_dirents {
	int fd;
	size_t at, have, cap;
	uint8_t *p;
};
struct fs_dirent {
	const char *name; /* borrowed until the next call */
	uint8_t type;     /* DT_* */
};
int fs_dirents_new(struct fs_dirents **ret, int fd, size_t cap);
void fs_dirents_free(struct fs_dirents *d);
/* 1 an entry; 0 end; negative errno. Includes . and .. */
int fs_dirents_next(struct fs_dirents *d, struct fs_dirent *ret);
/* Begins again. */
int fs_dirents_rewind(struct fs_dirents *d);
bool fs_is_dot(const char *name);
/* The line of `ls -l`. */
void fs_longname(struct svc_fs *fs, const char *name, const struct stat *st, char *out, size_t n);
void fs_names_free(struct fs_names *names);
const char *fs_user_name(struct svc_fs *fs, uint32_t uid);
const char *fs_group_name(struct svc_fs *fs, uint32_t gid);
/* type byte of our replies: st is lstat's; link says whether it is one, target stat's or NULL */
uint8_t fs_entry_type(const struct stat *st, const struct stat *target);

/* ------------------------------------------------ handlers */

void fs_op_open(struct fs_req *q);
void fs_op_close(struct fs_req *q);
void fs_op_read(struct fs_req *q);
void fs_op_write(struct fs_req *q);
void fs_op_lstat(struct fs_req *q);
void fs_op_fstat(struct fs_req *q);
void fs_op_setstat(struct fs_req *q);
void fs_op_fsetstat(struct fs_req *q);
void fs_op_opendir(struct fs_req *q);
void fs_op_readdir(struct fs_req *q);
void fs_op_remove(struct fs_req *q);
void fs_op_mkdir(struct fs_req *q);
void fs_op_rmdir(struct fs_req *q);
void fs_op_realpath(struct fs_req *q);
void fs_op_stat(struct fs_req *q);
void fs_op_rename(struct fs_req *q);
void fs_op_readlink(struct fs_req *q);
void fs_op_symlink(struct fs_req *q);
/* the handle of the request's next field, or NULL after having answered */
struct fs_handle *fs_handle_arg(struct fs_req *q, bool want_dir, int e);
void fs_handles_close(struct svc_fs *fs);

void fs_ext_posix_rename(struct fs_req *q);
void fs_ext_statvfs(struct fs_req *q);
void fs_ext_fstatvfs(struct fs_req *q);
void fs_ext_hardlink(struct fs_req *q);
void fs_ext_fsync(struct fs_req *q);
void fs_ext_lsetstat(struct fs_req *q);
void fs_ext_limits(struct fs_req *q);
void fs_ext_expand_path(struct fs_req *q);
void fs_ext_copy_data(struct fs_req *q);
void fs_ext_home_directory(struct fs_req *q);
void fs_ext_users_groups(struct fs_req *q);
/* applies attributes to a path (svc_fs_attr.c) */
int fs_setstat(const struct fs_at *at, const struct sftp_attrs *a, bool confined);
int fs_fsetstat(int fd, const struct sftp_attrs *a);

void fs_ext_list(struct fs_req *q);
void fs_ext_stat(struct fs_req *q);
void fs_ext_read_file(struct fs_req *q);
void fs_ext_digest(struct fs_req *q);
void fs_ext_save(struct fs_req *q);
void fs_saves_free(struct svc_fs *fs);
void fs_ext_remove_tree(struct fs_req *q);
void fs_ext_copy_tree(struct fs_req *q);
void fs_ext_mkdirs(struct fs_req *q);
void fs_ext_tree(struct fs_req *q);
void fs_ext_glob(struct fs_req *q);

/* ------------------------------------------------ svc_fs_copy.c: what saving and copying share */

/* Everything of `from` from its start into `to` at its start. */
int fs_copy_fd(int from, int to);
/* ".NAME.XXXXXXXX.towline" as one component beside NAME, short enough for any file system. */
void fs_temp_name(char *out, size_t n, const char *name);
/* Removes a whole tree below dirfd; `where` gets the entry that refused. */
int fs_remove_tree(int dirfd, const char *name, char *where, size_t n);
/* rename that never replaces; EEXIST otherwise. */
int fs_rename_new(int from_dir, const char *from, int to_dir, const char *to);
/* Writes all of it; 0 or errno. */
int fs_write_all(int fd, const void *p, size_t n);
void fs_etag_of(uint8_t out[SFTP_ETAG], const struct stat *st);

#endif
