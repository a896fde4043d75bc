/* svc_fs_dirents.c - reading folders, and how an entry is described. Owns the piece of a folder
 * that was read last and the names of users and groups seen. */
#include <dirent.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>

#include "base/str.h"
#include "host/svc_fs_priv.h"

/* layout of getdents64: inode u64, offset s64, length u16, type u8, name */
#define DIRENT_RECLEN 16
#define DIRENT_TYPE   18
#define DIRENT_NAME   19

int fs_dirents_new(struct fs_dirents **ret, int fd, size_t cap)
{
	struct fs_dirents *d = malloc(sizeof(*d));

	*ret = NULL;
	if (!d)
		return ENOMEM;
	*d = (struct fs_dirents){.fd = fd, .cap = cap, .p = malloc(cap)};
	if (!d->p) {
		free(d);
		return ENOMEM;
	}
	*ret = d;
	return 0;
}

void fs_dirents_free(struct fs_dirents *d)
{
	if (!d)
		return;
	free(d->p);
	free(d);
}

int fs_dirents_next(struct fs_dirents *d, struct fs_dirent *ret)
{
	uint16_t length;

	if (d->at >= d->have) {
		long n = syscall(SYS_getdents64, d->fd, d->p, d->cap);
		if (n < 0)
			return -errno;
		d->at = 0;
		d->have = (size_t)n;
		if (n == 0)
			return 0;
	}
	memcpy(&length, d->p + d->at + DIRENT_RECLEN, sizeof(length));
	ret->type = d->p[d->at + DIRENT_TYPE];
	ret->name = (const char *)d->p + d->at + DIRENT_NAME;
	d->at += length;
	return 1;
}

int fs_dirents_rewind(struct fs_dirents *d)
{
	d->at = d->have = 0;
	return lseek(d->fd, 0, SEEK_SET) == 0 ? 0 : errno;
}

bool fs_is_dot(const char *name)
{
	return name[0] == '.' && (!name[1] || (name[1] == '.' && !name[2]));
}

uint8_t fs_entry_type(const struct stat *st, const struct stat *target)
{
	if (S_ISREG(st->st_mode))
		return SFTP_ENTRY_FILE;
	if (S_ISDIR(st->st_mode))
		return SFTP_ENTRY_FOLDER;
	if (!S_ISLNK(st->st_mode))
		return SFTP_ENTRY_OTHER;
	if (!target)
		return SFTP_ENTRY_LINK_BROKEN;
	if (S_ISDIR(target->st_mode))
		return SFTP_ENTRY_LINK_FOLDER;
	return S_ISREG(target->st_mode) ? SFTP_ENTRY_LINK_FILE : SFTP_ENTRY_OTHER;
}

/* ------------------------------------------------ names of users and groups */

#define NAMES      64
#define NAME_BYTES 33

struct fs_name {
	bool known;
	uint32_t id;
	char name[NAME_BYTES];
};

/* A lookup may ask a directory server, so each id is asked for once (until another takes its
 * place). */
struct fs_names {
	struct fs_name users[NAMES], groups[NAMES];
};

static struct fs_name *name_slot(struct svc_fs *fs, bool group, uint32_t id)
{
	if (!fs->names)
		fs->names = calloc(1, sizeof(*fs->names));
	if (!fs->names)
		return NULL;
	return &(group ? fs->names->groups : fs->names->users)[id % NAMES];
}

/* NULL: no such user or group */
static const char *lookup(bool group, uint32_t id)
{
	if (group) {
		struct group *g = getgrgid(id);
		return g ? g->gr_name : NULL;
	}
	struct passwd *p = getpwuid(id);
	return p ? p->pw_name : NULL;
}

static const char *cached(struct svc_fs *fs, bool group, uint32_t id)
{
	struct fs_name *n = name_slot(fs, group, id);
	const char *found;

	if (!n)
		return "";
	if (n->known && n->id == id)
		return n->name;
	found = lookup(group, id);
	str_copy(n->name, sizeof(n->name), found ? found : "");
	n->id = id;
	n->known = true;
	return n->name;
}

const char *fs_user_name(struct svc_fs *fs, uint32_t uid)
{
	return cached(fs, false, uid);
}

const char *fs_group_name(struct svc_fs *fs, uint32_t gid)
{
	return cached(fs, true, gid);
}

void fs_names_free(struct fs_names *names)
{
	free(names);
}

/* ------------------------------------------------ ls -l */

static char type_char(mode_t m)
{
	static const struct {
		mode_t type;
		char c;
	} chars[] = {{S_IFREG, '-'}, {S_IFDIR, 'd'}, {S_IFLNK, 'l'}, {S_IFCHR, 'c'},
		     {S_IFBLK, 'b'}, {S_IFIFO, 'p'}, {S_IFSOCK, 's'}};

	for (size_t i = 0; i < sizeof(chars) / sizeof(chars[0]); i++)
		if ((m & S_IFMT) == chars[i].type)
			return chars[i].c;
	return '?';
}

static void mode_text(mode_t m, char out[12])
{
	static const struct {
		mode_t bit;
		char with, without;
		int at;
	} special[] = {{S_ISUID, 's', 'S', 3}, {S_ISGID, 's', 'S', 6}, {S_ISVTX, 't', 'T', 9}};
	static const char letters[] = "rwxrwxrwx";

	out[0] = type_char(m);
	for (int i = 0; i < 9; i++)
		out[i + 1] = m & (mode_t)(0400 >> i) ? letters[i] : '-';
	for (int i = 0; i < 3; i++)
		if (m & special[i].bit)
			out[special[i].at] =
			    out[special[i].at] == 'x' ? special[i].with : special[i].without;
	out[10] = ' ';
	out[11] = 0;
}

void fs_longname(struct svc_fs *fs, const char *name, const struct stat *st, char *out, size_t n)
{
	char mode[12], date[32] = "", user[NAME_BYTES], group[NAME_BYTES];
	time_t now = time(NULL);
	bool recent = st->st_mtime <= now && now - st->st_mtime < 365 * 24 * 3600 / 2;
	struct tm tm;

	mode_text(st->st_mode, mode);
	if (localtime_r(&st->st_mtime, &tm))
		strftime(date, sizeof(date), recent ? "%b %e %H:%M" : "%b %e  %Y", &tm);
	str_copy(user, sizeof(user), fs_user_name(fs, st->st_uid));
	str_copy(group, sizeof(group), fs_group_name(fs, st->st_gid));
	if (!user[0])
		snprintf(user, sizeof(user), "%u", (unsigned)st->st_uid);
	if (!group[0])
		snprintf(group, sizeof(group), "%u", (unsigned)st->st_gid);
	snprintf(out, n, "%s %3lu %-8s %-8s %8llu %s %s", mode, (unsigned long)st->st_nlink, user,
		 group, (unsigned long long)st->st_size, date, name);
}
