/* keys.c - tl_keys_list, tl_key_new, tl_key_add. OpenSSH's own programs read and write keys; this
 * reads only what they print. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/keys_run.h"
#include "api/session.h"
#include "api/tool.h"
#include "base/limits.h"
#include "base/str.h"

#define TOOL_MS   10000
#define OUT_MAX   65536
#define KEYS_MAX  1024
#define FILE_MAX  65536
#define ADD_TRIES 3

/* ---- small helpers ---- */

static int ssh_folder(const char *folder, char *out, size_t n)
{
	const char *home = getenv("HOME");

	if (folder)
		return str_copy(out, n, folder) ? 0 : TL_E_INVAL;
	if (!home || !*home)
		return TL_E_NOENT;
	return (size_t)snprintf(out, n, "%s/.ssh", home) < n ? 0 : TL_E_INVAL;
}

/* The beginning of a file as text, malloc'ed; NULL where it cannot be read or is no file. */
static char *read_text(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat st;
	char *text = NULL;
	ssize_t n = -1;

	if (fd < 0)
		return NULL;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && (text = malloc(FILE_MAX)))
		n = read(fd, text, FILE_MAX - 1);
	close(fd);
	if (n < 0) {
		free(text);
		return NULL;
	}
	text[n] = 0;
	return text;
}

static char *first_line(const char *text)
{
	return str_ndup(text, strcspn(text, "\r\n"));
}

/* ---- the list ---- */

static void key_fini(struct tl_key *k)
{
	free(k->path);
	free(k->type);
	free(k->fingerprint);
	free(k->comment);
	free(k->public_key);
}

void tl_keys_free(struct tl_keys *k)
{
	if (!k)
		return;
	for (size_t i = 0; i < k->n; i++)
		key_fini(&k->v[i]);
	free(k->v);
	*k = (struct tl_keys){0};
}

/* "256 SHA256:… comment with blanks (ED25519)" */
static bool parse_listing(const char *line, struct tl_key *k)
{
	const char *fp = strchr(line, ' '), *comment, *type = strrchr(line, '(');
	long long bits;
	char number[12];

	if (!fp || !type || type <= fp || fp - line >= (long)sizeof(number))
		return false;
	memcpy(number, line, (size_t)(fp - line));
	number[fp - line] = 0;
	comment = strchr(fp + 1, ' ');
	if (!str_to_int(number, 1, 1 << 20, &bits) || !comment || comment >= type)
		return false;
	k->bits = (int)bits;
	k->fingerprint = str_ndup(fp + 1, (size_t)(comment - fp - 1));
	k->comment =
	    comment + 1 < type ? str_ndup(comment + 1, (size_t)(type - comment - 2)) : str_dup("");
	k->type = str_ndup(type + 1, strcspn(type + 1, ")"));
	for (char *p = k->type; p && *p; p++)
		if (*p >= 'A' && *p <= 'Z')
			*p = (char)(*p + 'a' - 'A');
	return k->fingerprint && k->comment && k->type;
}

static int add_key(struct tl_keys *all, struct tl_key *k)
{
	struct tl_key *v;

	if (all->n == KEYS_MAX) {
		key_fini(k);
		return TL_E_LIMIT;
	}
	v = realloc(all->v, (all->n + 1) * sizeof(*v));
	if (!v) {
		key_fini(k);
		return TL_E_NOMEM;
	}
	all->v = v;
	v[all->n++] = *k;
	return 0;
}

static struct tl_key *find_key(struct tl_keys *all, const char *fingerprint)
{
	for (size_t i = 0; i < all->n; i++)
		if (strcmp(all->v[i].fingerprint, fingerprint) == 0)
			return &all->v[i];
	return NULL;
}

static int run_tool(char *const *argv, struct buf *out, int *ret_status, struct tl_err *err)
{
	int rc = tool_run(argv, bytes_of("", 0), out, TOOL_MS, ret_status, err);

	if (rc == TL_E_NOENT)
		return err_set(err, TL_E_NOSSH, "cannot run %s: the program was not found on PATH",
			       argv[0]);
	return rc ? rc : buf_put(out, "", 1);
}

/* The public half without a passphrase tells that there is none. */
static bool is_encrypted(const char *path)
{
	char *argv[] = {(char *)(uintptr_t) "ssh-keygen",
			(char *)(uintptr_t) "-y",
			(char *)(uintptr_t) "-P",
			(char *)(uintptr_t) "",
			(char *)(uintptr_t) "-f",
			(char *)(uintptr_t)path,
			NULL};
	struct buf out;
	int status = 0, rc;
	bool yes;

	buf_init(&out, OUT_MAX);
	rc = keys_run(argv, NULL, NULL, &out, &status, NULL);
	yes = rc == 0 && status != 0 && strstr(keys_last_line(&out), "incorrect passphrase");
	buf_fini(&out);
	return yes;
}

