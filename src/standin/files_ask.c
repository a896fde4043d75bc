/* files_ask.c - requests to the host's SFTP server, from many threads (see files.h). A slot of the
 * table is a request's id; it is free again when its answer was taken or nobody wants it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "loop/io.h"
#include "standin/files.h"

#define WRITE_MS (24 * 3600 * 1000)

/* ---- one request ---- */

/* TL_E_CLOSED: the server has gone. */
static int slot_take(struct files *f, int state, uint32_t client_id, uint32_t *ret)
{
	int rc = TL_E_CLOSED;

	pthread_mutex_lock(&f->lock);
	while (!f->lost) {
		uint32_t i = 0;
		while (i < FILES_WAITS && f->wait[i].state != WAIT_FREE)
			i++;
		if (i < FILES_WAITS) {
			f->wait[i] = (struct files_wait){.client_id = client_id};
			f->wait[i].state = state == WAIT_PASS ? WAIT_PASS : WAIT_TASK;
			*ret = i;
			rc = 0;
			break;
		}
		pthread_cond_wait(&f->changed, &f->lock);
	}
	pthread_mutex_unlock(&f->lock);
	return rc;
}

static void send_packet(struct files *f, const struct buf *b)
{
	pthread_mutex_lock(&f->to_server);
	if (fd_write_all(f->server, buf_data(b).p, b->len, WRITE_MS) != 0) {
		pthread_mutex_lock(&f->lock);
		f->lost = true;
		pthread_cond_broadcast(&f->changed);
		pthread_mutex_unlock(&f->lock);
	}
	pthread_mutex_unlock(&f->to_server);
}

void files_ask(struct files *f, struct files_req *q, uint8_t type, const char *extension)
{
	*q = (struct files_req){.f = f, .id = UINT32_MAX};
	buf_init(&q->out, TL_LIMIT_SFTP_PACKET + SFTP_PACKET_EXTRA);
	q->rc = slot_take(f, WAIT_TASK, 0, &q->id);
	if (q->rc)
		return;
	q->m = sftp_begin(&q->out, type, q->id);
	q->rc = q->m.rc;
	if (extension)
		files_put_str(q, extension);
}

void files_put_bytes(struct files_req *q, const void *p, size_t n)
{
	if (!q->rc)
		q->rc = buf_put_string(&q->out, p, n);
}

void files_put_str(struct files_req *q, const char *s)
{
	files_put_bytes(q, s, strlen(s));
}

void files_put_u32(struct files_req *q, uint32_t v)
{
	if (!q->rc)
		q->rc = buf_put_u32(&q->out, v);
}

void files_put_u64(struct files_req *q, uint64_t v)
{
	if (!q->rc)
		q->rc = buf_put_u64(&q->out, v);
}

void files_put_attrs(struct files_req *q, const struct sftp_attrs *a)
{
	if (!q->rc)
		q->rc = sftp_put_attrs(&q->out, a);
}

static void slot_free(struct files *f, uint32_t id)
{
	pthread_mutex_lock(&f->lock);
	free(f->wait[id].p);
	f->wait[id] = (struct files_wait){.state = WAIT_FREE};
	pthread_cond_broadcast(&f->changed);
	pthread_mutex_unlock(&f->lock);
}

void files_post(struct files_req *q)
{
	if (q->id != UINT32_MAX) {
		q->rc = sftp_end(&q->out, q->m, q->rc);
		if (q->rc == 0)
			send_packet(q->f, &q->out);
		else
			slot_free(q->f, q->id);
	}
	buf_fini(&q->out);
}

void files_reply_free(struct files_reply *r)
{
	free(r->p);
	r->p = NULL;
}

