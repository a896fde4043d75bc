/* kernelspec.c - see kernelspec.h. */
#include "host/kernelspec.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/limits.h"
#include "host/login_env.h"
#include "loop/fsx.h"

#define KERNEL_JSON 262144 /* bytes of a kernel.json */

void kernelspec_fini(struct kernelspec *k)
{
	char *own[] = {k->id,  k->display,  k->language, k->path,   k->version,
		       k->dir, k->metadata, k->reason,   k->install};
	for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++)
		free(own[i]);
	strv_fini(&k->argv);
	strv_fini(&k->env);
	*k = (struct kernelspec){0};
}

/* ---- where they are ---- */

static int add_list(struct strv *v, const char *colons, const char *below)
{
	int rc = 0;
	while (colons && *colons && !rc) {
		size_t n = strcspn(colons, ":");
		if (n && colons[0] == '/')
			rc = strv_addf(v, "%.*s%s", (int)n, colons, below);
		colons += n + (colons[n] == ':');
	}
	return rc;
}

int kernelspec_dirs(struct strv *v)
{
	static const char *const actives[] = {"VIRTUAL_ENV", "CONDA_PREFIX"};
	const char *data = getenv("JUPYTER_DATA_DIR"), *xdg = getenv("XDG_DATA_HOME");
	struct login who;
	login_of(&who);
	int rc = add_list(v, getenv("JUPYTER_PATH"), "/kernels");
	if (data && *data == '/')
		rc = rc ? rc : strv_addf(v, "%s/kernels", data);
	else if (xdg && *xdg == '/')
		rc = rc ? rc : strv_addf(v, "%s/jupyter/kernels", xdg);
	else
		rc = rc ? rc : strv_addf(v, "%s/.local/share/jupyter/kernels", who.home);
	for (size_t i = 0; i < 2 && !rc; i++) {
		const char *prefix = getenv(actives[i]);
		if (prefix && *prefix == '/')
			rc = strv_addf(v, "%s/share/jupyter/kernels", prefix);
	}
	rc = rc ? rc : strv_add(v, "/usr/local/share/jupyter/kernels");
	return rc ? rc : strv_add(v, "/usr/share/jupyter/kernels");
}

/* ---- kernel.json ---- */

static int load_env(struct kernelspec *k, yyjson_val *env)
{
	size_t i, n;
	yyjson_val *key, *v;
	int rc = 0;
	yyjson_obj_foreach(env, i, n, key, v)
	{
		if (!rc && yyjson_is_str(v))
			rc = strv_addf(&k->env, "%s=%s", yyjson_get_str(key), yyjson_get_str(v));
	}
	return rc;
}

static int load_argv(struct kernelspec *k, yyjson_val *argv, const char *dir, struct tl_err *err)
{
	size_t i, n;
	yyjson_val *v;
	int rc = 0;
	if (!yyjson_is_arr(argv) || yyjson_arr_size(argv) == 0)
		return err_set(err, TL_E_PROTO, "read %s/kernel.json: argv is missing", dir);
	yyjson_arr_foreach(argv, i, n, v)
	{
		if (!yyjson_is_str(v) || strlen(yyjson_get_str(v)) != yyjson_get_len(v))
			return err_set(err, TL_E_PROTO,
				       "read %s/kernel.json: argv must be a list of texts", dir);
		rc = rc ? rc : strv_add(&k->argv, yyjson_get_str(v));
	}
	return rc;
}

/* argv[0], looked up; a bare python of an environment's own kernelspec is that environment's. */
static void resolve_program(struct kernelspec *k, const char *dir)
{
	const char *at = strstr(dir, "/share/jupyter/kernels");
	char *own = NULL;
	if (at && !strchr(k->argv.v[0], '/') && kernelspec_is_python(k->argv.v[0]))
		own = str_fmt("%.*s/bin/%s", (int)(at - dir), dir, k->argv.v[0]);
	if (own && access(own, X_OK) == 0) {
		k->path = own;
		return;
	}
	free(own);
	k->path = kernelspec_which(k->argv.v[0]);
	if (k->path)
		return;
	k->reason = str_fmt("the program %s of its kernelspec is not there", k->argv.v[0]);
	k->path = str_dup(k->argv.v[0]);
}

