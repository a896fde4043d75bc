/* forward_answer.c - what the forwarding faces read and say. */
#include "host/forward_answer.h"

#include "base/limits.h"
#include "loop/io.h"
#include "loop/sock.h"

yyjson_doc *forward_request(struct tl_err *err)
{
	char line[TL_LIMIT_OPEN_LINE];
	size_t n = 0;

	while (n < sizeof(line)) {
		int rc = fd_read_all(0, line + n, 1);
		if (rc) {
			err_set(err, rc, "cannot open a connection: the request is cut off");
			return NULL;
		}
		if (line[n] == '\n')
			return json_parse(bytes_of(line, n), err);
		n++;
	}
	err_set(err, TL_E_LIMIT, "cannot open a connection: the request is too long");
	return NULL;
}

int forward_answer_put(int port, const struct tl_err *err)
{
	struct buf b;
	yyjson_mut_doc *doc = NULL;
	int rc;

	buf_init(&b, TL_LIMIT_OPEN_LINE);
	if (port) {
		doc = yyjson_mut_doc_new(NULL);
		yyjson_mut_doc_set_root(doc, yyjson_mut_obj(doc));
		yyjson_mut_obj_add_int(doc, yyjson_mut_doc_get_root(doc), "port", port);
	}
	rc = open_put_answer(&b, doc, err);
	if (rc == 0)
		rc = fd_write_all(1, buf_data(&b).p, b.len, 30000);
	yyjson_mut_doc_free(doc);
	buf_fini(&b);
	return rc;
}

void forward_hand_over(int fd, const struct tl_err *err)
{
	/* the agent that has gone wants neither */
	if (fd < 0)
		(void)forward_answer_put(0, err);
	else
		(void)send_fds(1, &fd, 1);
}
