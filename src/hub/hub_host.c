/* hub_host.c - the life of one host: connect, resume, lose, reconnect, end.
 *
 * phase        what exists
 * DISCONNECTED nothing
 * CONNECTING   a dial, or a transport whose HELLO or first facts are still awaited
 * CONNECTED    session, pump bound, rpc stream, facts
 * RECONNECTING session (streams wait in it), a dial or the retry timer
 * FAILED       nothing; last says why and waits for a person */
#include "hub/hub_priv.h"

#include <stdlib.h>

#include "base/log.h"

const char *const host_phase_names[] = {"disconnected", "connecting", "connected", "reconnecting",
					"failed"};

struct hub_host *host_find(struct hub *h, const char *name)
{
	LIST_FOREACH (it, &h->hosts) {
		struct hub_host *hh = list_entry(it, struct hub_host, node);
		if (strcmp(hh->name, name) == 0)
			return hh;
	}
	return NULL;
}

yyjson_mut_val *host_state_json(const struct hub_host *hh, yyjson_mut_doc *doc)
{
	yyjson_mut_val *o = yyjson_mut_obj(doc);
	uint64_t now = clock_mono_ms();

	yyjson_mut_obj_add_strcpy(doc, o, "host", hh->name);
	yyjson_mut_obj_add_str(doc, o, "phase", host_phase_names[hh->phase]);
	yyjson_mut_obj_add_int(doc, o, "generation", hh->generation);
	yyjson_mut_obj_add_uint(doc, o, "sinceMs", hh->since_ms);
	yyjson_mut_obj_add_uint(doc, o, "streams",
				hh->session ? session_stream_count(hh->session) : 0);
	if (hh->retry_at_ms)
		yyjson_mut_obj_add_uint(doc, o, "retryInMs",
					hh->retry_at_ms > now ? hh->retry_at_ms - now : 0);
	if (hh->session && session_rtt_us(hh->session))
		yyjson_mut_obj_add_real(doc, o, "rttMs", session_rtt_us(hh->session) / 1000.0);
	if (hh->session) {
		uint64_t heard = session_last_heard_ms(hh->session);
		yyjson_mut_obj_add_uint(doc, o, "silentMs", heard && heard < now ? now - heard : 0);
	}
	if (hh->notice && hh->phase == HOST_CONNECTED)
		yyjson_mut_obj_add_strcpy(doc, o, "notice", hh->notice);
	if (hh->last.code && hh->phase != HOST_CONNECTED) {
		const struct tl_error_row *row = err_row(hh->last.code);
		yyjson_mut_val *e = yyjson_mut_obj_add_obj(doc, o, "error");
		char text[TL_ERR_TEXT + 256];
		yyjson_mut_obj_add_int(doc, e, "code", row->rpc_code);
		yyjson_mut_obj_add_str(doc, e, "name", row->name);
		yyjson_mut_obj_add_strcpy(doc, e, "message",
					  err_message(&hh->last, text, sizeof(text)));
	}
	if (hh->info) {
		yyjson_doc *info = yyjson_read(hh->info, strlen(hh->info), 0);
		if (info)
			yyjson_mut_obj_add_val(doc, o, "info",
					       yyjson_val_mut_copy(doc, yyjson_doc_get_root(info)));
		yyjson_doc_free(info);
	}
	return o;
}

static void notify_state(struct hub_host *hh)
{
	yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);

	if (!doc)
		return;
	yyjson_mut_doc_set_root(doc, host_state_json(hh, doc));
	hub_notify_host(hh, "host/state", doc);
}

void host_set_phase(struct hub_host *hh, enum host_phase phase, const struct tl_err *why)
{
	char text[TL_ERR_TEXT + 256];

	if (why)
		hh->last = *why;
	if (phase == HOST_CONNECTED)
		memset(&hh->last, 0, sizeof(hh->last));
	if (hh->phase != phase) {
		hh->since_ms = clock_wall_ms();
		log_line(LOG_INFO, hh->name, "%s%s%s", host_phase_names[phase], why ? ": " : "",
			 why ? err_message(why, text, sizeof(text)) : "");
	}
	hh->phase = phase;
	notify_state(hh);
	forward_host_phase(hh);
	gateway_host_phase(hh);
}

