/* session.c - tl_connect and the life of a session. Which back end serves it is decided once, at
 * the beginning; everything later goes through its three functions. */
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "api/session_priv.h"
#include "base/limits.h"
#include "dial/dial.h"
#include "loop/loop.h"

#define ANSWER_MAX 4096

/* ---- the caller's functions ---- */

int session_prompt(struct tl_session *s, enum tl_prompt_kind kind, const char *text, int attempt,
		   char **ret_answer)
{
	char answer[ANSWER_MAX] = "";
	int rc = TL_E_CANCELED;

	*ret_answer = NULL;
	if (s->opt.prompt &&
	    s->opt.prompt(s->opt.ctx, kind, text, attempt, answer, sizeof(answer)) == 0) {
		answer[sizeof(answer) - 1] = 0;
		*ret_answer = str_dup(answer);
		rc = *ret_answer ? 0 : TL_E_NOMEM;
	}
	explicit_bzero(answer, sizeof(answer));
	return rc;
}

void session_log(struct tl_session *s, int level, const char *fmt, ...)
{
	char line[2048];
	va_list ap;

	if (!s->opt.log || level > s->opt.verbosity)
		return;
	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	s->opt.log(s->opt.ctx, level, line);
}

/* ---- options ---- */

static void options_fini(struct session_options *o)
{
	free(o->config_file);
	free(o->key_file);
	free(o->ssh_program);
	strv_fini(&o->ssh_options);
	memset(o, 0, sizeof(*o));
}

static int options_check(const struct tl_options *o, struct tl_err *err)
{
	if (o->size < offsetof(struct tl_options, ctx) + sizeof(o->ctx))
		return err_set(err, TL_E_INVAL,
			       "cannot connect: the options were not made with TL_OPTIONS_INIT");
	if (o->port < 0 || o->port > 65535)
		return err_set(err, TL_E_INVAL, "cannot connect: %d is no port number", o->port);
	if (o->timeout_ms < 0)
		return err_set(err, TL_E_INVAL, "cannot connect: a time-out of %d ms is not valid",
			       o->timeout_ms);
	if (o->verbosity < 0 || o->verbosity > 4)
		return err_set(err, TL_E_INVAL,
			       "cannot connect: verbosity %d is not between 0 and 4", o->verbosity);
	if (o->via < TL_VIA_AUTO || o->via > TL_VIA_PLAIN)
		return err_set(err, TL_E_INVAL, "cannot connect: there is no way number %d",
			       (int)o->via);
	return 0;
}

static bool dup_into(char **to, const char *from)
{
	*to = str_dup(from);
	return !from || *to;
}

static int options_copy(struct session_options *to, const struct tl_options *o, struct tl_err *err)
{
	bool ok;

	to->timeout_ms = TL_LIMIT_CONNECT_MS;
	if (!o)
		return 0;
	if (options_check(o, err))
		return TL_E_INVAL;
	to->port = o->port;
	to->timeout_ms = o->timeout_ms ? o->timeout_ms : TL_LIMIT_CONNECT_MS;
	to->verbosity = o->verbosity;
	to->via = o->via;
	to->prompt = o->prompt;
	to->log = o->log;
	to->ctx = o->ctx;
	to->cancel = API_HAS(o, struct tl_options, cancel) ? o->cancel : NULL;
	ok = dup_into(&to->config_file, o->config_file) && dup_into(&to->key_file, o->key_file) &&
	     dup_into(&to->ssh_program, o->ssh_program);
	for (size_t i = 0; ok && o->ssh_options && o->ssh_options[i]; i++)
		ok = strv_add(&to->ssh_options, o->ssh_options[i]) == 0;
	return ok ? 0 : err_set(err, TL_E_NOMEM, "cannot connect: out of memory");
}

/* ---- life ---- */

static void session_destroy(struct tl_session *s)
{
	options_fini(&s->opt);
	session_facts_fini(&s->facts);
	pthread_mutex_destroy(&s->lock);
	if (s->slots >= 0)
		close(s->slots);
	free(s->host);
	free(s->daemon_host);
	free(s);
}

/* The daemon first where that was not excluded; -1 in ret_tried tells that it had nothing for us.
 */
static int connect_any(struct tl_session *s, struct tl_err *err)
{
	struct tl_err why = {0};
	int rc;

	if (s->opt.via == TL_VIA_DAEMON)
		return session_daemon_connect(s, false, err);
	if (s->opt.via == TL_VIA_AUTO) {
		rc = session_daemon_connect(s, true, &why);
		if (rc == 0)
			return 0;
		if (rc == TL_E_CANCELED) {
			*err = why;
			return rc;
		}
		session_log(s, 3, "not through towlined: %s", why.text);
	}
	return session_own_connect(s, err);
}

int tl_connect(const char *host, const struct tl_options *opt, struct tl_session **ret,
	       struct tl_error *err)
{
	struct tl_session *s;
	struct dial_target t;
	struct tl_err e = {0};
	int rc;