static bool argv_has(const struct kernelspec *k, const char *word)
{
	for (size_t i = 0; i < k->argv.n; i++)
		if (strstr(k->argv.v[i], word))
			return true;
	return false;
}

static int load_fields(struct kernelspec *k, yyjson_val *root, const char *dir, const char *id,
		       struct tl_err *err)
{
	int rc = load_argv(k, json_get(root, "argv"), dir, err);
	if (rc)
		return rc;
	k->id = str_dup(id);
	k->dir = str_dup(dir);
	k->display = str_dup(json_str(root, "display_name", id));
	k->language = str_dup(json_str(root, "language", ""));
	k->source = "kernelspec";
	k->by_message = strcmp(json_str(root, "interrupt_mode", "signal"), "message") == 0;
	if (yyjson_is_obj(json_get(root, "metadata")))
		k->metadata = yyjson_val_write(json_get(root, "metadata"), 0, NULL);
	rc = load_env(k, json_get(root, "env"));
	if (rc || !k->id || !k->dir || !k->display || !k->language)
		return err_set(err, TL_E_NOMEM, "read %s/kernel.json", dir);
	resolve_program(k, dir);
	if (!k->reason && argv_has(k, "ipykernel") && kernelspec_is_python(k->path))
		kernelspec_look_python(k);
	else if (!k->reason && argv_has(k, "IRkernel"))
		kernelspec_look_r(k);
	return 0;
}

int kernelspec_load(const char *dir, const char *id, struct kernelspec *ret, struct tl_err *err)
{
	char *path = str_fmt("%s/kernel.json", dir);
	struct tl_err why = {0};
	struct buf text;
	yyjson_doc *doc = NULL;
	*ret = (struct kernelspec){0};
	buf_init(&text, KERNEL_JSON);
	int rc = path ? fs_read(path, &text, &why) : TL_E_NOMEM;
	if (rc) {
		err_set(err, rc, "read %s: %s", path ? path : dir, err_row(rc)->what);
	} else {
		doc = json_parse(buf_data(&text), &why);
		if (!yyjson_is_obj(yyjson_doc_get_root(doc)))
			rc = err_set(err, TL_E_PROTO, "read %s: %s", path,
				     doc ? "it is no object" : why.text);
		else
			rc = load_fields(ret, yyjson_doc_get_root(doc), dir, id, err);
	}
	yyjson_doc_free(doc);
	buf_fini(&text);
	free(path);
	if (rc)
		kernelspec_fini(ret);
	return rc;
}

/* ---- interpreters ---- */

bool kernelspec_is_python(const char *path)
{
	const char *base = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
	return str_starts(base, "python") && strspn(base + 6, "0123456789.") == strlen(base + 6);
}

static int python_argv(struct kernelspec *k)
{
	static const char *const words[] = {"-m", "ipykernel_launcher", "-f", "{connection_file}"};
	int rc = strv_add(&k->argv, k->path);
	for (size_t i = 0; i < 4 && !rc; i++)
		rc = strv_add(&k->argv, words[i]);
	return rc;
}

static int r_argv(struct kernelspec *k)
{
	static const char *const words[] = {"--slave", "-e", "IRkernel::main()", "--args",
					    "{connection_file}"};
	int rc = strv_add(&k->argv, k->path);
	for (size_t i = 0; i < 5 && !rc; i++)
		rc = strv_add(&k->argv, words[i]);
	return rc;
}

static int ark_argv(struct kernelspec *k)
{
	static const char *const words[] = {"--connection_file", "{connection_file}",
					    "--session-mode", "notebook"};
	int rc = strv_add(&k->argv, k->path);
	for (size_t i = 0; i < 4 && !rc; i++)
		rc = strv_add(&k->argv, words[i]);
	return rc;
}

