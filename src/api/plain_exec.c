/* plain_exec.c - a command on a host without our program: frames of an exec stream on one side, the
 * pipes (or the terminal) of an `ssh -S` on the other, carried by a thread. What towline-host does
 * there, a few lines of sh do here: they tell their process group, so that the command can be
 * ended, and say what is missing. Holds at most one frame each way. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "api/plain.h"
#include "loop/child.h"
#include "loop/io.h"
#include "loop/loop.h"
#include "loop/sock.h"
#include "wire/exec_frame.h"
#include "wire/jsonrpc.h"

#define NONCE     16
#define MARK_MAX  400   /* bytes of a line of ours */
#define NOISE_MAX 65536 /* what start-up files of shells may print before it */
#define IN_MAX    ((size_t)2 * EXEC_FRAME_MAX)
#define VEOF_KEY  4 /* what a terminal takes for the end of input */
#define KILL_MS   15000

struct run {
	struct plain *p;
	int fd; /* the stream */
	char nonce[NONCE + 1];
	struct buf text; /* the lines of sh; then what is left of the input */
	bool script;     /* the command comes as frames */
	bool tty;
	unsigned cols, rows;
	/* ssh: its input, its two outputs (-1: ended); of a terminal in and out[0] are the master
	 */
	pid_t pid;
	int in, out[2];
	long far;           /* process group there, 0: not known yet */
	uint8_t *from, *to; /* frames from the caller, IN_MAX; one for him */
	size_t from_n, to_off, to_n;
	struct buf rest;  /* input that ssh did not take yet */
	struct buf noise; /* output before our line */
	bool answered, input_over, gone;
};

/* ---- words to the caller ---- */

static bool tell(struct run *r, const void *p, size_t n)
{
	return fd_write_all(r->fd, p, n, KILL_MS) == 0;
}

static bool answer(struct run *r, const struct tl_err *err)
{
	struct buf b;
	bool ok;

	if (r->answered)
		return true;
	r->answered = true;
	buf_init(&b, TL_LIMIT_OPEN_LINE);
	ok = open_put_answer(&b, NULL, err) == 0 && tell(r, buf_data(&b).p, b.len);
	buf_fini(&b);
	return ok && !err;
}

/* Something that keeps the command from running: as the answer, or where that has gone out (a
 * script) as its last words. */
static void cannot(struct run *r, const struct tl_err *err)
{
	struct buf b;

	if (!r->answered) {
		answer(r, err);
		return;
	}
	buf_init(&b, 2048);
	buf_put_str(&b, err->text);
	buf_put_str(&b, "\n");
	r->to_n = 0;
	exec_put_header(r->to, EXEC_FRAME_STDERR, b.len);
	memcpy(r->to + EXEC_HEADER, buf_data(&b).p, b.len);
	tell(r, r->to, EXEC_HEADER + b.len);
	buf_clear(&b);
	exec_put_exit(&b, EXEC_EXIT_STATUS, 127);
	tell(r, buf_data(&b).p, b.len);
	buf_fini(&b);
}

/* ---- starting ---- */

