/* start_script.c - see start_script.h.
 * Invariants of the text: one line; nothing but POSIX sh and its usual utilities (uname, mkdir, ln,
 * rm, mv, wc, tr; sha256sum or cksum, gzip, head, df, readlink where they are); every error leaves
 * through fail, which cleans up first, so the client gets exactly one marker line and may leave, or
 * use the login in another way: so long fail waits;
 * the umask and the locale of the login are as they were when the server starts, because terminals
 * inherit them. */
#include "dial/start_script.h"

#include "base/limits.h"
#include "base/str.h"

const struct start_arch start_arches[START_ARCHES] = {
    {"x86_64", "Linux x86_64", "'Linux x86_64'|'Linux amd64'"},
    {"aarch64", "Linux aarch64", "'Linux aarch64'|'Linux arm64'"},
    {"armv7", "Linux armv7l", "'Linux armv7'*|'Linux armv8'*"},
};

/* Words to the client: NUL towline-WORD NONCE TEXT LF. The text of a failing command may have
 * several lines; a marker has one. */
static const char part_words[] =
    "say(){ printf '\\000towline-%s %s %s\\n' \"$1\" \"$n\" \"$2\";};"
    "tidy(){ :;};fail(){ tidy;trap - 0;say fail \"$1 $(printf %s "
    "\"$2\"|tr '\\n\\r' '  ')\";cat >/dev/null;exit 1;};"
    "has(){ command -v \"$1\" >/dev/null 2>&1;};"
    "mine=0;[ \"$w\" = \"$n\" ]||m=$(uname -sm 2>/dev/null);say here \"$m\";";

/* good: the installed file is the one we mean. run: become the server. */
static const char part_good[] =
    "f=$d/bin/$v-$k/towline-host;"
    "sum=0;has sha256sum&&sum=1;"
    "good(){ [ $sum = 1 ]&&[ -f \"$f\" ]&&[ -x \"$f\" ]&&x=$(sha256sum <\"$f\")&&"
    "[ \"${x%% *}\" = \"$s\" ];};";
static const char part_run[] = "u=$(umask);"
			       "run(){ trap - 0 1 2 13 15;[ $mine = 0 ]||rm -f \"$l\";umask \"$u\";"
			       "exec \"$f\" bridge \"$n\";};"
			       "good&&run;";

/* A private server: a file that only its own program knows for longer than a moment. Signals wait
 * from before the program takes over until it has removed its file. The folder is the first in
 * which programs run (tried with a script of one line) and which has room. Every process here is
 * time that each one-shot command takes: as few as can be. */
static const char part_private[] =
    "t=;run(){ if [ -n \"$t\" ];then trap '' 1 2 13 15;trap - 0;"
    "exec \"$t\" serve \"$n\" --unlink \"$t\";else exec \"$f\" serve \"$n\";fi;};"
    "good&&run;"
    "b=;w=INSTALL;e='no folder for a private copy';"
    "tidy(){ [ -z \"$t\" ]||rm -f \"$t\";};trap tidy 0;trap 'exit 1' 1 2 13 15;"
    "for x in \"$XDG_RUNTIME_DIR\" /dev/shm /tmp \"$TMPDIR\" /var/tmp \"$HOME\";do "
    "case $x in /*);;*)continue;;esac;[ -d \"$x\" ]&&[ -w \"$x\" ]||continue;"
    /* the free blocks are the eleventh word: seven of the heading, three before it */
    "r=$(LC_ALL=C df -Pk \"$x\" 2>/dev/null);set -- $r;r=${11};case $r in ''|*[!0-9]*)r=9999;;esac;"
    "[ $r -ge 4096 ]||{ w=NOSPACE;e=\"$x has $r kB left\";continue;};"
    "t=$x/.towline-$n;(umask 077;set -C;printf '#!/bin/sh\\n' >\"$t\"||exit 9;"
    "chmod 700 \"$t\"&&exec \"$t\") >/dev/null 2>&1;"
    "case $? in 0)b=$x;break;;9)t=;continue;;esac;"
    "rm -f \"$t\";t=;w=NOEXEC;e=\"$x is mounted noexec\";done;"
    "[ -n \"$b\" ]||fail $w \"$e\";"
    "why(){ case \"$1\" in *'o space'*|*quota*)w=NOSPACE;;*)w=${2:-INSTALL};;esac;fail $w "
    "\"$1\";};";

