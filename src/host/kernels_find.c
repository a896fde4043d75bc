/* kernels_find.c - the places where kernels and interpreters are (see kernels.h): kernelspecs, then
 * the project's own environment, active ones, virtualenvs, conda, pyenv, uv, /opt, PATH. The first
 * way to an interpreter names it; ways that lead to the same one are left out. */
#include <dirent.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/limits.h"
#include "host/kernels.h"
#include "host/login_env.h"
#include "loop/fsx.h"

#define ENTRIES_MAX 1024 /* of one folder that are looked at */

static bool first_time(struct kernel_finds *f, const char *key)
{
	for (size_t i = 0; i < f->seen.n; i++)
		if (strcmp(f->seen.v[i], key) == 0)
			return false;
	return strv_add(&f->seen, key) == 0;
}

/* Takes k. */
static void add(struct kernel_finds *f, struct kernelspec *k)
{
	if (f->n == f->cap && f->n < TL_LIMIT_KERNEL_SPECS) {
		size_t cap = f->cap ? f->cap * 2 : 32;
		struct kernelspec *p = realloc(f->spec, cap * sizeof(*p));
		if (p) {
			f->spec = p;
			f->cap = cap;
		}
	}
	if (f->n == f->cap) {
		f->complete = false;
		kernelspec_fini(k);
		return;
	}
	f->spec[f->n++] = *k;
}

/* An interpreter's identity: its folder and what its name leads to. A venv's python leads to the
 * system's, but from another folder. */
static bool is_new(struct kernel_finds *f, const char *path)
{
	char dir[PATH_MAX], real[PATH_MAX], key[2 * PATH_MAX], *slash;
	struct stat st;
	if (!str_copy(key, sizeof(key), path) || !(slash = strrchr(key, '/')))
		return false;
	*slash = 0;
	if (!realpath(key, dir) || !realpath(path, real) || stat(real, &st) != 0 ||
	    !S_ISREG(st.st_mode) || access(path, X_OK) != 0)
		return false;
	snprintf(key, sizeof(key), "%s|%s", dir, real);
	return first_time(f, key);
}

static void interpreter(struct kernel_finds *f, const char *path, const char *source)
{
	struct kernelspec k;
	if (is_new(f, path) && kernelspec_of_interpreter(path, source, &k))
		add(f, &k);
}

static void sort_names(struct strv *v)
{
	for (size_t i = 1; i < v->n; i++)
		for (size_t j = i; j > 0 && strcmp(v->v[j - 1], v->v[j]) > 0; j--) {
			char *swap = v->v[j];
			v->v[j] = v->v[j - 1];
			v->v[j - 1] = swap;
		}
}

/* Names in a folder, sorted; hidden ones only where asked for. */
static void names_in(const char *dir, struct strv *ret)
{
	DIR *d = opendir(dir);
	struct dirent *e;
	while (d && ret->n < ENTRIES_MAX && (e = readdir(d)) != NULL)
		if (e->d_name[0] != '.' && strv_add(ret, e->d_name) != 0)
			break;
	if (d)
		closedir(d);
	sort_names(ret);
}

static void specs_in(struct kernel_finds *f, const char *dir, bool by_path)
{
	struct strv names = {0};
	names_in(dir, &names);
	for (size_t i = 0; i < names.n; i++) {
		struct kernelspec k;
		char *path = str_fmt("%s/%s", dir, names.v[i]);
		char *key = str_fmt("spec|%s", by_path && path ? path : names.v[i]);
		if (path && key &&
		    kernelspec_load(path, by_path ? path : names.v[i], &k, NULL) == 0) {
			/* an earlier folder's kernel of the same name hides this one; an
			 * environment's own Python is listed as itself */
			if ((by_path && strcmp(k.language, "python") == 0) || !first_time(f, key)) {
				kernelspec_fini(&k);
			} else {
				/* its interpreter needs no line of its own */
				if (!k.reason && k.path)
					is_new(f, k.path);
				add(f, &k);
			}
		}
		free(path);
		free(key);
	}
	strv_fini(&names);
}

/* An environment: its Python, its R, and kernelspecs of other languages. */
static void environment(struct kernel_finds *f, const char *prefix, const char *source)
{
	static const char *const programs[] = {"python", "python3", "R", "ark"};
	bool python = false;
	for (size_t i = 0; i < 4; i++) {
		char *path = str_fmt("%s/bin/%s", prefix, programs[i]);
		if (path && access(path, X_OK) == 0 && !(i == 1 && python)) {
			python |= i == 0;
			interpreter(f, path, source);
		}
		free(path);
	}
	char *specs = str_fmt("%s/share/jupyter/kernels", prefix);
	if (specs && first_time(f, specs))
		specs_in(f, specs, true);
	free(specs);
}

static void environments_in(struct kernel_finds *f, const char *dir, const char *source)
{
	struct strv names = {0};
	names_in(dir, &names);
	for (size_t i = 0; i < names.n; i++) {
		char *prefix = str_fmt("%s/%s", dir, names.v[i]);
		if (prefix)
			environment(f, prefix, source);
		free(prefix);
	}
	strv_fini(&names);
}

