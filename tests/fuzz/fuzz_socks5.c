/* fuzz_socks5.c - any bytes as what a SOCKS client sends, whole and byte by byte: the same result,
 * and never more used than there is. */
#include <string.h>

#include "base/err.h"
#include "wire/socks5.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct socks5_target whole = {0}, grown = {0};
	uint8_t reply[SOCKS5_REPLY_SIZE];
	size_t used = 0, used_grown = 0, used_greeting = 0;
	int rc = socks5_greeting(bytes_of(data, size), &used_greeting, NULL), rc_grown = 0;

	tl_assert(used_greeting <= size && used_greeting <= SOCKS5_GREETING_MAX);
	tl_assert(rc != 1 || used_greeting >= 3);
	rc = socks5_request(bytes_of(data, size), &whole, &used, NULL);
	tl_assert(used <= size && used <= SOCKS5_REQUEST_MAX);
	for (size_t n = 1; n <= size && rc_grown == 0; n++)
		rc_grown = socks5_request(bytes_of(data, n), &grown, &used_grown, NULL);
	tl_assert(rc == rc_grown && used == used_grown);
	if (rc == 1) {
		tl_assert(whole.host[0] && whole.port > 0 && whole.port < 65536);
		tl_assert(!strcmp(whole.host, grown.host) && whole.port == grown.port);
	}
	socks5_put_reply(reply, rc);
	tl_assert(reply[0] == 5 && (rc == 1 || rc == 0 || reply[1] != 0));
	return 0;
}
