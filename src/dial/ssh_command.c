/* ssh_command.c - see ssh_command.h. The options are those of ssh(1) up to 10; one table says what
 * each is in a configuration, or why it cannot be there. */
#include "dial/ssh_command.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/limits.h"

#define WORDS_MAX 512
#define LETTERS   "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

void ssh_command_fini(struct ssh_command *c)
{
	free(c->host);
	free(c->config_file);
	strv_fini(&c->keys);
	strv_fini(&c->values);
	strv_fini(&c->unused);
	strv_fini(&c->why);
	memset(c, 0, sizeof(*c));
}

/* ---- words ---- */

struct splitter {
	const char *at;
	char *word;
	size_t n;
	bool any; /* a word has begun: '' is one, too */
};

static int split_bad(const char *at, struct tl_err *err)
{
	if (*at == '$' || *at == '`')
		return err_set(err, TL_E_INVAL,
			       "“%.60s” is for a shell to expand: write what it stands for", at);
	return err_set(err, TL_E_INVAL,
		       "“%.60s” belongs to a shell, not to ssh: leave it out, or put it into "
		       "quotes",
		       at);
}

static int split_quoted(struct splitter *s, struct tl_err *err)
{
	char quote = *s->at++;

	s->any = true;
	for (; *s->at && *s->at != quote; s->at++) {
		if (quote == '"' && (*s->at == '$' || *s->at == '`'))
			return split_bad(s->at, err);
		if (quote == '"' && *s->at == '\\' && s->at[1] && strchr("\"\\$`", s->at[1]))
			s->at++;
		s->word[s->n++] = *s->at;
	}
	if (!*s->at)
		return err_set(err, TL_E_INVAL, "a closing %c is missing", quote);
	s->at++;
	return 0;
}

static int split_end(struct splitter *s, struct strv *ret, struct tl_err *err)
{
	int rc;

	if (!s->any)
		return 0;
	if (ret->n >= WORDS_MAX)
		return err_set(err, TL_E_LIMIT, "the command has more than %d words", WORDS_MAX);
	s->word[s->n] = 0;
	rc = strv_add(ret, s->word);
	s->n = 0;
	s->any = false;
	return rc ? err_set(err, rc, "cannot read the command: %s", err_row(rc)->what) : 0;
}

int ssh_command_split(const char *text, struct strv *ret, struct tl_err *err)
{
	struct splitter s = {.at = text, .word = malloc(strlen(text) + 1)};
	int rc = s.word ? 0 : err_set(err, TL_E_NOMEM, "cannot read the command: out of memory");

	while (rc == 0 && *s.at) {
		char c = *s.at;
		if (isspace((unsigned char)c)) {
			rc = split_end(&s, ret, err);
			s.at++;
		} else if (c == '\'' || c == '"') {
			rc = split_quoted(&s, err);
		} else if (c == '\\' && s.at[1] == '\n') {
			s.at += 2; /* a line goes on */
		} else if (c == '\\' && s.at[1]) {
			s.word[s.n++] = s.at[1];
			s.any = true;
			s.at += 2;
		} else if (c == '$' && !s.any && isspace((unsigned char)s.at[1]) && ret->n == 0) {
			s.at++; /* the prompt in front of a copied line */
		} else if (strchr("|&;<>()$`", c)) {
			rc = split_bad(s.at, err);
		} else {
			s.word[s.n++] = c;
			s.any = true;
			s.at++;
		}
	}
	rc = rc ? rc : split_end(&s, ret, err);
	free(s.word);
	return rc;
}

/* ---- options ---- */

struct parser {
	struct ssh_command *c;
	const char *cwd;
	struct tl_err *err;
};

/* value: as a file has it. */
static int put(struct parser *p, const char *key, const char *value)
{
	int rc;

	for (const char *c = value; *c; c++)
		if (((unsigned char)*c < ' ' && *c != '\t') || *c == 0x7f)
			return err_set(p->err, TL_E_INVAL,
				       "the value of %.60s has a control character in it", key);
	rc = strv_add(&p->c->keys, key);
	rc = rc ? rc : strv_add(&p->c->values, value);
	return rc ? err_set(p->err, rc, "cannot read the command: %s", err_row(rc)->what) : 0;
}

