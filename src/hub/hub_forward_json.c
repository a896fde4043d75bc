/* hub_forward_json.c - forwards as JSON: what is asked for, what is remembered, what is shown. */
#include "hub/hub_forward.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

static const char *const kinds[] = {"local", "remote", "socks", NULL};
static const char *const sources[] = {"user", "auto", "config", "default", "command", NULL};

#define ADDRESS_MAX 256
#define LABEL_MAX   200
#define PROCESS_MAX 4096

void forward_spec_fini(struct forward_spec *s)
{
	free(s->host);
	free(s->local_address);
	free(s->local_path);
	free(s->target_host);
	free(s->target_path);
	free(s->label);
	free(s->protocol);
	free(s->process);
	memset(s, 0, sizeof(*s));
}

/* ---- reading ---- */

static int bad(struct tl_err *err, const char *what)
{
	return err_set(err, TL_E_INVAL, "cannot forward: %s", what);
}

static int word_of(yyjson_val *v, const char *key, const char *const *words, int dflt)
{
	const char *s = json_str(v, key, NULL);

	for (int i = 0; s && words[i]; i++)
		if (strcmp(words[i], s) == 0)
			return i;
	return s ? -1 : dflt;
}

/* A text member without control characters; empty counts as not given. */
static int text_of(yyjson_val *v, const char *key, size_t max, char **ret, struct tl_err *err)
{
	const char *s = json_str(v, key, "");

	if (strlen(s) >= max || strlen(s) != yyjson_get_len(json_get(v, key)))
		return s[0] ? err_set(err, TL_E_INVAL, "cannot forward: %s is too long", key) : 0;
	for (const char *p = s; *p; p++)
		if (iscntrl((unsigned char)*p))
			return err_set(err, TL_E_INVAL,
				       "cannot forward: there is a control character in %s", key);
	*ret = s[0] ? str_dup(s) : NULL;
	return s[0] && !*ret ? err_set(err, TL_E_NOMEM, "cannot forward: out of memory") : 0;
}

static int port_of(yyjson_val *v, const char *key, int *ret, struct tl_err *err)
{
	int64_t n = json_int(v, key, -1);

	*ret = -1;
	if (!json_get(v, key) || yyjson_is_null(json_get(v, key)))
		return 0;
	if (n < 0 || n > 65535)
		return err_set(err, TL_E_INVAL, "cannot forward: %s is not a port (0 to 65535)",
			       key);
	*ret = (int)n;
	return 0;
}

static int texts(yyjson_val *v, struct forward_spec *s, struct tl_err *err)
{
	const struct {
		const char *key;
		size_t max;
		char **ret;
	} rows[] = {
	    {"host", TL_LIMIT_HOST_NAME, &s->host},
	    {"localAddress", ADDRESS_MAX, &s->local_address},
	    {"localPath", TL_LIMIT_PATH, &s->local_path},
	    {"targetHost", ADDRESS_MAX, &s->target_host},
	    {"targetPath", TL_LIMIT_PATH, &s->target_path},
	    {"label", LABEL_MAX, &s->label},
	    {"protocol", 8, &s->protocol},
	    {"process", PROCESS_MAX, &s->process},
	};
	int rc = 0;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]) && rc == 0; i++)
		rc = text_of(v, rows[i].key, rows[i].max, rows[i].ret, err);
	return rc;
}

static bool protocol_ok(const struct forward_spec *s)
{
	return !s->protocol || strcmp(s->protocol, "http") == 0 ||
	       strcmp(s->protocol, "https") == 0;
}