/* The server's words for a failure, or only a number. */
static int status_error(uint32_t code, struct tl_bytes text, struct tl_err *err)
{
	static const int codes[] = {[SFTP_EOF] = TL_E_CLOSED,
				    [SFTP_NO_SUCH_FILE] = TL_E_NOENT,
				    [SFTP_PERMISSION_DENIED] = TL_E_ACCES,
				    [SFTP_FAILURE] = TL_E_IO,
				    [SFTP_BAD_MESSAGE] = TL_E_INVAL,
				    [SFTP_NO_CONNECTION] = TL_E_CLOSED,
				    [SFTP_CONNECTION_LOST] = TL_E_CLOSED,
				    [SFTP_OP_UNSUPPORTED] = TL_E_UNSUPPORTED};
	int rc = code < sizeof(codes) / sizeof(codes[0]) ? codes[code] : TL_E_IO;

	if (code == SFTP_EOF)
		return err_set(err, rc, "end");
	/* OpenSSH's are as terse as the table's, and in the host's words only by chance */
	if (rc != TL_E_IO || text.n == 0)
		return err_set(err, rc, "%s", err_row(rc)->what);
	return err_set(err, rc, "the host's SFTP server says only “%.*s”", (int)text.n,
		       (const char *)text.p);
}

int files_answer(struct files_req *q, uint8_t want, struct files_reply *ret, struct tl_err *err)
{
	struct files *f = q->f;
	struct files_wait *w;
	int rc = 0;

	*ret = (struct files_reply){.p = NULL};
	if (q->rc)
		return err_set(err, q->rc, "%s", err_row(q->rc)->what);
	w = &f->wait[q->id];
	pthread_mutex_lock(&f->lock);
	while (w->state != WAIT_ANSWERED && !f->lost)
		pthread_cond_wait(&f->changed, &f->lock);
	if (w->state == WAIT_ANSWERED) {
		ret->p = w->p;
		ret->in = sftp_reader_of(bytes_of(w->p, w->n));
	}
	*w = (struct files_wait){.state = WAIT_FREE};
	pthread_cond_broadcast(&f->changed);
	pthread_mutex_unlock(&f->lock);
	if (!ret->p)
		return err_set(err, TL_E_CLOSED, "the connection was lost");
	ret->type = sftp_get_u8(&ret->in);
	if (ret->type == SFTP_STATUS) {
		uint32_t code = sftp_get_u32(&ret->in);
		if (code != SFTP_OK)
			rc = status_error(code, sftp_get_string(&ret->in), err);
		else if (want != SFTP_STATUS)
			rc = err_set(err, TL_E_PROTO, "the host's answer makes no sense");
	} else if (ret->type != want) {
		rc = err_set(err, TL_E_PROTO, "the host's answer makes no sense");
	}
	if (rc)
		files_reply_free(ret);
	return rc;
}

void files_forget(struct files_req *q)
{
	struct files_wait *w;

	if (q->rc)
		return;
	pthread_mutex_lock(&q->f->lock);
	w = &q->f->wait[q->id];
	if (w->state == WAIT_ANSWERED) {
		free(w->p);
		*w = (struct files_wait){.state = WAIT_FREE};
		pthread_cond_broadcast(&q->f->changed);
	} else {
		w->state = WAIT_NOBODY;
	}
	pthread_mutex_unlock(&q->f->lock);
}

int files_done(struct files_req *q, struct tl_err *err)
{
	struct files_reply r;
	int rc = files_answer(q, SFTP_STATUS, &r, err);

	files_reply_free(&r);
	return rc;
}

int files_pass(struct files *f, uint8_t type, uint32_t client_id, struct tl_bytes rest)
{
	struct sftp_mark m;
	struct buf b;
	uint32_t id;
	int rc = slot_take(f, WAIT_PASS, client_id, &id);

	if (rc)
		return rc;
	buf_init(&b, TL_LIMIT_SFTP_PACKET + SFTP_PACKET_EXTRA);
	m = sftp_begin(&b, type, id);
	rc = sftp_end(&b, m, m.rc ? m.rc : buf_put(&b, rest.p, rest.n));
	if (rc == 0)
		send_packet(f, &b);
	else
		slot_free(f, id);
	buf_fini(&b);
	return rc;
}

/* ---- small requests ---- */

int files_attrs(struct files *f, const char *path, bool follow, struct sftp_attrs *ret,
		struct tl_err *err)
{
	struct files_reply r;
	struct files_req q;
	int rc;

