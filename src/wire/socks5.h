/* socks5.h - the server's side of SOCKS version 5 (RFC 1928): the greeting, a CONNECT request, the
 * answers. No authentication, no BIND, no UDP. Memory in, memory out. */
#ifndef TL_WIRE_SOCKS5_H
#define TL_WIRE_SOCKS5_H

#include "base/bytes.h"
#include "base/err.h"

#define SOCKS5_GREETING_MAX (2 + 255)
#define SOCKS5_REQUEST_MAX  (4 + 1 + 255 + 2)
#define SOCKS5_HOST_MAX     256
#define SOCKS5_CHOICE_SIZE  2
#define SOCKS5_REPLY_SIZE   10

/* Where a client wants to go: a name or an address in text form. */
struct socks5_target {
	char host[SOCKS5_HOST_MAX];
	int port;
};

/* Looks for a greeting at the front of `in`. 1: *ret_used bytes are it and a login without password
 * is among the offers; 0: more bytes are needed; TL_E_PROTO: not SOCKS 5 (version 4 and HTTP are
 * named); TL_E_UNSUPPORTED: complete, but every offer wants a password. */
int socks5_greeting(struct tl_bytes in, size_t *ret_used, struct tl_err *err);
/* The same for a request. TL_E_UNSUPPORTED: a command other than CONNECT; TL_E_INVAL: an address
 * that is none (empty, with a NUL, port 0). */
int socks5_request(struct tl_bytes in, struct socks5_target *ret, size_t *ret_used,
		   struct tl_err *err);
/* The answer to a greeting; ok false: no offer is acceptable. */
void socks5_put_choice(uint8_t out[SOCKS5_CHOICE_SIZE], bool ok);
/* The answer to a request: 0 or the TL_E_* that it failed with. */
void socks5_put_reply(uint8_t out[SOCKS5_REPLY_SIZE], int code);

#endif