/* The members are good each for itself; do they make sense together? */
static int check(struct forward_spec *s, struct tl_err *err)
{
	if (!s->host)
		return bad(err, "the host is missing");
	if (!protocol_ok(s))
		return bad(err, "protocol is neither http nor https");
	if (s->target_path && s->target_port > 0)
		return bad(err, "targetPath and targetPort exclude each other");
	if (s->local_path && s->local_port > 0)
		return bad(err, "localPath and localPort exclude each other");
	if (s->proxy && s->kind != FORWARD_REMOTE)
		return bad(err, "a proxy for the host is of kind remote");
	if (s->kind == FORWARD_SOCKS && (s->target_port > 0 || s->target_path || s->target_host))
		return bad(err, "a SOCKS server has no target of its own");
	if (s->kind == FORWARD_LOCAL && !s->target_path && s->target_port < 1)
		return bad(err, "targetPort or targetPath is missing");
	if (s->kind == FORWARD_REMOTE && !s->proxy && !s->local_path && s->local_port < 1)
		return bad(err, "localPort or localPath is missing: where connections of the host "
				"shall go");
	return 0;
}

int forward_spec_parse(yyjson_val *v, struct forward_spec *ret, struct tl_err *err)
{
	int kind = word_of(v, "kind", kinds, FORWARD_LOCAL),
	    source = word_of(v, "source", sources, FORWARD_USER), rc;

	memset(ret, 0, sizeof(*ret));
	if (kind < 0 || source < 0)
		return bad(err, kind < 0 ? "kind is none of local, remote, socks"
					 : "source is not known");
	ret->kind = (enum forward_kind)kind;
	ret->source = (enum forward_source)source;
	ret->proxy = json_bool(v, "proxy", false);
	ret->require_port = json_bool(v, "requireLocalPort", false);
	ret->elevate = json_bool(v, "elevate", false);
	rc = texts(v, ret, err);
	rc = rc ? rc : port_of(v, "localPort", &ret->local_port, err);
	rc = rc ? rc : port_of(v, "targetPort", &ret->target_port, err);
	rc = rc ? rc : check(ret, err);
	if (rc)
		forward_spec_fini(ret);
	return rc;
}

int forward_spec_check_update(yyjson_val *v, struct forward_spec *ret, struct tl_err *err)
{
	int rc;

	memset(ret, 0, sizeof(*ret));
	rc = texts(v, ret, err);
	rc = rc ? rc : port_of(v, "localPort", &ret->local_port, err);
	if (rc == 0 && !protocol_ok(ret))
		rc = bad(err, "protocol is neither http nor https");
	if (rc)
		forward_spec_fini(ret);
	return rc;
}

/* ---- writing ---- */

static void put(yyjson_mut_doc *doc, yyjson_mut_val *o, const char *key, const char *text)
{
	if (text)
		json_add_path(doc, o, key, text);
}

/* What both forms have. */
static yyjson_mut_val *common(const struct hub_forward *f, yyjson_mut_doc *doc)
{
	const struct forward_spec *s = &f->spec;
	yyjson_mut_val *o = yyjson_mut_obj(doc);

	yyjson_mut_obj_add_strcpy(doc, o, "id", f->id);
	put(doc, o, "host", s->host);
	yyjson_mut_obj_add_str(doc, o, "kind", kinds[s->kind]);
	yyjson_mut_obj_add_str(doc, o, "source", sources[s->source]);
	put(doc, o, "label", s->label);
	put(doc, o, "protocol", s->protocol);
	put(doc, o, "process", s->process);
	if (s->proxy)
		yyjson_mut_obj_add_bool(doc, o, "proxy", true);
	return o;
}

yyjson_mut_val *forward_spec_json(const struct hub_forward *f, yyjson_mut_doc *doc)
{
	const struct forward_spec *s = &f->spec;
	yyjson_mut_val *o = common(f, doc);
	/* the number that programs know by now, also when it is not the one asked for */
	int local = s->kind != FORWARD_REMOTE && f->port ? f->port : s->local_port;

	put(doc, o, "localAddress", s->local_address);
	put(doc, o, "localPath", s->local_path);
	put(doc, o, "targetHost", s->target_host);
	put(doc, o, "targetPath", s->target_path);
	if (local >= 0 && !s->local_path)
		yyjson_mut_obj_add_int(doc, o, "localPort", local);
	/* so does a proxy's address in terminals of the host */
	if (s->target_port >= 0 && !s->target_path)
		yyjson_mut_obj_add_int(doc, o, "targetPort",
				       s->proxy && f->port ? f->port : s->target_port);
	if (s->require_port)
		yyjson_mut_obj_add_bool(doc, o, "requireLocalPort", true);
	if (s->proxy)
		yyjson_mut_obj_add_strcpy(doc, o, "secret", f->secret);
	return o;
}

