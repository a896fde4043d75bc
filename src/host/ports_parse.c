/* ports_parse.c - see ports_parse.h. Owns only the tables it fills. */
#include "host/ports_parse.h"

#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/limits.h"
#include "base/str.h"

#define TCP_LISTEN_STATE                                                                           \
	10 /* of the kernel: <netinet/tcp.h> and <linux/tcp.h> exclude each other */

/* ---- the table ---- */

int sockets_add(struct ports_sockets *t, const struct ports_socket *s)
{
	if (t->n >= TL_LIMIT_PORTS_SEEN) {
		t->full = true;
		return 0;
	}
	if (t->n == t->cap) {
		size_t cap = t->cap ? t->cap * 2 : 64;
		struct ports_socket *v = realloc(t->v, cap * sizeof(*v));
		if (!v)
			return TL_E_NOMEM;
		t->v = v;
		t->cap = cap;
	}
	t->v[t->n++] = *s;
	return 0;
}

static int by_inode(const void *a, const void *b)
{
	uint64_t x = ((const struct ports_socket *)a)->inode,
		 y = ((const struct ports_socket *)b)->inode;
	return (x > y) - (x < y);
}

void sockets_sort(struct ports_sockets *t)
{
	size_t to = 0;

	if (t->n > 1)
		qsort(t->v, t->n, sizeof(*t->v), by_inode);
	for (size_t i = 0; i < t->n; i++)
		if (to == 0 || t->v[to - 1].inode != t->v[i].inode)
			t->v[to++] = t->v[i];
	t->n = to;
}

void sockets_fini(struct ports_sockets *t)
{
	free(t->v);
	*t = (struct ports_sockets){0};
}

/* Sockets of IPv6 that are bound to ::ffff:a.b.c.d are reached by IPv4 only. */
static void socket_set_address(struct ports_socket *s, int af, const void *words)
{
	static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

	memset(s->address, 0, sizeof(s->address));
	memcpy(s->address, words, af == AF_INET ? 4 : 16);
	s->family = af == AF_INET ? 4 : 6;
	if (s->family == 6 && memcmp(s->address, mapped, sizeof(mapped)) == 0) {
		memmove(s->address, s->address + 12, 4);
		memset(s->address + 4, 0, 12);
		s->family = 4;
	}
}

/* ---- netlink ---- */

void diag_request(uint8_t *out, int af, uint32_t seq)
{
	struct nlmsghdr h = {.nlmsg_len = DIAG_REQUEST,
			     .nlmsg_type = SOCK_DIAG_BY_FAMILY,
			     .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP,
			     .nlmsg_seq = seq};
	struct inet_diag_req_v2 r = {.sdiag_family = (uint8_t)af,
				     .sdiag_protocol = IPPROTO_TCP,
				     .idiag_states = 1U << TCP_LISTEN_STATE};

	_Static_assert(sizeof(h) + sizeof(r) == DIAG_REQUEST, "the kernel's layout");
	memcpy(out, &h, sizeof(h));
	memcpy(out + sizeof(h), &r, sizeof(r));
}

static int diag_take(struct tl_bytes body, struct ports_sockets *out)
{
	struct inet_diag_msg m;
	struct ports_socket s = {0};

	if (body.n < sizeof(m))
		return TL_E_PROTO;
	memcpy(&m, body.p, sizeof(m));
	if ((m.idiag_family != AF_INET && m.idiag_family != AF_INET6) ||
	    m.idiag_state != TCP_LISTEN_STATE || m.idiag_inode == 0)
		return 0;
	s.inode = m.idiag_inode;
	s.uid = m.idiag_uid;
	s.port = get_u16((const uint8_t *)&m.id.idiag_sport);
	socket_set_address(&s, m.idiag_family, m.id.idiag_src);
	return sockets_add(out, &s);
}

