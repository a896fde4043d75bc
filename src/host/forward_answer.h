/* forward_answer.h - shared by the forwarding faces: the opening line, the answer, handing over. */
#ifndef TL_HOST_FORWARD_ANSWER_H
#define TL_HOST_FORWARD_ANSWER_H

#include "wire/jsonrpc.h"

/* Reads the opening line on descriptor 0, byte by byte, because what follows it belongs to the
 * connection. Free with yyjson_doc_free. NULL and err. */
yyjson_doc *forward_request(struct tl_err *err);
/* Writes the answer line to descriptor 1: err NULL is ok, with a port when it is not 0. */
int forward_answer_put(int port, const struct tl_err *err);
/* Gives the connection to the agent, or tells why there is none (fd negative). */
void forward_hand_over(int fd, const struct tl_err *err);

#endif