	memset(ret, 0, sizeof(*ret));
	files_ask(f, &q, follow ? SFTP_STAT : SFTP_LSTAT, NULL);
	files_put_str(&q, path);
	files_post(&q);
	rc = files_answer(&q, SFTP_ATTRS, &r, err);
	if (rc == 0)
		sftp_get_attrs(&r.in, ret);
	/* a server that tells no type has files only, but for what it lists as folders */
	if (rc == 0 && !(ret->mode & 0170000))
		ret->mode |= FILES_FILE;
	files_reply_free(&r);
	return rc;
}

int files_real(struct files *f, const char *path, char out[FILES_PATH], struct tl_err *err)
{
	struct files_reply r;
	struct files_req q;
	int rc;

	files_ask(f, &q, SFTP_REALPATH, NULL);
	files_put_str(&q, path);
	files_post(&q);
	rc = files_answer(&q, SFTP_NAME, &r, err);
	if (rc == 0) {
		sftp_get_u32(&r.in);
		if (!sftp_get_cstr(&r.in, out, FILES_PATH))
			rc = err_set(err, TL_E_PROTO, "the host's answer makes no sense");
	}
	files_reply_free(&r);
	return rc;
}

int files_open(struct files *f, const char *path, uint32_t flags, uint32_t mode,
	       struct files_handle *ret, struct tl_err *err)
{
	struct sftp_attrs a = {.flags = mode ? SFTP_ATTR_MODE : 0, .mode = mode};
	struct files_reply r;
	struct files_req q;
	int rc;

	files_ask(f, &q, flags ? SFTP_OPEN : SFTP_OPENDIR, NULL);
	files_put_str(&q, path);
	if (flags) {
		files_put_u32(&q, flags);
		files_put_attrs(&q, &a);
	}
	files_post(&q);
	rc = files_answer(&q, SFTP_HANDLE, &r, err);
	if (rc == 0) {
		struct tl_bytes b = sftp_get_string(&r.in);
		if (r.in.bad || b.n > sizeof(ret->p))
			rc = err_set(err, TL_E_PROTO, "the host's answer makes no sense");
		else
			memcpy(ret->p, b.p, b.n);
		ret->n = b.n;
	}
	files_reply_free(&r);
	return rc;
}

int files_close(struct files *f, const struct files_handle *h, bool wait, struct tl_err *err)
{
	struct files_req q;

	files_ask(f, &q, SFTP_CLOSE, NULL);
	files_put_bytes(&q, h->p, h->n);
	files_post(&q);
	if (wait)
		return files_done(&q, err);
	files_forget(&q);
	return 0;
}

int files_path_op(struct files *f, uint8_t type, const char *path, struct tl_err *err)
{
	struct sftp_attrs none = {.flags = 0};
	struct files_req q;

	files_ask(f, &q, type, NULL);
	files_put_str(&q, path);
	if (type == SFTP_MKDIR)
		files_put_attrs(&q, &none);
	files_post(&q);
	return files_done(&q, err);
}

static int rename_to(struct files *f, const char *extension, const char *from, const char *to,
		     struct tl_err *err)
{
	struct files_req q;

	files_ask(f, &q, extension ? SFTP_EXTENDED : SFTP_RENAME, extension);
	files_put_str(&q, from);
	files_put_str(&q, to);
	files_post(&q);
	return files_done(&q, err);
}

/* Without the extension the old one steps aside first, and comes back when that did not work. */
int files_rename_over(struct files *f, const char *from, const char *to, struct tl_err *err)
{
	char aside[FILES_PATH + 32], id[9];
	struct sftp_attrs a;
	int rc;

	if (f->extensions & FILES_RENAME)
		return rename_to(f, "posix-rename@openssh.com", from, to, err);
	if (files_attrs(f, to, false, &a, NULL) != 0)
		return rename_to(f, NULL, from, to, err);
	random_id(id, 8);
	snprintf(aside, sizeof(aside), "%s.towline-%s", to, id);
	rc = rename_to(f, NULL, to, aside, err);
	if (rc)
		return rc;
	rc = rename_to(f, NULL, from, to, err);
	if (rc)
		rename_to(f, NULL, aside, to, NULL);
	else
		files_path_op(f, SFTP_REMOVE, aside, NULL);
	return rc;
}

/* ---- folders and contents ---- */

