/* tar.h - the tar format: headers out, a stream of them in. ustar with GNU's long names and large
 * numbers, which every tar reads; pax records and hard links are understood, too. Bytes in, words
 * out; nothing here is believed to lead anywhere: names are the sender's. */
#ifndef TL_WIRE_TAR_H
#define TL_WIRE_TAR_H

#include "base/buf.h"
#include "base/err.h"

#define TAR_BLOCK    512
#define TAR_NAME_MAX 4096 /* longest name or target */

enum tar_type {
	TAR_FILE = '0',
	TAR_HARD_LINK = '1', /* another name of `target`, which came before */
	TAR_LINK = '2',
	TAR_FOLDER = '5',
	TAR_OTHER = '?' /* devices, FIFOs: nothing we copy */
};

struct tar_entry {
	enum tar_type type;
	const char *name, *target; /* borrowed */
	uint32_t mode;
	uint64_t size; /* bytes of content that follow */
	int64_t mtime_s;
};

/* Appends the header blocks of an entry. 0, TL_E_LIMIT (a name too long, or the buffer full). */
int tar_put(struct buf *out, const struct tar_entry *e);
/* Bytes of zeros behind n bytes of content. */
size_t tar_padding(uint64_t n);
/* The two blocks of zeros at the end. */
int tar_put_end(struct buf *out);

struct tar_reader {
	uint8_t block[TAR_BLOCK];
	size_t have;
	uint64_t left, pad; /* of the entry under way */
	int meta; /* what the content is: 0 of the entry, else a type of ours to be kept */
	bool open, over;
	char text[2 * TAR_NAME_MAX + 1024]; /* of a meta entry */
	size_t text_n;
	bool has_name, has_target, has_size;
	char name[TAR_NAME_MAX + 1], target[TAR_NAME_MAX + 1];
	uint64_t size;
	int64_t mtime_s;
	bool has_mtime;
};

enum tar_word {
	TAR_MORE,  /* all of `in` is used */
	TAR_ENTRY, /* *ret_entry, borrowed from the reader until the next call */
	TAR_DATA,  /* *ret_data: content, borrowed from `in` */
	TAR_DONE,  /* the content of the entry is complete (also of one without) */
	TAR_OVER,  /* the archive's end; what follows is ignored */
	TAR_BAD    /* no archive */
};

void tar_reader_init(struct tar_reader *r);
/* Takes from the front of *in. */
enum tar_word tar_next(struct tar_reader *r, struct tl_bytes *in, struct tar_entry *ret_entry,
		       struct tl_bytes *ret_data);

#endif
