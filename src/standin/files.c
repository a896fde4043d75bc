/* files.c - the stream's two directions and its tasks (see files.h). */
#include "standin/files.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "dial/master.h"
#include "loop/child.h"
#include "loop/io.h"
#include "loop/sock.h"
#include "standin/standin.h"

#define WRITE_MS (24 * 3600 * 1000)
#define STACK    (512 * 1024)

/* ---- to the client ---- */

void files_reply_packet(struct files *f, struct buf *out)
{
	pthread_mutex_lock(&f->to_client);
	fd_write_all(f->client_out, buf_data(out).p, out->len, WRITE_MS);
	pthread_mutex_unlock(&f->to_client);
	buf_clear(out);
}

void files_reply_status(struct files *f, uint32_t id, int rc, const char *text)
{
	static const struct {
		int rc;
		uint32_t code;
	} codes[] = {{TL_E_NOENT, SFTP_NO_SUCH_FILE},
		     {TL_E_ACCES, SFTP_PERMISSION_DENIED},
		     {TL_E_UNSUPPORTED, SFTP_OP_UNSUPPORTED},
		     {TL_E_PROTO, SFTP_BAD_MESSAGE}};
	uint32_t code = rc ? SFTP_FAILURE : SFTP_OK;
	char line[TL_ERR_TEXT + 64] = "";
	struct buf b;

	for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++)
		if (codes[i].rc == rc)
			code = codes[i].code;
	if (rc)
		snprintf(line, sizeof(line), "%s: %s", err_row(rc)->name, text);
	buf_init(&b, TL_LIMIT_SFTP_PACKET);
	if (sftp_put_status(&b, id, code, line) == 0)
		files_reply_packet(f, &b);
	buf_fini(&b);
}

void files_fail(struct files_task *t, const struct tl_err *err)
{
	files_reply_status(t->f, t->id, err->code, err->text);
}

/* The protocol has whole seconds and no inode. */
void files_etag(uint8_t out[SFTP_ETAG], const struct sftp_attrs *a)
{
	sftp_etag(out, (uint64_t)a->mtime * 1000000000, a->size, 0);
}

/* ---- tasks ---- */

static const struct {
	uint8_t type;
	const char *extension;
	unsigned instead_of; /* 0: always ours; else only where the server has it not */
	void (*run)(struct files_task *t);
} ours[] = {{SFTP_EXTENDED, SFTP_EXT_LIST, 0, files_run_list},
	    {SFTP_EXTENDED, SFTP_EXT_STAT, 0, files_run_stat},
	    {SFTP_EXTENDED, SFTP_EXT_READ_FILE, 0, files_run_read},
	    {SFTP_EXTENDED, SFTP_EXT_SAVE, 0, files_run_save},
	    {SFTP_EXTENDED, SFTP_EXT_REMOVE_TREE, 0, files_run_remove_tree},
	    {SFTP_EXTENDED, SFTP_EXT_COPY_TREE, 0, files_run_copy_tree},
	    {SFTP_EXTENDED, SFTP_EXT_MKDIRS, 0, files_run_mkdirs},
	    {SFTP_EXTENDED, "posix-rename@openssh.com", FILES_RENAME, files_run_posix_rename},
	    {SFTP_EXTENDED, "expand-path@openssh.com", FILES_EXPAND, files_run_expand},
	    /* the server's failure says too little */
	    {SFTP_MKDIR, NULL, 0, files_run_mkdir},
	    {SFTP_RMDIR, NULL, 0, files_run_rmdir},
	    {SFTP_RENAME, NULL, 0, files_run_rename}};

static void *task_main(void *ctx)
{
	struct files_task *t = ctx;
	struct files *f = t->f;

	t->run(t);
	free(t->packet);
	free(t);
	pthread_mutex_lock(&f->lock);
	f->tasks--;
	pthread_cond_broadcast(&f->changed);
	pthread_mutex_unlock(&f->lock);
	return NULL;
}

