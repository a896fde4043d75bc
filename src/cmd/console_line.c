/* console_line.c - see console_line.h. libedit asks us for each character (EL_GETCFN): there the
 * session is read, too. */
#include "cmd/console_line.h"

#include <errno.h>
#include <histedit.h>
#include <locale.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <wchar.h>

#include "base/str.h"
#include "loop/io.h"

#define HISTORY     2000 /* lines */
#define LINE_MAX_   1048576
#define COMPLETE_MS 3000 /* the kernel has for an answer to Tab */
#define SHOWN_MAX   200  /* completions listed */
#define WRITE_MS    600000

struct console_line {
	struct code_view *v;
	EditLine *el; /* NULL: no terminal */
	History *history;
	char *path;
	const char *prompt, *before;
	bool wrote; /* what other clients do stands in our line now */
	int signo;
};

static struct console_line *of(EditLine *el)
{
	struct console_line *l = NULL;
	el_get(el, EL_CLIENTDATA, &l);
	return l;
}

static char *prompt_of(EditLine *el)
{
	/* libedit only reads it */
	return (char *)(uintptr_t)of(el)->prompt;
}

/* ---- waiting for a key ---- */

/* poll(2) that a signal ends, also one that came a moment before it. */
static int poll_or_signal(struct console_line *l, struct pollfd *p, nfds_t n)
{
	sigset_t block, was;
	int rc = -1;
	sigemptyset(&block);
	sigaddset(&block, SIGINT);
	sigaddset(&block, SIGTERM);
	sigaddset(&block, SIGHUP);
	sigprocmask(SIG_BLOCK, &block, &was);
	l->signo = code_view_signal();
	if (!l->signo)
		rc = ppoll(p, n, NULL, &was);
	if (rc < 0 && !l->signo)
		l->signo = code_view_signal();
	sigprocmask(SIG_SETMASK, &was, NULL);
	return rc;
}

/* One byte of the terminal; 0: its end; -1: a signal. */
static int wait_byte(struct console_line *l, char *c)
{
	for (;;) {
		struct pollfd p[2] = {{.fd = 0, .events = POLLIN},
				      {.fd = l->v->fd, .events = POLLIN}};
		struct tl_err err = {0};
		if (poll_or_signal(l, p, 2) < 0) {
			if (!l->signo)
				continue;
			return -1;
		}
		if (p[1].revents && l->v->fd >= 0) {
			code_view_read(l->v, &err);
			if (l->wrote)
				el_set(l->el, EL_REFRESH);
			l->wrote = false;
			if (l->v->dead || l->v->over)
				return 0;
		}
		if (p[0].revents)
			return read(0, c, 1) == 1 ? 1 : 0;
	}
}

static int get_char(EditLine *el, wchar_t *wc)
{
	struct console_line *l = of(el);
	mbstate_t state = {0};
	for (;;) {
		char c;
		int n = wait_byte(l, &c);
		size_t rc;
		if (n <= 0) {
			errno = n < 0 ? EINTR : 0;
			return n;
		}
		rc = mbrtowc(wc, &c, 1, &state);
		if (rc == (size_t)-1)
			state = (mbstate_t){0};
		else if (rc != (size_t)-2)
			return 1;
	}
}

/* ---- what other clients do ---- */

static void show_other(struct code_view *v, const char *type, yyjson_val *content)
{
	struct console_line *l = v->others_ctx;
	const char *text = NULL;
	if (strcmp(type, "execute_input") == 0)
		text = json_str(content, "code", NULL);
	else if (strcmp(type, "stream") == 0)
		text = json_str(content, "text", NULL);
	else if (strcmp(type, "execute_result") == 0 || strcmp(type, "display_data") == 0)
		text = json_str(json_get(content, "data"), "text/plain", NULL);
	else if (strcmp(type, "error") == 0)
		text = json_str(content, "evalue", "an error");
	if (!text || !l->el)
		return;
	if (!l->wrote)
		fd_write_all(1, "\r\033[K", 4, WRITE_MS);
	l->wrote = true;
	if (strcmp(type, "execute_input") == 0)
		fd_write_all(1, "[other client] ", 15, WRITE_MS);
	fd_write_all(1, text, strlen(text), WRITE_MS);
	if (!str_ends(text, "\n"))
		fd_write_all(1, "\n", 1, WRITE_MS);
}

/* ---- Tab ---- */

