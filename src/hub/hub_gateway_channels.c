/* hub_gateway_channels.c - one Jupyter client's WebSocket to one kernel: records of the session's
 * log become messages, messages become records. A client with a session_id that comes back gets
 * what it missed, from the log; one that is new begins at the log's end. Replies go to whom they
 * are for, what is published goes to everybody. */
#include "hub/hub_gateway.h"

#include <stdlib.h>

#include "base/log.h"
#include "wire/jupyter_ws.h"
#include "wire/kernel_frame.h"

#define NAMES      8 /* sessions that one WebSocket may speak for */
#define CLOSE_DATA 1007
#define CLOSE_BIG  1009
#define CLOSE_DONE 1000
#define CLOSE_NONE 4404

struct channels {
	struct gw_socket s; /* first */
	char uuid[GW_UUID], session[GW_SESSION];
	char names[NAMES][JUPYTER_ID_MAX]; /* of the headers it sent */
	size_t n_names;
	uint64_t cursor_off;
	uint64_t start_off; /* nothing before it is due any more */
	uint64_t mark_off;  /* the end of the record that is being given, 0 none */
	bool cursor_known;
	bool fresh; /* it came without a place in the log */
	struct buf record;
};

static struct channels *of(struct gw_socket *s)
{
	return (struct channels *)(void *)s;
}

/* ---- to the client ---- */

/* False: it takes no more for now, and the same message is offered again. */
static bool give(struct channels *c, enum jupyter_channel channel, const struct tl_bytes *parts,
		 size_t n)
{
	struct buf b;
	bool text, taken = true;
	size_t size = 65536;

	for (size_t i = 0; i < n; i++)
		size += parts[i].n + 16;
	buf_init(&b, size);
	if (jupyter_ws_put(&b, c->s.v1, channel, parts, n, &text) == 0)
		taken = gate_send(c->s.conn, buf_data(&b), text, c->mark_off);
	else
		log_line(LOG_WARN, c->s.gateway->host,
			 "a message of a kernel cannot be given to a Jupyter client");
	buf_fini(&b);
	return taken;
}

/* What the kernel itself did not say. */
static bool give_own(struct channels *c, const char *type, const char *content)
{
	struct buf header;
	char id[33];
	uint8_t raw[16];
	bool taken;

	random_bytes(raw, sizeof(raw));
	str_hex(raw, sizeof(raw), id);
	buf_init(&header, 4096);
	jupyter_put_header(&header, id, c->uuid, type, "kernel", clock_wall_ms());
	const struct tl_bytes parts[] = {buf_data(&header), bytes_str("{}"), bytes_str("{}"),
					 bytes_str(content)};
	taken = give(c, JUPYTER_IOPUB, parts, JUPYTER_PARTS);
	buf_fini(&header);
	return taken;
}

static bool give_status(struct channels *c, const char *state)
{
	char content[64];

	snprintf(content, sizeof(content), "{\"execution_state\":\"%s\"}", state);
	return give_own(c, "status", content);
}

static void give_gap(struct channels *c, uint64_t bytes)
{
	char content[160];

	snprintf(content, sizeof(content),
		 "{\"name\":\"stderr\",\"text\":\"[towline: %llu bytes of output are gone]\\n\"}",
		 (unsigned long long)bytes);
	if (!give_own(c, "stream", content))
		log_line(LOG_WARN, c->s.gateway->host, "a Jupyter client was not told of a gap");
}

static bool is_for(const struct channels *c, struct tl_bytes parent)
{
	struct jupyter_head head;

	if (jupyter_head_parse(parent, &head) != 0 || !head.session[0])
		return true;
	if (strcmp(head.session, c->session) == 0)
		return true;
	for (size_t i = 0; i < c->n_names && i < NAMES; i++)
		if (strcmp(head.session, c->names[i]) == 0)
			return true;
	return false;
}

static bool message_record(struct channels *c, const struct kernel_record *r)
{
	struct tl_bytes few[JUPYTER_PARTS + 4], *parts = few;
	bool taken;

	if (r->count < JUPYTER_PARTS || r->channel > JUPYTER_STDIN)
		return true;
	if (r->channel != JUPYTER_IOPUB && !is_for(c, kernel_record_part(r, JUPYTER_PARENT)))
		return true;
	if (r->count > sizeof(few) / sizeof(few[0]))
		parts = calloc(r->count, sizeof(*parts));
	if (!parts)
		return true;
	for (size_t i = 0; i < r->count; i++)
		parts[i] = kernel_record_part(r, i);
	taken = give(c, (enum jupyter_channel)r->channel, parts, r->count);
	if (parts != few)
		free(parts);
	return taken;
}

static bool state_record(struct channels *c, const struct kernel_record *r)
{
	yyjson_doc *d = json_parse(kernel_record_part(r, 0), NULL);
	const char *state = json_str(yyjson_doc_get_root(d), "state", "");
	bool taken = true;

	if (strcmp(state, "restarting") == 0 || strcmp(state, "dead") == 0)
		taken = give_status(c, state);
	yyjson_doc_free(d);
	return taken;
}

