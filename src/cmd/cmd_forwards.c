/* cmd_forwards.c - see cmd_forwards.h. */
#include "cmd/cmd_forwards.h"

#include <stdlib.h>
#include <string.h>

#include "base/str.h"

static const char *place(const char *host, int64_t port, const char *path, char *out, size_t n)
{
	if (path[0])
		str_copy(out, n, path);
	else
		snprintf(out, n, strchr(host, ':') ? "[%s]:%lld" : "%s:%lld", host,
			 (long long)port);
	return out;
}

const char *forwards_local(yyjson_val *f, char *out, size_t n)
{
	if (json_bool(f, "proxy", false)) {
		str_copy(out, n, "the internet");
		return out;
	}
	return place(json_str(f, "localAddress", "localhost"), json_int(f, "localPort", 0),
		     json_str(f, "localPath", ""), out, n);
}

const char *forwards_target(yyjson_val *f, char *out, size_t n)
{
	if (strcmp(json_str(f, "kind", ""), "socks") == 0) {
		str_copy(out, n, "SOCKS 5");
		return out;
	}
	return place(json_str(f, "targetHost", "localhost"), json_int(f, "targetPort", 0),
		     json_str(f, "targetPath", ""), out, n);
}

void forwards_cell(const char *s, int width)
{
	int n = 0;

	for (; *s; s++) {
		putchar((unsigned char)*s < 0x20 || *s == 0x7f ? '?' : *s);
		/* what goes on a character does not count */
		n += ((unsigned char)*s & 0xc0) != 0x80;
	}
	/* a cell that is too long still ends before the next one */
	for (bool once = n >= width && width > 0; n < width || once; n++, once = false)
		putchar(' ');
}

void forwards_print(const struct cmd_globals *g, yyjson_val *f)
{
	const char *kind = json_str(f, "kind", ""), *host = json_str(f, "host", "?");
	const char *url = json_str(f, "proxyUrl", "");
	char local[300], target[300];

	if (g->json) {
		cmd_print_json(f);
		return;
	}
	forwards_local(f, local, sizeof(local));
	forwards_target(f, target, sizeof(target));
	if (url[0])
		printf("export http_proxy=%s https_proxy=%s\n"
		       "export HTTP_PROXY=$http_proxy HTTPS_PROXY=$https_proxy "
		       "no_proxy=localhost,127.0.0.1,::1\n",
		       url, url);
	else if (strcmp(kind, "socks") == 0)
		printf("socks5h://%s\n", local);
	else if (strcmp(kind, "remote") == 0)
		printf("%s on %s -> %s here\n", target, host, local);
	else
		printf("%s -> %s on %s\n", local, target, host);
}

int forwards_of(const char *host, struct api_client **ret_c, struct jsonrpc_msg *ret,
		struct tl_err *err)
{
	int rc = api_client_open(ret_c, true, NULL, err);

	return rc ? rc
		  : api_client_call(*ret_c, "forward/list", cmd_params("host", host, NULL), ret,
				    err);
}

int forwards_add(const struct cmd_globals *g, struct api_client *c, const char *host,
		 yyjson_mut_doc *doc)
{
	struct jsonrpc_msg m = {0};
	struct tl_err err = {0};
	int rc;

	yyjson_mut_obj_add_strcpy(doc, yyjson_mut_doc_get_root(doc), "host", host);
	rc = api_client_call(c, "forward/add", doc, &m, &err);
	if (rc)
		return cmd_fail(g, &err);
	forwards_print(g, m.result);
	fflush(stdout);
	jsonrpc_fini(&m);
	return 0;
}
