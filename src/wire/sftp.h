/* sftp.h - the packets of SFTP version 3 (draft-ietf-secsh-filexfer-02) and of our extensions
 * (docs/protocol.md 4): memory in, memory out.
 * Owns nothing: a reader borrows the packet, a writer appends to the caller's buf. Invariant: a
 * reader that ever asked for more than there was is `bad` and gives zeros from then on, so a
 * caller checks once, after its last field. */
#ifndef TL_WIRE_SFTP_H
#define TL_WIRE_SFTP_H

#include <stdbool.h>

#include "base/buf.h"

#define SFTP_VERSION      3
#define SFTP_ETAG         24
#define SFTP_LENGTH       4    /* the length word before every packet */
#define SFTP_PACKET_EXTRA 1024 /* head of a packet around its data, generously */

enum sftp_type {
	SFTP_INIT = 1,
	SFTP_VERSION_REPLY = 2,
	SFTP_OPEN = 3,
	SFTP_CLOSE = 4,
	SFTP_READ = 5,
	SFTP_WRITE = 6,
	SFTP_LSTAT = 7,
	SFTP_FSTAT = 8,
	SFTP_SETSTAT = 9,
	SFTP_FSETSTAT = 10,
	SFTP_OPENDIR = 11,
	SFTP_READDIR = 12,
	SFTP_REMOVE = 13,
	SFTP_MKDIR = 14,
	SFTP_RMDIR = 15,
	SFTP_REALPATH = 16,
	SFTP_STAT = 17,
	SFTP_RENAME = 18,
	SFTP_READLINK = 19,
	SFTP_SYMLINK = 20,
	SFTP_STATUS = 101,
	SFTP_HANDLE = 102,
	SFTP_DATA = 103,
	SFTP_NAME = 104,
	SFTP_ATTRS = 105,
	SFTP_EXTENDED = 200,
	SFTP_EXTENDED_REPLY = 201,
};

enum sftp_code {
	SFTP_OK,
	SFTP_EOF,
	SFTP_NO_SUCH_FILE,
	SFTP_PERMISSION_DENIED,
	SFTP_FAILURE,
	SFTP_BAD_MESSAGE,
	SFTP_NO_CONNECTION,
	SFTP_CONNECTION_LOST,
	SFTP_OP_UNSUPPORTED,
};

/* pflags of OPEN */
enum sftp_open {
	SFTP_OPEN_READ = 1,
	SFTP_OPEN_WRITE = 2,
	SFTP_OPEN_APPEND = 4,
	SFTP_OPEN_CREAT = 8,
	SFTP_OPEN_TRUNC = 16,
	SFTP_OPEN_EXCL = 32,
};

enum sftp_attr {
	SFTP_ATTR_SIZE = 1,
	SFTP_ATTR_UIDGID = 2,
	SFTP_ATTR_MODE = 4,
	SFTP_ATTR_TIMES = 8,
};
#define SFTP_ATTR_EXTENDED 0x80000000u

/* Our extensions. */
#define SFTP_EXT_LIST        "list@towline"
#define SFTP_EXT_STAT        "stat@towline"
#define SFTP_EXT_READ_FILE   "read-file@towline"
#define SFTP_EXT_SAVE        "save@towline"
#define SFTP_EXT_REMOVE_TREE "remove-tree@towline"
#define SFTP_EXT_COPY_TREE   "copy-tree@towline"
#define SFTP_EXT_DIGEST      "digest@towline"
#define SFTP_EXT_MKDIRS      "touch-mkdirs@towline"
#define SFTP_EXT_TREE        "tree@towline"
#define SFTP_EXT_GLOB        "glob@towline"