void host_answer_waiters(struct hub_host *hh, const struct tl_err *e)
{
	LIST_FOREACH_SAFE (it, &hh->waiters) {
		struct host_waiter *w = list_entry(it, struct host_waiter, node);
		struct buf b;

		list_del(it);
		buf_init(&b, TL_LIMIT_RPC_MESSAGE);
		if (e)
			client_reply_err(w->client, w->id, e);
		else if (buf_printf(&b, "{\"host\":\"%s\",\"info\":%s}", hh->name,
				    hh->info ? hh->info : "{}") == 0)
			client_reply_text(w->client, w->id, buf_data(&b));
		buf_fini(&b);
		free(w->id);
		free(w);
	}
}

void host_client_gone(struct hub_host *hh, struct hub_client *c)
{
	LIST_FOREACH_SAFE (it, &hh->waiters) {
		struct host_waiter *w = list_entry(it, struct host_waiter, node);
		if (w->client != c)
			continue;
		list_del(it);
		free(w->id);
		free(w);
	}
	LIST_FOREACH_SAFE (it2, &hh->prompts) {
		struct host_prompt *p = list_entry(it2, struct host_prompt, node);
		if (p->asked == c)
			p->asked = NULL;
	}
	prompt_route(hh);
	/* the only one who wanted a connection that is not there yet went away: stop asking the
	 * host */
	if (hh->phase == HOST_CONNECTING && list_empty(&hh->waiters) && !hh->session &&
	    hh->conns.count == 0) {
		struct tl_err e;
		bool watched = false;
		LIST_FOREACH (it3, &hh->hub->clients)
			watched =
			    watched ||
			    client_subscribed(list_entry(it3, struct hub_client, node), hh->name);
		if (!watched) {
			err_set(&e, TL_E_CANCELED, "the connection to %s was canceled", hh->name);
			host_disconnect(hh, &e);
		}
	}
}

static void session_drop(struct hub_host *hh, int error)
{
	struct tl_err e;

	if (!hh->session)
		return;
	err_set(&e, error, "the link to %s was lost", hh->name);
	rpc_close(hh, &e);
	relay_break_all(hh, error);
	forward_session_lost(hh, &e);
	gateway_session_lost(hh);
	pump_detach(&hh->pump);
	session_free(hh->session);
	hh->session = NULL;
}

static void stop_attempt(struct hub_host *hh)
{
	prompt_free_all(hh);
	if (hh->dial)
		dial_close(hh->dial);
	hh->dial = NULL;
	host_plain_stop(hh);
	timer_stop(&hh->retry);
	hh->retry_at_ms = 0;
}

void host_disconnect(struct hub_host *hh, const struct tl_err *why)
{
	if (hh->session && hh->pump.conn) {
		session_bye(hh->session, 0, "closed by the user");
		pump_kick(&hh->pump);
	}
	session_drop(hh, TL_E_CLOSED);
	stop_attempt(hh);
	host_plain_forget(hh);
	hh->was_connected = false;
	if (why)
		host_answer_waiters(hh, why);
	host_set_phase(hh, why && why->code != TL_E_CLOSED ? HOST_FAILED : HOST_DISCONNECTED, why);
}

/* Failures that trying again cannot cure, or that would bother a person again and again. */
static bool is_final(int code)
{
	return !err_row(code)->retryable && code != TL_E_RESOLVE && code != TL_E_SSH &&
	       code != TL_E_NOSHELL;
}

static void schedule_retry(struct hub_host *hh)
{
	uint64_t pause = backoff_next_ms(&hh->backoff);

	hh->retry_at_ms = clock_mono_ms() + pause;
	timer_start(&hh->retry, pause);
}

/* The transport is gone while a session lives: its streams wait. */
static void begin_reconnect(struct hub_host *hh, const struct tl_err *why)
{
	if (hh->phase == HOST_RECONNECTING && hh->dial)
		return;
	if (hh->stopping) {
		host_disconnect(hh, NULL);
		return;
	}
	host_set_phase(hh, HOST_RECONNECTING, why);
	schedule_retry(hh);
	notify_state(hh);
}

