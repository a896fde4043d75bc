/* watch_glob.c - see watch_glob.h. Braces are written out when a pattern is added, so matching
 * needs no recursion: one place to come back to for the last `**` and one for the last `*`. */
#include "host/watch_glob.h"

#include <stdlib.h>

#include "base/err.h"

/* ---- adding ---- */

/* The brace that closes the one at p, and the commas of its level; NULL: none. */
static const char *brace_end(const char *p)
{
	int depth = 0;
	for (; *p; p++) {
		if (*p == '{')
			depth++;
		else if (*p == '}' && --depth == 0)
			return p;
	}
	return NULL;
}

/* End of the alternative at p: a comma or the closing brace of its level. */
static const char *alternative_end(const char *p)
{
	for (int depth = 0; *p; p++) {
		if (*p == '{')
			depth++;
		else if (*p == '}' && depth-- == 0)
			return p;
		else if (*p == ',' && depth == 0)
			return p;
	}
	return p;
}

/* Writes out the first brace and goes on with each result; depth is bounded by the number of
 * braces, which the text's length bounds. */
static int glob_expand(struct glob_set *set, const char *text)
{
	const char *open = strchr(text, '{');
	if (!open) {
		if (set->patterns.n >= GLOB_EXPANSIONS_MAX)
			return TL_E_LIMIT;
		return strv_add(&set->patterns, text);
	}
	const char *close = brace_end(open);
	if (!close)
		return TL_E_INVAL;
	for (const char *at = open + 1;; at++) {
		const char *end = alternative_end(at);
		char *one =
		    str_fmt("%.*s%.*s%s", (int)(open - text), text, (int)(end - at), at, close + 1);
		int rc = one ? glob_expand(set, one) : TL_E_NOMEM;
		free(one);
		if (rc || end == close)
			return rc;
		at = end;
	}
}

int glob_add(struct glob_set *set, const char *root, const char *pattern)
{
	size_t n = strlen(root);
	if (strlen(pattern) > GLOB_TEXT_MAX)
		return TL_E_LIMIT;
	while (n && root[n - 1] == '/')
		n--;
	if (pattern[0] == '/') {
		if (strncmp(pattern, root, n) || pattern[n] != '/')
			return 0; /* of another folder */
		pattern += n + 1;
	}
	while (str_starts(pattern, "./"))
		pattern += 2;
	if (!*pattern)
		return 0;
	size_t before = set->patterns.n;
	int rc = glob_expand(set, pattern);
	/* all or nothing */
	while (rc && set->patterns.n > before) {
		free(set->patterns.v[--set->patterns.n]);
		set->patterns.v[set->patterns.n] = NULL;
	}
	return rc;
}

void glob_fini(struct glob_set *set)
{
	strv_fini(&set->patterns);
}

/* ---- matching ---- */

static size_t segment_len(const char *p)
{
	const char *slash = strchr(p, '/');
	return slash ? (size_t)(slash - p) : strlen(p);
}

/* Length of the character at s: `?` means one for the eye, not one byte. */
static size_t char_len(const char *s, size_t n)
{
	size_t len = 1;
	while (len < n && ((unsigned char)s[len] & 0xc0) == 0x80)
		len++;
	return len;
}

/* Is c in the class at p (behind the bracket)? Its length goes to ret_len, 0: no class at all. */
static bool class_has(const char *p, size_t n, unsigned char c, size_t *ret_len)
{
	size_t i = 0;
	bool no = n && (p[0] == '!' || p[0] == '^'), hit = false;
	i += no;
	for (size_t first = i; i < n && (p[i] != ']' || i == first); i++) {
		unsigned char low = (unsigned char)p[i], high = low;
		if (i + 2 < n && p[i + 1] == '-' && p[i + 2] != ']') {
			high = (unsigned char)p[i + 2];
			i += 2;
		}
		hit |= c >= low && c <= high;
	}
	*ret_len = i < n ? i + 1 : 0;
	return hit != no;
}

/* How much of the pattern the next character uses up, 0: it does not fit. */
static size_t step_len(const char *p, size_t pn, unsigned char c, bool *ret_whole)
{
	size_t len;
	*ret_whole = false;
	if (!pn)
		return 0;
	if (*p == '?') {
		*ret_whole = true;
		return 1;
	}
	if (*p == '[') {
		bool hit = class_has(p + 1, pn - 1, c, &len);
		if (len)
			return hit ? len + 1 : 0;
	}
	return (unsigned char)*p == c ? 1 : 0;
}

/* One segment against one name. */
static bool segment_match(const char *p, size_t pn, const char *s, size_t sn)
{
	size_t pi = 0, si = 0, star = SIZE_MAX, star_si = 0;
	while (si < sn) {
		bool whole;
		if (pi < pn && p[pi] == '*') {
			star = ++pi;
			star_si = si;
			continue;
		}
		size_t used = step_len(p + pi, pn - pi, (unsigned char)s[si], &whole);
		if (used) {
			pi += used;
			si += whole ? char_len(s + si, sn - si) : 1;
		} else if (star != SIZE_MAX) {
			pi = star;
			si = ++star_si;
		} else {
			return false;
		}
	}
	while (pi < pn && p[pi] == '*')
		pi++;
	return pi == pn;
}

static bool is_globstar(const char *p, size_t n)
{
	return n == 2 && p[0] == '*' && p[1] == '*';
}

static bool pattern_match(const char *p, const char *s)
{
	const char *star = NULL, *star_s = NULL;
	/* p and s always stand at the start of a segment; NULL: behind the last one */
	while (s) {
		size_t pn = p ? segment_len(p) : 0, sn = segment_len(s);
		const char *p_next = p && p[pn] ? p + pn + 1 : NULL,
			   *s_next = s[sn] ? s + sn + 1 : NULL;
		if (p && is_globstar(p, pn)) {
			if (!p_next)
				return true;
			star = p = p_next;
			star_s = s;
		} else if (p && segment_match(p, pn, s, sn)) {
			p = p_next;
			s = s_next;
		} else if (star) {
			sn = segment_len(star_s);
			star_s = star_s[sn] ? star_s + sn + 1 : NULL;
			p = star;
			s = star_s;
		} else {
			return false;
		}
	}
	while (p && is_globstar(p, segment_len(p)))
		p = p[2] ? p + 3 : NULL;
	return !p;
}

bool glob_match(const struct glob_set *set, const char *path)
{
	for (size_t i = 0; i < set->patterns.n; i++)
		if (pattern_match(set->patterns.v[i], path))
			return true;
	return false;
}
