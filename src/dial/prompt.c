/* prompt.c - see prompt.h. Invariants: a question is in ps->open from accept to close; secrets are
 * never logged and every copy of ours is wiped. */
#include "dial/prompt.h"

#include <ctype.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/limits.h"
#include "base/str.h"
#include "dial/text.h"
#include "loop/io.h"

#define HEAD_MAX      64
#define ANSWER_MAX    4096
#define SOCKET_PREFIX "ask-"

struct dial_prompt {
	struct prompts *ps;
	struct list node;
	struct io io;
	struct buf in;
	enum dial_prompt_kind kind;
	bool asked, answered;
};

/* ---- kinds ---- */

static bool ends_with(const char *s, const char *end)
{
	size_t n = strlen(s), m = strlen(end);

	while (n > 0 && isspace((unsigned char)s[n - 1]))
		n--;
	return n >= m && strncasecmp(s + n - m, end, m) == 0;
}

static bool has_text(const char *s, const char *part)
{
	return strcasestr(s, part) != NULL;
}

static const struct {
	bool (*test)(const char *, const char *);
	const char *part;
	enum dial_prompt_kind kind;
} kinds[] = {
    {has_text, "continue connecting (yes/no", DIAL_PROMPT_HOSTKEY},
    {has_text, "Please type 'yes'", DIAL_PROMPT_HOSTKEY},
    {str_starts, "Enter passphrase for", DIAL_PROMPT_PASSPHRASE},
    {str_starts, "Enter PIN for", DIAL_PROMPT_PIN},
    {str_starts, "Confirm user presence", DIAL_PROMPT_TOUCH},
    {ends_with, "'s password:", DIAL_PROMPT_PASSWORD},
    /* keyboard-interactive as most hosts use it: `(user@host) Password:` */
    {ends_with, ") password:", DIAL_PROMPT_PASSWORD},
};

enum dial_prompt_kind prompt_kind(const char *text, const char *hint)
{
	if (strcmp(hint, "none") == 0)
		return DIAL_PROMPT_TOUCH;
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (kinds[i].test(text, kinds[i].part))
			return kinds[i].kind;
	return DIAL_PROMPT_QUESTION;
}

enum dial_prompt_kind prompt_kind_of(const struct dial_prompt *p)
{
	return p->kind;
}

/* How often this text was asked in this attempt, this time included: 2 means that the first answer
 * was wrong. */
static int count_text(struct prompts *ps, const char *text)
{
	uint32_t h = 2166136261U;

	for (const char *c = text; *c; c++)
		h = (h ^ (uint8_t)*c) * 16777619U;
	h |= 1; /* 0: free place */
	for (size_t i = 0; i < PROMPT_SEEN; i++) {
		if (ps->seen[i].hash == 0)
			ps->seen[i].hash = h;
		if (ps->seen[i].hash == h)
			return ++ps->seen[i].times;
	}
	return 1;
}

/* ---- one question ---- */

static void prompt_free(void *ctx)
{
	struct dial_prompt *p = ctx;

	buf_fini(&p->in);
	free(p);
}

static void prompt_close(struct dial_prompt *p)
{
	list_del(&p->node);
	if (p->asked && !p->answered)
		p->ps->count--;
	io_close(&p->io, prompt_free);
}

/* `HINT LENGTH LF` TEXT: 1 when all is there, 0 when more must come, negative for nonsense. */
static int prompt_parse(struct dial_prompt *p, char hint[16], const char **ret_text)
{
	struct tl_bytes b = buf_data(&p->in);
	size_t scan = b.n < HEAD_MAX ? b.n : HEAD_MAX;
	const uint8_t *lf = memchr(b.p, '\n', scan);
	char head[HEAD_MAX], *space;
	long long length;
	size_t n;

	if (!lf)
		return b.n < HEAD_MAX ? 0 : TL_E_PROTO;
	n = (size_t)(lf - b.p);
	memcpy(head, b.p, n);
	head[n] = 0;
	space = strchr(head, ' ');
	if (!space || !str_to_int(space + 1, 0, TL_LIMIT_PROMPT_TEXT, &length))
		return TL_E_PROTO;
	*space = 0;
	if (b.n - n - 1 < (size_t)length)
		return 0;
	str_copy(hint, 16, head);
	buf_consume(&p->in, n + 1);
	*ret_text = buf_cstr(&p->in);
	return *ret_text ? 1 : TL_E_NOMEM;
}

