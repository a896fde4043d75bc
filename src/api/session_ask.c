/* session_ask.c - see session_ask.h. */
#include "api/session_ask.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/tool.h"
#include "base/limits.h"
#include "dial/args.h"

#define ASK_MS     10000
#define ANSWER_MAX 262144
#define KEYS_MAX   32 /* of one host */
#define SHA1_BYTES 20
#define WORD       512

/* What `ssh -G` says, as far as it matters. */
struct config {
	char user[WORD], host[WORD], port[16], jump[WORD], alias[WORD];
	char files[4096]; /* known_hosts files, separated by spaces */
};

/* ---- ssh -G ---- */

static void take_config(struct config *c, char *line)
{
	static const struct {
		const char *word;
		size_t at, size;
	} rows[] = {
	    {"user ", offsetof(struct config, user), WORD},
	    {"hostname ", offsetof(struct config, host), WORD},
	    {"port ", offsetof(struct config, port), 16},
	    {"proxyjump ", offsetof(struct config, jump), WORD},
	    {"hostkeyalias ", offsetof(struct config, alias), WORD},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (str_starts(line, rows[i].word))
			str_copy((char *)c + rows[i].at, rows[i].size, line + strlen(rows[i].word));
	if (str_starts(line, "userknownhostsfile ") || str_starts(line, "globalknownhostsfile ")) {
		size_t n = strlen(c->files);
		snprintf(c->files + n, sizeof(c->files) - n, "%s%s", n ? " " : "",
			 strchr(line, ' ') + 1);
	}
}

static int config_argv(struct tl_session *s, struct strv *argv)
{
	const struct session_options *o = &s->opt;
	const char *const keys[] = {o->key_file, NULL};
	struct dial_target t = {.host = s->host,
				.config_file = o->config_file,
				.identities = o->key_file ? keys : NULL,
				.port = o->port,
				.options = (const char *const *)o->ssh_options.v};
	struct strv plain = {0};
	const char *ssh = o->ssh_program ? o->ssh_program : "ssh";
	int rc = args_argv(&plain, &t, ssh, "true", NULL);

	rc = rc ? rc : strv_add(argv, ssh);
	rc = rc ? rc : strv_add(argv, "-G");
	for (size_t i = 1; i < plain.n && !rc; i++)
		rc = strv_add(argv, plain.v[i]);
	strv_fini(&plain);
	return rc;
}

static bool ask_ssh(struct tl_session *s, struct config *c)
{
	struct strv argv = {0};
	struct buf out;
	char *text, *line, *save = NULL;
	int status = 0;
	bool ok;

	buf_init(&out, ANSWER_MAX);
	ok = config_argv(s, &argv) == 0 &&
	     tool_run(argv.v, bytes_of(NULL, 0), &out, ASK_MS, &status, NULL) == 0 && status == 0;
	text = ok ? (char *)(uintptr_t)buf_cstr(&out) : NULL; /* ours: out is not const */
	for (line = text ? strtok_r(text, "\n", &save) : NULL; line;
	     line = strtok_r(NULL, "\n", &save))
		take_config(c, line);
	buf_fini(&out);
	strv_fini(&argv);
	return ok;
}

/* ---- the known host key ---- */

static int base64_of(int c)
{
	static const char digits[] =
	    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const char *at = c ? strchr(digits, c) : NULL;

	return at ? (int)(at - digits) : -1;
}

/* base64 without padding to `aa:bb:…`. */
static bool sha1_hex(const char *base64, char out[3 * SHA1_BYTES + 1])
{
	unsigned bits = 0, have = 0, n = 0;

	for (const char *p = base64; base64_of(*p) >= 0 && n < SHA1_BYTES; p++) {
		bits = (bits << 6 | (unsigned)base64_of(*p)) & 0xffffff;
		have += 6;
		if (have >= 8) {
			have -= 8;
			snprintf(out + (size_t)3 * n, 4, "%02x:", bits >> have & 0xff);
			n++;
		}
	}
	out[3 * SHA1_BYTES - 1] = 0;
	return n == SHA1_BYTES;
}

/* Keys of name in one known_hosts file, `TYPE KEY` lines. */
static void known_keys(const char *name, const char *file, struct buf *keys)
{
	char full[TL_LIMIT_PATH];
	const char *home = getenv("HOME");
	char program[] = "ssh-keygen", find[] = "-F", from[] = "-f";
	char *argv[] = {program, find, (char *)(uintptr_t)name, from, full, NULL};
	char *text, *line, *save = NULL;
	struct buf out;
	int status = 0;

	if (str_starts(file, "~/") && home)
		snprintf(full, sizeof(full), "%s%s", home, file + 1);
	else
		str_copy(full, sizeof(full), file);
	buf_init(&out, ANSWER_MAX);
	text = tool_run(argv, bytes_of(NULL, 0), &out, ASK_MS, &status, NULL) == 0
		   ? (char *)(uintptr_t)buf_cstr(&out)
		   : NULL;
	for (line = text ? strtok_r(text, "\n", &save) : NULL; line;
	     line = strtok_r(NULL, "\n", &save)) {
		const char *key = strchr(line, ' ');
		if (*line != '#' && *line != '@' && key)
			buf_printf(keys, "%s\n", key + 1);
	}
	buf_fini(&out);
}

/* The fingerprints of keys, one per line; returns their number. */
static size_t fingerprints(const struct buf *keys, const char *hash, char out[][WORD])
{
	char program[] = "ssh-keygen", list[] = "-lf", in[] = "-", how[] = "-E";
	char *argv[] = {program, list, in, how, (char *)(uintptr_t)hash, NULL};
	char *text, *line, *save = NULL;
	struct buf answer;
	int status = 0;
	size_t n = 0;

	buf_init(&answer, ANSWER_MAX);
	text = tool_run(argv, buf_data(keys), &answer, ASK_MS, &status, NULL) == 0
		   ? (char *)(uintptr_t)buf_cstr(&answer)
		   : NULL;
	for (line = text ? strtok_r(text, "\n", &save) : NULL; line && n < KEYS_MAX;
	     line = strtok_r(NULL, "\n", &save))
		if (sscanf(line, "%*d %511s", out[n]) == 1)
			n++;
	buf_fini(&answer);
	return n;
}

/* Sets the fingerprints that are not known from ssh's own lines. Of several known keys only the one
 * that ssh saw can be meant. */
static void ask_known(struct tl_session *s, const struct config *c)
{
	char(*sha256)[WORD] = calloc((size_t)2 * KEYS_MAX, WORD), (*sha1)[WORD] = sha256 + KEYS_MAX;
	char name[WORD + 32], hex[3 * SHA1_BYTES + 1], *file, *save = NULL, files[sizeof(c->files)];
	struct session_facts *f = &s->facts;
	size_t n = 0, at = KEYS_MAX;
	struct buf keys;

	if (!sha256)
		return;
	if (*c->alias || strcmp(c->port, "22") == 0)
		str_copy(name, sizeof(name), *c->alias ? c->alias : c->host);
	else
		snprintf(name, sizeof(name), "[%s]:%s", c->host, c->port);
	buf_init(&keys, 65536);
	str_copy(files, sizeof(files), c->files);
	for (file = strtok_r(files, " ", &save); file; file = strtok_r(NULL, " ", &save))
		known_keys(name, file, &keys);
	if (keys.len > 0)
		n = fingerprints(&keys, "sha256", sha256);
	if (n > 0 && fingerprints(&keys, "sha1", sha1) != n)
		n = 0;
	pthread_mutex_lock(&s->lock);
	for (size_t i = 0; i < n; i++)
		if (f->sha256 ? strcmp(f->sha256, sha256[i]) == 0 : n == 1)
			at = i;
	if (at < n && !f->sha256)
		f->sha256 = str_dup(sha256[at]);
	if (at < n && !f->sha1 && str_starts(sha1[at], "SHA1:") && sha1_hex(sha1[at] + 5, hex))
		f->sha1 = str_dup(hex);
	pthread_mutex_unlock(&s->lock);
	buf_fini(&keys);
	free(sha256);
}

void session_ask_config(struct tl_session *s)
{
	struct config *c = calloc(1, sizeof(*c));
	struct session_facts *f = &s->facts;
	long long port = 0;

	if (!c)
		return;
	if (ask_ssh(s, c)) {
		ask_known(s, c);
		pthread_mutex_lock(&s->lock);
		if (!f->asked_config) {
			f->asked_config = true;
			f->user = str_dup(c->user);
			f->host = str_dup(c->host);
			if (*c->jump && strcmp(c->jump, "none") != 0)
				f->jump = str_dup(c->jump);
			if (!f->port && str_to_int(c->port, 1, 65535, &port))
				f->port = (int)port;
		}
		pthread_mutex_unlock(&s->lock);
	}
	free(c);
}