/* Folders for a home that cannot hold the program: each with a name of its own user, closed to
 * others. The program of an earlier connection is looked for in all of them. */
#define ELSEWHERE "\"$XDG_RUNTIME_DIR\" /dev/shm /var/tmp /tmp"
static const char part_elsewhere[] =
    "i=$(id -u 2>/dev/null);"
    "ours(){ case $q in \"/.towline\"*)return 1;;esac;"
    "x=$(LC_ALL=C ls -ldn \"$q\" 2>/dev/null);set -- $x;"
    "case \"$1 $3\" in drwx------*\" $i\")return 0;;esac;return 1;};"
    "[ -z \"$i\" ]||for x in " ELSEWHERE
    ";do q=$x/.towline-server-$i;[ -d \"$q\" ]&&ours||continue;"
    "f=$q/bin/$v-$k/towline-host;good||continue;"
    "say note \"the server runs from $q, because $d could not hold it\";run;done;"
    "f=$d/bin/$v-$k/towline-host;";

/* From here on something is written. tidy leaves nothing behind, not even empty folders. */
#define TIDY                                                                                       \
	"umask 077;h=$(uname -n);at(){ b=$1/bin;t=$b/.new.$h.$$;l=$b/.lock;"                       \
	"f=$b/$v-$k/towline-host;};at \"$d\";"                                                     \
	"tidy(){ rm -f \"$t\";[ $mine = 0 ]||rm -f \"$l\";"                                        \
	"rmdir \"$b/$v-$k\" \"$b\" \"$d\" 2>/dev/null;};"                                          \
	"trap tidy 0;trap 'exit 1' 1 2 13 15;"                                                     \
	"why(){ case \"$1\" in *'o space'*|*uota*)w=NOSPACE;;*ead-only*)w=ROFS;;"                  \
	"*noexec*)w=NOEXEC;;*ermission*)w=ACCES;;*)w=INSTALL;;esac;fail $w \"$1\";};"
/* a folder that was chosen, and no other */
static const char part_tidy[] = TIDY "e=$(LC_ALL=C mkdir -p \"$b\" 2>&1)||why \"$e\";";
/* can: the folder takes a file of the program's size, and runs it. The first that can, the home
 * before all others; its reason is told where none can. */
static const char part_pick[] = TIDY
    "can(){ e=$(LC_ALL=C mkdir -p \"$b\" 2>&1)||return 1;"
    "if has dd;then e=$(LC_ALL=C dd if=/dev/zero of=\"$t\" bs=65536 count=12 2>&1)||"
    "{ rm -f \"$t\";return 1;};fi;"
    "e=$({ LC_ALL=C;export LC_ALL;printf '#!/bin/sh\\n' >\"$t\"&&chmod 700 \"$t\";} 2>&1)||"
    "{ rm -f \"$t\";return 1;};"
    "(\"$t\") >/dev/null 2>&1;x=$?;rm -f \"$t\";[ $x = 0 ]&&return 0;e=\"$b is mounted noexec\";"
    "return 1;};"
    "pick(){ can&&return 0;x=$(printf '\\nx');c=${e%%\"${x%x}\"*};z=$d;rmdir \"$b\" \"$d\" "
    "2>/dev/null;[ -n \"$i\" ]||return 1;"
    "for x in " ELSEWHERE ";do [ -d \"$x\" ]||continue;q=$x/.towline-server-$i;"
    "mkdir -m 700 \"$q\" 2>/dev/null;ours||continue;d=$q;at \"$d\";"
    "can&&{ say note \"$z cannot hold the server ($c): it is in $q\";return 0;};"
    "rmdir \"$b\" \"$q\" 2>/dev/null;done;d=$z;at \"$d\";e=$c;return 1;};"
    "pick||why \"$e\";";

/* One installer at a time. The lock is a symbolic link, made with its owner's name in one step, so
 * there is no moment at which it has no owner. A dead owner of this machine loses it; one whose
 * upload stands still for ten seconds is passed by: both then install the same bytes. */
