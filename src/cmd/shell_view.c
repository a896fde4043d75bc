/* shell_view.c - see shell_view.h. One thread, one poll(2). Nothing is queued without a bound: what
 * is typed is kept until the host has it (shell_input.h), then waits in the terminal; what is
 * printed is asked for by credit. Whatever happens, the terminal is given back as it was. */
#include "cmd/shell_view.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/str.h"
#include "cmd/shell_screen.h"
#include "loop/io.h"

#define OUT_MAX 65536
#define OUT_BUSY                                                                                   \
	32768           /* what waits for the stream; the rest of what was typed waits in v->input \
			 */
#define TYPED_MAX  4096 /* one read of the terminal */
#define TAIL_BYTES 65536 /* what one sees of a terminal joined later */
#define TICK_MS    1000
#define RETRY_MS   1000
#define FLUSH_MS   3000   /* who leaves waits so long for the last keys to arrive */
#define WRITE_MS   600000 /* the user may have stopped the output of a pipe for a while */
#define VEOF       4

/* Signals that change the course of the loop. */
static const int signals[] = {SIGWINCH, SIGINT, SIGTERM, SIGHUP};
#define SIGNALS (sizeof(signals) / sizeof(signals[0]))

/* What a signal handler can reach: the writing end of a pipe; and, while a call to the daemon
 * blocks, what it takes to leave at once. */
static int signal_pipe[2] = {-1, -1};
static struct {
	volatile sig_atomic_t now;
	bool raw;
	struct termios was;
	char text[600];
	size_t n;
} leaving;

static void on_signal(int signo)
{
	int e = errno;
	uint8_t b = (uint8_t)signo;
	if (leaving.now && signo != SIGWINCH) {
		if (leaving.raw)
			tcsetattr(0, TCSANOW, &leaving.was);
		_exit(write(2, leaving.text, leaving.n) < 0 ? 1 : 128 + signo);
	}
	if (write(signal_pipe[1], &b, 1) < 0)
		errno = e; /* full: the loop will run anyway */
	errno = e;
}

static int signals_start(struct tl_err *err)
{
	struct sigaction sa = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
	if (pipe2(signal_pipe, O_CLOEXEC | O_NONBLOCK) != 0)
		return err_sys(err, errno, "open a terminal: make a pipe");
	sigemptyset(&sa.sa_mask);
	for (size_t i = 0; i < SIGNALS; i++)
		sigaction(signals[i], &sa, NULL);
	return 0;
}

/* ---- the user's terminal ---- */

struct hold_size shell_size(void)
{
	struct winsize w;
	for (int fd = 0; fd < 3; fd++)
		if (ioctl(fd, TIOCGWINSZ, &w) == 0 && w.ws_col && w.ws_row)
			return (struct hold_size){w.ws_col, w.ws_row};
	return (struct hold_size){80, 24};
}

/* Raw: every key goes to the host. */
static void view_raw(struct shell_view *v)
{
	struct termios t = v->was;
	if (!v->tty_in)
		return;
	cfmakeraw(&t);
	tcsetattr(0, TCSADRAIN, &t);
	v->raw = true;
}

static void view_cooked(struct shell_view *v)
{
	if (v->raw)
		tcsetattr(0, TCSADRAIN, &v->was);
	v->raw = false;
}

static int view_prompt(void *ctx, const char *host, const char *kind, const char *text, bool echo,
		       int attempt, char **ret_answer)
{
	struct shell_view *v = ctx;
	bool raw = v->raw;
	view_cooked(v);
	int rc = v->prompt(ctx, host, kind, text, echo, attempt, ret_answer);
	if (raw)
		view_raw(v);
	return rc;
}

/* Once the terminal is up, the line at the top of the screen takes the place of progress. */
static void view_progress(void *ctx, const char *host, const char *step, const char *text,
			  int64_t done, int64_t total)
{
	struct shell_view *v = ctx;
	if (!v->running && v->progress)
		v->progress(ctx, host, step, text, done, total);
}

