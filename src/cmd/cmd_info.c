/* cmd_info.c - towline info: what is known about the way to a host. */
#include <stdlib.h>

#include "cmd/cmd_session.h"

const char *const cmd_info_usage =
    "usage: towline info [--json] HOST\n"
    "\n"
    "Connects to a host and prints user, address, keys and algorithms of the connection.\n";

/* Every fact once: its name in JSON, its title, where it is. */
#define FACTS(X)                                                                                   \
	X(host, "host")                                                                            \
	X(user, "user")                                                                            \
	X(address, "address")                                                                      \
	X(jump, "through")                                                                         \
	X(via, "way")                                                                              \
	X(auth_method, "login by")                                                                 \
	X(identity, "key")                                                                         \
	X(host_key_type, "host key")                                                               \
	X(fingerprint_sha256, "SHA-256")                                                           \
	X(fingerprint_sha1, "SHA-1")                                                               \
	X(server_version, "server")                                                                \
	X(cipher, "cipher")                                                                        \
	X(kex, "key exchange")                                                                     \
	X(platform, "platform")                                                                    \
	X(home, "home")                                                                            \
	X(plain_why, "no server")

static void print_json(const struct tl_info *i)
{
	yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *o = yyjson_mut_obj(doc);
	char *text;

	yyjson_mut_doc_set_root(doc, o);
#define X(name, title) json_add_path(doc, o, #name, i->name ? i->name : "");
	FACTS(X)
#undef X
	yyjson_mut_obj_add_int(doc, o, "port", i->port);
	yyjson_mut_obj_add_bool(doc, o, "connected", i->connected);
	text = yyjson_mut_write(doc, 0, NULL);
	puts(text ? text : "{}");
	free(text);
	yyjson_mut_doc_free(doc);
}

static void print_text(const struct tl_info *i)
{
#define X(name, title)                                                                             \
	if (i->name && i->name[0])                                                                 \
		printf("%-13s %s\n", title, i->name);
	FACTS(X)
#undef X
	if (i->port)
		printf("%-13s %d\n", "port", i->port);
}

int cmd_info(int argc, char **argv, const struct cmd_globals *g)
{
	struct tl_info info = TL_INFO_INIT;
	struct cmd_session cs;
	struct tl_error err;
	int rc = cmd_words(g, &argc, argv, 1, 1, "HOST");

	if (rc)
		return rc;
	if (cmd_session_open(&cs, g, argv[1], &err))
		return cmd_session_fail(g, &err);
	rc = tl_session_info(cs.s, &info, &err);
	if (rc)
		rc = cmd_session_fail(g, &err);
	else if (g->json)
		print_json(&info);
	else
		print_text(&info);
	cmd_session_close(&cs);
	return rc ? rc : cmd_done(g);
}
