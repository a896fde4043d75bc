/* zmtp.c - see zmtp.h. A state machine over single bytes of headers and spans of bodies; what is
 * too large is walked over without being kept. */
#include "wire/zmtp.h"

#include <stdio.h>
#include <stdlib.h>

#define FLAG_MORE    1
#define FLAG_LONG    2
#define FLAG_COMMAND 4

static const char *const socket_names[] = {"DEALER", "ROUTER", "REQ", "REP", "SUB", "PUB"};

/* Peers of each socket, by name as they announce themselves. */
static const char *const socket_peers[][4] = {
    [ZMTP_DEALER] = {"ROUTER", "DEALER", "REP"},
    [ZMTP_ROUTER] = {"DEALER", "ROUTER", "REQ"},
    [ZMTP_REQ] = {"REP", "ROUTER"},
    [ZMTP_REP] = {"REQ", "DEALER"},
    [ZMTP_SUB] = {"PUB", "XPUB"},
    [ZMTP_PUB] = {"SUB", "XSUB"},
};

static int zmtp_bad(struct zmtp *z, int code, const char *why)
{
	snprintf(z->reason, sizeof(z->reason), "%s", why);
	return code;
}

/* ---- writing ---- */

static int put_head(struct buf *out, uint8_t flags, uint64_t size)
{
	if (size > 255) {
		int rc = buf_put_u8(out, flags | FLAG_LONG);
		return rc ? rc : buf_put_u64(out, size);
	}
	uint8_t head[2] = {flags, (uint8_t)size};
	return buf_put(out, head, 2);
}

int zmtp_put_head(struct buf *out, uint64_t size, bool more)
{
	return put_head(out, more ? FLAG_MORE : 0, size);
}

int zmtp_put(struct buf *out, const struct tl_bytes *parts, size_t n)
{
	size_t total = 0;
	for (size_t i = 0; i < n; i++)
		total += parts[i].n + (parts[i].n > 255 ? ZMTP_HEAD : 2);
	if (total > buf_room(out))
		return TL_E_LIMIT;
	if (!buf_reserve(out, total))
		return TL_E_NOMEM;
	/* there is room: nothing below fails */
	for (size_t i = 0; i < n; i++) {
		put_head(out, i + 1 < n ? FLAG_MORE : 0, parts[i].n);
		buf_put(out, parts[i].p, parts[i].n);
	}
	return 0;
}

int zmtp_put_subscribe(struct buf *out, struct tl_bytes topic)
{
	/* the form of 3.0, which every publisher understands: a message that begins with 1 */
	int rc = put_head(out, 0, topic.n + 1);
	rc = rc ? rc : buf_put_u8(out, 1);
	return rc ? rc : buf_put(out, topic.p, topic.n);
}

static int put_command(struct buf *out, const char *name, struct tl_bytes body)
{
	size_t n = strlen(name);
	int rc = put_head(out, FLAG_COMMAND, 1 + n + body.n);
	rc = rc ? rc : buf_put_u8(out, (uint8_t)n);
	rc = rc ? rc : buf_put(out, name, n);
	return rc ? rc : buf_put(out, body.p, body.n);
}

static int put_property(struct buf *out, const char *name, struct tl_bytes value)
{
	int rc = buf_put_u8(out, (uint8_t)strlen(name));
	rc = rc ? rc : buf_put_str(out, name);
	rc = rc ? rc : buf_put_u32(out, (uint32_t)value.n);
	return rc ? rc : buf_put(out, value.p, value.n);
}

static int put_greeting(struct zmtp *z, struct tl_bytes identity)
{
	uint8_t greeting[ZMTP_GREETING] = {[0] = 0xff, [9] = 0x7f, [10] = 3, [11] = 1};
	struct buf ready;
	memcpy(greeting + 12, "NULL", 4);
	buf_init(&ready, 512);
	int rc = buf_put(&z->out, greeting, sizeof(greeting));
	rc = rc ? rc : put_property(&ready, "Socket-Type", bytes_str(socket_names[z->type]));
	if (identity.n)
		rc = rc ? rc : put_property(&ready, "Identity", identity);
	rc = rc ? rc : put_command(&z->out, "READY", buf_data(&ready));
	buf_fini(&ready);
	return rc;
}

