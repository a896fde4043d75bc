/* jupyter_ws.c - see jupyter_ws.h.
 *
 * v1      u64 n | n x u64 offset, little endian, from the start of the message | channel, header,
 *         parent header, metadata, content, buffers…; n = parts + 1, the last offset is the end
 * binary  u32 n | n x u32 offset, big endian | JSON, buffers…; only where there are buffers
 * text    {"channel","header","parent_header","metadata","content","buffers":[], …} */
#include "wire/jupyter_ws.h"

#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "base/str.h"

#define V1_WORD  8
#define V1_PARTS (1 + JUPYTER_PARTS) /* channel and the four JSON parts */
#define OLD_WORD 4

static const char *const json_names[JUPYTER_PARTS] = {"header", "parent_header", "metadata",
						      "content"};

static int bad(struct tl_err *err, const char *what)
{
	return err_set(err, TL_E_PROTO, "read a message of a Jupyter client: %s", what);
}

static uint64_t get_le64(const uint8_t *p)
{
	uint64_t v = 0;
	for (int i = 7; i >= 0; i--)
		v = v << 8 | p[i];
	return v;
}

static int put_le64(struct buf *out, uint64_t v)
{
	uint8_t b[8];
	for (int i = 0; i < 8; i++)
		b[i] = (uint8_t)(v >> (8 * i));
	return buf_put(out, b, sizeof(b));
}

static int channel_of(const char *name, size_t n, enum jupyter_channel *ret)
{
	static const enum jupyter_channel mine[] = {JUPYTER_SHELL, JUPYTER_CONTROL, JUPYTER_STDIN};
	for (size_t i = 0; i < sizeof(mine) / sizeof(mine[0]); i++) {
		const char *known = jupyter_channel_name(mine[i]);
		if (strlen(known) == n && memcmp(known, name, n) == 0) {
			*ret = mine[i];
			return 0;
		}
	}
	return TL_E_PROTO;
}

/* ---- v1 ---- */

static int parse_v1(struct tl_bytes in, struct jupyter_ws_msg *m, struct tl_err *err)
{
	uint64_t n, at, next;
	if (in.n < V1_WORD)
		return bad(err, "it is shorter than its count of offsets");
	n = get_le64(in.p);
	if (n < V1_PARTS + 1 || n > in.n / V1_WORD - 1)
		return bad(err, "its count of offsets is not possible");
	if (n > TL_LIMIT_KERNEL_PARTS)
		return err_set(err, TL_E_LIMIT, "read a message of a Jupyter client: %llu parts",
			       (unsigned long long)n);
	m->parts = calloc(n, sizeof(*m->parts));
	if (!m->parts)
		return err_set(err, TL_E_NOMEM, "read a message of a Jupyter client");
	at = get_le64(in.p + V1_WORD);
	if (at != V1_WORD * (n + 1))
		return bad(err, "its first part does not follow its offsets");
	for (uint64_t i = 0; i + 1 < n; i++, at = next) {
		next = get_le64(in.p + V1_WORD * (i + 2));
		if (next < at || next > in.n)
			return bad(err, "its offsets do not agree");
		if (i == 0 && channel_of((const char *)in.p + at, next - at, &m->channel) != 0)
			return bad(err, "its channel is not shell, control or stdin");
		if (i > 0)
			m->parts[m->count++] = bytes_of(in.p + at, next - at);
	}
	return at == in.n ? 0 : bad(err, "it does not end at its last offset");
}

/* ---- JSON ---- */

