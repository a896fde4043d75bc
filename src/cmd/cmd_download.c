/* cmd_download.c - towline download: files and folders of a host to this machine. */
#include "cmd/cmd_copy.h"

const char *const cmd_download_usage =
    "usage: towline download [-t] [-L] [-n] [--resume] [--verify] HOST SRC… DEST\n"
    "\n"
    "Copies files and folders with everything in them from HOST. ~ and wildcards of SRC are\n"
    "expanded there: quote them. DEST is a folder that is here, or (for one file) the new name; "
    "one\n"
    "that ends with / or takes several files is made. Links inside a folder stay links. A file is\n"
    "replaced only when all of it has arrived.\n"
    "\n"
    "  -t, --times         keep modes and times of modification\n"
    "  -L, --follow        copy what links point to\n"
    "  -n, --no-overwrite  leave what is here alone\n"
    "  --resume            go on with large files of an interrupted copy\n"
    "  --verify            compare SHA-256 of every file\n"
    "  -q                  no progress line\n"
    "  --json              one line for each problem, then {\"files\",\"bytes\",\"problems\"}\n"
    "\n"
    "examples:\n"
    "  towline download build-server notes.txt .\n"
    "  towline download build-server '~/logs/*.gz' logs/\n"
    "  towline download -t --resume build-server /srv/images .\n"
    "\n"
    "exit status: 0; 92 some files could not be copied; 20 no such file; 75 connection lost, do "
    "it\n"
    "again with --resume; see towline(1).\n";

int cmd_download(int argc, char **argv, const struct cmd_globals *g)
{
	return cmd_copy(argc, argv, g, tl_download);
}
