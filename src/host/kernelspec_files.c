/* kernelspec_files.c - what the files of an interpreter tell about it (see kernelspec.h): its
 * version, whether ipykernel or IRkernel is installed for it, and with what to install it. Nothing
 * is executed, so a broken or hanging interpreter costs nothing. */
#include <dirent.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/limits.h"
#include "host/kernelspec.h"
#include "host/login_env.h"
#include "loop/fsx.h"

#define SMALL_FILE 65536

static bool is_there(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static bool is_there(const char *fmt, ...)
{
	char path[TL_LIMIT_PATH];
	va_list ap;
	va_start(ap, fmt);
	int n = vsnprintf(path, sizeof(path), fmt, ap);
	va_end(ap);
	return n > 0 && (size_t)n < sizeof(path) && access(path, F_OK) == 0;
}

char *kernelspec_which(const char *program)
{
	const char *path = getenv("PATH");
	struct stat st;
	if (strchr(program, '/'))
		return access(program, X_OK) == 0 ? str_dup(program) : NULL;
	path = path && *path ? path : "/usr/local/bin:/usr/bin:/bin";
	while (*path) {
		size_t n = strcspn(path, ":");
		char *full = n && *path == '/' ? str_fmt("%.*s/%s", (int)n, path, program) : NULL;
		if (full && access(full, X_OK) == 0 && stat(full, &st) == 0 && S_ISREG(st.st_mode))
			return full;
		free(full);
		path += n + (path[n] == ':');
	}
	return NULL;
}

/* The folder above the folder of a program: /opt/venv of /opt/venv/bin/python. */
static bool prefix_of(const char *path, char *out, size_t n)
{
	char *slash;
	if (!str_copy(out, n, path))
		return false;
	for (int i = 0; i < 2; i++) {
		slash = strrchr(out, '/');
		if (!slash)
			return false;
		*slash = 0;
	}
	return true;
}

/* The value of `NAME = value` or `Name: value` at the beginning of a line, into out. */
static bool file_value(const char *path, const char *name, char sep, char *out, size_t n)
{
	struct buf b;
	bool found = false;
	buf_init(&b, SMALL_FILE);
	const char *text = fs_read(path, &b, NULL) == 0 ? buf_cstr(&b) : NULL;
	for (const char *p = text; p && *p && !found; p = strchr(p, '\n'), p = p ? p + 1 : p) {
		const char *v = p + strlen(name);
		if (!str_starts(p, name))
			continue;
		v += strspn(v, " \t");
		if (*v != sep)
			continue;
		v++;
		v += strspn(v, " \t");
		size_t len = strcspn(v, "\r\n");
		if (len < n) {
			memcpy(out, v, len);
			out[len] = 0;
			found = true;
		}
	}
	buf_fini(&b);
	return found;
}

/* ---- Python ---- */

struct python {
	char prefix[TL_LIMIT_PATH], real[PATH_MAX], base[TL_LIMIT_PATH];
	char cfg[TL_LIMIT_PATH];
	char version[64]; /* "3.11.2", or "3.11", or empty */
	char minor[64];   /* "3.11" */
	bool venv, sees_system;
};

/* "python3.11" at the end of what the links lead to. */
static void version_of_name(struct python *p)
{
	const char *base = strrchr(p->real, '/');
	if (base && str_starts(base, "/python") && strchr(base, '.'))
		str_copy(p->version, sizeof(p->version), base + 7);
}

/* lib/python3.11 of a prefix, where the name of the program says nothing. */
static void version_of_lib(struct python *p)
{
	char lib[TL_LIMIT_PATH + 8];
	struct dirent *e;
	snprintf(lib, sizeof(lib), "%s/lib", p->base);
	DIR *d = opendir(lib);
	while (d && (e = readdir(d)) != NULL)
		if (str_starts(e->d_name, "python3.") && !p->version[0])
			str_copy(p->version, sizeof(p->version), e->d_name + 6);
	if (d)
		closedir(d);
}

static bool python_look(const char *path, struct python *p)
{
	char home[TL_LIMIT_PATH], yes[16];
	*p = (struct python){0};
	if (!prefix_of(path, p->prefix, sizeof(p->prefix)) || !realpath(path, p->real))
		return false;
	snprintf(p->cfg, sizeof(p->cfg), "%.4000s/pyvenv.cfg", p->prefix);
	p->venv = file_value(p->cfg, "home", '=', home, sizeof(home));
	if (p->venv) {
		str_copy(p->base, sizeof(p->base), home);
		char *slash = strrchr(p->base, '/');
		if (slash)
			*slash = 0;
		if (!file_value(p->cfg, "version", '=', p->version, sizeof(p->version)))
			file_value(p->cfg, "version_info", '=', p->version, sizeof(p->version));
		/* absent means true, as for Python itself */
		p->sees_system =
		    !file_value(p->cfg, "include-system-site-packages", '=', yes, sizeof(yes)) ||
		    strcmp(yes, "true") == 0;
	} else if (!prefix_of(p->real, p->base, sizeof(p->base))) {
		return false;
	}
	if (!p->version[0])
		version_of_name(p);
	if (!p->version[0])
		version_of_lib(p);
	str_copy(p->minor, sizeof(p->minor), p->version);
	char *dot = strchr(p->minor, '.');
	dot = dot ? strchr(dot + 1, '.') : NULL;
	if (dot)
		*dot = 0;
	return true;
}

static bool has_ipykernel(const struct python *p)
{
	static const char module[] = "ipykernel_launcher.py";
	struct login who;
	if (is_there("%s/lib/python%s/site-packages/%s", p->prefix, p->minor, module) ||
	    is_there("%s/lib64/python%s/site-packages/%s", p->prefix, p->minor, module))
		return true;
	if (p->venv && !p->sees_system)
		return false;
	login_of(&who);
	return is_there("%s/lib/python%s/site-packages/%s", p->base, p->minor, module) ||
	       is_there("%s/.local/lib/python%s/site-packages/%s", who.home, p->minor, module) ||
	       (strcmp(p->base, "/usr") == 0 &&
		(is_there("/usr/lib/python3/dist-packages/%s", module) ||
		 is_there("/usr/local/lib/python%s/dist-packages/%s", p->minor, module)));
}

static char *python_install(const struct python *p, const char *path)
{
	char uv[64];
	if (is_there("%s/conda-meta", p->prefix))
		return str_fmt("conda install -y -p %s ipykernel", p->prefix);
	if (p->venv && file_value(p->cfg, "uv", '=', uv, sizeof(uv)))
		return str_fmt("uv pip install --python %s ipykernel", path);
	if (!p->venv && is_there("%s/lib/python%s/EXTERNALLY-MANAGED", p->base, p->minor))
		return str_dup(is_there("/etc/debian_version")
				   ? "sudo apt-get install python3-ipykernel"
				   : "sudo dnf install python3-ipykernel");
	return str_fmt("%s -m pip install ipykernel", path);
}

void kernelspec_look_python(struct kernelspec *k)
{
	struct python p;
	if (!python_look(k->path, &p)) {
		k->reason = str_fmt("%s leads nowhere", k->path);
		return;
	}
	if (p.version[0] && !k->version)
		k->version = str_dup(p.version);
	if (has_ipykernel(&p))
		return;
	k->reason = str_fmt("ipykernel is not installed for %s", k->path);
	k->install = python_install(&p, k->path);
	k->unsure = true;
}

/* ---- R ---- */

static bool r_library(const char *dirs)
{
	while (dirs && *dirs) {
		size_t n = strcspn(dirs, ":");
		if (n && is_there("%.*s/IRkernel/DESCRIPTION", (int)n, dirs))
			return true;
		dirs += n + (dirs[n] == ':');
	}
	return false;
}

/* ~/R/PLATFORM-library/4.2 */
static bool r_user_library(const char *version)
{
	char dir[TL_LIMIT_PATH], minor[32];
	struct login who;
	struct dirent *e;
	bool found = false;
	login_of(&who);
	str_copy(minor, sizeof(minor), version ? version : "");
	char *dot = strchr(minor, '.') ? strchr(strchr(minor, '.') + 1, '.') : NULL;
	if (dot)
		*dot = 0;
	snprintf(dir, sizeof(dir), "%.4000s/R", who.home);
	DIR *d = opendir(dir);
	while (d && !found && (e = readdir(d)) != NULL)
		found = str_ends(e->d_name, "-library") &&
			is_there("%s/%s/%s/IRkernel/DESCRIPTION", dir, e->d_name, minor);
	if (d)
		closedir(d);
	return found;
}

void kernelspec_look_r(struct kernelspec *k)
{
	static const char *const libs[] = {"lib/R", "lib64/R"};
	char prefix[TL_LIMIT_PATH], home[TL_LIMIT_PATH + 8] = "", file[TL_LIMIT_PATH + 64];
	char version[64] = "";
	if (!prefix_of(k->path, prefix, sizeof(prefix)))
		return;
	if (strcmp(prefix, "/") == 0 || !*prefix)
		str_copy(prefix, sizeof(prefix), "/usr");
	for (size_t i = 0; i < 2 && !version[0]; i++) {
		snprintf(home, sizeof(home), "%s/%s", prefix, libs[i]);
		snprintf(file, sizeof(file), "%s/library/base/DESCRIPTION", home);
		if (file_value(file, "Version", ':', version, sizeof(version)) && !k->version)
			k->version = str_dup(version);
	}
	if (is_there("%s/library/IRkernel/DESCRIPTION", home) ||
	    is_there("%s/site-library/IRkernel/DESCRIPTION", home) ||
	    is_there("/usr/local/lib/R/site-library/IRkernel/DESCRIPTION") ||
	    r_library(getenv("R_LIBS")) || r_library(getenv("R_LIBS_USER")) ||
	    r_library(getenv("R_LIBS_SITE")) || r_user_library(version))
		return;
	k->reason = str_fmt("IRkernel is not installed for %s", k->path);
	k->install = strcmp(k->path, "/usr/bin/R") == 0 && is_there("/etc/debian_version")
			 ? str_dup("sudo apt-get install r-cran-irkernel")
			 : str_fmt("%s -e 'install.packages(\"IRkernel\")'", k->path);
}
