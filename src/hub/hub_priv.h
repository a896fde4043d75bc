/* hub_priv.h - what the files of this room share. Not for others. */
#ifndef TL_HUB_PRIV_H
#define TL_HUB_PRIV_H

#include "base/limits.h"
#include "base/list.h"
#include "base/str.h"
#include "dial/conn_relay.h"
#include "dial/dial.h"
#include "dial/master.h"
#include "edge/edge.h"
#include "hub/hub.h"
#include "dial/pump.h"
#include "loop/child.h"
#include "wire/jsonrpc.h"

enum host_phase {
	HOST_DISCONNECTED,
	HOST_CONNECTING,
	HOST_CONNECTED,
	HOST_RECONNECTING,
	HOST_FAILED
};

/* Where the user's settings want the server on this host (remote.SSH.serverInstallPath, the first
 * pattern that fits): malloc'ed, NULL for the usual place. TL_E_INVAL where the setting makes no
 * sense. In hub_settings.c. */
int settings_install_path(struct hub *h, const char *host, char **ret, struct tl_err *err);
struct hub_host;
/* How ssh is used, from the settings (remote.SSH.path, configFile, connectTimeout,
 * enableAgentForwarding), into the record; what makes no sense there is logged and left out. */
void settings_reach(struct hub_host *hh);
/* The file in remote.SSH.configFile, absolute and malloc'ed; NULL: ~/.ssh/config. */
char *settings_config_file(struct hub *h);
/* The ssh program: remote.SSH.path, else the daemon's own choice; malloc'ed, NULL: out of memory.
 */
char *settings_ssh_path(struct hub *h);
/* How often a lost connection is tried again (remote.SSH.maxReconnectionAttempts); INT_MAX: until
 * it works. */
int settings_reconnections(struct hub *h);

/* How to reach a host, owned. */
struct host_options {
	char *config_file;
	struct strv identities, options;
	int port;
};

struct hub_host;

#define HOST_ANSWERS 4

/* What a host without our program needs (hub_plain.c). */
struct host_plain {
	char dir[TL_LIMIT_PATH],
	    ctl[TL_LIMIT_PATH]; /* private folder, its control socket; "": none */
	bool tried;             /* our program does not run there, because of why */
	bool serving;           /* the session's other end is the stand-in */
	bool files_only;        /* it said so by itself */
	struct tl_err why;
	bool spoken; /* this attempt's login shell said something */
	int silent_turns;
	struct loop_timer patience;
	struct master_silent silent;
	struct child child; /* the stand-in */
	/* secrets a person gave to the first login, for the second one of the same connection */
	struct plain_answer {
		char *text, *answer;
	} answers[HOST_ANSWERS];
	size_t n_answers;
	void (*on_closed)(struct hub_host *hh);
};

/* One host: at most one session to it. Owned by hub.hosts. */
struct hub_host {
	struct list node;
	struct hub *hub;
	char *name;
	struct host_options opts;
	char *set_config, *set_ssh; /* of the settings, NULL: as usual; read at each start */
	int set_connect_ms;         /* 0: the usual deadline */
	int failures;       /* attempts in a row that could not make a lost connection again */
	bool no_agent;      /* no forwarding of the key agent, whatever the configuration says */
	char *install_path; /* on the host, NULL: the usual place; stays while there is a session */
	enum host_phase phase;
	int generation;
	uint64_t since_ms;    /* wall clock of the last change of phase */
	uint64_t retry_at_ms; /* monotonic; 0 none */
	struct dial *dial;
	struct session *session;
	struct pump pump;
	struct backoff backoff;
	struct loop_timer retry;
	struct tl_err last;        /* why it is not connected */
	char *info;                /* HostInfo as JSON text */
	bool here;                 /* its loopback is ours: the host is this machine */
	struct list waiters;       /* host/connect requests not answered yet: struct host_waiter */
	struct list prompts;       /* struct host_prompt */
	struct list relays;        /* struct hub_relay */
	struct hub_rpc *rpc;       /* the agent's rpc stream, while there is a session */
	struct conn_relays conns;  /* connections of forwards */
	struct hub_errand *errand; /* of hub_server.c, instead of a connection */
	char *notice;              /* what a person should know of the connection, or NULL */
	struct ssh_forwards_query *config_query; /* reads the forwards of the ssh configuration */
	bool config_done;                        /* or has read them */
	bool closing, was_connected;
	bool stopping; /* its server ends because a person wants it: no reconnection */
	struct host_plain plain;
};

