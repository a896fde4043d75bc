/* ssh_ciphers.c - see ssh_ciphers.h. The question is one short-lived `ssh -G`, a few milliseconds;
 * whatever goes wrong with it, or takes long, means: as ssh likes it. */
#include "dial/ssh_ciphers.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/auxv.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/limits.h"
#include "base/str.h"
#include "dial/config_scan.h"
#include "dial/ssh_query.h"
#include "loop/fsx.h"

#define PATIENCE_MS 2000 /* a Match exec of the user may be slow; it runs again with the login */

/* ssh's default sets since 6.7, and since 10.0 */
static const char *const defaults[] = {
    "chacha20-poly1305@openssh.com,aes128-ctr,aes192-ctr,aes256-ctr,aes128-gcm@openssh.com,"
    "aes256-gcm@openssh.com",
    "chacha20-poly1305@openssh.com,aes128-gcm@openssh.com,aes256-gcm@openssh.com,aes128-ctr,"
    "aes192-ctr,aes256-ctr",
};
#define PREFERRED                                                                                  \
	"aes128-gcm@openssh.com,aes256-gcm@openssh.com,chacha20-poly1305@openssh.com,aes128-ctr,"  \
	"aes192-ctr,aes256-ctr"

struct ssh_ciphers_query {
	struct ssh_query *query;
	void (*on_done)(void *ctx, const char *ciphers);
	void *ctx;
};

bool ssh_ciphers_fast_aes(void)
{
#if defined(__x86_64__)
	return __builtin_cpu_supports("aes") && __builtin_cpu_supports("pclmul");
#elif defined(__aarch64__)
	/* AES and PMULL of the kernel's list for this architecture */
	return (getauxval(AT_HWCAP) & 0x18) == 0x18;
#else
	return false;
#endif
}

bool ssh_ciphers_prefer(struct tl_bytes config, char out[SSH_CIPHERS_MAX])
{
	static const char word[] = "ciphers";
	struct tl_bytes key, value;

	while (ssh_query_line(&config, &key, &value)) {
		if (!bytes_equal(key, bytes_str(word)))
			continue;
		for (size_t i = 0; i < sizeof(defaults) / sizeof(defaults[0]); i++)
			if (bytes_equal(value, bytes_str(defaults[i])))
				return str_copy(out, SSH_CIPHERS_MAX, PREFERRED);
		return false;
	}
	return false;
}

/* ---- what is known ---- */

#define NOTE_MAX 256

/* The program that execvp would run. */
static bool find_program(const char *name, struct stat *ret)
{
	const char *path = getenv("PATH");
	char file[TL_LIMIT_PATH];

	if (strchr(name, '/'))
		return stat(name, ret) == 0;
	while (path && *path) {
		size_t n = strcspn(path, ":");
		int len = snprintf(file, sizeof(file), "%.*s/%s", (int)n, path, name);
		if (n && len > 0 && (size_t)len < sizeof(file) && access(file, X_OK) == 0)
			return stat(file, ret) == 0;
		path += n;
		path += *path ? 1 : 0;
	}
	return false;
}

bool ssh_ciphers_subject(char out[SSH_CIPHERS_SUBJECT], const struct dial_target *t,
			 const char *ssh_path)
{
	struct stat st;

	for (size_t i = 0; t->options && t->options[i]; i++)
		if (strncasecmp(t->options[i] + strspn(t->options[i], " \t"), "Ciphers", 7) == 0)
			return false;
	if (!find_program(ssh_path ? ssh_path : "ssh", &st) ||
	    config_has(t->config_file, "Ciphers"))
		return false;
	snprintf(out, SSH_CIPHERS_SUBJECT, "ssh %llu %llu %llu %lld.%09ld",
		 (unsigned long long)st.st_dev, (unsigned long long)st.st_ino,
		 (unsigned long long)st.st_size, (long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
	return true;
}

static void note_line(char out[NOTE_MAX], const char *subject, bool prefer)
{
	snprintf(out, NOTE_MAX, "%s %s\n", subject, prefer ? "prefer" : "leave");
}

int ssh_ciphers_known(const char *note, const char *subject, char out[SSH_CIPHERS_MAX])
{
	char line[NOTE_MAX];
	struct buf b;
	const char *text;
	int known = -1;

	buf_init(&b, NOTE_MAX);
	text = fs_read(note, &b, NULL) == 0 ? buf_cstr(&b) : NULL;
	for (int prefer = 0; text && prefer < 2; prefer++) {
		note_line(line, subject, prefer);
		if (strcmp(text, line) == 0)
			known = prefer;
	}
	buf_fini(&b);
	if (known == 1)
		str_copy(out, SSH_CIPHERS_MAX, PREFERRED);
	return known;
}

void ssh_ciphers_learn(const char *note, const char *subject, const char *ciphers)
{
	char line[NOTE_MAX];

	note_line(line, subject, ciphers != NULL);
	fs_write_atomic(note, line, strlen(line), 0600, NULL);
}

/* ---- the question ---- */

void ssh_ciphers_cancel(struct ssh_ciphers_query *q)
{
	ssh_query_cancel(q->query);
	free(q);
}

static void answered(void *ctx, struct tl_bytes config, const struct tl_err *err)
{
	struct ssh_ciphers_query q = *(struct ssh_ciphers_query *)ctx;
	char list[SSH_CIPHERS_MAX];

	free(ctx);
	q.on_done(q.ctx, !err && ssh_ciphers_prefer(config, list) ? list : NULL);
}

struct ssh_ciphers_query *ssh_ciphers_ask(struct loop *l, const struct dial_target *t,
					  const char *ssh_path,
					  void (*on_done)(void *ctx, const char *ciphers),
					  void *ctx)
{
	struct ssh_ciphers_query *q = calloc(1, sizeof(*q));

	if (!q)
		return NULL;
	q->on_done = on_done;
	q->ctx = ctx;
	q->query = ssh_query_start(l, t, ssh_path, PATIENCE_MS, answered, q, NULL);
	if (!q->query) {
		free(q);
		return NULL;
	}
	return q;
}