static void attempt_failed(struct hub_host *hh, const struct tl_err *e)
{
	struct tl_err why = *e;
	bool again = hh->was_connected && !is_final(why.code) &&
		     ++hh->failures <= settings_reconnections(hh->hub);

	if (hh->stopping) {
		host_disconnect(hh, NULL);
		return;
	}
	stop_attempt(hh);
	if (again) {
		host_set_phase(hh, HOST_RECONNECTING, &why);
		schedule_retry(hh);
		notify_state(hh);
		return;
	}
	session_drop(hh, TL_E_CLOSED);
	host_plain_forget(hh);
	hh->was_connected = false;
	host_answer_waiters(hh, &why);
	host_set_phase(hh, HOST_FAILED, &why);
}

/* The stand-in lives no longer than its connection: nothing of its session can be resumed. */
static void drop_plain(struct hub_host *hh)
{
	if (!hh->plain.serving)
		return;
	host_plain_stop(hh);
	session_drop(hh, TL_E_CLOSED);
}

static void on_dial_failed(void *ctx, const struct tl_err *err)
{
	struct hub_host *hh = ctx;
	struct tl_err e = *err;

	if (host_plain_again(hh, &e)) {
		stop_attempt(hh);
		host_start(hh);
	} else {
		attempt_failed(hh, &e);
	}
}

static void on_dial_down(void *ctx, const struct tl_err *err)
{
	struct hub_host *hh = ctx;
	struct tl_err e = *err;

	pump_unbind(&hh->pump);
	prompt_free_all(hh);
	dial_close(hh->dial);
	hh->dial = NULL;
	if (!hh->session || hh->closing)
		return;
	drop_plain(hh);
	if (hh->was_connected)
		begin_reconnect(hh, &e);
	else
		attempt_failed(hh, &e);
}

/* The bytes ended before ssh did: give ssh a moment to say why, then start anew. */
static void on_pump_lost(void *ctx)
{
	struct hub_host *hh = ctx;

	if (hh->plain.serving && !hh->was_connected) {
		struct tl_err e;
		err_set(&e, TL_E_AGENT, "cannot serve %s: the stand-in for its server ended",
			hh->name);
		attempt_failed(hh, &e);
		return;
	}
	drop_plain(hh);
	if (hh->dial) {
		hh->retry_at_ms = clock_mono_ms() + 300;
		timer_start(&hh->retry, 300);
	}
	if (hh->was_connected && hh->phase != HOST_RECONNECTING) {
		struct tl_err e;
		err_set(&e, TL_E_CLOSED, "the connection to %s broke", hh->name);
		host_set_phase(hh, HOST_RECONNECTING, &e);
	}
}

static void on_info(void *ctx, const struct jsonrpc_msg *m, const struct tl_err *e)
{
	struct hub_host *hh = ctx;

	if (e) {
		struct tl_err copy = *e;
		if (hh->session)
			attempt_failed(hh, &copy);
		return;
	}
	free(hh->info);
	hh->info = yyjson_val_write(m->result, 0, NULL);
	hh->here = forward_host_is_here(m->result);
	hh->generation++;
	hh->was_connected = true;
	known_connected(hh);
	host_plain_connected(hh);
	host_set_phase(hh, HOST_CONNECTED, NULL);
	host_answer_waiters(hh, NULL);
}

static void on_up(struct hub_host *hh, const struct session_event *ev)
{
	backoff_reset(&hh->backoff);
	hh->failures = 0;
	prompt_free_all(hh);
	if (ev->resumed) {
		log_line(LOG_INFO, hh->name, "link resumed, epoch %u", session_epoch(hh->session));
		host_set_phase(hh, HOST_CONNECTED, NULL);
		host_answer_waiters(hh, NULL);
		return;
	}
	if (rpc_open(hh) != 0) {
		struct tl_err e;
		err_set(&e, TL_E_NOMEM, "cannot talk to the server on %s: out of memory", hh->name);
		attempt_failed(hh, &e);
		return;
	}
	rpc_call(hh, NULL, "host/info", bytes_str("{}"), on_info, hh);
}

