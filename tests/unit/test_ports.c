/* test_ports.c - what the kernel says about sockets and processes, also when it says something odd.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include <errno.h>

#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>

#include "base/err.h"
#include "base/limits.h"
#include "host/agent_url.h"
#include "host/ports_parse.h"

/* ---- netlink ---- */

struct answer {
	uint8_t bytes[4096] __attribute__((aligned(4)));
	size_t n;
};

static void put(struct answer *a, uint16_t type, uint32_t seq, const void *body, size_t n)
{
	struct nlmsghdr h = {
	    .nlmsg_len = (uint32_t)(sizeof(h) + n), .nlmsg_type = type, .nlmsg_seq = seq};
	memcpy(a->bytes + a->n, &h, sizeof(h));
	memcpy(a->bytes + a->n + sizeof(h), body, n);
	a->n += NLMSG_ALIGN(sizeof(h) + n);
}

static void put_socket(struct answer *a, uint32_t seq, int af, const void *address, uint16_t port,
		       uint32_t inode)
{
	struct inet_diag_msg m = {.idiag_family = (uint8_t)af,
				  .idiag_state = 10,
				  .idiag_uid = 1000,
				  .idiag_inode = inode};
	uint8_t body[sizeof(m) + 8] = {0}; /* attributes follow */
	m.id.idiag_sport = htons(port);
	memcpy(m.id.idiag_src, address, af == AF_INET ? 4 : 16);
	memcpy(body, &m, sizeof(m));
	put(a, SOCK_DIAG_BY_FAMILY, seq, body, sizeof(body));
}

static int parse(struct answer *a, struct ports_sockets *t, int *why)
{
	return diag_parse(bytes_of(a->bytes, a->n), 7, t, why);
}

static void test_diag_answer(void **state)
{
	static const uint8_t v4[4] = {127, 0, 0, 1}, v6[16] = {[15] = 1},
			     mapped[16] = {[10] = 0xff, 0xff, 10, 0, 0, 9};
	struct answer a = {.n = 0};
	struct ports_sockets t = {0};
	int32_t done = 0;
	int why = 0;

	(void)state;
	put_socket(&a, 7, AF_INET, v4, 8080, 30);
	put_socket(&a, 6, AF_INET, v4, 1, 99); /* of an older question */
	put_socket(&a, 7, AF_INET6, v6, 65535, 20);
	put_socket(&a, 7, AF_INET6, mapped, 443, 10);
	put_socket(&a, 7, AF_INET, v4, 8080, 30); /* once more */
	put_socket(&a, 7, AF_INET, v4, 2, 0);     /* without inode: being closed */
	assert_int_equal(parse(&a, &t, &why), 0);
	put(&a, NLMSG_DONE, 7, &done, sizeof(done));
	t.n = 0;
	assert_int_equal(parse(&a, &t, &why), 1);
	sockets_sort(&t);
	assert_int_equal(t.n, 3);
	assert_int_equal(t.v[0].family, 4);
	assert_memory_equal(t.v[0].address, mapped + 12, 4);
	assert_int_equal(t.v[1].family, 6);
	assert_int_equal(t.v[1].port, 65535);
	assert_int_equal(t.v[2].port, 8080);
	assert_int_equal(t.v[2].uid, 1000);
	sockets_fini(&t);
}

static void test_diag_errors(void **state)
{
	struct answer a = {.n = 0};
	struct ports_sockets t = {0};
	int32_t e = -ENOENT;
	int why = 0;

	(void)state;
	put(&a, NLMSG_ERROR, 7, &e, sizeof(e));
	assert_int_equal(parse(&a, &t, &why), TL_E_UNSUPPORTED);
	assert_int_equal(why, ENOENT);
	a.n = 0;
	put(&a, NLMSG_ERROR, 7, &e, 0);
	assert_int_equal(parse(&a, &t, &why), TL_E_PROTO);
	a.n = 0;
	put(&a, SOCK_DIAG_BY_FAMILY, 7, &e, sizeof(e)); /* too short */
	assert_int_equal(parse(&a, &t, &why), TL_E_PROTO);
	a.n = 0;
	put(&a, NLMSG_NOOP, 7, &e, sizeof(e));
	((struct nlmsghdr *)a.bytes)->nlmsg_len = 4;
	assert_int_equal(parse(&a, &t, &why), TL_E_PROTO);
	((struct nlmsghdr *)a.bytes)->nlmsg_len = 4000;
	assert_int_equal(parse(&a, &t, &why), TL_E_PROTO);
	sockets_fini(&t);
}

static void test_request_is_for_listeners_only(void **state)
{
	uint8_t r[DIAG_REQUEST];
	struct inet_diag_req_v2 q;

	(void)state;
	diag_request(r, AF_INET6, 3);
	memcpy(&q, r + sizeof(struct nlmsghdr), sizeof(q));
	assert_int_equal(q.idiag_states, 1 << 10);
	assert_int_equal(q.sdiag_family, AF_INET6);
}