static const char part_lock[] =
    "q=0;z=;while :;do "
    "e=$(LC_ALL=C ln -s \"$h.$$\" \"$l\" 2>&1)&&{ mine=1;break;};"
    "case \"$e\" in *xists*);;*ermitted*|*upported*|*mplemented*)break;;*)why \"$e\";;esac;"
    "o=$(readlink \"$l\" 2>/dev/null);"
    "case \"$o\" in \"$h\".*)kill -0 \"${o##*.}\" 2>/dev/null||"
    "{ mv \"$l\" \"$l.$$\" 2>/dev/null&&rm -f \"$l.$$\" \"$b/.new.$o\";continue;};;esac;"
    "c=$(wc -c 2>/dev/null <\"$b/.new.$o\");"
    "if [ \"$c\" = \"$z\" ];then q=$((q+1));else q=0;fi;z=$c;"
    "[ $q -gt 50 ]&&break;[ $q != 1 ]||say wait \"$o\";"
    "sleep 0.2 2>/dev/null||sleep 1;good&&run;done;"
    "good&&run;"
    "for x in \"$b/.new.$h\".*;do [ ! -f \"$x\" ]||kill -0 \"${x##*.}\" 2>/dev/null||"
    "rm -f \"$x\";done;";

/* Tell the client what is here; it answers `go BYTES gz|raw SIZE CRC`, `use` or `stop`. */
static const char part_ask[] =
    "i=0;has gzip&&i=1;"
    "r=$(LC_ALL=C df -Pk \"$b\" 2>/dev/null|{ read -r x;read -r x x x r x;echo \"$r\";});"
    "c=;[ $sum = 1 ]||[ ! -x \"$f\" ]||c=$(cksum <\"$f\" 2>/dev/null);set -- $c;"
    "say need \"arch=$a gzip=$i sha256=$sum free=$r have=$1:$2 dir=$d\";"
    "read -r g y j z c||exit 1;"
    "case \"$g\" in go);;use)run;;*)exit 1;;esac;";

/* The same for a private server. A client that knows the platform already says $p and has not
 * waited: `go` and the program are on their way, and only a host without gzip asks again. */
static const char part_ask_private[] =
    "i=0;has gzip&&i=1;"
    "need(){ say need \"arch=$a gzip=$i sha256=$sum free= have= dir=$b\";};"
    "[ \"$p\" = \"$n\" ]||need;read -r g y j z c||exit 1;"
    "[ \"$g$j$i\" != gogz0 ]||{ head -c \"$y\" >/dev/null 2>&1||"
    "dd bs=1 count=\"$y\" >/dev/null 2>&1;need;read -r g y j z c||exit 1;};"
    "[ \"$g\" = go ]||exit 1;";

/* Take exactly that many bytes, check, try, move into place. */
#define TAKE                                                                                       \
	"take(){ if head -c 1 </dev/null >/dev/null 2>&1;then LC_ALL=C head -c \"$y\";"            \
	"else dd bs=1 count=\"$y\" 2>/dev/null;fi;};"
#define TAKE_RAW "e=$({ take >\"$t\";} 2>&1)"
#define TAKE_CHECK                                                                                 \
	"r=$(wc -c 2>/dev/null <\"$t\");[ \"${r:-0}\" -eq \"$z\" ]||"                              \
	"{ [ -n \"$e\" ]||fail DIGEST \"${r:-0} of $z bytes arrived\";why \"$e\";};"               \
	"if [ $sum = 1 ];then x=$(sha256sum <\"$t\");[ \"${x%% *}\" = \"$s\" ]||"                  \
	"fail DIGEST \"its SHA-256 is ${x%% *}\";"                                                 \
	"elif has cksum;then x=$(cksum <\"$t\");[ \"${x%% *}\" = \"$c\" ]||"                       \
	"fail DIGEST \"its checksum is ${x%% *}\";fi"
#define TAKE_TRY                                                                                   \
	"e=$(LC_ALL=C;export LC_ALL;\"$t\" --version 2>&1 </dev/null);"                            \
	"case $? in 0);;126)case \"$e\" in *ermission*)fail NOEXEC \"$e\";;"                       \
	"*)fail NOARCH \"$e\";;esac;;*)fail AGENT \"$e\";;esac;"
