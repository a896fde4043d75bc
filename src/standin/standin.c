/* standin.c - the life of the stand-in: one client on standard input and output, tasks in threads,
 * the end. When the daemon took leave the terminals end with it; when the daemon or the host is
 * just gone, what they said stays readable for a while. The master connection is ended either way:
 * without us nobody uses it. */
#include "standin/standin.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "api/session_run.h"
#include "base/log.h"
#include "host/agent_holds.h"
#include "loop/io.h"
#include "standin/standin_state.h"
#include "wire/hold_frame.h"

#define ASK_MS 5000

/* ---- tasks ---- */

static void *task_main(void *ctx)
{
	struct standin_task *t = ctx;
	struct standin *s = t->s;

	t->work(t);
	pthread_mutex_lock(&s->lock);
	list_add_tail(&s->done, &t->node);
	if (!s->over)
		wake_send(&s->wake);
	pthread_mutex_unlock(&s->lock);
	plain_leave(s->plain);
	return NULL;
}

int standin_run(struct standin *s, struct standin_task *t, struct tl_err *err)
{
	if (s->over)
		return err_set(err, TL_E_CLOSED, "the connection to %s is closed", s->host);
	t->s = s;
	list_init(&t->node);
	return plain_thread(s->plain, task_main, t, err);
}

static void on_done(void *ctx)
{
	struct standin *s = ctx;

	for (;;) {
		struct standin_task *t = NULL;
		pthread_mutex_lock(&s->lock);
		if (!list_empty(&s->done)) {
			t = list_entry(s->done.next, struct standin_task, node);
			list_del(&t->node);
		}
		pthread_mutex_unlock(&s->lock);
		if (!t)
			return;
		t->finish(t);
	}
}

/* ---- the end ---- */

static void on_over(struct agent *a)
{
	struct standin *s = a->stand_in_ctx;

	serve_over(a);
	pthread_mutex_lock(&s->lock);
	if (!s->over)
		wake_close(&s->wake, NULL);
	s->over = true;
	pthread_mutex_unlock(&s->lock);
}

/* A terminal that nobody will ask for any more; the hold ends by itself. */
static void drop_one(void *ctx, const char *id)
{
	struct standin *s = ctx;
	int fd = hold_connect(s->dir, id, NULL);
	uint8_t frame[HOLD_HEADER];

	if (fd < 0)
		return;
	hold_put_header(frame, HOLD_FRAME_DROP, 0);
	fd_write_all(fd, frame, sizeof(frame), ASK_MS);
	close(fd);
}

static void end_master(struct standin *s)
{
	const char *const words[] = {"-O", "exit", NULL};
	struct buf out;
	int status;

	buf_init(&out, 4096);
	plain_ask(s->plain, words, NULL, &out, ASK_MS, &status, NULL);
	buf_fini(&out);
}

/* ---- the beginning ---- */

static const struct agent_stand_in ways = {.open = standin_open, .method = standin_method};

static int serve(struct standin *s, struct tl_err *err)
{
	struct agent *a = &s->agent;
	int rc = loop_init(&a->loop);

	if (rc)
		return err_set(err, rc, "cannot make an event loop");
	a->stand_in = &ways;
	a->stand_in_ctx = s;
	a->forced_run_dir = s->dir;
	str_copy(a->run.path, sizeof(a->run.path), s->dir);
	rc = wake_init(&a->loop, &s->wake, on_done, s);
	rc = rc ? err_set(err, rc, "cannot watch threads") : standin_look(s, err);
	rc = rc ? rc : serve_begin(a, on_over, err);
	if (rc == 0)
		loop_run(&a->loop);
	else if (!s->over)
		on_over(a);
	loop_fini(&a->loop);
	free(a->chunk);
	return rc;
}

int standin_main(int argc, char **argv)
{
	struct sigaction ignore = {.sa_handler = SIG_IGN};
	struct standin s = {.lock = PTHREAD_MUTEX_INITIALIZER};
	const struct tl_error_row *row;
	struct tl_err err = {0};
	char dir[TL_LIMIT_PATH];
	int rc;

	if (argc != 7 || !str_copy(dir, sizeof(dir), argv[1])) {
		fprintf(stderr, "towlined: %s is started by towlined only\n", argv[0]);
		return err_row(TL_E_INVAL)->exit_status;
	}
	sigaction(SIGPIPE, &ignore, NULL);
	log_init(LOG_WARN, NULL, NULL);
	s.dir = argv[1];
	s.ssh = argv[2];
	s.host = argv[3];
	row = err_row_by_name(argv[4], strlen(argv[4]));
	err_set(&s.why, row ? row->code : TL_E_NOSHELL, "%s", argv[5]);
	list_init(&s.waiting);
	list_init(&s.done);
	s.plain = plain_new(s.host, s.ssh, s.dir, s.why.text, strcmp(argv[6], "files") == 0);
	rc = s.plain ? serve(&s, &err) : err_set(&err, TL_E_NOMEM, "out of memory");
	if (s.plain) {
		if (s.agent.bye)
			holds_each(s.dir, drop_one, &s);
		end_master(&s);
		plain_close(s.plain);
		if (s.agent.bye)
			run_dir_remove(dir);
	}
	/* the threads are gone; what they brought is not wanted any more */
	on_done(&s);
	if (rc)
		fprintf(stderr, "towlined: %s\n", err.text);
	return rc ? err_row(rc)->exit_status : 0;
}
