/* cmd_doctor.c - towline doctor: where the way to a host ends, and why. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api/doctor.h"
#include "base/limits.h"
#include "base/str.h"
#include "cmd/cmd_util.h"
#include "dial/install_path.h"
#include "loop/fsx.h"

const char *const cmd_doctor_usage =
    "usage: towline doctor [--json] HOST\n"
    "\n"
    "Walks the way to HOST as a connection goes it, with one login, and says at which step it "
    "ends,\n"
    "why, and what to do: configuration, name, route, port, banner, host key, login (with every\n"
    "method that was tried), shell, platform, home, what sshd allows, server, link. The server is\n"
    "installed where it is missing, as by any connection. Uses no daemon.\n"
    "\n"
    "A step is ok, a note (it works, but you should know), or BAD; the walk ends at the first of\n"
    "these.\n"
    "\n"
    "examples:\n"
    "  towline doctor build-server\n"
    "  towline --json doctor me@192.0.2.7\n"
    "\n"
    "exit status: 0 all is well; that of the broken step otherwise: 40 name, 41 port, 42 route, "
    "43\n"
    "login, 44 or 45 host key, 48 configuration, 60 platform, 66 shell, 26, 27 or 63 home, 62 or "
    "64\n"
    "server; all in towline(1).\n";

#define SETTINGS_BYTES (1024 * 1024)

struct visit {
	const struct cmd_globals *g;
	struct cmd_ui ui;
	yyjson_mut_doc *doc;
	yyjson_mut_val *steps;
	const char *broken;
};

static const char *const states[] = {"ok", "note", "bad", "skipped"};

static void put_text(const char *s)
{
	for (; *s; s++)
		putchar((unsigned char)*s < 0x20 || *s == 0x7f ? '?' : *s);
}

static void on_step(void *ctx, const struct doctor_step *s)
{
	static const char *const words[] = {"ok  ", "note", "BAD ", "-   "};
	struct visit *v = ctx;
	yyjson_mut_val *o;

	if (s->state == DOCTOR_BAD)
		v->broken = s->name;
	if (v->g->json) {
		o = yyjson_mut_arr_add_obj(v->doc, v->steps);
		yyjson_mut_obj_add_strcpy(v->doc, o, "step", s->name);
		yyjson_mut_obj_add_str(v->doc, o, "state", states[s->state]);
		json_add_path(v->doc, o, "text", s->text);
		if (*s->todo)
			yyjson_mut_obj_add_strcpy(v->doc, o, "todo", s->todo);
		yyjson_mut_obj_add_uint(v->doc, o, "ms", s->ms);
		return;
	}
	cmd_ui_clear(&v->ui);
	printf("%s  %-13s  ", words[s->state], s->name);
	put_text(s->text);
	putchar('\n');
	if (*s->todo)
		printf("%21s%s\n", "", s->todo);
	fflush(stdout);
}

static void print_end(struct visit *v, const char *host, const struct tl_err *err)
{
	yyjson_mut_val *root = yyjson_mut_doc_get_root(v->doc), *e;
	const struct tl_error_row *row = err_row(err->code);
	char *text;

	if (!v->g->json)
		return;
	json_add_path(v->doc, root, "host", host);
	yyjson_mut_obj_add_bool(v->doc, root, "ok", err->code == 0);
	if (v->broken)
		yyjson_mut_obj_add_str(v->doc, root, "broken", v->broken);
	if (err->code) {
		e = yyjson_mut_obj_add_obj(v->doc, root, "error");
		yyjson_mut_obj_add_str(v->doc, e, "name", row->name);
		yyjson_mut_obj_add_int(v->doc, e, "exit", row->exit_status);
		json_add_path(v->doc, e, "message", err->text);
	}
	text = yyjson_mut_write(v->doc, 0, NULL);
	puts(text ? text : "{}");
	free(text);
}

/* remote.SSH.serverInstallPath of the user's settings. */
static int read_place(const char *host, char **ret, struct tl_err *err)
{
	char dir[TL_LIMIT_PATH], path[TL_LIMIT_PATH + 32];
	yyjson_doc *doc = NULL;
	struct buf b;
	int rc;

	if (!api_config_dir(dir, sizeof(dir)))
		return 0;
	snprintf(path, sizeof(path), "%s/User/settings.json", dir);
	buf_init(&b, SETTINGS_BYTES);
	if (fs_read(path, &b, NULL) == 0)
		doc = json_parse_relaxed(buf_data(&b), NULL);
	rc = dial_install_path(yyjson_doc_get_root(doc), host, ret, err);
	yyjson_doc_free(doc);
	buf_fini(&b);
	return rc;
}

int cmd_doctor(int argc, char **argv, const struct cmd_globals *g)
{
	struct doctor_options o = {.how = g->host, .ssh_path = getenv("TOWLINE_SSH")};
	struct visit v = {.g = g};
	struct tl_err err = {0};
	char *place = NULL;
	int rc = cmd_words(g, &argc, argv, 1, 1, "HOST");

	if (rc)
		return rc;
	cmd_ui_init(&v.ui, g);
	v.doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_doc_set_root(v.doc, yyjson_mut_obj(v.doc));
	v.steps = yyjson_mut_obj_add_arr(v.doc, yyjson_mut_doc_get_root(v.doc), "steps");
	o.host = argv[1];
	rc = read_place(argv[1], &place, &err);
	o.install_path = place;
	o.ui = &v.ui.api;
	o.on_step = on_step;
	o.ctx = &v;
	rc = rc ? rc : doctor_run(&o, &err);
	free(place);
	cmd_ui_clear(&v.ui);
	/* the way did not even begin */
	if (rc && !v.broken) {
		yyjson_mut_doc_free(v.doc);
		return cmd_fail(g, &err);
	}
	print_end(&v, argv[1], &err);
	yyjson_mut_doc_free(v.doc);
	if (cmd_done(g) != 0)
		return cmd_done(g);
	return rc ? err_row(rc)->exit_status : 0;
}
