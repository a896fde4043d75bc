/* askpass.c - towline-askpass, the helper ssh asks its questions through. It knows nothing: it
 * passes the text to the daemon's socket (TOWLINE_ASKPASS_SOCKET), waits, and prints the answer.
 * Protocol: src/dial/prompt.h. Secrets are wiped after use. */
#include "cmd/askpass.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/limits.h"
#include "loop/io.h"
#include "loop/sock.h"

#define ANSWER_MAX 4200
#define SEND_MS    10000

static int explain(const char *why)
{
	fprintf(stderr,
		"towline-askpass: %s. It is run by ssh for the Towline daemon; there is nothing to "
		"start by hand.\n",
		why);
	return 1;
}

/* All the daemon sends, until it closes. */
static long receive(int fd, char *out, size_t n)
{
	size_t have = 0;
	ssize_t got;

	while (have < n && (got = read(fd, out + have, n - have)) > 0)
		have += (size_t)got;
	return (long)have;
}

int askpass_main(int argc, char **argv)
{
	const char *path = getenv("TOWLINE_ASKPASS_SOCKET"), *hint = getenv("SSH_ASKPASS_PROMPT");
	const char *text = argc > 1 ? argv[1] : "";
	char head[64], answer[ANSWER_MAX];
	size_t n = strnlen(text, TL_LIMIT_PROMPT_TEXT);
	struct tl_err err = {0};
	bool confirm = hint && strcmp(hint, "confirm") == 0;
	long got;
	int fd, rc = 1;

	if (!path)
		return explain("TOWLINE_ASKPASS_SOCKET is not set");
	fd = connect_unix(path, &err);
	if (fd < 0)
		return explain(err.text);
	snprintf(head, sizeof(head), "%.10s %zu\n", hint && *hint ? hint : "-", n);
	if (fd_write_all(fd, head, strlen(head), SEND_MS) || fd_write_all(fd, text, n, SEND_MS)) {
		close(fd);
		return explain("the daemon went away");
	}
	got = receive(fd, answer, sizeof(answer) - 1);
	close(fd);
	if (got > 0 && answer[0] == 'A') {
		answer[got] = '\n';
		rc = fd_write_all(1, answer + 1, (size_t)got, SEND_MS) ? 1 : 0;
		/* a yes-or-no question is answered by the exit status */
		if (confirm && strncasecmp(answer + 1, "yes", 3) != 0)
			rc = 1;
	}
	explicit_bzero(answer, sizeof(answer));
	return rc;
}
