/* config_text.c - see config_text.h. */
#include "dial/config_text.h"

#include <ctype.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/str.h"

bool config_word(const char **at, char out[TL_LIMIT_PATH], bool keyword)
{
	const char *p = *at;
	size_t n = 0;
	bool quoted = false, any = false;

	while (isspace((unsigned char)*p) || (*p == '=' && !keyword))
		p++;
	if (*p == 0 || *p == '#')
		return false;
	for (; *p; p++) {
		if (*p == '"') {
			quoted = !quoted;
			any = true;
			continue;
		}
		if (!quoted && (isspace((unsigned char)*p) || (keyword && *p == '=')))
			break;
		if (n < TL_LIMIT_PATH - 1)
			out[n++] = *p;
	}
	out[n] = 0;
	*at = p;
	return n > 0 || any;
}

char *config_line(struct tl_bytes text, size_t start, size_t *ret_next)
{
	const uint8_t *p = text.p + start, *lf = memchr(p, '\n', text.n - start);
	size_t n = lf ? (size_t)(lf - p) : text.n - start;

	*ret_next = start + n + (lf ? 1 : 0);
	return str_ndup(p, n);
}

enum line_kind { LINE_EMPTY, LINE_HOST, LINE_MATCH, LINE_OTHER };

/* Without copying: called for every line of a file, several times. */
static enum line_kind kind_of(struct tl_bytes text, size_t start, size_t end)
{
	const char *p = (const char *)text.p + start, *stop = (const char *)text.p + end;
	size_t n = 0;

	while (p < stop && isspace((unsigned char)*p))
		p++;
	if (p == stop || *p == '#')
		return LINE_EMPTY;
	while (p + n < stop && !isspace((unsigned char)p[n]) && p[n] != '=' && p[n] != '"')
		n++;
	if (n == 4 && strncasecmp(p, "Host", n) == 0)
		return LINE_HOST;
	return n == 5 && strncasecmp(p, "Match", n) == 0 ? LINE_MATCH : LINE_OTHER;
}

static size_t line_end(struct tl_bytes text, size_t start)
{
	const uint8_t *lf = memchr(text.p + start, '\n', text.n - start);

	return lf ? (size_t)(lf - text.p) + 1 : text.n;
}

bool config_next_section(struct tl_bytes text, size_t *at, struct config_section *ret)
{
	bool found = false;

	while (*at < text.n) {
		size_t end = line_end(text, *at);
		enum line_kind kind = kind_of(text, *at, end);
		bool head = kind == LINE_HOST || kind == LINE_MATCH;
		if (head && found)
			return true;
		if (head)
			*ret = (struct config_section){
			    .start = *at, .head_end = end, .end = end, .match = kind == LINE_MATCH};
		else if (kind == LINE_OTHER)
			ret->end = end;
		found = found || head;
		*at = end;
	}
	return found;
}

/* Calls of both: the words behind `Host`. */
static bool host_words(struct tl_bytes line, const char *name, size_t *ret_words, bool pattern)
{
	char *text = str_ndup(line.p, line.n), *word = malloc(TL_LIMIT_PATH);
	const char *at = text;
	bool yes = false, no = false;

	*ret_words = 0;
	if (text && word && config_word(&at, word, true)) {
		while (config_word(&at, word, false)) {
			bool not = pattern && word[0] == '!';
			bool fits =
			    pattern ? fnmatch(word + not, name, 0) == 0 : strcmp(word, name) == 0;
			yes = yes || (fits && !not );
			no = no || (fits && not );
			++*ret_words;
		}
	}
	free(text);
	free(word);
	return yes && !no;
}

bool config_host_fits(struct tl_bytes line, const char *name)
{
	size_t words;

	return host_words(line, name, &words, true);
}

bool config_host_names(struct tl_bytes line, const char *name, size_t *ret_words)
{
	return host_words(line, name, ret_words, false);
}