static void test_a_full_table_says_so(void **state)
{
	struct ports_sockets t = {0};
	struct ports_socket s = {.inode = 1};

	(void)state;
	for (int i = 0; i < TL_LIMIT_PORTS_SEEN + 5; i++)
		assert_int_equal(sockets_add(&t, &s), 0);
	assert_int_equal(t.n, TL_LIMIT_PORTS_SEEN);
	assert_true(t.full);
	sockets_fini(&t);
}

/* ---- /proc ---- */

static void test_proc_net_lines(void **state)
{
	static const struct {
		const char *line;
		int af, rc, port;
		uint64_t inode;
	} rows[] = {
	    {"   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000    "
	     " "
	     "   0 123456 1 0000000000000000 100 0 0 10 0\n",
	     AF_INET, 1, 8080, 123456},
	    {"  12: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0    "
	     " "
	     "   0 7 1 x",
	     AF_INET, 1, 22, 7},
	    {"   1: 0100007F:1F90 0100007F:D431 01 00000000:00000000 00:00000000 00000000  1000    "
	     " "
	     "   0 9 1 x",
	     AF_INET, 0, 8080, 9},
	    {"   0: 00000000000000000000000001000000:1F91 "
	     "00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     "
	     "0 "
	     "       0 88 1 x",
	     AF_INET6, 1, 8081, 88},
	    {"  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  "
	     "timeout inode",
	     AF_INET, TL_E_PROTO, 0, 0},
	    {"   0: 0100007F:1F90", AF_INET, TL_E_PROTO, 0, 0},
	    {"   0: 0100007G:1F90 00000000:0000 0A 0:0 0:0 0 1000 0 1", AF_INET, TL_E_PROTO, 0, 0},
	    {"   0: 0100007F1F90: 00000000:0000 0A 0:0 0:0 0 1000 0 1", AF_INET, TL_E_PROTO, 0, 0},
	    {"   0: 0100007F:1F90 0:0 0A 0:0 0:0 0 99999999999 0 1", AF_INET, TL_E_PROTO, 0, 0},
	    {"", AF_INET, TL_E_PROTO, 0, 0},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct ports_socket s;
		assert_int_equal(proc_net_line(bytes_str(rows[i].line), rows[i].af, &s),
				 rows[i].rc);
		if (rows[i].rc < 0)
			continue;
		assert_int_equal(s.port, rows[i].port);
		assert_int_equal(s.inode, rows[i].inode);
	}
}

static void test_stat_of_a_process_with_any_name(void **state)
{
	static const char rest[] = " S 10 11 12 34817 13 4194304 1 2 3 4 5 6 7 8 20 0 9 0 4711 1 2";
	static const char *const names[] = {"bash", "a b", ") S 1 (", "x\n)", "", "\xff\xfe"};
	char text[256];
	struct proc_stat st;

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		snprintf(text, sizeof(text), "42 (%s)%s", names[i], rest);
		assert_int_equal(proc_stat_parse(bytes_str(text), &st), 0);
		assert_int_equal(st.pid, 42);
		assert_int_equal(st.ppid, 10);
		assert_int_equal(st.threads, 9);
		assert_int_equal(st.start, 4711);
		assert_int_equal(st.tty, 1);
		assert_string_equal(st.comm, names[i]);
	}
	/* no terminal; a serial line; a terminal with a large number */
	snprintf(text, sizeof(text), "42 (x) S 10 11 12 0 -1 0 1 2 3 4 5 6 7 8 20 0 1 0 1");
	assert_int_equal(proc_stat_parse(bytes_str(text), &st), 0);
	assert_int_equal(st.tty, -1);
	snprintf(text, sizeof(text), "42 (x) S 10 11 12 1088 -1 0 1 2 3 4 5 6 7 8 20 0 1 0 1");
	assert_int_equal(proc_stat_parse(bytes_str(text), &st), 0);
	assert_int_equal(st.tty, -1);
	snprintf(text, sizeof(text), "42 (x) S 10 11 12 %u -1 0 1 2 3 4 5 6 7 8 20 0 1 0 1",
		 136 << 8 | (300 & 0xff) | (300 & 0xfff00) << 12);
	assert_int_equal(proc_stat_parse(bytes_str(text), &st), 0);
	assert_int_equal(st.tty, 300);
	for (const char *bad[] = {"", "42", "42 (x", "42 (x)", "(x) S", "0 (x) S 1", "42 x) S 1 1"},
			**b = bad;
	     b < bad + sizeof(bad) / sizeof(bad[0]); b++)
		assert_int_equal(proc_stat_parse(bytes_str(*b), &st), TL_E_PROTO);
}