static const char part_take[] = TAKE
    "case \"$j\" in gz)e=$({ take|LC_ALL=C gzip -dc >\"$t\";} 2>&1);;"
    "*)" TAKE_RAW ";;esac;" TAKE_CHECK ";e=$(LC_ALL=C chmod 700 \"$t\" 2>&1)||why \"$e\";" TAKE_TRY;
/* gzip has a checksum of its own; a head that knows no -c says so before it reads */
static const char part_take_private[] =
    "case \"$j\" in gz)e=$({ { LC_ALL=C head -c \"$y\" 2>/dev/null||"
    "dd bs=1 count=\"$y\" 2>/dev/null;}|LC_ALL=C gzip -dc >\"$t\";} 2>&1)||why \"$e\" DIGEST;;"
    "*)" TAKE TAKE_RAW ";" TAKE_CHECK ";;esac;" TAKE_TRY;
static const char part_place[] =
    "e=$({ LC_ALL=C mkdir -p \"$b/$v-$k\"&&LC_ALL=C mv -f \"$t\" \"$f\";} 2>&1)||why \"$e\";";

/* The newest installed program that runs looks, or cleans up. Where none runs there is nothing to
 * end, and what is ours is removed here. */
static int put_errand(struct buf *out, const struct start_spec *s)
{
	int rc = buf_printf(
	    out,
	    "TOWLINE_SERVER_DIR=$d;export TOWLINE_SERVER_DIR;r=none;i=$(id -u);"
	    "for f in \"$d\" " ELSEWHERE ";do [ \"$f\" = \"$d\" ]||"
	    "f=$f/.towline-server-$i;for f in \"$f\"/bin/*/towline-host;do "
	    "[ $r ]&&[ -x \"$f\" ]&&\"$f\" server %s --mark \"$n\" --lines %d 2>/dev/null&&"
	    "r=;done;done;",
	    s->errand, s->errand_lines > 0 ? s->errand_lines : 200);

	/* one without that face, or a damaged one */
	if (rc == 0 && strcmp(s->errand, "kill") * strcmp(s->errand, "uninstall") == 0)
		rc = buf_put_str(
		    out, "[ -z \"$r\" ]||{ x=$(cd \"$d\" 2>/dev/null&&pwd -P);"
			 "for p in /proc/[0-9]*;do "
			 "case $(readlink \"$p/exe\" 2>/dev/null) in \"${x:-/nothing}/bin/\"*)"
			 "kill \"${p#/proc/}\";;esac;done;};");
	if (rc == 0 && strcmp(s->errand, "uninstall") == 0)
		rc = buf_put_str(out, "[ -z \"$r\" ]||{ rm -rf \"$d/bin\" \"$d/data\" \"$d/run\" "
				      "\"$d/agent.log\" \"$d/agent.log.1\";"
				      "rmdir \"$d\" 2>/dev/null;};");
	return rc ? rc : buf_put_str(out, "say done \"$r\";cat >/dev/null\n");
}

static const char *const parts[] = {part_run, part_elsewhere, part_pick,  part_lock,
				    part_ask, part_take,      part_place, NULL};
static const char *const parts_chosen[] = {part_run,  part_tidy,  part_lock, part_ask,
					   part_take, part_place, NULL};
static const char *const parts_private[] = {part_private, part_ask_private, part_take_private,
					    NULL};

/* 'text' with ' as '\'' */
static int put_quoted(struct buf *out, const char *s)
{
	int rc = buf_put_u8(out, '\'');

	for (; *s && !rc; s++)
		rc = *s == '\'' ? buf_put_str(out, "'\\''") : buf_put_u8(out, (uint8_t)*s);
	return rc ? rc : buf_put_u8(out, '\'');
}

static int put_folder(struct buf *out, const char *path, struct tl_err *err)
{
	bool home = !path || str_starts(path, "~/") || str_starts(path, "$HOME/");
	const char *rest = path ? path : "~/.towline-server";
	int rc = 0;

	if (path &&
	    (strpbrk(path, "\n\r") || strlen(path) >= TL_LIMIT_PATH || (!home && *path != '/')))
		return err_set(
		    err, TL_E_INVAL,
		    "cannot install the server in '%.200s': an absolute path on the host "
		    "or one that begins with ~/ is needed",
		    path);
	if (home) {
		rest = strchr(rest, '/') + 1;
		rc = buf_put_str(out, "[ -n \"$HOME\" ]||fail INSTALL 'HOME is not set';");
	}
	rc = rc ? rc : buf_put_str(out, home ? "d=$HOME/" : "d=");
	rc = rc ? rc : put_quoted(out, rest);
	return rc ? rc : buf_put_str(out, ";");
}

