/* fuzz_zmtp.c - any bytes from a ZeroMQ peer: whole and byte by byte they mean the same; messages
 * go on to the reader of Jupyter's messages. The first byte chooses our socket, the second whether
 * the peer's greeting was good. */
#include <stdlib.h>

#include "wire/jupyter_msg.h"
#include "wire/zmtp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MESSAGE_MAX 4096
#define PARTS_MAX   12

/* What was seen, boiled down to a number. */
struct seen {
	uint64_t sum;
	int rc;
};

static void mix(struct seen *s, const uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		s->sum = (s->sum ^ p[i]) * 1099511628211u;
	s->sum = (s->sum ^ n) * 1099511628211u;
}

static void message(struct zmtp *z, struct seen *s)
{
	struct tl_bytes parts[PARTS_MAX];
	struct jupyter_head head;
	size_t n = zmtp_parts(z), first;
	tl_assert(n >= 1 && n <= PARTS_MAX);
	for (size_t i = 0; i < n; i++) {
		parts[i] = zmtp_part(z, i);
		mix(s, parts[i].p, parts[i].n);
	}
	if (jupyter_open(parts, n, bytes_of("", 0), &first) == 0 &&
	    jupyter_head_parse(parts[first], &head) == 0)
		tl_assert(strlen(head.id) < JUPYTER_ID_MAX);
	jupyter_open(parts, n, bytes_str("key"), &first);
}

static struct seen run(enum zmtp_socket type, bool greeted, const uint8_t *data, size_t size,
		       size_t step)
{
	static const uint8_t greeting[ZMTP_GREETING] = {0xff, 0,   0, 0, 0,   0,   0,   0,
							0,    127, 3, 1, 'N', 'U', 'L', 'L'};
	struct seen s = {14695981039346656037u, 0};
	struct zmtp z;
	size_t used;
	if (zmtp_init(&z, type, bytes_of("", 0), MESSAGE_MAX, PARTS_MAX) != 0)
		return s;
	if (greeted)
		zmtp_feed(&z, bytes_of(greeting, sizeof(greeting)), &used);
	while (size && s.rc >= 0) {
		size_t n = step && step < size ? step : size;
		s.rc = zmtp_feed(&z, bytes_of(data, n), &used);
		tl_assert(used <= n && (used || s.rc < 0));
		if (s.rc == ZMTP_MESSAGE)
			message(&z, &s);
		else if (s.rc == ZMTP_DROPPED)
			mix(&s, (const uint8_t *)"dropped", 7);
		data += used;
		size -= used;
	}
	s.rc = s.rc < 0 ? s.rc : 0;
	tl_assert(z.out.len <= z.out.max);
	zmtp_fini(&z);
	return s;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 2)
		return 0;
	enum zmtp_socket type = (enum zmtp_socket)(data[0] % 6);
	struct seen whole = run(type, data[1] & 1, data + 2, size - 2, 0);
	struct seen bytes = run(type, data[1] & 1, data + 2, size - 2, 1);
	tl_assert(whole.sum == bytes.sum && whole.rc == bytes.rc);
	return 0;
}
