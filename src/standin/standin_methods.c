/* standin_methods.c - the methods of side HOST for a host without our program. What it can not do
 * is refused in one sentence that says why; host/info says it all at once (HostInfo.plain). */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "api/sftp_client.h"
#include "api/sftp_plain.h"
#include "api/sftp_priv.h"
#include "base/version.h"
#include "host/agent_holds.h"
#include "host/hold_spawn.h"
#include "loop/fsx.h"
#include "standin/standin_state.h"
#include "wire/link_frame.h"

#define TERM_ID 8

static struct standin *of(struct rpc_call *c)
{
	return c->agent->stand_in_ctx;
}

/* ---- host/info ---- */

/* What a person misses here, one sentence each. */
static bool put_limits(const struct standin *s, yyjson_mut_doc *doc, yyjson_mut_val *o)
{
	const struct standin_facts *f = &s->facts;
	yyjson_mut_val *a = yyjson_mut_obj_add_arr(doc, o, "limits");
	const struct {
		bool so;
		const char *text;
	} rows[] = {
	    {!f->files, "There are no files: the host has no SFTP server."},
	    {f->files, "Changes of files made by others are seen by looking every few seconds."},
	    {!f->commands && !f->windows,
	     "There are no terminals and no commands: the host allows files only."},
	    {f->windows, "Commands and a terminal's folder are not possible: the host has no shell "
			 "of the POSIX kind."},
	    {f->commands, "Terminals and commands end when the connection is lost."},
	    {true, "Ports are not found by themselves; ports can be forwarded where the host's "
		   "SSH server allows it."},
	    {true, "There are no sessions (Python, R), and nothing survives on the host."},
	};
	bool ok = a != NULL;

	for (size_t i = 0; ok && i < sizeof(rows) / sizeof(rows[0]); i++)
		ok = !rows[i].so || yyjson_mut_arr_add_str(doc, a, rows[i].text);
	return ok;
}

static bool put_info(const struct standin *s, yyjson_mut_doc *doc, yyjson_mut_val *o)
{
	const struct standin_facts *f = &s->facts;
	yyjson_mut_val *plain;
	char data[TL_LIMIT_PATH + 32];
	long long uid = -1;

	snprintf(data, sizeof(data), "%s/.towline-server/data",
		 strcmp(f->home, "/") ? f->home : "");
	str_to_int(f->uid, 0, UINT32_MAX, &uid);
	if (!yyjson_mut_obj_add_str(doc, o, "version", TL_VERSION) ||
	    !yyjson_mut_obj_add_int(doc, o, "protocol", LINK_PROTO) ||
	    !yyjson_mut_obj_add_int(doc, o, "pid", getpid()) ||
	    !json_add_path(doc, o, "os", f->os) || !json_add_path(doc, o, "arch", f->arch) ||
	    !json_add_path(doc, o, "kernel", f->kernel) ||
	    !json_add_path(doc, o, "hostname", f->hostname[0] ? f->hostname : s->host) ||
	    !json_add_path(doc, o, "user", f->user) ||
	    !yyjson_mut_obj_add_int(doc, o, "uid", uid) ||
	    !json_add_path(doc, o, "home", f->home[0] ? f->home : "/") ||
	    !json_add_path(doc, o, "shell", f->shell) ||
	    !yyjson_mut_obj_add_str(doc, o, "tmp", "/tmp") ||
	    !json_add_path(doc, o, "dataDir", data) || !json_add_path(doc, o, "runDir", s->dir) ||
	    !yyjson_mut_obj_add_uint(doc, o, "startedMs", s->agent.started_ms) ||
	    !yyjson_mut_obj_add_int(doc, o, "rssBytes", self_rss_bytes()) ||
	    !yyjson_mut_obj_add_uint(doc, o, "links", s->agent.link_count) ||
	    !yyjson_mut_obj_add_uint(doc, o, "terminals", holds_each(s->dir, NULL, NULL)))
		return false;
	plain = yyjson_mut_obj_add_obj(doc, o, "plain");
	return plain && json_add_path(doc, plain, "why", s->why.text) &&
	       yyjson_mut_obj_add_str(doc, plain, "error", err_row(s->why.code)->name) &&
	       yyjson_mut_obj_add_bool(doc, plain, "files", f->files) &&
	       yyjson_mut_obj_add_bool(doc, plain, "commands", f->commands) &&
	       put_limits(s, doc, plain);
}

