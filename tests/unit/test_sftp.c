/* test_sftp.c - the SFTP codec, and the client against a server that answers badly. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/socket.h>
#include <stdbool.h>
#include <unistd.h>

#include <cmocka.h>

#include "api/sftp_priv.h"
#include "base/err.h"
#include "base/limits.h"
#include "wire/sftp.h"

static void test_packets(void **state)
{
	uint8_t zero[4] = {0}, large[4], part[8] = {0, 0, 0, 5, 1, 0, 0, 0};
	struct tl_bytes packet;
	size_t used;
	(void)state;
	assert_int_equal(sftp_next(bytes_of("", 0), &packet, &used), 0);
	assert_int_equal(sftp_next(bytes_of(part, 3), &packet, &used), 0);
	assert_int_equal(sftp_next(bytes_of(part, 8), &packet, &used), 0);
	assert_int_equal(sftp_next(bytes_of(zero, 4), &packet, &used), TL_E_PROTO);
	set_u32(large, TL_LIMIT_SFTP_PACKET + 1);
	assert_int_equal(sftp_next(bytes_of(large, 4), &packet, &used), TL_E_LIMIT);
	set_u32(large, TL_LIMIT_SFTP_PACKET);
	assert_int_equal(sftp_next(bytes_of(large, 4), &packet, &used), 0);
	part[3] = 4;
	assert_int_equal(sftp_next(bytes_of(part, 8), &packet, &used), 1);
	assert_int_equal(packet.n, 4);
	assert_int_equal(used, 8);
}

static void test_reading_past_the_end(void **state)
{
	uint8_t bytes[] = {0, 0, 0, 3, 'a', 'b'};
	struct sftp_reader r = sftp_reader_of(bytes_of(bytes, sizeof(bytes)));
	char name[4];
	(void)state;
	assert_int_equal(sftp_get_string(&r).n, 0);
	assert_true(r.bad);
	assert_int_equal(sftp_get_u8(&r), 0);
	assert_int_equal(sftp_get_u64(&r), 0);
	assert_non_null(sftp_get_raw(&r, 24).p);
	bytes[3] = 2;
	r = sftp_reader_of(bytes_of(bytes, sizeof(bytes)));
	assert_true(sftp_get_cstr(&r, name, sizeof(name)));
	assert_string_equal(name, "ab");
	r = sftp_reader_of(bytes_of(bytes, sizeof(bytes)));
	assert_false(sftp_get_cstr(&r, name, 2)); /* no room for the end */
	assert_true(r.bad);
	bytes[5] = 0;
	r = sftp_reader_of(bytes_of(bytes, sizeof(bytes)));
	assert_false(sftp_get_cstr(&r, name, sizeof(name))); /* a NUL in it */
}

static void test_attributes(void **state)
{
	struct sftp_attrs a = {SFTP_ATTR_SIZE | SFTP_ATTR_UIDGID | SFTP_ATTR_MODE | SFTP_ATTR_TIMES,
			       1ull << 40,
			       1,
			       2,
			       0100644,
			       3,
			       4},
			  b;
	struct sftp_reader r;
	struct buf out;
	(void)state;
	buf_init(&out, 4096);
	assert_int_equal(sftp_put_attrs(&out, &a), 0);
	r = sftp_reader_of(buf_data(&out));
	sftp_get_attrs(&r, &b);
	assert_true(a.flags == b.flags && a.size == b.size && a.uid == b.uid && a.gid == b.gid &&
		    a.mode == b.mode && a.atime == b.atime && a.mtime == b.mtime);
	assert_int_equal(r.n, 0);
	/* extended pairs are skipped; a wild count ends with the packet */
	buf_clear(&out);
	buf_put_u32(&out, SFTP_ATTR_EXTENDED | SFTP_ATTR_MODE);
	buf_put_u32(&out, 0755);
	buf_put_u32(&out, 1);
	buf_put_string(&out, "name", 4);
	buf_put_string(&out, "value", 5);
	r = sftp_reader_of(buf_data(&out));
	sftp_get_attrs(&r, &b);
	assert_false(r.bad);
	assert_int_equal(b.flags, SFTP_ATTR_MODE);
	buf_clear(&out);
	buf_put_u32(&out, SFTP_ATTR_EXTENDED);
	buf_put_u32(&out, UINT32_MAX);
	r = sftp_reader_of(buf_data(&out));
	sftp_get_attrs(&r, &b);
	assert_true(r.bad);
	buf_fini(&out);
}

