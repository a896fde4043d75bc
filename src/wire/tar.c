/* tar.c - see tar.h. */
#include "wire/tar.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"

#define GNU_NAME   'L'
#define GNU_TARGET 'K'
#define PAX        'x'
#define PAX_GLOBAL 'g'

/* Offsets and lengths of a header's members. */
enum {
	AT_NAME = 0,
	N_NAME = 100,
	AT_MODE = 100,
	AT_UID = 108,
	AT_GID = 116,
	N_SMALL = 8,
	AT_SIZE = 124,
	AT_MTIME = 136,
	N_LARGE = 12,
	AT_SUM = 148,
	AT_TYPE = 156,
	AT_TARGET = 157,
	AT_MAGIC = 257,
	AT_PREFIX = 345,
	N_PREFIX = 155
};

/* ---- out ---- */

/* Octal where it fits, else GNU's form: the number itself behind a byte 0x80. */
static void put_number(uint8_t *p, size_t n, uint64_t v)
{
	char text[32];

	if (v >> (3 * (n - 1)) == 0) {
		snprintf(text, sizeof(text), "%0*llo", (int)(n - 1), (unsigned long long)v);
		memcpy(p, text, n);
		return;
	}
	for (size_t i = n; i-- > 1; v >>= 8)
		p[i] = (uint8_t)v;
	p[0] = 0x80;
}

static unsigned sum_of(const uint8_t b[TAR_BLOCK])
{
	unsigned sum = 0;

	for (size_t i = 0; i < TAR_BLOCK; i++)
		sum += i >= AT_SUM && i < AT_SUM + N_SMALL ? ' ' : b[i];
	return sum;
}

static int put_header(struct buf *out, const struct tar_entry *e, int type)
{
	uint8_t *b = buf_reserve(out, TAR_BLOCK);
	char sum[16];

	if (!b)
		return TL_E_LIMIT;
	memset(b, 0, TAR_BLOCK);
	memcpy(b + AT_NAME, e->name, strlen(e->name) < N_NAME ? strlen(e->name) : N_NAME);
	memcpy(b + AT_TARGET, e->target, strlen(e->target) < N_NAME ? strlen(e->target) : N_NAME);
	put_number(b + AT_MODE, N_SMALL, e->mode & 07777);
	put_number(b + AT_UID, N_SMALL, 0);
	put_number(b + AT_GID, N_SMALL, 0);
	put_number(b + AT_SIZE, N_LARGE, e->size);
	/* before 1970 nothing is written that all would read */
	put_number(b + AT_MTIME, N_LARGE, e->mtime_s > 0 ? (uint64_t)e->mtime_s : 0);
	b[AT_TYPE] = (uint8_t)type;
	/* GNU's own magic: its long names belong to it */
	memcpy(b + AT_MAGIC, "ustar  ", 8);
	snprintf(sum, sizeof(sum), "%06o", sum_of(b));
	memcpy(b + AT_SUM, sum, 7);
	b[AT_SUM + 7] = ' ';
	buf_commit(out, TAR_BLOCK);
	return 0;
}

static int put_zeros(struct buf *out, size_t n)
{
	uint8_t *p = n ? buf_reserve(out, n) : NULL;

	if (n && !p)
		return TL_E_LIMIT;
	if (n)
		memset(p, 0, n);
	buf_commit(out, n);
	return 0;
}

static int put_long(struct buf *out, int type, const char *text)
{
	struct tar_entry e = {.name = "././@LongLink", .target = "", .size = strlen(text) + 1};
	int rc = put_header(out, &e, type);

	rc = rc ? rc : buf_put(out, text, strlen(text) + 1);
	return rc ? rc : put_zeros(out, tar_padding(strlen(text) + 1));
}

size_t tar_padding(uint64_t n)
{
	return (size_t)((TAR_BLOCK - n % TAR_BLOCK) % TAR_BLOCK);
}

int tar_put(struct buf *out, const struct tar_entry *e)
{
	int rc = 0;

	if (strlen(e->name) > TAR_NAME_MAX || strlen(e->target) > TAR_NAME_MAX)
		return TL_E_LIMIT;
	if (strlen(e->target) > N_NAME)
		rc = put_long(out, GNU_TARGET, e->target);
	if (!rc && strlen(e->name) > N_NAME)
		rc = put_long(out, GNU_NAME, e->name);
	return rc ? rc : put_header(out, e, e->type);
}

