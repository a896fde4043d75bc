/* binary.c - see binary.h. */
#include "dial/binary.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/limits.h"

#define CRC_POLY  0x04c11db7U
#define READ_STEP 16384

uint32_t cksum_step(uint32_t crc, const uint8_t *p, size_t n)
{
	uint32_t table[256];

	for (uint32_t i = 0; i < 256; i++) {
		table[i] = i << 24;
		for (int bit = 0; bit < 8; bit++)
			table[i] =
			    table[i] & 0x80000000U ? table[i] << 1 ^ CRC_POLY : table[i] << 1;
	}
	for (size_t i = 0; i < n; i++)
		crc = crc << 8 ^ table[(crc >> 24 ^ p[i]) & 0xff];
	return crc;
}

uint32_t cksum_end(uint32_t crc, uint64_t length)
{
	for (; length; length >>= 8) {
		uint8_t low = (uint8_t)length;
		crc = cksum_step(crc, &low, 1);
	}
	return ~crc;
}

static int binary_path(char out[TL_LIMIT_PATH], const char *dir, const char *arch, const char *end)
{
	int n = snprintf(out, TL_LIMIT_PATH, "%s/towline-host-%s%s", dir, arch, end);

	return n > 0 && n < TL_LIMIT_PATH ? 0 : TL_E_LIMIT;
}

bool binary_digest(const char *dir, const char *arch, char ret_hex[BINARY_DIGEST])
{
	char path[TL_LIMIT_PATH];
	ssize_t got = -1;
	int fd;

	ret_hex[0] = 0;
	if (binary_path(path, dir, arch, "") || access(path, R_OK) != 0 ||
	    binary_path(path, dir, arch, ".sha256"))
		return false;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	got = read(fd, ret_hex, BINARY_DIGEST - 1);
	close(fd);
	ret_hex[got > 0 ? got : 0] = 0;
	if (strspn(ret_hex, "0123456789abcdef") == BINARY_DIGEST - 1)
		return true;
	ret_hex[0] = 0;
	return false;
}

static int open_sized(const char *path, uint64_t *ret_size)
{
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return -1;
	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_size <= 0) {
		close(fd);
		errno = EINVAL;
		return -1;
	}
	*ret_size = (uint64_t)st.st_size;
	return fd;
}

static int crc_of(int fd, uint64_t size, uint32_t *ret_crc)
{
	uint8_t part[READ_STEP];
	uint64_t off = 0;
	uint32_t crc = 0;

	while (off < size) {
		ssize_t got = pread(fd, part, sizeof(part), (off_t)off);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return TL_E_IO;
		crc = cksum_step(crc, part, (size_t)got);
		off += (uint64_t)got;
	}
	*ret_crc = cksum_end(crc, size);
	return 0;
}

int binary_open(struct binary *b, const char *dir, const char *arch, bool gz, bool need_crc,
		struct tl_err *err)
{
	char path[TL_LIMIT_PATH];

	*b = (struct binary){.fd = -1};
	if (binary_path(path, dir, arch, ""))
		return err_set(err, TL_E_LIMIT, "the folder name %.200s is too long", dir);
	b->fd = open_sized(path, &b->raw_bytes);
	if (b->fd < 0)
		return err_sys(err, errno, "cannot read the server program %s", path);
	if (need_crc && crc_of(b->fd, b->raw_bytes, &b->crc)) {
		binary_close(b);
		return err_set(err, TL_E_IO, "cannot read the server program %s", path);
	}
	b->send_bytes = b->raw_bytes;
	if (gz && !binary_path(path, dir, arch, ".gz")) {
		int fd = open_sized(path, &b->send_bytes);
		if (fd >= 0) {
			close(b->fd);
			b->fd = fd;
			b->gz = true;
		}
	}
	return 0;
}

void binary_close(struct binary *b)
{
	if (b->fd >= 0)
		close(b->fd);
	b->fd = -1;
}

long binary_read(struct binary *b, uint64_t off, void *p, size_t n)
{
	for (;;) {
		ssize_t got = pread(b->fd, p, n, (off_t)off);
		if (got > 0)
			return got;
		if (got == 0 || errno != EINTR)
			return TL_E_IO;
	}
}