int zmtp_init(struct zmtp *z, enum zmtp_socket type, struct tl_bytes identity, size_t message_max,
	      size_t parts_max)
{
	*z = (struct zmtp){.type = type, .parts_max = parts_max};
	buf_init(&z->out, 8192);
	buf_init(&z->command, ZMTP_COMMAND_MAX);
	buf_init(&z->message, message_max);
	int rc = identity.n > 255 ? TL_E_LIMIT : put_greeting(z, identity);
	if (rc)
		zmtp_fini(z);
	return rc;
}

void zmtp_fini(struct zmtp *z)
{
	buf_fini(&z->out);
	buf_fini(&z->command);
	buf_fini(&z->message);
	free(z->end);
	z->end = NULL;
	z->parts = z->parts_cap = 0;
}

/* ---- reading ---- */

static int check_greeting(struct zmtp *z)
{
	static const uint8_t null[20] = "NULL";
	if (z->head[0] != 0xff || !(z->head[9] & 1))
		return zmtp_bad(z, TL_E_PROTO, "the peer does not speak ZMTP");
	if (z->head[10] < 3)
		return zmtp_bad(z, TL_E_UNSUPPORTED, "the peer's ZMTP is older than 3.0");
	if (memcmp(z->head + 12, null, sizeof(null)) != 0)
		return zmtp_bad(z, TL_E_UNSUPPORTED, "the peer wants another mechanism than NULL");
	z->greeted = true;
	z->have = 0;
	return 0;
}

static bool is_peer(enum zmtp_socket type, struct tl_bytes name)
{
	for (size_t i = 0; i < 4 && socket_peers[type][i]; i++)
		if (strlen(socket_peers[type][i]) == name.n &&
		    memcmp(socket_peers[type][i], name.p, name.n) == 0)
			return true;
	return false;
}

static bool is_name(struct tl_bytes b, const char *name)
{
	size_t n = strlen(name);
	for (size_t i = 0; i < n; i++)
		if (b.n != n || (b.p[i] | 0x20) != (name[i] | 0x20))
			return false;
	return b.n == n;
}

/* READY's properties; only the socket's type matters. */
static int read_ready(struct zmtp *z, struct tl_bytes b)
{
	bool fits = false;
	while (b.n) {
		size_t name = b.p[0], value;
		if (b.n < 1 + name + 4)
			return zmtp_bad(z, TL_E_PROTO, "the peer's READY is cut off");
		value = get_u32(b.p + 1 + name);
		if (value > b.n - 5 - name)
			return zmtp_bad(z, TL_E_PROTO, "the peer's READY is cut off");
		if (is_name(bytes_of(b.p + 1, name), "Socket-Type"))
			fits = is_peer(z->type, bytes_of(b.p + 5 + name, value));
		b = bytes_of(b.p + 5 + name + value, b.n - 5 - name - value);
	}
	if (!fits)
		return zmtp_bad(z, TL_E_PROTO, "the peer's socket is of the wrong type");
	z->ready = true;
	return ZMTP_READY;
}

static int read_error(struct zmtp *z, struct tl_bytes b)
{
	size_t n = b.n ? b.p[0] : 0;
	if (n > b.n - (b.n ? 1 : 0))
		n = b.n - 1;
	snprintf(z->reason, sizeof(z->reason), "the peer says: %.*s", (int)(n < 100 ? n : 100),
		 n ? (const char *)b.p + 1 : "");
	return TL_E_PROTO;
}

static int end_command(struct zmtp *z)
{
	struct tl_bytes c = buf_data(&z->command), body;
	size_t n = c.n ? c.p[0] : 0;
	int rc = ZMTP_NONE;
	if (!c.n || n == 0 || n > c.n - 1)
		return zmtp_bad(z, TL_E_PROTO, "the peer sent a broken command");
	body = bytes_of(c.p + 1 + n, c.n - 1 - n);
	if (is_name(bytes_of(c.p + 1, n), "READY"))
		rc = z->ready ? zmtp_bad(z, TL_E_PROTO, "the peer sent READY twice")
			      : read_ready(z, body);
	else if (is_name(bytes_of(c.p + 1, n), "ERROR"))
		rc = read_error(z, body);
	else if (is_name(bytes_of(c.p + 1, n), "PING")) {
		/* time to live, then up to 16 bytes that come back */
		if (body.n < 2 || body.n > 18)
			return zmtp_bad(z, TL_E_PROTO, "the peer sent a broken PING");
		/* answers nobody reads are not piled up */
		if (buf_room(&z->out) >= 64 &&
		    put_command(&z->out, "PONG", bytes_of(body.p + 2, body.n - 2)) != 0)
			rc = TL_E_NOMEM;
	}
	buf_clear(&z->command);
	return rc;
}