struct host_waiter {
	struct list node;
	struct hub_client *client;
	char *id; /* raw JSON of the request id */
};

struct host_prompt {
	struct list node;
	struct hub_host *host;
	struct dial_prompt *dial_prompt;
	enum dial_prompt_kind kind;
	char *text;
	bool echo;
	int attempt;
	struct hub_client *asked; /* NULL: nobody yet */
	int64_t rpc_id;
};

/* A connection of edge. */
struct hub_client {
	struct list node;
	struct hub *hub;
	struct edge_client *edge;
	struct strv subscribed;  /* host names */
	struct hub_relay *relay; /* in stream mode */
	struct list calls;       /* struct hub_call waiting for this client's sake (hub_rpc.c) */
	uint64_t used;           /* grows with every request of any client: who was used last */
};

struct hub {
	struct loop *loop;
	struct hub_config cfg;
	struct edge *edge;
	struct list hosts, clients;
	struct hub_forwards *forwards; /* NULL once they are closed */
	struct list config_works;      /* of hub_config.c, waiting for ssh */
	struct list gateways;          /* struct hub_gateway */
	uint64_t uses;                 /* see hub_client.used */
	int64_t next_id;
	char token[33];
	uint64_t started_ms;
	void (*stop)(void *ctx);
	void *stop_ctx;
	void (*on_closed)(void *ctx);
	void *closed_ctx;
	int open_parts; /* closes still under way */
	bool closing;
};

/* hub_host.c */
struct hub_host *host_find(struct hub *h, const char *name);
extern const char *const host_phase_names[]; /* by enum host_phase */
/* Finds or makes the record; opts NULL: those remembered from last time. TL_E_HOSTBUSY when
 * connected with others. */
int host_get(struct hub *h, const char *name, yyjson_val *opts, struct hub_host **ret,
	     struct tl_err *err);
/* Starts an attempt unless one is under way or the host is connected. */
void host_start(struct hub_host *hh);
void host_retry_now(struct hub_host *hh);
/* Ends the session on purpose. */
void host_disconnect(struct hub_host *hh, const struct tl_err *why);
void host_free(struct hub_host *hh);
void host_set_phase(struct hub_host *hh, enum host_phase phase, const struct tl_err *why);
/* Answers all waiters. */
void host_answer_waiters(struct hub_host *hh, const struct tl_err *e);
/* HostState as an object of doc. */
yyjson_mut_val *host_state_json(const struct hub_host *hh, yyjson_mut_doc *doc);
void host_client_gone(struct hub_host *hh, struct hub_client *c);
void host_dial_callbacks(struct hub_host *hh, struct dial_callbacks *cb);

/* Whom to reach, as dial takes it; borrows from the record. */
struct dial_target host_target(const struct hub_host *hh);
struct dial_env host_dial_env(const struct hub_host *hh);
/* hub_plain.c */
void host_plain_init(struct hub_host *hh);
/* on_closed when nothing of it is left. */
void host_plain_close(struct hub_host *hh, void (*on_closed)(struct hub_host *hh));
/* How this attempt may end without our program: members of t. */
void host_plain_target(struct hub_host *hh, struct dial_target *t);
/* The login shell said something: it is no silent server. */
void host_plain_spoke(struct hub_host *hh);
/* The attempt failed: shall there be another one that wants no server of ours? */
bool host_plain_again(struct hub_host *hh, const struct tl_err *why);
/* The login is there, the program is not (why->code 0: as known). 0 and the transport to the
 * stand-in. */
int host_plain_serve(struct hub_host *hh, const struct tl_err *why, int *ret_fd,
		     struct tl_err *err);
/* A password or passphrase was given; the same question of the second login has its answer (NULL:
 * none), once. */
void host_plain_answered(struct hub_host *hh, enum dial_prompt_kind kind, const char *text,
			 const char *answer);
const char *host_plain_answer(struct hub_host *hh, enum dial_prompt_kind kind, const char *text,
			      int attempt);