/* One private key file; what ssh-keygen does not know is left out. */
static int list_file(struct tl_keys *all, const char *path, struct tl_err *err)
{
	char *argv[] = {(char *)(uintptr_t) "ssh-keygen", (char *)(uintptr_t) "-lf",
			(char *)(uintptr_t)path, NULL};
	struct tl_key k = {0};
	struct buf out;
	char *public_path = str_fmt("%s.pub", path), *text = NULL, *line = NULL;
	int status, rc;

	buf_init(&out, OUT_MAX);
	rc = run_tool(argv, &out, &status, err);
	if (rc == 0 && status == 0 && parse_listing((const char *)buf_data(&out).p, &k)) {
		text = public_path ? read_text(public_path) : NULL;
		line = text ? first_line(text) : NULL;
		k.public_key = line ? line : str_dup("");
		k.path = str_dup(path);
		k.encrypted = is_encrypted(path);
		rc = k.path && k.public_key ? add_key(all, &k) : TL_E_NOMEM;
	} else {
		key_fini(&k);
	}
	free(text);
	free(public_path);
	buf_fini(&out);
	return rc;
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static int list_folder(struct tl_keys *all, const char *folder, struct tl_err *err)
{
	struct dirent **names = NULL;
	int n = scandir(folder, &names, NULL, by_name), rc = 0;

	if (n < 0 && errno == ENOENT)
		return 0; /* nobody has keys there yet */
	if (n < 0)
		return err_sys(err, errno, "cannot list the keys of %s", folder);
	for (int i = 0; i < n; i++) {
		char *path = str_fmt("%s/%s", folder, names[i]->d_name), *text;
		if (rc == 0 && path && !str_ends(path, ".pub")) {
			text = read_text(path);
			/* the mark of every private key, in any of its formats */
			if (text && str_starts(text, "-----BEGIN ") &&
			    strstr(text, "PRIVATE KEY-----"))
				rc = list_file(all, path, err);
			if (text)
				explicit_bzero(text, strlen(text));
			free(text);
		}
		free(path);
		free(names[i]);
	}
	free(names);
	return rc;
}

/* -l and -L print the same keys in the same order. */
static int list_agent(struct tl_keys *all, struct tl_err *err)
{
	char *listing[] = {(char *)(uintptr_t) "ssh-add", (char *)(uintptr_t) "-l", NULL};
	char *publics[] = {(char *)(uintptr_t) "ssh-add", (char *)(uintptr_t) "-L", NULL};
	struct buf out, pub;
	int status = 0, rc;
	char *a, *b;

	buf_init(&out, OUT_MAX);
	buf_init(&pub, OUT_MAX);
	rc = run_tool(listing, &out, &status, err);
	/* 1: it has none, 2: there is no agent */
	if (rc == 0 && status == 0)
		rc = run_tool(publics, &pub, &status, err);
	if (rc == 0 && status == 0) {
		a = (char *)(uintptr_t)buf_data(&out).p;
		b = (char *)(uintptr_t)buf_data(&pub).p;
		while (*a && rc == 0) {
			struct tl_key k = {0}, *known;
			size_t na = strcspn(a, "\n"), nb = strcspn(b, "\n");
			char *line = str_ndup(a, na);
			if (line && parse_listing(line, &k)) {
				known = find_key(all, k.fingerprint);
				k.in_agent = 1;
				k.path = str_dup("");
				k.public_key = str_ndup(b, nb);
				if (known) {
					known->in_agent = 1;
					key_fini(&k);
				} else {
					rc = add_key(all, &k);
				}
			} else {
				key_fini(&k);
			}
			free(line);
			a += na + (a[na] == '\n');
			b += nb + (b[nb] == '\n');
		}
	}
	buf_fini(&out);
	buf_fini(&pub);
	return rc;
}

int tl_keys_list(const char *folder, struct tl_keys *ret, struct tl_error *err)
{
	char path[TL_LIMIT_PATH];
	struct tl_err e = {0};
	int rc;

	if (!ret)
		return api_failf(err, TL_E_INVAL, "cannot list keys: nowhere to put the list");
	*ret = (struct tl_keys){0};
	rc = ssh_folder(folder, path, sizeof(path));
	if (rc)
		return api_failf(err, rc, "cannot list keys: HOME is not set, or too long");
	rc = list_folder(ret, path, &e);
	rc = rc ? rc : list_agent(ret, &e);
	if (rc) {
		if (!e.code)
			err_set(&e, rc, "cannot list the keys of %s: %s", path, err_row(rc)->what);
		tl_keys_free(ret);
		return api_fail(err, &e);
	}
	api_ok(err);
	return 0;
}

/* ---- making one ---- */

static int give_passphrase(void *ctx, const char *prompt, char *answer, size_t n)
{
	const char *passphrase = ctx;

	/* "Overwrite (y/n)?": somebody was faster; a PIN: nobody can be asked */
	if (!strstr(prompt, "assphrase"))
		return TL_E_EXIST;
	return str_copy(answer, n, passphrase ? passphrase : "") ? 0 : TL_E_INVAL;
}

static bool valid_type(const char *type)
{
	return *type && strlen(type) < 32 && *type != '-' &&
	       strspn(type, "abcdefghijklmnopqrstuvwxyz0123456789-") == strlen(type);
}

/* Neither half of the key is there, and its folder is. */
static int check_place(const char *path, struct tl_err *err)
{
	char file[TL_LIMIT_PATH];
	const char *slash = strrchr(path, '/');
	struct stat st;

	for (int i = 0; i < 2; i++) {
		if ((size_t)snprintf(file, sizeof(file), "%s%s", path, i ? ".pub" : "") >=
		    sizeof(file))
			return err_set(err, TL_E_INVAL, "cannot make a key: the path is too long");
		if (lstat(file, &st) == 0)
			return err_set(err, TL_E_EXIST,
				       "cannot make the key %s: the file exists already", file);
	}
	if (!slash || slash == path)
		return 0;
	snprintf(file, sizeof(file), "%.*s", (int)(slash - path), path);
	if (stat(file, &st) != 0)
		return err_sys(err, errno, "cannot make a key in %s", file);
	return 0;
}

int tl_key_new(const char *path, const char *type, const char *comment, const char *passphrase,
	       struct tl_error *err)
{
	char *argv[] = {(char *)(uintptr_t) "ssh-keygen",
			(char *)(uintptr_t) "-q",
			(char *)(uintptr_t) "-t",
			(char *)(uintptr_t)(type ? type : "ed25519"),
			(char *)(uintptr_t) "-f",
			(char *)(uintptr_t)path,
			(char *)(uintptr_t)(comment ? "-C" : NULL),
			(char *)(uintptr_t)comment,
			NULL};
	struct tl_err e = {0};
	struct buf out;
	int status = 0, rc;

	if (!path || !*path)
		return api_failf(err, TL_E_INVAL, "cannot make a key: no path is given");
	if (type && !valid_type(type))
		return api_failf(err, TL_E_INVAL, "cannot make a key of the type “%.40s”", type);
	if (passphrase && (strlen(passphrase) >= KEYS_ANSWER_MAX || strpbrk(passphrase, "\r\n")))
		return api_failf(err, TL_E_INVAL,
				 "cannot make a key: the passphrase is too long or has a line end");
	if (check_place(path, &e))
		return api_fail(err, &e);
	buf_init(&out, OUT_MAX);
	rc = keys_run(argv, give_passphrase, (void *)(uintptr_t)passphrase, &out, &status, &e);
	if (rc == 0 && status != 0)
		rc = err_set(&e, TL_E_INVAL, "cannot make the key %s: %.300s", path,
			     keys_last_line(&out));
	buf_fini(&out);
	if (rc)
		return api_fail(err, &e);
	api_ok(err);
	return 0;
}

/* ---- giving one to the agent ---- */

struct asking {
	tl_prompt_fn *prompt;
	void *ctx;
	int attempt;
};

static int ask(void *ctx, const char *prompt, char *answer, size_t n)
{
	struct asking *a = ctx;
	enum tl_prompt_kind kind = strstr(prompt, "PIN") ? TL_PROMPT_PIN : TL_PROMPT_PASSPHRASE;

	if (!a->prompt || ++a->attempt > ADD_TRIES)
		return TL_E_AUTH;
	return a->prompt(a->ctx, kind, prompt, a->attempt, answer, n);
}

int tl_key_add(const char *path, tl_prompt_fn *prompt, void *ctx, struct tl_error *err)
{
	char *argv[] = {(char *)(uintptr_t) "ssh-add", (char *)(uintptr_t) "--",
			(char *)(uintptr_t)path, NULL};
	struct asking a = {.prompt = prompt, .ctx = ctx};
	struct tl_err e = {0};
	struct buf out;
	int status = 0, rc;

	if (!path || !*path)
		return api_failf(err, TL_E_INVAL, "cannot add a key: no path is given");
	if (access(path, R_OK) != 0)
		return api_fails(err, errno, "cannot add the key %s", path);
	buf_init(&out, OUT_MAX);
	rc = keys_run(argv, ask, &a, &out, &status, &e);
	if (rc == TL_E_CANCELED && a.attempt > ADD_TRIES)
		rc = err_set(&e, TL_E_AUTH, "cannot add the key %s: the passphrase is wrong", path);
	else if (rc == TL_E_CANCELED)
		rc = err_set(&e, rc, "cannot add the key %s: its passphrase was not given", path);
	else if (rc == 0 && status == 2)
		rc = err_set(&e, TL_E_AUTH,
			     "cannot add the key %s: there is no agent (start one with "
			     "`eval $(ssh-agent)`)",
			     path);
	else if (rc == 0 && status != 0)
		rc = err_set(&e, TL_E_AUTH, "cannot add the key %s: %.300s", path,
			     keys_last_line(&out));
	buf_fini(&out);
	if (rc)
		return api_fail(err, &e);
	api_ok(err);
	return 0;
}
