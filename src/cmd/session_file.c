/* session_file.c - see session_file.h. Owns a private folder below the runtime folder, the file and
 * the sockets in it, and five forwards. ZeroMQ has no access control of its own: unix sockets in a
 * private folder have; ports of the loopback are open to every user, of whom the key keeps out
 * those that would send, not those that would read. */
#include "cmd/session_file.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/str.h"
#include "loop/fsx.h"
#include "loop/sock.h"

#define CHANNELS 5
#define LOOK_MS  5000 /* between looks whether the session is still there */

static const char *const ports[CHANNELS] = {"shell_port", "control_port", "iopub_port",
					    "stdin_port", "hb_port"};

static volatile sig_atomic_t signal_seen;

static void on_signal(int signo)
{
	signal_seen = signo;
}

struct session_file {
	struct api_client *c;
	const char *host, *id;
	bool tcp;
	char dir[TL_LIMIT_PATH];
	char *path;
	char *forward[CHANNELS]; /* ids */
	int port[CHANNELS];
};

static void socket_path(const struct session_file *f, int i, char *out, size_t n)
{
	snprintf(out, n, "%s/s-%d", f->dir, i + 1);
}

/* The forward of one channel. */
static int carry(struct session_file *f, int i, yyjson_val *there, struct tl_err *err)
{
	int64_t port = json_int(there, ports[i], 0);
	bool ipc = strcmp(json_str(there, "transport", "tcp"), "ipc") == 0;
	char target[TL_LIMIT_PATH], local[TL_LIMIT_PATH];
	struct jsonrpc_msg m = {0};
	yyjson_mut_doc *p = cmd_params("host", f->host, "source", "auto", NULL);
	yyjson_mut_val *o = yyjson_mut_doc_get_root(p);
	int rc;

	snprintf(target, sizeof(target), "%s-%lld", json_str(there, "ip", ""), (long long)port);
	socket_path(f, i, local, sizeof(local));
	if (ipc)
		yyjson_mut_obj_add_strcpy(p, o, "targetPath", target);
	else
		yyjson_mut_obj_add_sint(p, o, "targetPort", port);
	if (f->tcp)
		yyjson_mut_obj_add_sint(p, o, "localPort", 0);
	else
		yyjson_mut_obj_add_strcpy(p, o, "localPath", local);
	yyjson_mut_obj_add_strcpy(p, o, "label", ports[i]);
	rc = api_client_call(f->c, "forward/add", p, &m, err);
	if (!rc) {
		f->forward[i] = str_dup(json_str(m.result, "id", ""));
		f->port[i] = f->tcp ? (int)json_int(m.result, "localPort", 0) : i + 1;
	}
	jsonrpc_fini(&m);
	return rc;
}

static int write_file(struct session_file *f, yyjson_val *there, struct tl_err *err)
{
	yyjson_mut_doc *d = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *o = yyjson_mut_obj(d);
	char prefix[TL_LIMIT_PATH + 8];
	struct buf b;
	int rc;

	snprintf(prefix, sizeof(prefix), "%s/s", f->dir);
	yyjson_mut_doc_set_root(d, o);
	yyjson_mut_obj_add_str(d, o, "transport", f->tcp ? "tcp" : "ipc");
	json_add_path(d, o, "ip", f->tcp ? "127.0.0.1" : prefix);
	for (int i = 0; i < CHANNELS; i++)
		yyjson_mut_obj_add_int(d, o, ports[i], f->port[i]);
	json_add_path(d, o, "key", json_str(there, "key", ""));
	json_add_path(d, o, "signature_scheme", json_str(there, "signature_scheme", "hmac-sha256"));
	json_add_path(d, o, "kernel_name", json_str(there, "kernel_name", ""));
	buf_init(&b, 65536);
	rc = json_write(&b, d);
	rc = rc ? err_set(err, rc, "write a connection file")
		: fs_write_atomic(f->path, buf_data(&b).p, b.len, 0600, err);
	buf_fini(&b);
	yyjson_mut_doc_free(d);
	return rc;
}

