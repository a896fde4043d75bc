/* cmd_tty.c - the user's terminal: ssh's questions on /dev/tty, one progress line on standard
 * error. Invariant: whatever ends a question - an answer, Ctrl-C, another signal - the terminal is
 * as it was before. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/str.h"
#include "cmd/cmd_util.h"
#include "loop/io.h"

#define ANSWER_MAX 4096
#define WRITE_MS   10000

/* Signals that end or stop us while the terminal does not echo. */
static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP};
#define SIGNALS (sizeof(signals) / sizeof(signals[0]))

/* The one thing a signal handler can reach: which signal came. */
static volatile sig_atomic_t got_signal;

static void note_signal(int signo)
{
	got_signal = signo;
}

struct tty {
	int fd;
	struct termios was;
	bool changed;
	struct sigaction old[SIGNALS];
};

static int tty_open(struct tty *t, bool echo)
{
	struct sigaction sa = {.sa_handler = note_signal};
	struct termios now;

	*t = (struct tty){.fd = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY)};
	if (t->fd < 0)
		return TL_E_CANCELED;
	got_signal = 0;
	sigemptyset(&sa.sa_mask);
	/* without SA_RESTART: a signal ends the read */
	for (size_t i = 0; i < SIGNALS; i++)
		sigaction(signals[i], &sa, &t->old[i]);
	if (tcgetattr(t->fd, &t->was) == 0) {
		now = t->was;
		now.c_lflag |= ICANON | ISIG;
		now.c_iflag |= ICRNL;
		now.c_oflag |= OPOST | ONLCR;
		if (echo)
			now.c_lflag |= ECHO;
		else
			now.c_lflag &= ~(tcflag_t)(ECHO | ECHOE | ECHOK | ECHONL);
		t->changed = tcsetattr(t->fd, TCSAFLUSH, &now) == 0;
	}
	return 0;
}

static void tty_close(struct tty *t)
{
	if (t->changed)
		tcsetattr(t->fd, TCSAFLUSH, &t->was);
	for (size_t i = 0; i < SIGNALS; i++)
		sigaction(signals[i], &t->old[i], NULL);
	close(t->fd);
}

static void tty_put(struct tty *t, const char *text)
{
	fd_write_all(t->fd, text, strlen(text), WRITE_MS);
}

/* Text from elsewhere: control characters could move the cursor or rename the window. */
static void tty_put_foreign(struct tty *t, const char *text)
{
	char out[TL_LIMIT_PROMPT_TEXT];
	size_t n = 0;

	for (; *text && n + 2 < sizeof(out); text++) {
		unsigned char c = (unsigned char)*text;
		if (c == '\n' || c == '\t' || (c >= 0x20 && c != 0x7f))
			out[n++] = (char)c;
		else if (c != '\r')
			out[n++] = '?';
	}
	out[n] = 0;
	tty_put(t, out);
}

/* A line without its end. TL_E_CANCELED at end of file or when a signal came. */
static int tty_line(struct tty *t, char *out, size_t n)
{
	size_t len = 0;

	for (;;) {
		struct pollfd pf = {.fd = t->fd, .events = POLLIN};
		ssize_t got;
		if (got_signal)
			return TL_E_CANCELED;
		if (poll(&pf, 1, -1) < 0)
			continue;
		got = read(t->fd, out + len, n - len - 1);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return TL_E_CANCELED;
		len += (size_t)got;
		if (out[len - 1] == '\n') {
			out[len - 1] = 0;
			return 0;
		}
		/* a pasted line that is too long: the rest is not the answer to anything */
		if (len + 1 >= n)
			return TL_E_LIMIT;
	}
}

static int prompt(void *ctx, const char *host, const char *kind, const char *text, bool echo,
		  int attempt, char **ret_answer)
{
	struct cmd_ui *ui = ctx;
	bool touch = strcmp(kind, "touch") == 0;
	char answer[ANSWER_MAX];
	struct tty t;
	size_t n = strlen(text);
	int rc;

	cmd_ui_clear(ui);
	if (tty_open(&t, echo) != 0)
		return TL_E_CANCELED;
	if (attempt > 1)
		tty_put(&t, "That was not right; again:\n");
	tty_put_foreign(&t, text);
	/* ssh's texts end with ": " or ")? "; where they do not, the cursor needs a place */
	if (n > 0 && text[n - 1] != ' ' && !touch)
		tty_put(&t, " ");
	if (touch) {
		tty_put(&t, "\n");
		rc = 0;
		answer[0] = 0;
	} else {
		rc = tty_line(&t, answer, sizeof(answer));
		if (!echo || rc)
			tty_put(&t, "\n");
	}
	tty_close(&t);
	if (rc == 0) {
		*ret_answer = str_dup(answer);
		rc = *ret_answer ? 0 : TL_E_NOMEM;
	}
	explicit_bzero(answer, sizeof(answer));
	(void)host;
	/* the terminal is whole again: now the signal may do what it does */
	if (got_signal && got_signal != SIGINT)
		raise(got_signal);
	return rc;
}

/* ---- progress ---- */

static unsigned columns(void)
{
	struct winsize ws;

	return ioctl(2, TIOCGWINSZ, &ws) == 0 && ws.ws_col > 20 ? ws.ws_col : 80;
}

static void progress(void *ctx, const char *host, const char *step, const char *text, int64_t done,
		     int64_t total)
{
	struct cmd_ui *ui = ctx;
	char line[512];
	int n;

	(void)host;
	if (strcmp(step, "notice") == 0 && !ui->g->json) {
		cmd_ui_clear(ui);
		fputs("towline: ", stderr);
		for (const char *p = text; *p; p++)
			fputc((unsigned char)*p < 0x20 || *p == 0x7f ? ' ' : *p, stderr);
		fputc('\n', stderr);
		return;
	}
	if (ui->g->quiet)
		return;
	n = total > 0
		? snprintf(line, sizeof(line), "%s %lld%%", text, (long long)(done * 100 / total))
		: snprintf(line, sizeof(line), "%s", text);
	if (n < 0)
		return;
	for (char *p = line; *p; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			*p = ' ';
	if (ui->g->verbose) {
		/* every step once, to be kept; not every percent */
		if (strcmp(ui->last, text) != 0)
			fprintf(stderr, "%s\n", line);
		str_copy(ui->last, sizeof(ui->last), text);
		return;
	}
	if (!isatty(2))
		return;
	fprintf(stderr, "\r%.*s\033[K", (int)columns() - 1, line);
	fflush(stderr);
	ui->line_shown = true;
}

void cmd_ui_init(struct cmd_ui *ui, const struct cmd_globals *g)
{
	*ui = (struct cmd_ui){.g = g};
	ui->api = (struct api_ui){.prompt = prompt, .progress = progress, .ctx = ui};
}

void cmd_ui_clear(struct cmd_ui *ui)
{
	if (!ui->line_shown)
		return;
	fputs("\r\033[K", stderr);
	fflush(stderr);
	ui->line_shown = false;
}
