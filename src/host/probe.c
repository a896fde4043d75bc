/* probe.c - see probe.h. Every fact is optional: what cannot be read is left out. */
#include "host/probe.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/str.h"
#include "base/version.h"
#include "host/facts.h"
#include "host/rundir.h"
#include "loop/child.h"
#include "loop/fsx.h"
#include "loop/io.h"
#include "wire/link_frame.h"

#define PROBE_MAX 65536

/* First number in a small file below /proc; -1 where there is none. */
static long long read_number(const char *path)
{
	struct buf b;
	long long v = -1;
	const char *s;

	buf_init(&b, 4096);
	if (fs_read(path, &b, NULL) == 0 && (s = buf_cstr(&b)))
		v = strtoll(s, NULL, 10);
	buf_fini(&b);
	return v;
}

/* "MemTotal:  123 kB" and the like, in bytes; -1 where there is none. */
static long long meminfo(const char *key)
{
	struct buf b;
	long long v = -1;
	const char *s, *at;

	buf_init(&b, 16384);
	if (fs_read("/proc/meminfo", &b, NULL) == 0 && (s = buf_cstr(&b)) && (at = strstr(s, key)))
		v = strtoll(at + strlen(key), NULL, 10) * 1024;
	buf_fini(&b);
	return v;
}

static bool add_if(yyjson_mut_doc *doc, yyjson_mut_val *obj, const char *key, long long v)
{
	return v < 0 || yyjson_mut_obj_add_sint(doc, obj, key, v);
}

/* A folder: writable, free space, file system type number, mount flags that matter. */
static bool add_folder(yyjson_mut_doc *doc, yyjson_mut_val *root, const char *key, const char *path)
{
	yyjson_mut_val *o = yyjson_mut_obj_add_obj(doc, root, key);
	struct statvfs v;
	struct statfs f;

	if (!o || !json_add_path(doc, o, "path", path) ||
	    !yyjson_mut_obj_add_bool(doc, o, "writable", access(path, W_OK | X_OK) == 0))
		return false;
	if (statvfs(path, &v) == 0 &&
	    (!yyjson_mut_obj_add_uint(doc, o, "freeBytes", (uint64_t)v.f_bavail * v.f_frsize) ||
	     !yyjson_mut_obj_add_uint(doc, o, "freeFiles", (uint64_t)v.f_favail) ||
	     !yyjson_mut_obj_add_bool(doc, o, "noexec", (v.f_flag & ST_NOEXEC) != 0) ||
	     !yyjson_mut_obj_add_bool(doc, o, "readOnly", (v.f_flag & ST_RDONLY) != 0)))
		return false;
	if (statfs(path, &f) == 0)
		return yyjson_mut_obj_add_uint(doc, o, "fsType", (uint32_t)f.f_type);
	return true;
}

static bool add_rundirs(yyjson_mut_doc *doc, yyjson_mut_val *root)
{
	yyjson_mut_val *list = yyjson_mut_obj_add_arr(doc, root, "runDirs");
	struct rundir c[RUNDIR_COUNT];
	size_t n = rundir_candidates(NULL, c);

	for (size_t i = 0; list && i < n; i++) {
		yyjson_mut_val *o = yyjson_mut_arr_add_obj(doc, list);
		if (!o || !json_add_path(doc, o, "path", c[i].path) ||
		    !yyjson_mut_obj_add_bool(doc, o, "ready", rundir_is_ours(c[i].path)))
			return false;
	}
	return list != NULL;
}

static bool probe_fill(yyjson_mut_doc *doc, yyjson_mut_val *root)
{
	char home[TL_LIMIT_PATH], self[TL_LIMIT_PATH];
	static const char inotify[] = "/proc/sys/fs/inotify/";
	char path[64];

	if (home_dir(home, sizeof(home)) != 0)
		str_copy(home, sizeof(home), "/");
	if (self_path(self, sizeof(self)) != 0)
		self[0] = 0;
	snprintf(path, sizeof(path), "%smax_user_watches", inotify);
	if (!yyjson_mut_obj_add_str(doc, root, "version", TL_VERSION) ||
	    !yyjson_mut_obj_add_int(doc, root, "protocol", LINK_PROTO) || !facts_add(doc, root) ||
	    !json_add_path(doc, root, "program", self) ||
	    !add_if(doc, root, "inotifyWatches", read_number(path)))
		return false;
	snprintf(path, sizeof(path), "%smax_user_instances", inotify);
	return add_if(doc, root, "inotifyInstances", read_number(path)) &&
	       add_if(doc, root, "processors", sysconf(_SC_NPROCESSORS_ONLN)) &&
	       add_if(doc, root, "memoryBytes", meminfo("MemTotal:")) &&
	       add_if(doc, root, "memoryFreeBytes", meminfo("MemAvailable:")) &&
	       add_folder(doc, root, "homeFolder", home) &&
	       add_folder(doc, root, "tmpFolder", "/tmp") && add_rundirs(doc, root);
}

int probe_main(int argc, char **argv)
{
	yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *root = doc ? yyjson_mut_obj(doc) : NULL;
	struct buf out;
	int rc = TL_E_NOMEM;

	if (argc > 1) {
		fprintf(stderr, "towline-host probe: it takes no arguments, got \"%s\"\n", argv[1]);
		yyjson_mut_doc_free(doc);
		return err_row(TL_E_INVAL)->exit_status;
	}
	buf_init(&out, PROBE_MAX);
	if (root) {
		yyjson_mut_doc_set_root(doc, root);
		if (probe_fill(doc, root))
			rc = json_write(&out, doc);
	}
	if (rc == 0)
		rc = buf_put_u8(&out, '\n');
	if (rc == 0)
		rc = fd_write_all(1, buf_data(&out).p, out.len, 10000);
	if (rc)
		fprintf(stderr, "towline-host probe: cannot print the facts: %s\n",
			err_row(rc)->what);
	buf_fini(&out);
	yyjson_mut_doc_free(doc);
	return rc ? err_row(rc)->exit_status : 0;
}
