/* config_text.h - words and sections of an ssh configuration (ssh_config(5)) as far as Towline must
 * read it itself: which Host lines there are, and where. Everything else is ssh's own business.
 * Pure.
 */
#ifndef TL_DIAL_CONFIG_TEXT_H
#define TL_DIAL_CONFIG_TEXT_H

#include <stdbool.h>

#include "base/bytes.h"
#include "base/limits.h"

/* The next word of a terminated line: quotes as ssh knows them, `=` after the keyword counts as a
 * space. False at the end or at a comment. keyword: the first word is wanted. */
bool config_word(const char **at, char out[TL_LIMIT_PATH], bool keyword);

/* A section: a Host or Match line and what follows it, up to the next. Text before the first one
 * belongs to no section. Offsets into the text. */
struct config_section {
	size_t start;    /* of its first line */
	size_t head_end; /* behind the LF of its first line */
	size_t end;      /* behind its last line that says something: comments and empty lines that
			    follow belong to what comes next */
	bool match;      /* Match, not Host */
};
/* The first section at or after *at; *at moves behind it. False where there is none. */
bool config_next_section(struct tl_bytes text, size_t *at, struct config_section *ret);
/* Would this Host line (its words after `Host`) take the name? Patterns with * and ?, and `!` in
 * front of those that must not fit. */
bool config_host_fits(struct tl_bytes line, const char *name);
/* Is the name written on this Host line as it is, and how many words does the line have? */
bool config_host_names(struct tl_bytes line, const char *name, size_t *ret_words);

/* One line without its line end as a terminated text, malloc'ed. */
char *config_line(struct tl_bytes text, size_t start, size_t *ret_next);

#endif
