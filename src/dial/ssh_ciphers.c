/* ssh_ciphers.c - see ssh_ciphers.h. The question is one short-lived `ssh -G`, a few milliseconds;
 * whatever goes wrong with it, or takes long, means: as ssh likes it. */
#include "dial/ssh_ciphers.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/auxv.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/limits.h"
#include "base/str.h"
#include "dial/args.h"
#include "loop/child.h"
#include "loop/fsx.h"
#include "loop/io.h"

#define OUTPUT_MAX  262144
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
	struct io io;
	struct child child;
	struct loop_timer patience;
	struct buf out;
	bool eof, exited, over;
	int closing;
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
	static const char word[] = "ciphers ";
	const size_t skip = sizeof(word) - 1;

	while (config.n) {
		const uint8_t *lf = memchr(config.p, '\n', config.n);
		size_t n = lf ? (size_t)(lf - config.p) : config.n;
		if (n > skip && memcmp(config.p, word, skip) == 0) {
			for (size_t i = 0; i < sizeof(defaults) / sizeof(defaults[0]); i++)
				if (n - skip == strlen(defaults[i]) &&
				    memcmp(config.p + skip, defaults[i], n - skip) == 0)
					return str_copy(out, SSH_CIPHERS_MAX, PREFERRED);
			return false;
		}
		n += lf ? 1 : 0;
		config.p += n;
		config.n -= n;
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
	    dial_config_has(t->config_file, "Ciphers"))
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

/* ---- the child ---- */

static void part_closed(void *ctx)
{
	struct ssh_ciphers_query *q = ctx;

	if (--q->closing > 0)
		return;
	buf_fini(&q->out);
	free(q);
}

void ssh_ciphers_cancel(struct ssh_ciphers_query *q)
{
	if (q->over)
		return;
	q->over = true;
	if (!q->exited) {
		child_kill(&q->child, SIGKILL, true);
		child_forget(&q->child);
	}
	q->closing = 2;
	io_close(&q->io, part_closed);
	timer_close(&q->patience, part_closed);
}

static void maybe_done(struct ssh_ciphers_query *q)
{
	char list[SSH_CIPHERS_MAX];
	bool found;

	if (!q->eof || !q->exited || q->over)
		return;
	found = ssh_ciphers_prefer(buf_data(&q->out), list);
	ssh_ciphers_cancel(q);
	q->on_done(q->ctx, found ? list : NULL);
}

static void on_readable(void *ctx)
{
	struct ssh_ciphers_query *q = ctx;
	uint8_t in[16384];
	long n;

	while ((n = io_read(&q->io, in, sizeof(in))) > 0)
		/* more than ssh ever says is not its configuration */
		(void)buf_put(&q->out, in, (size_t)n);
	if (n == TL_E_AGAIN)
		return;
	q->eof = true;
	io_want_read(&q->io, false);
	maybe_done(q);
}

static void on_exited(void *ctx, int kind, int value)
{
	struct ssh_ciphers_query *q = ctx;

	q->exited = true;
	if (kind || value)
		buf_clear(&q->out);
	maybe_done(q);
}

static void too_late(void *ctx)
{
	struct ssh_ciphers_query *q = ctx;

	ssh_ciphers_cancel(q);
	q->on_done(q->ctx, NULL);
}

/* On failure nothing of q is open but what part_closed waits for. */
static int spawn(struct loop *l, struct ssh_ciphers_query *q, struct strv *argv)
{
	struct child_spec spec = {
	    .argv = argv->v, .fd = {-1, -1, -1}, .new_session = true, .ctty = -1};
	int fds[2];

	if (pipe2(fds, O_CLOEXEC) != 0)
		return TL_E_IO;
	if (io_open(l, &q->io, fds[0], fds[0], on_readable, NULL, q) != 0) {
		close(fds[0]);
		close(fds[1]);
		return TL_E_NOMEM;
	}
	timer_init(l, &q->patience, too_late, q);
	spec.fd[1] = fds[1];
	q->exited = child_spawn(l, &q->child, &spec, on_exited, q, NULL) != 0;
	close(fds[1]);
	if (!q->exited)
		timer_start(&q->patience, PATIENCE_MS);
	return 0;
}

struct ssh_ciphers_query *ssh_ciphers_ask(struct loop *l, const struct dial_target *t,
					  const char *ssh_path,
					  void (*on_done)(void *ctx, const char *ciphers),
					  void *ctx)
{
	struct ssh_ciphers_query *q = calloc(1, sizeof(*q));
	struct strv argv = {0};
	int rc;

	if (!q)
		return NULL;
	q->on_done = on_done;
	q->ctx = ctx;
	buf_init(&q->out, OUTPUT_MAX);
	rc = args_query(&argv, t, ssh_path, NULL);
	rc = rc ? rc : spawn(l, q, &argv);
	strv_fini(&argv);
	if (rc == 0 && !q->exited)
		return q;
	if (rc == 0)
		ssh_ciphers_cancel(q);
	else
		free(q);
	return NULL;
}