static void host_info(struct rpc_call *c)
{
	struct standin *s = of(c);
	yyjson_mut_doc *doc;
	yyjson_mut_val *o;

	if (standin_wait(s, c, host_info))
		return;
	if (s->look == STANDIN_USELESS) {
		rpc_fail(c, &s->useless);
		return;
	}
	doc = yyjson_mut_doc_new(NULL);
	o = doc ? yyjson_mut_obj(doc) : NULL;
	if (o)
		yyjson_mut_doc_set_root(doc, o);
	if (!o || !put_info(s, doc, o)) {
		yyjson_mut_doc_free(doc);
		rpc_failf(c, TL_E_NOMEM, "cannot tell facts about the host: out of memory");
		return;
	}
	rpc_answer(c, doc);
}

/* ---- path/resolve ---- */

struct resolving {
	struct standin_task task;
	struct rpc_call *call;
	char path[TL_LIMIT_PATH], home[TL_LIMIT_PATH], real[TL_LIMIT_PATH];
	struct sftp_attrs a;
	int rc;
	struct tl_err err;
};

/* ~ and relative paths begin at home. TL_E_UNSUPPORTED: somebody else's home. */
static int absolute(struct resolving *r, char *out, size_t n)
{
	const char *path = r->path, *rest = path;
	int len;

	if (path[0] == '/')
		return str_copy(out, n, path) ? 0 : TL_E_LIMIT;
	if (path[0] == '~')
		rest = path[1] == '/' ? path + 2 : path + 1;
	if (path[0] == '~' && path[1] && path[1] != '/')
		return TL_E_UNSUPPORTED;
	len = snprintf(out, n, "%s/%s", strcmp(r->home, "/") ? r->home : "", rest);
	return len > 0 && (size_t)len < n ? 0 : TL_E_LIMIT;
}

static void resolve_work(struct standin_task *t)
{
	struct resolving *r = (struct resolving *)(void *)t;
	struct sftp_client *c = NULL;
	struct tl_err why = {0};
	char full[2 * TL_LIMIT_PATH];

	r->rc = absolute(r, full, sizeof(full));
	if (r->rc) {
		err_set(&why, r->rc, "%s", err_row(r->rc)->what);
	} else {
		r->rc = standin_sftp(t->s->plain, &c, &why);
		r->rc = r->rc ? r->rc : plain_attrs(c, full, true, &r->a, &why);
		if (r->rc == 0 && sftp_client_realpath(c, full, r->real, sizeof(r->real)) != 0)
			str_copy(r->real, sizeof(r->real), full);
		sftp_client_free(c);
	}
	if (r->rc)
		err_set(&r->err, r->rc, "cannot open %.300s: %s", r->path,
			why.text[0] ? why.text : err_row(r->rc)->what);
}

static void resolve_finish(struct standin_task *t)
{
	struct resolving *r = (struct resolving *)(void *)t;
	yyjson_mut_doc *doc = r->rc ? NULL : yyjson_mut_doc_new(NULL);
	yyjson_mut_val *o = doc ? yyjson_mut_obj(doc) : NULL;
	bool known = r->a.flags & SFTP_ATTR_MODE;

	if (o)
		yyjson_mut_doc_set_root(doc, o);
	if (r->rc) {
		rpc_fail(r->call, &r->err);
	} else if (!o || !json_add_path(doc, o, "path", r->real) ||
		   !yyjson_mut_obj_add_str(doc, o, "type",
					   plain_is_folder(&r->a) ? "folder"
					   : plain_is_file(&r->a) ? "file"
								  : "other") ||
		   /* whose rights count is not told: nobody's is a no */
		   !yyjson_mut_obj_add_bool(doc, o, "readable", !known || r->a.mode & 0444) ||
		   !yyjson_mut_obj_add_bool(doc, o, "writable", !known || r->a.mode & 0222) ||
		   !yyjson_mut_obj_add_uint(doc, o, "size", r->a.size) ||
		   !yyjson_mut_obj_add_uint(doc, o, "mtime", (uint64_t)r->a.mtime * 1000)) {
		yyjson_mut_doc_free(doc);
		rpc_failf(r->call, TL_E_NOMEM, "cannot open %.300s: out of memory", r->path);
	} else {
		rpc_answer(r->call, doc);
	}
	free(r);
}

