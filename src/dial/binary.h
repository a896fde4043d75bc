/* binary.h - the server programs this installation can put on a host: towline-host-ARCH with .gz
 * and .sha256 beside it. Blocking reads of small local files. Owns one descriptor while open. */
#ifndef TL_DIAL_BINARY_H
#define TL_DIAL_BINARY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

#define BINARY_DIGEST 65 /* hex SHA-256 and NUL */

/* Reads dir/towline-host-arch.sha256. False and "" where this installation has none. */
bool binary_digest(const char *dir, const char *arch, char ret_hex[BINARY_DIGEST]);

/* What is sent to the host. */
struct binary {
	int fd; /* -1: not open */
	bool gz;
	uint64_t send_bytes; /* of the file that is sent */
	uint64_t raw_bytes;  /* of the program */
	uint32_t crc;        /* of the program, as cksum(1) says; 0 unless asked for */
};

/* Opens the program for sending, compressed where gz is wanted and the .gz is there; need_crc reads
 * it all once. 0, TL_E_NOENT, TL_E_IO. */
int binary_open(struct binary *b, const char *dir, const char *arch, bool gz, bool need_crc,
		struct tl_err *err);
void binary_close(struct binary *b);
/* Bytes of the sent file at off; > 0, or TL_E_IO (also when it became shorter). */
long binary_read(struct binary *b, uint64_t off, void *p, size_t n);

/* One step of POSIX cksum: start with 0, feed the bytes, then the length as binary.c does. Pure. */
uint32_t cksum_step(uint32_t crc, const uint8_t *p, size_t n);
/* Feeds the length and complements. */
uint32_t cksum_end(uint32_t crc, uint64_t length);

#endif