static void test_writing(void **state)
{
	struct tl_bytes packet;
	struct sftp_mark m;
	struct buf out;
	size_t used;
	(void)state;
	buf_init(&out, 64);
	assert_int_equal(sftp_put_status(&out, 7, SFTP_NO_SUCH_FILE, "gone"), 0);
	assert_int_equal(sftp_next(buf_data(&out), &packet, &used), 1);
	assert_int_equal(used, out.len);
	assert_int_equal(packet.p[0], SFTP_STATUS);
	assert_int_equal(get_u32(packet.p + 1), 7);
	/* what does not fit is taken back whole */
	used = out.len;
	m = sftp_begin(&out, SFTP_NAME, 8);
	assert_int_equal(m.rc, 0);
	assert_int_equal(
	    sftp_end(&out, m, buf_put_string(&out, "0123456789012345678901234567890123456789", 40)),
	    TL_E_LIMIT);
	assert_int_equal(out.len, used);
	buf_fini(&out);
}

/* ------------------------------------------------ the client */

struct peer {
	int fd;
	struct sftp_client *c;
	struct tl_err err;
};

/* The server says what is in `answer`, which is emptied. */
static void say(struct peer *p, struct buf *answer)
{
	struct tl_bytes b = buf_data(answer);
	assert_int_equal(write(p->fd, b.p, b.n), (ssize_t)b.n);
	buf_clear(answer);
}

/* A client whose server has said `hello`; and is gone then. */
static int client_with(struct peer *p, struct buf *hello, bool gone)
{
	int v[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, v), 0);
	p->fd = v[1];
	p->c = NULL;
	say(p, hello);
	if (gone)
		shutdown(v[1], SHUT_WR);
	return sftp_client_open(&p->c, v[0], -1, &p->err);
}

static void peer_fini(struct peer *p)
{
	sftp_client_free(p->c);
	close(p->fd);
}

static void put_hello(struct buf *out, const char *extension)
{
	sftp_put_hello(out, SFTP_VERSION_REPLY, 3);
	buf_put_string(out, extension, strlen(extension));
	buf_put_string(out, "1", 1);
	set_u32(out->p + out->off, (uint32_t)out->len - 4);
}

static void test_client_takes_any_server_of_version_3(void **state)
{
	struct buf out;
	struct peer p;
	(void)state;
	buf_init(&out, 4096);
	put_hello(&out, "posix-rename@openssh.com");
	assert_int_equal(client_with(&p, &out, false), 0);
	assert_non_null(sftp_client_plain(p.c));
	peer_fini(&p);
	buf_clear(&out);
	buf_put_str(&out, "Welcome to this host, which prints before it serves\n");
	assert_int_equal(client_with(&p, &out, false), TL_E_PROTO);
	peer_fini(&p);
	buf_clear(&out);
	assert_int_equal(client_with(&p, &out, true), TL_E_CLOSED);
	peer_fini(&p);
	buf_fini(&out);
}

