/* hold_front.c - see hold_front.h. */
#include "host/hold_front.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/log.h"
#include "loop/io.h"
#include "wire/json.h"

#define ANSWER_MS 5000

int hold_front_read(struct buf *text, const char *intent, struct tl_err *err)
{
	for (;;) {
		uint8_t *p = buf_reserve(text, 4096);
		if (!p)
			return err_set(err, TL_E_LIMIT, "%s: more than %d bytes", intent,
				       TL_LIMIT_RPC_MESSAGE);
		ssize_t n = read(0, p, 4096);
		if (n == 0)
			return 0;
		if (n > 0)
			buf_commit(text, (size_t)n);
		else if (errno != EINTR)
			return err_sys(err, errno, "%s: read its specification", intent);
	}
}

/* {"error":{"name":…,"message":…}}: the bare sentence, since the agent adds the next step. */
static int put_failure(struct buf *line, const struct tl_err *err)
{
	yyjson_mut_doc *d = yyjson_mut_doc_new(NULL);
	if (!d)
		return TL_E_NOMEM;
	yyjson_mut_val *root = yyjson_mut_obj(d);
	yyjson_mut_doc_set_root(d, root);
	yyjson_mut_val *e = yyjson_mut_obj_add_obj(d, root, "error");
	yyjson_mut_obj_add_str(d, e, "name", err_row(err->code)->name);
	json_add_path(d, e, "message", err->text);
	int rc = json_write(line, d);
	yyjson_mut_doc_free(d);
	return rc ? rc : buf_put_u8(line, '\n');
}

bool hold_front_answer(struct tl_bytes info, const struct tl_err *err)
{
	struct buf line;
	buf_init(&line, TL_LIMIT_SFTP_PACKET);
	int rc;
	if (err) {
		rc = put_failure(&line, err);
	} else {
		rc = buf_put_str(&line, "{\"ok\":");
		rc = rc ? rc : buf_put(&line, info.p, info.n);
		rc = rc ? rc : buf_put_str(&line, "}\n");
	}
	if (!rc)
		rc = fd_write_all(1, buf_data(&line).p, line.len, ANSWER_MS);
	buf_fini(&line);
	return rc == 0;
}

void hold_front_let_go(void)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (chdir("/") != 0)
		log_warn("cannot leave the folder of the agent");
	for (int fd = 0; null >= 0 && fd < 3; fd++)
		dup2(null, fd);
	if (null > 2)
		close(null);
}
