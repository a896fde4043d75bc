/* exec.c - runs one command for one exec stream: a small process between the agent's socket and the
 * command.
 *
 * Owns the command's process group: it never outlives the stream without having had SIGTERM, time,
 * and SIGKILL. Holds at most one frame of input that the command does not take, and one turn of
 * output that the client does not take: whoever is slow slows the other side. */
#include "host/exec.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/limits.h"
#include "host/exec_spec.h"
#include "loop/child.h"
#include "loop/io.h"
#include "wire/exec_frame.h"
#include "wire/jsonrpc.h"

#define OUT_MAX  (4 * EXEC_FRAME_MAX)
#define VEOF_KEY 4 /* what a terminal takes for the end of input */

/* One of the command's outputs. */
struct outlet {
	struct io io;
	struct exec_run *run;
	uint8_t frame_type;
	bool open;
};

struct exec_run {
	struct loop loop;
	struct io channel; /* the agent's socket */
	struct buf in, out;
	struct buf script;
	struct exec_spec spec;
	struct child child;
	struct io input; /* the command's standard input, or its terminal */
	struct outlet outlets[2];
	struct loop_timer timer; /* drain after the exit, or kill after the end of the stream */
	size_t fed;  /* bytes of the STDIN frame at the front of in that the command took */
	pid_t group; /* of the command, 0 before it runs */
	int exit_kind, exit_value;
	bool has_line, started, input_open, exited, exit_sent, gone;
};

static void run_flush(struct exec_run *r);
static void run_take(struct exec_run *r);
static void stream_over(struct exec_run *r);

/* The group may live on after its leader. */
static void run_kill(struct exec_run *r, int signo)
{
	if (r->group > 0)
		kill(-r->group, signo);
}

/* ---- the command's output ---- */

static void outlet_close(struct outlet *o)
{
	if (!o->open)
		return;
	o->open = false;
	io_close(&o->io, NULL);
}

/* The last frame, once the command is over and its outputs are drained. */
static void maybe_exit(struct exec_run *r)
{
	if (!r->exited || r->exit_sent || r->outlets[0].open || r->outlets[1].open)
		return;
	if (exec_put_exit(&r->out, r->exit_kind ? EXEC_EXIT_SIGNAL : EXEC_EXIT_STATUS,
			  (uint32_t)r->exit_value) == 0)
		r->exit_sent = true;
	run_flush(r);
}

static void outlet_readable(void *ctx)
{
	struct outlet *o = ctx;
	struct exec_run *r = o->run;

	for (int turn = 0; turn < 4 && o->open; turn++) {
		uint8_t *p;
		long n;
		if (buf_room(&r->out) < EXEC_FRAME_MAX || r->gone) {
			io_want_read(&o->io, false);
			break;
		}
		p = buf_reserve(&r->out, EXEC_FRAME_MAX);
		n = p ? io_read(&o->io, p + EXEC_HEADER, EXEC_PAYLOAD) : TL_E_NOMEM;
		if (n == TL_E_AGAIN)
			break;
		if (n <= 0) {
			outlet_close(o);
			break;
		}
		exec_put_header(p, o->frame_type, (size_t)n);
		buf_commit(&r->out, EXEC_HEADER + (size_t)n);
		if (r->exited)
			timer_start(&r->timer, TL_LIMIT_EXEC_DRAIN_MS);
	}
	run_flush(r);
	maybe_exit(r);
}

/* ---- the channel ---- */

static void run_end(struct exec_run *r)
{
	loop_stop(&r->loop);
}

static void run_flush(struct exec_run *r)
{
	while (r->out.len > 0 && !r->gone) {
		struct tl_bytes b = buf_data(&r->out);
		long n = io_write(&r->channel, b.p, b.n);
		if (n < 0) {
			stream_over(r);
			return;
		}
		buf_consume(&r->out, (size_t)n);
		if ((size_t)n < b.n) {
			io_want_write(&r->channel, true);
			return;
		}
	}
	for (int i = 0; i < 2; i++)
		if (r->outlets[i].open)
			io_want_read(&r->outlets[i].io, true);
	if (r->exit_sent && r->out.len == 0)
		run_end(r);
}

