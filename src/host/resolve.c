/* resolve.c - see resolve.h. */
#include "host/resolve.h"

#include <errno.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/str.h"
#include "loop/fsx.h"
#include "loop/io.h"
#include "wire/json.h"

/* ~, ~user, and relative paths, which start at home. */
static int expand(const char *path, char *out, size_t n, struct tl_err *err)
{
	char base[TL_LIMIT_PATH] = "", user[64];
	const char *rest = path;
	size_t len;

	if (path[0] == '~' && (len = strcspn(path, "/")) > 1) {
		struct passwd *pw = NULL;
		if (len <= sizeof(user)) {
			memcpy(user, path + 1, len - 1);
			user[len - 1] = 0;
			pw = getpwnam(user);
		}
		if (!pw)
			return err_set(err, TL_E_NOENT, "cannot open %.300s: no such user", path);
		str_copy(base, sizeof(base), pw->pw_dir);
		rest = path + len;
	} else if (path[0] != '/') {
		if (home_dir(base, sizeof(base)) != 0)
			return err_set(err, TL_E_NOENT,
				       "cannot open %.300s: this user has no home folder", path);
		rest = path[0] == '~' ? path + 1 : path;
	}
	if (!base[0])
		return str_copy(out, n, path) ? 0 : TL_E_LIMIT;
	if ((size_t)snprintf(out, n, "%s/%s", base, rest) >= n)
		return err_set(err, TL_E_LIMIT, "cannot open %.60s…: the path is too long", path);
	return 0;
}

static int look(const char *path, yyjson_mut_doc *doc, yyjson_mut_val *o, struct tl_err *err)
{
	char full[2 * TL_LIMIT_PATH], *real;
	struct stat st;
	bool ok;
	int rc = expand(path, full, sizeof(full), err);

	if (rc)
		return rc;
	real = realpath(full, NULL);
	if (!real || stat(real, &st) != 0) {
		rc = err_sys(err, errno, "cannot open %.400s", path);
		free(real);
		return rc;
	}
	/* JSON has no other bytes than UTF-8; a name that cannot come back must not go out */
	if (!utf8_valid(bytes_str(real))) {
		rc = err_set(err, TL_E_UNSUPPORTED, "cannot open %.300s: its name is not UTF-8",
			     path);
		free(real);
		return rc;
	}
	ok = yyjson_mut_obj_add_strcpy(doc, o, "path", real) &&
	     yyjson_mut_obj_add_str(doc, o, "type",
				    S_ISREG(st.st_mode)   ? "file"
				    : S_ISDIR(st.st_mode) ? "folder"
							  : "other") &&
	     yyjson_mut_obj_add_bool(doc, o, "readable", access(real, R_OK) == 0) &&
	     yyjson_mut_obj_add_bool(doc, o, "writable", access(real, W_OK) == 0) &&
	     yyjson_mut_obj_add_sint(doc, o, "size", st.st_size) &&
	     yyjson_mut_obj_add_sint(
		 doc, o, "mtime", (int64_t)st.st_mtim.tv_sec * 1000 + st.st_mtim.tv_nsec / 1000000);
	free(real);
	return ok ? 0 : err_set(err, TL_E_NOMEM, "cannot open %.300s: out of memory", path);
}

int resolve_main(int argc, char **argv)
{
	yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *root = doc ? yyjson_mut_obj(doc) : NULL;
	yyjson_mut_val *ok = root ? yyjson_mut_obj(doc) : NULL;
	struct tl_err err = {0};
	struct buf out;
	int rc = ok ? 0 : TL_E_NOMEM;

	buf_init(&out, TL_LIMIT_SFTP_PACKET);
	if (argc != 2) {
		fprintf(stderr, "usage: towline-host resolve PATH\n");
		rc = TL_E_INVAL;
	}
	if (rc == 0) {
		yyjson_mut_doc_set_root(doc, root);
		if (look(argv[1], doc, ok, &err) == 0)
			rc = yyjson_mut_obj_add_val(doc, root, "ok", ok) ? 0 : TL_E_NOMEM;
		else
			rc = yyjson_mut_obj_add_str(doc, root, "error", err_row(err.code)->name) &&
				     json_add_path(doc, root, "message", err.text)
				 ? 0
				 : TL_E_NOMEM;
	}
	if (rc == 0)
		rc = json_write(&out, doc);
	if (rc == 0)
		rc = fd_write_all(1, buf_data(&out).p, out.len, 10000);
	buf_fini(&out);
	yyjson_mut_doc_free(doc);
	return rc ? err_row(rc)->exit_status : 0;
}