/* The peer ended the link. GAP, NOLINK and STALE mean: make a new one at once. */
static void on_bye(struct hub_host *hh, const struct session_event *ev)
{
	bool fresh = ev->error == TL_E_GAP || ev->error == TL_E_NOLINK || ev->error == TL_E_STALE;
	struct tl_err e;

	log_line(LOG_WARN, hh->name, "the server ended the link: %s",
		 ev->text[0] ? ev->text : err_row(ev->error)->what);
	err_set(&e, fresh ? ev->error : TL_E_CLOSED, "the server on %s ended the link: %s",
		hh->name, ev->text[0] ? ev->text : "closed");
	session_drop(hh, fresh ? ev->error : TL_E_CLOSED);
	stop_attempt(hh);
	if (hh->was_connected)
		begin_reconnect(hh, &e);
	else if (fresh)
		host_start(hh);
	else
		attempt_failed(hh, &e);
}

static void on_session_event(void *ctx, struct session_event *ev)
{
	struct hub_host *hh = ctx;
	struct tl_err e;

	switch (ev->type) {
	case SESSION_EV_UP:
		on_up(hh, ev);
		break;
	case SESSION_EV_BYE:
		on_bye(hh, ev);
		break;
	case SESSION_EV_SILENT:
	case SESSION_EV_PROTO:
		err_set(&e, ev->type == SESSION_EV_SILENT ? TL_E_TIMEOUT : TL_E_PROTO, "%s %s",
			hh->name,
			ev->type == SESSION_EV_SILENT ? "does not answer any more" : ev->text);
		pump_unbind(&hh->pump);
		stop_attempt(hh);
		if (hh->was_connected)
			begin_reconnect(hh, &e);
		else
			attempt_failed(hh, &e);
		break;
	case SESSION_EV_OPENED:
		session_reset(ev->stream); /* hosts open no streams to us */
		break;
	case SESSION_EV_READABLE:
	case SESSION_EV_WRITABLE:
	case SESSION_EV_CLOSED:
		if (ev->user == hh)
			rpc_event(hh, ev);
		else
			pump_user_event(ev);
		break;
	case SESSION_EV_NONE:
		break;
	}
}

static void on_dial_up(void *ctx, int rfd, int wfd, struct tl_bytes early)
{
	struct hub_host *hh = ctx;
	uint8_t id[16];
	struct tl_err e;

	if (!hh->session) {
		random_bytes(id, sizeof(id));
		hh->session = session_new(true, id);
	}
	if (!hh->session) {
		close(rfd);
		if (wfd != rfd)
			close(wfd);
		err_set(&e, TL_E_NOMEM, "cannot connect to %s: out of memory", hh->name);
		attempt_failed(hh, &e);
		return;
	}
	if (pump_bind(&hh->pump, hh->session, rfd, wfd, early, &e) != 0)
		attempt_failed(hh, &e);
}

/* There is a login, but no server of ours. */
static void on_dial_login(void *ctx, const struct tl_err *why)
{
	struct hub_host *hh = ctx;
	struct tl_err e = {0};
	int fd = -1;

	if (host_plain_serve(hh, why, &fd, &e) == 0)
		on_dial_up(hh, fd, fd, bytes_of("", 0));
	else
		attempt_failed(hh, &e);
}

static void on_dial_progress(void *ctx, const char *step, const char *text, int64_t done,
			     int64_t total)
{
	struct hub_host *hh = ctx;
	yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *o = yyjson_mut_obj(doc);

	if (strcmp(step, "probe") == 0)
		host_plain_spoke(hh);
	if (total <= 0 || done == total)
		log_line(LOG_DEBUG, hh->name, "%s: %s", step, text);
	yyjson_mut_doc_set_root(doc, o);
	yyjson_mut_obj_add_strcpy(doc, o, "host", hh->name);
	yyjson_mut_obj_add_strcpy(doc, o, "step", step);
	yyjson_mut_obj_add_strcpy(doc, o, "text", text);
	if (total > 0) {
		yyjson_mut_obj_add_int(doc, o, "done", done);
		yyjson_mut_obj_add_int(doc, o, "total", total);
	}
	hub_notify_host(hh, "host/progress", doc);
}

