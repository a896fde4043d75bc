/* cmd_files.c - see cmd_files.h. */
#include "cmd/cmd_files.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/str.h"

#define PROGRESS_MS   100
#define PROGRESS_NAME 40

/* ------------------------------------------------ options */

static bool *flag_of(const struct files_flag *flags, char letter, const char *name)
{
	for (; flags->letter; flags++)
		if (name ? flags->name && strcmp(flags->name, name) == 0 : flags->letter == letter)
			return flags->set;
	return NULL;
}

/* 0, or the exit status of a printed error */
static int take_word(const struct cmd_globals *g, const char *cmd, const char *word,
		     const struct files_flag *flags)
{
	bool *set;

	if (word[1] == '-') {
		set = flag_of(flags, 0, word + 2);
		if (!set)
			return cmd_usage_error(g, cmd, "there is no option %s", word);
		*set = true;
		return 0;
	}
	for (const char *s = word + 1; *s; s++) {
		set = flag_of(flags, *s, NULL);
		if (!set)
			return cmd_usage_error(g, cmd, "there is no option -%c", *s);
		*set = true;
	}
	return 0;
}

int files_args(const struct cmd_globals *g, int *argc, char **argv, const struct files_flag *flags,
	       int min, int max, const char *want)
{
	int n = 1, rc;
	bool words_only = false;

	for (int i = 1; i < *argc; i++) {
		if (!words_only && strcmp(argv[i], "--") == 0) {
			words_only = true;
		} else if (!words_only && argv[i][0] == '-' && argv[i][1]) {
			rc = take_word(g, argv[0], argv[i], flags);
			if (rc)
				return rc;
		} else {
			argv[n++] = argv[i];
		}
	}
	*argc = n;
	if (n - 1 < min)
		return cmd_usage_error(g, argv[0], "%s is missing", want);
	if (n - 1 > max)
		return cmd_usage_error(g, argv[0], "“%s” is too much", argv[max + 1]);
	return 0;
}

/* ------------------------------------------------ the host's files */

int files_target(const char *text, struct cmd_target *ret, struct tl_err *err)
{
	int rc = cmd_target_parse(text, ret, err);

	if (rc || ret->host)
		return rc;
	cmd_target_fini(ret);
	return err_set(err, TL_E_INVAL, "“%.200s” names no host: write HOST:PATH", text);
}

/* Ctrl-C is read where we wait, so that what is half done can be undone. */
static int catch_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

int files_open(struct files *f, const struct cmd_globals *g, const char *host, bool bulk,
	       struct tl_err *err)
{
	const char *line = bulk ? "{\"open\":\"sftp\",\"class\":\"bulk\"}" : "{\"open\":\"sftp\"}";
	struct api_client *api = NULL;
	int fd, rc;

	*f = (struct files){.g = g, .cancel_fd = -1};
	f->shows = !g->quiet && !g->json && isatty(STDERR_FILENO);
	cmd_ui_init(&f->ui, g);
	rc = cmd_reach(&f->ui, host, &api, &f->host, err);
	if (rc)
		return rc;
	rc = api_stream_open(f->host, line, &fd, err);
	api_client_close(api);
	if (rc)
		return rc;
	f->cancel_fd = catch_signals();
	return sftp_client_open(&f->c, fd, f->cancel_fd, err);
}

void files_close(struct files *f)
{
	sftp_client_free(f->c);
	free(f->host);
	if (f->cancel_fd >= 0)
		close(f->cancel_fd);
	f->c = NULL;
	f->host = NULL;
	f->cancel_fd = -1;
}