static void channel_writable(void *ctx)
{
	run_flush(ctx);
}

static void on_timer(void *ctx)
{
	struct exec_run *r = ctx;

	if (r->gone) {
		run_kill(r, SIGKILL);
		run_end(r);
		return;
	}
	/* what the command left in its pipes waits for a slow client as long as it takes */
	for (int i = 0; i < 2 && r->out.len == 0; i++)
		if (r->outlets[i].open)
			outlet_readable(&r->outlets[i]);
	if (r->out.len > 0) {
		timer_start(&r->timer, TL_LIMIT_EXEC_DRAIN_MS);
		return;
	}
	/* silence: a background process keeps the output open, the command itself is over */
	for (int i = 0; i < 2; i++)
		outlet_close(&r->outlets[i]);
	maybe_exit(r);
}

/* The client is gone: nobody waits for the command any more. */
static void stream_over(struct exec_run *r)
{
	if (r->gone)
		return;
	r->gone = true;
	io_close(&r->channel, NULL);
	if (!r->started || r->exit_sent) {
		run_end(r);
		return;
	}
	run_kill(r, SIGHUP);
	run_kill(r, SIGTERM);
	timer_start(&r->timer, TL_LIMIT_EXEC_KILL_MS);
}

static void command_exited(void *ctx, int kind, int value)
{
	struct exec_run *r = ctx;

	r->exited = true;
	r->exit_kind = kind;
	r->exit_value = value;
	if (r->gone) {
		/* the group's others still get their time */
		if (kill(-r->group, 0) != 0)
			run_end(r);
		return;
	}
	timer_start(&r->timer, TL_LIMIT_EXEC_DRAIN_MS);
	maybe_exit(r);
}

/* ---- starting ---- */

static void input_writable(void *ctx)
{
	run_take(ctx);
}

static void input_close(struct exec_run *r)
{
	if (!r->input_open)
		return;
	r->input_open = false;
	/* a terminal's master is also its output */
	if (!r->spec.pty)
		io_close(&r->input, NULL);
}

static int start_with_pipes(struct exec_run *r, struct child_spec *cs, struct tl_err *err)
{
	int in[2] = {-1, -1}, out[2] = {-1, -1}, eout[2] = {-1, -1}, rc;

	if (pipe2(in, O_CLOEXEC) != 0 || pipe2(out, O_CLOEXEC) != 0 ||
	    pipe2(eout, O_CLOEXEC) != 0) {
		rc = err_sys(err, errno, "cannot run a command: no pipe");
		goto out;
	}
	cs->fd[0] = in[0];
	cs->fd[1] = out[1];
	cs->fd[2] = eout[1];
	cs->new_session = true;
	rc = child_spawn(&r->loop, &r->child, cs, command_exited, r, err);
	if (rc)
		goto out;
	io_open(&r->loop, &r->input, in[1], in[1], NULL, input_writable, r);
	io_want_read(&r->input, false);
	io_open(&r->loop, &r->outlets[0].io, out[0], out[0], outlet_readable, NULL, &r->outlets[0]);
	io_open(&r->loop, &r->outlets[1].io, eout[0], eout[0], outlet_readable, NULL,
		&r->outlets[1]);
	r->outlets[1].open = true;
	in[1] = out[0] = eout[0] = -1;
out:
	for (int i = 0; i < 2; i++) {
		if (in[i] >= 0)
			close(in[i]);
		if (out[i] >= 0)
			close(out[i]);
		if (eout[i] >= 0)
			close(eout[i]);
	}
	return rc;
}

static int start_with_pty(struct exec_run *r, struct child_spec *cs, struct tl_err *err)
{
	int master, slave, rc = pty_open(&master, &slave, r->spec.cols, r->spec.rows, err);

	if (rc)
		return rc;
	cs->ctty = slave;
	rc = child_spawn(&r->loop, &r->child, cs, command_exited, r, err);
	close(slave);
	if (rc) {
		close(master);
		return rc;
	}
	io_open(&r->loop, &r->outlets[0].io, master, master, outlet_readable, input_writable,
		&r->outlets[0]);
	return 0;
}

