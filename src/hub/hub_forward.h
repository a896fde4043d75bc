/* hub_forward.h - forwards, shared by the hub_forward*.c files. A forward belongs to the daemon,
 * not to a session: it names its host, and its listener stays while the host is away. Its
 * connections are carried by the host's set (dial/conn_relay.h). */
#ifndef TL_HUB_FORWARD_H
#define TL_HUB_FORWARD_H

#include "hub/hub_priv.h"
#include "loop/connector.h"
#include "loop/local_listen.h"

enum forward_kind { FORWARD_LOCAL, FORWARD_REMOTE, FORWARD_SOCKS };
enum forward_source {
	FORWARD_USER,
	FORWARD_AUTO,
	FORWARD_CONFIG,
	FORWARD_DEFAULT,
	FORWARD_COMMAND
};

/* What was asked for (ForwardSpec of proto/types.d.ts). Owns its strings; NULL: not given. */
struct forward_spec {
	char *host;
	enum forward_kind kind;
	enum forward_source source;
	/* here: where it listens; of a remote one: where its connections go */
	char *local_address, *local_path;
	int local_port; /* -1: not given */
	/* as the host sees it: where connections go; of a remote one: where it listens */
	char *target_host, *target_path;
	int target_port;
	char *label, *protocol, *process;
	bool proxy, require_port, elevate;
};

struct forward_listen;
struct forward_remote;

struct hub_forward {
	struct list node; /* hub's forwards */
	struct hub *hub;
	char id[8];
	struct forward_spec spec;
	int port; /* that it listens on, here or (remote) on the host; 0 none or a path */
	struct forward_listen *listen; /* NULL: does not listen here */
	struct forward_remote *remote; /* while there is a session */
	struct conn_counters counters;
	struct list conns; /* struct forward_conn */
	size_t n_conns;
	struct list waiters;  /* forward/add requests that wait for the host's answer */
	struct tl_err failed; /* why it does not listen; code 0: it does, or will */
	char secret[33];      /* of a proxy: who knows it may use it */
	bool parked;          /* the user closed the host: no connection brings it back */
};

/* One connection, from the moment it is known until it has ended. */
struct forward_conn {
	struct list node;
	struct hub_forward *forward;
	struct conn_relay *relay; /* once it is carried */
	bool *ended;              /* set when it ends while it starts */
	/* before that: ends what is under way and frees the connection */
	void (*abort)(struct forward_conn *c);
	/* the host has answered; may be NULL */
	void (*answered)(struct forward_conn *c, struct conn_relay *r, const struct tl_err *err);
};

/* All forwards of the daemon. */
struct hub_forwards {
	struct list all;
	struct list proxies; /* connections to the internet lent (hub_proxy.c) */
	struct loop_timer notify;
	char key[17]; /* of this user's daemon, on hosts: see name_of in hub_forward_remote.c */
	struct strv dirty; /* hosts whose list changed */
	bool storing;      /* false while the store itself is read */
};

/* ---- hub_forward.c: the table ---- */

struct hub_forward *forward_find(struct hub *h, const char *id);
/* Takes spec. The forward that was there already with the same target, or a new one, which
 * listens or waits. On failure there is none. id: of the store, or NULL. */
int forward_add(struct hub *h, struct forward_spec *spec, const char *id, struct hub_forward **ret,
		struct tl_err *err);
/* Ends its connections, too. */
void forward_remove(struct hub_forward *f);
/* Tells the subscribers of the host, once for all changes of this turn. */
void forward_changed(struct hub *h, const char *host);
/* Its phase: connected, away, given up. */
const char *forward_state(const struct hub_forward *f);
/* A connection of its own, counted. NULL: no memory. */
struct forward_conn *forward_conn_new(struct hub_forward *f, size_t size);
void forward_conn_free(struct forward_conn *c);
/* Hands fd to the host's streams: the connection lives until it has ended. Takes fd. */
void forward_conn_carry(struct forward_conn *c, int fd, const char *open_json,
			struct tl_bytes first);
