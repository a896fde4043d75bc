/* config_edit.h - puts one Host block into the text of an ssh configuration, or takes one out;
 * every other byte stays as it is. The text is pure; the two file functions are blocking and small.
 */
#ifndef TL_DIAL_CONFIG_EDIT_H
#define TL_DIAL_CONFIG_EDIT_H

#include "base/buf.h"
#include "base/err.h"
#include "dial/ssh_command.h"

#define CONFIG_FILE_MAX 1048576

/* Is it a name that can stand after Host and be given to ssh? TL_E_INVAL. */
int config_name_check(const char *name, struct tl_err *err);
/* The block of a parsed command line, lines ended by LF. 0, TL_E_INVAL (a value that no file can
 * hold), TL_E_LIMIT, TL_E_NOMEM. */
int config_block(struct buf *out, const char *name, const struct ssh_command *c,
		 struct tl_err *err);
/* The text with the block in it: before the first section whose pattern takes the name as well
 * (ssh counts the first value) or that is a Match, with the comment above it, else at the end. The
 * text's own line ends are used. ret_line: where the block begins, from 1. */
int config_insert(struct tl_bytes text, const char *name, struct tl_bytes block, struct buf *out,
		  int *ret_line);
/* The text without what is there for the name: the first section of that name only, or the word
 * where other names stand on the line as well (ret_shared). ret_block: what was taken out.
 * TL_E_NOENT where there is none. */
int config_remove(struct tl_bytes text, const char *name, struct buf *out, struct buf *ret_block,
		  bool *ret_shared);

/* Reads a file (missing: empty text), changes it, and puts it back in one step: mode, owner and a
 * symbolic link in its place stay. edit: 0, or an error that leaves the file alone. A file that
 * changes meanwhile is read again. */
int config_file_edit(const char *path,
		     int (*edit)(void *ctx, struct tl_bytes text, struct buf *out,
				 struct tl_err *err),
		     void *ctx, struct tl_err *err);

#endif
