/* session_info.c - what is known about a connection: ssh's lines (session_facts.c), `ssh -G`, the
 * known host key, and the host itself. What is slow is asked once, when somebody wants to know. */
#include <stdlib.h>
#include <string.h>

#include "api/session_priv.h"
#include "api/session_ask.h"
#include "wire/json.h"

#define ASK_MS 20000

void session_facts_fini(struct session_facts *f)
{
	free(f->user);
	free(f->address);
	free(f->jump);
	free(f->identity);
	free(f->auth_method);
	free(f->sha256);
	free(f->sha1);
	free(f->host_key_type);
	free(f->cipher);
	free(f->kex);
	free(f->server_version);
	free(f->platform);
	free(f->home);
	free(f->host);
	memset(f, 0, sizeof(*f));
}

/* Platform and home; a host that does not answer leaves them unknown. */
static void ask_host(struct tl_session *s)
{
	char *text = NULL;
	yyjson_doc *doc;
	yyjson_val *root;

	if (session_call(s, "host/info", "{}", &text, NULL) != 0)
		return;
	doc = json_parse(bytes_str(text), NULL);
	root = yyjson_doc_get_root(doc);
	pthread_mutex_lock(&s->lock);
	if (root && !s->facts.asked_host) {
		s->facts.asked_host = true;
		s->facts.platform =
		    str_fmt("%s %s", json_str(root, "os", "Linux"), json_str(root, "arch", "?"));
		s->facts.home = str_dup(json_str(root, "home", ""));
	}
	pthread_mutex_unlock(&s->lock);
	yyjson_doc_free(doc);
	free(text);
}

/* The same by a command, where nothing of ours can be asked. */
static void ask_plain(struct tl_session *s)
{
	static const char *const argv[] = {"sh", "-c", "uname -sm; printf %s \"$HOME\"", NULL};
	struct tl_exec x = TL_EXEC_INIT;
	struct tl_output out = {0};
	char *lf;

	x.argv = argv;
	x.timeout_ms = ASK_MS;
	if (tl_capture(s, &x, 4096, 1, &out, NULL) == 0 && (lf = strchr(out.out, '\n'))) {
		*lf = 0;
		pthread_mutex_lock(&s->lock);
		if (!s->facts.asked_host) {
			s->facts.asked_host = true;
			s->facts.platform = str_dup(out.out);
			s->facts.home = str_dup(lf + 1);
		}
		pthread_mutex_unlock(&s->lock);
	}
	tl_output_free(&out);
}

static const char *text_of(const char *s)
{
	return s ? s : "";
}

int tl_session_info(struct tl_session *s, struct tl_info *ret, struct tl_error *err)
{
	struct tl_info full = TL_INFO_INIT;
	struct session_facts *f;
	bool asked_host, asked_config;
	size_t size;

	if (!s || !ret || ret->size < offsetof(struct tl_info, via))
		return api_failf(err, TL_E_INVAL,
				 "cannot tell about a session: there is none, or the struct was "
				 "not made with TL_INFO_INIT");
	f = &s->facts;
	full.connected = tl_is_connected(s);
	pthread_mutex_lock(&s->lock);
	asked_host = f->asked_host;
	asked_config = f->asked_config;
	pthread_mutex_unlock(&s->lock);
	if (!asked_config)
		session_ask_config(s);
	if (!asked_host && full.connected)
		(strcmp(s->back->via, "plain") == 0 ? ask_plain : ask_host)(s);
	pthread_mutex_lock(&s->lock);
	full.host = f->host ? f->host : s->host;
	full.user = text_of(f->user);
	full.address = text_of(f->address);
	full.port = f->port;
	full.via = s->back->via;
	full.identity = text_of(f->identity);
	full.auth_method = text_of(f->auth_method);
	full.fingerprint_sha256 = text_of(f->sha256);
	full.fingerprint_sha1 = text_of(f->sha1);
	full.host_key_type = text_of(f->host_key_type);
	full.cipher = text_of(f->cipher);
	full.kex = text_of(f->kex);
	full.server_version = text_of(f->server_version);
	full.jump = text_of(f->jump);
	full.platform = text_of(f->platform);
	full.home = text_of(f->home);
	full.plain_why = text_of(session_plain_why(s));
	pthread_mutex_unlock(&s->lock);
	size = ret->size < sizeof(full) ? ret->size : sizeof(full);
	full.size = ret->size;
	memcpy(ret, &full, size);
	api_ok(err);
	return 0;
}