/* Code points in n bytes, and bytes in n code points. */
static int64_t points_of(const char *s, size_t n)
{
	int64_t count = 0;
	for (size_t i = 0; i < n; i++)
		count += ((unsigned char)s[i] & 0xc0) != 0x80;
	return count;
}

static void list_matches(EditLine *el, yyjson_val *matches)
{
	size_t i, n, widest = 0, per_line, at = 0;
	yyjson_val *m;
	int cols = 80;
	el_get(el, EL_GETTC, "co", &cols, NULL);
	yyjson_arr_foreach(matches, i, n, m)
	{
		if (yyjson_get_len(m) > widest && i < SHOWN_MAX)
			widest = yyjson_get_len(m);
	}
	per_line = (size_t)cols / (widest + 2);
	per_line = per_line ? per_line : 1;
	fputc('\n', stdout);
	yyjson_arr_foreach(matches, i, n, m)
	{
		if (i == SHOWN_MAX) {
			printf("… %zu more", n - i);
			break;
		}
		printf("%-*s", (int)widest + 2, yyjson_is_str(m) ? yyjson_get_str(m) : "");
		if (++at % per_line == 0)
			fputc('\n', stdout);
	}
	if (at % per_line)
		fputc('\n', stdout);
	fflush(stdout);
}

/* Bytes that all matches have in front, whole characters. */
static size_t common(yyjson_val *matches)
{
	const char *first = yyjson_get_str(yyjson_arr_get_first(matches));
	size_t i, n, len = first ? strlen(first) : 0;
	yyjson_val *m;
	yyjson_arr_foreach(matches, i, n, m)
	{
		const char *s = yyjson_is_str(m) ? yyjson_get_str(m) : "";
		size_t k = 0;
		while (k < len && s[k] == first[k])
			k++;
		len = k;
	}
	while (len && ((unsigned char)first[len] & 0xc0) == 0x80)
		len--;
	return len;
}

static char *question(const struct console_line *l, const char *line, size_t cursor, size_t n)
{
	yyjson_mut_doc *d = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *o = yyjson_mut_obj(d);
	char *code = str_fmt("%s%.*s", l->before, (int)n, line), *text;
	yyjson_mut_doc_set_root(d, o);
	json_add_path(d, o, "code", code ? code : "");
	yyjson_mut_obj_add_int(d, o, "cursor_pos",
			       points_of(l->before, strlen(l->before)) + points_of(line, cursor));
	text = yyjson_mut_write(d, 0, NULL);
	yyjson_mut_doc_free(d);
	free(code);
	return text;
}

static unsigned char complete(EditLine *el, int ch)
{
	struct console_line *l = of(el);
	const LineInfo *li = el_line(el);
	size_t cursor = (size_t)(li->cursor - li->buffer);
	size_t n = (size_t)(li->lastchar - li->buffer), len;
	char *ask, *word;
	yyjson_doc *d;
	yyjson_val *root, *matches;
	int64_t start, at;
	unsigned char result = CC_ERROR;
	(void)ch;
	/* an indent is one */
	if (strspn(li->buffer, " \t") >= cursor) {
		el_insertstr(el, "    ");
		return CC_REFRESH;
	}
	at = points_of(l->before, strlen(l->before)) + points_of(li->buffer, cursor);
	ask = question(l, li->buffer, cursor, n);
	d = ask ? code_view_ask(l->v, "complete_request", ask, COMPLETE_MS) : NULL;
	root = yyjson_doc_get_root(d);
	matches = json_get(root, "matches");
	start = json_int(root, "cursor_start", at);
	if (yyjson_arr_size(matches) > 0 && start <= at && json_int(root, "cursor_end", at) == at) {
		len = common(matches);
		word = str_ndup(yyjson_get_str(yyjson_arr_get_first(matches)), len);
		if (word && points_of(word, len) >= at - start) {
			el_deletestr(el, (int)(at - start));
			el_insertstr(el, word);
			result = CC_REFRESH;
		}
		if (yyjson_arr_size(matches) > 1) {
			list_matches(el, matches);
			result = CC_REDISPLAY;
		}
		free(word);
	}
	yyjson_doc_free(d);
	free(ask);
	return result;
}

/* ---- life ---- */