int diag_parse(struct tl_bytes d, uint32_t seq, struct ports_sockets *out, int *ret_errno)
{
	int rc = 0;

	while (rc == 0 && d.n >= sizeof(struct nlmsghdr)) {
		struct nlmsghdr h;
		struct tl_bytes body;
		size_t step;
		memcpy(&h, d.p, sizeof(h));
		if (h.nlmsg_len < sizeof(h) || h.nlmsg_len > d.n)
			return TL_E_PROTO;
		body = bytes_of(d.p + sizeof(h), h.nlmsg_len - sizeof(h));
		step = NLMSG_ALIGN((size_t)h.nlmsg_len);
		d = bytes_of(d.p + (step < d.n ? step : d.n), step < d.n ? d.n - step : 0);
		/* what is left of a question given up earlier */
		if (h.nlmsg_seq != seq)
			continue;
		if (h.nlmsg_type == NLMSG_DONE)
			return 1;
		if (h.nlmsg_type == NLMSG_ERROR) {
			int32_t e = 0;
			if (body.n >= sizeof(e))
				memcpy(&e, body.p, sizeof(e));
			/* 0 would be an acknowledgement, which nobody asked for */
			*ret_errno = e < 0 && e > -4096 ? -e : 0;
			return e ? TL_E_UNSUPPORTED : TL_E_PROTO;
		}
		if (h.nlmsg_type == SOCK_DIAG_BY_FAMILY)
			rc = diag_take(body, out);
	}
	return rc;
}

/* ---- /proc/net/tcp ---- */

/* The next word, without the blanks around it. */
static struct tl_bytes next_word(struct tl_bytes *t)
{
	struct tl_bytes w;

	while (t->n && (*t->p == ' ' || *t->p == '\t' || *t->p == '\n'))
		*t = bytes_of(t->p + 1, t->n - 1);
	w = bytes_of(t->p, 0);
	while (t->n && *t->p != ' ' && *t->p != '\t' && *t->p != '\n') {
		*t = bytes_of(t->p + 1, t->n - 1);
		w.n++;
	}
	return w;
}

/* All of w as a number in base 10 or 16. */
static bool word_number(struct tl_bytes w, unsigned base, uint64_t max, uint64_t *ret)
{
	uint64_t v = 0;

	if (w.n == 0)
		return false;
	for (size_t i = 0; i < w.n; i++) {
		const char *digits = "0123456789abcdefABCDEF", *at = strchr(digits, w.p[i]);
		unsigned digit;
		if (!w.p[i] || !at)
			return false;
		digit = at - digits < 16 ? (unsigned)(at - digits) : (unsigned)(at - digits) - 6;
		if (digit >= base || v > (max - digit) / base)
			return false;
		v = v * base + digit;
	}
	*ret = v;
	return true;
}

/* "0100007F:1F90": words of 32 bits in this machine's order, as the kernel prints them. */
static bool word_address(struct tl_bytes w, int af, struct ports_socket *s)
{
	size_t words = af == AF_INET ? 1 : 4;
	uint32_t address[4] = {0};
	uint64_t v;

	if (w.n != words * 8 + 5 || w.p[words * 8] != ':')
		return false;
	for (size_t i = 0; i < words; i++) {
		if (!word_number(bytes_of(w.p + i * 8, 8), 16, UINT32_MAX, &v))
			return false;
		address[i] = (uint32_t)v;
	}
	if (!word_number(bytes_of(w.p + words * 8 + 1, 4), 16, UINT16_MAX, &v))
		return false;
	s->port = (uint16_t)v;
	socket_set_address(s, af, address);
	return true;
}

