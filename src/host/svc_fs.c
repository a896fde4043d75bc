/* svc_fs.c - the engine of the file service: one table of requests, one place where a failure
 * becomes a reply. Owns struct svc_fs. Invariant: every request that has an id gets exactly one
 * last reply. */
#include "host/svc_fs.h"

#include <stdio.h>
#include <stdlib.h>

#include "host/svc_fs_priv.h"

/* replies wait for each other until there is so much, or no more input */
#define PUSH_AT 65536

struct fs_op {
	uint8_t type;
	const char *name; /* of an extension; NULL for the others */
	const char *version;
	void (*run)(struct fs_req *q);
	bool writes;
};

/* OPEN and copy-data decide for themselves whether they write */
static const struct fs_op ops[] = {
    {SFTP_OPEN, NULL, NULL, fs_op_open, false},
    {SFTP_CLOSE, NULL, NULL, fs_op_close, false},
    {SFTP_READ, NULL, NULL, fs_op_read, false},
    {SFTP_WRITE, NULL, NULL, fs_op_write, true},
    {SFTP_LSTAT, NULL, NULL, fs_op_lstat, false},
    {SFTP_FSTAT, NULL, NULL, fs_op_fstat, false},
    {SFTP_SETSTAT, NULL, NULL, fs_op_setstat, true},
    {SFTP_FSETSTAT, NULL, NULL, fs_op_fsetstat, true},
    {SFTP_OPENDIR, NULL, NULL, fs_op_opendir, false},
    {SFTP_READDIR, NULL, NULL, fs_op_readdir, false},
    {SFTP_REMOVE, NULL, NULL, fs_op_remove, true},
    {SFTP_MKDIR, NULL, NULL, fs_op_mkdir, true},
    {SFTP_RMDIR, NULL, NULL, fs_op_rmdir, true},
    {SFTP_REALPATH, NULL, NULL, fs_op_realpath, false},
    {SFTP_STAT, NULL, NULL, fs_op_stat, false},
    {SFTP_RENAME, NULL, NULL, fs_op_rename, true},
    {SFTP_READLINK, NULL, NULL, fs_op_readlink, false},
    {SFTP_SYMLINK, NULL, NULL, fs_op_symlink, true},
    {SFTP_EXTENDED, "posix-rename@openssh.com", "1", fs_ext_posix_rename, true},
    {SFTP_EXTENDED, "statvfs@openssh.com", "2", fs_ext_statvfs, false},
    {SFTP_EXTENDED, "fstatvfs@openssh.com", "2", fs_ext_fstatvfs, false},
    {SFTP_EXTENDED, "hardlink@openssh.com", "1", fs_ext_hardlink, true},
    {SFTP_EXTENDED, "fsync@openssh.com", "1", fs_ext_fsync, false},
    {SFTP_EXTENDED, "lsetstat@openssh.com", "1", fs_ext_lsetstat, true},
    {SFTP_EXTENDED, "limits@openssh.com", "1", fs_ext_limits, false},
    {SFTP_EXTENDED, "expand-path@openssh.com", "1", fs_ext_expand_path, false},
    {SFTP_EXTENDED, "copy-data", "1", fs_ext_copy_data, true},
    {SFTP_EXTENDED, "home-directory", "1", fs_ext_home_directory, false},
    {SFTP_EXTENDED, "users-groups-by-id@openssh.com", "1", fs_ext_users_groups, false},
    {SFTP_EXTENDED, SFTP_EXT_LIST, "1", fs_ext_list, false},
    {SFTP_EXTENDED, SFTP_EXT_STAT, "1", fs_ext_stat, false},
    {SFTP_EXTENDED, SFTP_EXT_READ_FILE, "1", fs_ext_read_file, false},
    {SFTP_EXTENDED, SFTP_EXT_SAVE, "2", fs_ext_save, true},
    {SFTP_EXTENDED, SFTP_EXT_REMOVE_TREE, "1", fs_ext_remove_tree, true},
    {SFTP_EXTENDED, SFTP_EXT_COPY_TREE, "1", fs_ext_copy_tree, true},
    {SFTP_EXTENDED, SFTP_EXT_DIGEST, "1", fs_ext_digest, false},
    {SFTP_EXTENDED, SFTP_EXT_MKDIRS, "1", fs_ext_mkdirs, true},
    {SFTP_EXTENDED, SFTP_EXT_TREE, "1", fs_ext_tree, false},
    {SFTP_EXTENDED, SFTP_EXT_GLOB, "1", fs_ext_glob, false},
};

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* SFTP's few codes; everything else is FAILURE and told apart by the word of the message. */
static const struct {
	int e;
	uint32_t code;
} codes[] = {
    {0, SFTP_OK},
    {ENOENT, SFTP_NO_SUCH_FILE},
    {ENOTDIR, SFTP_NO_SUCH_FILE},
    {EBADF, SFTP_NO_SUCH_FILE},
    {ELOOP, SFTP_NO_SUCH_FILE},
    {EPERM, SFTP_PERMISSION_DENIED},
    {EACCES, SFTP_PERMISSION_DENIED},
    {EFAULT, SFTP_PERMISSION_DENIED},
    {EROFS, SFTP_FAILURE},
    {ENAMETOOLONG, SFTP_BAD_MESSAGE},
    {EINVAL, SFTP_BAD_MESSAGE},
    {ENOSYS, SFTP_OP_UNSUPPORTED},
};

