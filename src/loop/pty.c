/* pty.c - pseudo terminals (see child.h). Owns nothing: both descriptors go to the caller. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "loop/child.h"

static int pty_set_size(int fd, unsigned cols, unsigned rows)
{
	struct winsize w = {.ws_col = (unsigned short)cols, .ws_row = (unsigned short)rows};
	return ioctl(fd, TIOCSWINSZ, &w) ? err_from_errno(errno) : 0;
}

int pty_open(int *ret_master, int *ret_slave, unsigned cols, unsigned rows, struct tl_err *err)
{
	char name[64];
	struct termios t;
	int slave = -1, master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (master < 0)
		return err_sys(err, errno, "open a pseudo terminal");
	if (grantpt(master) || unlockpt(master) || ptsname_r(master, name, sizeof(name)))
		goto fail;
	slave = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (slave < 0 || tcgetattr(slave, &t))
		goto fail;
	/* so that the line editor of the kernel erases characters, not bytes */
	t.c_iflag |= IUTF8;
	if (tcsetattr(slave, TCSANOW, &t) || pty_set_size(master, cols, rows))
		goto fail;
	*ret_master = master;
	*ret_slave = slave;
	return 0;
fail:;
	int code = err_sys(err, errno, "prepare a pseudo terminal");
	if (slave >= 0)
		close(slave);
	close(master);
	return code;
}

int pty_raw(int slave)
{
	struct termios t;

	if (tcgetattr(slave, &t))
		return err_from_errno(errno);
	cfmakeraw(&t);
	return tcsetattr(slave, TCSANOW, &t) ? err_from_errno(errno) : 0;
}

int pty_resize(int master, unsigned cols, unsigned rows)
{
	return pty_set_size(master, cols, rows);
}

pid_t pty_foreground(int master)
{
	/* asked on the master: answers for the slave's session, whoever asks */
	pid_t group = tcgetpgrp(master);
	return group > 0 ? group : TL_E_NOENT;
}
