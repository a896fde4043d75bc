/* standin_look.c - what the host allows, asked once at the beginning: a shell that runs what we
 * say, an SFTP server, both; with neither it is of no use, and the reason of the first attempt
 * stands. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "api/sftp_client.h"
#include "api/sftp_priv.h"
#include "standin/standin_state.h"

#define SHELL_MS TL_LIMIT_CONNECT_MS

struct look {
	struct standin_task task;
	struct standin_facts facts;
};

struct standin_call {
	struct list node;
	struct rpc_call *call;
	void (*go)(struct rpc_call *c);
};

int standin_sftp(struct plain *p, struct sftp_client **ret, struct tl_err *err)
{
	int fd = -1, rc = plain_open(p, NULL, "{\"open\":\"sftp\"}", NULL, 0, &fd, NULL, err);

	/* the program has enough to do with one host: nobody cancels */
	return rc ? rc : sftp_client_open_plain(ret, fd, -1, err);
}

/* ---- in the thread ---- */

/* The lines behind the mark; what is missing stays empty. */
static void take_lines(struct standin_facts *f, const char *text)
{
	char *space;
	const struct {
		char *out;
		size_t n;
	} rows[] = {{f->os, sizeof(f->os)},
		    {f->kernel, sizeof(f->kernel)},
		    {f->hostname, sizeof(f->hostname)},
		    {f->user, sizeof(f->user)},
		    {f->uid, sizeof(f->uid)},
		    {f->home, sizeof(f->home)},
		    {f->shell, sizeof(f->shell)}};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]) && *text; i++) {
		size_t n = strcspn(text, "\n");
		if (n < rows[i].n) {
			memcpy(rows[i].out, text, n);
			rows[i].out[n] = 0;
		}
		text += n + (text[n] == '\n');
	}
	/* Darwin arm64 */
	space = strrchr(f->os, ' ');
	if (space) {
		str_copy(f->arch, sizeof(f->arch), space + 1);
		*space = 0;
	}
}

static void ask_shell(struct standin *s, struct standin_facts *f)
{
	char script[1024], nonce[17], mark[40], *at;
	struct buf command, out;
	struct tl_err err = {0};
	int status = 255, n;
	const char *text;

	random_id(nonce, sizeof(nonce) - 1);
	/* the mark is not in the command: a server that repeats it is no shell */
	n = snprintf(script, sizeof(script),
		     "q(){ \"$@\" 2>/dev/null||echo;}\n"
		     "printf '\\ntow%%s%s\\n' line-\n"
		     "q uname -sm\nq uname -r\nq uname -n\nq id -un\nq id -u\n"
		     "printf '%%s\\n%%s\\n' \"$HOME\" \"${SHELL:-/bin/sh}\"\n",
		     nonce);
	snprintf(mark, sizeof(mark), "\ntowline-%s\n", nonce);
	buf_init(&command, PLAIN_COMMAND);
	buf_init(&out, TL_LIMIT_NOISE + 4 * TL_LIMIT_PATH);
	if (master_command(&command, script, (size_t)n) == 0 &&
	    plain_ask(s->plain, NULL, buf_cstr(&command), &out, SHELL_MS, &status, &err) == 0) {
		text = buf_cstr(&out);
		at = text ? strstr(text, mark) : NULL;
		f->commands = at != NULL;
		if (at)
			take_lines(f, at + strlen(mark));
	}
	buf_fini(&command);
	buf_fini(&out);
}

static void ask_files(struct standin *s, struct standin_facts *f)
{
	struct sftp_client *c = NULL;
	char home[TL_LIMIT_PATH];
	struct tl_err err = {0};

	if (standin_sftp(s->plain, &c, &err) != 0)
		return;
	f->files = true;
	/* in a chroot this is not what the shell says */
	if (sftp_client_realpath(c, ".", home, sizeof(home)) == 0)
		str_copy(f->home, sizeof(f->home), home);
	/* /C:/Users/somebody */
	f->windows = !f->commands && home[0] == '/' && home[1] && home[2] == ':';
	if (f->windows)
		str_copy(f->os, sizeof(f->os), "Windows");
	sftp_client_free(c);
}

static void look_work(struct standin_task *t)
{
	struct look *l = (struct look *)(void *)t;

	if (!t->s->plain->sftp_only)
		ask_shell(t->s, &l->facts);
	ask_files(t->s, &l->facts);
}

/* ---- on the loop ---- */

static void look_finish(struct standin_task *t)
{
	struct look *l = (struct look *)(void *)t;
	struct standin *s = t->s;

	s->facts = l->facts;
	s->plain->sftp_only = !l->facts.commands;
	s->look = l->facts.commands || l->facts.files ? STANDIN_KNOWN : STANDIN_USELESS;
	s->useless = s->why;
	/* in our words: servers say it in many ways, or not at all */
	if (l->facts.files && !l->facts.commands && !l->facts.windows &&
	    s->why.code == TL_E_NOSHELL)
		err_set(&s->why, TL_E_NOSHELL, "%s runs no commands: it allows files only (SFTP)",
			s->host);
	free(l);
	LIST_FOREACH_SAFE (it, &s->waiting) {
		struct standin_call *w = list_entry(it, struct standin_call, node);
		list_del(it);
		w->go(w->call);
		free(w);
	}
}

int standin_look(struct standin *s, struct tl_err *err)
{
	struct look *l = calloc(1, sizeof(*l));
	int rc;

	if (!l)
		return err_set(err, TL_E_NOMEM, "out of memory");
	l->task.work = look_work;
	l->task.finish = look_finish;
	rc = standin_run(s, &l->task, err);
	if (rc)
		free(l);
	return rc;
}

bool standin_wait(struct standin *s, struct rpc_call *c, void (*go)(struct rpc_call *c))
{
	struct standin_call *w;

	if (s->look != STANDIN_LOOKING)
		return false;
	w = calloc(1, sizeof(*w));
	if (!w) {
		rpc_failf(c, TL_E_NOMEM, "cannot do %s: out of memory", c->msg.method);
		return true;
	}
	w->call = c;
	w->go = go;
	list_add_tail(&s->waiting, &w->node);
	return true;
}