/* The host is connected: what was answered on the way is not needed any more. */
void host_plain_connected(struct hub_host *hh);
/* The attempt or the session is over; forget: what was found out as well. */
void host_plain_stop(struct hub_host *hh);
void host_plain_forget(struct hub_host *hh);
/* Folders of a daemon that was killed. */
void host_plain_sweep(struct hub *h);

/* hub_options.c */
void options_fini(struct host_options *o);
/* From HostOptions of proto/types.d.ts. 0 or TL_E_INVAL; on failure ret is empty. */
int options_parse(yyjson_val *v, struct host_options *ret);
bool options_equal(const struct host_options *a, const struct host_options *b);

/* hub_prompt.c */
void prompt_ask(void *ctx, struct dial_prompt *p, enum dial_prompt_kind kind, const char *text,
		bool echo, int attempt);
void prompt_gone(void *ctx, struct dial_prompt *p);
/* A response of a client; true when it was an answer to a prompt. */
bool prompt_response(struct hub_client *c, const struct jsonrpc_msg *m);
/* Offers unasked prompts to somebody; cancels those that nobody can answer. */
void prompt_route(struct hub_host *hh);
void prompt_free_all(struct hub_host *hh);

/* hub_rpc.c: calls to the agent */
typedef void hub_rpc_done(void *ctx, const struct jsonrpc_msg *m, const struct tl_err *e);
/* Opens the rpc stream on the host's session. */
int rpc_open(struct hub_host *hh);
void rpc_close(struct hub_host *hh, const struct tl_err *why);
/* params: JSON text ({} when empty). done is called exactly once: with the answer's message or with
 * an error. client may be NULL; when it goes away, done is not called (ctx must then need no
 * freeing: it is freed with free()). */
void rpc_call(struct hub_host *hh, struct hub_client *client, const char *method,
	      struct tl_bytes params, hub_rpc_done *done, void *ctx);
void rpc_event(struct hub_host *hh, struct session_event *ev);
void rpc_client_gone(struct hub_client *c);

/* hub_url.c: the host asks to show a page (host/openUrl) */
void url_open(struct hub_host *hh, yyjson_val *params);

/* hub_relay.c: stream/open */
enum relay_state { RELAY_OPENING, RELAY_RUNNING, RELAY_DEAD };
struct hub_relay {
	struct pump_user user; /* of its stream */
	struct list node;      /* host's relays */
	struct hub_host *host;
	struct hub_client *client; /* NULL: gone */
	struct session_stream *stream;
	char *id;
	enum relay_state state;
	bool client_eof, host_eof;
	/* the daemon's own configuration folder instead of a host */
	struct relay_local *local;
};
void relay_open(struct hub_client *c, struct hub_host *hh, const char *id, yyjson_val *open);
void relay_open_userdata(struct hub_client *c, const char *id);
/* The session was lost for good: every stream of it breaks. */
void relay_break_all(struct hub_host *hh, int error);
size_t relay_client_data(struct hub_client *c, struct tl_bytes in);
void relay_client_eof(struct hub_client *c);
void relay_client_writable(struct hub_client *c);
void relay_client_gone(struct hub_client *c);

/* hub_forward.c and its parts: what the rest of the room tells the forwards */
int forwards_open(struct hub *h);
/* Those of last time. */
void forwards_restore(struct hub *h);
void forwards_close(struct hub *h);
/* Its phase has changed. */
void forward_host_phase(struct hub_host *hh);
/* Its session, with all streams, is lost for good. */
void forward_session_lost(struct hub_host *hh, const struct tl_err *why);
/* HostInfo: is the host this very machine, with the same loopback? */
bool forward_host_is_here(yyjson_val *info);
/* A person closed it: nothing brings it back by itself. */
void forward_host_closed(struct hub *h, const char *host);
/* Its record goes. */
void forward_config_cancel(struct hub_host *hh);
void forward_client_gone(struct hub_client *c);

/* hub_gateway.c: ports for Jupyter clients */
/* Those of last time. */
void gateways_restore(struct hub *h);
void gateways_close(struct hub *h);
/* Its phase has changed. */
void gateway_host_phase(struct hub_host *hh);
/* A person closed it: requests bring it back no more. */
void gateway_host_closed(struct hub *h, const char *host);
/* Its session, with all streams, is lost for good. */
void gateway_session_lost(struct hub_host *hh);