static int thread_start(void *(*fn)(void *), void *ctx)
{
	pthread_attr_t attr;
	pthread_t thread;
	int e;

	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attr, STACK);
	e = pthread_create(&thread, &attr, fn, ctx);
	pthread_attr_destroy(&attr);
	return e ? err_from_errno(e) : 0;
}

static void task_start(struct files *f, uint32_t id, struct tl_bytes rest,
		       void (*run)(struct files_task *t))
{
	struct files_task *t = calloc(1, sizeof(*t));

	if (t)
		t->packet = malloc(rest.n + 1);
	if (!t || !t->packet) {
		free(t);
		files_reply_status(f, id, TL_E_NOMEM, "out of memory");
		return;
	}
	memcpy(t->packet, rest.p, rest.n);
	t->f = f;
	t->id = id;
	t->run = run;
	t->in = sftp_reader_of(bytes_of(t->packet, rest.n));
	pthread_mutex_lock(&f->lock);
	while (f->tasks >= FILES_TASKS && !f->lost)
		pthread_cond_wait(&f->changed, &f->lock);
	f->tasks++;
	pthread_mutex_unlock(&f->lock);
	if (run == files_run_save)
		files_save_arrived(t);
	if (thread_start(task_main, t) != 0)
		task_main(t);
}

/* One packet of the client: 0, or TL_E_* where nothing can follow. */
static int client_packet(struct files *f, struct tl_bytes packet)
{
	struct sftp_reader r = sftp_reader_of(packet);
	uint8_t type = sftp_get_u8(&r);
	uint32_t id = sftp_get_u32(&r);
	struct sftp_reader name = r;
	struct tl_bytes ext = type == SFTP_EXTENDED ? sftp_get_string(&name) : bytes_of("", 0);

	if (r.bad || name.bad)
		return TL_E_PROTO;
	for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++) {
		if (type != ours[i].type ||
		    (ours[i].extension && !bytes_eq_str(ext, ours[i].extension)))
			continue;
		if (ours[i].instead_of && f->extensions & ours[i].instead_of)
			break;
		task_start(f, id, ours[i].extension ? bytes_of(name.p, name.n) : bytes_of(r.p, r.n),
			   ours[i].run);
		return 0;
	}
	return files_pass(f, type, id, bytes_of(r.p, r.n));
}

/* ---- from the server ---- */

/* STATUS of a request that went through: our word for it in front. */
static bool pass_status(struct files *f, uint32_t id, struct sftp_reader r)
{
	static const char *const words[] = {[SFTP_NO_SUCH_FILE] = "not_found",
					    [SFTP_PERMISSION_DENIED] = "no_permission",
					    [SFTP_OP_UNSUPPORTED] = "unsupported"};
	uint32_t code = sftp_get_u32(&r);
	struct tl_bytes text = sftp_get_string(&r);
	char line[TL_ERR_TEXT];
	struct buf b;

	if (r.bad || code >= sizeof(words) / sizeof(words[0]) || !words[code])
		return false;
	snprintf(line, sizeof(line), "%s: %.*s", words[code], (int)text.n, (const char *)text.p);
	buf_init(&b, TL_LIMIT_SFTP_PACKET);
	if (sftp_put_status(&b, id, code, line) == 0)
		files_reply_packet(f, &b);
	buf_fini(&b);
	return true;
}

static void pass_answer(struct files *f, uint32_t client_id, struct tl_bytes packet)
{
	struct sftp_reader r = sftp_reader_of(packet);
	uint8_t type = sftp_get_u8(&r);
	struct sftp_mark m;
	struct buf b;

	if (type == SFTP_STATUS && pass_status(f, client_id, r))
		return;
	buf_init(&b, TL_LIMIT_SFTP_PACKET + SFTP_PACKET_EXTRA);
	m = sftp_begin(&b, type, client_id);
	if (sftp_end(&b, m, m.rc ? m.rc : buf_put(&b, r.p, r.n)) == 0)
		files_reply_packet(f, &b);
	buf_fini(&b);
}

