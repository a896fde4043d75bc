/* shell_screen.c - see shell_screen.h. Writes to descriptor 1 only where that is a terminal. */
#include "cmd/shell_screen.h"

#include "loop/io.h"

#define WRITE_MS 2000

static void screen_put(const struct shell_view *v, const char *text)
{
	if (v->tty_out)
		fd_write_all(1, text, strlen(text), WRITE_MS);
}

static bool has(const uint8_t *p, size_t n, const char *what)
{
	size_t len = strlen(what);
	for (; n >= len; p++, n--) {
		const uint8_t *at = memchr(p, what[0], n);
		if (!at)
			return false;
		n -= (size_t)(at - p);
		p = at;
		if (n >= len && !memcmp(p, what, len))
			return true;
	}
	return false;
}

static void track_piece(struct shell_view *v, const uint8_t *p, size_t n)
{
	static const char *const modes[] = {"\033[?1049", "\033[?1047", "\033[?47"};
	char sequence[16];
	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
		snprintf(sequence, sizeof(sequence), "%sh", modes[i]);
		if (has(p, n, sequence))
			v->alternate = true;
		snprintf(sequence, sizeof(sequence), "%sl", modes[i]);
		if (has(p, n, sequence))
			v->alternate = false;
	}
}

void shell_screen_track(struct shell_view *v, struct tl_bytes out)
{
	uint8_t seam[2 * sizeof(v->tail)];
	size_t head = out.n < sizeof(v->tail) ? out.n : sizeof(v->tail);
	if (!v->tty_out)
		return;
	/* a sequence may lie across two frames */
	memcpy(seam, v->tail, v->tail_n);
	memcpy(seam + v->tail_n, out.p, head);
	track_piece(v, seam, v->tail_n + head);
	track_piece(v, out.p, out.n);
	size_t keep = v->tail_n + head < sizeof(v->tail) ? v->tail_n + head : sizeof(v->tail);
	if (out.n >= sizeof(v->tail))
		memcpy(v->tail, out.p + out.n - sizeof(v->tail), sizeof(v->tail));
	else
		memcpy(v->tail, seam + v->tail_n + head - keep, keep);
	v->tail_n = keep;
}

void shell_screen_status(struct shell_view *v)
{
	char text[256];
	uint64_t now = clock_mono_ms(), away = v->lost_ms ? now - v->lost_ms : 0;
	if (away >= SHELL_LOST_MS) {
		snprintf(text, sizeof(text),
			 "\0337\033[1;1H\033[0;2;7m towline: no connection to %.60s for %llu s, "
			 "trying again (~. leaves) \033[0m\033[K\0338",
			 v->host, (unsigned long long)(away / 1000));
		screen_put(v, text);
		v->status_shown = true;
	} else if (v->status_shown && !v->lost_ms) {
		screen_put(v, "\0337\033[1;1H\033[2K\0338");
		v->status_shown = false;
		shell_screen_redraw(v);
	}
}

void shell_screen_redraw(struct shell_view *v)
{
	struct hold_size less = v->size;
	if (v->fd < 0 || (!v->alternate && !v->attached) || v->size.rows < 3)
		return;
	less.rows--;
	/* no room for two small frames: then the screen stays as it is */
	if (hold_put_size(&v->out, HOLD_FRAME_RESIZE, less) == 0)
		hold_put_size(&v->out, HOLD_FRAME_RESIZE, v->size);
}

void shell_screen_leave(struct shell_view *v)
{
	if (v->status_shown)
		screen_put(v, "\0337\033[1;1H\033[2K\0338");
	/* keypad, cursor, mouse, bracketed paste: as a shell expects them */
	if (v->alternate)
		screen_put(v, "\033[?1049l\033[?1l\033>\033[?25h\033[?1000l\033[?1002l\033[?1003l"
			      "\033[?1006l\033[?2004l\033[0m");
}
