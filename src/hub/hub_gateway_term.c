/* hub_gateway_term.c - terminals for Jupyter clients: JSON lists as terminado has them, and the
 * frames of a terminal's hold. */
#include "hub/hub_gateway.h"

#include <stdlib.h>

#include "wire/hold_frame.h"

#define TAIL_BYTES 65536
#define CLOSE_DONE 1000
#define CLOSE_DATA 1007

struct term {
	struct gw_socket s; /* first */
	uint64_t cursor_off;
	bool cursor_known, setup;
	uint8_t half[4]; /* a character that has not come whole */
	size_t n_half;
};

static struct term *of(struct gw_socket *s)
{
	return (struct term *)(void *)s;
}

/* ---- to the client ---- */

/* ["word", text]; false: it takes no more for now. */
static bool give(struct term *t, const char *word, const char *text)
{
	yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *a = yyjson_mut_arr(doc);
	struct buf b;
	bool taken = true;

	yyjson_mut_doc_set_root(doc, a);
	yyjson_mut_arr_add_str(doc, a, word);
	if (!text) {
		yyjson_mut_arr_add_obj(doc, a);
	} else {
		/* invalid bytes become U+FFFD there */
		yyjson_mut_val *o = yyjson_mut_obj(doc);
		json_add_path(doc, o, "t", text);
		yyjson_mut_arr_append(a, yyjson_mut_obj_get(o, "t"));
	}
	buf_init(&b, 8 * TL_LIMIT_TERM_FRAME);
	if (json_write(&b, doc) == 0)
		taken = gate_send(t->s.conn, buf_data(&b), true, 0);
	buf_fini(&b);
	yyjson_mut_doc_free(doc);
	return taken;
}

/* How many bytes at the end begin a character that goes on later. */
static size_t open_end(struct tl_bytes b)
{
	for (size_t back = 1; back <= 3 && back <= b.n; back++) {
		uint8_t c = b.p[b.n - back];
		size_t need = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : c >= 0xc0 ? 2 : 1;
		if ((c & 0xc0) == 0x80)
			continue;
		return need > back ? back : 0;
	}
	return 0;
}

static bool give_output(struct term *t, struct tl_bytes b)
{
	char *text = malloc(t->n_half + b.n + 1);
	size_t n, keep;
	bool taken;

	if (!text)
		return true;
	memcpy(text, t->half, t->n_half);
	memcpy(text + t->n_half, b.p, b.n);
	n = t->n_half + b.n;
	keep = open_end(bytes_of(text, n));
	/* NUL would end the text; terminals ignore it */
	for (size_t i = 0; i < n; i++)
		if (!text[i])
			text[i] = ' ';
	text[n - keep] = 0;
	taken = n == keep || give(t, "stdout", text);
	if (taken) {
		memcpy(t->half, b.p + b.n - (keep < b.n ? keep : b.n), keep < b.n ? keep : b.n);
		t->n_half = keep < b.n ? keep : b.n;
	}
	free(text);
	return taken;
}

static long term_frame(struct gw_socket *s)
{
	struct term *t = of(s);
	struct hold_frame f;
	size_t used;
	int rc = hold_frame_next(buf_data(&s->in), HOLD_FROM_HOLD, &f, &used);

	if (rc <= 0)
		return rc;
	switch (f.type) {
	case HOLD_FRAME_ATTACHED:
		t->cursor_off = hold_get_attached(f.payload).from_off;
		t->cursor_known = true;
		t->n_half = 0;
		break;
	case HOLD_FRAME_DATA:
		if (!give_output(t, f.payload)) {
			s->blocked = true;
			return 0;
		}
		t->cursor_off += f.payload.n;
		break;
	case HOLD_FRAME_GAP:
		t->cursor_off = hold_get_offset(f.payload);
		t->n_half = 0;
		break;
	case HOLD_FRAME_EXIT:
		s->phase = GW_OVER;
		s->kind->ended(s);
		break;
	default:
		break;
	}
	return (long)used;
}

