/* plain.c - see plain.h: what all streams of a plain session share, and which one is which. */
#include "api/plain.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "api/session_run.h"
#include "api/tool.h"
#include "loop/child.h"
#include "loop/sock.h"

#define STACK (512 * 1024)

/* ---- words for ssh ---- */

int plain_argv(const struct plain *p, struct strv *ret, const char *const *more,
	       const char *command)
{
	return master_argv(ret, p->ssh, p->ctl, more, command);
}

int plain_ask(const struct plain *p, const char *const *more, const char *command, struct buf *out,
	      int timeout_ms, int *ret_status, struct tl_err *err)
{
	struct strv argv = {0};
	int rc = plain_argv(p, &argv, more, command);

	rc = rc ? err_set(err, rc, "cannot ask %s: out of memory", p->host)
		: tool_run(argv.v, bytes_of("", 0), out, timeout_ms, ret_status, err);
	strv_fini(&argv);
	return rc;
}

bool plain_alive(const struct plain *p)
{
	const char *const check[] = {"-O", "check", NULL};
	struct buf out;
	int status = 255, rc;

	buf_init(&out, 4096);
	rc = plain_ask(p, check, NULL, &out, 10000, &status, NULL);
	buf_fini(&out);
	return rc == 0 && status == 0;
}

/* ---- threads ---- */

void plain_leave(struct plain *p)
{
	pthread_mutex_lock(&p->lock);
	p->busy--;
	pthread_cond_broadcast(&p->changed);
	/* from here on p may be freed */
	pthread_mutex_unlock(&p->lock);
}

int plain_thread(struct plain *p, void *(*fn)(void *), void *ctx, struct tl_err *err)
{
	pthread_attr_t attr;
	sigset_t all, old;
	pthread_t thread;
	int rc;

	pthread_mutex_lock(&p->lock);
	p->busy++;
	pthread_mutex_unlock(&p->lock);
	/* signals are the program's, not ours */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attr, STACK);
	rc = pthread_create(&thread, &attr, fn, ctx);
	pthread_attr_destroy(&attr);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (rc) {
		plain_leave(p);
		return err_sys(err, rc, "cannot start a thread for a stream to %s", p->host);
	}
	return 0;
}

/* ---- streams ---- */

int plain_lifeline(struct plain *p, int *ret_fd, struct tl_err *err)
{
	int sv[2], rc = 0;

	if (socket_pair(sv) != 0)
		return err_sys(err, errno, "cannot open a stream to %s", p->host);
	pthread_mutex_lock(&p->lock);
	/* ends that nobody holds any more make room */
	for (int i = p->n_lifelines; i-- > 0;) {
		struct pollfd pf = {.fd = p->lifelines[i]};
		if (poll(&pf, 1, 0) == 1 && pf.revents & POLLHUP) {
			close(p->lifelines[i]);
			p->lifelines[i] = p->lifelines[--p->n_lifelines];
		}
	}
	if (p->n_lifelines < PLAIN_LIFELINES)
		p->lifelines[p->n_lifelines++] = sv[1];
	else
		rc =
		    err_set(err, TL_E_LIMIT, "%s has %d tunnels already", p->host, PLAIN_LIFELINES);
	pthread_mutex_unlock(&p->lock);
	if (rc) {
		close(sv[0]);
		close(sv[1]);
		return rc;
	}
	*ret_fd = sv[0];
	return 0;
}

static int open_sftp(struct plain *p, int *ret_fd, struct tl_err *err)
{
	const char *const more[] = {"-s", NULL};
	struct strv argv = {0};
	int sv[2], rc;

	if (socket_pair(sv) != 0)
		return err_sys(err, errno, "cannot open a stream to %s", p->host);
	rc = plain_argv(p, &argv, more, "sftp");
	if (rc) {
		err_set(err, rc, "cannot open a stream to %s: out of memory", p->host);
	} else {
		struct child_spec spec = {.argv = argv.v, .fd = {sv[1], sv[1], -1}, .ctty = -1};
		rc = spawn_detached(&spec, -1, err);
	}
	strv_fini(&argv);
	close(sv[1]);
	if (rc)
		close(sv[0]);
	else
		*ret_fd = sv[0];
	return rc;
}