static void view_notify(void *ctx, const struct jsonrpc_msg *m)
{
	struct shell_view *v = ctx;
	if (!v->running || strcmp(m->method, "host/state") ||
	    strcmp(json_str(m->params, "host", ""), v->host))
		return;
	bool there = !strcmp(json_str(m->params, "phase", ""), "connected");
	int64_t silent = json_int(m->params, "silentMs", 0);
	if (there && silent < SHELL_LOST_MS)
		v->lost_ms = 0;
	else if (!v->lost_ms)
		v->lost_ms = clock_mono_ms() - (there ? (uint64_t)silent : 0);
}

/* Whether the terminal may be read: then what it gives fits. */
static bool view_reads(const struct shell_view *v)
{
	return !v->in_ended && !v->detached && shell_input_room(&v->input) > TYPED_MAX;
}

static int view_watch_fd(void *ctx)
{
	const struct shell_view *v = ctx;
	return v->away && view_reads(v) ? 0 : -1;
}

static void view_stdin(struct shell_view *v);

/* Typed while the host is looked for: kept; an escape still leads out. */
static int view_watched(void *ctx, struct tl_err *err)
{
	struct shell_view *v = ctx;
	view_stdin(v);
	return v->detached ? err_set(err, TL_E_CANCELED, "wait for the terminal %s", v->id) : 0;
}

void shell_view_init(struct shell_view *v, const struct cmd_globals *g)
{
	*v = (struct shell_view){.fd = -1};
	cmd_ui_init(&v->ui, g);
	v->prompt = v->ui.api.prompt;
	v->progress = v->ui.api.progress;
	v->ui.api.prompt = view_prompt;
	v->ui.api.progress = view_progress;
	v->ui.api.notify = view_notify;
	v->ui.api.watch_fd = view_watch_fd;
	v->ui.api.watched = view_watched;
	uint64_t id;
	random_bytes(&id, sizeof(id));
	shell_input_init(&v->input, id);
	buf_init(&v->in, 2 * HOLD_FRAME_MAX);
	buf_init(&v->out, OUT_MAX);
}

/* ---- frames to the host ---- */

static void view_put(struct shell_view *v, int rc)
{
	/* bounded by OUT_BUSY and small control frames: only memory can be short, and then the
	 * stream is given up and opened again */
	if (rc && v->fd >= 0) {
		close(v->fd);
		v->fd = -1;
	}
}

static void view_type(struct shell_view *v, const uint8_t *p, size_t n)
{
	/* room was looked for (view_reads): only memory can be short */
	if (n && shell_input_type(&v->input, p, n) != 0)
		v->typed_lost += n;
}

/* What was typed, as far as the stream takes it soon. */
static void view_send(struct shell_view *v)
{
	if (v->fd >= 0)
		view_put(v, shell_input_send(&v->input, &v->out, OUT_BUSY));
}

static void view_resize(struct shell_view *v, struct hold_size size)
{
	view_put(v, hold_put_size(&v->out, HOLD_FRAME_RESIZE, size));
}

static void view_acked(struct shell_view *v)
{
	if (v->cursor_off - v->acked_off < TL_LIMIT_TERM_WINDOW / 4)
		return;
	v->acked_off = v->cursor_off;
	view_put(v, hold_put_offset(&v->out, HOLD_FRAME_ACKED, v->cursor_off));
}

/* ---- frames from the host ---- */

static int view_print(struct shell_view *v, struct tl_bytes b, struct tl_err *err)
{
	shell_screen_track(v, b);
	int rc = fd_write_all(1, b.p, b.n, WRITE_MS);
	return rc ? err_set(err, rc, "write the terminal's output") : 0;
}

static void view_note(struct shell_view *v, uint64_t bytes)
{
	char text[128];
	if (!v->tty_out || !bytes)
		return;
	int n = snprintf(text, sizeof(text), "\r\n\033[2m[towline: %llu bytes are gone]\033[0m\r\n",
			 (unsigned long long)bytes);
	fd_write_all(1, text, (size_t)n, WRITE_MS);
}

