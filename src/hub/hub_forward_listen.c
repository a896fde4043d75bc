/* hub_forward_listen.c - where forwards listen on this machine: the port that was asked for, one
 * near it, any; or a unix socket. */
#include "hub/hub_forward.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "loop/fsx.h"
#include "loop/sock.h"

/* numbers after the wanted one that are tried before any */
#define NEAR_PORTS 20
/* 80 becomes 8080, 443 becomes 8443 */
#define PRIVILEGED_SHIFT 8000

struct forward_listen {
	struct local_listen ls;
	struct hub_forward *forward;
	char address[64]; /* of a port */
};

/* ---- connections ---- */

static void on_accept(void *ctx, int fd)
{
	struct forward_listen *fl = ctx;
	struct hub_forward *f = fl->forward;
	struct forward_spec *s = &f->spec;
	struct forward_conn *c;
	char *open;

	if (forward_is_circle(f)) {
		log_line(LOG_WARN, s->host,
			 "forward %s: %s is this machine, and port %d is this forward: nobody else "
			 "listens there",
			 f->id, s->host, s->target_port);
		local_listen_refuse(fd);
		return;
	}
	if (s->kind == FORWARD_SOCKS) {
		forward_socks(f, fd);
		return;
	}
	c = forward_conn_new(f, sizeof(*c));
	if (!c) {
		local_listen_refuse(fd);
		return;
	}
	open = forward_open_json(s->target_host ? s->target_host : "localhost", s->target_port,
				 s->target_path);
	forward_conn_carry(c, fd, open, bytes_of(NULL, 0));
	free(open);
}

/* ---- places ---- */

static const char *default_address(struct hub *h, char *out, size_t n)
{
	yyjson_doc *doc = settings_read(h);
	yyjson_val *v = settings_get(doc, "remote.localPortHost");

	str_copy(out, n, yyjson_is_str(v) ? yyjson_get_str(v) : "localhost");
	/* a wrong value must not open the port to the world, nor close it */
	if (strcmp(out, "allInterfaces") != 0)
		str_copy(out, n, "localhost");
	yyjson_doc_free(doc);
	return out;
}

static bool may_differ(const struct hub_forward *f, int code)
{
	if (f->spec.require_port)
		return false;
	return code == TL_E_LOCALPORT || (code == TL_E_LOCALPRIV && !f->spec.elevate);
}

static void listen_closed(void *ctx)
{
	free(ctx);
}

/* The target's own number on this very machine: taken it must not be, neither by another program,
 * which is said first, nor by us. */
static int refuse_port(struct hub_forward *f, const char *address, int port, struct tl_err *err)
{
	struct local_listen *probe = calloc(1, sizeof(*probe));
	int rc = probe ? local_listen_tcp(f->hub->loop, probe, address, port, on_accept, probe, err)
		       : err_set(err, TL_E_NOMEM, "cannot forward: out of memory");

	if (rc) {
		free(probe);
		return rc;
	}
	local_listen_close(probe, listen_closed);
	return err_set(err, TL_E_LOCALPORT,
		       "cannot listen on port %d of this machine: %s is this machine, and the "
		       "forward would lead to itself",
		       port, f->spec.host);
}

static int try_port(struct hub_forward *f, struct forward_listen *fl, const char *address, int port,
		    struct tl_err *err)
{
	if (port && forward_would_circle(f, address, port))
		return refuse_port(f, address, port, err);
	return local_listen_tcp(f->hub->loop, &fl->ls, address, port, on_accept, fl, err);
}

static int listen_port(struct hub_forward *f, struct forward_listen *fl, int port,
		       struct tl_err *err)
{
	char dflt[32];
	const char *address = f->spec.local_address ? f->spec.local_address
						    : default_address(f->hub, dflt, sizeof(dflt));
	int rc = try_port(f, fl, address, port, err), at = port;