/* False: offered again later. */
static bool take_record(struct channels *c, const struct kernel_record *r)
{
	if (r->kind == KERNEL_RECORD_MESSAGE)
		return message_record(c, r);
	if (r->kind == KERNEL_RECORD_STATE && r->count == 1)
		return state_record(c, r);
	if (r->kind == KERNEL_RECORD_LOST && r->count == 1) {
		yyjson_doc *d = json_parse(kernel_record_part(r, 0), NULL);
		give_gap(c, (uint64_t)json_int(yyjson_doc_get_root(d), "bytes", 0));
		yyjson_doc_free(d);
	}
	return true;
}

/* ---- frames of the hold ---- */

/* Whole records; stops where the client does. */
static int take_records(struct channels *c)
{
	struct kernel_record r;
	size_t used;
	int rc;

	while ((rc = kernel_record_next(buf_data(&c->record), &r, &used)) == 1) {
		c->mark_off = c->cursor_off + used;
		c->s.blocked = !take_record(c, &r);
		c->mark_off = 0;
		if (c->s.blocked)
			return 0;
		buf_consume(&c->record, used);
		c->cursor_off += used;
	}
	buf_shrink(&c->record);
	return rc;
}

static void moved_to(struct channels *c, uint64_t off)
{
	if (c->cursor_known && off > c->cursor_off)
		give_gap(c, off - c->cursor_off);
	if (!c->cursor_known || off > c->cursor_off)
		c->start_off = off;
	c->cursor_off = off;
	c->cursor_known = true;
	buf_clear(&c->record);
}

static long channels_frame(struct gw_socket *s)
{
	struct channels *c = of(s);
	struct kernel_frame f;
	size_t used;
	int rc = take_records(c);

	if (rc < 0 || s->blocked)
		return rc < 0 ? rc : 0;
	rc = kernel_frame_next(buf_data(&s->in), KERNEL_FROM_HOLD, &f, &used);
	if (rc <= 0)
		return rc;
	switch (f.type) {
	case KERNEL_FRAME_ATTACHED:
		moved_to(c, kernel_get_attached(f.payload).from_off);
		break;
	case KERNEL_FRAME_DATA:
		rc = buf_put(&c->record, f.payload.p, f.payload.n);
		if (rc)
			return rc;
		break;
	case KERNEL_FRAME_GAP:
		moved_to(c, kernel_get_offset(f.payload));
		break;
	case KERNEL_FRAME_EXIT:
		s->phase = GW_OVER;
		s->kind->ended(s);
		break;
	default:
		break;
	}
	return (long)used;
}

static void channels_opened(struct gw_socket *s)
{
	struct channels *c = of(s);
	struct kernel_attach a = {.from_off = c->cursor_known ? c->cursor_off : KERNEL_FROM_TAIL};
	struct buf frames;

	buf_clear(&c->record);
	buf_init(&frames, 64);
	kernel_put_attach(&frames, &a);
	gw_socket_write(s, &frames, true);
}

static void channels_ended(struct gw_socket *s)
{
	give_status(of(s), "dead");
	gate_close(s->conn, CLOSE_DONE);
}

/* ---- from the client ---- */

static void learn_name(struct channels *c, struct tl_bytes header)
{
	struct jupyter_head head;

	if (jupyter_head_parse(header, &head) != 0 || !head.session[0])
		return;
	for (size_t i = 0; i < c->n_names && i < NAMES; i++)
		if (strcmp(c->names[i], head.session) == 0)
			return;
	str_copy(c->names[c->n_names++ % NAMES], JUPYTER_ID_MAX, head.session);
}

static int put_message(struct buf *frames, const struct jupyter_ws_msg *m)
{
	struct buf record;
	struct tl_bytes b;
	int rc;

	buf_init(&record, KERNEL_RECORD_MAX);
	rc = kernel_record_put(&record, KERNEL_RECORD_MESSAGE, (uint8_t)m->channel, 0, m->parts,
			       m->count);
	b = buf_data(&record);
	while (b.n && !rc) {
		size_t n = b.n < KERNEL_PAYLOAD ? b.n : KERNEL_PAYLOAD;
		rc = kernel_put(frames, KERNEL_FRAME_SEND, b.p, n);
		b = bytes_of(b.p + n, b.n - n);
	}
	buf_fini(&record);
	return rc;
}

static void channels_message(struct gw_socket *s, struct tl_bytes in, bool binary)
{
	struct channels *c = of(s);
	struct jupyter_ws_msg m;
	struct tl_err e = {0};
	struct buf frames;
	int rc = jupyter_ws_parse(in, binary, s->v1, &m, &e);

	if (rc) {
		log_line(LOG_WARN, s->gateway->host, "%s", e.text);
		gate_close(s->conn, rc == TL_E_LIMIT ? CLOSE_BIG : CLOSE_DATA);
		return;
	}
	learn_name(c, m.parts[JUPYTER_HEADER]);
	buf_init(&frames, KERNEL_RECORD_MAX + KERNEL_RECORD_MAX / 1024);
	rc = put_message(&frames, &m);
	jupyter_ws_fini(&m);
	if (rc) {
		buf_fini(&frames);
		gate_close(s->conn, CLOSE_BIG);
		return;
	}
	gw_socket_write(s, &frames, false);
}

