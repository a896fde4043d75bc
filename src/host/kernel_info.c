/* kernel_info.c - facts about one session as JSON (KernelInfo, KernelSnapshot of proto/types.d.ts),
 * with what its processes use. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "host/kernel_state.h"
#include "loop/fsx.h"

#define OUTPUT_SHOWN 16384 /* bytes of the process's own output in a snapshot */

struct usage {
	uint64_t rss_bytes, cpu_ms;
};

/* Adds one process where it belongs to the session. */
static void usage_of(const char *pid, pid_t session, struct usage *u)
{
	char path[64], line[1024];
	long theirs = 0, rss = 0;
	unsigned long user = 0, system = 0;
	snprintf(path, sizeof(path), "/proc/%.20s/stat", pid);
	FILE *f = fopen(path, "re");
	if (!f)
		return;
	/* the name in parentheses may have anything in it, also blanks and parentheses */
	const char *after = fgets(line, sizeof(line), f) ? strrchr(line, ')') : NULL;
	if (after &&
	    sscanf(after + 1,
		   " %*c %*d %*d %ld %*d %*d %*u %*u %*u %*u %*u %lu %lu %*d %*d %*d %*d %*d %*d "
		   "%*u %*u %ld",
		   &theirs, &user, &system, &rss) == 4 &&
	    theirs == session) {
		u->rss_bytes += (uint64_t)rss * (uint64_t)sysconf(_SC_PAGESIZE);
		u->cpu_ms += (uint64_t)(user + system) * 1000 / (uint64_t)sysconf(_SC_CLK_TCK);
	}
	fclose(f);
}

/* The kernel and what it started: its session. */
static struct usage usage_all(const struct kernel *k)
{
	struct usage u = {0};
	const struct dirent *e;
	DIR *d = k->child.pid > 0 ? opendir("/proc") : NULL;
	while (d && (e = readdir(d)) != NULL)
		if (e->d_name[0] >= '1' && e->d_name[0] <= '9')
			usage_of(e->d_name, k->pid, &u);
	if (d)
		closedir(d);
	return u;
}

bool kernel_is_busy(const struct kernel *k)
{
	if (k->phase == KERNEL_DEAD || k->phase == KERNEL_OVER)
		return false;
	return k->phase == KERNEL_STARTING || kernel_track_is_busy(&k->track);
}

const char *kernel_state_name(const struct kernel *k)
{
	if (k->phase == KERNEL_DEAD || k->phase == KERNEL_OVER)
		return "dead";
	if (k->stop == KERNEL_STOP_RESTART)
		return "restarting";
	if (k->phase == KERNEL_STARTING)
		return "starting";
	return kernel_track_is_busy(&k->track) ? "busy" : "idle";
}

unsigned kernel_attached_count(const struct kernel *k)
{
	unsigned n = 0;
	LIST_FOREACH (it, &k->viewers)
		n += list_entry(it, struct kviewer, node)->attached;
	return n;
}

/* Where the process stands; false when it may not be asked or is gone. */
static bool cwd_of(const struct kernel *k, char *out, size_t n)
{
	char link[64];
	snprintf(link, sizeof(link), "/proc/%ld/cwd", (long)k->pid);
	ssize_t got = k->child.pid > 0 ? readlink(link, out, n - 1) : -1;
	if (got <= 0 || (size_t)got >= n - 1)
		return false;
	out[got] = 0;
	return true;
}

static void put_times(struct kernel *k, yyjson_mut_doc *d, yyjson_mut_val *o)
{
	uint64_t now = clock_mono_ms(), due = kernel_policy_due(&k->policy);
	struct usage u = usage_all(k);
	long rss = self_rss_bytes();
	yyjson_mut_obj_add_uint(d, o, "startedMs", k->started_ms);
	yyjson_mut_obj_add_uint(d, o, "activityMs", k->track.active_ms);
	yyjson_mut_obj_add_uint(d, o, "stateSinceMs", k->track.changed_ms);
	yyjson_mut_obj_add_uint(d, o, "rssBytes", u.rss_bytes);
	yyjson_mut_obj_add_uint(d, o, "cpuMs", u.cpu_ms);
	yyjson_mut_obj_add_int(d, o, "holdRssBytes", rss > 0 ? rss : 0);
	yyjson_mut_obj_add_uint(d, o, "silentMs", k->pinged_ms ? now - k->pinged_ms : 0);
	yyjson_mut_obj_add_str(d, o, "shutdownTimeout", kernel_timeout_name(k->policy.timeout));
	if (due != UINT64_MAX)
		yyjson_mut_obj_add_uint(d, o, "endsAtMs",
					clock_wall_ms() + (due > now ? due - now : 0));
}

