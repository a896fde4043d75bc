/* cmd_upload.c - towline upload: files and folders of this machine to a host. */
#include "cmd/cmd_copy.h"

const char *const cmd_upload_usage =
    "usage: towline upload [-t] [-L] [-n] [--resume] [--verify] HOST SRC… DEST\n"
    "\n"
    "Copies files and folders with everything in them to HOST. DEST is a folder that is there, or\n"
    "(for one SRC) the new name; one that ends with / or takes several SRC is made. Relative to\n"
    "the home folder; . is the home folder. Links inside a folder stay links. A file is replaced\n"
    "only when all of it has arrived.\n"
    "\n"
    "  -t, --times         keep modes and times of modification\n"
    "  -L, --follow        copy what links point to\n"
    "  -n, --no-overwrite  leave what is there alone\n"
    "  --resume            go on with large files of an interrupted copy\n"
    "  --verify            compare SHA-256 of every file afterwards\n"
    "  -q                  no progress line\n"
    "  --json              one line for each problem, then {\"files\",\"bytes\",\"problems\"}\n"
    "\n"
    "examples:\n"
    "  towline upload build-server notes.txt .\n"
    "  towline upload build-server site /srv/www/\n"
    "  towline upload --resume --verify build-server disk.img images/\n"
    "\n"
    "exit status: 0; 92 some files could not be copied; 20 no such file; 75 connection lost, do "
    "it\n"
    "again with --resume; see towline(1).\n";

int cmd_upload(int argc, char **argv, const struct cmd_globals *g)
{
	return cmd_copy(argc, argv, g, tl_upload);
}
