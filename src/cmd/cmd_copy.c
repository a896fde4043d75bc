/* cmd_copy.c - see cmd_copy.h. Owns the progress line while a copy runs. */
#include "cmd/cmd_copy.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define TELL_MS        100
#define NAME_MAX_SHOWN 36

struct bar {
	const struct cmd_globals *g;
	struct tl_progress last;
	size_t problems;
	bool shows, shown;
	int64_t begun_ms, told_ms;
};

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void human(uint64_t n, char out[16])
{
	static const char *const units[] = {"B", "kB", "MB", "GB", "TB", "PB", "EB"};
	double v = (double)n;
	size_t u = 0;

	while (v >= 999.5 && u + 1 < sizeof(units) / sizeof(units[0])) {
		v /= 1000;
		u++;
	}
	snprintf(out, 16, u ? "%.1f %s" : "%.0f %s", v, units[u]);
}

static void clear(struct bar *b)
{
	if (b->shown)
		fputs("\r\033[K", stderr);
	b->shown = false;
}

/* The end of a name, without what would move the cursor. */
static void put_name(const char *name)
{
	size_t n = strlen(name);

	if (n > NAME_MAX_SHOWN) {
		name += n - NAME_MAX_SHOWN;
		while ((*name & 0xc0) == 0x80)
			name++;
		fputs("…", stderr);
	}
	for (; *name; name++)
		fputc((unsigned char)*name < 32 || *name == 127 ? '?' : *name, stderr);
}

static int progress(void *ctx, const struct tl_progress *p)
{
	struct bar *b = ctx;
	int64_t now;
	char all[16], total[16], rate[16];

	b->last = *p;
	if (!b->shows)
		return 0;
	now = now_ms();
	if (now - b->told_ms < TELL_MS)
		return 0;
	b->told_ms = now;
	human(p->done, all);
	human(p->total, total);
	human(now > b->begun_ms ? p->done * 1000 / (uint64_t)(now - b->begun_ms) : 0, rate);
	fputs("\r\033[K", stderr);
	put_name(p->path);
	fprintf(stderr, "  %3.0f%%  %llu of %llu files  %s of %s  %s/s",
		p->total ? 100.0 * (double)p->done / (double)p->total : 100.0,
		(unsigned long long)p->files_done, (unsigned long long)p->files_total, all, total,
		rate);
	fflush(stderr);
	b->shown = true;
	return 0;
}

static void problem(void *ctx, const char *path, const struct tl_error *why)
{
	struct bar *b = ctx;
	yyjson_mut_doc *doc;
	char *text;

	b->problems++;
	if (!b->g->json) {
		clear(b);
		fprintf(stderr, "towline: %s\n", why->message);
		return;
	}
	doc = cmd_params("problem", path, "name", why->name, "message", why->message, NULL);
	text = yyjson_mut_write(doc, 0, NULL);
	puts(text ? text : "{}");
	free(text);
	yyjson_mut_doc_free(doc);
}

static int end(struct bar *b, int rc, const struct tl_error *err)
{
	clear(b);
	if (b->g->json && (!rc || rc == TL_E_PARTIAL))
		printf("{\"files\":%llu,\"bytes\":%llu,\"problems\":%zu}\n",
		       (unsigned long long)b->last.files_done, (unsigned long long)b->last.done,
		       b->problems);
	if (rc == TL_E_CANCELED && cmd_session_signal())
		return 128 + cmd_session_signal();
	/* one problem that was all there is has been told, but its advice was not */
	if (rc && rc != TL_E_PARTIAL && b->problems == 1 && !b->g->json) {
		fprintf(stderr, "%s\n", err->todo);
		return err_row(rc)->exit_status;
	}
	return rc ? cmd_session_fail(b->g, err) : cmd_done(b->g);
}

int cmd_copy(int argc, char **argv, const struct cmd_globals *g, cmd_copy_fn *fn)
{
	struct bar b = {.g = g};
	struct tl_copy c = TL_COPY_INIT;
	struct cmd_session cs;
	struct tl_error err = {0};
	char *to;
	int rc;

	c.preserve = cmd_flag(&argc, argv, "-t", "--times");
	c.follow_links = cmd_flag(&argc, argv, "-L", "--follow");
	c.no_overwrite = cmd_flag(&argc, argv, "-n", "--no-overwrite");
	c.resume = cmd_flag(&argc, argv, NULL, "--resume");
	c.verify = cmd_flag(&argc, argv, NULL, "--verify");
	rc = cmd_words(g, &argc, argv, 3, argc, argc < 2 ? "HOST" : argc < 3 ? "SRC" : "DEST");
	if (rc)
		return rc;
	rc = cmd_session_open(&cs, g, argv[1], &err);
	if (rc)
		return cmd_session_fail(g, &err);
	cmd_session_catch(&cs);
	b.shows = !g->quiet && !g->json && isatty(STDERR_FILENO);
	b.begun_ms = now_ms();
	to = argv[argc - 1];
	argv[argc - 1] = NULL;
	c.progress = progress;
	c.problem = problem;
	c.ctx = &b;
	c.cancel = cs.cancel;
	rc = fn(cs.s, (const char *const *)(argv + 2), to, &c, &err);
	cmd_session_close(&cs);
	return end(&b, rc, &err);
}
