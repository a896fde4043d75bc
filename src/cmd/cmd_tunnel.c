/* cmd_tunnel.c - towline tunnel: connections through a host until Ctrl-C. Every tunnel of the
 * command line has its own listener; the first that ends for good ends the command. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/str.h"
#include "cmd/cmd_session.h"

#define TUNNELS_MAX 32

const char *const cmd_tunnel_usage =
    "usage: towline tunnel [--once] HOST LISTEN:TARGET…\n"
    "       towline tunnel [--once] -R HOST LISTEN:TARGET…\n"
    "       towline tunnel [--once] HOST --socks LISTEN\n"
    "\n"
    "Carries connections to a host, until Ctrl-C. Prints one line for each listener.\n"
    "  5433:db:5432            port 5433 here, db:5432 as seen from the host\n"
    "  8080:localhost:80       a service of the host itself\n"
    "  0:localhost:80          any free port here: the line tells which\n"
    "  0.0.0.0:8080:web:80     listens on every address, not only for programs of this machine\n"
    "  9000:/run/app.sock      a unix socket of the host; on the left side one of this machine\n"
    "\n"
    "  -R                      the other way round: listens on the host, connects from here\n"
    "  --socks LISTEN          a SOCKS 5 proxy whose connections begin on the host\n"
    "  --once                  ends after the first connection\n"
    "  -v                      a line for each connection\n"
    "  --json                  the listeners as JSON, one line each\n";

struct tunnels {
	struct tl_tunnel *t[TUNNELS_MAX];
	int n;
};

/* "5433:db:5432", "127.0.0.1:5433:db:5432", "[::1]:5433:[::2]:80", "/a.sock:/b.sock": the place
 * where LISTEN ends. NULL: nowhere. */
static char *border(char *spec)
{
	char *p = spec, *next;

	/* a path goes to the colon behind it */
	if (*p == '/' || *p == '~')
		return strchr(p, ':');
	if (*p == '[') {
		p = strchr(p, ']');
		return p && p[1] == ':' ? strchr(p + 2, ':') : NULL;
	}
	next = strchr(p, ':');
	if (!next || strspn(spec, "0123456789") == (size_t)(next - spec))
		return next;
	return strchr(next + 1, ':');
}

static int open_one(struct tunnels *all, struct cmd_session *cs, const struct cmd_globals *g,
		    struct tl_tunnel_options *o, struct tl_error *err)
{
	struct tl_tunnel *t;
	char at[32] = "";
	int rc;

	if (all->n == TUNNELS_MAX)
		return cmd_usage_error(g, "tunnel", "more than %d tunnels", TUNNELS_MAX);
	rc = tl_tunnel_open(cs->s, o, &t, err);
	if (rc)
		return cmd_session_fail(g, err);
	all->t[all->n++] = t;
	if (tl_tunnel_port(t))
		snprintf(at, sizeof(at), "%d", tl_tunnel_port(t));
	if (g->json) {
		yyjson_mut_doc *doc = cmd_params("listen", at[0] ? NULL : o->listen, "target",
						 o->target ? o->target : "socks5", NULL);
		char *text;
		if (at[0])
			yyjson_mut_obj_add_int(doc, yyjson_mut_doc_get_root(doc), "port",
					       tl_tunnel_port(t));
		yyjson_mut_obj_add_bool(doc, yyjson_mut_doc_get_root(doc), "reverse", o->reverse);
		text = yyjson_mut_write(doc, 0, NULL);
		puts(text ? text : "{}");
		free(text);
		yyjson_mut_doc_free(doc);
	} else {
		printf("%s%s %s -> %s\n", o->reverse ? "host " : "", at[0] ? "port" : "socket",
		       at[0] ? at : o->listen, o->target ? o->target : "SOCKS 5");
	}
	fflush(stdout);
	return 0;
}

static void on_line(void *ctx, int level, const char *line)
{
	const struct cmd_globals *g = ctx;

	/* what failed is always told, connections with -v */
	if (level <= 1 || g->verbose)
		fprintf(stderr, "towline: %s\n", line);
}

static int run(struct tunnels *all, struct cmd_session *cs, const struct cmd_globals *g)
{
	struct tl_error err;
	int rc = 0;

	/* a session that ends, ends them all; a `once` each for itself */
	for (int i = 0; i < all->n && rc == 0; i++)
		rc = tl_tunnel_wait(all->t[i], cs->cancel, &err);
	if (rc == TL_E_CANCELED && cmd_session_signal())
		return cmd_session_signal() == SIGINT ? 0 : 128 + cmd_session_signal();
	return rc ? cmd_session_fail(g, &err) : 0;
}

int cmd_tunnel(int argc, char **argv, const struct cmd_globals *g)
{
	bool bad = false, reverse = cmd_flag(&argc, argv, "-R", "--reverse");
	bool once = cmd_flag(&argc, argv, NULL, "--once");
	const char *socks = cmd_value(g, &argc, argv, NULL, "--socks", &bad);
	struct tl_tunnel_options o = TL_TUNNEL_OPTIONS_INIT;
	struct cmd_session cs;
	struct tunnels all = {.n = 0};
	struct tl_error err;
	int rc;

	if (bad)
		return CMD_EXIT_USAGE;
	rc = cmd_words(g, &argc, argv, socks ? 1 : 2, 1 + TUNNELS_MAX,
		       argc > 1 ? "LISTEN:TARGET" : "HOST");
	if (rc)
		return rc;
	for (int i = 2; i < argc; i++)
		if (!border(argv[i]))
			return cmd_usage_error(g, "tunnel",
					       "“%s” is not LISTEN:TARGET, as in 8080:localhost:80",
					       argv[i]);
	rc = cmd_session_open(&cs, g, argv[1], &err);
	if (rc)
		return cmd_session_fail(g, &err);
	cmd_session_catch(&cs);
	o.reverse = reverse;
	o.once = once;
	o.log = on_line;
	o.ctx = (void *)(uintptr_t)g;
	o.listen = socks;
	if (socks)
		rc = open_one(&all, &cs, g, &o, &err);
	for (int i = 2; i < argc && rc == 0; i++) {
		char *at = border(argv[i]);
		*at = 0;
		o.listen = argv[i];
		o.target = at + 1;
		rc = open_one(&all, &cs, g, &o, &err);
	}
	if (rc == 0)
		rc = run(&all, &cs, g);
	for (int i = 0; i < all.n; i++)
		tl_tunnel_close(all.t[i]);
	cmd_session_close(&cs);
	return rc ? rc : cmd_done(g);
}
