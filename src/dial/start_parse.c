/* start_parse.c - see start_parse.h. Invariant: in begins with something that may still become a
 * marker, or is empty. */
#include "dial/start_parse.h"

#include <stdio.h>

#include "base/err.h"
#include "base/limits.h"
#include "base/str.h"

#define MARK     "\0towline"
#define MARK_LEN (sizeof(MARK) - 1)

static const struct {
	const char *name;
	enum start_word word;
} words[] = {
    {"", START_UP},        {"-here", START_HERE}, {"-more", START_SEND}, {"-wait", START_WAIT},
    {"-need", START_NEED}, {"-fail", START_FAIL}, {"-note", START_NOTE}, {"-done", START_DONE},
};

void start_parse_init(struct start_parse *s, const char *nonce)
{
	memset(s, 0, sizeof(*s));
	str_copy(s->nonce, sizeof(s->nonce), nonce);
	buf_init(&s->in, START_LINE + START_FEED);
	/* a little more than the limit: the piece that breaks it is stored before it is counted */
	buf_init(&s->noise, TL_LIMIT_NOISE + START_LINE + START_FEED);
}

void start_parse_fini(struct start_parse *s)
{
	buf_fini(&s->in);
	buf_fini(&s->noise);
}

int start_feed(struct start_parse *s, const void *p, size_t n)
{
	return buf_put(&s->in, p, n);
}

static void skip(struct start_parse *s, size_t n)
{
	/* where memory is short the quotation suffers, not the connection */
	buf_put(&s->noise, buf_data(&s->in).p, n);
	buf_consume(&s->in, n);
}

/* Bytes before the first possible marker. */
static size_t noise_len(struct tl_bytes b)
{
	for (size_t i = 0; i < b.n; i++) {
		size_t have = b.n - i < MARK_LEN ? b.n - i : MARK_LEN;
		if (b.p[i] == 0 && memcmp(b.p + i, MARK, have) == 0)
			return i;
	}
	return b.n;
}

/* line: between MARK and LF. */
static enum start_word parse_line(struct start_parse *s, struct tl_bytes line)
{
	char head[64];

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		int n = snprintf(head, sizeof(head), "%s %s", words[i].name, s->nonce);
		if (line.n < (size_t)n || memcmp(line.p, head, (size_t)n) != 0)
			continue;
		if (line.n > (size_t)n && line.p[n] != ' ')
			continue;
		line.p += n;
		line.n -= (size_t)n;
		if (line.n) {
			line.p++;
			line.n--;
		}
		memcpy(s->text, line.p, line.n);
		s->text[line.n] = 0;
		return words[i].word;
	}
	return START_MORE;
}

enum start_word start_next(struct start_parse *s)
{
	for (;;) {
		struct tl_bytes b;
		const uint8_t *lf;
		enum start_word w;

		skip(s, noise_len(buf_data(&s->in)));
		if (s->noise.len > TL_LIMIT_NOISE)
			return START_NOISY;
		b = buf_data(&s->in);
		if (b.n < MARK_LEN)
			return START_MORE;
		lf = memchr(b.p + MARK_LEN, '\n', b.n - MARK_LEN);
		if (!lf && b.n < START_LINE)
			return START_MORE;
		w = lf && lf - b.p < START_LINE
			? parse_line(s, bytes_of(b.p + MARK_LEN, (size_t)(lf - b.p) - MARK_LEN))
			: START_MORE;
		if (w == START_MORE) {
			/* looks like one, is none: its first byte is noise like the rest */
			skip(s, 1);
			continue;
		}
		buf_consume(&s->in, (size_t)(lf - b.p) + 1);
		return w;
	}
}

struct tl_bytes start_rest(const struct start_parse *s)
{
	return buf_data(&s->in);
}
