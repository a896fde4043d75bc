/* dial.h - one attempt to reach a host: ssh child, clean start, installation, running agent; then a
 * transport. Owns the child (own process group) and the prompt socket. Everything happens on the
 * loop thread through callbacks. A dial is used once: dial_start -> progress*, prompt*, then
 * exactly one of on_up, on_login and on_failed; after the first two exactly one on_down. */
#ifndef TL_DIAL_DIAL_H
#define TL_DIAL_DIAL_H

#include "base/bytes.h"
#include "loop/loop.h"

struct dial;
struct dial_prompt; /* a question of ssh that waits for an answer */

enum dial_kind { DIAL_SSH, DIAL_LOCAL };

/* Whom to reach. Deep-copied by dial_start. host "local:" prefix is mapped to DIAL_LOCAL by
 * dial_target_parse. */
struct dial_target {
	enum dial_kind kind;
	const char *
	    host; /* alias, host, user@host, ssh://user@host:port, [v6]:port form as ssh takes it */
	const char *config_file;       /* -F, or NULL */
	const char *const *identities; /* -i, NULL-terminated, or NULL */
	int port;                      /* -p, 0 none */
	const char *const *options;    /* -o, NULL-terminated, or NULL */
	const char *install_path;      /* on the host; NULL: ~/.towline-server */
	bool private_server; /* the server runs for this connection only and leaves nothing: an
				installed program is used where there is one, else a private copy */
	const char
	    *errand;      /* not NULL: no server is started; the installed one is asked this (a verb
			     of `towline-host server`), and what it says comes with on_report */
	int errand_lines; /* of its log */
	const char *control_path; /* ssh becomes a master connection of its own there; NULL: the
				     user's is used where there is one */
	bool keep_login;          /* with control_path: where the server cannot run the login stays
				     (on_login) */
	bool login_only; /* with control_path: no server is wanted, only the login (on_login) */
	bool no_agent;   /* the key agent is not forwarded, whatever the configuration says */
	bool reconnect;  /* an attempt that would ask for a host key is refused */
};

/* Where the daemon's own things are. */
struct dial_env {
	const char *ssh_path;     /* "ssh" or the one of the settings */
	const char *askpass_path; /* absolute path of towline-askpass */
	const char *runtime_dir;  /* private 0700 folder for prompt sockets */
	const char *notes_dir;    /* private folder that stays; NULL: nothing is remembered */
	const char *host_bin_dir; /* holds towline-host-<arch>, .gz, .sha256 */
	uint64_t connect_ms; /* total deadline; stands still while a prompt waits for a person */
};

enum dial_prompt_kind {
	DIAL_PROMPT_HOSTKEY,
	DIAL_PROMPT_PASSPHRASE,
	DIAL_PROMPT_PASSWORD,
	DIAL_PROMPT_QUESTION,
	DIAL_PROMPT_PIN,
	DIAL_PROMPT_TOUCH
};

struct dial_callbacks {
	/* step: "ssh", "probe", "install", "start", "link"; text for people; total 0 where unknown
	 */
	void (*on_progress)(void *ctx, const char *step, const char *text, int64_t done,
			    int64_t total);
	/* Answer with dial_prompt_answer, now or later. */
	void (*on_prompt)(void *ctx, struct dial_prompt *p, enum dial_prompt_kind kind,
			  const char *text, bool echo, int attempt);
	/* ssh ended the question by itself (touched, timed out): forget p. */
	void (*on_prompt_gone)(void *ctx, struct dial_prompt *p);
	/* The transport is there: the callee owns rfd and wfd from now; early: link bytes that were
	 * read already. */
	void (*on_up)(void *ctx, int rfd, int wfd, struct tl_bytes early);
	/* Only with errand, instead of on_up: the answer as JSON text; installed false: there is no
	 * server on the host (text is empty). No callback comes after it. */
	void (*on_report)(void *ctx, bool installed, struct tl_bytes text);
	/* Something a person should know although the connection is there. */
	void (*on_notice)(void *ctx, const char *text);
	/* Only with keep_login and login_only: there is no transport, but the master connection is
	 * there. why: what keeps the server from running; code 0 where nobody asked for it. */
	void (*on_login)(void *ctx, const struct tl_err *why);
	/* The attempt failed; err says what, why, and with err_message what to do. No callback
	 * comes after it. */
	void (*on_failed)(void *ctx, const struct tl_err *err);
	/* After on_up and on_login: ssh or the bridge ended. err: reason as far as known. No
	 * callback comes after it. */
	void (*on_down)(void *ctx, const struct tl_err *err);
	/* One line of ssh's standard error or of our own steps, for the log. */
	void (*on_log)(void *ctx, const char *line);
	void *ctx;
};

/* Checks a host as the user wrote it and sets kind and host (borrowed) of an otherwise empty
 * target. 0 or TL_E_INVAL. */
int dial_target_parse(const char *host, struct dial_target *ret, struct tl_err *err);

/* Starts an attempt. NULL and err when nothing could be started (then no callback comes; callbacks
 * never come before this returns). With t->reconnect BatchMode is not forced: prompts still come,
 * but an attempt that would ask for a host key again is refused. The caller closes the dial, also
 * after on_failed and on_down, inside of callbacks too. */
struct dial *dial_start(struct loop *l, const struct dial_target *t, const struct dial_env *env,
			const struct dial_callbacks *cb, struct tl_err *err);
/* Is it a failure of a host that may serve well without our server? */
bool dial_is_about_server(int code);
/* With keep_login, before any other end, once ssh is in: the login is wanted as it is, because of
 * why: on_login comes before this returns. */
void dial_keep(struct dial *d, const struct tl_err *why);
/* answer NULL: cancel (ends the attempt with TL_E_CANCELED). The text is wiped after use. */
void dial_prompt_answer(struct dial_prompt *p, const char *answer);
/* Ends the child and frees everything; no callback comes any more. */
void dial_close(struct dial *d);
/* The login shell printed something before our marker: what runs on a channel of its own may find
 * such bytes before its own. */
bool dial_heard_noise(const struct dial *d);

/* Aliases of the ssh config for pickers: malloc'ed strings into out (patterns left out, Include
 * followed). config_file NULL: ~/.ssh/config. */
struct strv;
int dial_configured_hosts(const char *config_file, struct strv *ret, struct tl_err *err);

/* Reconnection pauses: 0, 1, 2, 4 … BACKOFF_MAX_MS with jitter. Pure. */
struct backoff {
	unsigned tries;
	uint32_t seed;
};
uint64_t backoff_next_ms(struct backoff *b);
void backoff_reset(struct backoff *b);

#endif