enum sftp_list_flag { SFTP_LIST_FOLLOW = 1, SFTP_LIST_NAMES = 2 };
enum sftp_save_flag {
	SFTP_SAVE_CREATE = 1,
	SFTP_SAVE_OVERWRITE = 2,
	SFTP_SAVE_COMPARE = 4,
	SFTP_SAVE_FSYNC = 8,
	SFTP_SAVE_ATOMIC = 16,
	SFTP_SAVE_HOLE = 32,   /* data is a u64: so many zero bytes */
	SFTP_SAVE_KEEP = 64,   /* what has arrived outlives a failure */
	SFTP_SAVE_SHARE = 128, /* others write the content into our descriptor */
};
enum sftp_tree_flag { SFTP_TREE_FOLLOW = 1, SFTP_TREE_DIGEST = 2, SFTP_TREE_DENSE = 4 };
/* records of tree@towline */
enum sftp_tree_kind {
	SFTP_TREE_FOLDER = 1,
	SFTP_TREE_FILE = 2,
	SFTP_TREE_LINK = 3,
	SFTP_TREE_DATA = 4,
	SFTP_TREE_HOLE = 5,
	SFTP_TREE_END = 6,
	SFTP_TREE_UP = 7,
	SFTP_TREE_PROBLEM = 8,
	SFTP_TREE_LATER = 9,
};
enum sftp_copy_flag { SFTP_COPY_OVERWRITE = 1 };
enum sftp_access { SFTP_CAN_READ = 1, SFTP_CAN_WRITE = 2, SFTP_CAN_EXECUTE = 4 };
/* type byte of list@towline and stat@towline */
enum sftp_entry {
	SFTP_ENTRY_FILE = 1,
	SFTP_ENTRY_FOLDER = 2,
	SFTP_ENTRY_LINK_FILE = 3,
	SFTP_ENTRY_LINK_FOLDER = 4,
	SFTP_ENTRY_LINK_BROKEN = 5,
	SFTP_ENTRY_OTHER = 6,
};

/* Members count only where flags says so. */
struct sftp_attrs {
	uint32_t flags;
	uint64_t size;
	uint32_t uid, gid, mode, atime, mtime;
};

struct sftp_reader {
	const uint8_t *p;
	size_t n;
	bool bad;
};

/* Looks at the front of `in` for a whole packet: 1, the packet without its length word (type byte
 * first) and the bytes to consume; 0 incomplete; TL_E_PROTO for an empty packet; TL_E_LIMIT for
 * one above SFTP_PACKET. */
int sftp_next(struct tl_bytes in, struct tl_bytes *ret_packet, size_t *ret_consume);

static inline struct sftp_reader sftp_reader_of(struct tl_bytes b)
{
	return (struct sftp_reader){b.p, b.n, false};
}
uint8_t sftp_get_u8(struct sftp_reader *r);
uint32_t sftp_get_u32(struct sftp_reader *r);
uint64_t sftp_get_u64(struct sftp_reader *r);
/* n bytes, borrowed; p is never NULL. */
struct tl_bytes sftp_get_raw(struct sftp_reader *r, size_t n);
struct tl_bytes sftp_get_string(struct sftp_reader *r);
void sftp_get_attrs(struct sftp_reader *r, struct sftp_attrs *ret);
/* A string without NUL bytes into out, terminated. false: too long or with a NUL; r turns bad. */
bool sftp_get_cstr(struct sftp_reader *r, char *out, size_t n);

/* A packet is begun, filled with buf_put_*, and ended. The place is relative to the content, so
 * nothing may be consumed in between. */
struct sftp_mark {
	size_t at;
	int rc; /* first failure */
};
struct sftp_mark sftp_begin(struct buf *out, uint8_t type, uint32_t id);
/* Writes the length word. 0, or the failure (the half packet is taken back). */
int sftp_end(struct buf *out, struct sftp_mark m, int rc);
int sftp_put_attrs(struct buf *out, const struct sftp_attrs *a);
/* STATUS with a message; INIT and VERSION have no id and are written with sftp_put_hello. */
int sftp_put_status(struct buf *out, uint32_t id, uint32_t code, const char *message);
int sftp_put_hello(struct buf *out, uint8_t type, uint32_t version);
/* etag of a file: mtime in ns, size, inode. */
void sftp_etag(uint8_t out[SFTP_ETAG], uint64_t mtime_ns, uint64_t size, uint64_t inode);

#endif
