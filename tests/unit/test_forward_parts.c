/* test_forward_parts.c - what forwards are made of: what a person writes (cmd/forward_word.h), what
 * ssh -G says (dial/ssh_forwards.h), HTTP for a lent proxy (hub/http_reader.h) and where it may go
 * (hub/hub_proxy.h). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "cmd/forward_word.h"
#include "dial/ssh_forwards.h"
#include "hub/http_reader.h"
#include "hub/hub_proxy.h"

/* ---- words ---- */

static void test_words(void **state)
{
	static const struct {
		const char *text, *listen_host;
		int listen_port;
		const char *listen_path, *host;
		int port;
		const char *path;
	} good[] = {
	    {"80", "", -1, "", "", 80, ""},
	    {"db:5432", "", -1, "", "db", 5432, ""},
	    {"8080:80", "", 8080, "", "", 80, ""},
	    {"0:80", "", 0, "", "", 80, ""},
	    {"9000:db:5432", "", 9000, "", "db", 5432, ""},
	    {"*:9000:db:5432", "*", 9000, "", "db", 5432, ""},
	    {"[::1]:9000:[fe80::1]:80", "::1", 9000, "", "fe80::1", 80, ""},
	    {"[fe80::1]:80", "", -1, "", "fe80::1", 80, ""},
	    {"/run/x.sock", "", -1, "", "", -1, "/run/x.sock"},
	    {"~/x.sock", "", -1, "", "", -1, "~/x.sock"},
	    {"9000:/run/x.sock", "", 9000, "", "", -1, "/run/x.sock"},
	    {"127.0.0.1:9000:/run/x.sock", "127.0.0.1", 9000, "", "", -1, "/run/x.sock"},
	    {"/tmp/y:/run/x.sock", "", -1, "/tmp/y", "", -1, "/run/x.sock"},
	    {"/tmp/y:5432", "", -1, "/tmp/y", "", 5432, ""},
	    {"/tmp/y:db:5432", "", -1, "/tmp/y", "db", 5432, ""},
	};
	static const char *const bad[] = {
	    "",         "0",         ":",       "80:",     ":80",    "db:",         "db:x",
	    "db:70000", "a:b:c:d:e", "x:db:80", "[::1:80", "[::1]x", "70000:db:80", "a:b:c:80",
	    "/",        "1:2:3:4:5", "-1"};
	struct forward_word w;
	struct tl_err err;

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		assert_int_equal(forward_word_parse(good[i].text, &w, &err), 0);
		assert_string_equal(w.listen.host, good[i].listen_host);
		assert_int_equal(w.listen.port, good[i].listen_port);
		assert_string_equal(w.listen.path, good[i].listen_path);
		assert_string_equal(w.target.host, good[i].host);
		assert_int_equal(w.target.port, good[i].port);
		assert_string_equal(w.target.path, good[i].path);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(forward_word_parse(bad[i], &w, &err), TL_E_INVAL);
		assert_non_null(strstr(err.text, "cannot forward"));
	}
}

/* ---- ssh -G ---- */

/* OpenSSH 9.2 says this for LocalForward lines to sockets: they come again as DynamicForward. */
static void test_ssh_config(void **state)
{
	static const char text[] = "user me\n"
				   "dynamicforward /tmp/s.sock\n"
				   "dynamicforward 8084\n"
				   "dynamicforward 1081\n"
				   "dynamicforward [*]:1082\n"
				   "localforward 8080 [localhost]:80\n"
				   "localforward [::1]:8082 [db.example]:82\n"
				   "localforward /tmp/s.sock /var/run/docker.sock\n"
				   "localforward 8084 /var/run/docker.sock\n"
				   "localforward nonsense\n"
				   "localforward 99999 [x]:1\n"
				   "remoteforward 9000 [localhost]:3000\n"
				   "remoteforward 1080 [socks]:0\n"
				   "gatewayports yes";
	struct ssh_forwards f;
	size_t kinds[3] = {0};

	(void)state;
	assert_int_equal(ssh_forwards_parse(bytes_str(text), &f), 0);
	for (size_t i = 0; i < f.n; i++)
		kinds[f.v[i].kind]++;
	assert_int_equal(kinds[SSH_FORWARD_LOCAL], 4);
	assert_int_equal(kinds[SSH_FORWARD_DYNAMIC], 2);
	assert_int_equal(kinds[SSH_FORWARD_REMOTE], 2);
	assert_true(f.gateway_ports);
	for (size_t i = 0; i < f.n; i++) {
		struct ssh_forward *x = &f.v[i];
		if (x->kind == SSH_FORWARD_LOCAL && x->listen.port == 8082) {
			assert_string_equal(x->listen.host, "::1");
			assert_string_equal(x->target.host, "db.example");
			assert_int_equal(x->target.port, 82);
		}
		if (x->kind == SSH_FORWARD_DYNAMIC && x->listen.port == 1082)
			assert_string_equal(x->listen.host, "*");
		if (x->kind == SSH_FORWARD_REMOTE)
			assert_int_equal(x->socks, x->listen.port == 1080);
	}
	ssh_forwards_fini(&f);
	assert_int_equal(ssh_forwards_parse(bytes_str("localforward 1 [a]:2\n"
						      "clearallforwardings yes\n"),
					    &f),
			 0);
	assert_int_equal(f.n, 0);
}

