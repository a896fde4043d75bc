/* fuzz_ports.c - any bytes as what the kernel says about sockets and processes: the first one
 * chooses the parser. No overread, tables stay within their limit, texts stay printable. */
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/limits.h"
#include "base/str.h"
#include "host/ports_parse.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void as_netlink(struct tl_bytes in)
{
	struct ports_sockets t = {0};
	int why = 0, rc = diag_parse(in, 7, &t, &why);

	tl_assert(rc == 0 || rc == 1 || rc == TL_E_PROTO || rc == TL_E_UNSUPPORTED);
	tl_assert(t.n <= TL_LIMIT_PORTS_SEEN && why >= 0);
	sockets_sort(&t);
	for (size_t i = 0; i < t.n; i++) {
		tl_assert(t.v[i].family == 4 || t.v[i].family == 6);
		tl_assert(i == 0 || t.v[i - 1].inode < t.v[i].inode);
	}
	sockets_fini(&t);
}

static void as_arguments(struct tl_bytes in)
{
	char text[64], comm[PROC_COMM] = {0};

	memcpy(comm, in.p, in.n < PROC_COMM - 1 ? in.n : PROC_COMM - 1);
	proc_command(in, text, sizeof(text));
	tl_assert(strlen(text) < sizeof(text));
	for (const char *c = text; *c; c++)
		tl_assert((uint8_t)*c >= ' ' && *c != 127);
	proc_name(comm, in, text, sizeof(text));
	tl_assert(strlen(text) < sizeof(text));
	proc_is_idler("bash", in);
	proc_is_towline(in, "tcpip-forward");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct tl_bytes in = bytes_of(data + 1, size ? size - 1 : 0);
	struct ports_socket s;
	struct proc_stat st;
	char *text;

	if (size == 0)
		return 0;
	switch (data[0] % 5) {
	case 0:
		as_netlink(in);
		break;
	case 1:
		proc_net_line(in, data[0] & 64 ? AF_INET6 : AF_INET, &s);
		break;
	case 2:
		if (proc_stat_parse(in, &st) == 0)
			tl_assert(st.pid > 0 && strlen(st.comm) < PROC_COMM);
		break;
	case 3:
		as_arguments(in);
		break;
	default:
		text = str_ndup(in.p, in.n);
		if (text)
			proc_fd_inode(text);
		free(text);
		while (proc_next_pid(&in) > 0)
			continue;
		break;
	}
	return 0;
}
