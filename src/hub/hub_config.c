/* hub_config.c - hosts written to and taken from the ssh configuration, and how ssh resolves one.
 * What asks ssh is a work: it belongs to the client that wanted it and ends with it. */
#include "hub/hub_priv.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/log.h"
#include "dial/config_edit.h"
#include "dial/config_scan.h"
#include "dial/ssh_query.h"
#include "loop/fsx.h"

#define REMOVALS_MAX 64

enum step { STEP_CHECK, STEP_COMPARE, STEP_SHOW };

struct config_work {
	struct list node;
	struct hub *hub;
	struct hub_client *client;
	char *id, *name, *file; /* file: absolute; of STEP_SHOW: where the host stands, or NULL */
	char *draft;            /* a file with nothing but the block, for ssh to look at */
	struct ssh_command command;
	struct buf block;
	struct ssh_query *query;
	enum step step;
	bool dry;
	int line;
};

static void work_free(struct config_work *w)
{
	list_del(&w->node);
	if (w->query)
		ssh_query_cancel(w->query);
	if (w->draft) {
		unlink(w->draft);
		free(w->draft);
	}
	ssh_command_fini(&w->command);
	buf_fini(&w->block);
	free(w->id);
	free(w->name);
	free(w->file);
	free(w);
}

void config_client_gone(struct hub_client *c)
{
	LIST_FOREACH_SAFE (it, &c->hub->config_works) {
		struct config_work *w = list_entry(it, struct config_work, node);
		if (w->client == c)
			work_free(w);
	}
}

void config_close(struct hub *h)
{
	LIST_FOREACH_SAFE (it, &h->config_works)
		work_free(list_entry(it, struct config_work, node));
}

static struct config_work *work_new(struct call *k)
{
	struct config_work *w = calloc(1, sizeof(*w));

	if (!w)
		return NULL;
	w->hub = k->h;
	w->client = k->c;
	w->id = str_dup(k->id);
	buf_init(&w->block, TL_LIMIT_RPC_MESSAGE);
	list_add_tail(&k->h->config_works, &w->node);
	return w;
}

static void work_fail(struct config_work *w, const struct tl_err *e)
{
	client_reply_err(w->client, w->id, e);
	work_free(w);
}

/* The file that is meant: the parameter's, the command's -F, the settings', ~/.ssh/config; absolute
 * and malloc'ed. */
static char *file_of(struct call *k, const char *of_command, struct tl_err *err)
{
	const char *named = json_str(k->params, "configFile", of_command);
	char *set = named ? NULL : settings_config_file(k->h), path[TL_LIMIT_PATH], *out = NULL;

	if (config_path(named ? named : set, path, sizeof(path), err) == 0) {
		if (path[0] != '/')
			err_set(err, TL_E_INVAL, "“%.200s” is not an absolute path", path);
		else if (!(out = str_dup(path)))
			err_set(err, TL_E_NOMEM, "out of memory");
	}
	free(set);
	return out;
}

/* ---- where a name stands ---- */

struct place {
	const char *name;
	char *file;
	int line;
};

static int on_place(void *ctx, const char *name, const char *file, int line)
{
	struct place *p = ctx;

	if (p->file || strcmp(name, p->name) != 0)
		return 0;
	p->file = str_dup(file);
	p->line = line;
	return p->file ? 0 : TL_E_NOMEM;
}

/* The first place of the name in the configuration that begins with file; a missing file has none.
 */
static int find_place(const char *file, struct place *p, struct tl_err *err)
{
	int rc = config_scan_hosts(file, on_place, NULL, p, err);

	return rc == TL_E_NOENT ? 0 : rc;
}

/* ---- add ---- */

static int read_words(struct call *k, struct strv *words, struct tl_err *err)
{
	yyjson_val *args = json_get(k->params, "args"), *v;
	const char *command = json_str(k->params, "command", NULL);
	size_t i, n;
	int rc = 0;

	if (command)
		return ssh_command_split(command, words, err);
	yyjson_arr_foreach(args, i, n, v)
	{
		if (rc == 0)
			rc = yyjson_is_str(v) ? strv_add(words, yyjson_get_str(v)) : TL_E_INVAL;
	}
	return rc || words->n == 0 ? err_set(err, TL_E_INVAL,
					     "there is no ssh command: give one such as ssh "
					     "me@192.0.2.7")
				   : 0;
}

