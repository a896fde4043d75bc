/* hold_title.c - see hold_title.h. Outside a sequence memchr does the work, so a flood of text
 * costs next to nothing. */
#include "host/hold_title.h"

enum { TEXT, ESCAPE, NUMBER, BODY, BODY_ESCAPE };

#define ESC 0x1b
#define BEL 0x07

static void title_done(struct hold_title *t)
{
	if (t->wanted) {
		memcpy(t->title, t->now, t->n);
		t->title[t->n] = 0;
	}
	t->state = TEXT;
}

static void title_body(struct hold_title *t, uint8_t c)
{
	if (c == BEL)
		title_done(t);
	else if (c == ESC)
		t->state = BODY_ESCAPE;
	else if (c == 0x18 || c == 0x1a) /* CAN and SUB end any sequence */
		t->state = TEXT;
	else if (t->wanted && c >= 0x20 && c != 0x7f && t->n < HOLD_TITLE_MAX - 1)
		t->now[t->n++] = (char)c;
}

static void title_step(struct hold_title *t, uint8_t c)
{
	switch (t->state) {
	case ESCAPE:
		t->state = c == ']' ? NUMBER : c == ESC ? ESCAPE : TEXT;
		t->wanted = false;
		t->n = 0;
		break;
	case NUMBER: /* one digit 0 or 2, then a semicolon; anything else is another sequence */
		if (c == ';') {
			t->wanted = t->n == 1 && (t->now[0] == '0' || t->now[0] == '2');
			t->n = 0;
			t->state = BODY;
		} else if (c >= '0' && c <= '9') {
			if (t->n < 8)
				t->now[t->n++] = (char)c;
		} else {
			t->state = BODY;
			title_body(t, c);
		}
		break;
	case BODY:
		title_body(t, c);
		break;
	case BODY_ESCAPE:
		if (c == '\\') {
			title_done(t);
		} else {
			t->state = ESCAPE; /* a new sequence began, the old one never ended */
			title_step(t, c);
		}
		break;
	default:
		break;
	}
}

void hold_title_feed(struct hold_title *t, struct tl_bytes out)
{
	for (size_t i = 0; i < out.n; i++) {
		if (t->state == TEXT) {
			const uint8_t *esc = memchr(out.p + i, ESC, out.n - i);
			if (!esc)
				return;
			i = (size_t)(esc - out.p);
			t->state = ESCAPE;
			continue;
		}
		title_step(t, out.p[i]);
	}
}
