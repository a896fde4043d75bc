/* cmd_key.c - towline key: the keys of this user and of the agent. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/str.h"
#include "cmd/cmd_session.h"

#define PASSPHRASE_MAX 1024

const char *const cmd_key_usage =
    "usage: towline key list [--json] [FOLDER]\n"
    "       towline key new [-t TYPE] [-C COMMENT] [--no-passphrase] [FILE]\n"
    "       towline key add [FILE]\n"
    "       towline key copy HOST [FILE]\n"
    "\n"
    "  list  the keys of a folder (~/.ssh) and of the agent\n"
    "  new   make a key; the passphrase is asked on the terminal, an empty one means none\n"
    "  add   give a key to the agent\n"
    "  copy  allow a key on a host: its public half goes to ~/.ssh/authorized_keys, once\n"
    "\n"
    "  -t TYPE           ed25519 (the default), rsa, ecdsa, ed25519-sk, ecdsa-sk\n"
    "  -C COMMENT        a name for the key\n"
    "  --no-passphrase   none, and do not ask\n"
    "FILE is ~/.ssh/id_TYPE where it is not given.\n";

struct key_args {
	const struct cmd_globals *g;
	const char *type, *comment;
	bool no_passphrase;
	int argc; /* words behind the action */
	char **argv;
	char path[TL_LIMIT_PATH];
};

static void default_path(struct key_args *a, const char *given)
{
	const char *home = getenv("HOME"), *type = a->type ? a->type : "ed25519";
	char name[64];

	if (given) {
		str_copy(a->path, sizeof(a->path), given);
		return;
	}
	str_copy(name, sizeof(name), type);
	for (char *p = name; *p; p++)
		if (*p == '-')
			*p = '_';
	snprintf(a->path, sizeof(a->path), "%s/.ssh/id_%s", home ? home : ".", name);
}

/* ---- list ---- */

static void list_json(const struct tl_keys *keys)
{
	yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *all = yyjson_mut_arr(doc);
	char *text;

	yyjson_mut_doc_set_root(doc, all);
	for (size_t i = 0; i < keys->n; i++) {
		const struct tl_key *k = &keys->v[i];
		yyjson_mut_val *o = yyjson_mut_arr_add_obj(doc, all);
		json_add_path(doc, o, "path", k->path);
		json_add_path(doc, o, "type", k->type);
		json_add_path(doc, o, "fingerprint", k->fingerprint);
		json_add_path(doc, o, "comment", k->comment);
		json_add_path(doc, o, "public_key", k->public_key);
		yyjson_mut_obj_add_int(doc, o, "bits", k->bits);
		yyjson_mut_obj_add_bool(doc, o, "in_agent", k->in_agent);
		yyjson_mut_obj_add_bool(doc, o, "encrypted", k->encrypted);
	}
	text = yyjson_mut_write(doc, 0, NULL);
	puts(text ? text : "[]");
	free(text);
	yyjson_mut_doc_free(doc);
}

static int key_list(struct key_args *a)
{
	struct tl_keys keys;
	struct tl_error err;

	if (tl_keys_list(a->argc ? a->argv[0] : NULL, &keys, &err))
		return cmd_session_fail(a->g, &err);
	if (a->g->json)
		list_json(&keys);
	for (size_t i = 0; i < keys.n && !a->g->json; i++) {
		const struct tl_key *k = &keys.v[i];
		printf("%s\t%s %d\t%s\t%s%s%s\n", k->path[0] ? k->path : "(agent)", k->type,
		       k->bits, k->fingerprint, k->comment, k->encrypted ? " [passphrase]" : "",
		       k->in_agent ? " [in agent]" : "");
	}
	tl_keys_free(&keys);
	return cmd_done(a->g);
}

/* ---- new ---- */

/* Twice, as the only thing nobody can read again. */
static int ask_passphrase(struct key_args *a, char *out, size_t n)
{
	char again[PASSPHRASE_MAX] = "";
	struct cmd_ui ui;
	struct tl_err err;
	int rc;

	cmd_ui_init(&ui, a->g);
	rc = cmd_session_prompt(&ui, TL_PROMPT_PASSPHRASE,
				"Passphrase of the new key (empty: none): ", 1, out, n);
	if (rc == 0 && out[0])
		rc = cmd_session_prompt(&ui, TL_PROMPT_PASSPHRASE, "The same again: ", 1, again,
					sizeof(again));
	if (rc) {
		err_set(&err, rc,
			"cannot make a key: its passphrase was not given. Without a terminal use "
			"--no-passphrase");
		rc = cmd_fail(a->g, &err);
	} else if (out[0] && strcmp(out, again) != 0) {
		err_set(&err, TL_E_INVAL, "cannot make a key: the passphrases differ");
		rc = cmd_fail(a->g, &err);
	}
	explicit_bzero(again, sizeof(again));
	return rc;
}