static void put_info(struct kernel *k, yyjson_mut_doc *d, yyjson_mut_val *o)
{
	char cwd[TL_LIMIT_PATH];
	if (!cwd_of(k, cwd, sizeof(cwd)))
		str_copy(cwd, sizeof(cwd), k->plan.cwd);
	yyjson_mut_obj_add_str(d, o, "id", k->plan.id);
	yyjson_mut_obj_add_str(d, o, "uuid", k->plan.uuid);
	yyjson_mut_obj_add_int(d, o, "pid", k->pid);
	yyjson_mut_obj_add_int(d, o, "holdPid", getpid());
	json_add_path(d, o, "name", k->plan.name);
	json_add_path(d, o, "tag", k->plan.tag);
	json_add_path(d, o, "notebook", k->plan.notebook);
	json_add_path(d, o, "kernel", k->plan.spec.id);
	json_add_path(d, o, "displayName", k->plan.spec.display);
	json_add_path(d, o, "language", k->plan.spec.language);
	yyjson_mut_obj_add_str(d, o, "state", kernel_state_name(k));
	json_add_path(d, o, "cwd", cwd);
	yyjson_mut_obj_add_uint(d, o, "executions", k->track.executions);
	yyjson_mut_obj_add_uint(d, o, "restarts", k->restarts);
	yyjson_mut_obj_add_uint(d, o, "queue", k->track.queue_count);
	yyjson_mut_obj_add_bool(d, o, "inputWanted", k->track.input_content != NULL);
	yyjson_mut_obj_add_uint(d, o, "viewers", kernel_attached_count(k));
	yyjson_mut_obj_add_uint(d, o, "first", k->journal.base_off);
	yyjson_mut_obj_add_uint(d, o, "end", journal_next(&k->journal));
	json_add_path(d, o, "connectionFile", k->plan.connection_file);
	put_times(k, d, o);
	if (k->has_exit && k->child.pid <= 0) {
		yyjson_mut_val *e = yyjson_mut_obj_add_obj(d, o, "exit");
		yyjson_mut_obj_add_str(d, e, "kind", k->exit.kind ? "signal" : "exit");
		yyjson_mut_obj_add_uint(d, e, "value", k->exit.value);
	}
}

int kernel_info(struct kernel *k, struct buf *out)
{
	yyjson_mut_doc *d = yyjson_mut_doc_new(NULL);
	if (!d)
		return TL_E_NOMEM;
	yyjson_mut_val *o = yyjson_mut_obj(d);
	yyjson_mut_doc_set_root(d, o);
	put_info(k, d, o);
	int rc = json_write(out, d);
	yyjson_mut_doc_free(d);
	return rc;
}

char *kernel_output_tail(const struct kernel *k, size_t n)
{
	size_t have = ring_len(&k->output), take = have < n ? have : n;
	char *text = malloc(take + 1);
	uint64_t off = k->output.next_off - take;
	size_t at = 0;
	if (!text)
		return NULL;
	while (at < take) {
		struct tl_bytes b = ring_peek(&k->output, off + at);
		size_t part = b.n < take - at ? b.n : take - at;
		memcpy(text + at, b.p, part);
		at += part;
	}
	text[take] = 0;
	/* not from the middle of a character; NUL would end the text */
	for (size_t i = 0; i < take; i++)
		if (!text[i])
			text[i] = ' ';
	size_t skip = 0;
	while (have > n && skip < take && ((uint8_t)text[skip] & 0xc0) == 0x80)
		skip++;
	memmove(text, text + skip, take - skip + 1);
	return text;
}

int kernel_snapshot(struct kernel *k, struct buf *out)
{
	char *output = kernel_output_tail(k, OUTPUT_SHOWN);
	yyjson_mut_doc *d = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *o = yyjson_mut_obj(d);
	yyjson_mut_doc_set_root(d, o);
	put_info(k, d, yyjson_mut_obj_add_obj(d, o, "info"));
	kernel_track_put(&k->track, d, o);
	json_add_path(d, o, "output", output ? output : "");
	int rc = json_write(out, d);
	yyjson_mut_doc_free(d);
	free(output);
	return rc;
}