static void path_resolve(struct rpc_call *c)
{
	struct standin *s = of(c);
	yyjson_val *v = json_get(c->msg.params, "path");
	const char *path = yyjson_get_str(v);
	struct resolving *r;
	struct tl_err err = {0};

	if (standin_wait(s, c, path_resolve))
		return;
	r = calloc(1, sizeof(*r));
	if (!r || !path || strlen(path) != yyjson_get_len(v) ||
	    !str_copy(r->path, sizeof(r->path), path)) {
		free(r);
		rpc_failf(c, TL_E_INVAL,
			  "cannot look at a path: \"path\" must be a string of at "
			  "most %d bytes",
			  TL_LIMIT_PATH - 1);
		return;
	}
	str_copy(r->home, sizeof(r->home), s->facts.home);
	r->call = c;
	r->task.work = resolve_work;
	r->task.finish = resolve_finish;
	if (standin_run(s, &r->task, &err) != 0) {
		free(r);
		rpc_fail(c, &err);
	}
}

/* ---- term/create ---- */

static int put_env(struct buf *b, yyjson_val *env)
{
	yyjson_val *key, *v;
	size_t i, n;
	int rc = 0;

	yyjson_obj_foreach(env, i, n, key, v)
	{
		const char *name = yyjson_get_str(key);
		/* names that sh cannot set are left out: they are no reason to have no terminal */
		if (!*name || strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_"
					   "0123456789") != strlen(name))
			continue;
		rc = rc ? rc : buf_printf(b, yyjson_is_str(v) ? "export %s=" : "unset %s", name);
		if (yyjson_is_str(v))
			rc = rc ? rc : master_quote(b, yyjson_get_str(v));
		rc = rc ? rc : buf_put_str(b, "\n");
	}
	return rc;
}

static int put_folder(struct buf *b, const char *cwd)
{
	bool home = cwd[0] == '~' && (!cwd[1] || cwd[1] == '/');
	int rc = 0;

	if (!*cwd)
		return 0;
	rc = buf_put_str(b, home ? "d=$HOME/" : "d=");
	rc = rc ? rc : master_quote(b, home ? cwd + 1 + strspn(cwd + 1, "/") : cwd);
	return rc ? rc
		  : buf_put_str(b, "\nCDPATH= cd \"$d\" 2>/dev/null||"
				   "echo \"towline: cannot start in $d\"\n");
}

/* The program of the terminal as lines of sh; empty: the login shell as the server starts it. */
static int term_script(struct buf *b, yyjson_val *p)
{
	const char *shell = json_str(p, "shell", ""), *command = json_str(p, "command", NULL);
	yyjson_val *args = json_get(p, "args"), *v;
	size_t i, n;
	int rc = put_folder(b, json_str(p, "cwd", ""));

	rc = rc ? rc : put_env(b, json_get(p, "env"));
	if (b->len == 0 && !*shell && !command && yyjson_arr_size(args) == 0)
		return rc;
	rc = rc ? rc : buf_put_str(b, "exec ");
	rc = rc ? rc : *shell ? master_quote(b, shell) : buf_put_str(b, "\"${SHELL:-/bin/sh}\"");
	yyjson_arr_foreach(args, i, n, v)
	{
		rc = rc ? rc : buf_put_u8(b, ' ');
		rc = rc ? rc : master_quote(b, yyjson_is_str(v) ? yyjson_get_str(v) : "");
	}
	if (command) {
		rc = rc ? rc : buf_put_str(b, " -c ");
		rc = rc ? rc : master_quote(b, command);
	} else if (!*shell && yyjson_arr_size(args) == 0) {
		rc = rc ? rc : buf_put_str(b, " -l");
	}
	return rc ? rc : buf_put_u8(b, '\n');
}