/* value: one word, whatever is in it. */
static int put_word(struct parser *p, const char *key, const char *value)
{
	char *text;
	int rc;

	if (strchr(value, '"'))
		return err_set(p->err, TL_E_INVAL,
			       "the value of %.60s has a quotation mark in it, which an ssh "
			       "configuration cannot hold",
			       key);
	if (*value && !strpbrk(value, " \t#"))
		return put(p, key, value);
	text = str_fmt("\"%s\"", value);
	rc = text ? put(p, key, text)
		  : err_set(p->err, TL_E_NOMEM, "cannot read the command: out of memory");
	free(text);
	return rc;
}

static int leave(struct parser *p, const char *what, const char *why)
{
	int rc = strv_add(&p->c->unused, what);

	rc = rc ? rc : strv_add(&p->c->why, why);
	return rc ? err_set(p->err, rc, "cannot read the command: %s", err_row(rc)->what) : 0;
}

static bool has_key(const struct ssh_command *c, const char *key)
{
	for (size_t i = 0; i < c->keys.n; i++)
		if (strcasecmp(c->keys.v[i], key) == 0)
			return true;
	return false;
}

static int take_identity(struct parser *p, const char *value)
{
	char *path;
	int rc;

	if (value[0] == '/' || value[0] == '~' || value[0] == '%')
		return put_word(p, "IdentityFile", value);
	if (!p->cwd)
		return err_set(p->err, TL_E_INVAL,
			       "the key “%.200s” is a relative path: write it from / or ~", value);
	path = str_fmt("%s/%s", strcmp(p->cwd, "/") == 0 ? "" : p->cwd, value);
	rc = path ? put_word(p, "IdentityFile", path)
		  : err_set(p->err, TL_E_NOMEM, "cannot read the command: out of memory");
	free(path);
	return rc;
}

/* Where the listening end of -L or -R ends and its target begins: ssh joins the two words of a
 * configuration with a colon and reads both alike. 0: there is no target. -1: not a forward. */
static long forward_split(const char *spec, bool may_lack_target)
{
	const char *field[4], *at = spec;
	size_t n = 0;
	bool path_last, path_first = spec[0] == '/';
	long second;

	for (;;) {
		if (n == 4)
			return -1;
		field[n++] = at;
		if (*at == '[') {
			at = strchr(at, ']');
			if (!at)
				return -1;
		}
		at = strchr(at, ':');
		if (!at)
			break;
		at++;
	}
	path_last = n > 1 && field[n - 1][0] == '/';
	if (n == 1)
		return may_lack_target ? 0 : -1;
	if (n == 2 && !path_first && !path_last)
		return may_lack_target ? 0 : -1;
	second = n == 4 || (n == 3 && path_last && !path_first) ? field[2] - spec : field[1] - spec;
	return second - 1; /* the colon */
}

static int take_forward(struct parser *p, char letter, const char *value)
{
	const char *key = letter == 'L' ? "LocalForward" : "RemoteForward";
	long colon = forward_split(value, letter == 'R');
	char *text;
	int rc;

	if (colon < 0)
		return err_set(p->err, TL_E_INVAL,
			       "-%c %.200s is not a forward: give PORT:HOST:HOSTPORT", letter,
			       value);
	text = str_dup(value);
	if (!text)
		return err_set(p->err, TL_E_NOMEM, "cannot read the command: out of memory");
	/* a space between the two words of the file */
	if (colon > 0)
		text[colon] = ' ';
	rc = put(p, key, text);
	free(text);
	return rc;
}

static int take_port(struct parser *p, const char *value)
{
	long long port;

	if (!str_to_int(value, 1, 65535, &port))
		return err_set(p->err, TL_E_INVAL, "“%.100s” is not a port", value);
	return put(p, "Port", value);
}

