/* bridge.c - see bridge.h.
 * Owns nothing but the connection to the agent. The marker is printed only after the agent has the
 * descriptors (or agreed to splice), and the agent touches them only after "go": so the first bytes
 * after the marker are the link's, whoever speaks first. */
#include "host/bridge.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/str.h"
#include "host/agent_start.h"
#include "host/rundir.h"
#include "host/splice.h"
#include "loop/io.h"
#include "loop/sock.h"
#include "wire/link_frame.h"

#define NONCE_MAX 128

static const char usage[] =
    "usage: towline-host bridge NONCE [--run-dir DIR] [--idle-ms N] [--splice]\n"
    "Joins standard input and output to the agent of this user, which is started where none runs.\n"
    "Prints NUL \"towline \" NONCE LF, then speaks the link protocol (towline-host(8)).\n";

struct bridge {
	const char *nonce;
	struct agent_where where;
	bool splice;
};

static int fail(const struct tl_err *err)
{
	char text[TL_ERR_TEXT + 256];

	fprintf(stderr, "towline-host bridge: %s\n", err_message(err, text, sizeof(text)));
	return err_row(err->code)->exit_status;
}

static int bad_use(const char *what, const char *arg)
{
	fprintf(stderr, "towline-host bridge: %s%s%s\n%s", what, arg ? " " : "", arg ? arg : "",
		usage);
	return TL_E_INVAL;
}

/* 0, TL_E_INVAL (said on stderr), or 1 when --help was answered. */
static int parse(int argc, char **argv, struct bridge *b)
{
	for (int i = 1; i < argc; i++) {
		const char *a = argv[i], **value = NULL;
		if (strcmp(a, "--help") == 0) {
			fputs(usage, stdout);
			return 1;
		}
		if (strcmp(a, "--splice") == 0) {
			b->splice = true;
			continue;
		}
		value = strcmp(a, "--run-dir") == 0   ? &b->where.run_dir
			: strcmp(a, "--idle-ms") == 0 ? &b->where.idle_ms
						      : NULL;
		if (value) {
			if (++i >= argc)
				return bad_use("a value is missing after", a);
			*value = argv[i];
		} else if (a[0] == '-') {
			return bad_use("unknown option", a);
		} else if (b->nonce) {
			return bad_use("one NONCE is enough, got also", a);
		} else {
			b->nonce = a;
		}
	}
	if (!b->nonce)
		return bad_use("the NONCE is missing", NULL);
	if (strlen(b->nonce) > NONCE_MAX || !b->nonce[0])
		return bad_use("the NONCE must have 1 to 128 characters", NULL);
	for (const char *c = b->nonce; *c; c++)
		if (*c <= ' ' || *c > '~')
			return bad_use("the NONCE must be printable and without spaces:", b->nonce);
	return 0;
}

/* Gives stdin and stdout to the agent. 0; TL_E_UNSUPPORTED: the kernel or the agent cannot take
 * them, copying will do; or another error. */
static int pass(int fd, struct tl_err *err)
{
	const int stdio[2] = {0, 1};
	char line[HANDSHAKE_LINE];
	struct tl_err said;
	int rc = send_fds(fd, stdio, 2);

	if (rc && rc != TL_E_CLOSED)
		return TL_E_UNSUPPORTED;
	if (rc == 0)
		rc = handshake_read_line(fd, line, sizeof(line));
	if (rc)
		return err_set(err, TL_E_AGENT, "cannot join the agent: %s", err_row(rc)->what);
	if (strcmp(line, "accepted") == 0)
		return 0;
	if (handshake_get_word(line, "error", &said) == 0 && said.code) {
		if (said.code == TL_E_UNSUPPORTED)
			return said.code;
		return err_set(err, said.code, "%.500s", said.text);
	}
	return err_set(err, TL_E_PROTO, "cannot join the agent: it said \"%.100s\"", line);
}

static int mark(const struct bridge *b, int fd, struct tl_err *err)
{
	struct buf m;
	int rc;

	buf_init(&m, NONCE_MAX + 32);
	rc = buf_put_u8(&m, 0);
	if (rc == 0)
		rc = buf_printf(&m, "towline %s\n", b->nonce);
	if (rc == 0)
		rc = fd_write_all(1, buf_data(&m).p, m.len, TL_LIMIT_CONNECT_MS);
	buf_fini(&m);
	if (rc)
		return err_set(err, rc, "cannot write the marker: %s", err_row(rc)->what);
	rc = fd_write_all(fd, HANDSHAKE_GO, strlen(HANDSHAKE_GO), HANDSHAKE_MS);
	if (rc)
		return err_set(err, TL_E_AGENT, "cannot join the agent: it ended");
	return 0;
}

/* Sleeps until the agent is done with our descriptors. */
static int await_end(int fd, struct tl_err *err)
{
	char line[HANDSHAKE_LINE];
	size_t have = 0;
	struct tl_err said;

	for (;;) {
		ssize_t got = read(fd, line + have, sizeof(line) - 1 - have);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			break;
		have += (size_t)got;
		if (have == sizeof(line) - 1)
			break;
	}
	line[have] = 0;
	line[strcspn(line, "\n")] = 0;
	if (handshake_get_word(line, "end", &said) != 0)
		return err_set(err, TL_E_AGENT, "the agent ended unexpectedly");
	if (said.code)
		return err_set(err, said.code, "%.500s", said.text);
	return 0;
}

static int bridge_run(struct bridge *b, struct tl_err *err)
{
	struct handshake_peer agent;
	char socket[32];
	int fd, rc;

	for (;;) {
		fd = agent_reach(&b->where, b->splice, &agent, err);
		if (fd < 0)
			return fd;
		snprintf(socket, sizeof(socket), AGENT_SOCKET, LINK_PROTO);
		rundir_keep_key_agent(b->where.run_dir, socket);
		rc = b->splice ? 0 : pass(fd, err);
		if (rc != TL_E_UNSUPPORTED)
			break;
		close(fd);
		b->splice = true;
	}
	if (rc == 0)
		rc = mark(b, fd, err);
	if (rc == 0)
		rc = b->splice ? splice_run(fd, err) : await_end(fd, err);
	close(fd);
	return rc;
}

int bridge_main(int argc, char **argv)
{
	struct sigaction ignore = {.sa_handler = SIG_IGN};
	struct bridge b = {0};
	struct tl_err err = {0};
	int rc = parse(argc, argv, &b);

	if (rc)
		return rc > 0 ? 0 : err_row(rc)->exit_status;
	sigaction(SIGPIPE, &ignore, NULL);
	rc = bridge_run(&b, &err);
	if (rc && !err.code)
		err_set(&err, rc, "cannot join the agent: %s", err_row(rc)->what);
	return rc ? fail(&err) : 0;
}
