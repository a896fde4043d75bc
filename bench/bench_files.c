/* bench_files.c - the file service through a socket pair: one large read, one large save, a folder
 * of 50,000 entries, 10,000 small files. Prints one line each: what, ours, and what the system
 * needs for the same. Argument: the folder to work in (default /tmp). */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "api/transfer.h"
#include "host/svc_fs.h"

#define LARGE  (1ull << 30)
#define NAMES  50000
#define SMALL  10000
#define ROUNDS 5

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void must(int bad, const char *what)
{
	if (!bad)
		return;
	perror(what);
	exit(1);
}

static struct sftp_client *client(pid_t *ret_pid)
{
	struct sftp_client *c = NULL;
	struct tl_err err = {0};
	int v[2];

	must(socketpair(AF_UNIX, SOCK_STREAM, 0, v) != 0, "socketpair");
	*ret_pid = fork();
	must(*ret_pid < 0, "fork");
	if (*ret_pid == 0) {
		close(v[0]);
		_exit(svc_fs_main(v[1], v[1], NULL));
	}
	close(v[1]);
	must(sftp_client_open(&c, v[0], -1, &err), err.text);
	return c;
}

static int count(void *ctx, struct tl_bytes data, struct tl_err *err)
{
	(void)err;
	*(uint64_t *)ctx += data.n;
	return 0;
}

static int names(void *ctx, const struct sftp_entry_info *e, struct tl_err *err)
{
	(void)e;
	(void)err;
	++*(uint64_t *)ctx;
	return 0;
}

static int by_value(const void *a, const void *b)
{
	return *(const double *)a < *(const double *)b ? -1 : 1;
}

static double median(double *v)
{
	qsort(v, ROUNDS, sizeof(*v), by_value);
	return v[ROUNDS / 2];
}

static void large(struct sftp_client *c, const char *dir)
{
	static char piece[1 << 20];
	char path[4096], copy[4096];
	double v[ROUNDS], t, plain;
	struct transfer x = {.c = c};
	struct tl_err err = {0};
	uint64_t n = 0;
	int fd;

	snprintf(path, sizeof(path), "%s/large", dir);
	fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
	must(fd < 0, path);
	memset(piece, 'x', sizeof(piece));
	t = now();
	for (uint64_t i = 0; i < LARGE; i += sizeof(piece))
		must(write(fd, piece, sizeof(piece)) != sizeof(piece), "write");
	plain = now() - t;
	close(fd);
	for (int i = 0; i < ROUNDS; i++, n = 0) {
		t = now();
		must(sftp_client_read(c, path, 0, 0, count, &n, &err) || n != LARGE, err.text);
		v[i] = now() - t;
	}
	printf("read 1 GiB: %.0f MB/s\n", (double)LARGE / 1e6 / median(v));
	snprintf(copy, sizeof(copy), "%s/copy", dir);
	t = now();
	must(transfer_put(&x, AT_FDCWD, path, copy, &err), err.text);
	printf("save 1 GiB: %.0f MB/s; writing it plainly: %.0f MB/s\n",
	       (double)LARGE / 1e6 / (now() - t), (double)LARGE / 1e6 / plain);
	unlink(path);
	unlink(copy);
}

static double plain_list(const char *path, int with_stat)
{
	double t = now();
	struct dirent *e;
	struct stat st;
	DIR *d = opendir(path);

	must(!d, path);
	while ((e = readdir(d)))
		if (with_stat)
			must(fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW), e->d_name);
	closedir(d);
	return now() - t;
}

static void folder(struct sftp_client *c, const char *dir)
{
	static const struct {
		uint32_t flags;
		const char *what;
	} ways[] = {{0, "with attributes"}, {SFTP_LIST_NAMES, "names and types"}};
	char path[4096], name[4200];
	double v[ROUNDS], p[ROUNDS], t;
	struct tl_err err = {0};
	uint64_t n = 0;
	int fd;

	snprintf(path, sizeof(path), "%s/folder", dir);
	must(mkdir(path, 0700), path);
	for (int i = 0; i < NAMES; i++) {
		snprintf(name, sizeof(name), "%s/a-usual-name-%d.txt", path, i);
		fd = open(name, O_WRONLY | O_CREAT, 0600);
		must(fd < 0, name);
		close(fd);
	}
	for (int w = 0; w < 2; w++) {
		for (int i = 0; i < ROUNDS; i++, n = 0) {
			t = now();
			must(sftp_client_list(c, path, ways[w].flags, names, &n, &err) ||
				 n != NAMES,
			     err.text);
			v[i] = now() - t;
			p[i] = plain_list(path, w == 0);
		}
		printf("list %d entries, %s: %.3f s; readdir%s here: %.3f s\n", NAMES, ways[w].what,
		       median(v), w == 0 ? " and stat" : "", median(p));
	}
	must(sftp_client_remove_tree(c, path, &err), err.text);
}

static void small(struct sftp_client *c, const char *dir)
{
	static const char content[4096];
	char src[4096], up[4096], down[4096], name[4200];
	struct transfer x = {.c = c, .recursive = true};
	struct tl_err err = {0};
	double t;

	snprintf(src, sizeof(src), "%s/src", dir);
	snprintf(up, sizeof(up), "%s/up", dir);
	snprintf(down, sizeof(down), "%s/down", dir);
	must(mkdir(src, 0700), src);
	for (int i = 0; i < SMALL; i++) {
		snprintf(name, sizeof(name), "%s/d%d", src, i / 100);
		if (i % 100 == 0)
			must(mkdir(name, 0700), name);
		snprintf(name, sizeof(name), "%s/d%d/f%d", src, i / 100, i);
		int fd = open(name, O_WRONLY | O_CREAT, 0600);
		must(fd < 0 || write(fd, content, sizeof(content)) != sizeof(content), name);
		close(fd);
	}
	t = now();
	must(transfer_put(&x, AT_FDCWD, src, up, &err), err.text);
	printf("put -r, %d x 4 KiB: %.2f s\n", SMALL, now() - t);
	t = now();
	must(transfer_get(&x, up, AT_FDCWD, down, &err), err.text);
	printf("get -r, %d x 4 KiB: %.2f s\n", SMALL, now() - t);
	t = now();
	must(sftp_client_remove_tree(c, up, &err), err.text);
	printf("rm -r, %d files: %.2f s\n", SMALL, now() - t);
	sftp_client_remove_tree(c, src, &err);
	sftp_client_remove_tree(c, down, &err);
}

int main(int argc, char **argv)
{
	char dir[] = "/tmp/tl-bench-XXXXXX";
	const char *at = argc > 1 ? argv[1] : mkdtemp(dir);
	struct sftp_client *c;
	pid_t pid;

	must(!at, "mkdtemp");
	c = client(&pid);
	large(c, at);
	folder(c, at);
	small(c, at);
	sftp_client_free(c);
	waitpid(pid, NULL, 0);
	if (argc < 2)
		rmdir(at);
	return 0;
}