static void on_dial_log(void *ctx, const char *line)
{
	struct hub_host *hh = ctx;

	/* what ssh says when only a login is wanted */
	if (!str_starts(line, "debug1: "))
		log_line(LOG_INFO, hh->name, "ssh: %s", line);
}

static void on_dial_notice(void *ctx, const char *text)
{
	struct hub_host *hh = ctx;

	free(hh->notice);
	hh->notice = str_dup(text);
	log_line(LOG_WARN, hh->name, "%s", text);
	on_dial_progress(ctx, "notice", text, 0, 0);
}

/* A session that lives keeps its server: a changed setting counts from the next connection on. */
static int choose_place(struct hub_host *hh, struct tl_err *err)
{
	if (hh->was_connected)
		return 0;
	free(hh->install_path);
	return settings_install_path(hh->hub, hh->name, &hh->install_path, err);
}

struct dial_env host_dial_env(const struct hub_host *hh)
{
	const struct hub *h = hh->hub;

	return (struct dial_env){.ssh_path = hh->set_ssh ? hh->set_ssh : h->cfg.ssh_path,
				 .askpass_path = h->cfg.askpass_path,
				 .runtime_dir = h->cfg.runtime_dir,
				 .notes_dir = h->cfg.runtime_dir,
				 .host_bin_dir = h->cfg.host_bin_dir,
				 .connect_ms = hh->set_connect_ms ? (uint64_t)hh->set_connect_ms
								  : TL_LIMIT_CONNECT_MS};
}

struct dial_target host_target(const struct hub_host *hh)
{
	return (struct dial_target){.kind = str_starts(hh->name, "local:") ? DIAL_LOCAL : DIAL_SSH,
				    .host = hh->name,
				    .config_file = hh->opts.config_file ? hh->opts.config_file
									: hh->set_config,
				    .no_agent = hh->no_agent,
				    .identities = (const char *const *)hh->opts.identities.v,
				    .port = hh->opts.port,
				    .reconnect = hh->was_connected,
				    .options = (const char *const *)hh->opts.options.v,
				    .install_path = hh->install_path};
}

void host_start(struct hub_host *hh)
{
	struct dial_env env;
	struct dial_target t;
	struct dial_callbacks cb = {.on_progress = on_dial_progress,
				    .on_prompt = prompt_ask,
				    .on_prompt_gone = prompt_gone,
				    .on_up = on_dial_up,
				    .on_login = on_dial_login,
				    .on_failed = on_dial_failed,
				    .on_down = on_dial_down,
				    .on_log = on_dial_log,
				    .on_notice = on_dial_notice,
				    .ctx = hh};
	struct tl_err e = {0};

	if (hh->dial || hh->phase == HOST_CONNECTED || hh->closing)
		return;
	err_set(&e, TL_E_CANCELED, "a connection to %s is made instead", hh->name);
	errand_cancel(hh, &e);
	e.code = 0;
	timer_stop(&hh->retry);
	hh->retry_at_ms = 0;
	hh->stopping = false;
	host_set_phase(hh, hh->was_connected ? HOST_RECONNECTING : HOST_CONNECTING, NULL);
	settings_reach(hh);
	if (choose_place(hh, &e) == 0) {
		env = host_dial_env(hh);
		t = host_target(hh);
		host_plain_target(hh, &t);
		hh->dial = dial_start(hh->hub->loop, &t, &env, &cb, &e);
	}
	if (!hh->dial)
		attempt_failed(hh, &e);
}

static void retry_fired(void *ctx)
{
	struct hub_host *hh = ctx;

	if (hh->phase != HOST_RECONNECTING || hh->pump.conn)
		return;
	stop_attempt(hh);
	host_start(hh);
}

void host_retry_now(struct hub_host *hh)
{
	if (hh->phase == HOST_CONNECTED || (hh->phase == HOST_CONNECTING && hh->dial))
		return;
	backoff_reset(&hh->backoff);
	hh->failures = 0;
	if (hh->pump.conn)
		pump_unbind(&hh->pump);
	stop_attempt(hh);
	host_start(hh);
}