/* where: below the home folder, or absolute; a star at the end means every folder in it. */
static void place(struct kernel_finds *f, const char *home, const char *where, const char *source)
{
	bool each = str_ends(where, "/*");
	size_t n = strlen(where) - (each ? 2 : 0);
	char *path = where[0] == '/' ? str_ndup(where, n) : str_fmt("%s/%.*s", home, (int)n, where);
	if (path && each)
		environments_in(f, path, source);
	else if (path)
		environment(f, path, source);
	free(path);
}

/* conda's own list of environments, one path in a line. */
static void conda_list(struct kernel_finds *f, const char *home)
{
	char *path = str_fmt("%s/.conda/environments.txt", home);
	struct buf b;
	buf_init(&b, 65536);
	const char *p = path && fs_read(path, &b, NULL) == 0 ? buf_cstr(&b) : NULL;
	while (p && *p) {
		size_t n = strcspn(p, "\r\n");
		char *prefix = n && *p == '/' ? str_ndup(p, n) : NULL;
		if (prefix)
			environment(f, prefix, "conda");
		free(prefix);
		p += n + strspn(p + n, "\r\n");
	}
	buf_fini(&b);
	free(path);
}

static void variable(struct kernel_finds *f, const char *name, const char *below,
		     const char *source)
{
	const char *value = getenv(name);
	char *where = value && *value == '/' ? str_fmt("%s%s", value, below) : NULL;
	if (where)
		place(f, "", where, source);
	free(where);
}

static void search_path(struct kernel_finds *f)
{
	const char *path = getenv("PATH");
	path = path && *path ? path : "/usr/local/bin:/usr/bin:/bin";
	while (*path) {
		size_t n = strcspn(path, ":");
		char *dir = n && *path == '/' ? str_ndup(path, n) : NULL;
		struct strv names = {0};
		/* a folder of a thousand programs is read once, not asked for twenty names */
		DIR *d = dir ? opendir(dir) : NULL;
		struct dirent *e;
		while (d && (e = readdir(d)) != NULL)
			if (kernelspec_is_python(e->d_name) || strcmp(e->d_name, "R") == 0 ||
			    strcmp(e->d_name, "ark") == 0)
				strv_add(&names, e->d_name);
		if (d)
			closedir(d);
		sort_names(&names);
		for (size_t i = 0; i < names.n; i++) {
			char *full = str_fmt("%s/%s", dir, names.v[i]);
			/* pyenv's shims are scripts that choose; its versions are listed
			 * themselves */
			if (full && !strstr(full, "/shims/"))
				interpreter(f, full, "path");
			free(full);
		}
		strv_fini(&names);
		free(dir);
		path += n + (path[n] == ':');
	}
	interpreter(f, "/usr/bin/python3", "path");
	interpreter(f, "/usr/bin/R", "path");
}

void kernels_find(struct kernel_finds *f, const char *folder)
{
	static const struct {
		const char *where, *source;
	} places[] = {
	    {".virtualenvs/*", "venv"},
	    {".venvs/*", "venv"},
	    {".local/share/virtualenvs/*", "venv"},
	    {"miniconda3", "conda"},
	    {"miniconda3/envs/*", "conda"},
	    {"anaconda3", "conda"},
	    {"anaconda3/envs/*", "conda"},
	    {"miniforge3", "conda"},
	    {"miniforge3/envs/*", "conda"},
	    {"mambaforge", "conda"},
	    {"mambaforge/envs/*", "conda"},
	    {"micromamba/envs/*", "conda"},
	    {"/opt/conda", "conda"},
	    {"/opt/conda/envs/*", "conda"},
	    {"/opt/miniconda3", "conda"},
	    {"/opt/miniconda3/envs/*", "conda"},
	    {"/opt/anaconda3", "conda"},
	    {"/opt/anaconda3/envs/*", "conda"},
	    {".pyenv/versions/*", "pyenv"},
	    {".local/share/uv/python/*", "uv"},
	    {"/opt/python/*", "opt"},
	    {"/opt/R/*", "opt"},
	};
	struct strv dirs = {0};
	struct login who;
	login_of(&who);
	f->complete = true;
	if (kernelspec_dirs(&dirs) != 0)
		f->complete = false;
	for (size_t i = 0; i < dirs.n; i++)
		specs_in(f, dirs.v[i], false);
	strv_fini(&dirs);
	if (folder && *folder == '/') {
		static const char *const own[] = {".venv", "venv", ".conda", "env"};
		for (size_t i = 0; i < 4; i++)
			place(f, folder, own[i], i == 2 ? "conda" : "venv");
	}
	variable(f, "VIRTUAL_ENV", "", "venv");
	variable(f, "CONDA_PREFIX", "", "conda");
	variable(f, "WORKON_HOME", "/*", "venv");
	variable(f, "MAMBA_ROOT_PREFIX", "/envs/*", "conda");
	variable(f, "PYENV_ROOT", "/versions/*", "pyenv");
	variable(f, "UV_PYTHON_INSTALL_DIR", "/*", "uv");
	conda_list(f, who.home);
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++)
		place(f, who.home, places[i].where, places[i].source);
	search_path(f);
}