static void add_pairs(yyjson_mut_doc *doc, yyjson_mut_val *o, const struct config_work *w)
{
	yyjson_mut_val *a = yyjson_mut_obj_add_arr(doc, o, "unused"), *one;

	for (size_t i = 0; i < w->command.unused.n; i++) {
		one = yyjson_mut_arr_add_obj(doc, a);
		json_add_path(doc, one, "option", w->command.unused.v[i]);
		yyjson_mut_obj_add_strcpy(doc, one, "reason", w->command.why.v[i]);
	}
}

/* What ssh makes of the settings that people look at first, beside what the command said. */
static void add_overruled(yyjson_mut_doc *doc, yyjson_mut_val *o, const struct config_work *w,
			  struct tl_bytes config)
{
	static const char *const words[] = {"HostName", "User", "Port", "ProxyJump",
					    "ForwardAgent"};
	yyjson_mut_val *a = yyjson_mut_obj_add_arr(doc, o, "overruled"), *one;
	struct tl_bytes key, value;
	char name[32], *text;

	while (ssh_query_line(&config, &key, &value)) {
		for (size_t i = 0; i < w->command.keys.n; i++) {
			const char *wanted = w->command.values.v[i];
			bool known = false;
			for (size_t n = 0; n < sizeof(words) / sizeof(words[0]); n++)
				known = known || strcasecmp(words[n], w->command.keys.v[i]) == 0;
			text = str_ndup(key.p, key.n);
			known = known && text && str_copy(name, sizeof(name), text) &&
				strcasecmp(name, w->command.keys.v[i]) == 0;
			free(text);
			text = known ? str_ndup(value.p, value.n) : NULL;
			if (text && strcasecmp(text, wanted) != 0 && utf8_valid(bytes_str(text))) {
				one = yyjson_mut_arr_add_obj(doc, a);
				yyjson_mut_obj_add_strcpy(doc, one, "keyword",
							  w->command.keys.v[i]);
				json_add_path(doc, one, "wanted", wanted);
				yyjson_mut_obj_add_strcpy(doc, one, "effective", text);
			}
			free(text);
		}
	}
}

static void add_answer(struct config_work *w, struct tl_bytes config)
{
	yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *o = yyjson_mut_obj(doc);
	const char *block = buf_cstr(&w->block);

	yyjson_mut_doc_set_root(doc, o);
	yyjson_mut_obj_add_strcpy(doc, o, "name", w->name);
	json_add_path(doc, o, "file", w->file);
	yyjson_mut_obj_add_int(doc, o, "line", w->line);
	json_add_path(doc, o, "block", block ? block : "");
	yyjson_mut_obj_add_bool(doc, o, "written", !w->dry);
	add_pairs(doc, o, w);
	add_overruled(doc, o, w, config);
	client_reply(w->client, w->id, doc);
	work_free(w);
}

static void ask_ssh(struct config_work *w, enum step step, const char *config_file,
		    const struct host_options *options);

static int insert(void *ctx, struct tl_bytes text, struct buf *out, struct tl_err *err)
{
	struct config_work *w = ctx;
	int rc = config_insert(text, w->name, buf_data(&w->block), out, &w->line);

	return rc ? err_set(err, rc, "cannot add %s to %s: %s", w->name, w->file, err_row(rc)->what)
		  : 0;
}

/* ssh takes the block: now it is written. */
static void add_checked(struct config_work *w)
{
	struct tl_err e = {0};

	if (!w->dry && config_file_edit(w->file, insert, w, &e) != 0) {
		work_fail(w, &e);
		return;
	}
	if (w->dry) {
		add_answer(w, bytes_str(""));
		return;
	}
	log_line(LOG_INFO, w->name, "added to %s", w->file);
	ask_ssh(w, STEP_COMPARE, w->file, NULL);
}

/* The block alone in a private file. */
static int write_draft(struct config_work *w, struct tl_err *err)
{
	char id[9];

	random_id(id, 8);
	w->draft = str_fmt("%s/config-%s", w->hub->cfg.runtime_dir, id);
	return w->draft ? fs_write_atomic(w->draft, buf_data(&w->block).p, w->block.len, 0600, err)
			: err_set(err, TL_E_NOMEM, "out of memory");
}

