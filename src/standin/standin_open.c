/* standin_open.c - the streams of a host without our program. Files and watching are a face of our
 * own each, a terminal is a hold here; commands and connections are made by the code of
 * libtowline's plain sessions, in a thread, because making them may wait. */
#include <stdlib.h>
#include <unistd.h>

#include "api/session_priv.h"
#include "standin/standin_state.h"

struct opening {
	struct standin_task task;
	struct agent_stream *stream; /* NULL: the client gave up */
	bool connection;
	char *request, *ok;
	int fd, rc;
	struct tl_err err;
};

static void opening_free(struct opening *o)
{
	if (o->fd >= 0)
		close(o->fd);
	free(o->request);
	free(o->ok);
	free(o);
}

static void opening_work(struct standin_task *t)
{
	struct opening *o = (struct opening *)(void *)t;
	char host[TL_LIMIT_HOST_NAME];
	struct tl_session words = {.host = host};

	str_copy(host, sizeof(host), t->s->host);
	o->rc = plain_open(t->s->plain, &words, o->request, t->s->plain->stop, 0, &o->fd, &o->ok,
			   &o->err);
}

static void opening_finish(struct standin_task *t)
{
	struct opening *o = (struct opening *)(void *)t;
	struct agent_stream *s = o->stream;
	int fd = o->fd, rc = o->rc;
	struct agent_link *lk;

	if (s) {
		lk = s->link;
		s->ops = NULL;
		s->state = NULL;
		if (rc == 0) {
			o->fd = -1;
			rc = o->connection ? relay_open_socket(s, fd, &o->err)
					   : relay_open_fd(s, fd, &o->err);
		}
		if (rc)
			stream_refuse(s, &o->err);
		else if (!stream_accept_with(s, o->ok ? o->ok : "{}"))
			session_reset(s->st);
		agent_link_kick(lk);
	}
	opening_free(o);
}

static void opening_readable(struct agent_stream *s)
{
	(void)s; /* it waits in the stream's window */
}

static void opening_closed(struct agent_stream *s)
{
	((struct opening *)s->state)->stream = NULL;
}

static const struct stream_ops opening_ops = {.readable = opening_readable,
					      .closed = opening_closed};

static int open_plain(struct agent_stream *s, const char *name, yyjson_val *request,
		      struct tl_err *err)
{
	struct standin *in = s->link->agent->stand_in_ctx;
	struct opening *o = calloc(1, sizeof(*o));
	int rc;

	if (!o || !(o->request = yyjson_val_write(request, 0, NULL))) {
		free(o);
		return err_set(err, TL_E_NOMEM, "cannot open a stream: out of memory");
	}
	o->fd = -1;
	o->stream = s;
	o->connection = strcmp(name, "exec") != 0 && strcmp(name, "tcpip-forward") != 0;
	o->task.work = opening_work;
	o->task.finish = opening_finish;
	rc = standin_run(in, &o->task, err);
	if (rc) {
		opening_free(o);
		return rc;
	}
	s->state = o;
	s->ops = &opening_ops;
	return 1;
}

static int open_face(struct agent_stream *s, const char *face, struct tl_err *err)
{
	struct standin *in = s->link->agent->stand_in_ctx;
	char *argv[] = {(char *)(uintptr_t)face, (char *)(uintptr_t)in->dir,
			(char *)(uintptr_t)in->ssh, NULL};
	struct child_spec spec = {
	    .file = "/proc/self/exe", .argv = argv, .new_group = true, .ctty = -1};

	if (in->look == STANDIN_KNOWN && !in->facts.files)
		return err_set(err, TL_E_UNSUPPORTED,
			       "cannot reach the files of %s: it has no SFTP server, and our "
			       "program does not run there",
			       in->host);
	return relay_open_program(s, &spec, "the file service", err);
}

int standin_open(struct agent_stream *s, const char *name, yyjson_val *request, struct tl_err *err)
{
	static const char *const missing[] = {"ports", "kernel"};
	struct standin *in = s->link->agent->stand_in_ctx;

	if (strcmp(name, "rpc") == 0 || strcmp(name, "term") == 0)
		return AGENT_USUAL;
	if (strcmp(name, "sftp") == 0)
		return open_face(s, "stand-in-files", err);
	if (strcmp(name, "watch") == 0)
		return open_face(s, "stand-in-watch", err);
	for (size_t i = 0; i < sizeof(missing) / sizeof(missing[0]); i++)
		if (strcmp(name, missing[i]) == 0)
			return err_set(
			    err, TL_E_UNSUPPORTED,
			    "“%s” needs our program on %s, which is served by plain ssh (%.300s)",
			    name, in->host, in->why.text);
	return open_plain(s, name, request, err);
}