static void prompt_ask(struct dial_prompt *p)
{
	struct prompts *ps = p->ps;
	const char *text;
	char hint[16];
	int rc = prompt_parse(p, hint, &text);

	if (rc < 0)
		prompt_close(p);
	if (rc <= 0)
		return;
	text_clean((char *)(uintptr_t)text, true); /* it lies in p->in */
	p->asked = true;
	p->kind = prompt_kind(text, hint);
	ps->count++;
	/* ssh does not say whether an answer may be shown: only what is no secret by nature is */
	ps->on_ask(ps->ctx, p, p->kind, text, p->kind == DIAL_PROMPT_HOSTKEY, count_text(ps, text));
}

static void prompt_readable(void *ctx)
{
	struct dial_prompt *p = ctx;
	uint8_t part[1024];
	long got;

	while ((got = io_read(&p->io, part, sizeof(part))) > 0) {
		if (p->asked || buf_put(&p->in, part, (size_t)got)) {
			got = TL_E_PROTO;
			break;
		}
	}
	if (got == TL_E_AGAIN) {
		if (!p->asked)
			prompt_ask(p);
		return;
	}
	if (p->asked && !p->answered) {
		p->answered = true;
		p->ps->count--;
		p->ps->on_gone(p->ps->ctx, p);
	}
	if (p->io.open)
		prompt_close(p);
}

static void prompts_accept(void *ctx, int fd)
{
	struct prompts *ps = ctx;
	struct dial_prompt *p;
	size_t n = 0;
	uid_t uid;

	LIST_FOREACH (it, &ps->open)
		n++;
	if (n >= PROMPT_OPEN || peer_uid(fd, &uid) || uid != getuid()) {
		close(fd);
		return;
	}
	p = calloc(1, sizeof(*p));
	if (!p || io_open(ps->loop, &p->io, fd, fd, prompt_readable, NULL, p)) {
		free(p);
		close(fd);
		return;
	}
	p->ps = ps;
	buf_init(&p->in, TL_LIMIT_PROMPT_TEXT + HEAD_MAX + 1);
	list_add_tail(&ps->open, &p->node);
}

void dial_prompt_answer(struct dial_prompt *p, const char *answer)
{
	struct prompts *ps = p->ps;
	char out[ANSWER_MAX + 1];
	size_t n = answer ? strlen(answer) : 0;

	if (p->answered || !p->asked)
		return;
	p->answered = true;
	ps->count--;
	if (n > ANSWER_MAX)
		answer = NULL;
	out[0] = answer ? 'A' : 'C';
	if (answer)
		memcpy(out + 1, answer, n);
	/* a fresh socket takes this at once; a helper that is gone needs no answer */
	(void)io_write(&p->io, out, answer ? n + 1 : 1);
	explicit_bzero(out, sizeof(out));
	ps->on_answer(ps->ctx, p, answer);
	if (p->io.open)
		prompt_close(p);
}

/* ---- all ---- */

/* Sockets of a daemon that was killed. */
static void sweep(const char *dir)
{
	char path[TL_LIMIT_PATH];
	DIR *d = opendir(dir);
	struct dirent *e;

	while (d && (e = readdir(d)) != NULL) {
		int fd;
		if (!str_starts(e->d_name, SOCKET_PREFIX))
			continue;
		snprintf(path, sizeof(path), "%.3800s/%s", dir, e->d_name);
		fd = connect_unix(path, NULL);
		if (fd >= 0)
			close(fd);
		else if (fd == TL_E_REFUSED)
			unlink(path);
	}
	if (d)
		closedir(d);
}

int prompts_open(struct loop *l, struct prompts *ps, const char *runtime_dir, struct tl_err *err)
{
	char id[11];
	int rc, n;

	ps->loop = l;
	list_init(&ps->open);
	random_id(id, sizeof(id) - 1);
	n = snprintf(ps->path, sizeof(ps->path), "%s/" SOCKET_PREFIX "%s", runtime_dir, id);
	if (n < 0 || (size_t)n >= sizeof(ps->path))
		return err_set(err, TL_E_LIMIT, "the folder name %.200s is too long for a socket",
			       runtime_dir);
	rc = private_dir(runtime_dir, err);
	if (!rc)
		sweep(runtime_dir);
	return rc ? rc : listen_unix(l, &ps->listener, ps->path, prompts_accept, ps, err);
}

void prompts_close(struct prompts *ps)
{
	if (!ps->loop)
		return;
	LIST_FOREACH_SAFE (it, &ps->open)
		prompt_close(list_entry(it, struct dial_prompt, node));
	if (ps->listener.open)
		unlink(ps->path);
	listener_close(&ps->listener);
}
