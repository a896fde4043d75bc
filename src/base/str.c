/* str.c - see str.h. */
#include "base/str.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"

static char *str_vfmt(const char *fmt, va_list ap)
{
	va_list again;
	va_copy(again, ap);
	int n = vsnprintf(NULL, 0, fmt, again);
	va_end(again);
	if (n < 0)
		return NULL;
	char *s = malloc((size_t)n + 1);
	if (s)
		vsnprintf(s, (size_t)n + 1, fmt, ap);
	return s;
}

char *str_fmt(const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	char *s = str_vfmt(fmt, ap);
	va_end(ap);
	return s;
}

char *str_dup(const char *s)
{
	return s ? str_ndup(s, strlen(s)) : NULL;
}

char *str_ndup(const void *p, size_t n)
{
	char *s = malloc(n + 1);
	if (!s)
		return NULL;
	if (n)
		memcpy(s, p, n);
	s[n] = 0;
	return s;
}

bool str_starts(const char *s, const char *prefix)
{
	return !strncmp(s, prefix, strlen(prefix));
}

bool str_ends(const char *s, const char *suffix)
{
	size_t n = strlen(s), m = strlen(suffix);
	return n >= m && !memcmp(s + n - m, suffix, m);
}

bool str_copy(char *dst, size_t n, const char *src)
{
	size_t len = strlen(src), take = len;
	if (!n)
		return false;
	if (take > n - 1)
		take = n - 1;
	memcpy(dst, src, take);
	dst[take] = 0;
	return take == len;
}

void str_hex(const uint8_t *p, size_t n, char *out)
{
	static const char digit[] = "0123456789abcdef";
	for (size_t i = 0; i < n; i++) {
		out[2 * i] = digit[p[i] >> 4];
		out[2 * i + 1] = digit[p[i] & 15];
	}
	out[2 * n] = 0;
}

bool str_to_int(const char *s, long long lo, long long hi, long long *ret)
{
	char *end;
	/* strtoll would skip white space and take '+': strict means neither */
	if (!(s[0] >= '0' && s[0] <= '9') && !(s[0] == '-' && s[1] >= '0' && s[1] <= '9'))
		return false;
	errno = 0;
	long long v = strtoll(s, &end, 10);
	if (errno || *end || v < lo || v > hi)
		return false;
	*ret = v;
	return true;
}

bool str_equal_secret(const char *a, const char *b)
{
	size_t n = strlen(a), m = strlen(b);
	volatile unsigned char diff = n != m;
	for (size_t i = 0; i < n; i++)
		diff |= (unsigned char)(a[i] ^ (m ? b[i % m] : 1));
	return !diff;
}

/* Length of the valid sequence at p (n >= 1 bytes left), 0 where there is none. */
static size_t utf8_sequence(const uint8_t *p, size_t n)
{
	static const struct {
		uint8_t mask, lead, length;
		uint32_t least;
	} form[] = {{0x80, 0x00, 1, 0},
		    {0xe0, 0xc0, 2, 0x80},
		    {0xf0, 0xe0, 3, 0x800},
		    {0xf8, 0xf0, 4, 0x10000}};
	for (size_t f = 0; f < sizeof(form) / sizeof(form[0]); f++) {
		if ((p[0] & form[f].mask) != form[f].lead)
			continue;
		if (form[f].length > n)
			return 0;
		uint32_t c = p[0] & (uint8_t)~form[f].mask;
		for (size_t i = 1; i < form[f].length; i++) {
			if ((p[i] & 0xc0) != 0x80)
				return 0;
			c = c << 6 | (p[i] & 0x3f);
		}
		if (c < form[f].least || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
			return 0;
		return form[f].length;
	}
	return 0;
}

bool utf8_valid(struct tl_bytes b)
{
	for (size_t at = 0; at < b.n;) {
		size_t n = utf8_sequence(b.p + at, b.n - at);
		if (!n)
			return false;
		at += n;
	}
	return true;
}

/* Takes str, also on failure. */
static int strv_take(struct strv *s, char *str)
{
	if (!str)
		return TL_E_NOMEM;
	if (s->n + 1 >= s->cap) {
		size_t cap = s->cap ? s->cap * 2 : 8;
		char **v = realloc(s->v, cap * sizeof(*v));
		if (!v) {
			free(str);
			return TL_E_NOMEM;
		}
		s->v = v;
		s->cap = cap;
	}
	s->v[s->n++] = str;
	s->v[s->n] = NULL;
	return 0;
}

int strv_add(struct strv *s, const char *str)
{
	return strv_take(s, str_dup(str));
}

int strv_addf(struct strv *s, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	char *str = str_vfmt(fmt, ap);
	va_end(ap);
	return strv_take(s, str);
}

void strv_fini(struct strv *s)
{
	for (size_t i = 0; i < s->n; i++)
		free(s->v[i]);
	free(s->v);
	*s = (struct strv){0};
}
