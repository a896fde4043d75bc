/* socks5.c - reads what a SOCKS client says. Every length comes from the client and is compared
 * with what is there before a byte is touched. */
#include "wire/socks5.h"

#include <arpa/inet.h>
#include <string.h>

#define VERSION      5
#define METHOD_NONE  0
#define METHOD_NEVER 0xff
#define CONNECT      1
#define TYPE_V4      1
#define TYPE_NAME    3
#define TYPE_V6      4

static int check_version(struct tl_bytes in, struct tl_err *err)
{
	if (in.p[0] == VERSION)
		return 0;
	if (in.p[0] == 4)
		return err_set(err, TL_E_PROTO,
			       "the program speaks SOCKS 4: set it to SOCKS 5 (socks5h)");
	if (in.p[0] >= 'A' && in.p[0] <= 'Z')
		return err_set(err, TL_E_PROTO,
			       "the program speaks HTTP: set it to a SOCKS 5 proxy");
	return err_set(err, TL_E_PROTO, "the program does not speak SOCKS 5");
}

int socks5_greeting(struct tl_bytes in, size_t *ret_used, struct tl_err *err)
{
	int rc;

	if (in.n == 0)
		return 0;
	rc = check_version(in, err);
	if (rc)
		return rc;
	if (in.n < 2 || in.n < 2u + in.p[1])
		return 0;
	*ret_used = 2u + in.p[1];
	if (!memchr(in.p + 2, METHOD_NONE, in.p[1]))
		return err_set(err, TL_E_UNSUPPORTED,
			       "the program wants to log in with a password, which is not needed");
	return 1;
}

/* The address behind the first four bytes as text; its length, or TL_E_INVAL. */
static int read_host(const uint8_t *p, uint8_t type, size_t n, char out[SOCKS5_HOST_MAX])
{
	if (type == TYPE_NAME) {
		if (n == 0 || memchr(p, 0, n))
			return TL_E_INVAL;
		memcpy(out, p, n);
		out[n] = 0;
		return 0;
	}
	return inet_ntop(type == TYPE_V4 ? AF_INET : AF_INET6, p, out, SOCKS5_HOST_MAX)
		   ? 0
		   : TL_E_INVAL;
}

int socks5_request(struct tl_bytes in, struct socks5_target *ret, size_t *ret_used,
		   struct tl_err *err)
{
	size_t at = 4, n;
	int rc;

	if (in.n == 0)
		return 0;
	rc = check_version(in, err);
	if (rc)
		return rc;
	if (in.n < 5)
		return 0;
	switch (in.p[3]) {
	case TYPE_V4:
		n = 4;
		break;
	case TYPE_V6:
		n = 16;
		break;
	case TYPE_NAME:
		n = in.p[4];
		at = 5;
		break;
	default:
		return err_set(err, TL_E_PROTO,
			       "a SOCKS request with an address of the unknown type %d", in.p[3]);
	}
	if (in.n < at + n + 2)
		return 0;
	*ret_used = at + n + 2;
	if (in.p[1] != CONNECT)
		return err_set(err, TL_E_UNSUPPORTED,
			       "a SOCKS request for something other than a connection (command %d)",
			       in.p[1]);
	ret->port = in.p[at + n] << 8 | in.p[at + n + 1];
	if (read_host(in.p + at, in.p[3], n, ret->host) != 0 || ret->port == 0)
		return err_set(err, TL_E_INVAL, "a SOCKS request without a valid host and port");
	return 1;
}

void socks5_put_choice(uint8_t out[SOCKS5_CHOICE_SIZE], bool ok)
{
	out[0] = VERSION;
	out[1] = ok ? METHOD_NONE : METHOD_NEVER;
}

void socks5_put_reply(uint8_t out[SOCKS5_REPLY_SIZE], int code)
{
	static const struct {
		int code;
		uint8_t reply;
	} table[] = {
	    {0, 0},
	    {TL_E_ACCES, 2},
	    {TL_E_UNREACH, 3},
	    {TL_E_RESOLVE, 4},
	    {TL_E_TIMEOUT, 4},
	    {TL_E_REFUSED, 5},
	    {TL_E_NOENT, 5},
	    {TL_E_UNSUPPORTED, 7},
	    {TL_E_INVAL, 8},
	};

	memset(out, 0, SOCKS5_REPLY_SIZE);
	out[0] = VERSION;
	out[1] = 1;
	/* the address that was bound: nobody can use it, so it is 0.0.0.0:0 */
	out[3] = TYPE_V4;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		if (table[i].code == code)
			out[1] = table[i].reply;
}