static int view_frame(struct shell_view *v, const struct hold_frame *f, struct tl_err *err)
{
	struct hold_attached a;
	uint64_t off;
	switch (f->type) {
	case HOLD_FRAME_INPUT_ACKED:
		return shell_input_acked(&v->input, hold_get_offset(f->payload));
	case HOLD_FRAME_ATTACHED:
		a = hold_get_attached(f->payload);
		shell_input_attached(&v->input);
		if (v->cursor_known && a.from_off > v->cursor_off)
			view_note(v, a.from_off - v->cursor_off);
		v->cursor_known = true;
		v->cursor_off = v->acked_off = a.from_off;
		/* the last one to come gives the size; told twice, so that a program that was
		 * there before draws its screen again */
		if (v->attached || v->alternate)
			shell_screen_redraw(v);
		view_resize(v, v->size);
		return 0;
	case HOLD_FRAME_DATA:
		v->cursor_off += f->payload.n;
		view_acked(v);
		return view_print(v, f->payload, err);
	case HOLD_FRAME_GAP:
		off = hold_get_offset(f->payload);
		view_note(v, off - v->cursor_off);
		v->cursor_off = v->acked_off = off;
		return 0;
	case HOLD_FRAME_EXIT:
		v->exit = hold_get_exit(f->payload);
		v->done = true;
		return 0;
	default:
		return 0;
	}
}

static int view_read(struct shell_view *v, struct tl_err *err)
{
	size_t room = buf_room(&v->in), used;
	struct hold_frame f;
	uint8_t *p = buf_reserve(&v->in, room);
	ssize_t n = p ? read(v->fd, p, room) : 0;
	int rc = 0;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n > 0)
		buf_commit(&v->in, (size_t)n);
	while (!rc && !v->done && v->fd >= 0 &&
	       (rc = hold_frame_next(buf_data(&v->in), HOLD_FROM_HOLD, &f, &used)) == 1) {
		rc = view_frame(v, &f, err);
		buf_consume(&v->in, used);
	}
	if (rc == TL_E_PROTO)
		return err_set(err, rc, "read the terminal %s", v->id);
	if (n <= 0 && !v->done && v->fd >= 0) {
		close(v->fd);
		v->fd = -1;
	}
	return rc;
}

static void view_write(struct shell_view *v)
{
	for (view_send(v); v->fd >= 0 && v->out.len; view_send(v)) {
		struct tl_bytes b = buf_data(&v->out);
		ssize_t n = write(v->fd, b.p, b.n);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n < 0) {
			close(v->fd);
			v->fd = -1;
			return;
		}
		buf_consume(&v->out, (size_t)n);
	}
}

/* ---- the keyboard ---- */

static void view_help(void)
{
	static const char text[] =
	    "\r\nAt the start of a line:\r\n"
	    "  ~d ~.  detach: the terminal goes on, `towline shell HOST --attach ID` returns\r\n"
	    "  ~~     a tilde\r\n"
	    "  ~?     this\r\n";
	fd_write_all(1, text, sizeof(text) - 1, WRITE_MS);
}

static void view_keys(struct shell_view *v, struct tl_bytes in)
{
	uint8_t out[TYPED_MAX + 1];
	size_t used, n;
	while (in.n && !v->detached) {
		enum shell_key key = shell_keys_feed(&v->keys, in, &used, out, &n);
		view_type(v, out, n);
		if (key == SHELL_KEY_HELP)
			view_help();
		v->detached |= key == SHELL_KEY_DETACH;
		in = bytes_of(in.p + used, in.n - used);
	}
}

static void view_stdin(struct shell_view *v)
{
	static const uint8_t eof[2] = {VEOF, VEOF};
	uint8_t typed[TYPED_MAX];
	ssize_t n = read(0, typed, sizeof(typed));
	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	if (n <= 0) {
		v->in_ended = true;
		/* the user's terminal itself is gone; or a pipe ended, which the program is told:
		 * on a line already begun the first key only sends that line */
		if (v->tty_in)
			v->detached = true;
		else
			view_type(v, eof, v->last_byte && v->last_byte != '\n' ? 2 : 1);
		return;
	}
	v->last_byte = typed[n - 1];
	if (v->tty_in)
		view_keys(v, bytes_of(typed, (size_t)n));
	else
		view_type(v, typed, (size_t)n);
}

