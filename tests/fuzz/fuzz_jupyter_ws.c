/* fuzz_jupyter_ws.c - any bytes as messages of Jupyter's WebSockets, in every framing. What is
 * accepted must come out of the encoder and back as the same parts. */
#include <string.h>

#include "base/err.h"
#include "wire/jupyter_ws.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void again(const struct jupyter_ws_msg *m, bool v1)
{
	struct jupyter_ws_msg back;
	struct buf b;
	bool text;

	buf_init(&b, 1 << 22);
	if (jupyter_ws_put(&b, v1, m->channel, m->parts, m->count, &text) == 0) {
		tl_assert(jupyter_ws_parse(buf_data(&b), !text, v1, &back, NULL) == 0);
		tl_assert(back.channel == m->channel && back.count == m->count);
		/* JSON is written anew; bytes are not */
		for (size_t i = v1 ? 0 : JUPYTER_PARTS; i < m->count; i++)
			tl_assert(back.parts[i].n == m->parts[i].n &&
				  (!back.parts[i].n ||
				   !memcmp(back.parts[i].p, m->parts[i].p, back.parts[i].n)));
		jupyter_ws_fini(&back);
	}
	buf_fini(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct jupyter_ws_msg m;
	bool binary = size && (data[0] & 1), v1 = size && (data[0] & 2);

	if (!size || jupyter_ws_parse(bytes_of(data + 1, size - 1), binary, v1, &m, NULL) != 0)
		return 0;
	tl_assert(m.count >= JUPYTER_PARTS && m.channel != JUPYTER_IOPUB);
	again(&m, true);
	if (!binary || !v1)
		again(&m, false);
	jupyter_ws_fini(&m);
	return 0;
}
