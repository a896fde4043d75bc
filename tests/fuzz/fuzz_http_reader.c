/* fuzz_http_reader.c - any bytes as a request or a response, whole and byte by byte: the same end,
 * never more taken than there is, and a head that is sent on parses again. */
#include <string.h>

#include "hub/http_reader.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Bytes taken until the end of the message or the first error. */
static size_t feed(struct http_reader *r, const uint8_t *p, size_t n, size_t piece, bool *ret_bad)
{
	size_t at = 0;

	*ret_bad = false;
	while (at < n && http_reader_state(r) != HTTP_COMPLETE) {
		size_t len = n - at < piece ? n - at : piece;
		long took = http_reader_feed(r, bytes_of(p + at, len), NULL);
		tl_assert(took < 0 || (size_t)took <= len);
		if (took < 0) {
			*ret_bad = true;
			return at;
		}
		tl_assert(took > 0 || http_reader_state(r) == HTTP_COMPLETE);
		at += (size_t)took;
	}
	return at;
}

static void send_on(struct http_reader *r, bool response)
{
	struct http_reader *again = http_reader_new(response);
	struct http_place place;
	struct buf out;
	bool bad;

	buf_init(&out, 262144);
	if (response ? http_put_response(r, &out) == 0
		     : !http_is_connect(r) && http_place(r, &place, NULL) == 0 &&
			   http_put_request(r, &place, &out) == 0) {
		feed(again, buf_data(&out).p, out.len, out.len, &bad);
		tl_assert(!bad && http_reader_state(again) != HTTP_IN_HEAD);
		tl_assert(!http_header(again, "Proxy-Authorization"));
	}
	buf_fini(&out);
	http_reader_free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	bool response = size && data[0] & 1, bad, bad_slow;
	struct http_reader *r, *slow;
	size_t n, n_slow;

	if (size < 1)
		return 0;
	r = http_reader_new(response);
	slow = http_reader_new(response);
	n = feed(r, data + 1, size - 1, size, &bad);
	n_slow = feed(slow, data + 1, size - 1, 1, &bad_slow);
	tl_assert(bad == bad_slow);
	if (!bad) {
		tl_assert(n == n_slow && http_reader_state(r) == http_reader_state(slow));
		if (http_reader_state(r) != HTTP_IN_HEAD)
			send_on(r, response);
		http_reader_eof(r);
	}
	http_reader_free(r);
	http_reader_free(slow);
	return 0;
}