/* Where the client is: behind the last message that went to the system. What waited here when its
 * WebSocket ended comes again. */
static void keep_place(struct channels *c)
{
	uint64_t sent = gate_sent(c->s.conn);

	if (sent < c->start_off)
		sent = c->start_off;
	if (c->cursor_known)
		gw_cursor_keep(c->s.gateway, c->uuid, c->session, sent);
}

static void channels_fini(struct gw_socket *s)
{
	struct channels *c = of(s);

	if (s->phase != GW_OVER)
		keep_place(c);
	buf_fini(&c->record);
}

static const struct gw_kind kind = {.opened = channels_opened,
				    .frame = channels_frame,
				    .message = channels_message,
				    .ended = channels_ended,
				    .fini = channels_fini,
				    .open = "kernel",
				    .in_max = 4 * KERNEL_FRAME_MAX};

/* ---- the beginning ---- */

/* A question to the host that outlives the WebSocket. */
struct lookup {
	struct hub *hub;
	char host[TL_LIMIT_HOST_NAME], uuid[GW_UUID];
};

/* All WebSockets to that kernel that wait for its id. */
static void looked_up(void *ctx, const struct jsonrpc_msg *m, const struct tl_err *e)
{
	struct lookup *l = ctx;
	yyjson_val *info, *found = NULL;
	size_t i, n;

	yyjson_arr_foreach(json_get(e ? NULL : m->result, "kernels"), i, n, info)
	{
		if (strcmp(json_str(info, "uuid", ""), l->uuid) == 0)
			found = info;
	}
	LIST_FOREACH (it, &l->hub->gateways) {
		struct hub_gateway *g = list_entry(it, struct hub_gateway, node);
		if (strcmp(g->host, l->host) != 0)
			continue;
		LIST_FOREACH_SAFE (it2, &g->sockets) {
			struct gw_socket *s = list_entry(it2, struct gw_socket, node);
			struct channels *c = of(s);
			if (s->kind != &kind || s->id || e || strcmp(c->uuid, l->uuid) != 0)
				continue;
			if (!found) {
				s->phase = GW_OVER;
				gate_close(s->conn, CLOSE_NONE);
				continue;
			}
			s->id = str_dup(json_str(found, "id", ""));
			/* what it would learn only when the kernel next says something */
			if (c->fresh && (strcmp(json_str(found, "state", ""), "dead") == 0 ||
					 strcmp(json_str(found, "state", ""), "busy") == 0))
				give_status(c, json_str(found, "state", ""));
			gw_socket_connect(s);
		}
	}
	free(l);
}

void gw_channels_find(struct gw_socket *s)
{
	struct hub_host *hh = host_find(s->gateway->hub, s->gateway->host);
	struct lookup *l = calloc(1, sizeof(*l));

	if (!l || !hh) {
		free(l);
		gate_close(s->conn, 1011);
		return;
	}
	l->hub = s->gateway->hub;
	str_copy(l->host, sizeof(l->host), s->gateway->host);
	str_copy(l->uuid, sizeof(l->uuid), of(s)->uuid);
	rpc_call(hh, NULL, "kernel/list", bytes_str("{}"), looked_up, l);
}

int gw_channels_open(struct hub_gateway *g, struct gate_conn *conn, const char *uuid,
		     const char *session)
{
	struct channels *c;
	struct gw_cursor *cursor;

	if (strlen(uuid) != GW_UUID - 1 || strspn(uuid, "0123456789abcdef-") != GW_UUID - 1)
		return 404;
	if (strlen(session) >= GW_SESSION)
		return 400;
	/* the same client again: what it left behind is stale */
	LIST_FOREACH_SAFE (it, &g->sockets) {
		struct gw_socket *s = list_entry(it, struct gw_socket, node);
		if (s->kind != &kind || !session[0] || strcmp(of(s)->session, session) != 0 ||
		    strcmp(of(s)->uuid, uuid) != 0)
			continue;
		keep_place(of(s));
		s->phase = GW_OVER;
		gate_close(s->conn, CLOSE_DONE);
	}
	c = calloc(1, sizeof(*c));
	if (!c)
		return 500;
	gw_socket_init(&c->s, g, conn, &kind);
	buf_init(&c->record, KERNEL_RECORD_MAX + KERNEL_PAYLOAD);
	str_copy(c->uuid, sizeof(c->uuid), uuid);
	str_copy(c->session, sizeof(c->session), session);
	cursor = session[0] ? gw_cursor_find(g, uuid, session) : NULL;
	c->fresh = !cursor;
	if (cursor) {
		c->cursor_off = c->start_off = cursor->off;
		c->cursor_known = true;
	}
	return 0;
}