/* `Keyword=value`, `Keyword value`, `Keyword "value"`. */
static int take_setting(struct parser *p, const char *value)
{
	size_t n = strcspn(value, "= \t");
	const char *rest = value + n + strspn(value + n, "= \t");
	size_t len = strlen(rest);
	char *key = str_ndup(value, n), *text;
	int rc;

	while (len > 0 && isspace((unsigned char)rest[len - 1]))
		len--;
	/* ssh reads it as a line of its configuration: so it is one as it is */
	text = str_ndup(rest, len);
	if (!key || !text)
		rc = err_set(p->err, TL_E_NOMEM, "cannot read the command: out of memory");
	else if (!n || !*text || strspn(key, LETTERS) != n)
		rc = err_set(p->err, TL_E_INVAL, "-o %.200s is no setting: give Keyword=value",
			     value);
	else if (strcasecmp(key, "Host") == 0 || strcasecmp(key, "Match") == 0 ||
		 strcasecmp(key, "Include") == 0)
		rc = err_set(p->err, TL_E_INVAL, "-o %.100s cannot be part of a host", value);
	else
		rc = put(p, key, text);
	free(key);
	free(text);
	return rc;
}

static int take_tunnel(struct parser *p, const char *value)
{
	int rc = put(p, "Tunnel", "point-to-point");

	return rc ? rc : put(p, "TunnelDevice", value);
}

static int take_config(struct parser *p, const char *value)
{
	free(p->c->config_file);
	p->c->config_file = str_dup(value);
	return p->c->config_file
		   ? 0
		   : err_set(p->err, TL_E_NOMEM, "cannot read the command: out of memory");
}

static int take_dynamic(struct parser *p, const char *value)
{
	return put(p, "DynamicForward", value);
}

#define NOT_A_LOGIN "it asks ssh for something else than a connection"
#define OWN_LOG     "Towline keeps its own log (towline log)"
#define OWN_LIFE    "Towline runs ssh in its own way"

static const struct option {
	char letter;
	bool value;
	const char *key;   /* one keyword … */
	const char *fixed; /* … and its value, NULL: the option's */
	int (*take)(struct parser *p, const char *value);
	const char *why; /* why it cannot be kept; with a keyword: what else there is to say */
} options[] = {
    {'1', false, NULL, NULL, NULL, "SSH version 1 is gone from ssh"},
    {'2', false, NULL, NULL, NULL, "it is the only version ssh speaks"},
    {'4', false, "AddressFamily", "inet", NULL, NULL},
    {'6', false, "AddressFamily", "inet6", NULL, NULL},
    {'A', false, "ForwardAgent", "yes", NULL, NULL},
    {'a', false, "ForwardAgent", "no", NULL, NULL},
    {'B', true, "BindInterface", NULL, NULL, NULL},
    {'b', true, "BindAddress", NULL, NULL, NULL},
    {'C', false, "Compression", "yes", NULL, NULL},
    {'c', true, "Ciphers", NULL, NULL, NULL},
    {'D', true, NULL, NULL, take_dynamic, NULL},
    {'E', true, NULL, NULL, NULL, OWN_LOG},
    {'e', true, "EscapeChar", NULL, NULL, NULL},
    {'F', true, NULL, NULL, take_config, NULL},
    {'f', false, NULL, NULL, NULL, OWN_LIFE},
    {'G', false, NULL, NULL, NULL, NOT_A_LOGIN},
    {'g', false, "GatewayPorts", "yes", NULL, NULL},
    {'I', true, "PKCS11Provider", NULL, NULL, NULL},
    {'i', true, NULL, NULL, take_identity, NULL},
    {'J', true, "ProxyJump", NULL, NULL, NULL},
    {'K', false, "GSSAPIAuthentication", "yes", NULL, NULL},
    {'k', false, "GSSAPIDelegateCredentials", "no", NULL, NULL},
    {'L', true, NULL, NULL, NULL, NULL},
    {'l', true, "User", NULL, NULL, NULL},
    {'M', false, "ControlMaster", "yes", NULL, NULL},
    {'m', true, "MACs", NULL, NULL, NULL},
    {'N', false, NULL, NULL, NULL, "Towline runs its server through the connection"},
    {'n', false, NULL, NULL, NULL, OWN_LIFE},
    {'O', true, NULL, NULL, NULL, NOT_A_LOGIN},
    {'o', true, NULL, NULL, take_setting, NULL},
    {'P', true, "Tag", NULL, NULL, NULL},
    {'p', true, NULL, NULL, take_port, NULL},
    {'Q', true, NULL, NULL, NULL, NOT_A_LOGIN},
    {'q', false, "LogLevel", "QUIET", NULL, NULL},
    {'R', true, NULL, NULL, NULL, NULL},
    {'S', true, "ControlPath", NULL, NULL, NULL},
    {'s', false, NULL, NULL, NULL, NOT_A_LOGIN},
    {'T', false, "RequestTTY", "no", NULL, NULL},
    {'t', false, "RequestTTY", "yes", NULL, NULL},
    {'V', false, NULL, NULL, NULL, NOT_A_LOGIN},
    {'v', false, NULL, NULL, NULL, OWN_LOG},
    {'W', true, NULL, NULL, NULL, NOT_A_LOGIN},
    {'w', true, NULL, NULL, take_tunnel, NULL},
    {'X', false, "ForwardX11", "yes", NULL, NULL},
    {'x', false, "ForwardX11", "no", NULL, NULL},
    {'Y', false, "ForwardX11Trusted", "yes", NULL, NULL},
    {'y', false, NULL, NULL, NULL, OWN_LOG},
};

