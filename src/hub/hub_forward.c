/* hub_forward.c - the table of forwards: adding, finding, ending, and their connections from the
 * first byte to the last. */
#include "hub/hub_forward.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "hub/hub_proxy.h"

/* ---- looking ---- */

struct hub_forward *forward_find(struct hub *h, const char *id)
{
	LIST_FOREACH (it, &h->forwards->all) {
		struct hub_forward *f = list_entry(it, struct hub_forward, node);
		if (strcmp(f->id, id) == 0)
			return f;
	}
	return NULL;
}

static bool same_text(const char *a, const char *b, const char *dflt)
{
	return strcmp(a ? a : dflt, b ? b : dflt) == 0;
}

static bool same_target(const struct forward_spec *a, const struct forward_spec *b)
{
	return same_text(a->target_path, b->target_path, "") &&
	       (a->target_path || (a->target_port == b->target_port &&
				   same_text(a->target_host, b->target_host, "localhost")));
}

static bool same_local(const struct hub_forward *f, const struct forward_spec *b)
{
	const struct forward_spec *a = &f->spec;

	return same_text(a->local_path, b->local_path, "") &&
	       same_text(a->local_address, b->local_address, "localhost") &&
	       (b->local_port == a->local_port ||
		(f->port > 0 && (b->local_port == f->port || b->local_port == 0)));
}

/* Would the new one do what this one does? A window asks for a target; somebody who writes down
 * where it shall listen, means it. */
static bool does_the_same(const struct hub_forward *f, const struct forward_spec *s)
{
	const struct forward_spec *a = &f->spec;
	bool exact = s->source == FORWARD_COMMAND || s->source == FORWARD_CONFIG || s->require_port;

	if (a->kind != s->kind || strcmp(a->host, s->host) != 0)
		return false;
	if (s->kind == FORWARD_REMOTE)
		return a->proxy == s->proxy && same_target(a, s) && (s->proxy || same_local(f, s));
	if (exact && (s->local_port >= 0 || s->local_path || s->local_address) && !same_local(f, s))
		return false;
	return same_target(a, s);
}

const char *forward_state(const struct hub_forward *f)
{
	struct hub_host *hh = host_find(f->hub, f->spec.host);

	if (f->failed.code)
		return "failed";
	if (!hh || hh->phase != HOST_CONNECTED)
		return "waiting";
	return f->spec.kind == FORWARD_REMOTE && !f->port && !f->spec.target_path ? "waiting"
										  : "listening";
}

/* ---- telling ---- */

void forward_changed(struct hub *h, const char *host)
{
	struct hub_forwards *fs = h->forwards;

	for (size_t i = 0; i < fs->dirty.n; i++)
		if (strcmp(fs->dirty.v[i], host) == 0)
			return;
	if (strv_add(&fs->dirty, host) == 0)
		timer_start(&fs->notify, 0);
}

static void notify_due(void *ctx)
{
	struct hub *h = ctx;
	struct strv hosts = h->forwards->dirty;

	memset(&h->forwards->dirty, 0, sizeof(h->forwards->dirty));
	for (size_t i = 0; i < hosts.n; i++) {
		yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
		yyjson_mut_val *o = yyjson_mut_obj(doc), *a;

		yyjson_mut_doc_set_root(doc, o);
		yyjson_mut_obj_add_strcpy(doc, o, "host", hosts.v[i]);
		a = yyjson_mut_obj_add_arr(doc, o, "forwards");
		LIST_FOREACH (it, &h->forwards->all) {
			struct hub_forward *f = list_entry(it, struct hub_forward, node);
			if (strcmp(f->spec.host, hosts.v[i]) == 0)
				yyjson_mut_arr_append(a, forward_info_json(f, doc));
		}
		hub_notify_name(h, hosts.v[i], "forward/changed", doc);
	}
	strv_fini(&hosts);
}

/* ---- connections ---- */

void forward_throttle(struct hub_forward *f)
{
	struct hub *h = f->hub;
	size_t n = 0;

	LIST_FOREACH (it, &h->forwards->all) {
		struct hub_forward *o = list_entry(it, struct hub_forward, node);
		if (strcmp(o->spec.host, f->spec.host) == 0)
			n += o->n_conns;
	}
	LIST_FOREACH (it2, &h->forwards->all) {
		struct hub_forward *o = list_entry(it2, struct hub_forward, node);
		if (strcmp(o->spec.host, f->spec.host) == 0)
			forward_listen_pause(o, n >= TL_LIMIT_FORWARD_CONNECTIONS);
	}
}

struct forward_conn *forward_conn_new(struct hub_forward *f, size_t size)
{
	struct forward_conn *c = calloc(1, size);

	if (!c)
		return NULL;
	c->forward = f;
	list_add_tail(&f->conns, &c->node);
	f->n_conns++;
	forward_throttle(f);
	return c;
}

void forward_conn_free(struct forward_conn *c)
{
	struct hub_forward *f = c->forward;

	list_del(&c->node);
	f->n_conns--;
	free(c);
	forward_throttle(f);
}

