/* hold_info.c - facts about one terminal as JSON (TermInfo of proto/types.d.ts). */
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "host/hold_state.h"
#include "loop/fsx.h"

/* Where a process stands, from /proc; false when it may not be asked (sudo) or is gone. */
static bool cwd_of(pid_t pid, char *out, size_t n)
{
	char link[64];
	snprintf(link, sizeof(link), "/proc/%ld/cwd", (long)pid);
	ssize_t got = pid > 0 ? readlink(link, out, n - 1) : -1;
	if (got <= 0 || (size_t)got >= n - 1)
		return false;
	out[got] = 0;
	return true;
}

static void hold_cwd(struct hold *h, char *out, size_t n)
{
	pid_t front = h->pty_open ? pty_foreground(h->pty.rfd) : -1;
	/* its folder is somewhere else */
	if (h->plan.raw) {
		str_copy(out, n, "");
		return;
	}
	if (cwd_of(front, out, n) || (!h->exited && cwd_of(h->pid, out, n)))
		return;
	str_copy(out, n, h->plan.cwd);
}

unsigned hold_attached_count(const struct hold *h)
{
	unsigned n = 0;
	LIST_FOREACH (it, &h->viewers) {
		const struct viewer *v = list_entry(it, struct viewer, node);
		n += v->attached && !v->replaced;
	}
	return n;
}

int hold_info(struct hold *h, struct buf *out)
{
	char cwd[TL_LIMIT_PATH];
	long rss = self_rss_bytes();
	yyjson_mut_doc *d = yyjson_mut_doc_new(NULL);
	if (!d)
		return TL_E_NOMEM;
	yyjson_mut_val *o = yyjson_mut_obj(d);
	yyjson_mut_doc_set_root(d, o);
	hold_cwd(h, cwd, sizeof(cwd));
	yyjson_mut_obj_add_str(d, o, "id", h->plan.id);
	yyjson_mut_obj_add_int(d, o, "pid", h->pid);
	yyjson_mut_obj_add_int(d, o, "holdPid", getpid());
	json_add_path(d, o, "name", h->plan.name);
	json_add_path(d, o, "tag", h->plan.tag);
	json_add_path(d, o, "title", h->title.title);
	json_add_path(d, o, "cwd", cwd);
	json_add_path(d, o, "shell", h->plan.shell);
	yyjson_mut_obj_add_uint(d, o, "cols", h->size.cols);
	yyjson_mut_obj_add_uint(d, o, "rows", h->size.rows);
	yyjson_mut_obj_add_uint(d, o, "startedMs", h->started_ms);
	yyjson_mut_obj_add_uint(d, o, "first", h->log.base_off);
	yyjson_mut_obj_add_uint(d, o, "end", h->log.next_off);
	yyjson_mut_obj_add_uint(d, o, "viewers", hold_attached_count(h));
	yyjson_mut_obj_add_int(d, o, "rssBytes", rss > 0 ? rss : 0);
	if (h->ended) {
		yyjson_mut_val *e = yyjson_mut_obj_add_obj(d, o, "exit");
		const char *kind = h->exit.kind == HOLD_EXIT_SIGNAL ? "signal" : "exit";
		yyjson_mut_obj_add_str(d, e, "kind", kind);
		yyjson_mut_obj_add_uint(d, e, "value", h->exit.value);
	}
	int rc = json_write(out, d);
	yyjson_mut_doc_free(d);
	return rc;
}
