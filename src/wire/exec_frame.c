/* exec_frame.c - the codec of exec frames. */
#include "wire/exec_frame.h"

#include "base/err.h"

#define CLIENT EXEC_FROM_CLIENT
#define HOST   EXEC_FROM_HOST

static const struct {
	uint8_t type;
	enum exec_direction direction;
	int fixed; /* payload bytes, -1: any */
} rows[] = {
#define TL_EXEC_FRAME(sym, type, name, direction, fixed, summary) {type, direction, fixed},
#include "proto/frames.def"
#undef TL_EXEC_FRAME
};

int exec_frame_next(struct tl_bytes in, enum exec_direction from, struct exec_frame *ret,
		    size_t *ret_consume)
{
	size_t n;

	if (in.n < EXEC_HEADER)
		return 0;
	n = get_u24(in.p + 1);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (rows[i].type != in.p[0])
			continue;
		if (rows[i].direction != from || n > EXEC_PAYLOAD ||
		    (rows[i].fixed >= 0 && n != (size_t)rows[i].fixed))
			return TL_E_PROTO;
		if (in.n - EXEC_HEADER < n)
			return 0;
		ret->type = in.p[0];
		ret->payload = bytes_of(in.p + EXEC_HEADER, n);
		*ret_consume = EXEC_HEADER + n;
		return 1;
	}
	return TL_E_PROTO;
}

void exec_put_header(uint8_t out[EXEC_HEADER], uint8_t type, size_t n)
{
	tl_assert(n <= EXEC_PAYLOAD);
	out[0] = type;
	set_u24(out + 1, (uint32_t)n);
}

int exec_put(struct buf *out, uint8_t type, const void *payload, size_t n)
{
	uint8_t *p;

	if (n > EXEC_PAYLOAD)
		return TL_E_LIMIT;
	p = buf_reserve(out, EXEC_HEADER + n);
	if (!p)
		return TL_E_LIMIT;
	exec_put_header(p, type, n);
	if (n)
		memcpy(p + EXEC_HEADER, payload, n);
	buf_commit(out, EXEC_HEADER + n);
	return 0;
}

int exec_put_exit(struct buf *out, enum exec_exit_kind kind, uint32_t value)
{
	uint8_t p[8];

	set_u32(p, kind);
	set_u32(p + 4, value);
	return exec_put(out, EXEC_FRAME_EXIT, p, sizeof(p));
}
