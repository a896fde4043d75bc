/* doctor_net.c - the way to the first machine that ssh talks to: what its configuration says, the
 * name, the route, the port, and who answers there. Where a program makes the connection
 * (ProxyCommand) only that program can tell. */
#include "api/doctor_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "api/tool.h"
#include "dial/args.h"
#include "dial/ssh_query.h"
#include "loop/io.h"

#define QUERY_MS   30000
#define CONNECT_MS 8000
#define BANNER_MS  8000
#define MORE_MS    1000
#define BANNER_MAX 4096

/* ---- configuration ---- */

static void keep(struct tl_bytes key, struct tl_bytes value, const char *name, char *out, size_t n)
{
	if (bytes_equal(key, bytes_str(name)) && value.n < n) {
		memcpy(out, value.p, value.n);
		out[value.n] = 0;
	}
}

/* `ssh -G` for a host. 0, or an error with ssh's words in d->banner. */
static int ask(struct doctor *d, const struct dial_target *t, char *host, char *port)
{
	struct strv argv = {0}, query = {0};
	struct tl_bytes text, key, value;
	const char *ssh = d->o->ssh_path ? d->o->ssh_path : "ssh";
	struct buf out;
	int status = 0, rc = args_query(&query, t, ssh, &d->err);

	buf_init(&out, 262144);
	rc = rc ? rc : strv_add(&argv, "sh");
	rc = rc ? rc : strv_add(&argv, "-c");
	rc = rc ? rc : strv_add(&argv, "exec \"$@\" 2>&1");
	rc = rc ? rc : strv_add(&argv, "sh");
	for (size_t i = 0; i < query.n && rc == 0; i++)
		rc = strv_add(&argv, query.v[i]);
	rc = rc ? rc : tool_run(argv.v, bytes_str(""), &out, QUERY_MS, &status, &d->err);
	text = buf_data(&out);
	if (rc == 0 && status) {
		const char *all = buf_cstr(&out), *at = all ? strstr(all, " line ") : NULL;
		while (at && at > all && at[-1] != '\n')
			at--;
		str_copy(d->banner, sizeof(d->banner), at ? at : all ? all : "");
		d->banner[strcspn(d->banner, "\n")] = 0;
		rc = status == 127 ? TL_E_NOSSH : TL_E_SSHCONFIG;
	}
	while (rc == 0 && ssh_query_line(&text, &key, &value)) {
		keep(key, value, "hostname", host, 256);
		keep(key, value, "port", port, 16);
		keep(key, value, "user", d->user, sizeof(d->user));
		if (t->host != d->o->host)
			continue;
		keep(key, value, "proxyjump", d->jump, sizeof(d->jump));
		keep(key, value, "proxycommand", d->proxy, sizeof(d->proxy));
	}
	buf_fini(&out);
	strv_fini(&argv);
	strv_fini(&query);
	return rc;
}

int doctor_config(struct doctor *d)
{
	struct dial_target t = doctor_target(d), hop = {.kind = DIAL_SSH};
	char port[16] = "22", user[128], first[300];
	int rc = ask(d, &t, d->hostname, port);

	if (rc == TL_E_INVAL)
		return doctor_tell(d, "configuration", DOCTOR_BAD, rc, NULL, "%s", d->err.text);
	if (rc)
		return doctor_tell(d, "configuration", DOCTOR_BAD, rc, NULL, "%s",
				   d->banner[0] ? d->banner : err_row(rc)->what);
	str_copy(user, sizeof(user), d->user);
	if (strcmp(d->jump, "none") == 0)
		d->jump[0] = 0;
	if (strcmp(d->proxy, "none") == 0 || d->jump[0])
		d->proxy[0] = 0;
	doctor_tell(d, "configuration", DOCTOR_OK, 0, NULL, "%s@%s, port %s%s%s%s%s", user,
		    d->hostname, port, d->jump[0] ? ", by way of " : "", d->jump,
		    d->proxy[0] ? ", through the program " : "", d->proxy);
	if (d->jump[0]) {
		/* ours is the way to the first of the jump hosts */
		str_copy(first, sizeof(first), d->jump);
		first[strcspn(first, ",")] = 0;
		hop.host = first;
		hop.config_file = t.config_file;
		if (ask(d, &hop, d->hostname, port) != 0)
			d->hostname[0] = 0;
	}
	str_copy(d->user, sizeof(d->user), user);
	d->port = (int)strtol(port, NULL, 10);
	return 0;
}

/* ---- network ---- */

/* A connected socket, or -errno; ETIMEDOUT after CONNECT_MS. */
static int connect_to(const struct addrinfo *a)
{
	int fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), e = 0;
	struct pollfd p = {.fd = fd, .events = POLLOUT};
	socklen_t n = sizeof(e);

	if (fd < 0)
		return -errno;
	if (connect(fd, a->ai_addr, a->ai_addrlen) == 0)
		return fd;
	e = errno;
	if (e == EINPROGRESS) {
		e = poll(&p, 1, CONNECT_MS) == 1 ? 0 : ETIMEDOUT;
		if (!e && getsockopt(fd, SOL_SOCKET, SO_ERROR, &e, &n) != 0)
			e = errno;
	}
	if (!e)
		return fd;
	close(fd);
	return -e;
}