static int key_new(struct key_args *a)
{
	char passphrase[PASSPHRASE_MAX] = "", folder[TL_LIMIT_PATH];
	struct tl_error err;
	int rc = 0;

	default_path(a, a->argc ? a->argv[0] : NULL);
	if (!a->argc && str_copy(folder, sizeof(folder), a->path)) {
		*strrchr(folder, '/') = 0;
		mkdir(folder, 0700);
	}
	if (!a->no_passphrase)
		rc = ask_passphrase(a, passphrase, sizeof(passphrase));
	if (rc == 0 &&
	    tl_key_new(a->path, a->type, a->comment, passphrase[0] ? passphrase : NULL, &err))
		rc = cmd_session_fail(a->g, &err);
	explicit_bzero(passphrase, sizeof(passphrase));
	if (rc)
		return rc;
	if (a->g->json) {
		yyjson_mut_doc *doc = cmd_params("path", a->path, NULL);
		char *text = yyjson_mut_write(doc, 0, NULL);
		puts(text ? text : "{}");
		free(text);
		yyjson_mut_doc_free(doc);
	} else {
		printf("%s\n%s.pub\n", a->path, a->path);
	}
	return cmd_done(a->g);
}

/* ---- add, copy ---- */

static int key_add(struct key_args *a)
{
	struct cmd_ui ui;
	struct tl_error err;

	cmd_ui_init(&ui, a->g);
	default_path(a, a->argc ? a->argv[0] : NULL);
	if (tl_key_add(a->path, cmd_session_prompt, &ui, &err))
		return cmd_session_fail(a->g, &err);
	if (!a->g->json)
		printf("the agent has %s\n", a->path);
	return cmd_done(a->g);
}

static int key_copy(struct key_args *a)
{
	struct cmd_session cs;
	struct tl_error err;
	int rc;

	default_path(a, a->argc > 1 ? a->argv[1] : NULL);
	if (cmd_session_open(&cs, a->g, a->argv[0], &err))
		return cmd_session_fail(a->g, &err);
	rc = tl_key_copy(cs.s, a->path, &err);
	cmd_session_close(&cs);
	if (rc < 0)
		return cmd_session_fail(a->g, &err);
	if (a->g->json)
		printf("{\"added\":%s}\n", rc ? "true" : "false");
	else
		printf("%s: %s\n", a->argv[0],
		       rc ? "the key is allowed now" : "the key was allowed already");
	return cmd_done(a->g);
}

/* ---- */

static const struct {
	const char *name;
	int (*fn)(struct key_args *a);
	int min, max;
	const char *want;
} actions[] = {
    {"list", key_list, 0, 1, "FOLDER"},
    {"new", key_new, 0, 1, "FILE"},
    {"add", key_add, 0, 1, "FILE"},
    {"copy", key_copy, 1, 2, "HOST"},
};

int cmd_key(int argc, char **argv, const struct cmd_globals *g)
{
	bool bad = false;
	struct key_args a = {.g = g};
	int rc;

	a.type = cmd_value(g, &argc, argv, "-t", "--type", &bad);
	a.comment = cmd_value(g, &argc, argv, "-C", "--comment", &bad);
	a.no_passphrase = cmd_flag(&argc, argv, NULL, "--no-passphrase");
	if (bad)
		return CMD_EXIT_USAGE;
	for (size_t i = 0; argc > 1 && i < sizeof(actions) / sizeof(actions[0]); i++) {
		if (strcmp(argv[1], actions[i].name) != 0)
			continue;
		rc = cmd_words(g, &argc, argv, 1 + actions[i].min, 1 + actions[i].max,
			       actions[i].want);
		if (rc)
			return rc;
		a.argc = argc - 2;
		a.argv = argv + 2;
		return actions[i].fn(&a);
	}
	if (argc > 1)
		return cmd_usage_error(g, "key", "“%s” is not list, new, add or copy", argv[1]);
	return cmd_usage_error(g, "key", "list, new, add or copy is missing");
}
