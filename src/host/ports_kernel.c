/* ports_kernel.c - asks the kernel for every listening TCP socket of this host (see ports_state.h):
 * by NETLINK_SOCK_DIAG, where the kernel itself leaves all other sockets out, else from
 * /proc/net/tcp and tcp6, which list listeners first. */
#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "host/ports_state.h"
#include "loop/loop.h"

/* The kernel fills up to 32 kB a turn where the reader has the room. */
#define DATAGRAM  32768
#define ANSWER_MS 2000

static void netlink_give_up(struct ports *o, const char *what, int sys_errno)
{
	if (o->netlink >= 0)
		close(o->netlink);
	o->netlink = -1;
	o->state_wanted = true;
	snprintf(o->reason, sizeof(o->reason), "%s%s%s", what, sys_errno ? ": " : "",
		 sys_errno ? strerror(sys_errno) : "");
}

void kernel_open(struct ports *o)
{
	struct timeval patience = {.tv_sec = ANSWER_MS / 1000};

	o->state_wanted = true;
	o->netlink = -1;
	if (o->no_netlink) {
		netlink_give_up(o, "asked to use /proc only", 0);
		return;
	}
	o->netlink = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
	if (o->netlink < 0 ||
	    setsockopt(o->netlink, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) != 0)
		netlink_give_up(o, "no netlink socket for socket diagnosis", errno);
}

void kernel_close(struct ports *o)
{
	if (o->netlink >= 0)
		close(o->netlink);
	o->netlink = -1;
}

/* One family; *ret_parts grows by the datagrams that came. */
static int netlink_dump(struct ports *o, int af, uint8_t *room, struct ports_sockets *out,
			size_t *ret_parts)
{
	struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
	uint8_t request[DIAG_REQUEST];
	int rc = 0, why = 0;

	diag_request(request, af, ++o->seq);
	if (sendto(o->netlink, request, sizeof(request), 0, (struct sockaddr *)&kernel,
		   sizeof(kernel)) != (ssize_t)sizeof(request)) {
		netlink_give_up(o, "socket diagnosis takes no question", errno);
		return TL_E_UNSUPPORTED;
	}
	while (rc == 0) {
		struct sockaddr_nl from = {0};
		socklen_t from_size = sizeof(from);
		ssize_t n =
		    recvfrom(o->netlink, room, DATAGRAM, 0, (struct sockaddr *)&from, &from_size);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			netlink_give_up(o, "socket diagnosis gives no answer", n < 0 ? errno : 0);
			return TL_E_UNSUPPORTED;
		}
		if (from.nl_pid != 0)
			continue; /* only the kernel is asked */
		++*ret_parts;
		rc = diag_parse(bytes_of(room, (size_t)n), o->seq, out, &why);
	}
	/* a kernel without IPv6 has nothing to tell about it */
	if (rc == TL_E_UNSUPPORTED && af == AF_INET6 && why == ENOENT)
		return 0;
	if (rc == TL_E_PROTO || rc == TL_E_UNSUPPORTED)
		netlink_give_up(o, "socket diagnosis is not available in this kernel", why);
	return rc > 0 ? 0 : rc;
}

static int netlink_listeners(struct ports *o, struct ports_sockets *out, size_t *ret_parts)
{
	uint8_t *room = malloc(DATAGRAM);
	int rc = room ? netlink_dump(o, AF_INET, room, out, ret_parts) : TL_E_NOMEM;

	if (rc == 0)
		rc = netlink_dump(o, AF_INET6, room, out, ret_parts);
	free(room);
	return rc;
}

/* ---- /proc ---- */

/* Lines of one file until the first that is no listener; a missing file has none. */
static int proc_lines(const char *path, int af, struct ports_sockets *out)
{
	FILE *f = fopen(path, "re");
	char line[512];
	int rc = 0;

	if (!f)
		return errno == ENOENT ? 0 : err_from_errno(errno);
	/* the first line is a heading */
	while (rc == 0 && fgets(line, sizeof(line), f)) {
		struct ports_socket s;
		int kind = proc_net_line(bytes_str(line), af, &s);
		if (kind == 1)
			rc = sockets_add(out, &s);
		else if (kind == 0)
			break;
	}
	fclose(f);
	return rc;
}

static int proc_listeners(struct ports_sockets *out)
{
	int rc;

	if (access("/proc/net/tcp", R_OK) != 0)
		return err_from_errno(errno);
	rc = proc_lines("/proc/net/tcp", AF_INET, out);
	return rc ? rc : proc_lines("/proc/net/tcp6", AF_INET6, out);
}

int kernel_listeners(struct ports *o, struct ports_sockets *out)
{
	size_t parts = 0;
	int rc = TL_E_UNSUPPORTED;

	if (o->netlink >= 0) {
		rc = netlink_listeners(o, out, &parts);
		o->split = parts > 4;
	}
	if (rc == TL_E_UNSUPPORTED) {
		out->n = 0;
		o->split = true;
		rc = proc_listeners(out);
	}
	sockets_sort(out);
	return rc;
}
