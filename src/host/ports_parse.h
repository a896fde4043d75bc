/* ports_parse.h - what the kernel says about listening sockets and processes, as data. Pure: bytes
 * in, numbers out; the texts may be anything (a process names itself). */
#ifndef TL_HOST_PORTS_PARSE_H
#define TL_HOST_PORTS_PARSE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/bytes.h"

/* A listening TCP socket. */
struct ports_socket {
	uint64_t inode;
	uint32_t uid;
	uint16_t port;
	uint8_t family;      /* 4 or 6; an IPv4 address in IPv6 clothes is 4 */
	uint8_t address[16]; /* network order; family 4: the first four */
};

/* A table of them, at most PORTS_SEEN. Zero-initialised is empty. */
struct ports_sockets {
	struct ports_socket *v;
	size_t n, cap;
	bool full; /* some were left out */
};

/* 0 or TL_E_NOMEM; a full table takes no more and says so in `full`. */
int sockets_add(struct ports_sockets *t, const struct ports_socket *s);
/* Sorts by inode and drops what is there twice. */
void sockets_sort(struct ports_sockets *t);
void sockets_fini(struct ports_sockets *t);

/* The request for all listeners of one family (AF_INET, AF_INET6), into out of DIAG_REQUEST bytes.
 */
#define DIAG_REQUEST 72
void diag_request(uint8_t *out, int af, uint32_t seq);
/* One datagram of the answer. 1: that was all; 0: more follows; TL_E_PROTO; TL_E_NOMEM; or
 * TL_E_UNSUPPORTED with the kernel's errno. */
int diag_parse(struct tl_bytes datagram, uint32_t seq, struct ports_sockets *out, int *ret_errno);

/* One line of /proc/net/tcp (af AF_INET) or tcp6. 1: a listener; 0: another socket; TL_E_PROTO: no
 * such line (the heading). */
int proc_net_line(struct tl_bytes line, int af, struct ports_socket *ret);

#define PROC_COMM 16

/* What /proc/PID/stat tells. */
struct proc_stat {
	pid_t pid, ppid;
	char state;
	char comm[PROC_COMM]; /* cut at 15 bytes by the kernel */
	int tty;              /* N of /dev/pts/N; -1: none, or another kind */
	uint32_t threads;
	uint64_t start; /* with pid it names one process for ever */
};

/* 0 or TL_E_PROTO. */
int proc_stat_parse(struct tl_bytes text, struct proc_stat *ret);
/* "socket:[123]" -> 123; 0: something else. */
uint64_t proc_fd_inode(const char *link);
/* The next number of a text of numbers and blanks (task/TID/children), 0 at its end. */
pid_t proc_next_pid(struct tl_bytes *text);

/* A process that cannot begin to listen unless its terminal moves: a shell at its prompt (cmdline
 * as in /proc), or one that only waits for its child, like sudo. */
bool proc_is_idler(const char *comm, struct tl_bytes cmdline);
/* One of Towline's programs by the name it was called, and (face, may be NULL) by its first
 * argument. */
bool proc_is_towline(struct tl_bytes cmdline, const char *face);
/* Arguments in one line for people: at most n - 1 bytes, control bytes become blanks. */
void proc_command(struct tl_bytes cmdline, char *out, size_t n);
/* Name of a program: comm, or the end of its first argument where the kernel cut comm short. */
void proc_name(const char *comm, struct tl_bytes cmdline, char *out, size_t n);

#endif
