/* cmd_forwards.h - what the commands about forwards share: asking the daemon for them, and showing
 * one. */
#ifndef TL_CMD_CMD_FORWARDS_H
#define TL_CMD_CMD_FORWARDS_H

#include "cmd/cmd_util.h"

/* "localhost:8080", "[::1]:8080" or a path: where a program here goes (of a remote one: where its
 * connections end). */
const char *forwards_local(yyjson_val *f, char *out, size_t n);
/* The same for the host's end: "db:5432", "SOCKS 5", "the internet". */
const char *forwards_target(yyjson_val *f, char *out, size_t n);
/* One line for people: "localhost:8080 -> db:5432 on HOST". */
void forwards_print(const struct cmd_globals *g, yyjson_val *f);
/* forward/list of one host, without connecting to it; starts the daemon, which knows those of last
 * time. *ret_c and ret belong to the caller. 0 or TL_E_*. */
int forwards_of(const char *host, struct api_client **ret_c, struct jsonrpc_msg *ret,
		struct tl_err *err);
/* Reaches the host and calls forward/add with o (consumed) for it; prints the answer. Exit status.
 */
int forwards_add(const struct cmd_globals *g, struct api_client *c, const char *host,
		 yyjson_mut_doc *doc);
/* A table cell: text of a program or a host without control characters, padded to width. */
void forwards_cell(const char *s, int width);

#endif
