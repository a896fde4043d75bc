/* hub_methods.c - the DAEMON methods of proto/methods.def: one function and one table row each. */
#include "hub/hub_priv.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "loop/fsx.h"

#define LOG_TAIL_BYTES 524288
#define LOG_TAIL_LINES 200

static void fail(struct call *k, int code, const char *text)
{
	struct tl_err e;

	err_set(&e, code, "%s", text);
	client_reply_err(k->c, k->id, &e);
}

/* The host named in the parameters, or an answered error. */
static struct hub_host *need_host(struct call *k)
{
	const char *name = json_str(k->params, "host", "");
	struct hub_host *hh = host_find(k->h, name);
	struct tl_err e;

	if (!hh) {
		err_set(&e, TL_E_NOHOST, "not connected to “%.200s”", name);
		client_reply_err(k->c, k->id, &e);
	}
	return hh;
}

static yyjson_mut_doc *new_result(yyjson_mut_val **ret_root)
{
	yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);

	*ret_root = yyjson_mut_obj(doc);
	yyjson_mut_doc_set_root(doc, *ret_root);
	return doc;
}

static void subscribe(struct hub_client *c, const char *host)
{
	if (!client_subscribed(c, host) && c->subscribed.n < TL_LIMIT_HOSTS)
		strv_add(&c->subscribed, host);
}

static void m_host_connect(struct call *k)
{
	struct hub_host *hh;
	struct host_waiter *w;
	struct tl_err e;

	if (host_get(k->h, json_str(k->params, "host", ""), json_get(k->params, "options"), &hh,
		     &e) != 0) {
		client_reply_err(k->c, k->id, &e);
		return;
	}
	w = calloc(1, sizeof(*w));
	if (!w) {
		fail(k, TL_E_NOMEM, "cannot connect: out of memory");
		return;
	}
	w->client = k->c;
	w->id = str_dup(k->id);
	list_add_tail(&hh->waiters, &w->node);
	subscribe(k->c, hh->name);
	if (hh->phase == HOST_CONNECTED)
		host_answer_waiters(hh, NULL);
	else if (hh->phase == HOST_RECONNECTING && !hh->dial)
		host_retry_now(hh);
	else if (hh->phase != HOST_CONNECTING && hh->phase != HOST_RECONNECTING)
		host_start(hh);
	else
		prompt_route(hh);
}

static void m_host_list(struct call *k)
{
	yyjson_mut_val *o, *a;
	yyjson_mut_doc *doc = new_result(&o);

	a = yyjson_mut_obj_add_arr(doc, o, "hosts");
	LIST_FOREACH (it, &k->h->hosts)
		yyjson_mut_arr_append(a,
				      host_state_json(list_entry(it, struct hub_host, node), doc));
	client_reply(k->c, k->id, doc);
}

static void m_host_configured(struct call *k)
{
	const char *named = json_str(k->params, "configFile", NULL);
	char *file = named ? str_dup(named) : settings_config_file(k->h);
	yyjson_mut_val *o, *a;
	yyjson_mut_doc *doc;
	struct strv names = {0};
	struct tl_err e = {0};

	if (dial_configured_hosts(file, &names, &e) != 0) {
		client_reply_err(k->c, k->id, &e);
		strv_fini(&names);
		free(file);
		return;
	}
	doc = new_result(&o);
	a = yyjson_mut_obj_add_arr(doc, o, "hosts");
	for (size_t i = 0; i < names.n; i++) {
		yyjson_mut_val *h = yyjson_mut_arr_add_obj(doc, a);
		yyjson_mut_obj_add_strcpy(doc, h, "name", names.v[i]);
	}
	yyjson_mut_obj_add_strcpy(doc, o, "configFile", file ? file : "~/.ssh/config");
	strv_fini(&names);
	free(file);
	client_reply(k->c, k->id, doc);
}

static void m_host_close(struct call *k)
{
	struct hub_host *hh = need_host(k);
	bool used = false;
	struct tl_err e;

	if (!hh)
		return;
	LIST_FOREACH (it, &k->h->clients) {
		const struct hub_client *c = list_entry(it, struct hub_client, node);
		used = used || (c != k->c && client_subscribed(c, hh->name));
	}
	if (used && json_bool(k->params, "ifUnused", false)) {
		client_reply(k->c, k->id, NULL);
		return;
	}
	err_set(&e, TL_E_CLOSED, "the connection to %s was closed", hh->name);
	forward_host_closed(k->h, hh->name);
	gateway_host_closed(k->h, hh->name);
	host_disconnect(hh, &e);
	host_free(hh);
	client_reply(k->c, k->id, NULL);
}