static bool edit_open(struct console_line *l)
{
	HistEvent ev;
	l->el = el_init("towline", stdin, stdout, stderr);
	l->history = history_init();
	if (!l->el || !l->history)
		return false;
	el_set(l->el, EL_CLIENTDATA, l);
	el_set(l->el, EL_PROMPT, prompt_of);
	el_set(l->el, EL_EDITOR, "emacs");
	el_set(l->el, EL_SIGNAL, 0);
	history(l->history, &ev, H_SETSIZE, HISTORY);
	history(l->history, &ev, H_SETUNIQUE, 1);
	if (l->path)
		history(l->history, &ev, H_LOAD, l->path);
	el_set(l->el, EL_HIST, history, l->history);
	el_set(l->el, EL_GETCFN, get_char);
	/* the narrow form copies the two texts and never frees them */
	el_wset(l->el, EL_ADDFN, L"kernel-complete", L"asks the kernel", complete);
	el_set(l->el, EL_BIND, "^I", "kernel-complete", NULL);
	el_set(l->el, EL_BIND, "^R", "em-inc-search-prev", NULL);
	/* the user's own ~/.editrc comes last */
	el_source(l->el, NULL);
	return true;
}

struct console_line *console_line_open(struct code_view *v, const char *path)
{
	struct console_line *l = calloc(1, sizeof(*l));
	if (!l)
		return NULL;
	l->v = v;
	l->path = str_dup(path);
	l->before = l->prompt = "";
	if (!isatty(0) || !isatty(1))
		return l;
	/* names and texts are UTF-8, whatever the terminal was told */
	if (!setlocale(LC_CTYPE, "") || MB_CUR_MAX == 1)
		setlocale(LC_CTYPE, "C.UTF-8");
	v->others = show_other;
	v->others_ctx = l;
	if (edit_open(l))
		return l;
	console_line_close(l);
	return NULL;
}

void console_line_close(struct console_line *l)
{
	HistEvent ev;
	if (!l)
		return;
	l->v->others = NULL;
	if (l->history && l->path) {
		mode_t was = umask(077);
		history(l->history, &ev, H_SAVE, l->path);
		umask(was);
	}
	if (l->history)
		history_end(l->history);
	if (l->el)
		el_end(l->el);
	free(l->path);
	free(l);
}

bool console_line_is_terminal(const struct console_line *l)
{
	return l->el != NULL;
}

void console_line_keep(struct console_line *l, const char *text)
{
	HistEvent ev;
	if (l->history && *text)
		history(l->history, &ev, H_ENTER, text);
}

/* ---- lines ---- */

static enum console_got read_pipe(char **ret_text)
{
	struct buf b;
	enum console_got got = CONSOLE_LINE;
	char c = 0;
	ssize_t n = 1;
	buf_init(&b, LINE_MAX_);
	/* byte by byte: what follows belongs to input() */
	while ((n = read(0, &c, 1)) == 1 && c != '\n')
		if (buf_put_u8(&b, (uint8_t)c) != 0)
			break;
	if (n < 0 && errno == EINTR)
		got = code_view_signal() == SIGINT ? CONSOLE_INTERRUPT : CONSOLE_SIGNAL;
	else if (n <= 0 && b.len == 0)
		got = CONSOLE_END;
	else
		*ret_text = str_ndup(buf_data(&b).p, b.len);
	buf_fini(&b);
	return got == CONSOLE_LINE && !*ret_text ? CONSOLE_END : got;
}

enum console_got console_line_read(struct console_line *l, const char *prompt, const char *before,
				   const char *indent, char **ret_text)
{
	const char *text;
	int n = 0;
	*ret_text = NULL;
	if (!l->el)
		return read_pipe(ret_text);
	l->prompt = prompt;
	l->before = before;
	l->signo = 0;
	code_view_signal(); /* one of the execution before was obeyed there */
	if (indent && *indent)
		el_push(l->el, indent);
	text = el_gets(l->el, &n);
	if (text && n > 0) {
		*ret_text = str_ndup(text, strcspn(text, "\n"));
		return *ret_text ? CONSOLE_LINE : CONSOLE_END;
	}
	el_reset(l->el);
	if (l->signo) {
		fd_write_all(1, "^C\n", 3, WRITE_MS);
		return l->signo == SIGINT ? CONSOLE_INTERRUPT : CONSOLE_SIGNAL;
	}
	fd_write_all(1, "\n", 1, WRITE_MS);
	return CONSOLE_END;
}