/* ---- HTTP ---- */

/* Feeds text in pieces of n bytes; the state at its end, or a negative error. *ret_used: bytes up
 * to the end of the message; *ret_head: of the head. */
static int feed(struct http_reader *r, const char *text, size_t len, size_t piece, size_t *ret_head,
		size_t *ret_used)
{
	size_t at = 0;
	struct tl_err err;

	*ret_head = 0;
	while (at < len && http_reader_state(r) != HTTP_COMPLETE) {
		size_t n = len - at < piece ? len - at : piece;
		long took = http_reader_feed(r, bytes_of(text + at, n), &err);
		if (took < 0)
			return (int)took;
		at += (size_t)took;
		if (http_reader_state(r) != HTTP_IN_HEAD && *ret_head == 0)
			*ret_head = at;
	}
	*ret_used = at;
	return (int)http_reader_state(r);
}

static void test_requests(void **state)
{
	static const char body[] = "POST http://Example.org:8080/a/b?c=d HTTP/1.1\r\n"
				   "Host: other\r\nConnection: x-one , close\r\nX-One: 1\r\n"
				   "X-Two: 2\r\nProxy-Authorization: Basic eA==\r\nX-Empty:\r\n"
				   "Connection: content-length, x-three\r\nX-Three: 3\r\n"
				   "Content-Length: 5\r\n\r\nhello"
				   "GET /smuggled HTTP/1.1\r\n\r\n";
	static const char want[] =
	    "POST /a/b?c=d HTTP/1.1\r\nHost: Example.org:8080\r\nX-Two: 2\r\n"
	    "X-Empty: \r\nContent-Length: 5\r\nConnection: close\r\n\r\n";
	size_t head, used, whole = strstr(body, "GET /") - body;
	struct http_place place;
	struct buf out;

	(void)state;
	for (size_t piece = 1; piece <= sizeof(body); piece++) {
		struct http_reader *r = http_reader_new(false);
		assert_int_equal(feed(r, body, strlen(body), piece, &head, &used), HTTP_COMPLETE);
		assert_int_equal(used, whole);
		assert_int_equal(head, whole - 5);
		assert_int_equal(http_place(r, &place, NULL), 0);
		assert_string_equal(place.host, "Example.org");
		assert_int_equal(place.port, 8080);
		assert_string_equal(http_header(r, "proxy-authorization"), "Basic eA==");
		buf_init(&out, 4096);
		assert_int_equal(http_put_request(r, &place, &out), 0);
		assert_string_equal(buf_cstr(&out), want);
		buf_fini(&out);
		http_reader_free(r);
	}
}

static void test_connect_and_nonsense(void **state)
{
	static const char *const bad[] = {
	    "GET http://x/ HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
	    "POST http://x/ HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
	    "\x16\x03\x01", "GET  HTTP/1.1\r\n\r\n", "GET / HTTP/1.1\r\nA b: c\r\n\r\n"};
	static const char *const nowhere[] = {
	    "GET / HTTP/1.1\r\n\r\n", "GET ftp://x/ HTTP/1.1\r\n\r\n",
	    "GET https://x/ HTTP/1.1\r\n\r\n", "OPTIONS * HTTP/1.1\r\n\r\n"};
	static const char text[] = "CONNECT [2001:db8::1]:443 HTTP/1.1\r\nHost: x\r\n\r\n\x16\x03";
	struct http_reader *r = http_reader_new(false);
	struct http_place place;
	size_t head, used;

	(void)state;
	assert_int_equal(feed(r, text, strlen(text), 7, &head, &used), HTTP_COMPLETE);
	assert_int_equal(used, strlen(text) - 2);
	assert_true(http_is_connect(r));
	assert_int_equal(http_place(r, &place, NULL), 0);
	assert_string_equal(place.host, "2001:db8::1");
	assert_int_equal(place.port, 443);
	http_reader_free(r);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		r = http_reader_new(false);
		assert_int_equal(feed(r, bad[i], strlen(bad[i]), 5, &head, &used), TL_E_PROTO);
		http_reader_free(r);
	}
	for (size_t i = 0; i < sizeof(nowhere) / sizeof(nowhere[0]); i++) {
		r = http_reader_new(false);
		assert_true(feed(r, nowhere[i], strlen(nowhere[i]), 64, &head, &used) >= 0);
		assert_int_equal(http_place(r, &place, NULL), TL_E_INVAL);
		http_reader_free(r);
	}
}

