/* session_facts.c - what ssh's own lines (LogLevel DEBUG1) tell about the connection. Texts are
 * those of OpenSSH 7 to 10; a line that is not known changes nothing. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/session_own.h"
#include "api/session_run.h"

#define WORD 512

static const char *const chatter[] = {"OpenSSH_", "Authenticated to ", "Authenticated using ",
				      "  #", "Transferred: sent ", "Bytes per second: ",
				      /* our own: the order of ciphers */
				      "AES-GCM is asked for first"};

bool facts_is_chatter(const char *line)
{
	for (size_t i = 0; i < sizeof(chatter) / sizeof(chatter[0]); i++)
		if (str_starts(line, chatter[i]))
			return true;
	return false;
}

static void put(char **slot, const char *text)
{
	char *copy = str_dup(text);

	if (!copy)
		return;
	free(*slot);
	*slot = copy;
}

/* `Server accepts key: PATH TYPE SHA256:… [explicit] [agent]`; the path may have spaces. */
static void take_key(struct session_facts *f, const char *rest)
{
	char text[WORD], *end, *space;

	str_copy(text, sizeof(text), rest);
	end = strstr(text, " SHA256:");
	if (!end)
		return;
	*end = 0;
	space = strrchr(text, ' ');
	if (space)
		*space = 0;
	put(&f->identity, text);
}

static void take_line(struct session_facts *f, const char *line)
{
	char a[WORD], b[WORD];
	const char *at;
	int port;

	if (sscanf(line, "debug1: Connecting to %511s [%511[^]]] port %d", a, b, &port) == 3) {
		put(&f->address, b);
		f->port = port;
	} else if (sscanf(line, "debug1: Server host key: %511s %511s", a, b) == 2) {
		put(&f->host_key_type, a);
		put(&f->sha256, b);
	} else if (sscanf(line, "debug1: Server host certificate: %511s %511[^, ]", a, b) == 2) {
		put(&f->host_key_type, a);
		put(&f->sha256, b);
	} else if (sscanf(line, "debug1: kex: algorithm: %511s", a) == 1) {
		put(&f->kex, a);
	} else if (sscanf(line, "debug1: kex: client->server cipher: %511s", a) == 1) {
		put(&f->cipher, a);
	} else if ((at = strstr(line, "remote software version ")) &&
		   str_starts(line, "debug1: ")) {
		put(&f->server_version, at + strlen("remote software version "));
	} else if (str_starts(line, "debug1: Server accepts key: ")) {
		take_key(f, line + strlen("debug1: Server accepts key: "));
	} else if (str_starts(line, "Authenticated to ") && (at = strstr(line, " using \"")) &&
		   sscanf(at, " using \"%511[^\"]", a) == 1) {
		put(&f->auth_method, a);
	}
}

void facts_line(struct tl_session *s, const char *line)
{
	if (!str_starts(line, "debug1: ") && !facts_is_chatter(line))
		return;
	pthread_mutex_lock(&s->lock);
	take_line(&s->facts, line);
	pthread_mutex_unlock(&s->lock);
}