/* Runs the command and answers the opening line (for a script that was done before). */
static void run_start(struct exec_run *r, bool answer)
{
	struct child_spec cs = {
	    .argv = r->spec.argv.v, .cwd = r->spec.cwd, .fd = {-1, -1, -1}, .ctty = -1};
	struct tl_err err = {0};
	yyjson_mut_doc *doc;
	yyjson_mut_val *ok;
	int rc = r->spec.pty ? start_with_pty(r, &cs, &err) : start_with_pipes(r, &cs, &err);

	if (rc && answer) {
		open_put_answer(&r->out, NULL, &err);
	} else if (rc) {
		/* too late for a refusal: as a shell does, words on the error output and status 127
		 */
		exec_put(&r->out, EXEC_FRAME_STDERR, err.text, strlen(err.text));
		exec_put(&r->out, EXEC_FRAME_STDERR, "\n", 1);
		exec_put_exit(&r->out, EXEC_EXIT_STATUS, rc == TL_E_NOENT ? 127 : 126);
	}
	if (rc) {
		r->exit_sent = true;
		run_flush(r);
		return;
	}
	r->group = r->child.pid;
	r->started = r->input_open = true;
	r->outlets[0].open = true;
	if (answer) {
		doc = yyjson_mut_doc_new(NULL);
		ok = yyjson_mut_obj(doc);
		yyjson_mut_doc_set_root(doc, ok);
		yyjson_mut_obj_add_int(doc, ok, "pid", r->child.pid);
		open_put_answer(&r->out, doc, NULL);
		yyjson_mut_doc_free(doc);
	}
	run_flush(r);
}

static void refuse(struct exec_run *r, const struct tl_err *err)
{
	open_put_answer(&r->out, NULL, err);
	r->exit_sent = true;
	run_flush(r);
}

/* ---- what the client says ---- */

/* Bytes of the frame that the command took now; false: it takes nothing more for the moment. */
static bool feed(struct exec_run *r, struct tl_bytes data)
{
	struct io *to = r->spec.pty ? &r->outlets[0].io : &r->input;

	while (r->input_open && r->fed < data.n) {
		long n = io_write(to, data.p + r->fed, data.n - r->fed);
		if (n < 0) {
			input_close(
			    r); /* it does not read any more: the rest is dropped, as by a pipe */
			break;
		}
		r->fed += (size_t)n;
		if (r->fed < data.n) {
			io_want_write(to, true);
			return false;
		}
	}
	r->fed = 0;
	return true;
}

static void resize(struct exec_run *r, struct tl_bytes p)
{
	if (r->spec.pty && r->outlets[0].open)
		pty_resize(r->outlets[0].io.rfd, get_u16(p.p), get_u16(p.p + 2));
}

/* One frame; false: not now. TL_E_PROTO ends the stream. */
static int take_frame(struct exec_run *r, const struct exec_frame *f)
{
	struct tl_err err = {0};
	uint8_t key = VEOF_KEY;

	if (!r->started && f->type != EXEC_FRAME_SCRIPT)
		return TL_E_PROTO;
	switch (f->type) {
	case EXEC_FRAME_SCRIPT:
		if (r->started || !r->spec.script)
			return TL_E_PROTO;
		if (f->payload.n > 0)
			return buf_put(&r->script, f->payload.p, f->payload.n) == 0 ? 1
										    : TL_E_LIMIT;
		if (exec_spec_script(&r->spec, buf_data(&r->script), &err) != 0) {
			exec_put(&r->out, EXEC_FRAME_STDERR, err.text, strlen(err.text));
			exec_put_exit(&r->out, EXEC_EXIT_STATUS, 126);
			r->exit_sent = true;
			run_flush(r);
			return 1;
		}
		buf_fini(&r->script);
		buf_init(&r->script, 0);
		run_start(r, false);
		return 1;
	case EXEC_FRAME_STDIN:
		return feed(r, f->payload);
	case EXEC_FRAME_STDIN_EOF:
		if (r->spec.pty && r->input_open)
			return feed(r, bytes_of(&key, 1)) ? (input_close(r), 1) : 0;
		input_close(r);
		return 1;
	case EXEC_FRAME_SIGNAL:
		if (f->payload.p[0] >= 1 && f->payload.p[0] < 65)
			run_kill(r, f->payload.p[0]);
		return 1;
	case EXEC_FRAME_RESIZE:
		resize(r, f->payload);
		return 1;
	default:
		return TL_E_PROTO;
	}
}

