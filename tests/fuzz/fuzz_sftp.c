/* fuzz_sftp.c - any packets at the file service, confined to a folder of its own. The first byte
 * chooses whether it only reads. Input after it: packets with their length words, as on the wire
 * (a wrong length ends it, as there). Checks that every whole packet is answered. */
#include <dirent.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/svc_fs.h"
#include "wire/sftp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Replies are looked at like a client does, then forgotten. */
static int forget(void *ctx, struct buf *out)
{
	struct tl_bytes packet;
	size_t used;

	while (sftp_next(buf_data(out), &packet, &used) == 1) {
		++*(size_t *)ctx;
		buf_consume(out, used);
	}
	/* the service writes whole packets only */
	tl_assert(out->len == 0);
	return 0;
}

/* A small tree to play in, made again for every input: what an input does must not depend on the
 * ones before it. */
static void make_tree(const char *root)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "%s/d", root);
	mkdir(path, 0755);
	snprintf(path, sizeof(path), "%s/f", root);
	fd = open(path, O_WRONLY | O_CREAT, 0644);
	if (fd >= 0) {
		if (write(fd, "content", 7) != 7)
			abort();
		close(fd);
	}
	snprintf(path, sizeof(path), "%s/l", root);
	if (symlink("../../f", path) != 0)
		abort();
}

static void clean(const char *root)
{
	char path[256];
	struct tl_err err;
	struct svc_fs *fs = NULL;
	struct buf out;
	struct dirent *e;
	DIR *d = opendir(root);
	size_t n = 0;

	if (!d || svc_fs_new(&fs, root, false, &err) != 0)
		abort();
	buf_init(&out, SVC_FS_OUT_MAX);
	struct stat st;
	const uint8_t init[] = {SFTP_INIT, 0, 0, 0, 3};
	svc_fs_packet(fs, bytes_of(init, sizeof(init)), &out, forget, &n);
	while ((e = readdir(d))) {
		struct buf in;
		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		buf_init(&in, 4096);
		buf_put_u8(&in, SFTP_EXTENDED);
		buf_put_u32(&in, 1);
		buf_put_string(&in, SFTP_EXT_REMOVE_TREE, strlen(SFTP_EXT_REMOVE_TREE));
		buf_put_string(&in, e->d_name, strlen(e->d_name));
		snprintf(path, sizeof(path), "%s/%.200s", root, e->d_name);
		/* never through a link that the input made: it may lead anywhere */
		if (lstat(path, &st) == 0 && S_ISDIR(st.st_mode))
			chmod(path, 0700);
		svc_fs_packet(fs, buf_data(&in), &out, forget, &n);
		buf_fini(&in);
	}
	closedir(d);
	buf_fini(&out);
	svc_fs_free(fs);
	if (rmdir(root) != 0)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char root[] = "/tmp/tl-fuzz-XXXXXX";
	struct tl_bytes packet, in;
	struct svc_fs *fs = NULL;
	struct tl_err err;
	struct buf out;
	size_t used, answers = 0, before;

	if (size < 1 || !mkdtemp(root))
		return 0;
	make_tree(root);
	if (svc_fs_new(&fs, root, data[0] & 1, &err) != 0)
		abort();
	buf_init(&out, SVC_FS_OUT_MAX);
	in = bytes_of(data + 1, size - 1);
	while (sftp_next(in, &packet, &used) == 1) {
		before = answers;
		if (svc_fs_packet(fs, packet, &out, forget, &answers) != 0)
			break;
		forget(&answers, &out);
		tl_assert(answers > before);
		in = bytes_of(in.p + used, in.n - used);
	}
	buf_fini(&out);
	svc_fs_free(fs);
	clean(root);
	return 0;
}