/* *ret_n buffers are to follow in m->parts. */
static int parse_json(struct tl_bytes text, size_t buffers, struct jupyter_ws_msg *m,
		      struct tl_err *err)
{
	yyjson_val *root, *v, *listed;
	const char *channel;
	m->parts = calloc(JUPYTER_PARTS + buffers, sizeof(*m->parts));
	if (!m->parts)
		return err_set(err, TL_E_NOMEM, "read a message of a Jupyter client");
	m->doc = json_parse(text, err);
	root = yyjson_doc_get_root(m->doc);
	if (!yyjson_is_obj(root))
		return bad(err, "it is no JSON object");
	channel = json_str(root, "channel", "shell");
	if (channel_of(channel, strlen(channel), &m->channel) != 0)
		return bad(err, "its channel is not shell, control or stdin");
	listed = json_get(root, "buffers");
	if (buffers == 0 && yyjson_is_arr(listed) && yyjson_arr_size(listed) > 0)
		return bad(err, "buffers do not go into text");
	for (size_t i = 0; i < JUPYTER_PARTS; i++) {
		size_t n = 2;
		v = json_get(root, json_names[i]);
		if (v && !yyjson_is_null(v) && !yyjson_is_obj(v))
			return bad(err, "a part of it is no object");
		m->json[i] = yyjson_is_obj(v) ? yyjson_val_write(v, 0, &n) : str_dup("{}");
		if (!m->json[i])
			return err_set(err, TL_E_NOMEM, "read a message of a Jupyter client");
		m->parts[m->count++] = bytes_of(m->json[i], n);
	}
	return 0;
}

static int parse_binary(struct tl_bytes in, struct jupyter_ws_msg *m, struct tl_err *err)
{
	uint32_t n, at, next;
	int rc = 0;
	if (in.n < OLD_WORD)
		return bad(err, "it is shorter than its count of offsets");
	n = get_u32(in.p);
	if (n < 1 || n > in.n / OLD_WORD - 1)
		return bad(err, "its count of offsets is not possible");
	if (n > TL_LIMIT_KERNEL_PARTS)
		return err_set(err, TL_E_LIMIT, "read a message of a Jupyter client: %u parts", n);
	at = get_u32(in.p + OLD_WORD);
	if (at != OLD_WORD * (n + 1))
		return bad(err, "its first part does not follow its offsets");
	for (uint32_t i = 0; i < n && !rc; i++, at = next) {
		next = i + 1 < n ? get_u32(in.p + (size_t)OLD_WORD * (i + 2)) : (uint32_t)in.n;
		if (next < at || next > in.n)
			return bad(err, "its offsets do not agree");
		if (i == 0)
			rc = parse_json(bytes_of(in.p + at, next - at), n - 1, m, err);
		else
			m->parts[m->count++] = bytes_of(in.p + at, next - at);
	}
	return rc;
}

int jupyter_ws_parse(struct tl_bytes in, bool binary, bool v1, struct jupyter_ws_msg *ret,
		     struct tl_err *err)
{
	struct jupyter_head head;
	int rc;
	*ret = (struct jupyter_ws_msg){0};
	if (in.n > UINT32_MAX)
		return bad(err, "it is too long");
	if (binary)
		rc = v1 ? parse_v1(in, ret, err) : parse_binary(in, ret, err);
	else
		rc = parse_json(in, 0, ret, err);
	/* what the kernel would have to look at before it knows whose it is */
	if (!rc && (jupyter_head_parse(ret->parts[JUPYTER_HEADER], &head) != 0 || !head.type[0] ||
		    !head.id[0]))
		rc = bad(err, "its header has no msg_id or msg_type");
	if (rc)
		jupyter_ws_fini(ret);
	return rc;
}

void jupyter_ws_fini(struct jupyter_ws_msg *m)
{
	free(m->parts);
	yyjson_doc_free(m->doc);
	for (size_t i = 0; i < JUPYTER_PARTS; i++)
		free(m->json[i]);
	*m = (struct jupyter_ws_msg){0};
}

/* ---- to clients ---- */