/* The answer without its id, for a task. */
static uint8_t *without_id(struct tl_bytes packet)
{
	uint8_t *p = malloc(packet.n);

	if (p) {
		p[0] = packet.p[0];
		memcpy(p + 1, packet.p + 5, packet.n - 5);
	}
	return p;
}

static bool server_packet(struct files *f, struct tl_bytes packet)
{
	uint32_t id = packet.n >= 5 ? get_u32(packet.p + 1) : UINT32_MAX, client_id = 0;
	bool pass = false, ok = id < FILES_WAITS;

	pthread_mutex_lock(&f->lock);
	if (ok) {
		struct files_wait *w = &f->wait[id];
		switch (w->state) {
		case WAIT_PASS:
			pass = true;
			client_id = w->client_id;
			w->state = WAIT_FREE;
			break;
		case WAIT_NOBODY:
			w->state = WAIT_FREE;
			break;
		case WAIT_TASK:
			w->p = without_id(packet);
			w->n = packet.n - 4;
			w->state = WAIT_ANSWERED;
			ok = w->p != NULL;
			break;
		case WAIT_FREE:
		case WAIT_ANSWERED:
			ok = false;
			break;
		}
		pthread_cond_broadcast(&f->changed);
	}
	pthread_mutex_unlock(&f->lock);
	if (pass) {
		uint8_t *p = without_id(packet);
		if (p)
			pass_answer(f, client_id, bytes_of(p, packet.n - 4));
		ok = p != NULL;
		free(p);
	}
	return ok;
}

static void *server_main(void *ctx)
{
	struct files *f = ctx;
	struct tl_bytes packet;
	struct buf in;
	size_t used;
	bool ok = true;

	buf_init(&in, 2 * TL_LIMIT_SFTP_PACKET);
	while (ok) {
		int rc = sftp_next(buf_data(&in), &packet, &used);
		if (rc == 1) {
			ok = server_packet(f, packet);
			buf_consume(&in, used);
		} else if (rc == 0) {
			uint8_t *p = buf_reserve(&in, 65536);
			ssize_t n = p ? read(f->server, p, 65536) : -1;
			ok = n > 0;
			buf_commit(&in, ok ? (size_t)n : 0);
		} else {
			ok = false;
		}
	}
	buf_fini(&in);
	pthread_mutex_lock(&f->lock);
	f->lost = true;
	pthread_cond_broadcast(&f->changed);
	pthread_mutex_unlock(&f->lock);
	/* the first thread sees the end of its input then, whatever it waits for */
	shutdown(0, SHUT_RD);
	return NULL;
}

/* ---- the beginning ---- */

static int take_packet(int fd, struct buf *in, struct tl_bytes *ret, size_t *used)
{
	int rc;

	while ((rc = sftp_next(buf_data(in), ret, used)) == 0) {
		uint8_t *p = buf_reserve(in, 65536);
		ssize_t n = p ? read(fd, p, 65536) : -1;
		if (n <= 0)
			return TL_E_CLOSED;
		buf_commit(in, (size_t)n);
	}
	return rc == 1 ? 0 : rc;
}