int tar_put_end(struct buf *out)
{
	return put_zeros(out, (size_t)2 * TAR_BLOCK);
}

/* ---- in ---- */

void tar_reader_init(struct tar_reader *r)
{
	memset(r, 0, sizeof(*r));
}

static bool number(const uint8_t *p, size_t n, uint64_t *ret)
{
	uint64_t v = 0;
	size_t i = 0;

	if (p[0] & 0x80) {
		/* negative ones are times before 1970: nothing we keep */
		v = p[0] & 0x40 ? 0 : p[0] & 0x3f;
		for (i = 1; i < n && !(p[0] & 0x40); i++) {
			if (v >> 55)
				return false;
			v = v << 8 | p[i];
		}
		*ret = v;
		return true;
	}
	while (i < n && p[i] == ' ')
		i++;
	for (; i < n && p[i] >= '0' && p[i] <= '7'; i++)
		v = v << 3 | (uint64_t)(p[i] - '0');
	*ret = v;
	return i == n || p[i] == 0 || p[i] == ' ';
}

static void keep(char *to, const char *from, size_t n)
{
	memcpy(to, from, n);
	to[n] = 0;
}

/* One record of pax: "LENGTH KEY=VALUE\n". False: it makes no sense. */
static bool take_pax(struct tar_reader *r, const char *p, size_t n)
{
	const char *eq = memchr(p, '=', n);
	char word[32];
	size_t key, left;
	long long v;

	if (!eq)
		return false;
	key = (size_t)(eq - p);
	left = n - key - 1;
	if (key == 4 && memcmp(p, "path", 4) == 0 && left <= TAR_NAME_MAX) {
		keep(r->name, eq + 1, left);
		r->has_name = true;
	} else if (key == 8 && memcmp(p, "linkpath", 8) == 0 && left <= TAR_NAME_MAX) {
		keep(r->target, eq + 1, left);
		r->has_target = true;
	} else if ((key == 4 && memcmp(p, "size", 4) == 0) ||
		   (key == 5 && memcmp(p, "mtime", 5) == 0)) {
		size_t digits = strspn(eq + 1, "0123456789");
		if (digits > left || digits >= sizeof(word))
			return false;
		keep(word, eq + 1, digits);
		/* a time before 1970 has no digits here */
		if (!str_to_int(digits ? word : "0", 0, INT64_MAX, &v))
			return false;
		if (key == 4) {
			r->size = (uint64_t)v;
			r->has_size = true;
		} else {
			r->mtime_s = v;
			r->has_mtime = true;
		}
	}
	return true;
}

/* A meta entry is complete. */
static bool take_meta(struct tar_reader *r)
{
	size_t at = 0;

	r->text[r->text_n] = 0;
	if (r->meta == GNU_NAME || r->meta == GNU_TARGET) {
		if (strlen(r->text) > TAR_NAME_MAX)
			return false;
		keep(r->meta == GNU_NAME ? r->name : r->target, r->text, strlen(r->text));
		*(r->meta == GNU_NAME ? &r->has_name : &r->has_target) = true;
		return true;
	}
	while (r->meta == PAX && at < r->text_n) {
		char *space;
		unsigned long n = strtoul(r->text + at, &space, 10);
		if (*space != ' ' || n > r->text_n - at ||
		    n < (size_t)(space + 2 - (r->text + at)) || r->text[at + n - 1] != '\n')
			return false;
		if (!take_pax(r, space + 1, n - (size_t)(space + 2 - (r->text + at))))
			return false;
		at += n;
	}
	return true;
}

static enum tar_type type_of(int c)
{
	switch (c) {
	case 0:
	case '0':
	case '7':
		return TAR_FILE;
	case '1':
		return TAR_HARD_LINK;
	case '2':
		return TAR_LINK;
	case '5':
		return TAR_FOLDER;
	default:
		return TAR_OTHER;
	}
}