static void test_client_keeps_the_words_of_a_failure(void **state)
{
	struct sftp_stat st;
	struct buf out;
	struct peer p;
	(void)state;
	buf_init(&out, 4096);
	put_hello(&out, SFTP_EXT_LIST);
	assert_int_equal(client_with(&p, &out, false), 0);
	sftp_put_status(&out, 1, SFTP_FAILURE, "no_space: cannot do it: disk full");
	say(&p, &out);
	assert_int_equal(sftp_client_stat(p.c, "x", &st, &p.err), TL_E_NOSPACE);
	assert_string_equal(p.err.text, "cannot do it: disk full");
	sftp_put_status(&out, 2, SFTP_NO_SUCH_FILE, "No such file");
	say(&p, &out);
	assert_int_equal(sftp_client_remove(p.c, "x", &p.err), TL_E_NOENT);
	sftp_put_status(&out, 3, SFTP_OK, "");
	say(&p, &out);
	/* success without the answer */
	assert_int_equal(sftp_client_stat(p.c, "x", &st, &p.err), TL_E_PROTO);
	/* and it stays broken */
	assert_int_equal(sftp_client_remove(p.c, "x", &p.err), TL_E_PROTO);
	peer_fini(&p);
	buf_fini(&out);
}

static int count_entry(void *ctx, const struct sftp_entry_info *e, struct tl_err *err)
{
	(void)e;
	(void)err;
	++*(int *)ctx;
	return 0;
}

static void put_list(struct buf *out, uint32_t id, const char *name)
{
	struct sftp_mark m = sftp_begin(out, SFTP_EXTENDED_REPLY, id);
	buf_put_u8(out, 0);
	buf_put_u32(out, 1);
	buf_put_string(out, name, strlen(name));
	buf_put_u8(out, SFTP_ENTRY_FILE);
	buf_put_u64(out, 1);
	buf_put_u64(out, 2);
	buf_put_u32(out, 0644);
	sftp_end(out, m, 0);
}

static void test_client_does_not_believe_names(void **state)
{
	static const char *const names[] = {"../x", "/etc/passwd", ".", "..", "", "a/b"};
	struct buf out;
	struct peer p;
	int n = 0;
	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		buf_init(&out, 4096);
		put_hello(&out, SFTP_EXT_LIST);
		assert_int_equal(client_with(&p, &out, false), 0);
		put_list(&out, 1, "good");
		say(&p, &out);
		assert_int_equal(sftp_client_list(p.c, "x", 0, count_entry, &n, &p.err), 0);
		put_list(&out, 2, names[i]);
		say(&p, &out);
		assert_int_equal(sftp_client_list(p.c, "x", 0, count_entry, &n, &p.err),
				 TL_E_PROTO);
		assert_int_equal(n, (int)i + 1);
		peer_fini(&p);
		buf_fini(&out);
	}
}

static void done(void *ctx, int rc, const struct tl_err *err)
{
	assert_int_equal(rc, err->code);
	assert_int_equal(rc, TL_E_CLOSED);
	++*(int *)ctx;
}

static void test_client_tells_everyone_when_the_host_goes(void **state)
{
	struct sftp_save s = {.path = "f", .flags = SFTP_SAVE_CREATE, .total = 3000000};
	static uint8_t piece[SFTP_CLIENT_PIECE];
	struct buf out;
	struct peer p;
	int told = 0, rc = 0, begun = 0;
	(void)state;
	buf_init(&out, 4096);
	put_hello(&out, SFTP_EXT_LIST);
	assert_int_equal(client_with(&p, &out, true), 0);
	for (uint64_t off = 0; off < 20; off++, begun++)
		rc = sftp_client_begin_piece(p.c, &s, off * sizeof(piece),
					     bytes_of(piece, sizeof(piece)), done, &told, &p.err);
	if (!rc)
		rc = sftp_client_drain(p.c, 0, &p.err);
	assert_int_equal(rc, TL_E_CLOSED);
	assert_int_equal(told, begun);
	peer_fini(&p);
	assert_int_equal(told, begun);
	buf_fini(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_packets),
	    cmocka_unit_test(test_reading_past_the_end),
	    cmocka_unit_test(test_attributes),
	    cmocka_unit_test(test_writing),
	    cmocka_unit_test(test_client_takes_any_server_of_version_3),
	    cmocka_unit_test(test_client_keeps_the_words_of_a_failure),
	    cmocka_unit_test(test_client_does_not_believe_names),
	    cmocka_unit_test(test_client_tells_everyone_when_the_host_goes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