/* Lines before the version line are allowed; what comes instead is quoted. 0 or what is wrong. */
static int read_banner(int fd, char *out, size_t n)
{
	char text[BANNER_MAX + 1];
	size_t have = 0;
	uint64_t stop = clock_mono_ms() + BANNER_MS, now;
	ssize_t got = 0;
	char *at = NULL;

	while (have < BANNER_MAX && (now = clock_mono_ms()) < stop) {
		struct pollfd p = {.fd = fd, .events = POLLIN};
		/* one that has begun to speak, and not as ssh does, is not waited for */
		if (poll(&p, 1, have && stop - now > MORE_MS ? MORE_MS : (int)(stop - now)) != 1)
			break;
		got = read(fd, text + have, BANNER_MAX - have);
		if (got <= 0)
			break;
		have += (size_t)got;
		text[have] = 0;
		for (at = text; at && strncmp(at, "SSH-", 4) != 0;)
			at = (at = strchr(at, '\n')) ? at + 1 : NULL;
		if (at && strchr(at, '\n'))
			break;
	}
	text[have] = 0;
	if (at && strncmp(at, "SSH-", 4) == 0) {
		at[strcspn(at, "\r\n")] = 0;
		str_copy(out, n, at);
		return 0;
	}
	text[strcspn(text, "\r\n")] = 0;
	str_copy(out, n, text);
	return have ? TL_E_PROTO : got == 0 && clock_mono_ms() < stop ? TL_E_CLOSED : TL_E_TIMEOUT;
}

static int tell_banner(struct doctor *d, int fd)
{
	int rc = read_banner(fd, d->banner, sizeof(d->banner));

	close(fd);
	if (rc == 0)
		return doctor_tell(d, "banner", DOCTOR_OK, 0, NULL, "%s", d->banner);
	if (rc == TL_E_CLOSED)
		return doctor_tell(
		    d, "banner", DOCTOR_BAD, TL_E_CLOSED,
		    "The server does not want this machine, or is too busy: ask its "
		    "administrator for MaxStartups, hosts.deny and fail2ban.",
		    "port %d of %s is open, but the connection is closed without a word", d->port,
		    d->hostname);
	if (rc == TL_E_TIMEOUT)
		return doctor_tell(
		    d, "banner", DOCTOR_BAD, TL_E_TIMEOUT,
		    "Check the port: is it that of an SSH server? Behind a firewall or a "
		    "load balancer the server itself may be down.",
		    "port %d of %s is open, but nobody says anything there", d->port, d->hostname);
	return doctor_tell(
	    d, "banner", DOCTOR_BAD, TL_E_SSH, "Check the port: another program listens there.",
	    "port %d of %s is no SSH server; it said: %.100s", d->port, d->hostname, d->banner);
}

static int tell_connect(struct doctor *d, int e, size_t addresses)
{
	const char *why = strerror(e);

	if (e == ECONNREFUSED) {
		doctor_tell(d, "route", DOCTOR_OK, 0, NULL, "%s answers", d->hostname);
		return doctor_tell(d, "port", DOCTOR_BAD, TL_E_REFUSED, NULL,
				   "port %d of %s is closed: no SSH server listens there", d->port,
				   d->hostname);
	}
	if (e == ETIMEDOUT)
		return doctor_tell(d, "route", DOCTOR_BAD, TL_E_TIMEOUT,
				   "Is the host up, and the VPN? A firewall may drop the packets.",
				   "no answer from port %d of %s (%zu address%s)", d->port,
				   d->hostname, addresses, addresses == 1 ? "" : "es");
	return doctor_tell(d, "route", DOCTOR_BAD, TL_E_UNREACH, NULL, "no way to %s: %s",
			   d->hostname, why);
}

int doctor_net(struct doctor *d)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list = NULL;
	char port[16], address[NI_MAXHOST] = "";
	size_t n = 0;
	int rc, fd = -EHOSTUNREACH;

	if (d->proxy[0] || !d->hostname[0])
		return doctor_tell(d, "name", DOCTOR_LEFT_OUT, 0, NULL,
				   "the program %s makes the connection", d->proxy);
	snprintf(port, sizeof(port), "%d", d->port);
	rc = getaddrinfo(d->hostname, port, &hints, &list);
	if (rc)
		return doctor_tell(d, "name", DOCTOR_BAD, TL_E_RESOLVE, NULL,
				   "there is no address for the name %s (%s)", d->hostname,
				   gai_strerror(rc));
	for (const struct addrinfo *a = list; a; a = a->ai_next)
		n++;
	getnameinfo(list->ai_addr, list->ai_addrlen, address, sizeof(address), NULL, 0,
		    NI_NUMERICHOST);
	doctor_tell(d, "name", DOCTOR_OK, 0, NULL, "%s is %s%s", d->hostname, address,
		    n > 1 ? " and others" : "");
	for (const struct addrinfo *a = list; a && fd < 0; a = a->ai_next) {
		int got = connect_to(a);
		/* a refusal says more than a missing route of the other family */
		if (got >= 0 || fd != -ECONNREFUSED)
			fd = got;
	}
	freeaddrinfo(list);
	if (fd < 0)
		return tell_connect(d, -fd, n);
	doctor_tell(d, "route", DOCTOR_OK, 0, NULL, "%s answers", d->hostname);
	doctor_tell(d, "port", DOCTOR_OK, 0, NULL, "port %d is open", d->port);
	return tell_banner(d, fd);
}