static void view_signal(struct shell_view *v, int signo)
{
	uint8_t b = (uint8_t)signo;
	if (signo == SIGWINCH) {
		v->size = shell_size();
		view_resize(v, v->size);
		return;
	}
	if (!v->command || v->tty_in || v->fd < 0) {
		v->detached = true;
		return;
	}
	/* a command in a script: nothing is left behind on the host */
	if (signo == SIGINT && v->interrupts++ == 0)
		view_put(v, hold_put(&v->out, HOLD_FRAME_SIGNAL, &b, 1));
	else
		view_put(v, hold_put(&v->out, HOLD_FRAME_DROP, NULL, 0));
}

static void view_signals(struct shell_view *v)
{
	uint8_t b[64];
	ssize_t n = read(signal_pipe[0], b, sizeof(b));
	for (ssize_t i = 0; i < n; i++)
		view_signal(v, b[i]);
}

/* ---- losing and finding the host ---- */

/* Waits for the answer of a stream just begun; keys are taken meanwhile. */
static int view_answer(struct shell_view *v, struct tl_err *err)
{
	struct pollfd p[2] = {{.fd = v->fd, .events = POLLIN}, {.events = POLLIN}};
	int rc = 0;
	while (!rc && !p[0].revents) {
		p[1].fd = view_watch_fd(v);
		if (poll(p, 2, -1) < 0)
			p[0].revents = p[1].revents = 0; /* interrupted */
		if (p[1].revents)
			rc = view_watched(v, err);
	}
	return rc ? rc : api_stream_answer(v->fd, NULL, err);
}

static int view_open(struct shell_view *v, struct tl_err *err)
{
	struct hold_attach a = {.window_bytes = TL_LIMIT_TERM_WINDOW};
	char *json = str_fmt("{\"open\":\"term\",\"id\":\"%s\"}", v->id);
	int rc = json ? api_stream_begin(v->host, json, &v->fd, err)
		      : err_set(err, TL_E_NOMEM, "open a terminal");
	free(json);
	if (!rc) {
		rc = view_answer(v, err);
		if (rc)
			close(v->fd);
	}
	if (rc) {
		v->fd = -1;
		return rc;
	}
	fd_set_nonblock(v->fd, true);
	buf_clear(&v->in);
	buf_clear(&v->out);
	a.from_off = v->cursor_known ? v->cursor_off : v->attached ? HOLD_FROM_TAIL : 0;
	a.tail_bytes = TAIL_BYTES;
	view_put(v, shell_input_begin(&v->input, &v->out));
	view_put(v, hold_put_attach(&v->out, &a));
	return 0;
}

static int view_subscribe(struct shell_view *v, struct tl_err *err)
{
	struct jsonrpc_msg m = {0};
	int rc = api_client_call(v->client, "host/subscribe", cmd_params("host", v->host, NULL), &m,
				 err);
	jsonrpc_fini(&m);
	return rc;
}

/* The stream broke: the host was given up, or the daemon ended. */
static int view_reopen_once(struct shell_view *v, struct tl_err *err)
{
	char *host = NULL;
	int rc = 0;
	if (!v->client)
		rc = api_client_open(&v->client, true, &v->ui.api, err);
	if (!rc)
		rc = api_client_connect_host(v->client, v->typed_host, &v->ui.g->host, &host, err);
	free(host);
	if (!rc)
		rc = view_subscribe(v, err);
	if (rc == TL_E_CLOSED) {
		api_client_close(v->client);
		v->client = NULL;
	}
	return rc ? rc : view_open(v, err);
}

/* Between two attempts; keys and signals are taken meanwhile. */
static void view_pause(struct shell_view *v)
{
	struct pollfd p[2] = {{.fd = signal_pipe[0], .events = POLLIN}, {.events = POLLIN}};
	uint64_t now, end = clock_mono_ms() + RETRY_MS;
	while (!v->detached && (now = clock_mono_ms()) < end) {
		p[1].fd = view_watch_fd(v);
		if (poll(p, 2, (int)(end - now)) <= 0)
			continue;
		if (p[0].revents)
			view_signals(v);
		if (p[1].revents)
			view_stdin(v);
	}
}