/* Parameters of a terminal here, whose program is an ssh to there. */
static yyjson_mut_doc *term_params(struct standin *s, yyjson_val *p, const char *command)
{
	static const char *const copied[] = {"cols", "rows", "name", "tag"};
	const char *const more[] = {"-tt", NULL};
	yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *o = doc ? yyjson_mut_obj(doc) : NULL, *args;
	struct strv argv = {0};
	bool ok = o && plain_argv(s->plain, &argv, more, command) == 0;

	if (o)
		yyjson_mut_doc_set_root(doc, o);
	for (size_t i = 0; ok && i < sizeof(copied) / sizeof(copied[0]); i++)
		if (json_get(p, copied[i]))
			ok = yyjson_mut_obj_add_val(
			    doc, o, copied[i], yyjson_val_mut_copy(doc, json_get(p, copied[i])));
	ok = ok && yyjson_mut_obj_add_strcpy(doc, o, "shell", argv.v[0]);
	args = ok ? yyjson_mut_obj_add_arr(doc, o, "args") : NULL;
	ok = ok && args;
	for (size_t i = 1; ok && i < argv.n; i++)
		ok = yyjson_mut_arr_add_strcpy(doc, args, argv.v[i]);
	strv_fini(&argv);
	if (ok)
		return doc;
	yyjson_mut_doc_free(doc);
	return NULL;
}

static void term_created(void *ctx, struct tl_bytes info, const struct tl_err *err)
{
	struct rpc_call *c = ctx;

	if (err)
		rpc_fail(c, err);
	else
		rpc_answer_text(c, info);
}

static void term_start(struct rpc_call *c, const char *command)
{
	struct standin *s = of(c);
	yyjson_mut_doc *words = term_params(s, c->msg.params, command);
	yyjson_doc *params = words ? yyjson_mut_doc_imut_copy(words, NULL) : NULL;
	struct hold_spawn_spec spec = {.run_dir = s->dir, .raw = true};
	struct tl_err err = {0};
	char id[TERM_ID + 1];

	random_id(id, TERM_ID);
	spec.id = id;
	spec.params = yyjson_doc_get_root(params);
	if (!params)
		rpc_failf(c, TL_E_NOMEM, "cannot start a terminal: out of memory");
	else if (!hold_spawn(&s->agent.loop, &spec, term_created, c, &err))
		rpc_fail(c, &err);
	yyjson_doc_free(params);
	yyjson_mut_doc_free(words);
}

static void term_create(struct rpc_call *c)
{
	struct standin *s = of(c);
	struct buf script, command;
	int rc;

	if (standin_wait(s, c, term_create))
		return;
	if (!s->facts.commands && !s->facts.windows) {
		rpc_failf(c, TL_E_UNSUPPORTED,
			  "cannot start a terminal on %s: it allows files only (SFTP)", s->host);
		return;
	}
	if (holds_each(s->dir, NULL, NULL) >= TL_LIMIT_TERMS) {
		rpc_failf(c, TL_E_LIMIT, "cannot start a terminal: %d are running already",
			  TL_LIMIT_TERMS);
		return;
	}
	buf_init(&script, PLAIN_COMMAND);
	buf_init(&command, PLAIN_COMMAND);
	rc = s->facts.windows ? 0 : term_script(&script, c->msg.params);
	if (rc == 0 && script.len)
		rc = master_command(&command, (const char *)buf_data(&script).p, script.len);
	if (rc)
		rpc_failf(c, rc, "cannot start a terminal: %s", err_row(rc)->what);
	else
		term_start(c, command.len ? buf_cstr(&command) : NULL);
	buf_fini(&script);
	buf_fini(&command);
}

/* ---- the table ---- */

static void refuse(struct rpc_call *c)
{
	struct standin *s = of(c);

	rpc_failf(c, TL_E_UNSUPPORTED,
		  "cannot do %s: no server of ours runs on %s, it is served by plain ssh (%.300s)",
		  c->msg.method, s->host, s->why.text);
}

bool standin_method(struct rpc_call *c)
{
	static const struct {
		const char *name;
		void (*fn)(struct rpc_call *c); /* NULL: in the usual way */
	} table[] = {{"host/info", host_info},
		     {"path/resolve", path_resolve},
		     {"term/create", term_create},
		     {"term/list", NULL},
		     {"term/kill", NULL}};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		if (strcmp(table[i].name, c->msg.method) != 0)
			continue;
		if (table[i].fn)
			table[i].fn(c);
		return table[i].fn != NULL;
	}
	refuse(c);
	return true;
}
