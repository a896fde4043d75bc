/* kernels_probe.c - asks interpreters what files did not tell (see kernels.h): editable installs,
 * path files, other layouts. A few at a time, each with a deadline, all of them with another; only
 * real programs, no scripts, so that no shell of somebody's runs. */
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/limits.h"
#include "host/kernels.h"
#include "loop/child.h"
#include "loop/io.h"

#define AT_ONCE 4

static const char question[] = "import sys,importlib.util as u;"
			       "print(sys.version.split()[0],int(u.find_spec('ipykernel_launcher')"
			       " is not None))";

struct search;

struct probe {
	struct search *search;
	struct kernelspec *spec;
	struct io io;
	struct child child;
	struct loop_timer deadline;
	struct buf out;
	bool running;
	int parts;
};

struct search {
	struct loop loop;
	struct kernel_finds *finds;
	size_t next;
	struct probe probe[AT_ONCE];
	struct loop_timer deadline;
	unsigned running;
	bool over;
};

static bool is_program(const char *path)
{
	char magic[4] = "";
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	bool yes = fd >= 0 && read(fd, magic, 4) == 4 && memcmp(magic, "\177ELF", 4) == 0;
	if (fd >= 0)
		close(fd);
	return yes;
}

static void search_more(struct search *s);

static void probe_closed(void *ctx)
{
	struct probe *p = ctx;
	if (--p->parts)
		return;
	buf_fini(&p->out);
	p->running = false;
	p->search->running--;
	search_more(p->search);
}

static void forget_doubt(struct kernelspec *k)
{
	free(k->reason);
	free(k->install);
	k->reason = k->install = NULL;
}

static void probe_end(struct probe *p, const char *why)
{
	char version[32] = "";
	int there = 0;
	const char *text = buf_cstr(&p->out);
	if (p->parts)
		return;
	if (!why && text && sscanf(text, "%31s %d", version, &there) == 2) {
		char *copy = str_dup(version);
		if (copy) {
			free(p->spec->version);
			p->spec->version = copy;
		}
		if (there)
			forget_doubt(p->spec);
	} else {
		forget_doubt(p->spec);
		p->spec->reason = str_fmt("%s %s", p->spec->path, why ? why : "does not start");
	}
	child_kill(&p->child, SIGKILL, true);
	child_forget(&p->child);
	p->parts = 2;
	io_close(&p->io, probe_closed);
	timer_close(&p->deadline, probe_closed);
}

static void on_probe_readable(void *ctx)
{
	struct probe *p = ctx;
	for (;;) {
		uint8_t *b = buf_reserve(&p->out, 256);
		long n = b ? io_read(&p->io, b, 256) : 0;
		if (n == TL_E_AGAIN)
			return;
		if (n <= 0) {
			probe_end(p, NULL);
			return;
		}
		buf_commit(&p->out, (size_t)n);
	}
}

static void on_probe_deadline(void *ctx)
{
	probe_end(ctx, "does not answer");
}

static bool probe_start(struct search *s, struct probe *p, struct kernelspec *k)
{
	char *argv[] = {k->path, (char *)(uintptr_t) "-c", (char *)(uintptr_t)question, NULL};
	struct child_spec spec = {
	    .file = k->path, .argv = argv, .cwd = "/", .new_session = true, .ctty = -1};
	int fds[2];
	if (pipe2(fds, O_CLOEXEC) != 0)
		return false;
	*p = (struct probe){.search = s, .spec = k, .running = true};
	buf_init(&p->out, 4096);
	if (io_open(&s->loop, &p->io, fds[0], fds[0], on_probe_readable, NULL, p) != 0) {
		close(fds[0]);
		close(fds[1]);
		return p->running = false;
	}
	spec.fd[0] = -1;
	spec.fd[1] = fds[1];
	spec.fd[2] = -1;
	int rc = child_spawn(&s->loop, &p->child, &spec, NULL, NULL, NULL);
	close(fds[1]);
	timer_init(&s->loop, &p->deadline, on_probe_deadline, p);
	timer_start(&p->deadline, TL_LIMIT_KERNEL_PROBE_MS);
	s->running++;
	if (rc)
		probe_end(p, "cannot be run");
	return true;
}

static struct kernelspec *search_next(struct search *s)
{
	while (!s->over && s->next < s->finds->n) {
		struct kernelspec *k = &s->finds->spec[s->next++];
		if (k->unsure && is_program(k->path))
			return k;
	}
	return NULL;
}

static void search_more(struct search *s)
{
	for (size_t i = 0; i < AT_ONCE; i++) {
		struct kernelspec *k = s->probe[i].running ? NULL : search_next(s);
		if (k)
			probe_start(s, &s->probe[i], k);
	}
	if (!s->running)
		loop_stop(&s->loop);
}

static void on_search_deadline(void *ctx)
{
	struct search *s = ctx;
	s->over = true;
	s->finds->complete = false;
	for (size_t i = 0; i < AT_ONCE; i++)
		if (s->probe[i].running)
			probe_end(&s->probe[i], "was not asked: the search took too long");
}

void kernels_probe(struct kernel_finds *f)
{
	bool any = false;
	for (size_t i = 0; i < f->n; i++)
		any |= f->spec[i].unsure;
	struct search *s = any ? calloc(1, sizeof(*s)) : NULL;
	if (!s)
		return;
	s->finds = f;
	if (loop_init(&s->loop) == 0) {
		timer_init(&s->loop, &s->deadline, on_search_deadline, s);
		timer_start(&s->deadline, TL_LIMIT_KERNEL_SEARCH_MS);
		search_more(s);
		if (s->running)
			loop_run(&s->loop);
		loop_fini(&s->loop);
	}
	free(s);
}