static void term_opened(struct gw_socket *s)
{
	struct term *t = of(s);
	struct hold_attach a = {.from_off = t->cursor_known ? t->cursor_off : HOLD_FROM_TAIL,
				.tail_bytes = TAIL_BYTES};
	struct buf frames;

	if (!t->setup)
		t->setup = give(t, "setup", NULL);
	buf_init(&frames, 64);
	hold_put_attach(&frames, &a);
	gw_socket_write(s, &frames, true);
}

static void term_ended(struct gw_socket *s)
{
	yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *a = yyjson_mut_arr(doc);
	struct buf b;

	yyjson_mut_doc_set_root(doc, a);
	yyjson_mut_arr_add_str(doc, a, "disconnect");
	yyjson_mut_arr_add_int(doc, a, 1);
	buf_init(&b, 256);
	if (json_write(&b, doc) == 0)
		gate_send(s->conn, buf_data(&b), true, 0);
	buf_fini(&b);
	yyjson_mut_doc_free(doc);
	gate_close(s->conn, CLOSE_DONE);
}

/* ---- from the client ---- */

static int put_input(struct buf *frames, const char *text, size_t n)
{
	int rc = 0;

	while (n && !rc) {
		size_t part = n < TL_LIMIT_TERM_FRAME ? n : TL_LIMIT_TERM_FRAME;
		rc = hold_put(frames, HOLD_FRAME_INPUT, text, part);
		text += part;
		n -= part;
	}
	return rc;
}

static int put_message(struct buf *frames, yyjson_val *list)
{
	yyjson_val *word = yyjson_arr_get(list, 0), *a = yyjson_arr_get(list, 1);
	yyjson_val *b = yyjson_arr_get(list, 2);
	struct hold_size size;

	if (!yyjson_is_str(word))
		return TL_E_PROTO;
	if (yyjson_equals_str(word, "stdin") && yyjson_is_str(a))
		return put_input(frames, yyjson_get_str(a), yyjson_get_len(a));
	if (!yyjson_equals_str(word, "set_size"))
		return 0; /* what newer clients may say */
	if (!yyjson_is_int(a) || !yyjson_is_int(b) || yyjson_get_sint(a) < 1 ||
	    yyjson_get_sint(a) > 10000 || yyjson_get_sint(b) < 1 || yyjson_get_sint(b) > 10000)
		return TL_E_PROTO;
	size = (struct hold_size){.cols = (uint16_t)yyjson_get_sint(b),
				  .rows = (uint16_t)yyjson_get_sint(a)};
	return hold_put_size(frames, HOLD_FRAME_RESIZE, size);
}

static void term_message(struct gw_socket *s, struct tl_bytes in, bool binary)
{
	yyjson_doc *doc = binary ? NULL : json_parse(in, NULL);
	yyjson_val *root = yyjson_doc_get_root(doc);
	struct buf frames;
	int rc;

	buf_init(&frames, 2 * in.n + 4096);
	rc = yyjson_is_arr(root) ? put_message(&frames, root) : TL_E_PROTO;
	yyjson_doc_free(doc);
	if (rc || frames.len == 0) {
		buf_fini(&frames);
		if (rc)
			gate_close(s->conn, CLOSE_DATA);
		return;
	}
	gw_socket_write(s, &frames, false);
}

static void term_fini(struct gw_socket *s)
{
	(void)s;
}

static const struct gw_kind kind = {.opened = term_opened,
				    .frame = term_frame,
				    .message = term_message,
				    .ended = term_ended,
				    .fini = term_fini,
				    .open = "term",
				    .in_max = 4 * HOLD_FRAME_MAX};

int gw_term_open(struct hub_gateway *g, struct gate_conn *conn, const char *id)
{
	struct term *t;

	if (strspn(id, "abcdefghijklmnopqrstuvwxyz0123456789") != strlen(id))
		return 404;
	t = calloc(1, sizeof(*t));
	if (!t)
		return 500;
	gw_socket_init(&t->s, g, conn, &kind);
	t->s.id = str_dup(id);
	return 0;
}