static int put_v1(struct buf *out, enum jupyter_channel channel, const struct tl_bytes *parts,
		  size_t n)
{
	struct tl_bytes name = bytes_str(jupyter_channel_name(channel));
	uint64_t at = V1_WORD * (n + 3);
	int rc = put_le64(out, n + 2);
	rc = rc ? rc : put_le64(out, at);
	rc = rc ? rc : put_le64(out, at += name.n);
	for (size_t i = 0; i < n && !rc; i++)
		rc = put_le64(out, at += parts[i].n);
	rc = rc ? rc : buf_put(out, name.p, name.n);
	for (size_t i = 0; i < n && !rc; i++)
		rc = buf_put(out, parts[i].p, parts[i].n);
	return rc;
}

/* A text as a JSON string: what is not plain ASCII becomes an underscore (it may have been cut in
 * the middle of a character); ids have none of it. */
static int put_word(struct buf *out, const char *name, const char *text)
{
	int rc = buf_printf(out, ",\"%s\":\"", name);
	for (; *text && !rc; text++)
		rc = buf_put_u8(out, (unsigned char)*text < 0x20 || (unsigned char)*text > 0x7e ||
					     strchr("\"\\", *text)
					 ? '_'
					 : (uint8_t)*text);
	return rc ? rc : buf_put_u8(out, '"');
}

static int put_json(struct buf *out, enum jupyter_channel channel, const struct tl_bytes *parts)
{
	struct jupyter_head head;
	int rc = jupyter_head_parse(parts[JUPYTER_HEADER], &head);
	for (size_t i = 0; i < JUPYTER_PARTS && !rc; i++)
		rc = utf8_valid(parts[i]) && parts[i].n ? 0 : TL_E_PROTO;
	rc = rc ? rc : buf_printf(out, "{\"channel\":\"%s\"", jupyter_channel_name(channel));
	/* beside the header, where some clients look for them */
	rc = rc ? rc : put_word(out, "msg_id", head.id);
	rc = rc ? rc : put_word(out, "msg_type", head.type);
	for (size_t i = 0; i < JUPYTER_PARTS && !rc; i++) {
		rc = buf_printf(out, ",\"%s\":", json_names[i]);
		rc = rc ? rc : buf_put(out, parts[i].p, parts[i].n);
	}
	return rc ? rc : buf_put_str(out, ",\"buffers\":[]}");
}

static int put_binary(struct buf *out, enum jupyter_channel channel, const struct tl_bytes *parts,
		      size_t n)
{
	size_t buffers = n - JUPYTER_PARTS, start = out->len;
	uint64_t at;
	uint8_t *offsets;
	int rc = buf_put_u32(out, (uint32_t)(buffers + 1));
	for (size_t i = 0; i <= buffers && !rc; i++)
		rc = buf_put_u32(out, 0);
	rc = rc ? rc : put_json(out, channel, parts);
	at = out->len - start;
	for (size_t i = JUPYTER_PARTS; i < n && !rc; i++)
		rc = buf_put(out, parts[i].p, parts[i].n);
	if (rc)
		return rc;
	if (out->len - start > UINT32_MAX)
		return TL_E_LIMIT;
	offsets = out->p + out->off + start + OLD_WORD;
	set_u32(offsets, (uint32_t)(OLD_WORD * (buffers + 2)));
	for (size_t i = 0; i < buffers; i++) {
		set_u32(offsets + OLD_WORD * (i + 1), (uint32_t)at);
		at += parts[JUPYTER_PARTS + i].n;
	}
	return 0;
}

int jupyter_ws_put(struct buf *out, bool v1, enum jupyter_channel channel,
		   const struct tl_bytes *parts, size_t n, bool *ret_text)
{
	size_t was = out->len;
	int rc;
	*ret_text = !v1 && n == JUPYTER_PARTS;
	if (n < JUPYTER_PARTS)
		return TL_E_PROTO;
	if (v1)
		rc = put_v1(out, channel, parts, n);
	else
		rc = *ret_text ? put_json(out, channel, parts) : put_binary(out, channel, parts, n);
	/* nothing was added */
	if (rc)
		out->len = was;
	return rc;
}