int files_path(struct files *f, const char *path, char **ret, struct tl_err *err)
{
	char full[TL_LIMIT_PATH + 1];
	int rc;

	if (!path || !path[0] || strcmp(path, "~") == 0 || strcmp(path, "~/") == 0) {
		*ret = str_dup(".");
	} else if (str_starts(path, "~/")) {
		*ret = str_dup(path + 2 + strspn(path + 2, "/"));
	} else if (path[0] == '~') {
		rc = sftp_client_expand(f->c, path, full, sizeof(full), err);
		if (rc)
			return rc;
		*ret = str_dup(full);
	} else {
		*ret = str_dup(path);
	}
	return *ret ? 0 : err_set(err, TL_E_NOMEM, "out of memory");
}

char *files_base(const char *path)
{
	size_t n = strlen(path), from;

	while (n > 0 && path[n - 1] == '/')
		n--;
	for (from = n; from > 0 && path[from - 1] != '/'; from--)
		;
	return n == from ? str_dup(".") : str_ndup(path + from, n - from);
}

/* ------------------------------------------------ progress */

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

static void show(void *ctx, const struct transfer *t, const char *name, uint64_t done,
		 uint64_t total)
{
	struct files *f = ctx;
	int64_t now;
	size_t n = strlen(name);
	char all[16], rate[16], percent[16] = "";

	if (!f->shows)
		return;
	now = now_ms();
	if (!f->begun_ms)
		f->begun_ms = now;
	if (now - f->told_ms < PROGRESS_MS)
		return;
	f->told_ms = now;
	human(t->bytes, all);
	human(now > f->begun_ms ? t->bytes * 1000 / (uint64_t)(now - f->begun_ms) : 0, rate);
	if (total)
		snprintf(percent, sizeof(percent), "  %3.0f%%",
			 100.0 * (double)done / (double)total);
	fprintf(stderr, "\r\033[K%s%s%s  %s  %s/s", n > PROGRESS_NAME ? "…" : "",
		name + (n > PROGRESS_NAME ? n - PROGRESS_NAME : 0), percent, all, rate);
	fflush(stderr);
	f->shown = true;
}

void files_clear(struct files *f)
{
	if (f->shown)
		fputs("\r\033[K", stderr);
	f->shown = false;
}

/* ------------------------------------------------ failures */

bool files_broken(int rc)
{
	return rc == TL_E_CLOSED || rc == TL_E_PROTO || rc == TL_E_CANCELED;
}

static void tell(struct files *f, const struct tl_err *err)
{
	files_clear(f);
	fprintf(stderr, "towline: %s\n", err->text);
}

void files_failed(struct files *f, const struct tl_err *err)
{
	f->failures++;
	if (f->failures == 1) {
		f->first = *err; /* with its advice at the end, when it stays the only one */
		return;
	}
	if (f->failures == 2)
		tell(f, &f->first);
	tell(f, err);
}

static void failed(void *ctx, const struct tl_err *err)
{
	/* what breaks everything is told once, by files_end */
	if (!files_broken(err->code))
		files_failed(ctx, err);
}

void files_transfer(struct files *f, struct transfer *t, bool recursive, bool times)
{
	*t = (struct transfer){.c = f->c,
			       .recursive = recursive,
			       .times = times,
			       .progress = show,
			       .failed = failed,
			       .ctx = f};
}

int files_end(struct files *f, int rc, struct tl_err *err)
{
	int status = 0;

	files_clear(f);
	if (f->failures == 1 || (f->failures && f->g->json))
		status = cmd_fail(f->g, &f->first);
	else if (f->failures)
		status = err_row(f->first.code)->exit_status;
	/* otherwise rc only repeats the first failure */
	if (rc && (!f->failures || files_broken(rc)))
		status = cmd_fail(f->g, err);
	files_close(f);
	return status ? status : cmd_done(f->g);
}

int files_end_transfer(struct files *f, const struct transfer *t, int rc, struct tl_err *err)
{
	files_clear(f);
	if (f->g->json && !rc && !f->failures)
		printf("{\"files\":%llu,\"folders\":%llu,\"bytes\":%llu}\n",
		       (unsigned long long)t->files, (unsigned long long)t->folders,
		       (unsigned long long)t->bytes);
	return files_end(f, rc, err);
}