/* The frames of a script, to its end. */
static int read_script(struct run *r, struct buf *script, struct tl_err *err)
{
	int rc = 0;

	for (;;) {
		struct exec_frame f;
		size_t used;
		ssize_t n;
		while (rc == 0 && exec_frame_next(bytes_of(r->from, r->from_n), EXEC_FROM_CLIENT,
						  &f, &used) == 1) {
			bool end = f.type != EXEC_FRAME_SCRIPT || f.payload.n == 0;
			if (!end)
				rc = buf_put(script, f.payload.p, f.payload.n);
			if (f.type == EXEC_FRAME_SCRIPT || !end) {
				memmove(r->from, r->from + used, r->from_n - used);
				r->from_n -= used;
			}
			if (end)
				return 0;
		}
		if (rc)
			return err_set(
			    err, TL_E_LIMIT,
			    "cannot run a script of more than %d bytes on %s: it is served by "
			    "plain ssh (%s); upload it and run the file",
			    PLAIN_COMMAND / 5, r->p->host, r->p->why);
		n = recv(r->fd, r->from + r->from_n, IN_MAX - r->from_n, 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return err_set(err, TL_E_CLOSED, "the caller has gone");
		r->from_n += (size_t)n;
	}
}

static int make_env(struct strv *ret)
{
	extern char **environ;
	int rc = 0;

	for (char **e = environ; *e && !rc; e++)
		if (!str_starts(*e, "TERM="))
			rc = strv_add(ret, *e);
	return rc ? rc : strv_add(ret, "TERM=xterm-256color");
}

static int spawn(struct run *r, struct child_spec *spec, struct tl_err *err)
{
	int pipes[6] = {-1, -1, -1, -1, -1, -1}, master, slave, rc = 0;

	if (r->tty) {
		rc = pty_open(&master, &slave, r->cols, r->rows, err);
		if (rc)
			return rc;
		spec->ctty = slave;
		rc = child_start(spec, &r->pid, err);
		close(slave);
		r->in = rc ? -1 : master;
		r->out[0] = rc ? -1 : dup(master);
		if (rc)
			close(master);
		return rc;
	}
	for (int i = 0; i < 3 && rc == 0; i++)
		if (pipe2(pipes + 2 * i, O_CLOEXEC) != 0)
			rc = err_sys(err, errno, "cannot make a pipe");
	spec->fd[0] = pipes[0];
	spec->fd[1] = pipes[3];
	spec->fd[2] = pipes[5];
	if (rc == 0)
		rc = child_start(spec, &r->pid, err);
	for (int i = 0; i < 6; i++)
		if (pipes[i] >= 0 && (rc || i == 0 || i == 3 || i == 5))
			close(pipes[i]);
	if (rc)
		return rc;
	r->in = pipes[1];
	r->out[0] = pipes[2];
	r->out[1] = pipes[4];
	return 0;
}

static int start(struct run *r, struct tl_err *err)
{
	const char *const more[] = {r->tty ? "-tt" : "-T", NULL};
	struct child_spec spec = {.fd = {-1, -1, -1}, .ctty = -1};
	struct strv argv = {0}, envp = {0};
	struct buf script, command;
	const char *text;
	int rc = 0;

	buf_init(&script, PLAIN_COMMAND);
	buf_init(&command, PLAIN_COMMAND);
	if (r->script) {
		answer(r, NULL);
		rc = read_script(r, &script, err);
		rc = rc ? rc : plain_text_shell(&r->text, buf_data(&script));
	}
	if (rc == 0 &&
	    master_command(&command, (const char *)buf_data(&r->text).p, r->text.len) != 0)
		rc = err_set(
		    err, TL_E_LIMIT,
		    "cannot run a command of more than about %d bytes on %s: it is served by "
		    "plain ssh (%s); upload a script and run the file",
		    PLAIN_COMMAND / 5, r->p->host, r->p->why);
	text = rc ? NULL : buf_cstr(&command);
	if (rc == 0 && (!text || plain_argv(r->p, &argv, more, text) || make_env(&envp)))
		rc = err_set(err, TL_E_NOMEM, "cannot run a command: out of memory");
	spec.argv = argv.v;
	spec.envp = envp.v;
	spec.new_session = true;
	rc = rc ? rc : spawn(r, &spec, err);
	strv_fini(&argv);
	strv_fini(&envp);
	buf_fini(&script);
	buf_fini(&command);
	buf_clear(&r->text);
	if (r->in >= 0)
		fd_set_nonblock(r->in, true);
	return rc;
}

/* ---- output ---- */

static void put_frame(struct run *r, uint8_t type, size_t n)
{
	exec_put_header(r->to, type, n);
	r->to_off = 0;
	r->to_n = EXEC_HEADER + n;
}

/* `no WORD text` of the host. */
static int refused(struct run *r, const char *text, struct tl_err *err)
{
	const char *space = strchr(text, ' ');
	size_t n = space ? (size_t)(space - text) : strlen(text);
	const struct tl_error_row *row = err_row_by_name(text, n);

	return err_set(err, row ? row->code : TL_E_NOENT, "cannot run a command on %s: %s",
		       r->p->host, space ? space + 1 : text);
}

/* Looks for our line in what came before it. 1: it is there, and the rest is output; 0: not yet. */
static int find_mark(struct run *r, struct tl_err *err)
{
	char mark[NONCE + 32], line[MARK_MAX];
	struct tl_bytes b = buf_data(&r->noise);

	for (size_t i = 0; i + 9 <= b.n; i++) {
		const uint8_t *lf;
		size_t n, head;
		if (b.p[i] || memcmp(b.p + i, "\0towline-", 9) != 0)
			continue;
		lf = memchr(b.p + i, '\n', b.n - i);
		if (!lf)
			return b.n - i < MARK_MAX ? 0 : TL_E_PROTO;
		n = (size_t)(lf - b.p) - i - 9;
		if (n >= sizeof(line))
			continue;
		memcpy(line, b.p + i + 9, n);
		line[n] = 0;
		line[strcspn(line, "\r")] = 0;
		head = (size_t)snprintf(mark, sizeof(mark), "%s %s ", line[0] == 'u' ? "up" : "no",
					r->nonce);
		if (strncmp(line, mark, head) != 0)
			continue;
		buf_consume(&r->noise, i + 9 + n + 1);
		if (line[0] == 'n')
			return refused(r, line + head, err);
		r->far = strtol(line + head, NULL, 10);
		return 1;
	}
	return 0;
}

static int no_shell(struct run *r, struct tl_err *err)
{
	struct tl_bytes b = buf_data(&r->noise);

	return err_set(err, TL_E_NOSHELL,
		       "cannot run a command on %s: its login shell did not%s%.*s", r->p->host,
		       b.n ? "; it said: " : "", (int)(b.n < 200 ? b.n : 200),
		       b.n ? (const char *)b.p : "");
}

/* Something to read from ssh. 0, or a reason to give up. */
static int from_ssh(struct run *r, int which, struct tl_err *err)
{
	ssize_t n = read(r->out[which], r->to + EXEC_HEADER, EXEC_PAYLOAD);
	int rc;

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return 0;
	if (n <= 0) {
		close(r->out[which]);
		r->out[which] = -1;
		return 0;
	}
	if (r->far) {
		put_frame(r, which ? EXEC_FRAME_STDERR : EXEC_FRAME_STDOUT, (size_t)n);
		return 0;
	}
	/* both outputs go to the start-up files until our line comes */
	if (buf_put(&r->noise, r->to + EXEC_HEADER, (size_t)n))
		return no_shell(r, err);
	rc = which ? 0 : find_mark(r, err);
	if (rc <= 0)
		return rc;
	if (r->noise.len && r->noise.len <= EXEC_PAYLOAD) {
		memcpy(r->to + EXEC_HEADER, buf_data(&r->noise).p, r->noise.len);
		put_frame(r, EXEC_FRAME_STDOUT, r->noise.len);
	}
	buf_clear(&r->noise);
	r->gone = !answer(r, NULL);
	return 0;
}

static void to_caller(struct run *r)
{
	ssize_t n = send(r->fd, r->to + r->to_off, r->to_n, MSG_NOSIGNAL | MSG_DONTWAIT);

	if (n < 0) {
		r->gone = errno != EAGAIN && errno != EINTR;
		return;
	}
	r->to_off += (size_t)n;
	r->to_n -= (size_t)n;
}

/* ---- input ---- */

static void to_ssh(struct run *r)
{
	struct tl_bytes b = buf_data(&r->rest);
	ssize_t n = b.n ? write(r->in, b.p, b.n) : 0;

	if (n < 0 && errno != EAGAIN && errno != EINTR) {
		/* the command reads no more: that is its affair */
		buf_clear(&r->rest);
		r->input_over = true;
	} else if (n > 0) {
		buf_consume(&r->rest, (size_t)n);
	}
	if (!r->rest.len && r->input_over && !r->tty) {
		close(r->in);
		r->in = -1;
	}
}

static void take_frame(struct run *r, const struct exec_frame *f)
{
	static const uint8_t key = VEOF_KEY;

	if (f->type == EXEC_FRAME_STDIN && r->in >= 0 && !r->input_over)
		buf_put(&r->rest, f->payload.p, f->payload.n);
	else if (f->type == EXEC_FRAME_RESIZE && r->tty && r->in >= 0)
		pty_resize(r->in, get_u16(f->payload.p), get_u16(f->payload.p + 2));
	else if (f->type == EXEC_FRAME_STDIN_EOF && !r->input_over) {
		r->input_over = true;
		if (r->tty)
			buf_put(&r->rest, &key, 1);
	}
}

static void frames(struct run *r)
{
	struct exec_frame f;
	size_t used, off = 0;
	int rc = 0;

	while (!r->rest.len && (rc = exec_frame_next(bytes_of(r->from + off, r->from_n - off),
						     EXEC_FROM_CLIENT, &f, &used)) == 1) {
		take_frame(r, &f);
		off += used;
		if (r->in >= 0)
			to_ssh(r);
	}
	r->gone = r->gone || rc < 0;
	memmove(r->from, r->from + off, r->from_n - off);
	r->from_n -= off;
}

static void from_caller(struct run *r)
{
	ssize_t n = recv(r->fd, r->from + r->from_n, IN_MAX - r->from_n, MSG_DONTWAIT);

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	if (n <= 0) {
		r->gone = true;
		return;
	}
	r->from_n += (size_t)n;
}

/* ---- the end ---- */

/* Ends what runs there: politely, then not. It is asked through the same login, so it is tried even
 * when ours is going. */
static void end_there(struct run *r)
{
	struct buf script, command, out;
	int status;

	if (!r->far)
		return;
	buf_init(&script, 1024);
	buf_init(&command, 8192);
	buf_init(&out, 1024);
	buf_printf(&script,
		   "k(){ kill -$1 -%ld 2>/dev/null||kill -$1 %ld 2>/dev/null;}\n"
		   "k TERM;i=0;while [ $i -lt 20 ]&&k 0;do sleep 0.1 2>/dev/null||sleep 1;"
		   "i=$((i+1));done;k KILL\n",
		   r->far, r->far);
	if (master_command(&command, (const char *)buf_data(&script).p, script.len) == 0 &&
	    buf_cstr(&command))
		plain_ask(r->p, NULL, buf_cstr(&command), &out, KILL_MS, &status, NULL);
	buf_fini(&script);
	buf_fini(&command);
	buf_fini(&out);
}

/* The status that a shell makes of a signal; nobody exits with these on purpose. */
static bool is_signal(int status)
{
	static const int signals[] = {SIGHUP, SIGINT,  SIGQUIT, SIGILL,  SIGABRT, SIGBUS,
				      SIGFPE, SIGKILL, SIGSEGV, SIGPIPE, SIGALRM, SIGTERM};

	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		if (status == 128 + signals[i])
			return true;
	return false;
}

static void ended(struct run *r)
{
	int status = 0;
	struct tl_err err = {0};
	struct buf b;

	while (waitpid(r->pid, &status, 0) < 0 && errno == EINTR)
		;
	r->pid = 0;
	status = WIFEXITED(status) ? WEXITSTATUS(status) : 255;
	if (!r->far && !r->gone) {
		no_shell(r, &err);
		cannot(r, &err);
		return;
	}
	/* ssh's own word for "failed": without an EXIT the caller looks for the reason */
	if (r->gone || (status == 255 && !plain_alive(r->p)))
		return;
	buf_init(&b, 64);
	exec_put_exit(&b, is_signal(status) ? EXEC_EXIT_SIGNAL : EXEC_EXIT_STATUS,
		      (uint32_t)(is_signal(status) ? status - 128 : status));
	tell(r, buf_data(&b).p, b.len);
	buf_fini(&b);
}

static int turn(struct run *r, struct tl_err *err)
{
	bool room = r->to_n == 0, eat = r->from_n < IN_MAX && !r->rest.len;
	struct pollfd pf[5] = {
	    {.fd = r->fd, .events = (short)((eat ? POLLIN : 0) | (room ? 0 : POLLOUT))},
	    {.fd = cancel_fd(r->p->stop), .events = POLLIN},
	    {.fd = r->rest.len ? r->in : -1, .events = POLLOUT},
	    {.fd = room ? r->out[0] : -1, .events = POLLIN},
	    {.fd = room ? r->out[1] : -1, .events = POLLIN}};
	int rc = 0;

	if (poll(pf, 5, -1) < 0)
		return errno == EINTR ? 0 : err_sys(err, errno, "cannot wait for a command");
	r->gone = r->gone || pf[1].revents;
	if (pf[0].revents & POLLOUT)
		to_caller(r);
	if (pf[0].revents & ~POLLOUT && eat)
		from_caller(r);
	else if (pf[0].revents & (POLLHUP | POLLERR))
		r->gone = true;
	if (pf[2].revents)
		to_ssh(r);
	if (r->far)
		frames(r);
	for (int i = 0; i < 2 && rc == 0 && !r->gone && r->to_n == 0; i++)
		if (pf[3 + i].revents)
			rc = from_ssh(r, i, err);
	return rc;
}

static void run_free(struct run *r)
{
	int status;

	for (int i = 0; i < 3; i++) {
		int fd = i == 2 ? r->in : r->out[i];
		if (fd >= 0)
			close(fd);
	}
	if (r->pid > 0) {
		kill(-r->pid, SIGTERM);
		while (waitpid(r->pid, &status, 0) < 0 && errno == EINTR)
			;
	}
	if (r->fd >= 0)
		close(r->fd);
	buf_fini(&r->text);
	buf_fini(&r->rest);
	buf_fini(&r->noise);
	free(r->from);
	free(r->to);
	free(r);
}

static void *run_main(void *arg)
{
	struct run *r = arg;
	struct plain *p = r->p;
	struct tl_err err = {0};
	int rc = start(r, &err);

	while (rc == 0 && !r->gone && (r->out[0] >= 0 || r->out[1] >= 0 || r->to_n))
		rc = turn(r, &err);
	if (rc)
		cannot(r, &err);
	else if (r->gone)
		end_there(r);
	else
		ended(r);
	run_free(r);
	plain_leave(p);
	return NULL;
}

static struct run *run_new(struct plain *p, yyjson_val *open, struct tl_err *err)
{
	yyjson_val *pty = json_get(open, "pty");
	struct run *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	r->p = p;
	r->fd = r->in = r->out[0] = r->out[1] = -1;
	r->script = json_bool(open, "script", false);
	r->tty = yyjson_is_obj(pty);
	r->cols = (unsigned)json_int(pty, "cols", 80);
	r->rows = (unsigned)json_int(pty, "rows", 24);
	random_id(r->nonce, NONCE);
	buf_init(&r->text, PLAIN_COMMAND);
	buf_init(&r->rest, EXEC_FRAME_MAX);
	buf_init(&r->noise, NOISE_MAX);
	r->from = malloc(IN_MAX);
	r->to = malloc(EXEC_FRAME_MAX);
	if (r->from && r->to && plain_text(&r->text, r->nonce, p->host, open, err) == 0)
		return r;
	run_free(r);
	return NULL;
}

int plain_exec_open(struct plain *p, yyjson_val *open, int *ret_fd, struct tl_err *err)
{
	struct run *r;
	int sv[2], rc;

	if (p->sftp_only)
		return err_set(err, TL_E_NOSHELL,
			       "cannot run a command on %s: it allows files only (SFTP)", p->host);
	r = run_new(p, open, err);
	if (!r)
		return err->code ? err->code
				 : err_set(err, TL_E_NOMEM, "cannot run a command: out of memory");
	if (socket_pair(sv) != 0) {
		run_free(r);
		return err_sys(err, errno, "cannot open a stream to %s", p->host);
	}
	r->fd = sv[1];
	rc = plain_thread(p, run_main, r, err);
	if (rc) {
		close(sv[0]);
		run_free(r);
		return rc;
	}
	*ret_fd = sv[0];
	return 0;
}
