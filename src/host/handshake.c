/* handshake.c - see handshake.h. */
#include "host/handshake.h"

#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "base/version.h"

int handshake_put_bridge(struct buf *out, const struct handshake_peer *p)
{
	return buf_printf(out, "towline-bridge %d %d %s %s\n", p->proto_min, p->proto_max,
			  p->splice ? "splice" : "pass", p->version);
}

int handshake_put_agent(struct buf *out, const struct handshake_peer *p)
{
	return buf_printf(out, "towline-agent %d %d %s %ld\n", p->proto_min, p->proto_max,
			  p->version, p->pid);
}

int handshake_put_word(struct buf *out, const char *word, int code, const char *text)
{
	char clean[TL_ERR_TEXT];

	str_copy(clean, sizeof(clean), text);
	for (char *c = clean; *c; c++)
		if ((unsigned char)*c < 0x20)
			*c = ' ';
	return buf_printf(out, "%s %d %s\n", word, -code, clean);
}

/* The next word of *line, or NULL; advances. */
static bool take_word(const char **line, char *out, size_t n)
{
	size_t len = strcspn(*line, " ");

	if (len == 0 || len >= n)
		return false;
	memcpy(out, *line, len);
	out[len] = 0;
	*line += len;
	if (**line == ' ')
		(*line)++;
	return true;
}

static bool take_number(const char **line, long long lo, long long hi, long long *ret)
{
	char word[24];

	return take_word(line, word, sizeof(word)) && str_to_int(word, lo, hi, ret);
}

static bool take_range(const char **line, struct handshake_peer *ret)
{
	long long min, max;

	if (!take_number(line, 1, 65535, &min) || !take_number(line, min, 65535, &max))
		return false;
	ret->proto_min = (int)min;
	ret->proto_max = (int)max;
	return true;
}

int handshake_get_bridge(const char *line, struct handshake_peer *ret)
{
	char word[32];

	memset(ret, 0, sizeof(*ret));
	if (!take_word(&line, word, sizeof(word)) || strcmp(word, "towline-bridge") != 0 ||
	    !take_range(&line, ret) || !take_word(&line, word, sizeof(word)))
		return TL_E_PROTO;
	ret->splice = strcmp(word, "splice") == 0;
	if (!ret->splice && strcmp(word, "pass") != 0)
		return TL_E_PROTO;
	return take_word(&line, ret->version, sizeof(ret->version)) ? 0 : TL_E_PROTO;
}

int handshake_get_agent(const char *line, struct handshake_peer *ret)
{
	char word[32];
	long long pid;

	memset(ret, 0, sizeof(*ret));
	if (!take_word(&line, word, sizeof(word)) || strcmp(word, "towline-agent") != 0 ||
	    !take_range(&line, ret) || !take_word(&line, ret->version, sizeof(ret->version)) ||
	    !take_number(&line, 1, INT32_MAX, &pid))
		return TL_E_PROTO;
	ret->pid = (long)pid;
	return 0;
}

int handshake_get_word(const char *line, const char *word, struct tl_err *ret)
{
	char got[16];
	long long number;

	if (!take_word(&line, got, sizeof(got)) || strcmp(got, word) != 0 ||
	    !take_number(&line, 0, 10000, &number))
		return TL_E_PROTO;
	memset(ret, 0, sizeof(*ret));
	if (number != 0)
		err_set(ret, -(int)number, "%s", line);
	return 0;
}

bool handshake_overlap(const struct handshake_peer *a, const struct handshake_peer *b)
{
	return a->proto_min <= b->proto_max && b->proto_min <= a->proto_max;
}
