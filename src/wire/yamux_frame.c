/* yamux_frame.c - see yamux_frame.h. */
#include "wire/yamux_frame.h"

#include "base/err.h"

void yamux_header_put(uint8_t *out, uint8_t type, uint16_t flags, uint32_t stream, uint32_t length)
{
	out[0] = YAMUX_VERSION;
	out[1] = type;
	set_u16(out + 2, flags);
	set_u32(out + 4, stream);
	set_u32(out + 8, length);
}

int yamux_header_get(const uint8_t *in, struct yamux_header *ret)
{
	*ret =
	    (struct yamux_header){in[0], in[1], get_u16(in + 2), get_u32(in + 4), get_u32(in + 8)};
	if (ret->version != YAMUX_VERSION || ret->type >= YAMUX_TYPES)
		return TL_E_PROTO;
	/* stream 0 is the session itself: only PING and GOAWAY speak about it */
	if ((ret->type == YAMUX_DATA || ret->type == YAMUX_WINDOW) != (ret->stream != 0))
		return TL_E_PROTO;
	return 0;
}