static void add_error(yyjson_mut_doc *doc, yyjson_mut_val *o, const struct tl_err *err)
{
	const struct tl_error_row *row = err_row(err->code);
	yyjson_mut_val *e = yyjson_mut_obj_add_obj(doc, o, "error");
	char text[TL_ERR_TEXT + 256];

	yyjson_mut_obj_add_int(doc, e, "code", row->rpc_code);
	yyjson_mut_obj_add_str(doc, e, "name", row->name);
	json_add_path(doc, e, "message", err_message(err, text, sizeof(text)));
}

yyjson_mut_val *forward_info_json(const struct hub_forward *f, yyjson_mut_doc *doc)
{
	const struct forward_spec *s = &f->spec;
	bool remote = s->kind == FORWARD_REMOTE;
	yyjson_mut_val *o = common(f, doc);
	const char *listen_path = forward_listen_path(f);
	int local = !remote && f->port ? f->port : s->local_port,
	    target = remote && f->port ? f->port : s->target_port;

	put(doc, o, "localAddress", s->local_address ? s->local_address : "localhost");
	yyjson_mut_obj_add_int(doc, o, "localPort", local > 0 && !s->local_path ? local : 0);
	put(doc, o, "localPath", s->local_path ? s->local_path : listen_path);
	put(doc, o, "targetHost",
	    s->target_host                               ? s->target_host
	    : s->kind == FORWARD_SOCKS || s->target_path ? ""
							 : "localhost");
	yyjson_mut_obj_add_int(doc, o, "targetPort", target > 0 && !s->target_path ? target : 0);
	put(doc, o, "targetPath", s->target_path);
	if (s->proxy && f->port) {
		char *url = str_fmt("http://towline:%s@127.0.0.1:%d", f->secret, f->port);
		put(doc, o, "proxyUrl", url);
		free(url);
	}
	yyjson_mut_obj_add_uint(doc, o, "connections", f->n_conns);
	yyjson_mut_obj_add_uint(doc, o, "bytesIn", f->counters.bytes_in);
	yyjson_mut_obj_add_uint(doc, o, "bytesOut", f->counters.bytes_out);
	yyjson_mut_obj_add_str(doc, o, "state", forward_state(f));
	if (f->failed.code)
		add_error(doc, o, &f->failed);
	return o;
}

void forward_target_text(const struct forward_spec *s, char *out, size_t n)
{
	const char *host = s->target_host ? s->target_host : "localhost";

	if (s->target_path)
		str_copy(out, n, s->target_path);
	else
		snprintf(out, n, strchr(host, ':') ? "[%s]:%d" : "%s:%d", host,
			 s->target_port > 0 ? s->target_port : 0);
}

char *forward_open_json(const char *host, int port, const char *path)
{
	yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *o = yyjson_mut_obj(doc);
	char *text;

	yyjson_mut_doc_set_root(doc, o);
	yyjson_mut_obj_add_str(doc, o, "open", path ? "direct-streamlocal" : "direct-tcpip");
	if (path) {
		yyjson_mut_obj_add_str(doc, o, "path", path);
	} else {
		yyjson_mut_obj_add_str(doc, o, "host", host);
		yyjson_mut_obj_add_int(doc, o, "port", port);
	}
	text = yyjson_mut_write(doc, 0, NULL);
	yyjson_mut_doc_free(doc);
	return text;
}
