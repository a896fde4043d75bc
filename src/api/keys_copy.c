/* keys_copy.c - tl_key_copy: a public key into the host's authorized_keys, once. Only the public
 * half is read here, and only a line that ssh-keygen takes for a key is written there. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api/session.h"
#include "api/tool.h"
#include "base/limits.h"
#include "base/str.h"

#define KEY_MAX   16384
#define OUT_MAX   65536
#define TOOL_MS   10000
#define WAS_THERE 17

/* $1: type and key without options and comment; standard input: the line. Options before a key and
 * a comment behind it make no difference. */
static const char script[] =
    "umask 077\n"
    "IFS= read -r key || exit 1\n"
    "d=$HOME/.ssh f=$d/authorized_keys\n"
    "mkdir -p \"$d\" || exit 1\n"
    "if [ -e \"$f\" ]; then\n"
    "  while IFS= read -r l || [ -n \"$l\" ]; do\n"
    "    case $l in \\#*) ;; *) case \" $l \" in *\" $1 \"*) exit 17 ;; esac ;; esac\n"
    "  done <\"$f\" || exit 1\n"
    "  [ -z \"$(tail -c 1 \"$f\")\" ] || echo >>\"$f\" || exit 1\n"
    "fi\n"
    "printf '%s\\n' \"$key\" >>\"$f\" || exit 1\n"
    "if command -v restorecon >/dev/null 2>&1; then restorecon -F \"$d\" \"$f\"; fi\n"
    "exit 0\n";

/* The first line of the public half, malloc'ed, with its LF. */
static char *read_public(const char *path, struct tl_err *err)
{
	char *file = str_ends(path, ".pub") ? str_dup(path) : str_fmt("%s.pub", path);
	char *line = NULL, text[KEY_MAX];
	int fd = file ? open(file, O_RDONLY | O_CLOEXEC) : -1;
	ssize_t n;

	if (!file)
		err_set(err, TL_E_NOMEM, "cannot copy a key: out of memory");
	else if (fd < 0)
		err_sys(err, errno, "cannot read the public key %s", file);
	if (fd >= 0) {
		n = read(fd, text, sizeof(text) - 1);
		close(fd);
		if (n < 0)
			err_sys(err, errno, "cannot read the public key %s", file);
		text[n < 0 ? 0 : n] = 0;
		if (n >= 0)
			line = str_fmt("%.*s\n", (int)strcspn(text, "\r\n"), text);
	}
	free(file);
	return line;
}

/* Is it a public key? ssh-keygen says so; "type key" of it, malloc'ed. */
static char *key_of(const char *line, struct tl_err *err)
{
	char *argv[] = {(char *)(uintptr_t) "ssh-keygen", (char *)(uintptr_t) "-lf",
			(char *)(uintptr_t) "-", NULL};
	struct buf out;
	char *key = NULL;
	size_t type = strcspn(line, " \n");
	int status = 0, rc;

	buf_init(&out, OUT_MAX);
	rc = tool_run(argv, bytes_str(line), &out, TOOL_MS, &status, err);
	buf_fini(&out);
	if (rc == TL_E_NOENT)
		err_set(err, TL_E_NOSSH, "cannot run ssh-keygen: it was not found on PATH");
	else if (rc == 0 && (status != 0 || line[type] != ' '))
		err_set(err, TL_E_INVAL,
			"cannot copy the key: its .pub file does not hold a public key");
	else if (rc == 0)
		key = str_ndup(line, type + 1 + strcspn(line + type + 1, " \n"));
	return key;
}

int tl_key_copy(struct tl_session *s, const char *path, struct tl_error *err)
{
	struct tl_err e = {0};
	struct tl_output out = {0};
	struct tl_exec x = TL_EXEC_INIT;
	char *line, *key = NULL;
	int rc;

	if (!s || !path || !*path)
		return api_failf(err, TL_E_INVAL, "cannot copy a key: session or path is missing");
	line = read_public(path, &e);
	key = line ? key_of(line, &e) : NULL;
	if (!key) {
		free(line);
		return api_fail(err, &e);
	}
	const char *const argv[] = {"sh", "-c", script, "sh", key, NULL};
	x.argv = argv;
	x.stdin_data = line;
	x.stdin_n = strlen(line);
	rc = tl_capture(s, &x, OUT_MAX, 0, &out, err);
	if (rc == 0 && out.exit.signal == 0 && out.exit.status == WAS_THERE)
		rc = 0;
	else if (rc == 0 && (out.exit.signal || out.exit.status))
		rc = api_failf(err, TL_E_IO, "cannot write authorized_keys on %s: %.300s",
			       session_host(s), out.errout ? (char *)out.errout : "");
	else if (rc == 0)
		rc = 1;
	tl_output_free(&out);
	free(line);
	free(key);
	return rc;
}