static int take_names(struct files_reply *r,
		      int (*fn)(void *ctx, const char *name, const struct sftp_attrs *a), void *ctx,
		      struct tl_err *err)
{
	uint32_t n = sftp_get_u32(&r->in);
	char name[FILES_PATH];
	struct sftp_attrs a;
	int rc = 0;

	while (n-- && !rc) {
		bool ok = sftp_get_cstr(&r->in, name, sizeof(name));
		sftp_get_string(&r->in);
		sftp_get_attrs(&r->in, &a);
		if (!ok || r->in.bad)
			return err_set(err, TL_E_PROTO, "the host's answer makes no sense");
		/* names that would lead elsewhere are no entries */
		if (!*name || strcmp(name, ".") == 0 || strcmp(name, "..") == 0 ||
		    strchr(name, '/'))
			continue;
		rc = fn(ctx, name, &a);
	}
	return rc ? err_set(err, rc, "%s", err_row(rc)->what) : 0;
}

int files_each(struct files *f, const char *path,
	       int (*fn)(void *ctx, const char *name, const struct sftp_attrs *a), void *ctx,
	       struct tl_err *err)
{
	struct files_handle h;
	struct files_reply r;
	struct files_req q;
	struct tl_err why = {0};
	int rc = files_open(f, path, 0, 0, &h, err);

	if (rc)
		return rc;
	while (rc == 0) {
		files_ask(f, &q, SFTP_READDIR, NULL);
		files_put_bytes(&q, h.p, h.n);
		files_post(&q);
		rc = files_answer(&q, SFTP_NAME, &r, &why);
		if (rc == 0)
			rc = take_names(&r, fn, ctx, &why);
		files_reply_free(&r);
	}
	files_close(f, &h, false, NULL);
	if (rc == TL_E_CLOSED && strcmp(why.text, "end") == 0)
		return 0;
	return err_set(err, rc, "%s", why.text);
}

int files_content(struct files *f, const struct files_handle *h, uint64_t off, uint64_t length,
		  int (*fn)(void *ctx, struct tl_bytes b), void *ctx, struct tl_err *err)
{
	struct {
		struct files_req q;
		uint64_t off;
		uint32_t want;
	} ahead[FILES_AHEAD];
	size_t first = 0, n = 0, most = 4;
	uint64_t at = off, end = length ? off + length : UINT64_MAX;
	struct tl_err why = {0};
	bool over = false;
	int rc = 0;

	while (rc == 0) {
		struct files_reply r;
		size_t i;
		while (!over && n < most && at < end) {
			i = (first + n++) % FILES_AHEAD;
			ahead[i].off = at;
			ahead[i].want = end - at < FILES_PIECE ? (uint32_t)(end - at) : FILES_PIECE;
			files_ask(f, &ahead[i].q, SFTP_READ, NULL);
			files_put_bytes(&ahead[i].q, h->p, h->n);
			files_put_u64(&ahead[i].q, at);
			files_put_u32(&ahead[i].q, ahead[i].want);
			files_post(&ahead[i].q);
			at += ahead[i].want;
		}
		if (n == 0)
			break;
		i = first;
		first = (first + 1) % FILES_AHEAD;
		n--;
		rc = files_answer(&ahead[i].q, SFTP_DATA, &r, &why);
		if (rc == TL_E_CLOSED && strcmp(why.text, "end") == 0) {
			rc = 0;
			over = true;
		} else if (rc == 0) {
			struct tl_bytes b = sftp_get_string(&r.in);
			rc = fn(ctx, b);
			/* a short one: what was asked behind it does not follow it */
			if (rc == 0 && b.n < ahead[i].want) {
				at = ahead[i].off + b.n;
				over = b.n == 0;
				for (; n; n--, first = (first + 1) % FILES_AHEAD)
					files_forget(&ahead[first].q);
			}
		}
		files_reply_free(&r);
		most = most * 2 < FILES_AHEAD ? most * 2 : FILES_AHEAD;
	}
	for (; n; n--, first = (first + 1) % FILES_AHEAD)
		files_forget(&ahead[first].q);
	return rc ? err_set(err, rc, "%s", why.text[0] ? why.text : err_row(rc)->what) : 0;
}