static void test_small_things(void **state)
{
	struct tl_bytes t = bytes_str("12 7  x 99999999999 5 ");

	(void)state;
	assert_int_equal(proc_fd_inode("socket:[123]"), 123);
	assert_int_equal(proc_fd_inode("socket:[]"), 0);
	assert_int_equal(proc_fd_inode("socket:[12"), 0);
	assert_int_equal(proc_fd_inode("socket:["), 0);
	assert_int_equal(proc_fd_inode("socket:[1a]"), 0);
	assert_int_equal(proc_fd_inode("/tmp/socket:[1]"), 0);
	assert_int_equal(proc_fd_inode(""), 0);
	assert_int_equal(proc_next_pid(&t), 12);
	assert_int_equal(proc_next_pid(&t), 7);
	assert_int_equal(proc_next_pid(&t), 5);
	assert_int_equal(proc_next_pid(&t), 0);
}

/* ---- arguments ---- */

#define ARGS(text) bytes_of(text, sizeof(text))

static void test_who_waits_for_a_terminal(void **state)
{
	static const struct {
		const char *comm;
		struct tl_bytes args;
		bool idler;
	} rows[] = {
	    {"bash", {(const uint8_t *)"-bash", 6}, true},
	    {"bash", {(const uint8_t *)"bash\0-l\0-i", 11}, true},
	    {"bash", {(const uint8_t *)"bash\0--init-file\0/x/y", 22}, true},
	    {"bash", {(const uint8_t *)"bash\0--rcfile\0/x\0script", 24}, false},
	    {"bash", {(const uint8_t *)"bash\0--init-file", 17}, false},
	    {"bash", {(const uint8_t *)"bash\0-c\0read", 13}, false},
	    {"bash", {(const uint8_t *)"bash\0-lic\0read", 15}, false},
	    {"bash", {(const uint8_t *)"bash\0script.sh", 15}, false},
	    {"fish", {(const uint8_t *)"fish\0--command=x", 17}, false},
	    {"zsh", {(const uint8_t *)"zsh\0+m", 7}, true},
	    {"python3", {(const uint8_t *)"python3", 8}, false},
	    {"sudo", {(const uint8_t *)"sudo\0-i", 8}, true},
	    {"bash", {(const uint8_t *)"", 0}, false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_int_equal(proc_is_idler(rows[i].comm, rows[i].args), rows[i].idler);
}

static void test_names_and_commands(void **state)
{
	char out[32];

	(void)state;
	assert_true(proc_is_towline(ARGS("/x/towline-host\0tcpip-forward"), "tcpip-forward"));
	assert_false(proc_is_towline(ARGS("/x/towline-host\0hold"), "tcpip-forward"));
	assert_true(proc_is_towline(ARGS("towlined"), NULL));
	assert_false(proc_is_towline(ARGS("vi\0towlined"), NULL));
	proc_command(ARGS("node\0server.js\0--x=\033[2J\n"), out, sizeof(out));
	assert_string_equal(out, "node server.js --x= [2J ");
	proc_command(ARGS("0123456789012345678901234567890123456789"), out, sizeof(out));
	assert_string_equal(out, "0123456789012345678901234567890");
	proc_command(ARGS("012345678901234567890123456789\xc3\xa4"), out, sizeof(out));
	assert_string_equal(out, "012345678901234567890123456789");
	proc_command(bytes_of("", 0), out, sizeof(out));
	assert_string_equal(out, "");
	proc_name("postgres", ARGS("postgres: writer"), out, sizeof(out));
	assert_string_equal(out, "postgres");
	proc_name("a-long-name-of-", ARGS("/bin/a-long-name-of-a-program\0x"), out, sizeof(out));
	assert_string_equal(out, "a-long-name-of-a-program");
	proc_name("a-long-name-of-", ARGS("other"), out, sizeof(out));
	assert_string_equal(out, "a-long-name-of-");
}

static void test_what_is_a_page(void **state)
{
	static const char *const
	    good[] = {"http://localhost:8888/?token=1", "HTTPS://x", "http://[::1]:80/",
		      "http://\xc3\xa4.example/"},
	    *const bad[] = {
		"",           "http://",     "http:///x",           "https://?x", "http://:80",
		"http://@",   "ftp://x",     "file:///x",           "http://a b", "http://a\n",
		"http://a\"", "http://\xff", "javascript:alert(1)", " http://x"};

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		assert_true(url_is_page(good[i]));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(url_is_page(bad[i]));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_diag_answer),
	    cmocka_unit_test(test_diag_errors),
	    cmocka_unit_test(test_request_is_for_listeners_only),
	    cmocka_unit_test(test_a_full_table_says_so),
	    cmocka_unit_test(test_proc_net_lines),
	    cmocka_unit_test(test_stat_of_a_process_with_any_name),
	    cmocka_unit_test(test_small_things),
	    cmocka_unit_test(test_who_waits_for_a_terminal),
	    cmocka_unit_test(test_names_and_commands),
	    cmocka_unit_test(test_what_is_a_page),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
