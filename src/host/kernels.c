/* kernels.c - see kernels.h. */
#include "host/kernels.h"

#include <stdio.h>
#include <dirent.h>
#include <stdlib.h>
#include <string.h>

#include "base/base64.h"
#include "base/limits.h"
#include "loop/fsx.h"

#define FILE_MAX_  262144 /* a logo */
#define FILES_MAX_ 32

/* Files of a kernelspec that clients show or load; nothing else of its folder is told. */
static bool is_resource(const char *name)
{
	const char *dot = strrchr(name, '.');
	if (strcmp(name, "kernel.js") == 0 || strcmp(name, "kernel.css") == 0)
		return true;
	return str_starts(name, "logo-") && !strchr(name, '/') && dot &&
	       (strcmp(dot, ".png") == 0 || strcmp(dot, ".svg") == 0);
}

static void put_files(yyjson_mut_doc *d, yyjson_mut_val *o, const char *dir)
{
	yyjson_mut_val *files = yyjson_mut_obj_add_arr(d, o, "files");
	DIR *at = opendir(dir);
	struct dirent *e;
	size_t n = 0;
	while (at && n < FILES_MAX_ && (e = readdir(at)) != NULL) {
		if (is_resource(e->d_name)) {
			yyjson_mut_arr_add_strcpy(d, files, e->d_name);
			n++;
		}
	}
	if (at)
		closedir(at);
}

/* {"data": base64} of one such file. */
static int print_file(const char *id, const char *name)
{
	struct kernelspec k = {0};
	struct buf b;
	char *path = NULL, *text = NULL;
	bool there = is_resource(name) && kernelspec_find(id, &k, NULL) == 0 && k.dir;
	buf_init(&b, FILE_MAX_);
	if (there)
		path = str_fmt("%s/%s", k.dir, name);
	if (path && fs_read(path, &b, NULL) == 0)
		text = base64_text(buf_data(&b));
	int status = text && printf("{\"data\":\"%s\"}\n", text) > 0 ? 0 : puts("{}") < 0;
	buf_fini(&b);
	free(path);
	free(text);
	kernelspec_fini(&k);
	return status;
}

static void put_spec(yyjson_mut_doc *d, yyjson_mut_val *arr, const struct kernelspec *k)
{
	yyjson_mut_val *o = yyjson_mut_arr_add_obj(d, arr), *argv;
	json_add_path(d, o, "id", k->id);
	json_add_path(d, o, "displayName", k->display);
	json_add_path(d, o, "language", k->language);
	yyjson_mut_obj_add_str(d, o, "source", k->source);
	json_add_path(d, o, "path", k->path ? k->path : "");
	if (k->version)
		json_add_path(d, o, "version", k->version);
	argv = yyjson_mut_obj_add_arr(d, o, "argv");
	for (size_t i = 0; i < k->argv.n; i++)
		yyjson_mut_arr_add_strcpy(d, argv, k->argv.v[i]);
	yyjson_mut_obj_add_str(d, o, "interruptMode", k->by_message ? "message" : "signal");
	yyjson_mut_obj_add_bool(d, o, "ready", !k->reason);
	if (k->reason)
		json_add_path(d, o, "reason", k->reason);
	if (k->install)
		json_add_path(d, o, "install", k->install);
	if (k->dir)
		json_add_path(d, o, "resources", k->dir);
	if (k->dir)
		put_files(d, o, k->dir);
	if (k->metadata) {
		yyjson_doc *m = json_parse(bytes_str(k->metadata), NULL);
		if (m)
			yyjson_mut_obj_add_val(d, o, "metadata",
					       yyjson_val_mut_copy(d, yyjson_doc_get_root(m)));
		yyjson_doc_free(m);
	}
}

/* The one to begin with: a Python that can start, else anything that can. */
static const char *default_of(const struct kernel_finds *f)
{
	const char *any = NULL;
	for (size_t i = 0; i < f->n; i++) {
		const struct kernelspec *k = &f->spec[i];
		if (!k->reason && strcmp(k->language, "python") == 0)
			return k->id;
		if (!k->reason && !any)
			any = k->id;
	}
	return any;
}

int kernels_main(int argc, char **argv)
{
	struct kernel_finds f = {0};
	yyjson_mut_doc *d = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *o = yyjson_mut_obj(d), *arr;
	if (argc == 4 && strcmp(argv[1], "--file") == 0) {
		yyjson_mut_doc_free(d);
		return print_file(argv[2], argv[3]);
	}
	kernels_find(&f, argc > 1 ? argv[1] : NULL);
	kernels_probe(&f);
	yyjson_mut_doc_set_root(d, o);
	arr = yyjson_mut_obj_add_arr(d, o, "specs");
	for (size_t i = 0; i < f.n; i++)
		put_spec(d, arr, &f.spec[i]);
	if (default_of(&f))
		json_add_path(d, o, "default", default_of(&f));
	yyjson_mut_obj_add_bool(d, o, "complete", f.complete);
	char *text = yyjson_mut_write(d, 0, NULL);
	int status = text && puts(text) >= 0 && fflush(stdout) == 0 ? 0 : 1;
	free(text);
	yyjson_mut_doc_free(d);
	for (size_t i = 0; i < f.n; i++)
		kernelspec_fini(&f.spec[i]);
	free(f.spec);
	strv_fini(&f.seen);
	return status;
}
