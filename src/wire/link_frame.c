/* link_frame.c - see link_frame.h. */
#include "wire/link_frame.h"

#include "base/err.h"

static const struct {
	const char *name;
	int type, fixed;
} frames[] = {
#define TL_LINK_FRAME(sym, type, name, fixed, summary) {name, type, fixed},
#include "proto/frames.def"
#undef TL_LINK_FRAME
};

#define FRAMES (sizeof(frames) / sizeof(frames[0]))

/* BYE has no fixed size but never lacks its error number. */
#define BYE_LEAST 4

void link_header_put(uint8_t *out, const struct link_header *h)
{
	out[0] = h->type;
	out[1] = h->flags;
	set_u16(out + 2, h->length);
	set_u32(out + 4, h->offset_low);
}

int link_header_get(const uint8_t *in, struct link_header *ret)
{
	*ret = (struct link_header){in[0], in[1], get_u16(in + 2), get_u32(in + 4)};
	for (size_t i = 0; i < FRAMES; i++) {
		if (frames[i].type != ret->type)
			continue;
		if (frames[i].fixed >= 0 && frames[i].fixed != ret->length)
			return TL_E_PROTO;
		if (ret->type == LINK_FRAME_BYE && ret->length < BYE_LEAST)
			return TL_E_PROTO;
		return 0;
	}
	return TL_E_PROTO;
}

void link_hello_put(uint8_t *out, const struct link_hello *h)
{
	link_header_put(out, &(struct link_header){LINK_FRAME_HELLO, 0, LINK_HELLO_SIZE, 0});
	out += LINK_HEADER;
	set_u16(out, h->proto_min);
	set_u16(out + 2, h->proto_max);
	memcpy(out + 4, h->link_id, LINK_ID_SIZE);
	set_u32(out + 20, h->epoch);
	set_u64(out + 24, h->recv_off);
	set_u64(out + 32, h->base_off);
	set_u32(out + 40, h->ring_bytes);
	set_u32(out + 44, h->features);
}

int link_hello_get(const uint8_t *in, struct link_hello *ret)
{
	ret->proto_min = get_u16(in);
	ret->proto_max = get_u16(in + 2);
	memcpy(ret->link_id, in + 4, LINK_ID_SIZE);
	ret->epoch = get_u32(in + 20);
	ret->recv_off = get_u64(in + 24);
	ret->base_off = get_u64(in + 32);
	ret->ring_bytes = get_u32(in + 40);
	ret->features = get_u32(in + 44);
	return ret->proto_min && ret->proto_min <= ret->proto_max ? 0 : TL_E_PROTO;
}

const char *link_frame_name(uint8_t type)
{
	for (size_t i = 0; i < FRAMES; i++)
		if (frames[i].type == type)
			return frames[i].name;
	return "unknown";
}