static uint32_t code_of(int e)
{
	for (size_t i = 0; i < COUNT(codes); i++)
		if (codes[i].e == e)
			return codes[i].code;
	return SFTP_FAILURE;
}

static void put_status(struct fs_req *q, uint32_t code, const char *message)
{
	struct svc_fs *fs = q->fs;
	int rc;

	if (!fs_room(fs, SFTP_PACKET_EXTRA + FS_PATH))
		return;
	rc = sftp_put_status(fs->out, q->id, code, message);
	if (rc)
		fs->broken = rc;
}

void fs_done(struct fs_req *q)
{
	put_status(q, SFTP_OK, "Success");
}

void fs_eof(struct fs_req *q)
{
	put_status(q, SFTP_EOF, "End of file");
}

void fs_bad(struct fs_req *q)
{
	put_status(q, SFTP_BAD_MESSAGE,
		   "protocol: the request lacks fields or has a path that is "
		   "too long or contains a zero byte");
}

void fs_fail(struct fs_req *q, int e, const char *fmt, ...)
{
	char what[FS_PATH], text[FS_PATH + 128];
	va_list ap;

	if (e == 0) {
		fs_done(q);
		return;
	}
	va_start(ap, fmt);
	vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	snprintf(text, sizeof(text), "%s: %s: %s", err_row(err_from_errno(e))->name, what,
		 strerror(e));
	put_status(q, code_of(e), text);
}

void fs_refuse(struct fs_req *q, int tl_code, const char *fmt, ...)
{
	char what[FS_PATH], text[FS_PATH + 128];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	snprintf(text, sizeof(text), "%s: %s", err_row(tl_code)->name, what);
	put_status(q, tl_code == TL_E_ACCES ? SFTP_PERMISSION_DENIED : SFTP_FAILURE, text);
}

struct sftp_attrs fs_attrs(const struct stat *st)
{
	return (struct sftp_attrs){
	    .flags = SFTP_ATTR_SIZE | SFTP_ATTR_UIDGID | SFTP_ATTR_MODE | SFTP_ATTR_TIMES,
	    .size = (uint64_t)st->st_size,
	    .uid = st->st_uid,
	    .gid = st->st_gid,
	    .mode = st->st_mode,
	    .atime = (uint32_t)st->st_atime,
	    .mtime = (uint32_t)st->st_mtime,
	};
}

void fs_reply_attrs(struct fs_req *q, const struct stat *st)
{
	struct sftp_attrs a = fs_attrs(st);
	struct sftp_mark m;
	int rc;

	if (!fs_room(q->fs, SFTP_PACKET_EXTRA))
		return;
	m = sftp_begin(q->fs->out, SFTP_ATTRS, q->id);
	rc = sftp_end(q->fs->out, m, sftp_put_attrs(q->fs->out, &a));
	if (rc)
		q->fs->broken = rc;
}

void fs_reply_name(struct fs_req *q, const char *name)
{
	struct buf *out = q->fs->out;
	struct sftp_mark m;
	size_t n = strlen(name);
	int rc;

	if (!fs_room(q->fs, 2 * n + SFTP_PACKET_EXTRA))
		return;
	m = sftp_begin(out, SFTP_NAME, q->id);
	rc = buf_put_u32(out, 1);
	if (!rc)
		rc = buf_put_string(out, name, n);
	if (!rc)
		rc = buf_put_string(out, name, n);
	if (!rc)
		rc = buf_put_u32(out, 0);
	rc = sftp_end(out, m, rc);
	if (rc)
		q->fs->broken = rc;
}

