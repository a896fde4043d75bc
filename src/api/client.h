/* client.h - a program's door to towlined: blocking JSON-RPC on the control socket, and raw
 * streams. One struct api_client is one control connection; not thread-safe. Prompts and progress
 * arrive through the callbacks while a call waits. */
#ifndef TL_API_CLIENT_H
#define TL_API_CLIENT_H

#include "wire/jsonrpc.h"

struct api_client;

/* How a program answers ssh's questions and shows progress. Every member may be NULL (questions are
 * then canceled). */
struct api_ui {
	/* kind, text, echo and attempt as in prompt/ask. Answer malloc'ed into *ret_answer, or
	 * TL_E_CANCELED. */
	int (*prompt)(void *ctx, const char *host, const char *kind, const char *text, bool echo,
		      int attempt, char **ret_answer);
	void (*progress)(void *ctx, const char *host, const char *step, const char *text,
			 int64_t done, int64_t total);
	/* every other notification */
	void (*notify)(void *ctx, const struct jsonrpc_msg *m);
	/* While a call waits: a descriptor to watch beside (-1: none just now), and what to do when
	 * it can be read; not 0 ends the call with that error, and the client must be closed. Both
	 * or none. */
	int (*watch_fd)(void *ctx);
	int (*watched)(void *ctx, struct tl_err *err);
	void *ctx;
};

/* Connects to this user's daemon; start: launches towlined (found beside our own executable, else
 * on PATH) and waits until it listens. Errors: TL_E_NODAEMON (not running and start false, or it
 * did not come up: text has the end of its log), TL_E_PORT, TL_E_ACCES. */
int api_client_open(struct api_client **ret, bool start, const struct api_ui *ui,
		    struct tl_err *err);
void api_client_close(struct api_client *c);
/* 0, or TL_E_VERSION: an older daemon still runs (api_client_open with start checks by itself). */
int api_client_same_version(const struct api_client *c, struct tl_err *err);
/* Calls a DAEMON method. params: consumed, may be NULL. *ret must be freed with jsonrpc_fini; its
 * result member is the answer. */
int api_client_call(struct api_client *c, const char *method, yyjson_mut_doc *params,
		    struct jsonrpc_msg *ret, struct tl_err *err);
/* Most time each later call may take, TL_E_TIMEOUT beyond; -1 (the beginning): no end. */
void api_client_limit(struct api_client *c, int timeout_ms);
/* Waits for notifications only, at most timeout_ms (-1: for ever). 0, TL_E_TIMEOUT, TL_E_CLOSED. */
int api_client_wait(struct api_client *c, int timeout_ms, struct tl_err *err);
/* For poll: readable when api_client_wait may have something to do. It may also have it without:
 * wait with 0 until TL_E_TIMEOUT first. */
int api_client_fd(const struct api_client *c);
/* host/connect with the options of the command line; ret_host: canonical name (malloc'ed). */
struct api_host_options {
	const char *config_file;       /* -F */
	const char *const *identities; /* -i, NULL-terminated or NULL */
	int port;                      /* -p, 0 none */
	const char *const *options;    /* -o, NULL-terminated or NULL */
};
int api_client_connect_host(struct api_client *c, const char *host,
			    const struct api_host_options *o, char **ret_host, struct tl_err *err);
/* Opens a stream on a connected host over a connection of its own: a blocking descriptor that
 * carries only the stream's bytes. open_json: the stream opening object without LF, for instance
 * {"open":"sftp"}. */
int api_stream_open(const char *host, const char *open_json, int *ret_fd, struct tl_err *err);
/* The two halves of it, for someone who waits for the answer (readable *ret_fd) in his own way.
 * answer: ret_ok (may be NULL) gets the host's answer as JSON text, malloc'ed; the descriptor stays
 * the caller's in any case. */
int api_stream_begin(const char *host, const char *open_json, int *ret_fd, struct tl_err *err);
int api_stream_answer(int fd, char **ret_ok, struct tl_err *err);

/* $XDG_RUNTIME_DIR/towline/control.sock and friends; false when a path is too long. */
bool api_control_path(char *out, size_t n);
bool api_state_dir(char *out, size_t n);  /* $XDG_STATE_HOME/towline */
bool api_config_dir(char *out, size_t n); /* $XDG_CONFIG_HOME/towline */

#endif
