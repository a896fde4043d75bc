/* hub_plain.c - a host that cannot run our program is served all the same (C9): its ssh stays as a
 * private master connection, and a process of ours, the stand-in (src/standin/), is the other end
 * of the link. To the rest of the room the host then looks like any other, with fewer things it can
 * do.
 *
 * The login is that of the first attempt wherever it survives. Where it has ended (servers for
 * files only do that), or the user's configuration has masters of its own, there is a second one.
 * What was found out stays true while the host stays wanted: reconnections log in once. */
#include "hub/hub_priv.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "loop/sock.h"

#define FOLDER "plain-"
#define PATIENCE_MS                                                                                \
	750 /* twice without a word after the login: asked whether it has files only               \
	     */

/* ---- its folder ---- */

static void folder_remove(const char *dir)
{
	char path[TL_LIMIT_PATH + 300];
	DIR *d = opendir(dir);
	struct dirent *e;

	while (d && (e = readdir(d)) != NULL) {
		snprintf(path, sizeof(path), "%s/%s", dir, e->d_name);
		unlink(path);
	}
	if (d)
		closedir(d);
	rmdir(dir);
}

void host_plain_sweep(struct hub *h)
{
	char path[TL_LIMIT_PATH + 300];
	DIR *d = opendir(h->cfg.runtime_dir);
	struct dirent *e;

	while (d && (e = readdir(d)) != NULL) {
		if (!str_starts(e->d_name, FOLDER))
			continue;
		snprintf(path, sizeof(path), "%s/%s", h->cfg.runtime_dir, e->d_name);
		folder_remove(path);
	}
	if (d)
		closedir(d);
}

/* Made when it is first needed. */
static bool folder_make(struct hub_host *hh)
{
	struct host_plain *p = &hh->plain;
	char id[9];

	if (p->dir[0])
		return true;
	random_id(id, sizeof(id) - 1);
	snprintf(p->dir, sizeof(p->dir), "%s/" FOLDER "%s", hh->hub->cfg.runtime_dir, id);
	if (master_control_path(p->dir, p->ctl, sizeof(p->ctl)) && mkdir(p->dir, 0700) == 0)
		return true;
	p->dir[0] = 0;
	return false;
}

/* The stand-in has to reach its terminals through the folder, and removes it then. */
static void folder_leave(struct host_plain *p)
{
	if (p->dir[0] && p->child.pid <= 0)
		folder_remove(p->dir);
	child_forget(&p->child);
	p->dir[0] = 0;
}

/* ---- before and while ssh logs in ---- */

static void files_only(void *ctx)
{
	struct hub_host *hh = ctx;
	struct tl_err why;

	if (hh->plain.spoken || !hh->dial)
		return;
	hh->plain.files_only = true;
	err_set(&why, TL_E_NOSHELL, "%s runs no commands: it allows files only (SFTP)", hh->name);
	dial_keep(hh->dial, &why);
}

static void patience(void *ctx)
{
	struct hub_host *hh = ctx;
	struct host_plain *p = &hh->plain;

	if (p->spoken || !hh->dial || hh->session)
		return;
	/* ssh makes the socket when it is in */
	if (access(p->ctl, F_OK) == 0 && ++p->silent_turns == 2)
		master_silent_ask(&p->silent, hh->hub->loop, hh->hub->cfg.ssh_path, p->ctl,
				  files_only, hh);
	else
		timer_start(&p->patience, PATIENCE_MS);
}

void host_plain_init(struct hub_host *hh)
{
	timer_init(hh->hub->loop, &hh->plain.patience, patience, hh);
}

void host_plain_target(struct hub_host *hh, struct dial_target *t)
{
	struct host_plain *p = &hh->plain;

	if (t->kind != DIAL_SSH || !folder_make(hh))
		return;
	/* a host that has run our program does so again */
	if (hh->was_connected && !p->tried)
		return;
	t->login_only = p->tried;
	t->keep_login = !p->tried && !master_is_users(t->options, t->config_file);
	if (!t->login_only && !t->keep_login)
		return;
	t->control_path = p->ctl;
	p->spoken = false;
	p->silent_turns = 0;
	unlink(p->ctl);
	if (t->keep_login)
		timer_start(&p->patience, PATIENCE_MS);
}

void host_plain_spoke(struct hub_host *hh)
{
	hh->plain.spoken = true;
	timer_stop(&hh->plain.patience);
}

/* ---- what was answered already ---- */

static bool is_secret(enum dial_prompt_kind kind)
{
	/* one-time codes are new each time */
	return kind == DIAL_PROMPT_PASSWORD || kind == DIAL_PROMPT_PASSPHRASE;
}

