/* doctor.c - see doctor.h: the walk itself. */
#include "api/doctor_priv.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "api/plain.h"
#include "api/tool.h"
#include "dial/text.h"

#define CONNECT_MS 30000

static const char *const kinds[] = {"hostkey",  "passphrase", "password",
				    "question", "pin",        "touch"};

void doctor_begin(struct doctor *d)
{
	d->began_ms = clock_mono_ms();
}

int doctor_tell(struct doctor *d, const char *name, enum doctor_state state, int code,
		const char *todo, const char *fmt, ...)
{
	struct doctor_step s = {.name = name, .state = state, .ms = clock_mono_ms() - d->began_ms};
	char text[DOCTOR_TEXT];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	s.text = text_clean(text, false);
	s.todo = todo ? todo : state == DOCTOR_BAD ? err_row(code)->todo : "";
	d->o->on_step(d->o->ctx, &s);
	doctor_begin(d);
	return state == DOCTOR_BAD ? err_set(&d->err, code, "%s: %s", name, text) : 0;
}

void doctor_prompt(void *ctx, struct dial_prompt *p, enum dial_prompt_kind kind, const char *text,
		   bool echo, int attempt)
{
	struct doctor *d = ctx;
	const struct api_ui *ui = d->o->ui;
	char *answer = NULL;

	if (ui && ui->prompt &&
	    ui->prompt(ui->ctx, d->o->host, kinds[kind], text, echo, attempt, &answer) != 0)
		answer = NULL;
	/* a touch is answered by the token */
	if (kind != DIAL_PROMPT_TOUCH || !answer)
		dial_prompt_answer(p, answer);
	if (answer)
		explicit_bzero(answer, strlen(answer));
	free(answer);
}

struct dial_target doctor_target(const struct doctor *d)
{
	const struct api_host_options *how = &d->o->how;

	return (struct dial_target){.kind = DIAL_SSH,
				    .host = d->o->host,
				    .config_file = how->config_file,
				    .identities = how->identities,
				    .port = how->port,
				    .options = how->options,
				    .install_path = d->o->install_path};
}

struct dial_env doctor_env(const struct doctor *d)
{
	return (struct dial_env){.ssh_path = d->o->ssh_path,
				 .askpass_path = d->files.askpass,
				 .runtime_dir = d->dir,
				 .host_bin_dir = d->files.host_bin,
				 .connect_ms = CONNECT_MS};
}

int doctor_ssh(struct doctor *d, const char *const *more, const char *command, bool errors,
	       struct buf *out, int timeout_ms, int *ret_status)
{
	struct plain p = {.ssh = (char *)(uintptr_t)(d->o->ssh_path ? d->o->ssh_path : "ssh")};
	struct strv argv = {0};
	int rc = 0;

	str_copy(p.ctl, sizeof(p.ctl), d->ctl);
	if (errors) {
		rc = strv_add(&argv, "sh");
		rc = rc ? rc : strv_add(&argv, "-c");
		rc = rc ? rc : strv_add(&argv, "exec \"$@\" 2>&1");
		rc = rc ? rc : strv_add(&argv, "sh");
	}
	rc = rc ? rc : plain_argv(&p, &argv, more, command);
	rc = rc ? rc : tool_run(argv.v, bytes_str(""), out, timeout_ms, ret_status, NULL);
	strv_fini(&argv);
	return rc;
}

static int prepare(struct doctor *d, struct tl_err *err)
{
	const char *run = getenv("XDG_RUNTIME_DIR");
	int rc = place_find(&d->files, err);

	if (rc)
		return rc;
	/* short: a socket's path has a bound */
	if (!run || *run != '/' || strlen(run) > 30 || access(run, W_OK) != 0)
		run = "/tmp";
	snprintf(d->dir, sizeof(d->dir), "%s/towline-XXXXXX", run);
	if (!mkdtemp(d->dir))
		return err_sys(err, errno, "cannot make a folder in %s", run);
	snprintf(d->ctl, sizeof(d->ctl), "%s/c", d->dir);
	return 0;
}

int doctor_run(const struct doctor_options *o, struct tl_err *err)
{
	static int (*const steps[])(struct doctor *) = {doctor_config, doctor_net, doctor_login,
							doctor_host, doctor_server};
	struct doctor *d = calloc(1, sizeof(*d));
	int rc = d ? 0 : err_set(err, TL_E_NOMEM, "out of memory");

	if (rc)
		return rc;
	d->o = o;
	rc = prepare(d, err);
	rc = rc ? rc : loop_init(&d->loop);
	if (rc) {
		free(d);
		return rc;
	}
	doctor_begin(d);
	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]) && rc == 0; i++)
		rc = steps[i](d);
	if (rc)
		*err = d->err;
	if (d->dial)
		dial_close(d->dial);
	if (d->turn.open)
		timer_close(&d->turn, NULL);
	loop_run(&d->loop);
	loop_fini(&d->loop);
	unlink(d->ctl);
	rmdir(d->dir);
	strv_fini(&d->tried);
	free(d);
	return rc;
}
