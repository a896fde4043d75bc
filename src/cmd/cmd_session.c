/* cmd_session.c - the command's way into libtowline. */
#include "cmd/cmd_session.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"

/* The one thing a signal handler can reach; set before the handler is. */
static struct {
	struct tl_cancel *cancel;
	volatile sig_atomic_t signo;
} caught;

static void on_signal(int signo)
{
	caught.signo = signo;
	tl_cancel(caught.cancel);
}

int cmd_session_signal(void)
{
	return caught.signo;
}

void cmd_session_catch(struct cmd_session *cs)
{
	static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
	struct sigaction sa = {.sa_handler = on_signal}, old;

	caught.cancel = cs->cancel;
	sigemptyset(&sa.sa_mask);
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
		/* nohup and the background of a shell without job control stay as they are */
		if (sigaction(signals[i], NULL, &old) == 0 && old.sa_handler == SIG_IGN)
			continue;
		sigaction(signals[i], &sa, NULL);
	}
}

/* ---- questions ---- */

int cmd_session_prompt(void *ctx, enum tl_prompt_kind kind, const char *text, int attempt,
		       char *answer, size_t n)
{
	static const char *const names[] = {"hostkey",  "passphrase", "password",
					    "question", "pin",        "touch"};
	struct cmd_ui *ui = ctx;
	bool echo = kind == TL_PROMPT_HOSTKEY || kind == TL_PROMPT_TOUCH;
	char *given = NULL;
	int rc;

	rc = ui->api.prompt(ui->api.ctx, "", names[kind], text, echo, attempt, &given);
	if (rc == 0 && given && !str_copy(answer, n, given))
		rc = TL_E_LIMIT;
	if (given)
		explicit_bzero(given, strlen(given));
	free(given);
	return rc;
}

static void on_log(void *ctx, int level, const char *line)
{
	struct cmd_ui *ui = ctx;

	(void)level;
	cmd_ui_clear(ui);
	fprintf(stderr, "towline: %s\n", line);
}

/* ---- life ---- */

/* The command knows several keys, the library one: the others are options of ssh. */
static int add_keys(const struct cmd_globals *g, struct strv *options)
{
	for (size_t i = 0; g->host.options && g->host.options[i]; i++)
		if (strv_add(options, g->host.options[i]))
			return TL_E_NOMEM;
	for (size_t i = 0; g->host.identities && g->host.identities[i]; i++)
		if (i > 0 && strv_addf(options, "IdentityFile=%s", g->host.identities[i]))
			return TL_E_NOMEM;
	return 0;
}

int cmd_session_open(struct cmd_session *cs, const struct cmd_globals *g, const char *host,
		     struct tl_error *err)
{
	struct tl_options o = TL_OPTIONS_INIT;
	struct strv options = {0};
	int rc;

	memset(cs, 0, sizeof(*cs));
	cmd_ui_init(&cs->ui, g);
	cs->cancel = tl_cancel_new();
	if (!cs->cancel || add_keys(g, &options)) {
		memset(err, 0, sizeof(*err));
		err->number = TL_E_NOMEM;
		rc = TL_E_NOMEM;
	} else {
		o.config_file = g->host.config_file;
		o.key_file = g->host.identities ? g->host.identities[0] : NULL;
		o.ssh_options = (const char *const *)options.v;
		o.ssh_program = getenv("TOWLINE_SSH");
		o.port = g->host.port;
		o.verbosity = g->verbose == 0 ? 0 : g->verbose + 1 > 4 ? 4 : g->verbose + 1;
		o.prompt = cmd_session_prompt;
		o.log = g->verbose ? on_log : NULL;
		o.ctx = &cs->ui;
		rc = tl_connect(host, &o, &cs->s, err);
	}
	strv_fini(&options);
	cmd_ui_clear(&cs->ui);
	if (rc)
		cmd_session_close(cs);
	return rc;
}

void cmd_session_close(struct cmd_session *cs)
{
	tl_disconnect(cs->s);
	cs->s = NULL;
	caught.cancel = NULL;
	tl_cancel_free(cs->cancel);
	cs->cancel = NULL;
}

int cmd_session_fail(const struct cmd_globals *g, const struct tl_error *err)
{
	struct tl_err e = {.code = err->number, .sys_errno = err->sys_errno};

	str_copy(e.text, sizeof(e.text), err->message);
	return cmd_fail(g, &e);
}