static const struct option *option_of(char letter)
{
	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++)
		if (options[i].letter == letter)
			return &options[i];
	return NULL;
}

static int take_option(struct parser *p, const struct option *o, const char *value)
{
	char what[TL_LIMIT_PATH];

	if (o->letter == 'L' || o->letter == 'R')
		return take_forward(p, o->letter, value);
	if (o->take)
		return o->take(p, value);
	/* these two mean two settings each */
	if (o->letter == 'K' && put(p, "GSSAPIDelegateCredentials", "yes") != 0)
		return TL_E_NOMEM;
	if (o->letter == 'Y' && put(p, "ForwardX11", "yes") != 0)
		return TL_E_NOMEM;
	if (o->key)
		return has_key(p->c, o->key) && !o->value
			   ? 0
			   : put_word(p, o->key, o->fixed ? o->fixed : value);
	str_copy(what, sizeof(what), "-x");
	what[1] = o->letter;
	if (value) {
		str_copy(what + 2, sizeof(what) - 2, " ");
		str_copy(what + 3, sizeof(what) - 3, value);
	}
	return leave(p, what, o->why);
}

/* A word of letters behind a dash, as getopt reads it. used: 1 when the value was the next word. */
static int take_cluster(struct parser *p, const char *word, const char *next, int *ret_used)
{
	int rc = 0;

	*ret_used = 0;
	for (const char *at = word + 1; *at && rc == 0; at++) {
		const struct option *o = option_of(*at);
		if (!o)
			return err_set(p->err, TL_E_INVAL, "ssh has no option -%c", *at);
		if (!o->value) {
			rc = take_option(p, o, NULL);
			continue;
		}
		if (!at[1] && !next)
			return err_set(p->err, TL_E_INVAL, "-%c needs a value", *at);
		*ret_used = !at[1];
		return take_option(p, o, at[1] ? at + 1 : next);
	}
	return rc;
}

/* ---- the destination ---- */

