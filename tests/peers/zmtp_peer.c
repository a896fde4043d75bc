/* zmtp_peer.c - our ZMTP engine on a unix socket, for tests with real ZeroMQ at the other end:
 *
 *   zmtp_peer connect|listen SOCKET PATH
 *
 * SOCKET: DEALER, ROUTER, REQ, REP, SUB or PUB. Every message is sent back as it came, but a SUB
 * prints what it gets, one line of hexadecimal parts each, and a PUB publishes each line of its
 * standard input's hexadecimal parts. Ends with the connection. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/str.h"
#include "loop/io.h"
#include "loop/sock.h"
#include "wire/zmtp.h"

#define BYTES_MAX (64 << 20)

static const char *const names[] = {"DEALER", "ROUTER", "REQ", "REP", "SUB", "PUB"};

static int dial(const char *path)
{
	for (int i = 0; i < 3000; i++) {
		int fd = connect_unix(path, NULL);
		if (fd >= 0)
			return fd;
		usleep(10000); /* the test starts both sides at once */
	}
	return -1;
}

static int wait_for_one(const char *path)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0), one = -1;
	if (str_copy(sa.sun_path, sizeof(sa.sun_path), path) &&
	    bind(fd, (struct sockaddr *)&sa, sizeof(sa)) == 0 && listen(fd, 1) == 0)
		one = accept(fd, NULL, NULL);
	close(fd);
	return one;
}

static void flush(int fd, struct buf *b)
{
	if (fd_write_all(fd, buf_data(b).p, b->len, 60000) != 0)
		exit(0);
	buf_clear(b);
}

static void print(const struct zmtp *z)
{
	for (size_t i = 0; i < zmtp_parts(z); i++) {
		struct tl_bytes p = zmtp_part(z, i);
		for (size_t k = 0; k < p.n; k++)
			printf("%02x", p.p[k]);
		putchar(i + 1 < zmtp_parts(z) ? ' ' : '\n');
	}
	fflush(stdout);
}

/* Publishes standard input. */
static void publish(int fd, struct buf *out)
{
	static char line[1 << 20];
	while (fgets(line, sizeof(line), stdin)) {
		static uint8_t bytes[1 << 19];
		struct tl_bytes parts[64];
		size_t n = 0, at = 0, from = 0;
		for (char *p = line; n < 64; p++) {
			unsigned v;
			if (*p == ' ' || *p == '\n') {
				parts[n++] = bytes_of(bytes + from, at - from);
				from = at;
				if (*p == '\n')
					break;
			} else if (sscanf(p, "%2x", &v) == 1) {
				bytes[at++] = (uint8_t)v;
				p++;
			}
		}
		zmtp_put(out, parts, n);
		flush(fd, out);
	}
}

static void event(struct zmtp *z, int what, int fd, struct buf *out)
{
	struct tl_bytes parts[64];
	if (what == ZMTP_READY && z->type == ZMTP_SUB)
		zmtp_put_subscribe(out, bytes_str(""));
	if (what == ZMTP_READY && z->type == ZMTP_PUB) {
		/* whoever subscribes filters, too */
		flush(fd, &z->out);
		publish(fd, out);
	}
	if (what != ZMTP_MESSAGE || z->type == ZMTP_PUB)
		return;
	if (z->type == ZMTP_SUB) {
		print(z);
		return;
	}
	for (size_t i = 0; i < zmtp_parts(z) && i < 64; i++)
		parts[i] = zmtp_part(z, i);
	zmtp_put(out, parts, zmtp_parts(z));
}

int main(int argc, char **argv)
{
	static uint8_t chunk[65536];
	struct zmtp z;
	struct buf out;
	int type = 0, fd;
	ssize_t n;
	if (argc != 4)
		return 2;
	while (type < 5 && strcmp(names[type], argv[2]) != 0)
		type++;
	fd = strcmp(argv[1], "listen") == 0 ? wait_for_one(argv[3]) : dial(argv[3]);
	if (fd < 0 ||
	    zmtp_init(&z, (enum zmtp_socket)type, bytes_str("our name"), BYTES_MAX, 64) != 0)
		return 1;
	buf_init(&out, BYTES_MAX);
	flush(fd, &z.out);
	while ((n = read(fd, chunk, sizeof(chunk))) > 0) {
		struct tl_bytes in = bytes_of(chunk, (size_t)n);
		while (in.n) {
			size_t used;
			int what = zmtp_feed(&z, in, &used);
			if (what < 0) {
				fprintf(stderr, "zmtp_peer: %s\n", z.reason);
				return 3;
			}
			in = bytes_of(in.p + used, in.n - used);
			event(&z, what, fd, &out);
			flush(fd, &z.out);
			flush(fd, &out);
		}
	}
	buf_fini(&out);
	zmtp_fini(&z);
	return 0;
}
