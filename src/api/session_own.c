/* session_own.c - the thread with an ssh of its own: connecting, questions, loss, farewell. While
 * tl_connect waits, questions and log lines are handed to its thread, so a program's callbacks run
 * where it expects them. */
#include "api/session_own.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "api/client.h"
#include "api/plain.h"
#include "api/session_run.h"
#include "dial/install_path.h"
#include "loop/fsx.h"
#include "loop/sock.h"
#include "wire/jsonrpc.h"

#define SOCKET_BYTES 262144 /* kernel room of a stream's socket */

/* ---- words to the connecting thread ---- */

void own_tell(struct session_own *o, int level, const char *text)
{
	struct tl_session *s = o->session;
	bool connecting;

	if (!s->opt.log || level > s->opt.verbosity)
		return;
	pthread_mutex_lock(&o->lock);
	connecting = o->state == OWN_CONNECTING;
	if (connecting)
		task_put(o, level, text);
	pthread_mutex_unlock(&o->lock);
	if (!connecting)
		session_log(s, level, "%s", text);
}

void own_set_state(struct session_own *o, enum own_state state, const struct tl_err *why)
{
	pthread_mutex_lock(&o->lock);
	o->state = state;
	if (why)
		o->why = *why;
	pthread_cond_broadcast(&o->changed);
	pthread_mutex_unlock(&o->lock);
}

/* ---- the end of the connection ---- */

static void drop_core(struct session_own *o)
{
	relay_end_all(o);
	carry_lost(o);
	if (!o->core)
		return;
	pump_detach(&o->pump);
	session_free(o->core);
	o->core = NULL;
}

void own_drop_dial(struct session_own *o)
{
	pthread_mutex_lock(&o->lock);
	LIST_FOREACH (it, &o->tasks)
		list_entry(it, struct own_task, node)->prompt = NULL;
	LIST_FOREACH (it2, &o->asked)
		list_entry(it2, struct own_task, node)->prompt = NULL;
	pthread_mutex_unlock(&o->lock);
	if (o->dial)
		dial_close(o->dial);
	o->dial = NULL;
}

static void wake_closed(void *ctx)
{
	(void)ctx;
}

/* The token counts while tl_connect waits. */
void own_unwatch_cancel(struct session_own *o)
{
	if (o->stop.open)
		io_close(&o->stop, NULL);
}

/* Everything is given back; the loop ends when the last handle is closed. */
static void shut(struct session_own *o)
{
	if (o->closed)
		return;
	o->closed = true;
	own_unwatch_cancel(o);
	own_plain_stop(o);
	drop_core(o);
	own_drop_dial(o);
	timer_close(&o->patience, NULL);
	pump_close(&o->pump, NULL);
	timer_close(&o->timer, NULL);
	wake_close(&o->wake, wake_closed);
}

void own_lose(struct session_own *o, const struct tl_err *why)
{
	struct tl_err copy = *why;

	timer_stop(&o->timer);
	own_unwatch_cancel(o);
	if (o->leaving) {
		shut(o);
		return;
	}
	own_set_state(o, OWN_LOST, &copy);
	own_plain_lost(o);
	drop_core(o);
	own_drop_dial(o);
}

static void on_timer(void *ctx)
{
	struct session_own *o = ctx;
	struct tl_err e;

	err_set(&e, TL_E_CLOSED, "the connection to %s broke", o->session->host);
	own_lose(o, &e);
}

static void on_cancel(void *ctx)
{
	struct session_own *o = ctx;
	struct tl_err e;

	err_set(&e, TL_E_CANCELED, "the connection to %s was canceled", o->session->host);
	own_lose(o, &e);
}

static int watch_cancel(struct session_own *o)
{
	int fd = cancel_fd(o->session->opt.cancel), own;

	if (fd < 0)
		return 0;
	own = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (own >= 0 && io_open(&o->loop, &o->stop, own, own, on_cancel, NULL, o) == 0)
		return 0;
	if (own >= 0)
		close(own);
	return TL_E_NOMEM;
}

/* ---- pump and session ---- */

/* The bytes ended before ssh did: give it a moment to say why. */
static void on_pump_lost(void *ctx)
{
	struct session_own *o = ctx;

	if (!o->dial || o->leaving)
		on_timer(o);
	else
		timer_start(&o->timer, OWN_REASON_MS);
}

static void on_session_event(void *ctx, struct session_event *ev)
{
	struct session_own *o = ctx;
	const char *host = o->session->host;
	struct tl_err e;

	switch (ev->type) {
	case SESSION_EV_UP:
		own_unwatch_cancel(o);
		own_set_state(o, OWN_UP, NULL);
		break;
	case SESSION_EV_BYE:
		err_set(&e, TL_E_CLOSED, "the server on %s ended the link: %s", host,
			ev->text[0] ? ev->text : "closed");
		own_lose(o, &e);
		return;
	case SESSION_EV_SILENT:
		err_set(&e, TL_E_TIMEOUT, "%s does not answer any more", host);
		own_lose(o, &e);
		return;
	case SESSION_EV_PROTO:
		err_set(&e, TL_E_PROTO, "%s: %s", host, ev->text);
		own_lose(o, &e);
		return;
	case SESSION_EV_OPENED:
		session_reset(ev->stream); /* hosts open no streams to us */
		break;
	default:
		pump_user_event(ev);
		break;
	}
	relay_serve(o);
	conn_relays_serve(&o->conns);
}

