/* browser.c - see browser.h. Short-lived and blocking; nothing is kept. */
#include "host/browser.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/str.h"
#include "host/agent_start.h"
#include "host/agent_url.h"
#include "host/rundir.h"
#include "loop/child.h"
#include "loop/io.h"
#include "loop/sock.h"

static const char usage[] =
    "usage: towline-browser URL      (or: towline-host browser URL)\n"
    "Shows an http or https page in the window that this terminal belongs to. $BROWSER names it "
    "in\n"
    "Towline's terminals, so programs that open a browser find it by themselves.\n";

/* ---- the link ---- */

static bool fits_into_browser(const char *path)
{
	for (const char *c = path; *c; c++)
		if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+@",
			    *c))
			return false;
	return true;
}

/* Links `path` to `target` in one step. */
static int link_make(const char *path, const char *target)
{
	char was[TL_LIMIT_PATH], part[TL_LIMIT_PATH];
	ssize_t n = readlink(path, was, sizeof(was) - 1);

	if (n > 0 && (size_t)n == strlen(target) && memcmp(was, target, (size_t)n) == 0)
		return 0;
	snprintf(part, sizeof(part), "%s.%ld", path, (long)getpid());
	unlink(part);
	if (symlink(target, part) != 0 || rename(part, path) != 0) {
		int rc = err_from_errno(errno);
		unlink(part);
		return rc;
	}
	return 0;
}

int browser_link(const char *run_dir, char *out, size_t n)
{
	char self[TL_LIMIT_PATH];
	struct rundir dirs[RUNDIR_COUNT] = {0};
	size_t count;
	int rc = self_path(self, sizeof(self));

	if (rc)
		return rc;
	if (!fits_into_browser(run_dir)) {
		count = rundir_candidates(NULL, dirs);
		run_dir = count ? dirs[count - 1].path : "";
		rc = fits_into_browser(run_dir) ? private_dir(run_dir, NULL) : TL_E_INVAL;
	}
	if (rc == 0 && snprintf(out, n, "%s/" BROWSER_NAME, run_dir) >= (int)n)
		rc = TL_E_LIMIT;
	if (rc)
		return rc;
	/* a program that was replaced while it runs leaves the link to its successor */
	if (str_ends(self, " (deleted)"))
		return access(out, X_OK) == 0 ? 0 : TL_E_NOENT;
	return link_make(out, self);
}

/* ---- the face ---- */

/* A connection to the agent: beside the link that we were called by, else where agents are. */
static int agent_connect(const char *argv0)
{
	struct rundir dirs[RUNDIR_COUNT + 1];
	const char *slash = strrchr(argv0, '/');
	size_t n = 0;

	if (slash && (size_t)(slash - argv0) < sizeof(dirs[0].path)) {
		memcpy(dirs[0].path, argv0, (size_t)(slash - argv0));
		dirs[n++].path[slash - argv0] = 0;
	}
	n += rundir_candidates(NULL, dirs + n);
	for (size_t i = 0; i < n; i++) {
		char path[RUNDIR_SOCKET_MAX + 1];
		uid_t uid;
		int fd;
		if (dirs[i].path[0] != '/' || !rundir_is_ours(dirs[i].path))
			continue;
		snprintf(path, sizeof(path), "%s/" AGENT_SOCKET, dirs[i].path, LINK_PROTO);
		fd = connect_unix(path, NULL);
		if (fd >= 0 && peer_uid(fd, &uid) == 0 && uid == geteuid())
			return fd;
		if (fd >= 0)
			close(fd);
	}
	return TL_E_NOENT;
}

static int put_request(struct buf *line, const char *url)
{
	const char *term = getenv("TOWLINE_TERM");
	char cwd[TL_LIMIT_PATH];
	yyjson_mut_doc *d = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *o = d ? yyjson_mut_obj(d) : NULL;
	int rc = o ? buf_put_str(line, BROWSER_WORD) : TL_E_NOMEM;

	if (rc == 0) {
		yyjson_mut_doc_set_root(d, o);
		yyjson_mut_obj_add_str(d, o, "url", url);
		if (term && strlen(term) < 64 && utf8_valid(bytes_str(term)))
			yyjson_mut_obj_add_str(d, o, "term", term);
		/* helps to find a relative thing later; not worth failing for */
		if (strlen(url) + 1024 < TL_LIMIT_URL && getcwd(cwd, 1024))
			json_add_path(d, o, "cwd", cwd);
		rc = json_write(line, d);
	}
	yyjson_mut_doc_free(d);
	return rc ? rc : buf_put_u8(line, '\n');
}

static int ask(int fd, const char *url, struct tl_err *err)
{
	char answer[HANDSHAKE_LINE];
	struct buf line;
	int rc;

	buf_init(&line, TL_LIMIT_OPEN_LINE);
	rc = put_request(&line, url);
	if (rc == 0)
		rc = fd_write_all(fd, buf_data(&line).p, line.len, HANDSHAKE_MS);
	buf_fini(&line);
	if (rc == 0)
		rc = handshake_read_line(fd, answer, sizeof(answer));
	if (rc)
		return err_set(err, rc, "cannot open %.200s: the agent does not answer: %s", url,
			       err_row(rc)->what);
	if (strncmp(answer, BROWSER_OPENED, strlen(BROWSER_OPENED) - 1) == 0)
		return 0;
	if (handshake_get_word(answer, "error", err) == 0 && err->code)
		return err->code;
	return err_set(err, TL_E_PROTO, "cannot open %.200s: the agent does not understand", url);
}

int browser_main(int argc, char **argv)
{
	struct tl_err err = {0};
	const char *url = argc == 2 ? argv[1] : NULL;
	int fd, rc;

	if (url && strcmp(url, "--help") == 0) {
		fputs(usage, stdout);
		return 0;
	}
	if (!url || url[0] == '-') {
		fputs(usage, stderr);
		return err_row(TL_E_INVAL)->exit_status;
	}
	if (!url_is_page(url)) {
		fprintf(stderr,
			BROWSER_NAME ": cannot open %s: it must be an address that begins with "
				     "http:// or https://, of at most %d bytes\n",
			url, TL_LIMIT_URL);
		return 1;
	}
	fd = agent_connect(argv[0]);
	if (fd < 0)
		rc = err_set(&err, TL_E_NOHOST, "cannot open %.200s: no window is connected", url);
	else
		rc = ask(fd, url, &err);
	if (fd >= 0)
		close(fd);
	if (rc == 0)
		return 0;
	fprintf(stderr, BROWSER_NAME ": %s. Open it yourself:\n", err.text);
	printf("%s\n", url);
	return 1;
}