	if (!ret)
		return api_failf(err, TL_E_INVAL, "cannot connect: nowhere to put the session");
	*ret = NULL;
	if (!host || !*host)
		return api_failf(err, TL_E_INVAL, "cannot connect: no host is given");
	if (dial_target_parse(host, &t, &e))
		return api_fail(err, &e);
	s = calloc(1, sizeof(*s));
	if (!s)
		return api_failf(err, TL_E_NOMEM, "cannot connect to %s: out of memory", host);
	pthread_mutex_init(&s->lock, NULL);
	list_init(&s->users);
	s->slots = eventfd(TL_LIMIT_EXEC_AT_ONCE, EFD_CLOEXEC | EFD_NONBLOCK | EFD_SEMAPHORE);
	s->host = s->slots >= 0 ? str_dup(host) : NULL;
	rc = s->host ? options_copy(&s->opt, opt, &e)
		     : err_set(&e, TL_E_NOMEM, "cannot connect to %s: out of memory", host);
	if (rc == 0 && cancel_is_set(s->opt.cancel))
		rc = err_set(&e, TL_E_CANCELED, "the connection to %s was canceled", host);
	if (rc == 0)
		rc = connect_any(s, &e);
	s->opt.cancel = NULL;
	if (rc) {
		session_log(s, 0, "%s", e.text);
		session_destroy(s);
		return api_fail(err, &e);
	}
	*ret = s;
	api_ok(err);
	return 0;
}

int session_lane(struct tl_session *s, const char *command, struct strv *argv, struct tl_err *err)
{
	if (!s->back->lane)
		return err_set(err, TL_E_UNSUPPORTED,
			       "the connection to %s has no channels of its own", s->host);
	return s->back->lane(s, command, argv, err);
}

int session_sh(struct tl_session *s, struct tl_bytes lines, struct strv *argv, struct tl_err *err)
{
	tl_assert(s->back->sh);
	return s->back->sh(s, lines, argv, err);
}

void session_user_add(struct tl_session *s, struct session_user *u)
{
	pthread_mutex_lock(&s->lock);
	list_add_tail(&s->users, &u->node);
	pthread_mutex_unlock(&s->lock);
}

void session_user_remove(struct tl_session *s, struct session_user *u)
{
	pthread_mutex_lock(&s->lock);
	list_del(&u->node);
	pthread_mutex_unlock(&s->lock);
}

static void end_users(struct tl_session *s)
{
	for (;;) {
		struct session_user *u = NULL;
		pthread_mutex_lock(&s->lock);
		if (!list_empty(&s->users)) {
			u = list_entry(s->users.next, struct session_user, node);
			list_del(&u->node);
		}
		pthread_mutex_unlock(&s->lock);
		if (!u)
			return;
		u->ended(u);
	}
}

void tl_disconnect(struct tl_session *s)
{
	if (!s)
		return;
	end_users(s);
	s->back->close(s);
	session_destroy(s);
}

int tl_is_connected(const struct tl_session *s)
{
	/* asking changes nothing that the caller can see */
	return s && s->back->lost((struct tl_session *)(uintptr_t)s, NULL) == 0;
}

const char *session_plain_why(struct tl_session *s)
{
	return s->back->plain_why ? s->back->plain_why(s) : NULL;
}

const char *session_host(const struct tl_session *s)
{
	return s->host;
}

int session_lost(struct tl_session *s, struct tl_error *err)
{
	struct tl_err e = {0};

	if (s->back->lost(s, &e) == 0)
		return 0;
	return api_failf(err, TL_E_LOST, "the connection to %s was lost%s%s", s->host,
			 e.text[0] ? ": " : "", e.text);
}

int session_slot_take(struct tl_session *s, struct tl_cancel *cancel, uint64_t deadline_ms,
		      struct tl_error *err)
{
	struct pollfd pf[2] = {{.fd = s->slots, .events = POLLIN},
			       {.fd = cancel_fd(cancel), .events = POLLIN}};
	uint64_t one;

	for (;;) {
		uint64_t now = clock_mono_ms();
		int wait = !deadline_ms ? -1 : deadline_ms > now ? (int)(deadline_ms - now) : 0;
		int n = poll(pf, 2, wait);
		if (n < 0 && errno == EINTR)
			continue;
		if (pf[1].revents)
			return api_failf(err, TL_E_CANCELED,
					 "a command was canceled before it began on %s", s->host);
		if (n == 0)
			return api_failf(err, TL_E_TIMEOUT,
					 "no place for another command on %s: %d run already",
					 s->host, TL_LIMIT_EXEC_AT_ONCE);
		/* another thread may have been quicker */
		if (read(s->slots, &one, sizeof(one)) == (ssize_t)sizeof(one))
			return 0;
	}
}

void session_slot_give(struct tl_session *s)
{
	static const uint64_t one = 1;

	while (write(s->slots, &one, sizeof(one)) < 0 && errno == EINTR)
		;
}

int session_open_answered(struct tl_session *s, const char *open_json, struct tl_cancel *cancel,
			  uint64_t deadline_ms, int *ret_fd, char **ret_ok, struct tl_error *err)
{
	struct tl_err e = {0};
	int rc;

	if (ret_ok)
		*ret_ok = NULL;
	if (cancel_is_set(cancel))
		return api_failf(err, TL_E_CANCELED, "canceled before it was begun on %s", s->host);
	rc = s->back->open(s, open_json, cancel, deadline_ms, ret_fd, ret_ok, &e);
	if (rc)
		return api_fail(err, &e);
	api_ok(err);
	return 0;
}

bool session_can_carry(const struct tl_session *s)
{
	return s->back->carry != NULL;
}

int session_carry(struct tl_session *s, struct session_carrier *c, void *ctx, int fd,
		  const char *open_json, struct tl_bytes first, struct tl_err *err)
{
	return s->back->carry(s, c, ctx, fd, open_json, first, err);
}

void session_carry_end(struct tl_session *s, struct session_carrier *c)
{
	s->back->carry_end(s, c);
}

int session_open_stream(struct tl_session *s, const char *open_json, int *ret_fd,
			struct tl_error *err)
{
	return session_open_answered(s, open_json, NULL, 0, ret_fd, NULL, err);
}