/* A field that fills its place has no NUL. */
static size_t field(const uint8_t *p, size_t n)
{
	const uint8_t *nul = memchr(p, 0, n);

	return nul ? (size_t)(nul - p) : n;
}

static void short_name(struct tar_reader *r)
{
	const uint8_t *b = r->block;
	size_t n = 0;

	if (memcmp(b + AT_MAGIC, "ustar\0", 6) == 0 && b[AT_PREFIX]) {
		n = field(b + AT_PREFIX, N_PREFIX);
		memcpy(r->name, b + AT_PREFIX, n);
		r->name[n++] = '/';
	}
	keep(r->name + n, (const char *)b + AT_NAME, field(b + AT_NAME, N_NAME));
}

static enum tar_word header(struct tar_reader *r, struct tar_entry *e)
{
	static const uint8_t zeros[TAR_BLOCK];
	uint64_t sum, mode, size, mtime;
	const uint8_t *b = r->block;

	if (memcmp(b, zeros, TAR_BLOCK) == 0) {
		r->over = true;
		return TAR_OVER;
	}
	if (!number(b + AT_SUM, N_SMALL, &sum) || sum != sum_of(b) ||
	    !number(b + AT_MODE, N_SMALL, &mode) || !number(b + AT_SIZE, N_LARGE, &size) ||
	    !number(b + AT_MTIME, N_LARGE, &mtime))
		return TAR_BAD;
	r->meta = b[AT_TYPE] == GNU_NAME || b[AT_TYPE] == GNU_TARGET || b[AT_TYPE] == PAX ||
			  b[AT_TYPE] == PAX_GLOBAL
		      ? b[AT_TYPE]
		      : 0;
	r->open = true;
	if (r->meta) {
		if (size >= sizeof(r->text))
			return TAR_BAD;
		r->left = size;
		r->pad = tar_padding(size);
		r->text_n = 0;
		return TAR_MORE;
	}
	if (!r->has_name)
		short_name(r);
	if (!r->has_target)
		keep(r->target, (const char *)b + AT_TARGET, field(b + AT_TARGET, N_NAME));
	*e = (struct tar_entry){.type = type_of(b[AT_TYPE]),
				.name = r->name,
				.target = r->target,
				.mode = (uint32_t)mode & 07777,
				.size = r->has_size ? r->size : size,
				.mtime_s = r->has_mtime ? r->mtime_s : (int64_t)mtime};
	/* only these are followed by content, whatever the header says */
	if (e->type != TAR_FILE && e->type != TAR_OTHER)
		e->size = 0;
	r->left = e->size;
	r->pad = tar_padding(e->size);
	r->has_name = r->has_target = r->has_size = r->has_mtime = false;
	return TAR_ENTRY;
}

static size_t take(struct tl_bytes *in, uint64_t most)
{
	size_t n = in->n < most ? in->n : (size_t)most;

	in->p += n;
	in->n -= n;
	return n;
}

enum tar_word tar_next(struct tar_reader *r, struct tl_bytes *in, struct tar_entry *ret_entry,
		       struct tl_bytes *ret_data)
{
	while (!r->over) {
		const uint8_t *p = in->p;
		enum tar_word w;
		size_t n;
		if (r->open && r->left) {
			n = take(in, r->left);
			r->left -= n;
			if (!n)
				return TAR_MORE;
			if (!r->meta) {
				*ret_data = bytes_of(p, n);
				return TAR_DATA;
			}
			memcpy(r->text + r->text_n, p, n);
			r->text_n += n;
			continue;
		}
		if (r->open) {
			r->open = false;
			if (!r->meta)
				return TAR_DONE;
			if (!take_meta(r))
				return TAR_BAD;
			continue;
		}
		if (r->pad) {
			n = take(in, r->pad);
			r->pad -= n;
			if (!n)
				return TAR_MORE;
			continue;
		}
		n = take(in, TAR_BLOCK - r->have);
		memcpy(r->block + r->have, p, n);
		r->have += n;
		if (r->have < TAR_BLOCK)
			return TAR_MORE;
		r->have = 0;
		w = header(r, ret_entry);
		if (w != TAR_MORE)
			return w;
	}
	in->n = 0;
	return TAR_OVER;
}