static int end_part(struct zmtp *z)
{
	if (!z->discard && z->parts == z->parts_cap && z->parts < z->parts_max) {
		size_t cap = z->parts_cap ? z->parts_cap * 2 : 16;
		size_t *p = realloc(z->end, cap * sizeof(*p));
		if (!p)
			return TL_E_NOMEM;
		z->end = p;
		z->parts_cap = cap;
	}
	if (z->parts >= z->parts_max)
		z->discard = true;
	if (!z->discard)
		z->end[z->parts++] = z->message.len;
	if (z->more)
		return ZMTP_NONE;
	z->delivered = true;
	return z->discard ? ZMTP_DROPPED : ZMTP_MESSAGE;
}

static int end_frame(struct zmtp *z)
{
	z->in_body = false;
	z->have = 0;
	return z->is_command ? end_command(z) : end_part(z);
}

/* The header is complete. */
static int begin_frame(struct zmtp *z)
{
	uint8_t flags = z->head[0];
	z->left = flags & FLAG_LONG ? get_u64(z->head + 1) : z->head[1];
	z->is_command = flags & FLAG_COMMAND;
	z->in_body = true;
	if (z->is_command)
		return z->left > ZMTP_COMMAND_MAX
			   ? zmtp_bad(z, TL_E_PROTO, "the peer sent an endless command")
			   : 0;
	z->more = flags & FLAG_MORE;
	if (z->left > buf_room(&z->message))
		z->discard = true;
	return 0;
}

/* The message handed out last is over. */
static void forget_message(struct zmtp *z)
{
	buf_clear(&z->message);
	/* one large message must not stay in memory for ever */
	if (z->message.cap > 65536)
		buf_shrink(&z->message);
	z->parts = 0;
	z->discard = z->delivered = false;
}

/* How many bytes of head there must be. */
static size_t head_wants(const struct zmtp *z)
{
	if (!z->greeted)
		return ZMTP_GREETING;
	return z->have && (z->head[0] & FLAG_LONG) ? ZMTP_HEAD : 2;
}

/* One step; 0 go on, else the event or error. *used grows. */
static int step(struct zmtp *z, struct tl_bytes in, size_t *used)
{
	int rc = 0;
	if (!z->in_body) {
		z->head[z->have++] = in.p[(*used)++];
		if (z->have < head_wants(z))
			return 0;
		if (!z->greeted)
			return check_greeting(z);
		if ((z->head[0] & ~7u) || ((z->head[0] & FLAG_COMMAND) && (z->head[0] & FLAG_MORE)))
			return zmtp_bad(z, TL_E_PROTO, "the peer sent unknown flags");
		if (!z->ready && !(z->head[0] & FLAG_COMMAND))
			return zmtp_bad(z, TL_E_PROTO, "the peer sent a message before READY");
		rc = begin_frame(z);
		return rc || z->left ? rc : end_frame(z);
	}
	size_t n = in.n - *used < z->left ? in.n - *used : (size_t)z->left;
	if (z->is_command)
		rc = buf_put(&z->command, in.p + *used, n);
	else if (!z->discard)
		rc = buf_put(&z->message, in.p + *used, n);
	if (rc)
		return rc;
	*used += n;
	z->left -= n;
	return z->left ? 0 : end_frame(z);
}

int zmtp_feed(struct zmtp *z, struct tl_bytes in, size_t *ret_used)
{
	int rc = 0;
	*ret_used = 0;
	if (z->delivered)
		forget_message(z);
	while (*ret_used < in.n && rc == 0)
		rc = step(z, in, ret_used);
	if (rc == TL_E_NOMEM)
		zmtp_bad(z, rc, "out of memory");
	return rc;
}

size_t zmtp_parts(const struct zmtp *z)
{
	return z->parts;
}

struct tl_bytes zmtp_part(const struct zmtp *z, size_t i)
{
	size_t from = i ? z->end[i - 1] : 0;
	tl_assert(i < z->parts);
	return bytes_of(buf_data(&z->message).p + from, z->end[i] - from);
}