static int view_reopen(struct shell_view *v, struct tl_err *err)
{
	int rc = TL_E_CLOSED;
	if (!v->lost_ms)
		v->lost_ms = clock_mono_ms();
	/* calls to the daemon block: a signal must still lead out */
	leaving.raw = v->tty_in;
	leaving.was = v->was;
	leaving.n = (size_t)snprintf(leaving.text, sizeof(leaving.text),
				     "\r\n[the terminal goes on; towline shell %.300s --attach "
				     "%.100s]\n",
				     v->typed_host, v->id);
	v->away = true;
	while (!v->detached) {
		*err = (struct tl_err){0};
		leaving.now = 1;
		rc = view_reopen_once(v, err);
		leaving.now = 0;
		if (rc == 0 || !err_row(rc)->retryable)
			break;
		shell_screen_status(v);
		view_pause(v);
	}
	v->away = false;
	v->lost_ms = rc ? v->lost_ms : 0;
	return v->detached ? 0 : rc;
}

/* Once a second: what the daemon says about the host, and the line that shows it. */
static void view_tick(struct shell_view *v)
{
	struct tl_err err = {0};
	int rc = 0;
	while (v->client && (rc = api_client_wait(v->client, 0, &err)) == 0)
		;
	if (rc == TL_E_CLOSED && v->client) {
		api_client_close(v->client);
		v->client = NULL;
	}
	shell_screen_status(v);
}

static int view_turn(struct shell_view *v, uint64_t *tick_at, struct tl_err *err)
{
	uint64_t now = clock_mono_ms();
	bool reads = view_reads(v);
	struct pollfd p[3] = {{.fd = v->fd, .events = (short)(POLLIN | (v->out.len ? POLLOUT : 0))},
			      {.fd = reads ? 0 : -1, .events = POLLIN},
			      {.fd = signal_pipe[0], .events = POLLIN}};
	if (poll(p, 3, *tick_at > now ? (int)(*tick_at - now) : 0) < 0 && errno != EINTR)
		return err_sys(err, errno, "wait for the terminal");
	int rc = 0;
	if (p[2].revents > 0)
		view_signals(v);
	if (p[1].revents > 0)
		view_stdin(v);
	if (v->fd >= 0 && p[0].revents & (POLLIN | POLLHUP | POLLERR))
		rc = view_read(v, err);
	view_write(v);
	if (clock_mono_ms() >= *tick_at) {
		view_tick(v);
		*tick_at = clock_mono_ms() + TICK_MS;
	}
	return rc;
}

/* The user leaves: what he typed before goes to the host, if it can be reached. */
static void view_flush(struct shell_view *v, uint64_t *tick_at)
{
	struct tl_err err = {0};
	uint64_t end = clock_mono_ms() + FLUSH_MS;
	while (v->fd >= 0 && !v->done && (v->out.len || shell_input_waiting(&v->input)) &&
	       clock_mono_ms() < end)
		if (view_turn(v, tick_at, &err) != 0)
			return;
}

int shell_view_run(struct shell_view *v, struct tl_err *err)
{
	uint64_t tick_at = 0;
	v->running = true;
	v->size = shell_size();
	int rc = view_open(v, err);
	rc = rc ? rc : view_subscribe(v, err);
	rc = rc ? rc : signals_start(err);
	if (rc)
		return rc;
	v->tty_out = isatty(1);
	v->tty_in = tcgetattr(0, &v->was) == 0;
	view_raw(v);
	while (!rc && !v->done && !v->detached) {
		if (v->fd < 0)
			rc = view_reopen(v, err);
		else
			rc = view_turn(v, &tick_at, err);
	}
	if (v->detached && !rc && !v->lost_ms)
		view_flush(v, &tick_at);
	shell_screen_leave(v);
	view_cooked(v);
	return rc;
}

void shell_view_fini(struct shell_view *v)
{
	if (v->fd >= 0)
		close(v->fd);
	api_client_close(v->client);
	shell_input_fini(&v->input);
	buf_fini(&v->in);
	buf_fini(&v->out);
	free(v->host);
	free(v->id);
}