/* ---- the thread ---- */

static void take_answers(struct session_own *o)
{
	for (;;) {
		struct own_task *t = NULL;
		struct dial_prompt *p;
		char *answer;

		pthread_mutex_lock(&o->lock);
		LIST_FOREACH (it, &o->asked) {
			struct own_task *c = list_entry(it, struct own_task, node);
			if (!c->taken && !t)
				t = c;
		}
		p = t ? t->prompt : NULL;
		answer = t ? t->answer : NULL;
		if (t) {
			t->answer = NULL;
			task_free(t);
		}
		pthread_mutex_unlock(&o->lock);
		if (!t)
			return;
		if (p)
			dial_prompt_answer(p, answer);
		if (answer)
			explicit_bzero(answer, strlen(answer));
		free(answer);
	}
}

static void leave(struct session_own *o)
{
	if (o->leaving)
		return;
	o->leaving = true;
	relay_end_all(o);
	if (!o->core || !o->pump.conn) {
		shut(o);
		return;
	}
	session_bye(o->core, 0, "closed by the user");
	timer_start(&o->timer, OWN_BYE_MS);
	pump_kick(&o->pump);
}

static void on_wake(void *ctx)
{
	struct session_own *o = ctx;
	struct list got;
	bool quit;

	list_init(&got);
	take_answers(o);
	pthread_mutex_lock(&o->lock);
	while (!list_empty(&o->requests)) {
		struct list *it = o->requests.next;
		list_del(it);
		list_add_tail(&got, it);
	}
	quit = o->quit;
	pthread_mutex_unlock(&o->lock);
	LIST_FOREACH_SAFE (it2, &got) {
		list_del(it2);
		relay_begin(o, list_entry(it2, struct own_relay, node));
	}
	relay_serve(o);
	carry_wake(o);
	pump_kick(&o->pump);
	if (quit)
		leave(o);
}

static void *thread_main(void *ctx)
{
	struct session_own *o = ctx;

	own_begin(o);
	loop_run(&o->loop);
	return NULL;
}

/* The program's signals are not for this thread. */
static int thread_start(struct session_own *o, struct tl_err *err)
{
	sigset_t all, before;
	int rc;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	rc = pthread_create(&o->thread, NULL, thread_main, o);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return rc ? err_sys(err, rc, "cannot start a thread for the connection to %s",
			    o->session->host)
		  : 0;
}

/* ---- the caller's side ---- */

static void own_free(struct session_own *o)
{
	run_dir_remove(o->run_dir);
	free(o->install_path);
	LIST_FOREACH_SAFE (it, &o->tasks)
		task_free(list_entry(it, struct own_task, node));
	LIST_FOREACH_SAFE (it2, &o->asked)
		task_free(list_entry(it2, struct own_task, node));
	LIST_FOREACH_SAFE (it3, &o->requests)
		relay_free(list_entry(it3, struct own_relay, node));
	pthread_mutex_destroy(&o->lock);
	pthread_cond_destroy(&o->changed);
	free(o);
}

static void own_stop(struct session_own *o)
{
	pthread_mutex_lock(&o->lock);
	o->quit = true;
	wake_send(&o->wake);
	pthread_mutex_unlock(&o->lock);
	pthread_join(o->thread, NULL);
	loop_fini(&o->loop);
	own_free(o);
}

