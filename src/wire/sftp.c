/* sftp.c - see sftp.h. Pure functions over the caller's memory. */
#include "wire/sftp.h"

#include "base/err.h"
#include "base/limits.h"

int sftp_next(struct tl_bytes in, struct tl_bytes *ret_packet, size_t *ret_consume)
{
	uint32_t n;

	if (in.n < SFTP_LENGTH)
		return 0;
	n = get_u32(in.p);
	if (n == 0)
		return TL_E_PROTO;
	if (n > TL_LIMIT_SFTP_PACKET)
		return TL_E_LIMIT;
	if (in.n - SFTP_LENGTH < n)
		return 0;
	*ret_packet = bytes_of(in.p + SFTP_LENGTH, n);
	*ret_consume = SFTP_LENGTH + n;
	return 1;
}

/* The next n bytes, or NULL. */
static const uint8_t *take(struct sftp_reader *r, size_t n)
{
	const uint8_t *p = r->p;

	if (r->bad || r->n < n) {
		r->bad = true;
		r->n = 0;
		return NULL;
	}
	r->p += n;
	r->n -= n;
	return p;
}

uint8_t sftp_get_u8(struct sftp_reader *r)
{
	const uint8_t *p = take(r, 1);
	return p ? *p : 0;
}

uint32_t sftp_get_u32(struct sftp_reader *r)
{
	const uint8_t *p = take(r, 4);
	return p ? get_u32(p) : 0;
}

uint64_t sftp_get_u64(struct sftp_reader *r)
{
	const uint8_t *p = take(r, 8);
	return p ? get_u64(p) : 0;
}

struct tl_bytes sftp_get_raw(struct sftp_reader *r, size_t n)
{
	const uint8_t *p = take(r, n);
	return p ? bytes_of(p, n) : bytes_of("", 0);
}

struct tl_bytes sftp_get_string(struct sftp_reader *r)
{
	return sftp_get_raw(r, sftp_get_u32(r));
}

bool sftp_get_cstr(struct sftp_reader *r, char *out, size_t n)
{
	struct tl_bytes b = sftp_get_string(r);

	out[0] = 0;
	if (r->bad || b.n >= n || memchr(b.p, 0, b.n)) {
		r->bad = true;
		return false;
	}
	memcpy(out, b.p, b.n);
	out[b.n] = 0;
	return true;
}

void sftp_get_attrs(struct sftp_reader *r, struct sftp_attrs *ret)
{
	*ret = (struct sftp_attrs){.flags = sftp_get_u32(r)};
	if (ret->flags & SFTP_ATTR_SIZE)
		ret->size = sftp_get_u64(r);
	if (ret->flags & SFTP_ATTR_UIDGID) {
		ret->uid = sftp_get_u32(r);
		ret->gid = sftp_get_u32(r);
	}
	if (ret->flags & SFTP_ATTR_MODE)
		ret->mode = sftp_get_u32(r);
	if (ret->flags & SFTP_ATTR_TIMES) {
		ret->atime = sftp_get_u32(r);
		ret->mtime = sftp_get_u32(r);
	}
	if (ret->flags & SFTP_ATTR_EXTENDED) {
		/* each pair takes 8 bytes at least, so a wild count ends with the packet */
		for (uint32_t n = sftp_get_u32(r); n > 0 && !r->bad; n--) {
			sftp_get_string(r);
			sftp_get_string(r);
		}
	}
	ret->flags &= ~SFTP_ATTR_EXTENDED;
	if (r->bad)
		ret->flags = 0;
}

struct sftp_mark sftp_begin(struct buf *out, uint8_t type, uint32_t id)
{
	struct sftp_mark m = {out->len, 0};
	uint8_t *p = buf_reserve(out, 9);

	if (!p) {
		m.rc = TL_E_LIMIT;
		return m;
	}
	set_u32(p, 0);
	p[4] = type;
	set_u32(p + 5, id);
	buf_commit(out, 9);
	return m;
}

int sftp_end(struct buf *out, struct sftp_mark m, int rc)
{
	size_t n;

	if (m.rc || rc) {
		if (out->len > m.at)
			out->len = m.at;
		return m.rc ? m.rc : rc;
	}
	n = out->len - m.at - SFTP_LENGTH;
	tl_assert(n <= TL_LIMIT_SFTP_PACKET);
	set_u32(out->p + out->off + m.at, (uint32_t)n);
	return 0;
}

int sftp_put_attrs(struct buf *out, const struct sftp_attrs *a)
{
	int rc = buf_put_u32(out, a->flags);

	if (!rc && a->flags & SFTP_ATTR_SIZE)
		rc = buf_put_u64(out, a->size);
	if (!rc && a->flags & SFTP_ATTR_UIDGID)
		rc = buf_put_u32(out, a->uid);
	if (!rc && a->flags & SFTP_ATTR_UIDGID)
		rc = buf_put_u32(out, a->gid);
	if (!rc && a->flags & SFTP_ATTR_MODE)
		rc = buf_put_u32(out, a->mode);
	if (!rc && a->flags & SFTP_ATTR_TIMES)
		rc = buf_put_u32(out, a->atime);
	if (!rc && a->flags & SFTP_ATTR_TIMES)
		rc = buf_put_u32(out, a->mtime);
	return rc;
}

int sftp_put_status(struct buf *out, uint32_t id, uint32_t code, const char *message)
{
	struct sftp_mark m = sftp_begin(out, SFTP_STATUS, id);
	int rc = m.rc;

	if (!rc)
		rc = buf_put_u32(out, code);
	if (!rc)
		rc = buf_put_string(out, message, strlen(message));
	if (!rc)
		rc = buf_put_string(out, "", 0);
	return sftp_end(out, m, rc);
}

int sftp_put_hello(struct buf *out, uint8_t type, uint32_t version)
{
	uint8_t *p = buf_reserve(out, 9);

	if (!p)
		return TL_E_LIMIT;
	set_u32(p, 5);
	p[4] = type;
	set_u32(p + 5, version);
	buf_commit(out, 9);
	return 0;
}

void sftp_etag(uint8_t out[SFTP_ETAG], uint64_t mtime_ns, uint64_t size, uint64_t inode)
{
	set_u64(out, mtime_ns);
	set_u64(out + 8, size);
	set_u64(out + 16, inode);
}