const char *start_arch_of(const char *machine)
{
	for (size_t i = 0; i < START_ARCHES; i++)
		if (strcmp(start_arches[i].machine, machine) == 0)
			return start_arches[i].name;
	return NULL;
}

/* No quote, backslash or exclamation mark of any shell, and no space. */
static bool path_is_plain(const char *path)
{
	return path[strspn(path,
			   "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-")] ==
	       0;
}

int start_command(struct buf *out, const struct start_spec *s)
{
	const char *path = s->install_path ? s->install_path : "~/.towline-server";
	bool home = *path == '~' || *path == '$';
	int rc;

	if (home)
		path = strchr(path, '/');
	if (!path || !path_is_plain(path) || s->errand)
		return buf_put_str(out, "exec sh -c '" START_SHELL "'");
	/* kept below 1024 bytes, the longest word of old csh */
	rc = buf_printf(out, "exec sh -c 'n=%s;d=%s%s;w=$n;", s->nonce, home ? "$HOME" : "", path);
	if (s->install_path)
		rc = rc ? rc : buf_put_str(out, "TOWLINE_SERVER_DIR=$d;export TOWLINE_SERVER_DIR;");
	rc = rc ? rc
		: buf_put_str(out, "m=$(uname -sm);printf \"\\000towline-here %s %s\\n\" $n "
				   "\"$m\";case \"$m\" in ");
	for (size_t i = 0; i < START_ARCHES && !rc; i++)
		if (*s->digest[i])
			rc = buf_printf(out, "\"%s\")s=%s;k=%.12s;;", start_arches[i].machine,
					s->digest[i], s->digest[i]);
	rc = rc ? rc
		: buf_printf(out,
			     "esac;f=$d/bin/%s-$k/towline-host;[ -x \"$f\" ]&&"
			     "x=$(sha256sum <\"$f\" 2>/dev/null)&&[ \"${x%%%% *}\" = \"$s\" ]&&"
			     "exec \"$f\" %s $n;printf \"\\000towline-more %%s\\n\" $n;" START_SHELL
			     "'",
			     s->version, s->private_server ? "serve" : "bridge");
	return rc ? rc : 1;
}

int start_script(struct buf *out, const struct start_spec *s, struct tl_err *err)
{
	int rc = buf_printf(out, "n=%s;v=%s;", s->nonce, s->version);

	rc = rc ? rc : buf_put_str(out, part_words);
	rc = rc ? rc : put_folder(out, s->install_path, err);
	if (rc == TL_E_INVAL)
		return rc; /* err is set */
	if (s->errand) {
		rc = rc ? rc : put_errand(out, s);
		return rc ? err_set(err, rc, "cannot make the errand's line: %s", err_row(rc)->what)
			  : 0;
	}
	/* an agent started by us must look where we installed */
	if (!rc && s->install_path)
		rc = buf_put_str(out, "TOWLINE_SERVER_DIR=$d;export TOWLINE_SERVER_DIR;");
	rc = rc ? rc : buf_put_str(out, "case \"$m\" in ");
	for (size_t i = 0; i < START_ARCHES && !rc; i++)
		rc = buf_printf(out, "%s)a=%s s=%s k=%.12s;;", start_arches[i].patterns,
				start_arches[i].name, s->digest[i], s->digest[i]);
	rc = rc ? rc
		: buf_put_str(out, "*)fail NOARCH \"$m\";;esac;[ -n \"$s\" ]||fail NOBIN \"$a\";");
	rc = rc ? rc : buf_put_str(out, part_good);
	for (const char *const *p = s->private_server ? parts_private
				    : s->install_path ? parts_chosen
						      : parts;
	     *p && !rc; p++)
		rc = buf_put_str(out, *p);
	rc = rc ? rc : buf_put_str(out, "run\n");
	if (rc)
		err_set(err, rc, "cannot make the start-up line: %s", err_row(rc)->what);
	return rc;
}
