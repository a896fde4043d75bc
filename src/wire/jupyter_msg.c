/* jupyter_msg.c - see jupyter_msg.h. */
#include "wire/jupyter_msg.h"

#include <sha2.h>
#include <stdio.h>
#include <time.h>

#include "base/str.h"
#include "wire/json.h"
#include "wire/zmtp.h"

#define BLOCK 64 /* of SHA-256 */

static const char delimiter[] = "<IDS|MSG>";

const char *jupyter_channel_name(enum jupyter_channel c)
{
	static const char *const names[] = {"shell", "control", "iopub", "stdin", "hb"};
	return names[c];
}

/* ---- signature ---- */

static void hmac_begin(SHA2_CTX *c, const uint8_t block[BLOCK], uint8_t pad)
{
	uint8_t x[BLOCK];
	for (size_t i = 0; i < BLOCK; i++)
		x[i] = block[i] ^ pad;
	SHA256Init(c);
	SHA256Update(c, x, BLOCK);
}

void jupyter_sign(struct tl_bytes key, const struct tl_bytes part[JUPYTER_PARTS],
		  char out[JUPYTER_SIGNATURE + 1])
{
	uint8_t block[BLOCK] = {0}, digest[SHA256_DIGEST_LENGTH];
	SHA2_CTX c;
	if (key.n > BLOCK) {
		SHA256Init(&c);
		SHA256Update(&c, key.p, key.n);
		SHA256Final(block, &c);
	} else if (key.n) {
		memcpy(block, key.p, key.n);
	}
	hmac_begin(&c, block, 0x36);
	for (size_t i = 0; i < JUPYTER_PARTS; i++)
		SHA256Update(&c, part[i].p, part[i].n);
	SHA256Final(digest, &c);
	hmac_begin(&c, block, 0x5c);
	SHA256Update(&c, digest, sizeof(digest));
	SHA256Final(digest, &c);
	str_hex(digest, sizeof(digest), out);
}

int jupyter_open(const struct tl_bytes *parts, size_t n, struct tl_bytes key, size_t *ret_first)
{
	char want[JUPYTER_SIGNATURE + 1], got[JUPYTER_SIGNATURE + 1];
	size_t at = 0;
	while (at < n && (parts[at].n != sizeof(delimiter) - 1 ||
			  memcmp(parts[at].p, delimiter, sizeof(delimiter) - 1) != 0))
		at++;
	if (n < 2 + JUPYTER_PARTS || at > n - 2 - JUPYTER_PARTS)
		return TL_E_PROTO;
	*ret_first = at + 2;
	if (!key.n)
		return 0;
	if (parts[at + 1].n != JUPYTER_SIGNATURE)
		return TL_E_ACCES;
	memcpy(got, parts[at + 1].p, JUPYTER_SIGNATURE);
	got[JUPYTER_SIGNATURE] = 0;
	jupyter_sign(key, parts + at + 2, want);
	return str_equal_secret(got, want) ? 0 : TL_E_ACCES;
}

static size_t framed(size_t n)
{
	return n + (n > 255 ? ZMTP_HEAD : 2);
}

int jupyter_put(struct buf *out, struct tl_bytes key, const struct tl_bytes *parts, size_t n)
{
	char signature[JUPYTER_SIGNATURE + 1] = "";
	size_t total = framed(sizeof(delimiter) - 1) + framed(JUPYTER_SIGNATURE);
	tl_assert(n >= JUPYTER_PARTS);
	for (size_t i = 0; i < n; i++)
		total += framed(parts[i].n);
	if (total > buf_room(out))
		return TL_E_LIMIT;
	if (!buf_reserve(out, total))
		return TL_E_NOMEM;
	if (key.n)
		jupyter_sign(key, parts, signature);
	/* there is room: nothing below fails */
	zmtp_put_head(out, sizeof(delimiter) - 1, true);
	buf_put(out, delimiter, sizeof(delimiter) - 1);
	zmtp_put_head(out, strlen(signature), true);
	buf_put(out, signature, strlen(signature));
	for (size_t i = 0; i < n; i++) {
		zmtp_put_head(out, parts[i].n, i + 1 < n);
		buf_put(out, parts[i].p, parts[i].n);
	}
	return 0;
}

/* ---- header ---- */

int jupyter_head_parse(struct tl_bytes json, struct jupyter_head *ret)
{
	yyjson_doc *doc = json_parse(json, NULL);
	yyjson_val *root = yyjson_doc_get_root(doc);
	int rc = yyjson_is_obj(root) ? 0 : TL_E_PROTO;
	str_copy(ret->id, sizeof(ret->id), json_str(root, "msg_id", ""));
	str_copy(ret->session, sizeof(ret->session), json_str(root, "session", ""));
	str_copy(ret->type, sizeof(ret->type), json_str(root, "msg_type", ""));
	yyjson_doc_free(doc);
	return rc;
}

int jupyter_put_header(struct buf *out, const char *id, const char *session, const char *type,
		       const char *username, uint64_t wall_ms)
{
	char date[64], day[32];
	time_t t = (time_t)(wall_ms / 1000);
	struct tm tm;
	yyjson_mut_doc *d = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *o = yyjson_mut_obj(d);
	/* clients parse microseconds and Z, and nothing else */
	gmtime_r(&t, &tm);
	strftime(day, sizeof(day), "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(date, sizeof(date), "%s.%06uZ", day, (unsigned)(wall_ms % 1000) * 1000);
	yyjson_mut_doc_set_root(d, o);
	bool ok = json_add_path(d, o, "msg_id", id) && json_add_path(d, o, "session", session) &&
		  json_add_path(d, o, "username", username) &&
		  yyjson_mut_obj_add_strcpy(d, o, "date", date) &&
		  json_add_path(d, o, "msg_type", type) &&
		  yyjson_mut_obj_add_str(d, o, "version", "5.3");
	int rc = ok ? json_write(out, d) : TL_E_NOMEM;
	yyjson_mut_doc_free(d);
	return rc;
}