static void carried_answered(void *ctx, struct conn_relay *r, const struct tl_err *err)
{
	struct forward_conn *c = ctx;
	char target[TL_ERR_TEXT];

	(void)r;
	forward_target_text(&c->forward->spec, target, sizeof(target));
	if (err)
		log_line(LOG_INFO, c->forward->spec.host, "forward %s to %s: %s", c->forward->id,
			 target, err->text);
	if (c->answered)
		c->answered(c, r, err);
}

static void carried_ended(void *ctx, struct conn_relay *r, const struct tl_err *why)
{
	struct forward_conn *c = ctx;

	(void)r, (void)why;
	if (c->ended)
		*c->ended = true;
	forward_conn_free(c);
}

void forward_conn_carry(struct forward_conn *c, int fd, const char *open_json,
			struct tl_bytes first)
{
	struct hub_forward *f = c->forward;
	struct tl_err e = {0};
	struct hub_host *hh = forward_host(f, &e);
	struct conn_relay *r = NULL;
	bool ended = false;
	int rc;
	struct conn_relay_spec spec = {.fd = fd,
				       .open_json = open_json,
				       .first = first,
				       .counters = &f->counters,
				       .on_answered = carried_answered,
				       .on_ended = carried_ended,
				       .ctx = c};

	c->abort = NULL;
	if (!hh || !open_json) {
		if (fd >= 0)
			local_listen_refuse(fd);
		log_line(LOG_INFO, f->spec.host, "forward %s: %s", f->id,
			 hh ? "out of memory" : e.text);
		forward_conn_free(c);
		return;
	}
	/* it may end before the call does, and c with it */
	c->ended = &ended;
	rc = conn_relay_start(&hh->conns, &spec, &r, &e);
	if (rc) {
		log_line(LOG_WARN, f->spec.host, "forward %s: %s", f->id, e.text);
		forward_conn_free(c);
	} else if (!ended) {
		c->ended = NULL;
		c->relay = r;
	}
}

struct hub_host *forward_host(struct hub_forward *f, struct tl_err *err)
{
	struct hub_host *hh = host_find(f->hub, f->spec.host);

	if (f->parked || (hh && hh->phase == HOST_FAILED)) {
		err_set(err, TL_E_NOHOST, "not connected to %s", f->spec.host);
		return NULL;
	}
	if (!hh && host_get(f->hub, f->spec.host, NULL, &hh, err) != 0)
		return NULL;
	if (hh->phase == HOST_DISCONNECTED) {
		log_line(LOG_INFO, hh->name, "connecting: a program uses forward %s", f->id);
		host_start(hh);
	}
	return hh;
}

/* ---- life ---- */

static void new_id(struct hub *h, char out[8])
{
	do {
		/* no digits at the front: a number is a port */
		out[0] = 'f';
		random_id(out + 1, 5);
	} while (forward_find(h, out));
}

static void forward_free(struct hub_forward *f)
{
	struct tl_err why;

	err_set(&why, TL_E_CLOSED, "the forward was removed");
	if (!list_empty(&f->waiters)) {
		f->failed = why;
		forward_answer(f);
	}
	forward_unlisten(f);
	forward_remote_close(f, true);
	while (!list_empty(&f->conns)) {
		struct forward_conn *c = list_entry(f->conns.next, struct forward_conn, node);
		if (c->abort)
			c->abort(c);
		else
			conn_relay_end(c->relay, &why);
	}
	list_del(&f->node);
	forward_spec_fini(&f->spec);
	free(f);
}

static int start(struct hub_forward *f, struct tl_err *err)
{
	int want = f->spec.local_port >= 0 ? f->spec.local_port : f->spec.target_port, rc;

	if (f->spec.kind == FORWARD_REMOTE) {
		forward_remote_open(f);
		return 0;
	}
	rc = forward_listen(f, want > 0 ? want : 0, err);
	f->failed = rc ? *err : (struct tl_err){0};
	return rc;
}

/* What a later request knows better. */
static void refresh(struct hub_forward *f, struct forward_spec *s)
{
	char **old[] = {&f->spec.label, &f->spec.protocol, &f->spec.process},
	     **fresh[] = {&s->label, &s->protocol, &s->process};
	bool changed = false;

	for (size_t i = 0; i < sizeof(old) / sizeof(old[0]); i++) {
		/* a label that a person gave stays */
		if (!*fresh[i] || (i == 0 && *old[i]))
			continue;
		changed = changed || !same_text(*old[i], *fresh[i], "");
		free(*old[i]);
		*old[i] = *fresh[i];
		*fresh[i] = NULL;
	}
	if (f->failed.code && start(f, &f->failed) == 0)
		changed = true;
	if (changed)
		forward_changed(f->hub, f->spec.host);
}

static struct hub_forward *forward_new(struct hub *h, struct forward_spec *spec, const char *id)
{
	struct hub_forward *f = calloc(1, sizeof(*f));