static struct hub_host *host_new(struct hub *h, const char *name)
{
	struct hub_host *hh = calloc(1, sizeof(*hh));

	if (!hh)
		return NULL;
	hh->hub = h;
	hh->name = str_dup(name);
	list_init(&hh->waiters);
	list_init(&hh->prompts);
	list_init(&hh->relays);
	random_bytes(&hh->backoff.seed, sizeof(hh->backoff.seed));
	pump_init(&hh->pump, h->loop, on_session_event, on_pump_lost, hh);
	conn_relays_init(&hh->conns, &hh->pump);
	timer_init(h->loop, &hh->retry, retry_fired, hh);
	host_plain_init(hh);
	list_add_tail(&h->hosts, &hh->node);
	return hh;
}

int host_get(struct hub *h, const char *name, yyjson_val *opts, struct hub_host **ret,
	     struct tl_err *err)
{
	struct hub_host *hh = host_find(h, name);
	struct host_options o = {0};
	yyjson_doc *stored = NULL;
	size_t count = 0;
	bool bad = false;
	int rc = 0;

	for (const char *p = name; *p; p++)
		bad = bad || (unsigned char)*p <= ' ' || *p == '"' || *p == '\\';
	if (bad || name[0] == 0 || name[0] == '-' || strlen(name) >= TL_LIMIT_HOST_NAME ||
	    !utf8_valid(bytes_str(name)))
		return err_set(err, TL_E_INVAL, "“%.80s” is not a host name", name);
	if (!opts && !hh) {
		char *text = store_host_options(h, name);
		stored = text ? yyjson_read(text, strlen(text), 0) : NULL;
		opts = yyjson_doc_get_root(stored);
		free(text);
	}
	if (opts && options_parse(opts, &o) != 0) {
		rc = err_set(err, TL_E_INVAL, "the options for %s are not valid", name);
		goto out;
	}
	LIST_FOREACH (it, &h->hosts)
		count++;
	if (hh && opts && !options_equal(&hh->opts, &o)) {
		if (hh->phase == HOST_CONNECTED || hh->phase == HOST_RECONNECTING ||
		    hh->phase == HOST_CONNECTING) {
			rc = err_set(err, TL_E_HOSTBUSY,
				     "%s is connected with other options already", name);
			goto out;
		}
	} else if (!hh && count >= TL_LIMIT_HOSTS) {
		rc = err_set(err, TL_E_LIMIT, "cannot connect to %s: there are %zu hosts already",
			     name, count);
		goto out;
	}
	if (!hh)
		hh = host_new(h, name);
	if (!hh) {
		rc = err_set(err, TL_E_NOMEM, "cannot connect to %s: out of memory", name);
		goto out;
	}
	if (opts) {
		options_fini(&hh->opts);
		hh->opts = o;
		memset(&o, 0, sizeof(o));
		store_save_host(hh);
	}
	*ret = hh;
out:
	options_fini(&o);
	yyjson_doc_free(stored);
	return rc;
}

static void plain_closed(struct hub_host *hh)
{
	options_fini(&hh->opts);
	free(hh->install_path);
	free(hh->notice);
	free(hh->set_config);
	free(hh->set_ssh);
	free(hh->info);
	free(hh->name);
	free(hh);
}

static void retry_closed(void *ctx)
{
	host_plain_close(ctx, plain_closed);
}

static void pump_is_closed(void *ctx)
{
	struct hub_host *hh = ctx;

	timer_close(&hh->retry, retry_closed);
}

void host_free(struct hub_host *hh)
{
	struct tl_err e;

	if (hh->closing)
		return;
	hh->closing = true;
	forward_config_cancel(hh);
	err_set(&e, TL_E_CLOSED, "the connection to %s was closed", hh->name);
	errand_cancel(hh, &e);
	session_drop(hh, TL_E_CLOSED);
	stop_attempt(hh);
	host_answer_waiters(hh, &e);
	conn_relays_end(&hh->conns, &e);
	list_del(&hh->node);
	pump_close(&hh->pump, pump_is_closed);
}