static int own_open(struct tl_session *s, const char *open_json, struct tl_cancel *cancel,
		    uint64_t deadline_ms, int *ret_fd, char **ret_ok, struct tl_err *err)
{
	struct session_own *o = s->own;
	struct own_relay *r;
	int sv[2], room = SOCKET_BYTES, rc = 0;

	if (socket_pair(sv) != 0)
		return err_sys(err, errno, "cannot open a stream to %s", s->host);
	for (int i = 0; i < 2; i++)
		(void)setsockopt(sv[i], SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
	r = relay_new(open_json, sv[1], err);
	if (!r) {
		close(sv[0]);
		close(sv[1]);
		return err->code;
	}
	pthread_mutex_lock(&o->lock);
	if (o->state == OWN_UP && !o->quit) {
		list_add_tail(&o->requests, &r->node);
		wake_send(&o->wake);
	} else {
		rc = err_set(err, TL_E_LOST, "the connection to %s was lost%s%s", s->host,
			     o->why.text[0] ? ": " : "", o->why.text);
	}
	pthread_mutex_unlock(&o->lock);
	if (rc)
		relay_free(r);
	else
		rc = stream_answer(s, sv[0], cancel, deadline_ms, ret_ok, err);
	if (rc)
		close(sv[0]);
	else
		*ret_fd = sv[0];
	return rc;
}

static int own_lost(struct tl_session *s, struct tl_err *err)
{
	struct session_own *o = s->own;
	int rc = 0;

	pthread_mutex_lock(&o->lock);
	if (o->state == OWN_LOST) {
		rc = o->why.code;
		if (err)
			*err = o->why;
	}
	pthread_mutex_unlock(&o->lock);
	return rc;
}

static void own_close(struct tl_session *s)
{
	plain_close(s->own->plain);
	s->own->plain = NULL;
	own_stop(s->own);
	s->own = NULL;
}

static const struct session_back direct = {.via = "direct",
					   .open = own_open,
					   .carry = own_carry,
					   .carry_end = own_carry_end,
					   .lost = own_lost,
					   .close = own_close,
					   .lane = own_lane};
static const struct session_back installed = {.via = "installed",
					      .open = own_open,
					      .carry = own_carry,
					      .carry_end = own_carry_end,
					      .lost = own_lost,
					      .close = own_close,
					      .lane = own_lane};

static const struct session_back plain = {.via = "plain",
					  .open = own_plain_open,
					  .lost = own_lost,
					  .close = own_close,
					  .lane = own_lane,
					  .sh = own_plain_sh,
					  .plain_why = own_plain_why};

#define SETTINGS_BYTES 1048576

/* Where the window's settings say that the server is. What makes no sense there matters only where
 * something would be installed. */
static int read_install_path(struct session_own *o, struct tl_err *err)
{
	struct tl_session *s = o->session;
	char dir[TL_LIMIT_PATH], path[TL_LIMIT_PATH + 32];
	struct tl_err why = {0};
	yyjson_doc *doc = NULL;
	struct buf b;
	int rc = 0;

	if (!api_config_dir(dir, sizeof(dir)))
		return 0;
	snprintf(path, sizeof(path), "%s/User/settings.json", dir);
	buf_init(&b, SETTINGS_BYTES);
	if (fs_read(path, &b, NULL) == 0 && b.len)
		doc = json_parse_relaxed(buf_data(&b), NULL);
	buf_fini(&b);
	rc = dial_install_path(yyjson_doc_get_root(doc), s->host, &o->install_path, &why);
	yyjson_doc_free(doc);
	if (rc && s->opt.via == TL_VIA_INSTALLED)
		return *err = why, rc;
	if (rc)
		session_log(s, 1, "%s", why.text);
	return 0;
}

static int own_new(struct tl_session *s, struct session_own **ret, struct tl_err *err)
{
	struct session_own *o = calloc(1, sizeof(*o));
	int rc;

	if (!o)
		return err_set(err, TL_E_NOMEM, "cannot connect to %s: out of memory", s->host);
	o->session = s;
	list_init(&o->relays);
	list_init(&o->waiting);
	list_init(&o->requests);
	list_init(&o->tasks);
	list_init(&o->asked);
	carry_init(o);
	pthread_mutex_init(&o->lock, NULL);
	pthread_cond_init(&o->changed, NULL);
	rc = place_find(&o->files, err);
	rc = rc ? rc : read_install_path(o, err);
	rc = rc ? rc : run_dir_make(o->run_dir, sizeof(o->run_dir), err);
	if (rc == 0 && loop_init(&o->loop) != 0)
		rc = err_set(err, TL_E_NOMEM, "cannot connect to %s: no event loop", s->host);
	if (rc) {
		own_free(o);
		return rc;
	}
	o->loop.guest = true;
	pump_init(&o->pump, &o->loop, on_session_event, on_pump_lost, o);
	timer_init(&o->loop, &o->timer, on_timer, o);
	timer_init(&o->loop, &o->patience, own_plain_patience, o);
	if (watch_cancel(o) != 0 || wake_init(&o->loop, &o->wake, on_wake, o) != 0) {
		own_unwatch_cancel(o);
		pump_close(&o->pump, NULL);
		loop_fini(&o->loop);
		own_free(o);
		return err_set(err, TL_E_NOMEM, "cannot connect to %s: no wake-up", s->host);
	}
	*ret = o;
	return 0;
}

int session_own_connect(struct tl_session *s, struct tl_err *err)
{
	struct session_own *o = NULL;
	int rc = own_new(s, &o, err);

	if (rc)
		return rc;
	rc = thread_start(o, err);
	if (rc) {
		shut(o);
		loop_fini(&o->loop);
		own_free(o);
		return rc;
	}
	rc = task_wait_up(o, err);
	if (rc) {
		plain_close(o->plain);
		o->plain = NULL;
		own_stop(o);
		return rc;
	}
	s->own = o;
	s->back = o->plain ? &plain : s->opt.via == TL_VIA_INSTALLED ? &installed : &direct;
	return 0;
}