static void answers_wipe(struct host_plain *p)
{
	while (p->n_answers) {
		struct plain_answer *a = &p->answers[--p->n_answers];
		explicit_bzero(a->answer, strlen(a->answer));
		free(a->answer);
		free(a->text);
	}
}

void host_plain_answered(struct hub_host *hh, enum dial_prompt_kind kind, const char *text,
			 const char *answer)
{
	struct host_plain *p = &hh->plain;
	struct plain_answer *a = &p->answers[p->n_answers];

	if (!answer || !is_secret(kind) || !p->dir[0] || p->tried || p->n_answers == HOST_ANSWERS)
		return;
	*a = (struct plain_answer){str_dup(text), str_dup(answer)};
	if (a->text && a->answer) {
		p->n_answers++;
		return;
	}
	free(a->text);
	free(a->answer);
}

const char *host_plain_answer(struct hub_host *hh, enum dial_prompt_kind kind, const char *text,
			      int attempt)
{
	struct host_plain *p = &hh->plain;

	/* of the same question the last answer was the right one; a second time it was not */
	for (size_t i = p->n_answers; p->tried && is_secret(kind) && attempt == 1 && i-- > 0;)
		if (strcmp(p->answers[i].text, text) == 0)
			return p->answers[i].answer;
	return NULL;
}

/* ---- decisions ---- */

bool host_plain_again(struct hub_host *hh, const struct tl_err *why)
{
	struct host_plain *p = &hh->plain;

	if (p->tried || hh->was_connected || hh->session || !p->dir[0] ||
	    (why->code != TL_E_NOSHELL && !dial_is_about_server(why->code)))
		return false;
	p->tried = true;
	p->why = *why;
	log_line(LOG_INFO, hh->name, "%s; trying without a server of ours", why->text);
	return true;
}

void host_plain_forget(struct hub_host *hh)
{
	struct host_plain *p = &hh->plain;

	answers_wipe(p);
	host_plain_stop(hh);
	folder_leave(p);
	p->tried = p->files_only = false;
	memset(&p->why, 0, sizeof(p->why));
}

void host_plain_connected(struct hub_host *hh)
{
	answers_wipe(&hh->plain);
}

void host_plain_stop(struct hub_host *hh)
{
	timer_stop(&hh->plain.patience);
	master_silent_close(&hh->plain.silent);
	hh->plain.serving = false;
}

static void closed(void *ctx)
{
	struct hub_host *hh = ctx;

	hh->plain.on_closed(hh);
}

void host_plain_close(struct hub_host *hh, void (*on_closed)(struct hub_host *hh))
{
	host_plain_stop(hh);
	answers_wipe(&hh->plain);
	folder_leave(&hh->plain);
	hh->plain.on_closed = on_closed;
	timer_close(&hh->plain.patience, closed);
}

/* ---- the stand-in ---- */

static void ended(void *ctx, int kind, int value)
{
	struct hub_host *hh = ctx;

	if (kind || value)
		log_line(LOG_WARN, hh->name, "the stand-in ended with %s %d",
			 kind ? "signal" : "status", value);
}

int host_plain_serve(struct hub_host *hh, const struct tl_err *why, int *ret_fd, struct tl_err *err)
{
	struct host_plain *p = &hh->plain;
	const struct hub_config *cfg = &hh->hub->cfg;
	int sv[2], rc;

	if (why->code) {
		p->tried = true;
		p->why = *why;
	}
	host_plain_stop(hh);
	answers_wipe(p);
	char *argv[] = {(char *)(uintptr_t) "stand-in",
			p->dir,
			(char *)(uintptr_t)cfg->ssh_path,
			hh->name,
			(char *)(uintptr_t)err_row(p->why.code)->name,
			p->why.text,
			(char *)(uintptr_t)(p->files_only ? "files" : "any"),
			NULL};
	struct child_spec spec = {
	    .file = cfg->self_path, .argv = argv, .fd = {-1, -1, 2}, .new_group = true, .ctty = -1};
	rc = socket_pair(sv);
	if (rc)
		return err_set(err, rc, "cannot serve %s: no socket pair", hh->name);
	spec.fd[0] = spec.fd[1] = sv[1];
	/* the one before may still be on its way out */
	child_forget(&p->child);
	rc = child_spawn(hh->hub->loop, &p->child, &spec, ended, hh, err);
	close(sv[1]);
	if (rc) {
		close(sv[0]);
		return rc;
	}
	p->serving = true;
	*ret_fd = sv[0];
	log_line(LOG_INFO, hh->name, "served without a server of ours: %s", p->why.text);
	return 0;
}
