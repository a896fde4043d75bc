/* kernel_connection.c - the connection file of a kernel: key, and unix sockets in a folder of ours,
 * or ports of the loopback where those cannot be had. Jupyter's other programs find it through a
 * link in their runtime folder, as `jupyter console --existing` expects. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "host/kernel_state.h"
#include "host/login_env.h"
#include "host/ports_session.h"
#include "loop/fsx.h"

static const char *const port_names[JUPYTER_CHANNELS] = {"shell_port", "control_port", "iopub_port",
							 "stdin_port", "hb_port"};

void kernel_connection_path(const struct kernel *k, enum jupyter_channel c, char *out, size_t n)
{
	snprintf(out, n, "%s/s-%d", k->plan.dir, k->port[c]);
}

/* Five free ports of the loopback. Between here and the kernel's own bind another program may take
 * one: then the kernel says so and ends, and a restart takes others. */
static int choose_ports(struct kernel *k, struct tl_err *err)
{
	int fds[JUPYTER_CHANNELS], n = 0, rc = 0;
	for (; n < JUPYTER_CHANNELS && !rc; n++) {
		struct sockaddr_in sa = {.sin_family = AF_INET,
					 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
		socklen_t len = sizeof(sa);
		fds[n] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (fds[n] < 0 || bind(fds[n], (struct sockaddr *)&sa, sizeof(sa)) != 0 ||
		    getsockname(fds[n], (struct sockaddr *)&sa, &len) != 0)
			rc = err_sys(err, errno, "start a kernel: find free ports");
		k->port[n] = ntohs(sa.sin_port);
	}
	while (n-- > 0)
		if (fds[n] >= 0)
			close(fds[n]);
	return rc;
}

static int make_folder(struct kernel *k, struct tl_err *err)
{
	struct stat st;
	if (mkdir(k->plan.dir, 0700) != 0 && errno != EEXIST)
		return err_sys(err, errno, "start a kernel: make %s", k->plan.dir);
	if (lstat(k->plan.dir, &st) != 0 || !S_ISDIR(st.st_mode) || st.st_uid != geteuid() ||
	    (st.st_mode & 077))
		return err_set(err, TL_E_ACCES,
			       "start a kernel: %s is not a private folder of this user",
			       k->plan.dir);
	return 0;
}

/* A link in Jupyter's runtime folder; without one nothing is lost. */
static void publish(struct kernel *k)
{
	const char *runtime = getenv("JUPYTER_RUNTIME_DIR"), *data = getenv("JUPYTER_DATA_DIR");
	const char *xdg = getenv("XDG_DATA_HOME");
	struct login who;
	char *dir;
	login_of(&who);
	if (runtime && *runtime == '/')
		dir = str_dup(runtime);
	else if (data && *data == '/')
		dir = str_fmt("%s/runtime", data);
	else if (xdg && *xdg == '/')
		dir = str_fmt("%s/jupyter/runtime", xdg);
	else
		dir = str_fmt("%s/.local/share/jupyter/runtime", who.home);
	if (dir && fs_mkdirs(dir, 0700, NULL) == 0)
		k->public_file = str_fmt("%s/kernel-%s.json", dir, k->plan.uuid);
	free(dir);
	if (k->public_file && symlink(k->plan.connection_file, k->public_file) != 0) {
		free(k->public_file);
		k->public_file = NULL;
	}
}

int kernel_connection_put(struct kernel *k, struct buf *out)
{
	char prefix[TL_LIMIT_PATH];
	yyjson_mut_doc *d = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *o = yyjson_mut_obj(d);
	snprintf(prefix, sizeof(prefix), "%s/s", k->plan.dir);
	yyjson_mut_doc_set_root(d, o);
	yyjson_mut_obj_add_str(d, o, "transport", k->plan.tcp ? "tcp" : "ipc");
	json_add_path(d, o, "ip", k->plan.tcp ? "127.0.0.1" : prefix);
	for (int i = 0; i < JUPYTER_CHANNELS; i++)
		yyjson_mut_obj_add_int(d, o, port_names[i], k->port[i]);
	yyjson_mut_obj_add_str(d, o, "key", k->key);
	yyjson_mut_obj_add_str(d, o, "signature_scheme", "hmac-sha256");
	json_add_path(d, o, "kernel_name", k->plan.spec.id);
	int rc = json_write(out, d);
	yyjson_mut_doc_free(d);
	return rc;
}

static int write_file(struct kernel *k, struct tl_err *err)
{
	struct buf text;
	buf_init(&text, 65536);
	int rc = kernel_connection_put(k, &text);
	if (!rc)
		rc = fs_write_atomic(k->plan.connection_file, buf_data(&text).p, text.len, 0600,
				     err);
	buf_fini(&text);
	return rc;
}

int kernel_connection_write(struct kernel *k, struct tl_err *err)
{
	uint8_t secret[KERNEL_KEY / 2];
	char path[TL_LIMIT_PATH];
	int rc = make_folder(k, err);
	if (rc)
		return rc;
	if (!k->key[0]) {
		random_bytes(secret, sizeof(secret));
		str_hex(secret, sizeof(secret), k->key);
	}
	for (int i = 0; i < JUPYTER_CHANNELS; i++)
		k->port[i] = k->plan.tcp ? k->port[i] : i + 1;
	kernel_connection_path(k, JUPYTER_HB, path, sizeof(path));
	if (strlen(path) >= sizeof(((struct sockaddr_un *)0)->sun_path))
		k->plan.tcp = true;
	if (k->plan.tcp && (!k->port[0] || k->port[0] < 1024))
		rc = choose_ports(k, err);
	/* what an ended process left behind would only be refused by its successor */
	for (int i = 0; i < JUPYTER_CHANNELS && !k->plan.tcp; i++) {
		kernel_connection_path(k, (enum jupyter_channel)i, path, sizeof(path));
		unlink(path);
	}
	session_sockets_forget(k->plan.dir);
	rc = rc ? rc : write_file(k, err);
	if (!rc && !k->public_file)
		publish(k);
	return rc;
}

void kernel_connection_remove(struct kernel *k)
{
	char path[TL_LIMIT_PATH];
	for (int i = 0; i < JUPYTER_CHANNELS && !k->plan.tcp; i++) {
		kernel_connection_path(k, (enum jupyter_channel)i, path, sizeof(path));
		unlink(path);
	}
	if (k->public_file)
		unlink(k->public_file);
	free(k->public_file);
	k->public_file = NULL;
	session_sockets_forget(k->plan.dir);
	unlink(k->plan.connection_file);
	rmdir(k->plan.dir);
}
