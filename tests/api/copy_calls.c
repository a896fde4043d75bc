/* copy_calls.c - tl_upload and tl_download as a program calls them: copy_calls HOST CONFIG FILE TO.
 * Prints "ok" or what was wrong. FILE is large; TO a folder on the host. */
#include <stdio.h>
#include <string.h>
#include <towline.h>

#define INVALID  (-4)
#define CANCELED (-7)

struct seen {
	int calls, stop;
	uint64_t done, total;
};

static int progress(void *ctx, const struct tl_progress *p)
{
	struct seen *s = ctx;

	s->calls++;
	s->done = p->done;
	s->total = p->total;
	return s->stop && p->done > 1 << 20;
}

static int expect(const char *what, int got, int want, const struct tl_error *e)
{
	if (got == want)
		return 0;
	printf("%s: %d instead of %d: %s\n", what, got, want, e->message);
	return 1;
}

static int run(struct tl_session *s, const char *file, const char *to)
{
	const char *files[] = {file, NULL}, *none[] = {NULL}, *empty[] = {"", NULL};
	struct seen seen = {.stop = 1};
	struct tl_copy c = TL_COPY_INIT, bad = {.size = 0};
	struct tl_error e = {0};
	int wrong = 0;

	c.progress = progress;
	c.ctx = &seen;
	wrong += expect("no files", tl_upload(s, none, to, NULL, &e), INVALID, &e);
	wrong += expect("a list that is NULL", tl_download(s, NULL, ".", NULL, &e), INVALID, &e);
	wrong += expect("an empty name", tl_download(s, empty, ".", NULL, &e), INVALID, &e);
	wrong += expect("options without size", tl_upload(s, files, to, &bad, &e), INVALID, &e);
	wrong += expect("no session", tl_upload(NULL, files, to, NULL, NULL), INVALID, &e);
	wrong += expect("canceled by progress", tl_upload(s, files, to, &c, &e), CANCELED, &e);
	c.cancel = tl_cancel_new();
	tl_cancel(c.cancel);
	wrong += expect("canceled before", tl_upload(s, files, to, &c, &e), CANCELED, &e);
	tl_cancel_reset(c.cancel);
	seen = (struct seen){.stop = 0};
	wrong += expect("after all", tl_upload(s, files, to, &c, &e), 0, &e);
	if (seen.calls < 3 || seen.done != seen.total || !seen.total)
		wrong += expect("progress", seen.calls, -1, &e);
	tl_cancel_free(c.cancel);
	return wrong;
}

int main(int argc, char **argv)
{
	struct tl_options o = TL_OPTIONS_INIT;
	struct tl_session *s;
	struct tl_error e;
	int wrong;

	if (argc != 5)
		return 2;
	o.config_file = argv[2];
	if (tl_connect(argv[1], &o, &s, &e) != 0) {
		printf("%s\n", e.message);
		return 1;
	}
	wrong = run(s, argv[3], argv[4]);
	tl_disconnect(s);
	if (!wrong)
		puts("ok");
	return wrong != 0;
}
