/* cmd_get.c - towline get: files and folders from a host to this machine. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/str.h"
#include "cmd/cmd_files.h"

const char *const cmd_get_usage =
    "usage: towline get [-r] [-t] HOST:SRC… DEST\n"
    "\n"
    "Copies files of HOST to this machine; all of one HOST. DEST is a folder that is there, or "
    "(for\n"
    "one SRC) the new name. A file appears only when all of it has arrived. Links inside a folder\n"
    "stay links.\n"
    "\n"
    "  -r, --recursive   folders with everything in them\n"
    "  -t, --times       keep the times of modification\n"
    "  -q                no progress line\n"
    "  --json            {\"files\",\"folders\",\"bytes\"}\n"
    "\n"
    "examples:\n"
    "  towline get build-server:report.pdf .\n"
    "  towline get -r build-server:/var/log/app logs\n"
    "\n"
    "exit status: 0; 20 no such file; 21 permission denied; 24 it is a folder; see towline(1).\n";

/* Where one SRC goes. Owns all of it. */
struct place {
	int dirfd;
	char *name;
};

static void place_fini(struct place *p)
{
	if (p->dirfd >= 0)
		close(p->dirfd);
	free(p->name);
}

static int open_folder(const char *path, struct place *ret, struct tl_err *err)
{
	ret->dirfd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return ret->dirfd >= 0 ? 0 : err_sys(err, errno, "cannot write into %s here", path);
}

/* dest is not a folder: the new name, or (through links) the file that is replaced. */
static int place_name(const char *dest, const struct stat *st, struct place *ret,
		      struct tl_err *err)
{
	char real[PATH_MAX], *slash;
	int rc;

	if (st && !S_ISREG(st->st_mode))
		return err_set(err, TL_E_INVAL,
			       "%s is no regular file; `towline cat` writes to a stream", dest);
	if (!st || !realpath(dest, real)) {
		if (!str_copy(real, sizeof(real), dest))
			return err_set(err, TL_E_LIMIT, "the path %.60s… is too long", dest);
	}
	if (str_ends(real, "/"))
		return err_set(err, TL_E_NOENT, "the folder %s is not there", dest);
	slash = strrchr(real, '/');
	ret->name = str_dup(slash ? slash + 1 : real);
	if (slash)
		slash[slash == real] = 0;
	rc = open_folder(slash ? real : ".", ret, err);
	if (!rc && !ret->name)
		rc = err_set(err, TL_E_NOMEM, "out of memory");
	return rc;
}

static int place_of(const char *dest, const char *remote, bool single, struct place *ret,
		    struct tl_err *err)
{
	struct stat st;
	bool there = stat(dest, &st) == 0;
	int rc;

	*ret = (struct place){.dirfd = -1};
	if (!there && errno != ENOENT)
		return err_sys(err, errno, "cannot write to %s here", dest);
	if (!there || !S_ISDIR(st.st_mode)) {
		if (single)
			return place_name(dest, there ? &st : NULL, ret, err);
		return err_set(err, there ? TL_E_NOTDIR : TL_E_NOENT,
			       "several files go only into a folder, and %s is none", dest);
	}
	rc = open_folder(dest, ret, err);
	ret->name = files_base(remote);
	if (!rc && !ret->name)
		rc = err_set(err, TL_E_NOMEM, "out of memory");
	if (!rc && strcmp(ret->name, "..") == 0)
		rc = err_set(err, TL_E_INVAL, "%s gives the copy no name: write the folder's name",
			     remote);
	return rc;
}

static int get_one(struct files *f, struct transfer *t, const struct cmd_target *src,
		   const char *dest, bool single, struct tl_err *err)
{
	struct place p = {.dirfd = -1};
	char *path = NULL;
	int rc = files_path(f, src->path, &path, err);

	if (!rc)
		rc = place_of(dest, path, single, &p, err);
	if (!rc)
		rc = transfer_get(t, path, p.dirfd, p.name, err);
	else if (!files_broken(rc))
		files_failed(f, err);
	place_fini(&p);
	free(path);
	return rc;
}

int cmd_get(int argc, char **argv, const struct cmd_globals *g)
{
	bool recursive = false, times = false;
	const struct files_flag flags[] = {
	    {'r', "recursive", &recursive}, {'R', NULL, &recursive}, {'t', "times", &times}, {0}};
	struct cmd_target first = {0}, src;
	struct tl_err err = {0};
	struct transfer t = {0};
	struct files f;
	int rc = files_args(g, &argc, argv, flags, 2, argc, "HOST:SRC or DEST");

	if (rc)
		return rc;
	rc = files_target(argv[1], &first, &err);
	if (rc)
		return cmd_fail(g, &err);
	rc = files_open(&f, g, first.host, true, &err);
	if (!rc)
		files_transfer(&f, &t, recursive, times);
	for (int i = 1; i < argc - 1 && !rc; i++) {
		rc = files_target(argv[i], &src, &err);
		if (!rc && strcmp(src.host, first.host) != 0)
			rc = err_set(&err, TL_E_INVAL, "“%.200s” is on another host than “%.200s”",
				     argv[i], argv[1]);
		if (!rc) {
			rc = get_one(&f, &t, &src, argv[argc - 1], argc == 3, &err);
			/* the others may still work */
			if (!files_broken(rc))
				rc = 0;
		}
		cmd_target_fini(&src);
	}
	cmd_target_fini(&first);
	return files_end_transfer(&f, &t, rc, &err);
}