	if (!f)
		return NULL;
	f->hub = h;
	f->spec = *spec;
	memset(spec, 0, sizeof(*spec));
	list_init(&f->conns);
	list_init(&f->waiters);
	if (f->spec.proxy) {
		uint8_t raw[16];
		random_bytes(raw, sizeof(raw));
		str_hex(raw, sizeof(raw), f->secret);
	}
	if (!id || !str_copy(f->id, sizeof(f->id), id) || forward_find(h, id))
		new_id(h, f->id);
	list_add_tail(&h->forwards->all, &f->node);
	return f;
}

int forward_add(struct hub *h, struct forward_spec *spec, const char *id, struct hub_forward **ret,
		struct tl_err *err)
{
	struct hub_forward *f;
	size_t count = 0;
	/* what a file asks for is shown with its error; a person who asks gets it as the answer */
	bool keep = spec->source == FORWARD_CONFIG || spec->source == FORWARD_DEFAULT || id;
	struct tl_err e = {0};
	int rc;

	LIST_FOREACH (it, &h->forwards->all) {
		f = list_entry(it, struct hub_forward, node);
		count++;
		if (!does_the_same(f, spec))
			continue;
		refresh(f, spec);
		forward_spec_fini(spec);
		*ret = f;
		return 0;
	}
	if (count >= TL_LIMIT_FORWARDS) {
		forward_spec_fini(spec);
		return err_set(err, TL_E_LIMIT, "cannot forward: there are %zu forwards already",
			       count);
	}
	f = forward_new(h, spec, id);
	if (!f) {
		forward_spec_fini(spec);
		return err_set(err, TL_E_NOMEM, "cannot forward: out of memory");
	}
	rc = start(f, &e);
	if (rc && !keep) {
		forward_free(f);
		if (err)
			*err = e;
		return rc;
	}
	if (rc)
		log_line(LOG_WARN, f->spec.host, "forward %s: %s", f->id, e.text);
	forward_changed(h, f->spec.host);
	forward_store(h);
	*ret = f;
	return 0;
}

void forward_remove(struct hub_forward *f)
{
	struct hub *h = f->hub;

	forward_changed(h, f->spec.host);
	forward_free(f);
	forward_store(h);
}

/* ---- for the rest of the room ---- */

void forward_host_phase(struct hub_host *hh)
{
	struct hub *h = hh->hub;
	bool away = hh->phase == HOST_FAILED || hh->phase == HOST_DISCONNECTED;

	if (!h->forwards)
		return;
	if (away)
		conn_relays_end(&hh->conns, &hh->last);
	LIST_FOREACH_SAFE (it, &h->forwards->all) {
		struct hub_forward *f = list_entry(it, struct hub_forward, node);
		if (strcmp(f->spec.host, hh->name) != 0)
			continue;
		if (hh->phase == HOST_CONNECTED) {
			f->parked = false;
			if (f->spec.kind == FORWARD_REMOTE)
				forward_remote_open(f);
		}
		forward_changed(h, hh->name);
	}
	if (hh->phase == HOST_CONNECTED) {
		conn_relays_serve(&hh->conns);
		forward_config_begin(hh);
	}
}

void forward_session_lost(struct hub_host *hh, const struct tl_err *why)
{
	conn_relays_lost(&hh->conns, why);
	LIST_FOREACH (it, &hh->hub->forwards->all) {
		struct hub_forward *f = list_entry(it, struct hub_forward, node);
		if (strcmp(f->spec.host, hh->name) == 0)
			forward_remote_close(f, false);
	}
}

void forward_host_closed(struct hub *h, const char *host)
{
	LIST_FOREACH_SAFE (it, &h->forwards->all) {
		struct hub_forward *f = list_entry(it, struct hub_forward, node);
		if (strcmp(f->spec.host, host) != 0)
			continue;
		f->parked = true;
		/* they come again with the host */
		if (f->spec.source == FORWARD_CONFIG || f->spec.source == FORWARD_DEFAULT ||
		    f->spec.source == FORWARD_AUTO)
			forward_remove(f);
	}
}

int forwards_open(struct hub *h)
{
	h->forwards = calloc(1, sizeof(*h->forwards));
	if (!h->forwards)
		return TL_E_NOMEM;
	list_init(&h->forwards->all);
	list_init(&h->forwards->proxies);
	timer_init(h->loop, &h->forwards->notify, notify_due, h);
	return 0;
}

static void forwards_closed(void *ctx)
{
	free(ctx);
}

void forwards_close(struct hub *h)
{
	struct hub_forwards *fs = h->forwards;

	fs->storing = false;
	proxy_end_all(h);
	while (!list_empty(&fs->all))
		forward_free(list_entry(fs->all.next, struct hub_forward, node));
	strv_fini(&fs->dirty);
	h->forwards = NULL;
	fs->notify.ctx = fs; /* the hub goes first */
	timer_close(&fs->notify, forwards_closed);
}