static void m_host_reconnect(struct call *k)
{
	struct hub_host *hh = need_host(k);

	if (!hh)
		return;
	host_retry_now(hh);
	client_reply(k->c, k->id, NULL);
}

static void m_host_subscribe(struct call *k)
{
	struct hub_host *hh;
	struct tl_err e;
	yyjson_mut_doc *doc;

	if (host_get(k->h, json_str(k->params, "host", ""), NULL, &hh, &e) != 0) {
		client_reply_err(k->c, k->id, &e);
		return;
	}
	subscribe(k->c, hh->name);
	doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_doc_set_root(doc, host_state_json(hh, doc));
	client_reply(k->c, k->id, doc);
	prompt_route(hh);
}

/* An answer of the agent travels to the client untouched. */
struct forward {
	struct hub_client *c;
	char id[64];
};

static void forwarded(void *ctx, const struct jsonrpc_msg *m, const struct tl_err *e)
{
	struct forward *f = ctx;
	char *text;

	if (e) {
		client_reply_err(f->c, f->id, e);
	} else {
		text = yyjson_val_write(m->result, 0, NULL);
		client_reply_text(f->c, f->id, bytes_str(text ? text : "{}"));
		free(text);
	}
	free(f);
}

static void m_host_call(struct call *k)
{
	struct hub_host *hh = need_host(k);
	const char *method = json_str(k->params, "method", "");
	yyjson_val *params = json_get(k->params, "params");
	struct forward *f;
	char *text;

	if (!hh)
		return;
	if (method[0] == 0 || strspn(method, "abcdefghijklmnopqrstuvwxyz/-") != strlen(method)) {
		fail(k, TL_E_NOMETHOD, "host/call needs the name of a method");
		return;
	}
	f = calloc(1, sizeof(*f));
	text = params ? yyjson_val_write(params, 0, NULL) : str_dup("{}");
	if (!f || !text || !str_copy(f->id, sizeof(f->id), k->id)) {
		free(f);
		free(text);
		fail(k, TL_E_INVAL, "the request cannot be passed on");
		return;
	}
	f->c = k->c;
	rpc_call(hh, k->c, method, bytes_str(text), forwarded, f);
	free(text);
}

