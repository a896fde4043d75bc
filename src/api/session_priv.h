/* session_priv.h - the inside of a session and the contract of its two back ends. Only for
 * session*.c of this room. */
#ifndef TL_API_SESSION_PRIV_H
#define TL_API_SESSION_PRIV_H

#include <pthread.h>

#include "api/session.h"
#include "base/str.h"

/* What is known about the connection; all malloc'ed or NULL. */
struct session_facts {
	char *user, *address, *jump, *identity, *auth_method, *sha256, *sha1;
	char *host_key_type, *cipher, *kex, *server_version, *platform, *home;
	char *host; /* HostName as ssh resolved it */
	int port;
	bool asked_config, asked_host; /* ssh -G, host/info */
};

/* A way to a host. */
struct session_back {
	const char *via;
	/* as session_open_answered */
	int (*open)(struct tl_session *s, const char *open_json, struct tl_cancel *cancel,
		    uint64_t deadline_ms, int *ret_fd, char **ret_ok, struct tl_err *err);
	/* as session_carry and session_carry_end; NULL: this way cannot */
	int (*carry)(struct tl_session *s, struct session_carrier *carrier, void *ctx, int fd,
		     const char *open_json, struct tl_bytes first, struct tl_err *err);
	void (*carry_end)(struct tl_session *s, struct session_carrier *carrier);
	/* 0 while the connection lives */
	int (*lost)(struct tl_session *s, struct tl_err *err);
	/* ends it and frees what is its own */
	void (*close)(struct tl_session *s);
	/* what keeps our program from running there; NULL: nothing, it runs */
	const char *(*plain_why)(struct tl_session *s);
	/* as session_sh; NULL: our program is there */
	int (*sh)(struct tl_session *s, struct tl_bytes lines, struct strv *argv,
		  struct tl_err *err);
	/* as session_lane; NULL: it has none */
	int (*lane)(struct tl_session *s, const char *command, struct strv *argv,
		    struct tl_err *err);
};

struct session_own; /* session_own.h */

/* A copy of the caller's options that lives as long as the session. */
struct session_options {
	char *config_file, *key_file, *ssh_program;
	struct strv ssh_options;
	int port, timeout_ms, verbosity;
	enum tl_via via;
	tl_prompt_fn *prompt;
	tl_log_fn *log;
	void *ctx;
	struct tl_cancel *cancel; /* borrowed; NULL as soon as tl_connect has ended */
};

struct tl_session {
	const struct session_back *back;
	char *host; /* as the caller wrote it */
	struct session_options opt;
	pthread_mutex_t lock; /* facts and users */
	struct list users;    /* struct session_user */
	struct session_facts facts;
	int slots;                          /* eventfd: free places for commands */
	char *daemon_host;                  /* the daemon's name for it */
	char daemon_plain_why[TL_ERR_TEXT]; /* why it is served without a server of ours; "" */
	struct session_own *own;
};

/* Connect a session that has host and options and set back. */
int session_daemon_connect(struct tl_session *s, bool only_ready, struct tl_err *err);
int session_own_connect(struct tl_session *s, struct tl_err *err);

/* Asks the caller's function; 0 and a malloc'ed answer, or TL_E_CANCELED. The answer is wiped by
 * who takes it. */
int session_prompt(struct tl_session *s, enum tl_prompt_kind kind, const char *text, int attempt,
		   char **ret_answer);
void session_facts_fini(struct session_facts *f);

#endif
