/* code_print.h - what an execution shows: on the terminal, or kept for --json. */
#ifndef TL_CMD_CODE_PRINT_H
#define TL_CMD_CODE_PRINT_H

#include "cmd/code_view.h"

/* One message of the execution on iopub. */
void code_print(struct code_view *v, const char *type, yyjson_val *content);
/* Its reply. */
void code_print_reply(struct code_view *v, yyjson_val *content);
/* Output is missing. */
void code_print_gap(struct code_view *v, uint64_t bytes);

#endif