/* The host, on its way if it was never tried. NULL: it cannot be reached now, err says why. */
struct hub_host *forward_host(struct hub_forward *f, struct tl_err *err);
/* Listeners of the host's forwards stop and go on as there is room. */
void forward_throttle(struct hub_forward *f);

/* ---- hub_forward_listen.c: listeners here ---- */

/* Opens the listener of a local or SOCKS forward on `port` or one near it; another one it had is
 * closed after. */
int forward_listen(struct hub_forward *f, int port, struct tl_err *err);
void forward_unlisten(struct hub_forward *f);
void forward_listen_pause(struct hub_forward *f, bool paused);
/* The address of its port, as it was asked for; NULL for a unix socket, or where it does not
 * listen.
 */
const char *forward_listen_address(const struct hub_forward *f);
/* The file of its unix socket, NULL for a port. */
const char *forward_listen_path(const struct hub_forward *f);

/* ---- hub_forward_here.c: hosts that are this machine ---- */

/* Would a connection to this forward come back to it? Only on a host that is this machine, where
 * the target's number is one of ours. */
bool forward_is_circle(const struct hub_forward *f);
/* Would it, if it listened on this address and port? */
bool forward_would_circle(const struct hub_forward *f, const char *address, int port);

/* ---- hub_forward_socks.c ---- */

/* A program has connected to a SOCKS forward. Takes fd. */
void forward_socks(struct hub_forward *f, int fd);

/* ---- hub_forward_remote.c: listeners on the host ---- */

/* Asks the host to listen, unless it was asked. */
void forward_remote_open(struct hub_forward *f);
bool forward_remote_answered(const struct hub_forward *f);
/* tell: the session lives, and the host shall stop to listen. */
void forward_remote_close(struct hub_forward *f, bool tell);

/* ---- hub_forward_json.c ---- */

void forward_spec_fini(struct forward_spec *s);
/* From ForwardSpec; TL_E_INVAL with a sentence. On failure ret is empty. */
int forward_spec_parse(yyjson_val *v, struct forward_spec *ret, struct tl_err *err);
/* The texts of forward/update, checked; free ret. */
int forward_spec_check_update(yyjson_val *v, struct forward_spec *ret, struct tl_err *err);
/* ForwardSpec for the store. */
yyjson_mut_val *forward_spec_json(const struct hub_forward *f, yyjson_mut_doc *doc);
/* ForwardInfo. */
yyjson_mut_val *forward_info_json(const struct hub_forward *f, yyjson_mut_doc *doc);
/* "localhost:80", "[::1]:80" or a path, for messages. */
void forward_target_text(const struct forward_spec *s, char *out, size_t n);
/* {"open":"direct-tcpip",…} to a place on the host; malloc'ed, NULL: no memory. */
char *forward_open_json(const char *host, int port, const char *path);

/* ---- hub_forward_methods.c ---- */

/* A listener on the host is there or failed: answers who waits for it. True when that ended the
 * forward. */
bool forward_answer(struct hub_forward *f);

/* ---- hub_forward_store.c ---- */

void forward_store(struct hub *h);
/* Is it written down? */
bool forward_is_kept(const struct hub_forward *f);

/* ---- hub_forward_config.c: forwards of the ssh configuration and of the settings ---- */

/* The host is connected for the first time, or again after it was closed. */
void forward_config_begin(struct hub_host *hh);
void forward_config_cancel(struct hub_host *hh);

/* ---- hub_settings.c ---- */

/* The user's settings as a document (settings.json with comments and trailing commas); NULL: none.
 * Free with yyjson_doc_free. */
yyjson_doc *settings_read(struct hub *h);
/* A setting by its whole name ("remote.localPortHost"), NULL where it is not set. */
yyjson_val *settings_get(yyjson_doc *doc, const char *name);

#endif
