/* master.c - see master.h. */
#include "dial/master.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "dial/config_scan.h"
#include "loop/child.h"
#include "loop/sock.h"

#define CONTROL    "ctl"
#define SSH_SUFFIX 18 /* ssh binds under a longer name first */

bool master_control_path(const char *dir, char *out, size_t n)
{
	int len = snprintf(out, n, "%s/" CONTROL, dir);

	/* ssh expands tokens with % and reads blanks as ends of words */
	return len > 0 && (size_t)len < n && !strpbrk(out, "% \t\"\\$") &&
	       (size_t)len + SSH_SUFFIX < sizeof(((struct sockaddr_un *)0)->sun_path);
}

bool master_is_users(const char *const *options, const char *config_file)
{
	for (size_t i = 0; options && options[i]; i++)
		if (strncasecmp(options[i], "Control", 7) == 0)
			return true;
	return config_has(config_file, "ControlPath");
}

int master_argv(struct strv *ret, const char *ssh, const char *ctl, const char *const *more,
		const char *command)
{
	/* without its configuration nothing comes in between; the proxy keeps an ssh that does not
	 * find the master from making a connection of its own */
	static const char *const words[] = {"-F", "/dev/null",        "-e", "none",
					    "-o", "ControlMaster=no", "-o", "ProxyCommand=false",
					    "-o", "BatchMode=yes",    "-o", "LogLevel=ERROR"};
	int rc = strv_add(ret, ssh);

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]) && !rc; i++)
		rc = strv_add(ret, words[i]);
	rc = rc ? rc : strv_addf(ret, "-oControlPath=%s", ctl);
	for (size_t i = 0; more && more[i] && !rc; i++)
		rc = strv_add(ret, more[i]);
	rc = rc ? rc : strv_add(ret, "--");
	rc = rc ? rc : strv_add(ret, "host");
	return rc || !command ? rc : strv_add(ret, command);
}

int master_quote(struct buf *out, const char *text)
{
	int rc = buf_put_u8(out, '\'');

	for (; *text && !rc; text++)
		rc = *text == '\'' ? buf_put_str(out, "'\\''") : buf_put_u8(out, (uint8_t)*text);
	return rc ? rc : buf_put_u8(out, '\'');
}

int master_command(struct buf *out, const char *script, size_t n)
{
	static const char safe[] =
	    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 ,./_=:;+-";
	int rc = buf_put_str(out, "exec sh -c 'eval \"$(printf %b \"");

	for (size_t i = 0; i < n && !rc; i++)
		rc = script[i] && strchr(safe, script[i])
			 ? buf_put_u8(out, (uint8_t)script[i])
			 : buf_printf(out, "\\0%03o", (unsigned char)script[i]);
	rc = rc ? rc : buf_put_str(out, "\")\"'");
	return rc ? TL_E_LIMIT : 0;
}

/* ---- a server that says nothing ---- */

static void silent_readable(void *ctx)
{
	struct master_silent *s = ctx;
	uint8_t b[512];
	long n = io_read(&s->io, b, sizeof(b));

	if (n == TL_E_AGAIN)
		return;
	io_close(&s->io, NULL);
	/* a short packet of type VERSION */
	if (n >= 9 && !b[0] && !b[1] && b[4] == 2)
		s->on_sftp(s->ctx);
}

void master_silent_ask(struct master_silent *s, struct loop *l, const char *ssh, const char *ctl,
		       void (*on_sftp)(void *ctx), void *ctx)
{
	static const uint8_t hello[] = {0, 0, 0, 5, 1, 0, 0, 0, 3};
	struct child_spec spec = {.fd = {-1, -1, -1}, .ctty = -1};
	struct strv argv = {0};
	int sv[2];

	if (socket_pair(sv) != 0)
		return;
	s->on_sftp = on_sftp;
	s->ctx = ctx;
	spec.fd[0] = spec.fd[1] = sv[1];
	if (master_argv(&argv, ssh, ctl, NULL, "exec sh -c :") == 0) {
		spec.argv = argv.v;
		spawn_detached(&spec, -1, NULL);
	}
	strv_fini(&argv);
	close(sv[1]);
	if (send(sv[0], hello, sizeof(hello), MSG_NOSIGNAL) < 0 ||
	    io_open(l, &s->io, sv[0], sv[0], silent_readable, NULL, s) != 0)
		close(sv[0]);
}

void master_silent_close(struct master_silent *s)
{
	if (s->io.open)
		io_close(&s->io, NULL);
}