bool fs_room(struct svc_fs *fs, size_t n)
{
	if (fs->broken)
		return false;
	if (buf_room(fs->out) >= n)
		return true;
	if (fs->flush)
		fs->broken = fs->flush(fs->ctx, fs->out);
	if (!fs->broken && buf_room(fs->out) < n)
		fs->broken = TL_E_LIMIT;
	return !fs->broken;
}

void fs_push(struct svc_fs *fs)
{
	if (!fs->broken && fs->flush && fs->out->len >= PUSH_AT)
		fs->broken = fs->flush(fs->ctx, fs->out);
}

static int put_version(struct svc_fs *fs)
{
	struct buf *out = fs->out;
	size_t at = out->len;
	int rc = sftp_put_hello(out, SFTP_VERSION_REPLY, SFTP_VERSION);

	for (size_t i = 0; i < COUNT(ops) && !rc; i++) {
		if (!ops[i].name)
			continue;
		rc = buf_put_string(out, ops[i].name, strlen(ops[i].name));
		if (!rc)
			rc = buf_put_string(out, ops[i].version, strlen(ops[i].version));
	}
	if (!rc)
		set_u32(out->p + out->off + at, (uint32_t)(out->len - at - SFTP_LENGTH));
	return rc;
}

static bool is_op(const struct fs_op *op, uint8_t type, struct tl_bytes name)
{
	if (op->type != type)
		return false;
	return !op->name || (strlen(op->name) == name.n && !memcmp(op->name, name.p, name.n));
}

static void run(struct fs_req *q, uint8_t type)
{
	struct tl_bytes name = {NULL, 0};

	if (type == SFTP_EXTENDED)
		name = sftp_get_string(&q->in);
	if (q->in.bad) {
		fs_bad(q);
		return;
	}
	for (size_t i = 0; i < COUNT(ops); i++) {
		if (!is_op(&ops[i], type, name))
			continue;
		if (ops[i].writes && q->fs->read_only)
			fs_refuse(q, TL_E_ROFS, "this file service only reads");
		else
			ops[i].run(q);
		return;
	}
	if (name.n)
		fs_fail(q, ENOSYS, "there is no extension %.*s", (int)(name.n < 80 ? name.n : 80),
			(const char *)name.p);
	else
		fs_fail(q, ENOSYS, "there is no request of type %d", type);
}

int svc_fs_packet(struct svc_fs *fs, struct tl_bytes packet, struct buf *out, svc_fs_flush *flush,
		  void *ctx)
{
	struct fs_req q = {.fs = fs, .in = sftp_reader_of(packet)};
	uint8_t type = sftp_get_u8(&q.in);

	fs->out = out;
	fs->flush = flush;
	fs->ctx = ctx;
	if (fs->broken)
		return fs->broken;
	if (type == SFTP_INIT) {
		sftp_get_u32(&q.in);
		if (q.in.bad)
			return TL_E_PROTO;
		fs->greeted = true;
		if (fs_room(fs, 4096))
			fs->broken = put_version(fs);
		return fs->broken;
	}
	q.id = sftp_get_u32(&q.in);
	if (!fs->greeted || q.in.bad)
		return TL_E_PROTO;
	run(&q, type);
	return fs->broken;
}

int svc_fs_new(struct svc_fs **ret, const char *root, bool read_only, struct tl_err *err)
{
	struct svc_fs *fs = calloc(1, sizeof(*fs));

	if (!fs)
		return err_set(err, TL_E_NOMEM, "cannot serve files: out of memory");
	fs->root = -1;
	fs->read_only = read_only;
	for (size_t i = 0; i < TL_LIMIT_SFTP_HANDLES; i++)
		fs->handles[i].fd = -1;
	if (root) {
		fs->root = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (fs->root < 0) {
			int e = errno;
			free(fs);
			return err_sys(err, e, "cannot serve the folder %s", root);
		}
	}
	*ret = fs;
	return 0;
}

void svc_fs_free(struct svc_fs *fs)
{
	if (!fs)
		return;
	fs_handles_close(fs);
	fs_saves_free(fs);
	fs_names_free(fs->names);
	if (fs->root >= 0)
		close(fs->root);
	free(fs);
}