static void take_line(struct exec_run *r, struct tl_bytes line)
{
	struct tl_err err = {0};
	yyjson_doc *doc = json_parse(line, &err);
	int rc = doc ? exec_spec_parse(&r->spec, yyjson_doc_get_root(doc), &err) : TL_E_PROTO;

	yyjson_doc_free(doc);
	if (rc) {
		refuse(r, &err);
	} else if (r->spec.script) {
		open_put_answer(&r->out, NULL, NULL);
		run_flush(r);
	} else {
		run_start(r, true);
	}
}

/* Everything complete at the front of in. */
static void run_take(struct exec_run *r)
{
	struct exec_frame f;
	struct tl_bytes line;
	size_t used;
	int rc = 1;

	while (rc == 1 && !r->exit_sent && !r->gone) {
		if (!r->has_line) {
			rc = open_next_line(buf_data(&r->in), &line, &used);
			if (rc != 1)
				break;
			r->has_line = true;
			take_line(r, line);
			buf_consume(&r->in, used);
			continue;
		}
		rc = exec_frame_next(buf_data(&r->in), EXEC_FROM_CLIENT, &f, &used);
		if (rc == 1 && (rc = take_frame(r, &f)) == 1)
			buf_consume(&r->in, used);
	}
	if (rc < 0) {
		stream_over(r);
		return;
	}
	if (!r->gone)
		io_want_read(&r->channel, buf_room(&r->in) > 0);
}

static void channel_readable(void *ctx)
{
	struct exec_run *r = ctx;
	size_t room = buf_room(&r->in);
	uint8_t *p = room ? buf_reserve(&r->in, room) : NULL;
	long n = p ? io_read(&r->channel, p, room) : TL_E_AGAIN;

	if (n == TL_E_AGAIN) {
		if (!p)
			io_want_read(&r->channel, false);
		return;
	}
	if (n <= 0) {
		stream_over(r);
		return;
	}
	buf_commit(&r->in, (size_t)n);
	run_take(r);
}

int exec_main(int argc, char **argv)
{
	struct exec_run *r = calloc(1, sizeof(*r));

	(void)argc, (void)argv;
	if (!r || loop_init(&r->loop) != 0)
		return err_row(TL_E_NOMEM)->exit_status;
	signal(SIGPIPE, SIG_IGN);
	buf_init(&r->in, EXEC_FRAME_MAX > TL_LIMIT_OPEN_LINE ? EXEC_FRAME_MAX : TL_LIMIT_OPEN_LINE);
	buf_init(&r->out, OUT_MAX);
	buf_init(&r->script, TL_LIMIT_EXEC_SCRIPT);
	r->outlets[0].run = r->outlets[1].run = r;
	r->outlets[0].frame_type = EXEC_FRAME_STDOUT;
	r->outlets[1].frame_type = EXEC_FRAME_STDERR;
	timer_init(&r->loop, &r->timer, on_timer, r);
	if (io_open(&r->loop, &r->channel, 0, 1, channel_readable, channel_writable, r) != 0)
		return err_row(TL_E_IO)->exit_status;
	loop_run(&r->loop);
	/* its last turns may still call us */
	loop_fini(&r->loop);
	exec_spec_fini(&r->spec);
	buf_fini(&r->in);
	buf_fini(&r->out);
	buf_fini(&r->script);
	free(r);
	return 0;
}