	str_copy(fl->address, sizeof(fl->address), address);
	if (rc == 0 || port == 0 || !may_differ(f, rc))
		return rc;
	if (rc == TL_E_LOCALPRIV)
		at += PRIVILEGED_SHIFT - 1;
	for (int i = 0; i < NEAR_PORTS && at < 65535 && rc; i++)
		rc = try_port(f, fl, address, ++at, err);
	return rc ? try_port(f, fl, address, 0, err) : 0;
}

/* RUNTIME/forward/ID/NAME: programs look for the name (psql: .s.PGSQL.5432), the folders keep
 * others out. malloc'ed. */
static char *own_path(struct hub_forward *f, struct tl_err *err)
{
	const char *slash = strrchr(f->spec.target_path, '/'),
		   *name = slash ? slash + 1 : f->spec.target_path;
	char *all = str_fmt("%s/forward", f->hub->cfg.runtime_dir),
	     *dir = all ? str_fmt("%s/%s", all, f->id) : NULL,
	     *path = dir ? str_fmt("%s/%s", dir, name[0] ? name : "socket") : NULL;

	if (!path)
		err_set(err, TL_E_NOMEM, "cannot forward: out of memory");
	else if (private_dir(all, err) != 0 || private_dir(dir, err) != 0) {
		free(path);
		path = NULL;
	}
	free(all);
	free(dir);
	return path;
}

static char *given_path(struct hub_forward *f, struct tl_err *err)
{
	const char *p = f->spec.local_path;
	char home[TL_LIMIT_PATH];

	if (p[0] == '/')
		return str_dup(p);
	if (p[0] == '~' && p[1] == '/' && home_dir(home, sizeof(home)) == 0)
		return str_fmt("%s%s", home, p + 1);
	err_set(err, TL_E_INVAL,
		"cannot listen on “%.200s”: the path of a local socket begins with / or ~/", p);
	return NULL;
}

static int listen_path(struct hub_forward *f, struct forward_listen *fl, struct tl_err *err)
{
	char *path = f->spec.local_path ? given_path(f, err) : own_path(f, err);
	int rc =
	    path ? local_listen_unix(f->hub->loop, &fl->ls, path, on_accept, fl, err) : err->code;

	free(path);
	return rc;
}

/* ---- the forward's ---- */

static void drop(struct hub *h, struct forward_listen *fl)
{
	bool own = fl->ls.path && !fl->forward->spec.local_path;
	char *dir = own ? str_fmt("%s/forward/%s", h->cfg.runtime_dir, fl->forward->id) : NULL;

	local_listen_close(&fl->ls, listen_closed);
	if (dir)
		rmdir(dir);
	free(dir);
}

int forward_listen(struct hub_forward *f, int port, struct tl_err *err)
{
	struct forward_listen *fl = calloc(1, sizeof(*fl)), *old = f->listen;
	struct tl_err own = {0};
	int rc;

	err = err ? err : &own;
	if (!fl)
		return err_set(err, TL_E_NOMEM, "cannot forward: out of memory");
	fl->forward = f;
	/* a socket of the host gets one here, unless a port was asked for */
	if (f->spec.local_path || (f->spec.target_path && f->spec.local_port < 0))
		rc = listen_path(f, fl, err);
	else
		rc = listen_port(f, fl, port, err);
	if (rc) {
		free(fl);
		return rc;
	}
	f->listen = fl;
	f->port = fl->ls.port;
	if (old)
		drop(f->hub, old);
	return 0;
}

void forward_unlisten(struct hub_forward *f)
{
	if (f->listen)
		drop(f->hub, f->listen);
	f->listen = NULL;
	f->port = 0;
}

void forward_listen_pause(struct hub_forward *f, bool paused)
{
	if (f->listen)
		local_listen_pause(&f->listen->ls, paused);
}

const char *forward_listen_address(const struct hub_forward *f)
{
	return f->listen && f->listen->ls.port ? f->listen->address : NULL;
}

const char *forward_listen_path(const struct hub_forward *f)
{
	return f->listen ? f->listen->ls.path : NULL;
}