/* Percent-encodes everything that has a meaning in a query. */
static int put_query(struct buf *b, const char *s)
{
	int rc = 0;

	for (; *s && rc == 0; s++) {
		unsigned char ch = (unsigned char)*s;
		bool plain = (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') ||
			     (ch >= '0' && ch <= '9') || strchr("-._~/:@", ch);
		rc = plain ? buf_put_u8(b, ch) : buf_printf(b, "%%%02X", ch);
	}
	return rc;
}

static void reply_url(struct hub_client *c, const char *id, const char *host, const char *folder,
		      const char *file)
{
	struct hub *h = c->hub;
	yyjson_mut_val *o;
	yyjson_mut_doc *doc = new_result(&o);
	struct buf b;
	const char *text;

	buf_init(&b, 4 * TL_LIMIT_PATH + 4 * TL_LIMIT_HOST_NAME + 1024);
	buf_printf(&b, "http://localhost:%d/", edge_port(h->edge));
	if (host[0]) {
		buf_put_str(&b, "?host=");
		put_query(&b, host);
	}
	if (folder[0]) {
		buf_put_str(&b, "&folder=");
		put_query(&b, folder);
	}
	if (file[0]) {
		buf_put_str(&b, "&file=");
		put_query(&b, file);
	}
	buf_printf(&b, "#token=%s", h->token);
	text = buf_cstr(&b);
	yyjson_mut_obj_add_strcpy(doc, o, "url", text ? text : "");
	buf_fini(&b);
	client_reply(c, id, doc);
}

struct window_open {
	struct hub_client *c;
	char id[64];
	char host[TL_LIMIT_HOST_NAME];
	char asked[TL_LIMIT_PATH];
};

static void window_resolved(void *ctx, const struct jsonrpc_msg *m, const struct tl_err *e)
{
	struct window_open *w = ctx;
	const char *path, *slash;
	struct tl_err why;

	if (e) {
		err_set(&why, e->code, "cannot open %s on %s: %s", w->asked, w->host,
			e->text[0] ? e->text : err_row(e->code)->what);
		client_reply_err(w->c, w->id, &why);
		goto out;
	}
	path = json_str(m->result, "path", "/");
	if (!json_bool(m->result, "readable", true)) {
		err_set(&why, TL_E_ACCES, "cannot open %s on %s: permission denied", path, w->host);
		client_reply_err(w->c, w->id, &why);
	} else if (strcmp(json_str(m->result, "type", "folder"), "folder") == 0) {
		known_folder(w->c->hub, w->host, path);
		reply_url(w->c, w->id, w->host, path, "");
	} else {
		char *folder;
		slash = strrchr(path, '/');
		folder = slash > path ? str_ndup(path, (size_t)(slash - path)) : str_dup("/");
		reply_url(w->c, w->id, w->host, folder ? folder : "/", path);
		free(folder);
	}
out:
	free(w);
}

static bool ui_is_there(struct hub *h)
{
	char *plain = str_fmt("%s/index.html", h->cfg.ui_dir),
	     *packed = str_fmt("%s/index.html.gz", h->cfg.ui_dir);
	bool there = (plain && access(plain, R_OK) == 0) || (packed && access(packed, R_OK) == 0);

	free(plain);
	free(packed);
	return there;
}

static void m_window_open(struct call *k)
{
	const char *host = json_str(k->params, "host", ""), *path = json_str(k->params, "path", "");
	struct hub_host *hh;
	struct window_open *w;
	yyjson_mut_val *o;
	yyjson_mut_doc *doc;
	struct buf b;

	if (!ui_is_there(k->h)) {
		fail(k, TL_E_NOUI, "cannot open a window: its files are not installed");
		return;
	}
	if (!host[0]) {
		reply_url(k->c, k->id, "", "", "");
		return;
	}
	hh = need_host(k);
	if (!hh)
		return;
	if (!path[0]) {
		reply_url(k->c, k->id, host, "", "");
		return;
	}
	w = calloc(1, sizeof(*w));
	if (!w || !str_copy(w->asked, sizeof(w->asked), path) ||
	    !str_copy(w->id, sizeof(w->id), k->id)) {
		free(w);
		fail(k, TL_E_INVAL, "the path is too long");
		return;
	}
	w->c = k->c;
	str_copy(w->host, sizeof(w->host), host);
	doc = new_result(&o);
	yyjson_mut_obj_add_strcpy(doc, o, "path", path);
	buf_init(&b, TL_LIMIT_RPC_MESSAGE);
	json_write(&b, doc);
	rpc_call(hh, k->c, "path/resolve", buf_data(&b), window_resolved, w);
	buf_fini(&b);
	yyjson_mut_doc_free(doc);
}

static void m_daemon_status(struct call *k)
{
	struct hub *h = k->h;
	yyjson_mut_val *o, *a;
	yyjson_mut_doc *doc = new_result(&o);
	char text[64];

	yyjson_mut_obj_add_str(doc, o, "version", h->cfg.version);
	yyjson_mut_obj_add_int(doc, o, "pid", getpid());
	yyjson_mut_obj_add_uint(doc, o, "startedMs", h->started_ms);
	snprintf(text, sizeof(text), "http://localhost:%d", edge_port(h->edge));
	yyjson_mut_obj_add_strcpy(doc, o, "origin", text);
	snprintf(text, sizeof(text), "http://localhost:%d", edge_frame_port(h->edge));
	yyjson_mut_obj_add_strcpy(doc, o, "frameOrigin", text);
	yyjson_mut_obj_add_str(doc, o, "controlSocket", h->cfg.control_path);
	yyjson_mut_obj_add_str(doc, o, "configDir", h->cfg.config_dir);
	yyjson_mut_obj_add_str(doc, o, "stateDir", h->cfg.state_dir);
	yyjson_mut_obj_add_uint(doc, o, "windows", edge_window_count(h->edge));
	yyjson_mut_obj_add_int(doc, o, "rssBytes", self_rss_bytes());
	a = yyjson_mut_obj_add_arr(doc, o, "hosts");
	LIST_FOREACH (it, &h->hosts)
		yyjson_mut_arr_append(a,
				      host_state_json(list_entry(it, struct hub_host, node), doc));
	client_reply(k->c, k->id, doc);
}

static void m_daemon_stop(struct call *k)
{
	client_reply(k->c, k->id, NULL);
	k->h->stop(k->h->stop_ctx);
}

/* Start of the last `lines` lines of text that belong to host ("" for all); others are cut out in
 * place. */
static char *log_filter(char *text, const char *host, long lines)
{
	char *scope = host[0] ? str_fmt("[%s]", host) : NULL, *out = text, *at = text;
	long have = 0;

	while (*at) {
		char *eol = strchr(at, '\n');
		size_t n = eol ? (size_t)(eol - at) + 1 : strlen(at);
		char was = at[n];
		at[n] = 0;
		if (!scope || strstr(at, scope)) {
			memmove(out, at, n);
			out += n;
		}
		at[n] = was;
		at += n;
	}
	*out = 0;
	free(scope);
	while (out > text && have <= lines)
		if (*--out == '\n')
			have++;
	return have > lines ? out + 1 : text;
}

static void m_daemon_log(struct call *k)
{
	const char *host = json_str(k->params, "host", "");
	int64_t lines = json_int(k->params, "lines", LOG_TAIL_LINES);
	char *text = calloc(1, LOG_TAIL_BYTES + 2);
	int fd = open(k->h->cfg.log_path, O_RDONLY | O_CLOEXEC);
	yyjson_mut_val *o;
	yyjson_mut_doc *doc;
	struct stat st;

	if (!text) {
		if (fd >= 0)
			close(fd);
		fail(k, TL_E_NOMEM, "cannot read the log: out of memory");
		return;
	}
	if (fd >= 0 && fstat(fd, &st) == 0) {
		off_t from = st.st_size > LOG_TAIL_BYTES ? st.st_size - LOG_TAIL_BYTES : 0;
		if (pread(fd, text, LOG_TAIL_BYTES, from) < 0)
			text[0] = 0;
	}
	if (fd >= 0)
		close(fd);
	doc = new_result(&o);
	json_add_path(
	    doc, o, "text",
	    log_filter(text, host, lines > 0 && lines < 100000 ? (long)lines : LOG_TAIL_LINES));
	yyjson_mut_obj_add_str(doc, o, "file", k->h->cfg.log_path);
	client_reply(k->c, k->id, doc);
	free(text);
}

static void m_stream_open(struct call *k)
{
	const char *host = json_str(k->params, "host", "");
	yyjson_val *open = json_get(k->params, "open");
	const char *name = json_str(open, "open", "");
	struct hub_host *hh;

	if (k->c->relay) {
		fail(k, TL_E_PROTO, "this connection opens a stream already");
		return;
	}
	if (!host[0] && strcmp(name, "sftp") == 0) {
		relay_open_userdata(k->c, k->id);
		return;
	}
	hh = need_host(k);
	if (hh)
		relay_open(k->c, hh, k->id, open);
}

static const struct {
	const char *name;
	void (*fn)(struct call *);
} methods[] = {
    {"host/connect", m_host_connect},
    {"host/list", m_host_list},
    {"host/configured", m_host_configured},
    {"host/known", m_host_known},
    {"host/add", m_host_add},
    {"host/remove", m_host_remove},
    {"host/show", m_host_show},
    {"host/forget", m_host_forget},
    {"host/folder", m_host_folder},
    {"server/status", m_server_status},
    {"server/kill", m_server_kill},
    {"server/uninstall", m_server_uninstall},
    {"server/log", m_server_log},
    {"config/read", m_config_read},
    {"config/write", m_config_write},
    {"host/close", m_host_close},
    {"host/reconnect", m_host_reconnect},
    {"host/subscribe", m_host_subscribe},
    {"host/call", m_host_call},
    {"window/open", m_window_open},
    {"daemon/status", m_daemon_status},
    {"daemon/stop", m_daemon_stop},
    {"daemon/log", m_daemon_log},
    {"stream/open", m_stream_open},
    {"forward/add", m_forward_add},
    {"forward/remove", m_forward_remove},
    {"forward/list", m_forward_list},
    {"forward/update", m_forward_update},
    {"gateway/start", m_gateway_start},
    {"gateway/stop", m_gateway_stop},
    {"gateway/list", m_gateway_list},
};

void method_dispatch(struct hub_client *c, const struct jsonrpc_msg *m)
{
	struct call k = {.c = c, .h = c->hub, .params = m->params};
	char *id = id_text(m->id);
	struct tl_err e;

	if (!id) {
		edge_client_close(c->edge, TL_E_NOMEM);
		return;
	}
	c->used = ++c->hub->uses;
	k.id = id;
	for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
		if (strcmp(methods[i].name, m->method) == 0) {
			methods[i].fn(&k);
			free(id);
			return;
		}
	}
	err_set(&e, TL_E_NOMETHOD, "the daemon has no method “%.80s”", m->method);
	client_reply_err(c, id, &e);
	free(id);
}