static void test_responses(void **state)
{
	static const char chunked[] = "HTTP/1.1 200 Fine\r\nTransfer-Encoding: chunked\r\n"
				      "Keep-Alive: 5\r\nConnection: keep-alive\r\n\r\n"
				      "3\r\nabc\r\n0\r\nX-Trailer: 1\r\n\r\n";
	static const char first[] = "HTTP/1.1 100 Continue\r\n\r\n";
	static const char until_end[] = "HTTP/1.0 200 OK\r\n\r\nbytes";
	size_t head, used;
	struct buf out;

	(void)state;
	for (size_t piece = 1; piece <= sizeof(chunked); piece++) {
		struct http_reader *r = http_reader_new(true);
		assert_int_equal(feed(r, first, strlen(first), piece, &head, &used), HTTP_COMPLETE);
		assert_int_equal(http_status(r), 100);
		http_reader_next(r);
		assert_int_equal(feed(r, chunked, strlen(chunked), piece, &head, &used),
				 HTTP_COMPLETE);
		assert_int_equal(used, strlen(chunked));
		buf_init(&out, 4096);
		assert_int_equal(http_put_response(r, &out), 0);
		assert_string_equal(buf_cstr(&out),
				    "HTTP/1.1 200 Fine\r\nTransfer-Encoding: chunked\r\n"
				    "Connection: close\r\n\r\n");
		buf_fini(&out);
		http_reader_free(r);
		r = http_reader_new(true);
		assert_int_equal(feed(r, until_end, strlen(until_end), piece, &head, &used),
				 HTTP_IN_BODY);
		assert_int_equal(http_reader_eof(r), 0);
		http_reader_free(r);
		r = http_reader_new(true);
		http_reader_no_body(r);
		assert_int_equal(feed(r, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", 38, piece,
				      &head, &used),
				 HTTP_COMPLETE);
		http_reader_free(r);
	}
}

/* ---- where to ---- */

static bool goes(yyjson_val *allow, const char *text)
{
	struct sockaddr_in v4 = {.sin_family = AF_INET};
	struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};

	if (inet_pton(AF_INET, text, &v4.sin_addr) == 1)
		return proxy_allows(allow, (struct sockaddr *)&v4);
	assert_int_equal(inet_pton(AF_INET6, text, &v6.sin6_addr), 1);
	return proxy_allows(allow, (struct sockaddr *)&v6);
}

static void test_only_the_internet(void **state)
{
	static const char *const yes[] = {"8.8.8.8",    "2606:4700::1111", "::ffff:8.8.8.8",
					  "172.32.0.1", "11.0.0.1",        "2002:808:808::1"};
	static const char *const no[] = {"127.0.0.1",
					 "127.255.0.1",
					 "0.0.0.0",
					 "10.1.2.3",
					 "172.16.0.1",
					 "172.31.9.9",
					 "192.168.1.1",
					 "169.254.169.254",
					 "100.64.0.1",
					 "224.0.0.1",
					 "255.255.255.255",
					 "::1",
					 "::",
					 "fe80::1",
					 "fd00::1",
					 "ff02::1",
					 "::ffff:127.0.0.1",
					 "::ffff:10.0.0.1",
					 "64:ff9b::7f00:1",
					 "2002:7f00:1::",
					 "2002:c0a8:101::1"};
	static const char setting[] =
	    "[\"10.1.0.0/16\",\"::1\",\"192.168.1.7\",\"x\",\"1.2.3.4/99\",5]";
	yyjson_doc *doc = yyjson_read(setting, strlen(setting), 0);
	yyjson_val *allow = yyjson_doc_get_root(doc);
	char text[128];

	(void)state;
	assert_non_null(doc);
	for (size_t i = 0; i < sizeof(yes) / sizeof(yes[0]); i++)
		assert_true(goes(NULL, yes[i]));
	for (size_t i = 0; i < sizeof(no) / sizeof(no[0]); i++)
		assert_false(goes(NULL, no[i]));
	assert_true(goes(allow, "10.1.255.1") && goes(allow, "::1") && goes(allow, "192.168.1.7"));
	assert_true(goes(allow, "::ffff:10.1.2.3"));
	assert_false(goes(allow, "10.2.0.1") || goes(allow, "192.168.1.8") ||
		     goes(allow, "127.0.0.1"));
	yyjson_doc_free(doc);
	proxy_credentials("x", text, sizeof(text));
	assert_string_equal(text, "Basic dG93bGluZTp4");
	proxy_credentials("ab", text, sizeof(text));
	assert_string_equal(text, "Basic dG93bGluZTphYg==");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_words),     cmocka_unit_test(test_ssh_config),
	    cmocka_unit_test(test_requests),  cmocka_unit_test(test_connect_and_nonsense),
	    cmocka_unit_test(test_responses), cmocka_unit_test(test_only_the_internet),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