static int add_prepare(struct call *k, struct config_work *w, struct tl_err *err)
{
	const char *cwd = json_str(k->params, "cwd", NULL), *name;
	struct strv words = {0};
	struct place p = {0};
	int rc = read_words(k, &words, err);

	rc = rc ? rc
		: ssh_command_parse(&words, cwd && cwd[0] == '/' ? cwd : NULL, &w->command, err);
	strv_fini(&words);
	if (rc)
		return rc;
	name = json_str(k->params, "name", w->command.host);
	w->name = str_dup(name);
	w->file = file_of(k, w->command.config_file, err);
	if (!w->name || !w->file)
		return err->code ? err->code : err_set(err, TL_E_NOMEM, "out of memory");
	rc = config_name_check(name, err);
	rc = rc ? rc : config_block(&w->block, name, &w->command, err);
	p.name = name;
	rc = rc ? rc : find_place(w->file, &p, err);
	if (rc == 0 && p.file)
		rc = err_set(err, TL_E_EXIST,
			     "cannot add the host %s: line %d of %s has one of this name", name,
			     p.line, p.file);
	free(p.file);
	return rc ? rc : write_draft(w, err);
}

void m_host_add(struct call *k)
{
	struct config_work *w = work_new(k);
	struct tl_err e = {0};

	if (!w) {
		err_set(&e, TL_E_NOMEM, "cannot add a host: out of memory");
		client_reply_err(k->c, k->id, &e);
		return;
	}
	w->dry = json_bool(k->params, "dryRun", false);
	if (add_prepare(k, w, &e) != 0)
		work_fail(w, &e);
	else
		ask_ssh(w, STEP_CHECK, w->draft, NULL);
}

/* ---- remove ---- */

struct removal {
	const char *name;
	struct buf block;
	bool shared;
};

static int take_out(void *ctx, struct tl_bytes text, struct buf *out, struct tl_err *err)
{
	struct removal *r = ctx;
	int rc;

	buf_clear(&r->block);
	rc = config_remove(text, r->name, out, &r->block, &r->shared);
	return rc ? err_set(err, rc, "cannot remove the host %s: %s", r->name, err_row(rc)->what)
		  : 0;
}

/* Every place of the name, the first one first. */
static int remove_all(const char *file, const char *name, yyjson_mut_doc *doc, yyjson_mut_val *list,
		      struct tl_err *err)
{
	int rc = 0;

	for (int i = 0; i < REMOVALS_MAX && rc == 0; i++) {
		struct removal r = {.name = name};
		struct place p = {.name = name};
		yyjson_mut_val *o;
		const char *block;
		rc = find_place(file, &p, err);
		if (rc || !p.file)
			return rc;
		buf_init(&r.block, CONFIG_FILE_MAX);
		rc = config_file_edit(p.file, take_out, &r, err);
		block = buf_cstr(&r.block);
		if (rc == 0) {
			log_line(LOG_INFO, name, "removed from %s", p.file);
			o = yyjson_mut_arr_add_obj(doc, list);
			json_add_path(doc, o, "file", p.file);
			json_add_path(doc, o, "block", block ? block : "");
			yyjson_mut_obj_add_bool(doc, o, "shared", r.shared);
		}
		buf_fini(&r.block);
		free(p.file);
	}
	return rc;
}

void m_host_remove(struct call *k)
{
	const char *name = json_str(k->params, "host", "");
	yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *o = yyjson_mut_obj(doc), *list;
	struct tl_err e = {0};
	char *file = file_of(k, NULL, &e);
	bool forgotten = false;
	int rc = file ? 0 : e.code;

	yyjson_mut_doc_set_root(doc, o);
	list = yyjson_mut_obj_add_arr(doc, o, "removed");
	if (rc == 0 && !*name)
		rc = err_set(&e, TL_E_INVAL, "which host is to be removed?");
	rc = rc ? rc : remove_all(file, name, doc, list, &e);
	if (rc == 0) {
		forgotten = known_forget(k->h, name);
		if (!forgotten && yyjson_mut_arr_size(list) == 0)
			rc = err_set(&e, TL_E_NOENT, "there is no host %.200s in %s", name, file);
	}
	yyjson_mut_obj_add_bool(doc, o, "forgotten", forgotten);
	if (rc) {
		client_reply_err(k->c, k->id, &e);
		yyjson_mut_doc_free(doc);
	} else {
		client_reply(k->c, k->id, doc);
	}
	free(file);
}

