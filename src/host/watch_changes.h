/* watch_changes.h - changes collected until they are reported, one per path, coalesced like VS Code
 * does. Owns the paths. Bounded: beyond its maximum the table forgets everything and says
 * overflow. */
#ifndef TL_HOST_WATCH_CHANGES_H
#define TL_HOST_WATCH_CHANGES_H

#include "base/bytes.h"

#include <stdbool.h>

/* The numbers of watch/changed. */
enum change_kind { CHANGE_NONE, CHANGE_UPDATED, CHANGE_ADDED, CHANGE_DELETED };

#define CHANGES_MAX      32768
#define CHANGES_TEXT_MAX (4u << 20)

struct change {
	uint32_t next; /* of the same bucket, index + 1 */
	uint32_t text; /* where the path starts */
	uint32_t hash;
	uint8_t kind; /* CHANGE_NONE: added and deleted again */
};

/* Zero-initialised is empty. */
struct changes {
	struct change *v;
	size_t n, cap;
	uint32_t *bucket; /* index + 1; power of two */
	size_t buckets;
	char *text; /* the paths, each with its NUL */
	size_t text_n, text_cap;
	bool overflow; /* something was lost: everything must be looked at again */
};

void changes_add(struct changes *c, enum change_kind kind, const char *path);
/* Everything that could be known here is stale. */
void changes_overflow(struct changes *c);
/* Nothing to report? (Pairs that cancelled out do not count; overflow does.) */
bool changes_empty(const struct changes *c);
/* The i-th change in order of arrival, CHANGE_NONE where nothing is left of it: cancelled out, or a
 * deletion below a deleted folder. */
enum change_kind changes_at(const struct changes *c, size_t i, const char **ret_path);
/* Forgets everything and gives memory back. */
void changes_clear(struct changes *c);

#endif