int proc_net_line(struct tl_bytes line, int af, struct ports_socket *ret)
{
	struct tl_bytes number = next_word(&line), w;
	uint64_t state, uid, inode;

	if (number.n < 2 || number.p[number.n - 1] != ':')
		return TL_E_PROTO;
	w = next_word(&line);
	if (!word_address(w, af, ret))
		return TL_E_PROTO;
	next_word(&line);
	if (!word_number(next_word(&line), 16, 255, &state))
		return TL_E_PROTO;
	/* queues, timer, retransmissions */
	for (int i = 0; i < 3; i++)
		next_word(&line);
	if (!word_number(next_word(&line), 10, UINT32_MAX, &uid))
		return TL_E_PROTO;
	next_word(&line);
	if (!word_number(next_word(&line), 10, UINT64_MAX, &inode))
		return TL_E_PROTO;
	ret->uid = (uint32_t)uid;
	ret->inode = inode;
	return state == TCP_LISTEN_STATE && inode != 0;
}

/* ---- /proc/PID ---- */

/* N of /dev/pts/N from a device number as stat prints it. */
static int tty_of(uint64_t dev)
{
	unsigned major = (unsigned)(dev >> 8) & 0xfff,
		 minor = (unsigned)((dev & 0xff) | ((dev >> 12) & 0xfff00));

	return major >= 136 && major <= 143 ? (int)((major - 136) << 20 | minor) : -1;
}

int proc_stat_parse(struct tl_bytes text, struct proc_stat *ret)
{
	const uint8_t *open = text.n ? memchr(text.p, '(', text.n) : NULL, *end = NULL;
	struct tl_bytes first, t;
	uint64_t v;

	memset(ret, 0, sizeof(*ret));
	/* the name may have anything in it, also blanks and parentheses */
	for (size_t i = text.n; open && i-- > (size_t)(open - text.p) + 1;) {
		if (text.p[i] == ')') {
			end = text.p + i;
			break;
		}
	}
	if (!end)
		return TL_E_PROTO;
	t = bytes_of(text.p, (size_t)(open - text.p));
	first = next_word(&t);
	if (!word_number(first, 10, INT32_MAX, &v) || v == 0)
		return TL_E_PROTO;
	ret->pid = (pid_t)v;
	memcpy(ret->comm, open + 1,
	       (size_t)(end - open) - 1 < PROC_COMM ? (size_t)(end - open) - 1 : PROC_COMM - 1);
	t = bytes_of(end + 1, text.n - (size_t)(end + 1 - text.p));
	first = next_word(&t);
	if (first.n != 1)
		return TL_E_PROTO;
	ret->state = (char)first.p[0];
	ret->tty = -1;
	for (int field = 4; field <= 22; field++) {
		struct tl_bytes w = next_word(&t);
		bool ok = word_number(w, 10, UINT64_MAX, &v);
		/* others may be negative, or what a later kernel makes of them */
		if ((field == 4 || field == 20 || field == 22) && !ok)
			return TL_E_PROTO;
		if (field == 4)
			ret->ppid = v <= INT32_MAX ? (pid_t)v : 0;
		else if (field == 7 && ok)
			ret->tty = tty_of(v);
		else if (field == 20)
			ret->threads = v <= UINT32_MAX ? (uint32_t)v : UINT32_MAX;
		else if (field == 22)
			ret->start = v;
	}
	return 0;
}

uint64_t proc_fd_inode(const char *link)
{
	static const char head[] = "socket:[";
	size_t n = strlen(link);
	uint64_t v;

	if (!str_starts(link, head) || link[n - 1] != ']' ||
	    !word_number(bytes_of(link + sizeof(head) - 1, n - sizeof(head)), 10, UINT64_MAX, &v))
		return 0;
	return v;
}

pid_t proc_next_pid(struct tl_bytes *text)
{
	uint64_t v;

	while (text->n) {
		struct tl_bytes w = next_word(text);
		if (word_number(w, 10, INT32_MAX, &v) && v)
			return (pid_t)v;
	}
	return 0;
}

/* ---- arguments ---- */

/* The next of the arguments, NUL-terminated in /proc unless a process wrote something else there.
 */