/* Both hellos: what the server can, and what we add to it. */
static int greet(struct files *f, struct buf *in)
{
	static const struct {
		const char *name;
		unsigned bit;
	} known[] = {{"posix-rename@openssh.com", FILES_RENAME},
		     {"fsync@openssh.com", FILES_FSYNC},
		     {"expand-path@openssh.com", FILES_EXPAND},
		     {"copy-data", FILES_COPY}};
	static const char *const added[] = {
	    SFTP_EXT_LIST,        SFTP_EXT_STAT,      SFTP_EXT_READ_FILE, SFTP_EXT_SAVE,
	    SFTP_EXT_REMOVE_TREE, SFTP_EXT_COPY_TREE, SFTP_EXT_MKDIRS};
	struct sftp_reader r;
	struct tl_bytes packet;
	struct sftp_mark m;
	struct buf out, server;
	size_t used;
	int rc;

	buf_init(&out, TL_LIMIT_SFTP_PACKET);
	buf_init(&server, TL_LIMIT_SFTP_PACKET + 65536);
	rc = sftp_put_hello(&out, SFTP_INIT, SFTP_VERSION);
	rc = rc ? rc : fd_write_all(f->server, buf_data(&out).p, out.len, WRITE_MS);
	buf_clear(&out);
	rc = rc ? rc : take_packet(f->server, &server, &packet, &used);
	r = sftp_reader_of(rc ? bytes_of("", 0) : packet);
	if (rc == 0 && sftp_get_u8(&r) != SFTP_VERSION_REPLY)
		rc = TL_E_PROTO;
	/* an id would stand where the version is */
	m = sftp_begin(&out, SFTP_VERSION_REPLY, SFTP_VERSION);
	rc = rc ? rc : m.rc;
	sftp_get_u32(&r);
	while (rc == 0 && r.n && !r.bad) {
		struct tl_bytes name = sftp_get_string(&r), value = sftp_get_string(&r);
		for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
			if (bytes_eq_str(name, known[i].name))
				f->extensions |= known[i].bit;
		rc = buf_put_string(&out, name.p, name.n);
		rc = rc ? rc : buf_put_string(&out, value.p, value.n);
	}
	for (size_t i = 0; i < sizeof(added) / sizeof(added[0]) && !rc; i++) {
		rc = buf_put_string(&out, added[i], strlen(added[i]));
		rc = rc ? rc : buf_put_string(&out, "1", 1);
	}
	rc = sftp_end(&out, m, rc);
	if (rc == 0)
		rc = take_packet(0, in, &packet, &used);
	if (rc == 0) {
		buf_consume(in, used);
		files_reply_packet(f, &out);
	}
	buf_fini(&out);
	buf_fini(&server);
	return rc;
}

static void serve(struct files *f)
{
	struct tl_bytes packet;
	struct buf in;
	size_t used;

	buf_init(&in, TL_LIMIT_SFTP_PACKET + 65536 + SFTP_LENGTH);
	if (greet(f, &in) == 0 && thread_start(server_main, f) == 0) {
		while (take_packet(0, &in, &packet, &used) == 0) {
			if (client_packet(f, packet) != 0)
				break;
			buf_consume(&in, used);
		}
		pthread_mutex_lock(&f->lock);
		f->ending = true;
		pthread_cond_broadcast(&f->changed);
		while (f->tasks)
			pthread_cond_wait(&f->changed, &f->lock);
		pthread_mutex_unlock(&f->lock);
		files_saves_end(f);
	}
	buf_fini(&in);
}

int standin_files_main(int argc, char **argv)
{
	const char *const more[] = {"-s", NULL};
	struct files *f = calloc(1, sizeof(*f));
	struct strv ssh = {0};
	char ctl[TL_LIMIT_PATH];
	struct tl_err err = {0};
	struct child_spec spec = {.fd = {-1, -1, -1}, .ctty = -1};
	int sv[2];

	signal(SIGPIPE, SIG_IGN);
	if (!f || argc != 3 || !master_control_path(argv[1], ctl, sizeof(ctl)) ||
	    master_argv(&ssh, argv[2], ctl, more, "sftp") != 0 || socket_pair(sv) != 0) {
		strv_fini(&ssh);
		free(f);
		return err_row(TL_E_INVAL)->exit_status;
	}
	spec.argv = ssh.v;
	spec.fd[0] = spec.fd[1] = sv[1];
	if (spawn_detached(&spec, -1, &err) == 0) {
		close(sv[1]);
		f->server = sv[0];
		f->client_out = 1;
		pthread_mutex_init(&f->lock, NULL);
		pthread_cond_init(&f->changed, NULL);
		pthread_mutex_init(&f->to_server, NULL);
		pthread_mutex_init(&f->to_client, NULL);
		serve(f);
	} else {
		fprintf(stderr, "towlined: %s\n", err.text);
	}
	strv_fini(&ssh);
	/* threads may still be in it: the process ends, and with it the channel */
	fflush(NULL);
	_exit(0);
}