/* A request on its way; id is raw JSON text, owned by the dispatcher. */
struct call {
	struct hub_client *c;
	struct hub *h;
	const char *id;
	yyjson_val *params;
};
void m_forward_add(struct call *k);
void m_forward_remove(struct call *k);
void m_forward_list(struct call *k);
void m_forward_update(struct call *k);
void m_gateway_start(struct call *k);
void m_gateway_stop(struct call *k);
void m_gateway_list(struct call *k);

/* hub_known.c: hosts of the ssh configuration and those that were connected */
void m_host_known(struct call *k);
void m_host_folder(struct call *k);
void m_host_forget(struct call *k);
/* It is connected: its facts are remembered. */
void known_connected(struct hub_host *hh);
/* A folder of it was opened. */
void known_folder(struct hub *h, const char *host, const char *path);
/* Everything remembered of it goes. False where there was nothing. */
bool known_forget(struct hub *h, const char *host);

/* hub_server.c: what is installed and runs on a host, connected or not */
void m_server_status(struct call *k);
void m_server_kill(struct call *k);
void m_server_uninstall(struct call *k);
void m_server_log(struct call *k);
struct hub_client *errand_client(const struct hub_host *hh);
void errand_client_gone(struct hub_client *c);
/* Its record goes, or a connection begins: an errand under way is given up. */
void errand_cancel(struct hub_host *hh, const struct tl_err *why);

/* hub_config.c: hosts written to and taken from the ssh configuration */
void m_host_add(struct call *k);
void m_host_remove(struct call *k);
void m_host_show(struct call *k);
void config_client_gone(struct hub_client *c);
void config_close(struct hub *h);

/* hub_config_file.c: the files of the ssh configuration as texts */
void m_config_read(struct call *k);
void m_config_write(struct call *k);

/* hub_methods.c */
void method_dispatch(struct hub_client *c, const struct jsonrpc_msg *m);

/* hub_store.c: what survives the daemon */
int store_token(struct hub *h, struct tl_err *err);
void store_ports(struct hub *h, int *ret_port, int *ret_frame_port);
void store_save_ports(struct hub *h);
/* A small file of the state folder: malloc'ed text, or NULL. */
char *store_read(struct hub *h, const char *file);
int store_write(struct hub *h, const char *file, struct tl_bytes b, struct tl_err *err);
/* All that is remembered of hosts, by name, least recent first: the options of each, and under
 * "record" what was (hub_known.c). NULL: nothing. */
yyjson_doc *store_hosts(struct hub *h);
/* Makes the new entry (NULL: none any more) from the old one (may be NULL), which becomes the most
 * recent. edit NULL: forgets the host. */
typedef yyjson_mut_val *store_edit_fn(void *ctx, yyjson_mut_doc *doc, yyjson_val *old);
void store_edit_host(struct hub *h, const char *name, store_edit_fn *edit, void *ctx);
/* Options remembered for a host as JSON text (malloc'ed), or NULL. */
char *store_host_options(struct hub *h, const char *name);
void store_save_host(struct hub_host *hh);
yyjson_mut_val *options_json(const struct host_options *o, yyjson_mut_doc *doc);

/* hub.c */
void client_reply_err(struct hub_client *c, const char *id, const struct tl_err *e);
/* result consumed; NULL: {} */
void client_reply(struct hub_client *c, const char *id, yyjson_mut_doc *result);
void client_reply_text(struct hub_client *c, const char *id, struct tl_bytes result);
void client_notify(struct hub_client *c, const char *method, struct tl_bytes params);
/* To every client that subscribed to the host. */
void hub_notify_host(struct hub_host *hh, const char *method, yyjson_mut_doc *params);
/* The same by name, for a host that may have no record. */
void hub_notify_name(struct hub *h, const char *host, const char *method, yyjson_mut_doc *params);
bool client_subscribed(const struct hub_client *c, const char *host);
/* The request id as raw JSON text, malloc'ed. */
char *id_text(yyjson_val *id);

#endif