static int refuse(struct plain *p, const char *what, struct tl_err *err)
{
	return err_set(err, TL_E_UNSUPPORTED,
		       "“%s” needs our program on %s, which is served by plain ssh (%s)", what,
		       p->host, p->why);
}

static int open_any(struct plain *p, yyjson_val *open, int *ret_fd, char **ret_ok,
		    struct tl_err *err)
{
	const char *what = json_str(open, "open", "");
	int port = 0, rc;

	if (strcmp(what, "exec") == 0)
		return plain_exec_open(p, open, ret_fd, err);
	if (strcmp(what, "sftp") == 0)
		return open_sftp(p, ret_fd, err);
	if (strcmp(what, "rpc") == 0)
		return plain_lifeline(p, ret_fd, err);
	if (strcmp(what, "direct-tcpip") == 0 || strcmp(what, "direct-streamlocal") == 0)
		return plain_dial(p, open, ret_fd, err);
	if (strcmp(what, "forwarded-tcpip") == 0)
		return plain_fetch(p, open, ret_fd, err);
	if (strcmp(what, "tcpip-forward") != 0)
		return refuse(p, what, err);
	rc = plain_listen(p, open, ret_fd, &port, err);
	if (rc == 0 && ret_ok)
		*ret_ok = str_fmt("{\"port\":%d}", port);
	return rc;
}

/* ---- life ---- */

struct plain *plain_new(const char *host, const char *ssh, const char *dir, const char *why,
			bool sftp_only)
{
	struct plain *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	list_init(&p->arrivals);
	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->changed, NULL);
	p->host = str_dup(host);
	p->ssh = str_dup(ssh ? ssh : "ssh");
	p->why = str_dup(why);
	p->stop = tl_cancel_new();
	p->sftp_only = sftp_only;
	if (p->host && p->ssh && p->why && p->stop && str_copy(p->dir, sizeof(p->dir), dir) &&
	    master_control_path(dir, p->ctl, sizeof(p->ctl)))
		return p;
	plain_close(p);
	return NULL;
}

int plain_open(struct plain *p, struct tl_session *s, const char *open_json,
	       struct tl_cancel *cancel, uint64_t deadline_ms, int *ret_fd, char **ret_ok,
	       struct tl_err *err)
{
	yyjson_doc *doc = json_parse(bytes_str(open_json), err);
	int rc = doc ? open_any(p, yyjson_doc_get_root(doc), ret_fd, ret_ok, err) : TL_E_INVAL;

	/* a command's stream says first whether it runs */
	if (rc == 0 && strcmp(json_str(yyjson_doc_get_root(doc), "open", ""), "exec") == 0) {
		rc = stream_answer(s, *ret_fd, cancel, deadline_ms, ret_ok, err);
		if (rc)
			close(*ret_fd);
	}
	yyjson_doc_free(doc);
	return rc;
}

void plain_lost(struct plain *p)
{
	pthread_mutex_lock(&p->lock);
	while (p->n_lifelines)
		close(p->lifelines[--p->n_lifelines]);
	pthread_mutex_unlock(&p->lock);
}

void plain_close(struct plain *p)
{
	if (!p)
		return;
	if (p->stop)
		tl_cancel(p->stop);
	pthread_mutex_lock(&p->lock);
	while (p->busy)
		pthread_cond_wait(&p->changed, &p->lock);
	pthread_mutex_unlock(&p->lock);
	plain_lost(p);
	plain_arrivals_fini(p);
	tl_cancel_free(p->stop);
	pthread_mutex_destroy(&p->lock);
	pthread_cond_destroy(&p->changed);
	free(p->host);
	free(p->ssh);
	free(p->why);
	free(p);
}
