/* cmd_rm.c - towline rm: remove files and folders of a host. */
#include <stdlib.h>

#include "cmd/cmd_files.h"

const char *const cmd_rm_usage =
    "usage: towline rm [-r] [-f] HOST:PATH…\n"
    "\n"
    "Removes files of HOST; all of one HOST. Links are removed, not what they point to.\n"
    "\n"
    "  -r, --recursive   folders with everything in them, too\n"
    "  -f, --force       it is no error that a file is not there\n"
    "\n"
    "examples:\n"
    "  towline rm build-server:notes.txt\n"
    "  towline rm -r build-server:/tmp/old-build\n"
    "\n"
    "exit status: 0; 20 no such file; 21 permission denied; 24 it is a folder; see towline(1).\n";

struct options {
	bool recursive, force;
};

static int remove_one(struct files *f, const char *path, const struct options *o,
		      struct tl_err *err)
{
	struct sftp_attrs a;
	struct tl_err look;
	int rc;

	if (o->recursive)
		rc = sftp_client_remove_tree(f->c, path, err);
	else
		rc = sftp_client_remove(f->c, path, err);
	if (rc == TL_E_NOENT && o->force)
		return 0;
	/* some file systems call a folder only "not permitted" */
	if (rc == TL_E_ACCES && !o->recursive && sftp_client_lstat(f->c, path, &a, &look) == 0 &&
	    (a.mode & 0170000) == 0040000)
		rc = TL_E_ISDIR;
	if (rc == TL_E_ISDIR)
		return err_set(err, rc, "cannot remove %s: it is a folder", path);
	return rc;
}

int cmd_rm(int argc, char **argv, const struct cmd_globals *g)
{
	struct options o = {0};
	const struct files_flag flags[] = {{'r', "recursive", &o.recursive},
					   {'R', NULL, &o.recursive},
					   {'f', "force", &o.force},
					   {0}};
	struct cmd_target first = {0}, t;
	struct tl_err err = {0};
	struct files f;
	int rc = files_args(g, &argc, argv, flags, 1, argc, "HOST:PATH");

	if (rc)
		return rc;
	/* everything is looked at before anything is removed */
	for (int i = 1; i < argc && !rc; i++) {
		rc = files_target(argv[i], &t, &err);
		if (!rc && (!t.path || !t.path[0]))
			rc = err_set(&err, TL_E_INVAL, "“%.200s” names no file to remove", argv[i]);
		if (!rc && i > 1 && strcmp(t.host, first.host) != 0)
			rc = err_set(&err, TL_E_INVAL, "“%.200s” is on another host than “%.200s”",
				     argv[i], argv[1]);
		if (!rc && i == 1)
			first = t;
		else
			cmd_target_fini(&t);
	}
	if (rc) {
		cmd_target_fini(&first);
		return cmd_fail(g, &err);
	}
	rc = files_open(&f, g, first.host, false, &err);
	for (int i = 1; i < argc && !rc; i++) {
		char *path = NULL;
		rc = files_target(argv[i], &t, &err);
		if (!rc)
			rc = files_path(&f, t.path, &path, &err);
		if (!rc)
			rc = remove_one(&f, path, &o, &err);
		free(path);
		cmd_target_fini(&t);
		if (rc && !files_broken(rc)) {
			files_failed(&f, &err);
			rc = 0;
		}
	}
	cmd_target_fini(&first);
	return files_end(&f, rc, &err);
}
