/* code_print.c - see code_print.h. */
#include "cmd/code_print.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/base64.h"
#include "base/str.h"
#include "loop/fsx.h"
#include "loop/io.h"

#define WRITE_MS  600000
#define IMAGE_MAX 67108864

static void put(int fd, const char *text, size_t n)
{
	fd_write_all(fd, text, n, WRITE_MS);
}

/* Without colours, for files and pipes. */
static void put_plain(int fd, const char *text)
{
	while (*text) {
		size_t n = strcspn(text, "\033");
		put(fd, text, n);
		text += n;
		if (text[0] == '\033' && text[1] == '[') {
			text += 2;
			text += strspn(text, "0123456789;?");
			text += *text != 0;
		} else if (*text) {
			text++;
		}
	}
}

static void print_stream(struct code_view *v, yyjson_val *content)
{
	const char *text = json_str(content, "text", "");
	bool errors = strcmp(json_str(content, "name", ""), "stderr") == 0;
	if (v->json)
		buf_put_str(errors ? &v->errors : &v->out, text);
	else
		put(errors ? 2 : 1, text, strlen(text));
}

/* Pictures are named, and written where a folder was given for them. */
static void code_print_images(struct code_view *v, yyjson_val *data)
{
	static const struct {
		const char *type, *end;
		bool text;
	} kinds[] = {{"image/png", "png", false},
		     {"image/jpeg", "jpg", false},
		     {"image/svg+xml", "svg", true},
		     {"application/pdf", "pdf", false}};
	for (size_t i = 0; v->console && i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		const char *text = json_str(data, kinds[i].type, NULL);
		struct buf b;
		char *path = NULL;
		int rc;
		if (!text)
			continue;
		buf_init(&b, IMAGE_MAX);
		rc = kinds[i].text ? buf_put_str(&b, text) : base64_put(&b, text);
		if (!rc && v->images)
			path = str_fmt("%s/%03u.%s", v->images, ++v->n_images, kinds[i].end);
		if (path)
			rc = fs_write_atomic(path, buf_data(&b).p, b.len, 0644, NULL);
		char line[512];
		int n = snprintf(line, sizeof(line), "[%s, %zu kB%s%.400s]\n", kinds[i].type,
				 (b.len + 1023) / 1024, path && !rc ? ": " : "",
				 path && !rc ? path
				 : path      ? ", could not be written"
					     : "");
		put(1, line, (size_t)n);
		free(path);
		buf_fini(&b);
	}
}

static void print_data(struct code_view *v, yyjson_val *content)
{
	yyjson_val *data = json_get(content, "data");
	const char *text = json_str(data, "text/plain", NULL);
	if (v->json) {
		yyjson_mut_arr_append(v->results, yyjson_val_mut_copy(v->doc, data));
		return;
	}
	if (!text)
		text = "(something without a text form)";
	if (v->numbered && json_get(content, "execution_count")) {
		char head[40];
		int n = snprintf(head, sizeof(head),
				 "Out[%lld]: ", (long long)json_int(content, "execution_count", 0));
		put(1, head, (size_t)n);
		/* what has lines of its own stands below */
		if (strchr(text, '\n'))
			put(1, "\n", 1);
	}
	put(1, text, strlen(text));
	put(1, "\n", 1);
	code_print_images(v, data);
}

static void print_error(struct code_view *v, yyjson_val *content)
{
	size_t i, n;
	yyjson_val *line;
	v->failed = true;
	if (v->json) {
		yyjson_mut_obj_put(yyjson_mut_doc_get_root(v->doc), yyjson_mut_str(v->doc, "error"),
				   yyjson_val_mut_copy(v->doc, content));
		return;
	}
	yyjson_arr_foreach(json_get(content, "traceback"), i, n, line)
	{
		const char *text = yyjson_is_str(line) ? yyjson_get_str(line) : "";
		if (isatty(2))
			put(2, text, strlen(text));
		else
			put_plain(2, text);
		put(2, "\n", 1);
	}
}

void code_print(struct code_view *v, const char *type, yyjson_val *content)
{
	if (strcmp(type, "stream") == 0)
		print_stream(v, content);
	else if (strcmp(type, "execute_result") == 0 || strcmp(type, "display_data") == 0)
		print_data(v, content);
	else if (strcmp(type, "error") == 0)
		print_error(v, content);
}

/* Requests that a reply brings: exit(), and the pager of help. */
static void obey_payload(struct code_view *v, yyjson_val *content)
{
	size_t i, n;
	yyjson_val *p;
	yyjson_arr_foreach(json_get(content, "payload"), i, n, p)
	{
		const char *source = json_str(p, "source", "");
		if (strcmp(source, "ask_exit") == 0) {
			v->exit_asked = true;
			v->keep |= json_bool(p, "keepkernel", false);
		} else if (strcmp(source, "page") == 0 && v->console) {
			const char *text = json_str(json_get(p, "data"), "text/plain", "");
			if (isatty(1))
				put(1, text, strlen(text));
			else
				put_plain(1, text);
			put(1, "\n", 1);
		}
	}
}

void code_print_reply(struct code_view *v, yyjson_val *content)
{
	v->count = json_int(content, "execution_count", v->count);
	obey_payload(v, content);
	yyjson_mut_val *o = yyjson_mut_doc_get_root(v->doc);
	yyjson_mut_obj_add_int(v->doc, o, "executionCount",
			       json_int(content, "execution_count", 0));
	if (strcmp(json_str(content, "status", ""), "aborted") == 0 && !v->json)
		put(2, "towline: an earlier error in this session cancelled the code\n", 61);
}

void code_print_gap(struct code_view *v, uint64_t bytes)
{
	char text[96];
	int n = snprintf(text, sizeof(text), "[towline: %llu bytes of output are gone]\n",
			 (unsigned long long)bytes);
	if (v->json)
		yyjson_mut_obj_add_uint(v->doc, yyjson_mut_doc_get_root(v->doc), "goneBytes",
					bytes);
	else
		put(2, text, (size_t)n);
}

void code_view_print_json(struct code_view *v)
{
	yyjson_mut_doc *d = v->doc;
	yyjson_mut_val *o = yyjson_mut_doc_get_root(d);
	const char *out = buf_cstr(&v->out), *errors = buf_cstr(&v->errors);
	json_add_path(d, o, "session", v->id);
	json_add_path(d, o, "status", v->replied ? v->status : v->left ? "left" : "dead");
	json_add_path(d, o, "stdout", out ? out : "");
	json_add_path(d, o, "stderr", errors ? errors : "");
	yyjson_mut_obj_add_val(d, o, "results", v->results);
	char *text = yyjson_mut_write(d, 0, NULL);
	puts(text ? text : "{}");
	free(text);
}
