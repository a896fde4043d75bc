/* cmd_put.c - towline put: files and folders of this machine to a host. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/str.h"
#include "cmd/cmd_files.h"

const char *const cmd_put_usage =
    "usage: towline put [-r] [-t] SRC… HOST:DEST\n"
    "\n"
    "Copies files of this machine to HOST. DEST is a folder that is there, or (for one SRC) the "
    "new\n"
    "name; without DEST: the home folder. SRC - is standard input. A file is replaced only when "
    "all\n"
    "of it has arrived; what is there keeps its mode and owner. Links inside a folder stay links.\n"
    "\n"
    "  -r, --recursive   folders with everything in them\n"
    "  -t, --times       keep the times of modification\n"
    "  -q                no progress line\n"
    "  --json            {\"files\",\"folders\",\"bytes\"}\n"
    "\n"
    "examples:\n"
    "  towline put notes.txt build-server:\n"
    "  towline put -r site build-server:/srv/www\n"
    "  make-report | towline put - build-server:report.html\n"
    "\n"
    "exit status: 0; 20 no such file; 21 permission denied; 26 no space; see towline(1).\n";

/* What the destination is on the host. */
struct dest {
	char *path;
	bool folder;
};

/* Name of a local path on the other side; "." keeps the folder's own place. */
static char *local_base(const char *path)
{
	char real[PATH_MAX];
	char *base = files_base(path);

	if (!base || strcmp(base, "..") != 0 || !realpath(path, real))
		return base;
	free(base);
	return files_base(real);
}

static int look_at_dest(struct files *f, const char *text, bool single, struct dest *ret,
			struct tl_err *err)
{
	struct sftp_stat st;
	int rc = files_path(f, text, &ret->path, err);

	if (rc)
		return rc;
	rc = sftp_client_stat(f->c, ret->path, &st, err);
	if (rc == TL_E_NOENT && str_ends(ret->path, "/"))
		return err_set(err, rc, "the folder %s is not there on the host", ret->path);
	if (rc && rc != TL_E_NOENT)
		return rc;
	ret->folder = !rc && (st.type == SFTP_ENTRY_FOLDER || st.type == SFTP_ENTRY_LINK_FOLDER);
	if (!ret->folder && !single)
		return err_set(err, rc ? TL_E_NOENT : TL_E_NOTDIR,
			       "several files go only into a folder, and %s is none on the host",
			       ret->path);
	return 0;
}

/* Standard input as a file, because a save says first how long it is. */
static int spool_stdin(char *path, size_t n, struct tl_err *err)
{
	FILE *tmp = tmpfile();
	char piece[65536];
	mode_t mask = umask(0);
	ssize_t got = 0;
	int fd;

	umask(mask);
	if (!tmp)
		return err_sys(err, errno, "cannot keep standard input in a temporary file");
	while ((got = read(STDIN_FILENO, piece, sizeof(piece))) > 0)
		if (fwrite(piece, 1, (size_t)got, tmp) != (size_t)got)
			break;
	if (got != 0 || fflush(tmp) != 0) {
		int e = errno;
		fclose(tmp);
		return err_sys(err, e, "cannot keep standard input in a temporary file");
	}
	fd = fcntl(fileno(tmp), F_DUPFD_CLOEXEC, 3);
	fclose(tmp);
	if (fd < 0)
		return err_sys(err, errno, "cannot keep standard input in a temporary file");
	fchmod(fd, 0666 & ~mask);
	/* stays open until the command ends */
	snprintf(path, n, "/proc/self/fd/%d", fd);
	return 0;
}

static int put_one(struct files *f, struct transfer *t, const char *src, const struct dest *d,
		   struct tl_err *err)
{
	bool input = strcmp(src, "-") == 0;
	char spool[64] = "", *base = NULL, *path = NULL;
	int rc = 0;

	if (input && d->folder)
		rc = err_set(err, TL_E_ISDIR, "standard input has no name: write HOST:%s/NAME",
			     d->path);
	else if (input)
		rc = spool_stdin(spool, sizeof(spool), err);
	if (!rc && d->folder) {
		base = local_base(src);
		path = base && strcmp(base, ".") != 0 ? transfer_join(d->path, base)
						      : str_dup(d->path);
	} else if (!rc) {
		path = str_dup(d->path);
	}
	if (!rc && !path)
		rc = err_set(err, TL_E_NOMEM, "out of memory");
	if (!rc)
		rc = transfer_put(t, AT_FDCWD, input ? spool : src, path, err);
	else
		files_failed(f, err);
	free(base);
	free(path);
	return rc;
}

/* Looked at before the host is asked, so that a typing error costs nothing. */
static int check_sources(int argc, char **argv, bool recursive, struct tl_err *err)
{
	struct stat st;

	for (int i = 1; i < argc - 1; i++) {
		if (strcmp(argv[i], "-") == 0)
			continue;
		if (stat(argv[i], &st) != 0)
			return err_sys(err, errno, "cannot read %s here", argv[i]);
		if (S_ISDIR(st.st_mode) && !recursive)
			return err_set(err, TL_E_ISDIR, "cannot put %s: it is a folder", argv[i]);
	}
	return 0;
}

int cmd_put(int argc, char **argv, const struct cmd_globals *g)
{
	bool recursive = false, times = false;
	const struct files_flag flags[] = {
	    {'r', "recursive", &recursive}, {'R', NULL, &recursive}, {'t', "times", &times}, {0}};
	struct cmd_target to = {0};
	struct dest d = {0};
	struct tl_err err = {0};
	struct transfer t = {0};
	struct files f;
	int rc = files_args(g, &argc, argv, flags, 2, argc, "SRC or HOST:DEST");

	if (rc)
		return rc;
	rc = files_target(argv[argc - 1], &to, &err);
	if (!rc)
		rc = check_sources(argc, argv, recursive, &err);
	if (rc) {
		cmd_target_fini(&to);
		return cmd_fail(g, &err);
	}
	rc = files_open(&f, g, to.host, true, &err);
	if (!rc)
		rc = look_at_dest(&f, to.path, argc == 3, &d, &err);
	if (!rc)
		files_transfer(&f, &t, recursive, times);
	for (int i = 1; i < argc - 1 && !rc; i++) {
		rc = put_one(&f, &t, argv[i], &d, &err);
		/* the others may still work */
		if (!files_broken(rc))
			rc = 0;
	}
	free(d.path);
	cmd_target_fini(&to);
	return files_end_transfer(&f, &t, rc, &err);
}
