/* str.h - small string helpers. Returned strings are owned by the caller (free). */
#ifndef TL_BASE_STR_H
#define TL_BASE_STR_H

#include <stdbool.h>
#include <stddef.h>

#include "base/bytes.h"

/* malloc'ed printf, or NULL. */
char *str_fmt(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
char *str_dup(const char *s); /* NULL in, NULL out */
char *str_ndup(const void *p, size_t n);
bool str_starts(const char *s, const char *prefix);
bool str_ends(const char *s, const char *suffix);
/* Copies with truncation, always terminated; true when it fitted. */
bool str_copy(char *dst, size_t n, const char *src);
/* 2n+1 bytes of lower-case hex into out. */
void str_hex(const uint8_t *p, size_t n, char *out);
/* Strict: whole string, decimal, within [lo, hi]. */
bool str_to_int(const char *s, long long lo, long long hi, long long *ret);
/* Compares in time independent of the content (tokens). */
bool str_equal_secret(const char *a, const char *b);
/* Valid UTF-8 (RFC 3629)? */
bool utf8_valid(struct tl_bytes b);

/* NULL-terminated growing vector of owned strings (argv, envp). Zero-initialised is empty. */
struct strv {
	char **v;
	size_t n, cap;
};
int strv_add(struct strv *s, const char *str);
int strv_addf(struct strv *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void strv_fini(struct strv *s);

#endif