/* ---- show ---- */

static void show_answer(struct config_work *w, struct tl_bytes config)
{
	yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *o = yyjson_mut_obj(doc), *list, *pair;
	struct tl_bytes key, value;

	yyjson_mut_doc_set_root(doc, o);
	yyjson_mut_obj_add_strcpy(doc, o, "host", w->name);
	if (w->file) {
		json_add_path(doc, o, "file", w->file);
		yyjson_mut_obj_add_int(doc, o, "line", w->line);
	}
	list = yyjson_mut_obj_add_arr(doc, o, "config");
	while (ssh_query_line(&config, &key, &value)) {
		if (!utf8_valid(key) || !utf8_valid(value))
			continue;
		pair = yyjson_mut_arr_add_arr(doc, list);
		yyjson_mut_arr_add_strncpy(doc, pair, (const char *)key.p, key.n);
		yyjson_mut_arr_add_strncpy(doc, pair, (const char *)value.p, value.n);
	}
	client_reply(w->client, w->id, doc);
	work_free(w);
}

void m_host_show(struct call *k)
{
	struct config_work *w = work_new(k);
	struct host_options options = {0};
	struct place p = {0};
	struct tl_err e = {0};
	char *file = NULL;
	int rc;

	if (!w || !(w->name = str_dup(json_str(k->params, "host", "")))) {
		err_set(&e, TL_E_NOMEM, "cannot show a host: out of memory");
		client_reply_err(k->c, k->id, &e);
		if (w)
			work_free(w);
		return;
	}
	p.name = w->name;
	rc = options_parse(json_get(k->params, "options"), &options);
	if (rc)
		err_set(&e, rc, "the options for %.200s are not valid", w->name);
	file = rc ? NULL : file_of(k, options.config_file, &e);
	rc = file ? find_place(file, &p, &e) : e.code;
	w->file = p.file;
	w->line = p.line;
	if (rc)
		work_fail(w, &e);
	else
		/* without -F ssh reads the system's configuration, too */
		ask_ssh(w, STEP_SHOW,
			json_str(k->params, "configFile", NULL) || options.config_file ? file
										       : NULL,
			&options);
	options_fini(&options);
	free(file);
}

/* ---- asking ssh ---- */

static void answered(void *ctx, struct tl_bytes config, const struct tl_err *err)
{
	struct config_work *w = ctx;
	struct tl_err e;

	w->query = NULL;
	switch (w->step) {
	case STEP_CHECK:
		if (err && w->draft) {
			/* the draft's name says nothing to a person */
			const char *at = strstr(err->text, w->draft);
			size_t n = strlen(w->draft);
			err_set(&e, err->code,
				"cannot add the host %.100s: ssh does not accept it: %s", w->name,
				at ? at + n + strspn(at + n, ": ") : err->text);
			work_fail(w, &e);
		} else {
			add_checked(w);
		}
		break;
	case STEP_COMPARE:
		/* it is written already: what else the file says is not the fault of this host */
		add_answer(w, err ? bytes_str("") : config);
		break;
	case STEP_SHOW:
		if (err)
			work_fail(w, err);
		else
			show_answer(w, config);
		break;
	}
}

static void ask_ssh(struct config_work *w, enum step step, const char *config_file,
		    const struct host_options *options)
{
	struct dial_target t = {.kind = DIAL_SSH, .host = w->name, .config_file = config_file};
	char *set = NULL, *ssh = settings_ssh_path(w->hub);
	struct tl_err e = {0};

	if (options) {
		t.identities = (const char *const *)options->identities.v;
		t.options = (const char *const *)options->options.v;
		t.port = options->port;
		if (!config_file)
			t.config_file = set = settings_config_file(w->hub);
	}
	w->step = step;
	w->query = ssh_query_start(w->hub->loop, &t, ssh ? ssh : w->hub->cfg.ssh_path, SSH_QUERY_MS,
				   answered, w, &e);
	free(set);
	free(ssh);
	if (!w->query)
		work_fail(w, &e);
}