/* user@host, host:port, [v6]:port and ssh://user@host:port. An option that came before counts. */
static int take_destination(struct parser *p, const char *word)
{
	bool url = str_starts(word, "ssh://");
	char *text = str_dup(url ? word + 6 : word), *host = text, *at, *colon, *port = NULL;
	size_t n;
	int rc = 0;

	if (!text)
		return err_set(p->err, TL_E_NOMEM, "cannot read the command: out of memory");
	n = strlen(text);
	if (url && n > 0 && text[n - 1] == '/')
		text[n - 1] = 0;
	at = strrchr(text, '@');
	if (at) {
		*at = 0;
		host = at + 1;
		if (*text && !has_key(p->c, "User"))
			rc = put_word(p, "User", text);
	}
	if (host[0] == '[' && (colon = strchr(host, ']'))) {
		*colon = 0;
		host++;
		port = colon[1] == ':' ? colon + 2 : NULL;
	} else if ((colon = strchr(host, ':')) && !strchr(colon + 1, ':')) {
		*colon = 0;
		port = colon + 1;
	}
	if (rc == 0 && port && !has_key(p->c, "Port"))
		rc = take_port(p, port);
	if (rc == 0 && (!*host || *host == '-' || strlen(host) >= TL_LIMIT_HOST_NAME ||
			strpbrk(host, " \t\"'\\#*?!,/")))
		rc = err_set(p->err, TL_E_INVAL, "“%.100s” names no host", word);
	if (rc == 0 && !(p->c->host = str_dup(host)))
		rc = err_set(p->err, TL_E_NOMEM, "cannot read the command: out of memory");
	free(text);
	return rc;
}

static int take_command(struct parser *p, const struct strv *words, size_t from)
{
	char text[200] = "";
	size_t n = 0;

	for (size_t i = from; i < words->n && n + 1 < sizeof(text); i++) {
		if (i > from)
			text[n++] = ' ';
		str_copy(text + n, sizeof(text) - n, words->v[i]);
		n = strlen(text);
	}
	return leave(p, text, "a connection of Towline runs its own command: use towline exec");
}

static bool is_ssh(const char *word)
{
	const char *slash = strrchr(word, '/');

	return strcmp(slash ? slash + 1 : word, "ssh") == 0;
}

static void to_front(struct ssh_command *c, const char *key)
{
	size_t i = 0;
	char *k, *v;

	while (i < c->keys.n && strcasecmp(c->keys.v[i], key) != 0)
		i++;
	if (i == c->keys.n)
		return;
	k = c->keys.v[i];
	v = c->values.v[i];
	memmove(c->keys.v + 1, c->keys.v, i * sizeof(*c->keys.v));
	memmove(c->values.v + 1, c->values.v, i * sizeof(*c->values.v));
	c->keys.v[0] = k;
	c->values.v[0] = v;
}

/* The order in which people write blocks. */
static int put_hostname(struct parser *p)
{
	int rc = has_key(p->c, "HostName") ? 0 : put(p, "HostName", p->c->host);

	to_front(p->c, "Port");
	to_front(p->c, "User");
	to_front(p->c, "HostName");
	return rc;
}

int ssh_command_parse(const struct strv *words, const char *cwd, struct ssh_command *ret,
		      struct tl_err *err)
{
	struct parser p = {.c = ret, .cwd = cwd, .err = err};
	size_t i = words->n > 0 && is_ssh(words->v[0]) ? 1 : 0;
	bool ended = false;
	int rc = 0, used;

	memset(ret, 0, sizeof(*ret));
	for (; i < words->n && rc == 0; i++) {
		const char *w = words->v[i];
		if (!ended && strcmp(w, "--") == 0) {
			ended = true;
		} else if (!ended && w[0] == '-' && w[1]) {
			rc = take_cluster(&p, w, i + 1 < words->n ? words->v[i + 1] : NULL, &used);
			i += (size_t)used;
		} else if (!ret->host) {
			rc = take_destination(&p, w);
		} else {
			rc = take_command(&p, words, i);
			break;
		}
	}
	if (rc == 0 && !ret->host)
		rc = err_set(err, TL_E_INVAL, "the command names no host: give user@host");
	rc = rc ? rc : put_hostname(&p);
	if (rc)
		ssh_command_fini(ret);
	return rc;
}
