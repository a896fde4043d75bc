/* json.c - thin helpers over yyjson. */
#include "wire/json.h"

#include <stdlib.h>

#include "base/str.h"

yyjson_val *json_get(yyjson_val *obj, const char *key)
{
	return yyjson_is_obj(obj) ? yyjson_obj_get(obj, key) : NULL;
}

const char *json_str(yyjson_val *obj, const char *key, const char *dflt)
{
	yyjson_val *v = json_get(obj, key);

	return yyjson_is_str(v) ? yyjson_get_str(v) : dflt;
}

int64_t json_int(yyjson_val *obj, const char *key, int64_t dflt)
{
	yyjson_val *v = json_get(obj, key);

	if (yyjson_is_uint(v)) {
		uint64_t u = yyjson_get_uint(v);
		return u <= INT64_MAX ? (int64_t)u : dflt;
	}
	if (yyjson_is_sint(v))
		return yyjson_get_sint(v);
	/* JavaScript writes 1e3 now and then */
	if (yyjson_is_real(v)) {
		double d = yyjson_get_real(v);
		return d >= -9007199254740992.0 && d <= 9007199254740992.0 ? (int64_t)d : dflt;
	}
	return dflt;
}

bool json_bool(yyjson_val *obj, const char *key, bool dflt)
{
	yyjson_val *v = json_get(obj, key);

	return yyjson_is_bool(v) ? yyjson_get_bool(v) : dflt;
}

static yyjson_doc *parse(struct tl_bytes in, yyjson_read_flag flags, struct tl_err *err)
{
	yyjson_read_err e;
	/* without the INSITU flag the input is only read */
	yyjson_doc *doc = yyjson_read_opts((char *)(uintptr_t)in.p, in.n, flags, NULL, &e);

	if (!doc)
		err_set(err,
			e.code == YYJSON_READ_ERROR_MEMORY_ALLOCATION ? TL_E_NOMEM : TL_E_PROTO,
			"not valid JSON at byte %zu: %s", e.pos, e.msg);
	return doc;
}

yyjson_doc *json_parse(struct tl_bytes in, struct tl_err *err)
{
	return parse(in, 0, err);
}

yyjson_doc *json_parse_relaxed(struct tl_bytes in, struct tl_err *err)
{
	static const uint8_t mark[] = {0xef, 0xbb, 0xbf};

	/* editors put a byte order mark in front now and then */
	if (in.n >= sizeof(mark) && memcmp(in.p, mark, sizeof(mark)) == 0)
		in = bytes_of(in.p + sizeof(mark), in.n - sizeof(mark));
	return parse(in, YYJSON_READ_ALLOW_COMMENTS | YYJSON_READ_ALLOW_TRAILING_COMMAS, err);
}

int json_write(struct buf *out, yyjson_mut_doc *doc)
{
	size_t n;
	char *text = yyjson_mut_write(doc, 0, &n);
	int rc;

	if (!text)
		return TL_E_NOMEM;
	rc = buf_put(out, text, n);
	free(text);
	return rc;
}

bool json_add_path(yyjson_mut_doc *doc, yyjson_mut_val *obj, const char *key, const char *bytes)
{
	struct buf b;
	const uint8_t *p = (const uint8_t *)bytes;
	bool ok = true;

	if (utf8_valid(bytes_str(bytes)))
		return yyjson_mut_obj_add_strcpy(doc, obj, key, bytes);
	buf_init(&b, strlen(bytes) * 3 + 1);
	while (*p && ok) {
		size_t n = *p < 0x80 ? 1 : *p < 0xe0 ? 2 : *p < 0xf0 ? 3 : 4;
		if (strnlen((const char *)p, n) == n && utf8_valid(bytes_of(p, n))) {
			ok = buf_put(&b, p, n) == 0;
			p += n;
		} else {
			ok = buf_put(&b, "\xef\xbf\xbd", 3) == 0;
			p++;
		}
	}
	ok = ok && yyjson_mut_obj_add_strncpy(doc, obj, key, (const char *)buf_data(&b).p, b.len);
	buf_fini(&b);
	return ok;
}
