/* io.h - a duplex byte stream over one or two descriptors (socket, pipes, tty, pty), without a
 * thread and without a hidden queue. Owns the descriptors. Reading is pulled by level: on_readable
 * says "there may be bytes", the owner calls io_read until TL_E_AGAIN. Writing takes what the
 * kernel takes; the rest stays with the owner, who asks for on_writable. So every byte rests in
 * exactly one place, the owner's ring, log or buf, and back-pressure needs no code of its own. */
#ifndef TL_LOOP_IO_H
#define TL_LOOP_IO_H

#include <sys/uio.h>

#include "base/buf.h"
#include "loop/loop.h"

struct io {
	struct loop *loop;
	int rfd, wfd; /* may be equal; -1: closed */
	uv_poll_t rpoll, wpoll;
	bool want_read, want_write, same, open;
	bool plain;  /* wfd is no socket: send would only fail */
	int closing; /* handles still closing */
	void (*on_readable)(void *ctx);
	void (*on_writable)(void *ctx);
	void (*on_closed)(void *ctx);
	void (*on_hangup)(void *ctx); /* see io_watch_hangup */
	void *ctx;
};

/* Takes rfd and wfd (equal for sockets and ptys), makes them non-blocking and close-on-exec. Starts
 * with reading wanted, writing not. Regular files are refused (TL_E_INVAL): use blocking calls in a
 * child. On failure the descriptors stay the caller's. */
int io_open(struct loop *l, struct io *io, int rfd, int wfd, void (*on_readable)(void *),
	    void (*on_writable)(void *), void *ctx);
/* > 0 bytes read; 0 end of stream; TL_E_AGAIN nothing now; other negative: broken (EIO of a pty
 * whose program ended counts as end: 0). */
long io_read(struct io *io, void *p, size_t n);
/* Bytes taken (0 .. n; 0 means the kernel is full: ask io_want_write(true)); negative: broken
 * (EPIPE and the like: TL_E_CLOSED). Never raises SIGPIPE. */
long io_write(struct io *io, const void *p, size_t n);
long io_writev(struct io *io, const struct iovec *v, int n);
/* Level switches. on_writable fires once per io_want_write(true). */
void io_want_read(struct io *io, bool on);
void io_want_write(struct io *io, bool on);
/* on_hangup once, when both directions of a socket were ended by the peer, even while nothing else
 * is wanted. Bytes may still wait to be read. NULL: no more. */
void io_watch_hangup(struct io *io, void (*on_hangup)(void *ctx));
/* Half-close of the write side: shutdown on sockets, close on pipes. */
void io_finish(struct io *io);
void io_close(struct io *io, void (*on_closed)(void *ctx));
/* Blocking write of everything, for a last word before exit (bounded by deadline_ms). */
int fd_write_all(int fd, const void *p, size_t n, int deadline_ms);
/* Blocking read of exactly n bytes. 0, TL_E_CLOSED at end, TL_E_IO. */
int fd_read_all(int fd, void *p, size_t n);
/* Reads once, at most `most` bytes and what b has room for, into b. false: the end, or an error. */
bool fd_read_buf(int fd, struct buf *b, size_t most);
/* Writes what b holds as long as fd takes it, and then gives the memory back. false: an error. */
bool fd_write_buf(int fd, struct buf *b);
int fd_set_nonblock(int fd, bool on);
int fd_set_cloexec(int fd, bool on);

#endif