static int choose_place(struct session_file *f, struct tl_err *err)
{
	char control[TL_LIMIT_PATH], longest[TL_LIMIT_PATH + 16];
	char *slash;

	if (!api_control_path(control, sizeof(control)))
		return err_set(err, TL_E_LIMIT,
			       "write a connection file: XDG_RUNTIME_DIR is too long");
	slash = strrchr(control, '/');
	snprintf(f->dir, sizeof(f->dir), "%.*s/kernel-%s-%ld", (int)(slash - control), control,
		 f->id, (long)getpid());
	snprintf(longest, sizeof(longest), "%s/s-5", f->dir);
	if (strlen(longest) >= sizeof(((struct sockaddr_un *)0)->sun_path))
		f->tcp = true;
	f->path = str_fmt("%s/kernel-%s.json", f->dir, f->id);
	if (!f->path)
		return err_set(err, TL_E_NOMEM, "write a connection file");
	return private_dir(f->dir, err);
}

static void take_away(struct session_file *f)
{
	char path[TL_LIMIT_PATH + 16];

	for (int i = 0; i < CHANNELS; i++) {
		struct jsonrpc_msg m = {0};
		if (f->forward[i])
			api_client_call(f->c, "forward/remove",
					cmd_params("id", f->forward[i], NULL), &m, NULL);
		jsonrpc_fini(&m);
		free(f->forward[i]);
		snprintf(path, sizeof(path), "%s/s-%d", f->dir, i + 1);
		unlink(path);
	}
	if (f->path)
		unlink(f->path);
	if (f->dir[0])
		rmdir(f->dir);
	free(f->path);
}

/* Until a signal, or until the session is no more. */
static int wait_for_end(struct session_file *f, struct tl_err *err)
{
	struct jsonrpc_msg m = {0};
	int rc = 0;

	while (!signal_seen) {
		struct tl_err quiet = {0};
		rc = api_client_wait(f->c, LOOK_MS, &quiet);
		if (rc && rc != TL_E_TIMEOUT && !signal_seen)
			return err_set(err, rc, "carry session %s: the local daemon went away",
				       f->id);
		rc = cmd_host_call(f->c, f->host, "kernel/info", cmd_params("id", f->id, NULL), &m,
				   &quiet);
		jsonrpc_fini(&m);
		if (rc == TL_E_NOKERNEL)
			return err_set(err, rc, "carry session %s: it has ended", f->id);
	}
	return 0;
}

int session_file_serve(struct api_client *c, const char *host, const char *id, bool tcp,
		       const struct cmd_globals *g, struct tl_err *err)
{
	struct session_file f = {.c = c, .host = host, .id = id, .tcp = tcp};
	struct sigaction sa = {.sa_handler = on_signal};
	struct jsonrpc_msg there = {0};
	int rc;

	sigemptyset(&sa.sa_mask);
	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
	sigaction(SIGHUP, &sa, NULL);
	rc = cmd_host_call(c, host, "kernel/connection", cmd_params("id", id, NULL), &there, err);
	rc = rc ? rc : choose_place(&f, err);
	for (int i = 0; i < CHANNELS && !rc; i++)
		rc = carry(&f, i, there.result, err);
	rc = rc ? rc : write_file(&f, there.result, err);
	if (!rc) {
		if (g->json)
			printf("{\"connectionFile\":\"%s\"}\n", f.path);
		else
			puts(f.path);
		fflush(stdout);
		if (!g->quiet && isatty(2))
			fprintf(stderr, "jupyter console --existing %s\nCtrl-C takes it away.\n",
				f.path);
		rc = wait_for_end(&f, err);
	}
	take_away(&f);
	jsonrpc_fini(&there);
	return rc;
}
