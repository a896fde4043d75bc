/* agent_url.c - see agent_url.h. Remembers, for at most TERMS terminals, who attached last; the
 * oldest memory goes first. */
#include "host/agent_url.h"

#include <strings.h>

#include "base/log.h"
#include "base/str.h"
#include "host/agent_rpc.h"
#include "host/hold.h"

bool url_is_page(const char *url)
{
	size_t n = strnlen(url, TL_LIMIT_URL + 1), scheme;

	if (n > TL_LIMIT_URL || !utf8_valid(bytes_of(url, n)))
		return false;
	scheme = strncasecmp(url, "http://", 7) == 0    ? 7
		 : strncasecmp(url, "https://", 8) == 0 ? 8
							: 0;
	if (!scheme || !url[scheme] || strchr("/?#:@", url[scheme]))
		return false;
	for (size_t i = 0; i < n; i++)
		if ((uint8_t)url[i] <= ' ' || url[i] == 127 || strchr("\"<>\\`", url[i]))
			return false;
	return true;
}

/* ---- who attached last ---- */

static void attach_remove(struct agent_urls *u, size_t at)
{
	u->attached_count--;
	memmove(&u->attached[at], &u->attached[at + 1],
		(u->attached_count - at) * sizeof(u->attached[0]));
}

void agent_url_attached(struct agent_link *lk, const char *term)
{
	struct agent_urls *u = &lk->agent->urls;
	struct agent_attach *new;

	for (size_t i = u->attached_count; i-- > 0;)
		if (strcmp(u->attached[i].term, term) == 0)
			attach_remove(u, i);
	if (u->attached_count == TL_LIMIT_TERMS)
		attach_remove(u, 0);
	new = &u->attached[u->attached_count];
	new->link = lk;
	/* a name that does not fit is no terminal's */
	if (str_copy(new->term, sizeof(new->term), term))
		u->attached_count++;
}

void agent_url_forget(struct agent_link *lk)
{
	struct agent_urls *u = &lk->agent->urls;

	for (size_t i = u->attached_count; i-- > 0;)
		if (u->attached[i].link == lk)
			attach_remove(u, i);
}

/* ---- passing on ---- */

/* A page every URL_MS, after URL_BURST at once: a loop in a script must not fill the screen. */
static bool url_allowed(struct agent_urls *u, uint64_t now_ms)
{
	uint64_t earned = (now_ms - u->counted_ms) / TL_LIMIT_URL_MS;

	if (earned >= u->opened) {
		u->opened = 0;
		u->counted_ms = now_ms;
	} else {
		u->opened -= (unsigned)earned;
		u->counted_ms += earned * TL_LIMIT_URL_MS;
	}
	if (u->opened >= TL_LIMIT_URL_BURST)
		return false;
	u->opened++;
	return true;
}

static bool tell(struct agent_link *lk, yyjson_mut_doc *params)
{
	return lk->conn && rpc_notify(lk, "host/openUrl", params);
}

static bool tell_someone(struct agent *a, const char *term, yyjson_mut_doc *params)
{
	struct agent_urls *u = &a->urls;

	for (size_t i = u->attached_count; term && i-- > 0;)
		if (strcmp(u->attached[i].term, term) == 0 && tell(u->attached[i].link, params))
			return true;
	for (struct list *it = a->links.prev; it != &a->links; it = it->prev)
		if (tell(list_entry(it, struct agent_link, node), params))
			return true;
	return false;
}

static int url_pass(struct agent *a, yyjson_val *root, struct tl_err *err)
{
	const char *url = json_str(root, "url", NULL), *term = json_str(root, "term", NULL),
		   *cwd = json_str(root, "cwd", NULL);
	yyjson_mut_doc *d;
	yyjson_mut_val *o;
	bool told;

	if (!url || strlen(url) != yyjson_get_len(json_get(root, "url")))
		return err_set(err, TL_E_INVAL, "cannot open a page: \"url\" is missing");
	if (!url_is_page(url))
		return err_set(err, TL_E_UNSUPPORTED,
			       "cannot open %.200s: it must be an address that begins with "
			       "http:// or https://",
			       url);
	if (!url_allowed(&a->urls, clock_mono_ms()))
		return err_set(err, TL_E_AGAIN,
			       "cannot open %.200s: more than %d pages at once were asked for", url,
			       TL_LIMIT_URL_BURST);
	d = yyjson_mut_doc_new(NULL);
	o = d ? yyjson_mut_obj(d) : NULL;
	if (!o)
		return err_set(err, TL_E_NOMEM, "cannot open a page: out of memory");
	yyjson_mut_doc_set_root(d, o);
	yyjson_mut_obj_add_str(d, o, "url", url);
	if (term)
		yyjson_mut_obj_add_str(d, o, "term", term);
	if (cwd && cwd[0] == '/')
		json_add_path(d, o, "cwd", cwd);
	told = tell_someone(a, term, d);
	yyjson_mut_doc_free(d);
	/* the address may hold a secret: not for the log */
	log_info("a page was asked for in terminal %.40s: %s", term ? term : "(none)",
		 told ? "passed on" : "nobody is there");
	return told ? 0
		    : err_set(err, TL_E_NOHOST, "cannot open %.200s: no window is connected", url);
}

int agent_url_open(struct agent *a, struct tl_bytes request, struct tl_err *err)
{
	yyjson_doc *doc = json_parse(request, err);
	int rc = doc ? url_pass(a, yyjson_doc_get_root(doc), err)
		     : err_set(err, TL_E_PROTO, "cannot open a page: the request is not JSON");

	yyjson_doc_free(doc);
	return rc;
}