/* "Python 3.11.2 (.venv)" */
static void name_it(struct kernelspec *k, const char *what)
{
	const char *slash = strstr(k->path, "/bin/");
	size_t n = slash ? (size_t)(slash - k->path) : 0, from = n;
	while (from && k->path[from - 1] != '/')
		from--;
	/* an environment is known by its folder, the system's interpreter by its path */
	if (n > from && strcmp(k->source, "path") != 0)
		k->display = str_fmt("%s%s%s (%.*s)", what, k->version ? " " : "",
				     k->version ? k->version : "", (int)(n - from), k->path + from);
	else
		k->display = str_fmt("%s%s%s (%s)", what, k->version ? " " : "",
				     k->version ? k->version : "", k->path);
}

bool kernelspec_of_interpreter(const char *path, const char *source, struct kernelspec *k)
{
	const char *base = strrchr(path, '/') ? strrchr(path, '/') + 1 : path, *what = NULL;
	int rc = 0;
	*k = (struct kernelspec){.source = source, .id = str_dup(path), .path = str_dup(path)};
	if (!k->id || !k->path) {
		kernelspec_fini(k);
		return false;
	}
	if (kernelspec_is_python(path)) {
		what = "Python";
		rc = python_argv(k);
		kernelspec_look_python(k);
	} else if (strcmp(base, "R") == 0) {
		what = "R";
		rc = r_argv(k);
		kernelspec_look_r(k);
	} else if (strcmp(base, "ark") == 0) {
		what = "ark";
		rc = ark_argv(k);
	}
	if (what) {
		k->language = str_dup(strcmp(what, "Python") == 0 ? "python" : "R");
		name_it(k, what);
	}
	if (!what || rc || !k->language || !k->display) {
		kernelspec_fini(k);
		return false;
	}
	return true;
}

/* ---- finding one ---- */

static int find_path(const char *path, struct kernelspec *ret, struct tl_err *err)
{
	struct stat st;
	if (stat(path, &st) != 0)
		return err_set(err, TL_E_NOSPEC, "start a kernel: %.300s is not there", path);
	if (S_ISDIR(st.st_mode))
		return kernelspec_load(path, path, ret, err);
	if (!kernelspec_of_interpreter(path, "path", ret))
		return err_set(err, TL_E_NOSPEC,
			       "start a kernel: %.300s is no Python, R or ark interpreter", path);
	return 0;
}

int kernelspec_find(const char *kernel, struct kernelspec *ret, struct tl_err *err)
{
	struct strv dirs = {0};
	struct tl_err why = {0};
	int rc = TL_E_NOENT;
	if (kernel[0] == '/')
		return find_path(kernel, ret, err);
	if (!*kernel || strchr(kernel, '/') || kernel[0] == '.')
		return err_set(err, TL_E_INVAL,
			       "start a kernel: “%.100s” is neither a kernel's name nor an "
			       "absolute path",
			       kernel);
	if (kernelspec_dirs(&dirs) != 0)
		rc = TL_E_NOMEM;
	for (size_t i = 0; i < dirs.n && rc == TL_E_NOENT; i++) {
		char *dir = str_fmt("%s/%s", dirs.v[i], kernel);
		rc = dir ? kernelspec_load(dir, kernel, ret, &why) : TL_E_NOMEM;
		/* a folder that we may not enter has no kernel for us */
		rc = rc == TL_E_ACCES || rc == TL_E_NOTDIR ? TL_E_NOENT : rc;
		free(dir);
	}
	strv_fini(&dirs);
	if (rc == TL_E_NOENT)
		return err_set(err, TL_E_NOSPEC,
			       "start a kernel: no kernelspec “%.100s” on this host", kernel);
	return rc ? err_set(err, rc, "start a kernel: %.500s", why.text) : 0;
}