static bool next_argument(struct tl_bytes *t, struct tl_bytes *ret)
{
	const uint8_t *nul = t->n ? memchr(t->p, 0, t->n) : NULL;
	size_t n = nul ? (size_t)(nul - t->p) : t->n;

	if (t->n == 0)
		return false;
	*ret = bytes_of(t->p, n);
	*t = bytes_of(t->p + n, t->n - n);
	if (t->n)
		*t = bytes_of(t->p + 1, t->n - 1);
	return true;
}

static bool arg_is(struct tl_bytes a, const char *text)
{
	return a.n == strlen(text) && memcmp(a.p, text, a.n) == 0;
}

static struct tl_bytes base_name(struct tl_bytes a)
{
	for (size_t i = a.n; i-- > 0;)
		if (a.p[i] == '/')
			return bytes_of(a.p + i + 1, a.n - i - 1);
	return a;
}

static bool in_list(const char *word, const char *const *list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(word, list[i]) == 0)
			return true;
	return false;
}

#define IN(word, list) in_list(word, list, sizeof(list) / sizeof((list)[0]))

bool proc_is_idler(const char *comm, struct tl_bytes cmdline)
{
	static const char *const shells[] = {"sh",   "bash", "rbash", "dash", "ash", "zsh",
					     "fish", "ksh",  "ksh93", "mksh", "csh", "tcsh"};
	static const char *const waiters[] = {"sudo", "su", "doas", "newgrp", "sg"};
	/* options that take a file, of which a shell reads its start-up commands */
	static const char *const with_file[] = {"--init-file", "--rcfile"};
	struct tl_bytes a;

	if (IN(comm, waiters))
		return true;
	/* the first argument is the shell's name */
	if (!IN(comm, shells) || !next_argument(&cmdline, &a))
		return false;
	while (next_argument(&cmdline, &a)) {
		char text[32];
		snprintf(text, sizeof(text), "%.*s", (int)(a.n < 31 ? a.n : 31), a.p);
		if (text[0] != '-' && text[0] != '+')
			return false; /* a script */
		if (text[0] == '-' && text[1] != '-' && strchr(text, 'c'))
			return false; /* a command */
		if (IN(text, with_file) && !next_argument(&cmdline, &a))
			return false;
		if (str_starts(text, "--command"))
			return false;
	}
	return true;
}

bool proc_is_towline(struct tl_bytes cmdline, const char *face)
{
	struct tl_bytes a;

	if (!next_argument(&cmdline, &a))
		return false;
	a = base_name(a);
	if (!arg_is(a, "towline-host") && !arg_is(a, "towlined") && !arg_is(a, "towline"))
		return false;
	return !face || (next_argument(&cmdline, &a) && arg_is(a, face));
}

void proc_command(struct tl_bytes cmdline, char *out, size_t n)
{
	size_t to = 0;

	while (cmdline.n && cmdline.p[cmdline.n - 1] == 0)
		cmdline.n--;
	for (size_t i = 0; i < cmdline.n && to + 1 < n; i++)
		out[to++] = cmdline.p[i] < ' ' || cmdline.p[i] == 127 ? ' ' : (char)cmdline.p[i];
	/* not in the middle of a character */
	if (to + 1 == n) {
		while (to && ((uint8_t)out[to - 1] & 0xc0) == 0x80)
			to--;
		if (to && (uint8_t)out[to - 1] >= 0xc0)
			to--;
	}
	out[to] = 0;
}

void proc_name(const char *comm, struct tl_bytes cmdline, char *out, size_t n)
{
	struct tl_bytes a;

	str_copy(out, n, comm);
	if (strlen(comm) == PROC_COMM - 1 && next_argument(&cmdline, &a)) {
		a = base_name(a);
		if (a.n > PROC_COMM - 1 && memcmp(a.p, comm, PROC_COMM - 1) == 0)
			proc_command(a, out, n);
	}
	for (char *c = out; *c; c++)
		if ((uint8_t)*c < ' ' || *c == 127)
			*c = ' ';
}
